//! Ports, numbers and places in the tables: who has them, when others may, and what an apply that is refused midway leaves.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use aya::maps::{Array, HashOfMaps, Map as Any, MapData};
use testkit::netns;
use tidegate_kernel::{Datapath, Mode, Refusal, Server, Service, Verdict};

use crate::craft::{ACK, FIN, Packet, RST, SYN, TCP, UDP, read};
use crate::packets::{Bench, Side, asked, host, ip, services};
use crate::table::Table;

/// One service's own table.
type Inner = Array<MapData, [u8; 131_360]>;

/// One service of IPv4, one server, one source, and 1,024 ports.
fn narrow(mode: Mode) -> Bench {
    let mut all = services(mode);
    all.truncate(1);
    all[0].sources.truncate(1);
    all[0].servers.truncate(1);
    all[0].idle = Duration::from_secs(3600);
    Bench::with_ports(&all, 16_384, "2048 65535")
}

/// A client's packet by a number, of which none has the other's.
fn client(number: u16, flags: u8) -> Packet {
    Packet { from: SocketAddr::new(ip(true, 0, 2), 10_000 + number), ..asked(true, TCP, 0) }.flags(flags)
}

fn ask(bench: &mut Bench, number: u16, flags: u8) -> Option<SocketAddr> {
    let frame = bench.frame(Side::Clients, &client(number, flags).bytes());
    let (verdict, out) = bench.raw(Side::Clients, &frame);
    (verdict == Verdict::Sent).then(|| read(&out[14..]).packet().from)
}

/// Who gets the server's answer to a source.
fn answer(bench: &mut Bench, source: SocketAddr, flags: u8) -> SocketAddr {
    let server = bench.services[0].servers[0].address;
    let packet = Packet::new(TCP, server, source).flags(flags);
    read(&bench.sent(Side::Servers, &packet.bytes(), (0, 2))).packet().to
}

/// Whatever clients do one after another, ports of connections that are over do not run out for those that are new.
#[test]
fn a_port_whose_connection_is_over_is_given_to_another() {
    if !netns::possible() {
        return;
    }
    let mut bench = narrow(Mode::Full);
    let mut held: HashMap<u16, SocketAddr> = HashMap::new();
    for number in 0..3000 {
        if let Some(source) = ask(&mut bench, number, SYN) {
            held.insert(number, source);
        }
    }
    assert!((1000..=1024).contains(&held.len()), "{}", held.len());
    // A third is over, a third is half closed, and a third goes on.
    let (kind, began) = (|number: u16| number % 3, Instant::now());
    for (number, source) in &held {
        answer(&mut bench, *source, SYN | ACK);
        ask(&mut bench, *number, ACK);
        if kind(*number) < 2 {
            answer(&mut bench, *source, FIN | ACK);
        }
        if kind(*number) == 0 {
            ask(&mut bench, *number, FIN | ACK);
            answer(&mut bench, *source, ACK);
        }
    }
    let over: HashMap<SocketAddr, u16> =
        held.iter().filter(|(number, _)| kind(**number) == 0).map(|(number, source)| (*source, *number)).collect();
    let new = |bench: &mut Bench, numbers: std::ops::Range<u16>| -> HashMap<u16, SocketAddr> {
        numbers.filter_map(|number| Some((number, ask(bench, number, SYN)?))).collect()
    };
    // What has passed by itself since the first of them was over counts, too.
    let passed = began.elapsed();
    Table::of(&bench).age(Duration::from_secs(3).saturating_sub(passed));
    let free = 1024 - held.len();
    assert!(new(&mut bench, 3000..3500).len() <= free);
    Table::of(&bench).age(Duration::from_secs(3) + passed);
    let new = new(&mut bench, 4000..6000);
    assert!(new.len() > over.len() * 9 / 10, "{} of {}", new.len(), over.len());
    for (number, source) in &new {
        assert!(over.contains_key(source), "{source} was not free");
        assert_eq!(answer(&mut bench, *source, SYN | ACK), client(*number, SYN).from);
        // What still comes of the old client is not mixed with what is its port's now.
        assert_ne!(ask(&mut bench, over[source], ACK), Some(*source));
        assert_eq!(answer(&mut bench, *source, ACK), client(*number, SYN).from);
    }
    for (number, source) in held.iter().filter(|(number, _)| kind(**number) > 0) {
        assert_eq!(answer(&mut bench, *source, ACK), client(*number, SYN).from);
        assert_eq!(ask(&mut bench, *number, ACK), Some(*source));
    }
}

