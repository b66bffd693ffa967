//! The keys by which a pool watches its servers.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use testkit::{PATIENCE, Peer, Server, Shared, Tidegate, ok};

use super::Case;
use crate::health::{answering, shown, until_state};
use crate::support::{before_pool, get, start};

pub(super) const CASES: &[Case] = &[
    (&["pools.*.health", "pools.*.health.probe"], probe),
    (&["pools.*.health.path", "pools.*.health.method", "pools.*.health.host", "pools.*.health.headers"], request),
    (&["pools.*.health.status"], status),
    (&["pools.*.health.service"], service),
    (&["pools.*.health.body"], body),
    (&["pools.*.health.port"], port),
    (&["pools.*.health.every"], every),
    (&["pools.*.health.timeout"], timeout),
    (&["pools.*.health.rise", "pools.*.health.fall"], rise_and_fall),
    (&["pools.*.health.fast"], fast),
    (&["pools.*.health.jitter"], jitter),
    (&["pools.*.outlier", "pools.*.outlier.consecutive_errors", "pools.*.outlier.max_ejected"], consecutive_errors),
    (&["pools.*.outlier.eject_for", "pools.*.outlier.eject_for_max"], eject_for),
    (&["pools.*.slow_start"], slow_start),
    (
        &[
            "pools.*.outlier.every",
            "pools.*.outlier.latency",
            "pools.*.outlier.latency.ratio",
            "pools.*.outlier.latency.over",
            "pools.*.outlier.latency.min_servers",
            "pools.*.outlier.latency.min_requests",
        ],
        latency,
    ),
    (
        &[
            "pools.*.outlier.success_rate",
            "pools.*.outlier.success_rate.factor",
            "pools.*.outlier.success_rate.min_servers",
            "pools.*.outlier.success_rate.min_requests",
        ],
        success_rate,
    ),
];

/// A server that answers 500 is down only for who asks it.
fn probe() {
    for (health, state) in [("health: { probe: http, every: 20ms }", "down"), ("health: http", "down")] {
        let server = answering(500);
        until_state(&before_pool(&server, health), 0, state);
    }
    let server = Server::script(Peer::hang);
    let tidegate = before_pool(&server, "health: { probe: tcp, every: 20ms }");
    server.until_connections(5);
    assert_eq!(shown(&tidegate, "app", 0)["state"], "up");
    let server = answering(500);
    let tidegate = before_pool(&server, "health: off");
    assert_eq!(tidegate.client().get("/").status, 500);
    assert_eq!((server.connections(), shown(&tidegate, "app", 0)["state"].as_str()), (1, Some("up")));
}

fn request() {
    let server = Server::named("app");
    let said = "path: \"/ready?full=1\", method: OPTIONS, host: app.example, headers: { x-check: \"1\" }";
    let _tidegate = before_pool(&server, &format!("health: {{ probe: http, {said} }}"));
    let request = server.request();
    assert_eq!((request.method.as_str(), request.target.as_str()), ("OPTIONS", "/ready?full=1"));
    assert_eq!(request.fields.value("host"), Some("app.example"));
    assert_eq!(request.fields.value("x-check"), Some("1"));
    let server = Server::named("app");
    let _tidegate = before_pool(&server, "health: http");
    let request = server.request();
    assert_eq!((request.method.as_str(), request.target.as_str()), ("GET", "/"));
    assert_eq!(request.fields.value("host"), Some(server.address()));
}

/// A server that says that it serves, and that hears which service it was asked about.
fn service() {
    let heard = std::sync::Arc::new(Shared::new(Vec::new()));
    let server = {
        let heard = std::sync::Arc::clone(&heard);
        Server::script(move |peer| {
            let said = peer.rest().unwrap_or_default();
            heard.with(|heard| heard.push(said));
        })
    };
    let _tidegate = before_pool(&server, "health: { probe: grpc, service: shop.Cart, timeout: 50ms, every: 100ms }");
    let asked = heard.within(PATIENCE, |heard| heard.iter().any(|said| said.ends_with(b"\x09shop.Cart")).then_some(()));
    assert!(asked.is_some(), "nobody asked about the service");
}

fn status() {
    for (status, state) in [("", "down"), ("status: [200-299, 401],", "up"), ("status: 200,", "down")] {
        let server = answering(401);
        let tidegate = before_pool(&server, &format!("health: {{ probe: http, {status} every: 20ms }}"));
        server.until_connections(3);
        until_state(&tidegate, 0, state);
    }
}

