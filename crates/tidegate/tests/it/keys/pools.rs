//! The keys of pools and servers, but for those of the levels.

use std::sync::Arc;

use testkit::{Folder, Server, Shared, Signal, Start, ok};

use super::{Case, assert_refused, fate};
use crate::support::{BINARY, before_pool, config, get, seen, start};

pub(super) const CASES: &[Case] = &[
    (&["pools", "pools.*.servers"], servers),
    (&["pools.*.servers.*.address"], address),
    (&["pools.*.servers.*.weight"], weight),
    (&["pools.*.servers.*.max_connections", "pools.*.queue.length"], limit_and_queue),
    (
        &[
            "pools.*.circuit_breaker",
            "pools.*.circuit_breaker.connections",
            "pools.*.circuit_breaker.requests",
            "pools.*.circuit_breaker.retries",
        ],
        circuit_breaker,
    ),
    (
        &["pools.*.concurrency", "pools.*.concurrency.limit", "pools.*.concurrency.min", "pools.*.concurrency.max"],
        concurrency,
    ),
    (&["pools.*.balance", "pools.*.balance.algorithm"], balance),
    (&["pools.*.balance.hash"], hash),
    (&["pools.*.sticky", "pools.*.sticky.by"], sticky),
    (&["pools.*.sticky.cookie", "pools.*.sticky.for"], sticky_cookie),
    (&["pools.*.sticky.max"], sticky_max),
    (&["secret"], secret),
    (&["pools.*.servers.*.priority", "pools.*.servers.*.backup"], later),
    (&["zone", "pools.*.servers.*.zone"], zone),
    (&["pools.*.servers.*.labels", "listeners.*.routes.*.subset"], labels),
    (&["pools.*.panic"], panic),
    (&["pools.*.balance.balance_factor"], balance_factor),
    (&["pools.*.host"], host),
    (&["pools.*.protocol"], protocol),
    (&["pools.*.timeouts.pooled"], pooled),
    (&["pools.*.warm"], warm),
    (&["pools.*.send_proxy"], send_proxy),
];

/// Names of servers are those of the log.
fn servers() {
    let server = Server::named("app");
    for (servers, name) in [("[@APP]", server.address()), ("{ blue: { address: @APP } }", "blue")] {
        let text = format!(
            "listeners: {{ web: {{ bind: 127.0.0.1:0, to: app }} }}\npools: {{ app: {{ servers: {servers} }} }}\n"
        );
        let tidegate = start(&text, &[("APP", &server)]);
        assert_eq!(tidegate.client().get("/a").text(), "app");
        let line = tidegate.log_of("/a");
        assert_eq!((line["pool"].as_str(), line["server"].as_str()), (Some("app"), Some(name)));
    }
}

/// A Unix socket, relative to the file.
fn address() {
    let folder = Folder::new();
    let _server = Server::unix(&folder.path().join("app.sock"), |peer| {
        while peer.request().is_some() {
            peer.send(ok("by path"));
        }
    });
    let text = "listeners: { web: { bind: 127.0.0.1:0, to: app } }\npools: { app: [{ address: \"unix:app.sock\" }] }\n";
    let file = folder.write("tidegate.yaml", &config(text, &[]));
    assert_eq!(Start::of(BINARY).file(&file).client().get("/").text(), "by path");
}

fn weight() {
    let (one, two) = (Server::named("one"), Server::named("two"));
    let text = "
workers: 1
listeners: { web: { bind: 127.0.0.1:0, to: app } }
pools: { app: { servers: [{ address: @ONE, weight: 3 }, @TWO], balance: round_robin } }
";
    let tidegate = start(text, &[("ONE", &one), ("TWO", &two)]);
    let mut client = tidegate.client();
    for _ in 0..8 {
        client.get("/");
    }
    assert_eq!((one.requests().len(), two.requests().len()), (6, 2));
}

/// A second request finds the server full and nowhere to wait.
fn limit_and_queue() {
    let server = Server::script(testkit::Peer::hang);
    let text = "
listeners: { web: { bind: 127.0.0.1:0, to: app } }
pools: { app: { servers: [{ address: @APP, max_connections: 1 }], queue: { length: 0 } } }
";
    let tidegate = start(text, &[("APP", &server)]);
    let mut first = tidegate.client();
    first.send(get("/first", ""));
    server.until_connections(1);
    assert_eq!(fate(&tidegate, "/a"), (503, "queue_full".to_owned()));
}