/// A reset may be forged: its port is free no sooner than it is believed.
#[test]
fn a_port_whose_connection_was_reset_is_given_to_another_later() {
    if !netns::possible() {
        return;
    }
    let mut bench = narrow(Mode::Full);
    let held: Vec<(u16, SocketAddr)> =
        (0..3000).filter_map(|number| Some((number, ask(&mut bench, number, SYN)?))).collect();
    for (number, source) in &held {
        answer(&mut bench, *source, SYN | ACK);
        ask(&mut bench, *number, ACK);
        ask(&mut bench, *number, RST);
    }
    for (seconds, is_given) in [(9, false), (2, true)] {
        Table::of(&bench).age(Duration::from_secs(seconds));
        let given = (3000..4000).filter(|number| ask(&mut bench, *number, SYN).is_some()).count();
        assert_eq!(given > 100, is_given, "{given}");
    }
}

/// A flood of SYN from addresses that are nobody's takes ports for a moment only, whatever servers answer to it.
#[test]
fn a_port_whose_client_has_not_shown_itself_is_given_to_another() {
    if !netns::possible() {
        return;
    }
    let mut bench = narrow(Mode::Full);
    let flood: Vec<(u16, SocketAddr)> =
        (0..3000).filter_map(|number| Some((number, ask(&mut bench, number, SYN)?))).collect();
    assert!((1000..=1024).contains(&flood.len()), "{}", flood.len());
    for (_, source) in &flood {
        answer(&mut bench, *source, SYN | ACK);
    }
    // A few are there.
    let (real, invented) = flood.split_at(100);
    for (number, _) in real {
        ask(&mut bench, *number, ACK);
    }
    let began = Instant::now();
    let given = |bench: &mut Bench| (4000..5000).filter(|number| ask(bench, *number, SYN).is_some()).count();
    Table::of(&bench).age(Duration::from_secs(1));
    let early = given(&mut bench);
    assert!(early <= 1024 - flood.len() || began.elapsed() > Duration::from_secs(1), "{early}");
    Table::of(&bench).age(Duration::from_secs(3));
    let late = given(&mut bench);
    assert!(late > invented.len() * 9 / 10, "{late} of {}", invented.len());
    for (number, source) in real {
        assert_eq!(ask(&mut bench, *number, ACK), Some(*source));
        assert_eq!(answer(&mut bench, *source, ACK), client(*number, SYN).from);
    }
}

/// Where nearly all ports are the kernel's own, an answer to a health check cannot be told from a stray.
#[test]
fn answers_to_this_host_pass_where_ports_are_shared() {
    if !netns::possible() {
        return;
    }
    let mut bench = Bench::with_ports(&services(Mode::Full), 4096, "1024 65000");
    assert!(bench.datapath.shares_ports());
    for is_v4 in [true, false] {
        let server = SocketAddr::new(ip(is_v4, 1, 11), 8080);
        for (protocol, port) in [(TCP, 40_000), (UDP, 40_000), (TCP, 2000)] {
            let own = SocketAddr::new(ip(is_v4, 1, 1), port);
            bench.passed(Side::Servers, &Packet::new(protocol, server, own).flags(SYN | ACK).bytes());
        }
    }
    assert!(!Bench::new(Mode::Full).datapath.shares_ports());
}

/// The ports of an earlier process are not ours if the kernel's own are others now, those of servers that are leaving included.
#[test]
fn strays_follow_the_ports_of_the_process_that_serves() {
    if !netns::possible() {
        return;
    }
    let mut bench = Bench::new(Mode::Full);
    let own = |host: u8, port: u16| {
        let (server, own) = (SocketAddr::new(ip(true, 1, host), 8080), SocketAddr::new(ip(true, 1, 1), port));
        Packet::new(TCP, server, own).flags(SYN | ACK).bytes()
    };
    bench.dropped(Side::Servers, &own(11, 2000), "stray");
    bench.balancer.sysctl("net.ipv4.ip_local_port_range", "1024 20000");
    let mut fewer = services(Mode::Full);
    fewer.iter_mut().for_each(|service| service.servers.truncate(2));
    let pins = bench.pins();
    let next = bench.balancer.enter(|| Datapath::open(&pins, &["lb0".into(), "lb1".into()], 4096));
    bench.datapath = next.expect("a datapath");
    bench.apply(&fewer);
    for host in [11, 13] {
        bench.passed(Side::Servers, &own(host, 2000));
        bench.dropped(Side::Servers, &own(host, 30_000), "stray");
    }
}

/// A source that is no longer named has no place in the table, so that as many others have.
#[test]
fn sources_that_are_no_longer_named_make_room() {
    if !netns::possible() {
        return;
    }
    let server = |number: u16| Server {
        name: number.to_string().into(),
        address: SocketAddr::new(ip(true, 1, 11), 10_000 + number),
        weight: 1,
    };
    let sources = |from: u8| -> Vec<IpAddr> { (from..from + 4).map(|last| ip(true, 2, last)).collect() };
    let mut all = services(Mode::Full);
    all.truncate(1);
    (all[0].servers, all[0].sources) = ((0..2049).map(server).collect(), sources(1));
    let mut bench = Bench::with(&all, 4096);
    all[0].sources = sources(5);
    bench.apply(&all);
    let from = |last: u8| Packet::new(TCP, all[0].servers[0].address, SocketAddr::new(ip(true, 2, last), 2000)).bytes();
    bench.dropped(Side::Servers, &from(5), "stray");
    bench.passed(Side::Servers, &from(1));
    // With those that may still have connections there are too many.
    let others: Vec<Server> = (3000..5047).map(server).collect();
    let mut other = all.clone();
    (other[0].servers, other[0].sources) = (others, sources(1).into_iter().chain(sources(5)).collect());
    let refused = bench.balancer.enter(|| bench.datapath.apply(&other)).expect_err("a refusal");
    assert_eq!(
        refused.to_string(),
        "too many pairs of server and source, with those that keep connections, for the kernel's tables, at most 16384: 24572"
    );
    bench.dropped(Side::Servers, &from(5), "stray");
}