fn body() {
    for (body, state) in [("all: contains-nothing", "down"), ("all ready", "up"), ("~^all .*y$", "up")] {
        let server = Server::named("all ready");
        let tidegate = before_pool(&server, &format!("health: {{ probe: http, body: \"{body}\", every: 20ms }}"));
        server.until_connections(3);
        until_state(&tidegate, 0, state);
    }
}

/// The server itself is well; its other port is not.
fn port() {
    let (server, other) = (Server::named("app"), answering(503));
    let tidegate = before_pool(&server, &format!("health: {{ probe: http, port: {} }}", other.port()));
    assert_eq!(until_state(&tidegate, 0, "down")["reason"], "status 503 ×1");
    assert_eq!((server.connections(), other.requests().len()), (0, 1));
}

/// Twenty checks would take forty seconds.
fn every() {
    let server = Server::named("app");
    let began = Instant::now();
    let _tidegate = before_pool(&server, "health: { probe: http, every: 20ms }");
    server.until_connections(20);
    assert!(began.elapsed() < Duration::from_secs(30));
}

fn timeout() {
    let server = Server::script(Peer::hang);
    let tidegate = before_pool(&server, "health: { probe: http, timeout: 50ms }");
    assert_eq!(until_state(&tidegate, 0, "down")["reason"], "timeout after 50ms ×1");
}

/// A server that is well once, fails for a while, and is well again.
fn ailing() -> Server {
    let count = AtomicUsize::new(0);
    Server::http(move |_| match count.fetch_add(1, Ordering::SeqCst) {
        1..=20 => b"HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n".to_vec(),
        _ => ok(""),
    })
}

fn rise_and_fall() {
    let server = ailing();
    let tidegate = before_pool(&server, "health: { probe: http, every: 20ms, rise: 6, fall: 5 }");
    tidegate.message("is down: status 503 ×5");
    tidegate.message("is up: 6 checks passed");
}

/// At the pace of `every` the server would be down after twenty seconds.
fn fast() {
    let server = ailing();
    let began = Instant::now();
    let tidegate = before_pool(&server, "health: { probe: http, every: 1s, fast: 20ms, fall: 20 }");
    tidegate.message("is down: status 503 ×20");
    assert!(began.elapsed() < Duration::from_secs(15));
}

/// Now and then a check comes after less than half of the time.
fn jitter() {
    let at = std::sync::Arc::new(Shared::new(Vec::new()));
    let server = {
        let at = std::sync::Arc::clone(&at);
        Server::http(move |_| {
            at.with(|at| at.push(Instant::now()));
            ok("")
        })
    };
    let _tidegate = before_pool(&server, "health: { probe: http, every: 400ms, jitter: 100% }");
    let early = |pair: &[Instant]| pair[1].duration_since(pair[0]) < Duration::from_millis(180);
    let found = at.within(PATIENCE, |at| at.windows(2).any(early).then_some(()));
    assert!(found.is_some(), "checks come in step");
}

/// Three servers that fail, in turn.
fn failing(outlier: &str) -> ([Server; 3], Tidegate) {
    let servers = [answering(500), answering(500), answering(500)];
    let text = format!(
        "workers: 1\nlisteners: {{ web: {{ bind: 127.0.0.1:0, to: app }} }}\n\
         pools: {{ app: {{ servers: {{ a: @A, b: @B, c: @C }}, balance: round_robin, retries: {{ extra: 0 }}, {outlier} }} }}\n"
    );
    let tidegate = start(&text, &[("A", &servers[0]), ("B", &servers[1]), ("C", &servers[2])]);
    (servers, tidegate)
}

fn ask_all(tidegate: &Tidegate, requests: usize) {
    let mut client = tidegate.client();
    (0..requests).for_each(|_| assert_eq!(client.ask(get("/", "")).status, 500));
}

fn consecutive_errors() {
    for (outlier, ejected) in [
        ("", [false; 3]),
        ("outlier: 0", [false; 3]),
        ("outlier: 3", [true, false, false]),
        ("outlier: { consecutive_errors: 3, max_ejected: 100% }", [true, true, false]),
    ] {
        let (_servers, tidegate) = failing(outlier);
        ask_all(&tidegate, 9);
        for (number, ejected) in ejected.into_iter().enumerate() {
            until_state(&tidegate, number, if ejected { "ejected" } else { "up" });
        }
    }
}