/// One of two servers is busy. Who only counts turns or asks the dice does not care; who looks at all prefers the other;
/// who looks at two draws finds the busy one twice, one time in four; who hashes or takes the first stays with it.
fn balance() {
    const REQUESTS: usize = 200;
    for (balance, busy) in [
        ("round_robin", 100..=100),
        ("least_requests", 0..=0),
        ("least_connections", 0..=0),
        ("peak_ewma", 0..=0),
        ("random", 60..=140),
        ("power_of_two", 15..=85),
        ("first", 200..=200),
        ("source", 200..=200),
        ("maglev", 200..=200),
        ("{ algorithm: ring_hash }", 200..=200),
    ] {
        let is_held = Signal::new();
        let server = || {
            let is_held = is_held.clone();
            Server::script(move |peer| {
                while let Some(request) = peer.request() {
                    if request.target == "/hold" {
                        is_held.raise();
                        peer.hang();
                    }
                    peer.send(ok(""));
                }
            })
        };
        let (one, two) = (server(), server());
        let text = format!(
            "workers: 1\nlisteners: {{ web: {{ bind: 127.0.0.1:0, to: app }} }}\n\
             pools: {{ app: {{ servers: [@ONE, @TWO], balance: {balance} }} }}\n"
        );
        let tidegate = start(&text, &[("ONE", &one), ("TWO", &two)]);
        let mut held = tidegate.client();
        held.send(get("/hold", ""));
        is_held.wait();
        let mut client = tidegate.client();
        for _ in 0..REQUESTS {
            assert_eq!(client.get("/").status, 200);
        }
        let holds = |server: &Server| server.requests().iter().any(|request| request.target == "/hold");
        let (holder, other) = if holds(&one) { (one, two) } else { (two, one) };
        let counts = (holder.requests().len() - 1, other.requests().len());
        assert!(busy.contains(&counts.0) && counts.0 + counts.1 == REQUESTS, "{balance}: {counts:?}");
    }
}

/// The server that answered each of these requests.
fn chosen(tidegate: &testkit::Tidegate, requests: impl Iterator<Item = String>) -> Vec<String> {
    let mut client = tidegate.client();
    requests.map(|request| client.ask(request).text()).collect()
}

/// One client, many keys: without the key all would go to one server.
fn hash() {
    let (one, two) = (Server::named("one"), Server::named("two"));
    let text = "
listeners: { web: { bind: 127.0.0.1:0, to: app } }
pools: { app: { servers: [@ONE, @TWO], balance: { algorithm: maglev, hash: [header.x-user, query.user] } } }
";
    let tidegate = start(text, &[("ONE", &one), ("TWO", &two)]);
    let by_header = chosen(&tidegate, (0..40).map(|user| get("/", &format!("X-User: {user}\r\n"))));
    let by_query = chosen(&tidegate, (0..40).map(|user| get(&format!("/?user={user}"), "")));
    assert!(by_header.iter().any(|name| name == "one") && by_header.iter().any(|name| name == "two"));
    assert_eq!(by_header, by_query);
    let by_client = chosen(&tidegate, (0..40).map(|page| get(&format!("/{page}"), "")));
    assert!(by_client.iter().all(|name| *name == by_client[0]));
}

/// Two servers in turn; each of these clients asks twice.
fn each_asks_twice(sticky: &str, clients: usize) -> Vec<(String, String)> {
    let (one, two) = (Server::named("one"), Server::named("two"));
    let text = format!(
        "workers: 1\nlisteners: {{ web: {{ bind: 127.0.0.1:0, to: app }} }}\n\
         pools: {{ app: {{ servers: [@ONE, @TWO], balance: round_robin, sticky: {sticky} }} }}\n"
    );
    let tidegate = start(&text, &[("ONE", &one), ("TWO", &two)]);
    let requests = || (0..clients).map(|number| get("/", &format!("X-Client: {number}\r\n")));
    let first = chosen(&tidegate, requests());
    // The turn goes on by one, so that nobody meets the same server by the turn alone.
    chosen(&tidegate, [get("/", "")].into_iter());
    first.into_iter().zip(chosen(&tidegate, requests())).collect()
}

fn sticky() {
    assert!(each_asks_twice("header.x-client", 20).iter().all(|(first, second)| first == second));
    assert!(each_asks_twice("{ by: [header.x-client] }", 20).iter().all(|(first, second)| first == second));
    assert!(each_asks_twice("header.x-nobody", 20).iter().any(|(first, second)| first != second));
}

/// A table of one place remembers one client.
fn sticky_max() {
    let moved = each_asks_twice("{ by: header.x-client, max: 1 }", 20);
    assert!(moved.iter().any(|(first, second)| first != second));
}

