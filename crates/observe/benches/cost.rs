//! What a request pays for being seen: nanoseconds for one access line and one count. Run it with `cargo bench`.

use std::hint::black_box;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant, SystemTime};

use base::ids::{ClientIp, PeerAddr, RequestId, WorkerId};
use rustix::time::{ClockId, clock_gettime};
use tidegate_observe::access::{Address, Format, Log, Phases, Record, Target};
use tidegate_observe::metrics::{Route, Scrape};
use tidegate_observe::stats::{Outcome, RequestStats};
use wire::Version;

fn main() -> std::io::Result<()> {
    let unclean: &[u8] = "/caf\u{e9}/caf\u{e9}/\"quoted\"".as_bytes();
    for (name, format, record) in [
        ("json line, typical", Format::Json, typical()),
        (
            "json line, ipv6 client",
            Format::Json,
            Record { peer: PeerAddr(V6.into()), client: ClientIp(V6.0), ..typical() },
        ),
        ("json line, path to escape", Format::Json, Record { path: unclean, ..typical() }),
        ("combined line, typical", Format::Combined, typical()),
    ] {
        let log = Log::open(Target::File("/dev/null".into()), format)?;
        let mut sink = log.sink();
        let mut at = Record { ..record };
        report(name, || {
            at.time += Duration::from_micros(50);
            at.id.sequence += 1;
            sink.record(black_box(&at));
        });
        if log.dropped() > 0 {
            println!("  the machine is too busy: {} lines were dropped, which costs less", log.dropped());
        }
    }
    let stats: Vec<RequestStats> = (0..1_000).map(|_| RequestStats::new(2)).collect();
    let mut us = 100;
    let mut count = |stats: &RequestStats| {
        us = (us * 7 + 13) % 100_000;
        stats.shard(WorkerId(0)).count(black_box(&Outcome {
            status: 200,
            fault: None,
            bytes_in: 0,
            bytes_out: 1_024,
            total_us: Some(us),
        }));
    };
    report("count one outcome, hot", || count(&stats[0]));
    let mut next = 0;
    report("count one outcome, 1,000 routes in turn", || {
        next = (next + 1) % stats.len();
        count(&stats[next]);
    });
    let names: Vec<String> = (0..stats.len()).map(|number| format!("route-{number}")).collect();
    let routes = names.iter().zip(&stats).map(|(route, stats)| Route { listener: "web", route, stats }).collect();
    let scrape = Scrape { routes, ..Scrape::default() };
    let begin = Instant::now();
    let page = scrape.page();
    println!(
        "{:<42} {:>8.1} ms, {} KiB",
        "metrics page, 1,000 routes",
        begin.elapsed().as_secs_f64() * 1e3,
        page.len() / 1024
    );
    Ok(())
}

/// Prints the median and the best round, in this thread's own CPU time: other programs and the writer do not count.
fn report(name: &str, mut work: impl FnMut()) {
    const ROUNDS: usize = 101;
    // Fewer lines than the log's queue holds.
    const EACH: u32 = 4_000;
    let mut rounds: Vec<f64> = (0..ROUNDS)
        .map(|_| {
            let begin = cpu_ns();
            (0..EACH).for_each(|_| work());
            let round = (cpu_ns() - begin) / f64::from(EACH);
            // The writer catches up.
            std::thread::sleep(Duration::from_millis(5));
            round
        })
        .collect();
    rounds.sort_by(f64::total_cmp);
    println!("{name:<42} {:>8.1} ns (best {:.1})", rounds[ROUNDS / 2], rounds[0]);
}

fn cpu_ns() -> f64 {
    let now = clock_gettime(ClockId::ThreadCPUTime);
    now.tv_sec as f64 * 1e9 + now.tv_nsec as f64
}

const V6: (IpAddr, u16) = (IpAddr::V6(std::net::Ipv6Addr::new(0x2001, 0xdb8, 0, 1, 0, 0, 0xab, 0xcdef)), 40_000);

fn typical() -> Record<'static> {
    Record {
        time: SystemTime::now(),
        id: RequestId { origin: 0x1234_5678_9abc_def0, sequence: 1 },
        listener: "web",
        route: Some("api"),
        peer: PeerAddr(SocketAddr::from(([203, 0, 113, 9], 40_000))),
        client: ClientIp(IpAddr::from([203, 0, 113, 9])),
        user: None,
        method: b"GET",
        host: b"www.example.com",
        port: None,
        path: b"/assets/app/2024/main.bundle.js",
        query: Some(b"v=1f3a9c&lang=en"),
        version: Some(Version::H11),
        sni: None,
        status: 200,
        grpc_status: None,
        pool: Some("api"),
        server: Some("a1"),
        address: Some(Address::Tcp(SocketAddr::from(([127, 0, 0, 1], 9001)))),
        tries: 1,
        hedged: false,
        tls: None,
        reused: true,
        bytes_in: 0,
        bytes_out: 1_024,
        datagrams: None,
        phases: Phases {
            head_us: Some(12),
            queue_us: Some(0),
            connect_us: None,
            response_us: Some(843),
            total_us: 912,
        },
        limit: None,
        cut: false,
        fault: None,
        reason: "",
        interception: "",
        unread: "",
        listed: None,
        referer: Some(b"https://www.example.com/articles/index.html"),
        user_agent: Some(
            b"Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0 Safari/537.36",
        ),
    }
}