fn eject_for() {
    let (sick, well) = (answering(500), Server::named("well"));
    let text = "
workers: 1
listeners: { web: { bind: 127.0.0.1:0, to: app } }
pools: { app: { servers: [@SICK, @WELL], outlier: { consecutive_errors: 1, eject_for: 150ms, eject_for_max: 200ms } } }
";
    let tidegate = start(text, &[("SICK", &sick), ("WELL", &well)]);
    let mut client = tidegate.client();
    let began = Instant::now();
    while !tidegate.messages().contains("is ejected for 200ms") {
        client.get("/");
        assert!(began.elapsed() < PATIENCE, "no second ejection");
    }
    tidegate.message("is ejected for 150ms");
}

/// A server that joins gets a tenth of the other's share.
fn slow_start() {
    let (one, two) = (Server::named("one"), Server::named("two"));
    let text = |servers: &str| {
        let text = format!(
            "workers: 1\nlisteners: {{ web: {{ bind: 127.0.0.1:0, to: app }} }}\n\
             pools: {{ app: {{ servers: [{servers}], balance: round_robin, slow_start: 1h }} }}\n"
        );
        crate::support::config(&text, &[("ONE", &one), ("TWO", &two)])
    };
    let tidegate = testkit::Start::of(crate::support::BINARY).text(&text("@ONE"));
    assert_eq!(tidegate.reload(&text("@ONE, @TWO")), testkit::Reloaded::Yes);
    let mut client = tidegate.client();
    (0..110).for_each(|_| drop(client.get("/")));
    assert!((9..=12).contains(&two.requests().len()), "{}", two.requests().len());
}

/// Whether one of three servers is ejected while forty requests go to each of them, and a moment after.
fn ejects(servers: [&Server; 3], outlier: &str) -> bool {
    let text = format!(
        "workers: 1\nlisteners: {{ web: {{ bind: 127.0.0.1:0, to: app }} }}\n\
         pools: {{ app: {{ servers: {{ a: @A, b: @B, c: @C }}, balance: round_robin, outlier: {{ {outlier} }} }} }}\n"
    );
    let tidegate = start(&text, &[("A", servers[0]), ("B", servers[1]), ("C", servers[2])]);
    let mut client = tidegate.client();
    (0..120).for_each(|_| drop(client.get("/")));
    let deadline = Instant::now() + Duration::from_millis(1400);
    while Instant::now() < deadline {
        if shown(&tidegate, "app", 0)["state"] == "ejected" {
            return true;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    false
}

/// One of three servers takes 40 ms, the others nearly nothing: each key can make that no reason.
fn latency() {
    let slow = Server::http(|_| {
        std::thread::sleep(Duration::from_millis(40));
        ok("")
    });
    let (one, two) = (Server::named("one"), Server::named("two"));
    let all = [&slow, &one, &two];
    assert!(ejects(all, "latency: { ratio: 2, over: 1ms, min_servers: 3, min_requests: 5 }, every: 700ms"));
    for outlier in [
        "every: 700ms",
        "latency: { over: 1ms, min_requests: 5 }, every: 1h",
        "latency: { over: 1ms, ratio: 1000, min_requests: 5 }, every: 700ms",
        "latency: { over: 1s, min_requests: 5 }, every: 700ms",
        "latency: { over: 1ms, min_servers: 4, min_requests: 5 }, every: 700ms",
        "latency: { over: 1ms, min_requests: 100 }, every: 700ms",
    ] {
        assert!(!ejects(all, outlier), "{outlier}");
    }
}

/// A server that fails each time that its request's number divides by this.
fn failing_each(divisor: usize) -> Server {
    let turn = AtomicUsize::new(0);
    Server::http(move |_| match turn.fetch_add(1, Ordering::SeqCst) % divisor {
        0 => b"HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n".to_vec(),
        _ => ok(""),
    })
}

/// Half of the requests to one of three servers fail, and a quarter of those to another: the first is 1.22 deviations below.
fn success_rate() {
    let (sick, one, two) = (failing_each(2), failing_each(4), Server::named("two"));
    let all = [&sick, &one, &two];
    assert!(ejects(all, "success_rate: { factor: 1000, min_servers: 3, min_requests: 15 }, every: 500ms"));
    for outlier in [
        "every: 500ms",
        "success_rate: { factor: 1400, min_servers: 3, min_requests: 30 }, every: 500ms",
        "success_rate: { factor: 1000, min_servers: 4, min_requests: 15 }, every: 500ms",
        "success_rate: { factor: 1000, min_servers: 3, min_requests: 100 }, every: 500ms",
    ] {
        assert!(!ejects(all, outlier), "{outlier}");
    }
}