fn sticky_cookie() {
    let server = Server::named("app");
    let tidegate = before_pool(&server, "sticky: { by: cookie, cookie: ours, for: 90s }");
    let response = tidegate.client().get("/");
    let cookie = response.fields.value("set-cookie").expect("a cookie");
    assert!(
        cookie.starts_with("ours=") && cookie.ends_with("; Path=/; HttpOnly; SameSite=Lax; Max-Age=90"),
        "{cookie}"
    );
}

/// With it the cookie of a server is the same in every process.
fn secret() {
    let server = Server::named("app");
    let folder = Folder::new();
    folder.write("secret", "long enough to be a secret");
    let cookie = |line: &str| {
        let text = format!(
            "{line}listeners: {{ web: {{ bind: 127.0.0.1:0, to: app }} }}\npools: {{ app: {{ servers: [@APP], sticky: cookie }} }}\n"
        );
        let file = folder.write("tidegate.yaml", &config(&text, &[("APP", &server)]));
        let response = Start::of(BINARY).file(&file).client().get("/");
        response.fields.value("set-cookie").expect("a cookie").to_owned()
    };
    const SECRET: &str = "secret: ${file.secret}\n";
    assert_eq!(cookie(SECRET), cookie(SECRET));
    assert_ne!(cookie(SECRET), cookie(""));
}

/// Who answers, with this said of the first of two servers, at the pool, and of the document.
fn answering(first: &str, pool: &str, top: &str, until: &str) -> Vec<String> {
    let (one, two) = (
        Server::named("one"),
        Server::http(|request| {
            if request.target == "/up" { b"HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n".to_vec() } else { ok("two") }
        }),
    );
    let text = format!(
        "{top}\nlisteners: {{ web: {{ bind: 127.0.0.1:0, routes: [{{ match: {{ path: /all }}, to: app }}, {{ to: app, name: x }}] }} }}\n\
         pools: {{ app: {{ servers: {{ a: {{ address: @ONE {first} }}, b: @TWO }}, balance: round_robin {pool} }} }}\n"
    );
    let text = if first.contains("labels") { text.replace("name: x", "subset: { ring: blue }") } else { text };
    let tidegate = start(&text, &[("ONE", &one), ("TWO", &two)]);
    if !until.is_empty() {
        tidegate.message(until);
    }
    let mut names = chosen(&tidegate, (0..8).map(|_| get("/", "")));
    names.sort();
    names.dedup();
    names
}

fn later() {
    assert_eq!(answering("", "", "", ""), ["one", "two"]);
    assert_eq!(answering(", priority: 1", "", "", ""), ["two"]);
    assert_eq!(answering(", backup: true", "", "", ""), ["two"]);
}

fn zone() {
    assert_eq!(answering(", zone: here", "", "zone: here", ""), ["one"]);
    assert_eq!(answering(", zone: here", "", "zone: there", ""), ["one", "two"]);
}

fn labels() {
    assert_eq!(answering(", labels: { ring: blue }", "", "", ""), ["one"]);
}

/// One of two is down: half of them is less than the share.
fn panic() {
    let health = ", health: { probe: http, path: /up, every: 50ms, fall: 1 }";
    assert_eq!(answering("", health, "", "server `b` of pool `app`"), ["one"]);
    assert_eq!(answering("", &format!("{health}, panic: 60%"), "", "server `b` of pool `app`"), ["one", "two"]);
}

/// All requests have one hash, and none of them ends.
fn balance_factor() {
    for algorithm in ["maglev", "ring_hash"] {
        let placed = Arc::new(Shared::new(0));
        let server = || {
            let placed = Arc::clone(&placed);
            Server::script(move |peer| {
                peer.request();
                placed.with(|count| *count += 1);
                peer.hang();
            })
        };
        let (one, two) = (server(), server());
        let text = format!(
            "listeners: {{ web: {{ bind: 127.0.0.1:0, to: app }} }}\npools: {{ app: {{ servers: [@ONE, @TWO], \
             balance: {{ algorithm: {algorithm}, balance_factor: 125 }} }} }}\n"
        );
        let tidegate = start(&text, &[("ONE", &one), ("TWO", &two)]);
        let mut clients: Vec<_> = (0..8).map(|_| tidegate.client()).collect();
        for (number, client) in clients.iter_mut().enumerate() {
            client.send(get("/", ""));
            placed.until("a request at a server", |count| (*count > number).then_some(()));
        }
        let counts = [one.requests().len(), two.requests().len()];
        assert!(counts == [3, 5] || counts == [5, 3], "{algorithm}: {counts:?}");
    }
}

fn host() {
    let server = Server::named("app");
    for (host, wanted) in [("client", "test.example"), ("server", server.address()), ("app.example", "app.example")] {
        let tidegate = before_pool(&server, &format!("host: {host}"));
        assert_eq!(seen(&tidegate, &server, &get("/", "")).fields.value("host"), Some(wanted), "{host}");
    }
}