/// The kernel refuses the second of two services: the first one's new server keeps its number, whatever is swept meanwhile.
#[test]
fn numbers_of_an_apply_that_was_refused_midway_stay() {
    if !netns::possible() {
        return;
    }
    let with = |mode: Mode, hosts: &[u8], address: u8| Service {
        address: SocketAddr::new(ip(true, 9, address), 80),
        servers: hosts
            .iter()
            .map(|host| Server { name: "s".into(), address: SocketAddr::new(ip(true, 1, *host), 8080), weight: 1 })
            .collect(),
        ..services(mode).remove(0)
    };
    let mut bench = Bench::with(&[with(Mode::Dnat, &[11], 1)], 4096);
    let data = MapData::from_pin(bench.pins().join("v1/services")).expect("a pinned table");
    let mut table: HashOfMaps<MapData, [u8; 20], Inner> = HashOfMaps::try_from(Any::HashOfMaps(data)).expect("a table");
    let inner = Inner::create(1, 0).expect("a table");
    let junk =
        |number: u32| -> [u8; 20] { std::array::from_fn(|at| if at < 4 { number.to_be_bytes()[at] } else { 1 }) };
    let room = (0..1024).take_while(|number| table.insert(junk(*number), &inner, 0).is_ok()).count();
    assert_eq!(room, 1023);
    let next = [with(Mode::Dnat, &[12], 1), with(Mode::Full, &[13], 2)];
    let refused = bench.balancer.enter(|| bench.datapath.apply(&next)).expect_err("a refusal");
    assert!(matches!(&refused, Refusal::Kernel { what, .. } if what == "take a service"), "{refused}");
    (0..3).for_each(|_| assert_eq!(bench.datapath.sweep(), Ok(0)));
    let packet = asked(true, TCP, 1);
    bench.sent(Side::Clients, &packet.bytes(), (1, 12));
    // The same call again, once there is room.
    table.remove(&junk(7)).expect("it is there");
    bench.apply(&next);
    let other = Packet { to: SocketAddr::new(ip(true, 9, 2), 80), ..asked(true, TCP, 2) };
    let source = read(&bench.sent(Side::Clients, &other.bytes(), (1, 13))).packet().from;
    bench.sent(Side::Servers, &Packet::new(TCP, next[1].servers[0].address, source).bytes(), (0, host(other.from)));
    let stray = Packet::new(TCP, next[1].servers[0].address, SocketAddr::new(source.ip(), source.port() ^ 1));
    bench.dropped(Side::Servers, &stray.bytes(), "stray");
    // And then what is no longer named is given back.
    Table::of(&bench).age(Duration::from_secs(61));
    (0..3).for_each(|_| drop(bench.datapath.sweep()));
    let counters = bench.datapath.counters().expect("counters");
    assert!(
        counters.services.iter().flat_map(|service| &service.servers).all(|server| !server.leaving),
        "{counters:?}"
    );
    assert_eq!(counters.services[0].servers.len(), 1);
}

/// Whoever reads the counters again finds those that are leaving where they were.
#[test]
fn servers_that_are_leaving_are_counted_in_the_order_of_their_numbers() {
    if !netns::possible() {
        return;
    }
    let server = |number: u16| Server {
        name: number.to_string().into(),
        address: SocketAddr::new(ip(true, 1, 11), 10_000 + number),
        weight: 1,
    };
    let mut all = services(Mode::Dnat);
    all.truncate(2);
    all.iter_mut().for_each(|service| service.servers = (0..20).map(server).collect());
    let mut bench = Bench::with(&all, 4096);
    all.iter_mut().for_each(|service| drop(service.servers.drain(..18)));
    bench.apply(&all);
    let wanted: Vec<(SocketAddr, bool)> =
        [18, 19].into_iter().chain(0..18).map(|number| (server(number).address, number < 18)).collect();
    let counters = bench.datapath.counters().expect("counters");
    assert_eq!(counters.services.len(), 2);
    for service in &counters.services {
        let found: Vec<_> = service.servers.iter().map(|server| (server.address, server.leaving)).collect();
        assert_eq!(found, wanted);
    }
}