fn protocol() {
    let server = Server::named("app");
    assert_eq!(before_pool(&server, "protocol: h1").client().get("/").text(), "app");
    // It answers nobody who speaks another protocol.
    let server = testkit::h2_server::Backend::named("other");
    let text =
        "listeners: { web: { bind: 127.0.0.1:0, to: app } }\npools: { app: { servers: [@APP], protocol: h2 } }\n";
    assert_eq!(start(text, &[("APP", &server)]).client().get("/").text(), "other");
    let desk = crate::tls::Desk::new();
    let server =
        testkit::h3_server::Backend::named(&testkit::ServerTls::new(&desk.issue("origin", &["a.test"])), "newest");
    let text = "
listeners: { web: { bind: 127.0.0.1:0, to: app } }
pools: { app: { servers: [@APP], protocol: h3, tls: { ca: '@DIR/ca.pem', server_name: a.test } } }
";
    assert_eq!(desk.start(text, &[("APP", &server)]).client().get("/").text(), "newest");
    for (keys, why) in [
        ("", "which needs TLS, add `tls`"),
        (", tls: {}, health: tcp", "goes by TCP and pool `app` by UDP"),
        (", tls: {}, health: { probe: http, port: 2 }", "is checked where it serves"),
    ] {
        let pool = format!("{{ servers: [\"127.0.0.1:1\"], protocol: h3{keys} }}");
        let text = format!("listeners: {{ web: {{ bind: 127.0.0.1:0, to: app }} }}\npools: {{ app: {pool} }}\n");
        assert_refused(&text, why);
    }
}

/// Without the key it would stay open for longer than a test waits.
fn pooled() {
    let server = Server::named("app");
    let tidegate = before_pool(&server, "timeouts: { pooled: 100ms }");
    assert_eq!(tidegate.client().get("/").text(), "app");
    server.until_idle();
    assert_eq!((server.connections(), tidegate.client().get("/").status), (1, 200));
}

/// Connections without a request.
fn send_proxy() {
    let server = Server::script(|peer| {
        let line = peer.reader.exactly(11).expect("the beginning of a line");
        peer.send(ok(line));
        peer.hang();
    });
    let tidegate = before_pool(&server, "send_proxy: v1");
    assert_eq!(tidegate.client().get("/").text(), "PROXY TCP4 ");
}

fn warm() {
    let server = Server::named("app");
    let _tidegate = before_pool(&server, "warm: 3");
    server.until_open(3);
}

/// The second request meets the limit, or the first one's second try does.
fn circuit_breaker() {
    let silent = Server::script(testkit::Peer::hang);
    for (keys, fault) in [
        ("circuit_breaker: { connections: 1 }, queue: { length: 0 }", "queue_full"),
        ("circuit_breaker: { requests: 1 }", "circuit_breaker"),
    ] {
        let tidegate = before_pool(&silent, keys);
        let mut first = tidegate.client();
        let connections = silent.connections();
        first.send(get("/first", ""));
        silent.until_connections(connections + 1);
        assert_eq!(fate(&tidegate, "/a"), (503, fault.to_owned()));
    }
    let closes = Server::script(|peer| drop(peer.request()));
    let tidegate = before_pool(&closes, "circuit_breaker: { retries: 0 }, retries: { if: reset }");
    assert_eq!(fate(&tidegate, "/a"), (502, "reset".to_owned()));
    let line = tidegate.log_of("/a");
    assert_eq!((&line["tries"], &line["limit"]), (&1.into(), &"retries".into()));
}

/// It begins with twenty at a time, between the bounds.
fn concurrency() {
    let silent = Server::script(testkit::Peer::hang);
    for (keys, limit) in [("{ limit: adaptive, max: 3 }", 3), ("adaptive", 20), ("{ limit: adaptive, min: 22 }", 22)] {
        let tidegate = before_pool(&silent, &format!("concurrency: {keys}"));
        assert_eq!(tidegate.metric("tidegate_pool_concurrency_limit", &["pool=\"app\""]), [f64::from(limit)]);
        let connections = silent.connections();
        let mut clients: Vec<_> = (0..limit).map(|_| tidegate.client()).collect();
        clients.iter_mut().for_each(|client| client.send(get("/held", "")));
        silent.until_connections(connections + clients.len());
        assert_eq!(fate(&tidegate, "/a"), (503, "circuit_breaker".to_owned()), "{keys}");
        assert_eq!(tidegate.log_of("/a")["limit"], "concurrency");
    }
}
