//! Servers: which one, over which connection, how often, for how long.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use testkit::{
    Broken, Client, Ending, Hanging, Names, Peer, Refusing, Reloaded, Server, Shared, Signal, Tidegate, ok, until,
};

use crate::reload::under_load;
use crate::support::{Place, ask, before, before_pool, config, get, post, start};

/// A server that answers the first request of a connection and closes it, without an answer, when the second has come.
fn closes_in_the_race() -> Server {
    Server::script(|peer| {
        peer.request();
        peer.send(ok("first"));
        peer.request();
    })
}

#[test]
fn a_request_that_meets_a_closing_connection_is_sent_again_if_that_is_safe() {
    for method in ["GET", "HEAD", "PUT", "DELETE"] {
        let server = closes_in_the_race();
        let tidegate = before_pool(&server, "retries: { extra: 0 }");
        let mut client = tidegate.client();
        assert_eq!(client.get("/").status, 200);
        client.send(format!("{method} /again HTTP/1.1\r\nHost: a\r\n\r\n"));
        let response = client.reader.response(method == "HEAD").expect("a response");
        assert_eq!(response.status, 200, "{method}");
        assert_eq!(server.connections(), 2, "{method}");
        let line = tidegate.log_of("/again");
        assert_eq!((&line["tries"], &line["reused"]), (&1.into(), &false.into()), "{method}");
    }
}

#[test]
fn a_post_that_meets_a_closing_connection_is_not_replayed() {
    let server = closes_in_the_race();
    let tidegate = before_pool(&server, "retries: { extra: 3, if: [connect, reset] }");
    let mut client = tidegate.client();
    assert_eq!(client.get("/").status, 200);
    assert_eq!(client.ask(post("/once", "pay")).status, 502);
    assert_eq!(tidegate.log_of("/once")["fault"], "reset");
    assert_eq!((server.connections(), server.requests().len()), (1, 2));
}

#[test]
fn a_connection_that_its_server_has_closed_is_not_used() {
    let server = Server::script(|peer| {
        peer.request();
        peer.send(ok("one"));
    });
    let tidegate = before(&server);
    let mut client = tidegate.client();
    for _ in 0..3 {
        assert_eq!(client.ask(post("/", "not replayed, so it must not meet a closed connection")).text(), "one");
        server.until_idle();
    }
    assert_eq!(server.connections(), 3);
}

/// Two servers in turn, one worker: the first request meets the first server.
fn pair(first: &dyn Place, second: &dyn Place, pool: &str) -> Tidegate {
    let text = format!(
        "workers: 1\nlisteners: {{ web: {{ bind: 127.0.0.1:0, to: app }} }}\npools: {{ app: {{ servers: {{ a: '@ONE', b: '@TWO' }}, balance: round_robin, {pool} }} }}\n"
    );
    start(&text, &[("ONE", first), ("TWO", second)])
}

#[test]
fn a_server_that_refuses_is_passed_over_at_once() {
    let (dead, live) = (Refusing::new(), Server::named("live"));
    let tidegate = pair(&dead, &live, "retries: { extra: 1 }");
    // Nothing was sent to the first server: even a POST may be tried at the second.
    assert_eq!(ask(&tidegate, &post("/first", "pay")).text(), "live");
    let line = tidegate.log_of("/first");
    assert_eq!((&line["tries"], &line["server"]), (&2.into(), &"b".into()));
    let mut client = tidegate.client();
    for number in 0..10 {
        assert_eq!(client.get(&format!("/then/{number}")).text(), "live");
    }
    assert!((0..10).all(|number| tidegate.log_of(&format!("/then/{number}"))["tries"] == 1));
}

#[test]
fn a_lone_server_that_refuses_is_502_and_tried_again_when_it_is_back() {
    let dead = Refusing::new();
    let tidegate = start("listeners: { web: { bind: 127.0.0.1:0, to: '@APP' } }\n", &[("APP", &dead)]);
    let mut client = tidegate.client();
    assert_eq!(client.get("/down").status, 502);
    assert_eq!(tidegate.log_of("/down")["fault"], "connect");
    let _server = Server::revive(dead, |peer| {
        while peer.request().is_some() {
            peer.send(ok("back"));
        }
    });
    assert_eq!(client.get("/").text(), "back");
}

#[test]
fn each_condition_of_a_retry_is_asked_for() {
    let resets = || {
        Server::script(|peer| {
            peer.request();
            peer.reset();
        })
    };
    let closes = || Server::script(|peer| drop(peer.request()));
    let garbage = || Server::http(|_| b"garbage\r\n\r\n".to_vec());
    let fails = || Server::http(|_| b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 4\r\n\r\nfail".to_vec());
    let hangs = || Server::script(Peer::hang);
    type Case = (&'static str, fn() -> Server, &'static str, u16, u64);
    let cases: [Case; 10] = [
        ("reset", resets, "if: [reset]", 200, 2),
        ("close", closes, "if: [reset]", 200, 2),
        ("garbage", garbage, "if: [reset]", 200, 2),
        ("reset unasked", resets, "if: [connect, timeout, 503]", 502, 1),
        ("status", fails, "if: [502, 503]", 200, 2),
        ("status unasked", fails, "if: [reset, 502]", 503, 1),
        ("timeout", hangs, "if: [timeout]", 200, 2),
        ("timeout unasked", hangs, "if: [reset, connect]", 504, 1),
        ("none left", fails, "if: [503], extra: 0", 503, 1),
        ("by default", resets, "", 502, 1),
    ];
    for (name, bad, retries, status, tries) in cases {
        let (bad, good) = (bad(), Server::named("good"));
        let tidegate = pair(&bad, &good, &format!("retries: {{ {retries} }}, timeouts: {{ response: 300ms }}"));
        let response = ask(&tidegate, &get("/tried", ""));
        assert_eq!(response.status, status, "{name}");
        let line = tidegate.log_of("/tried");
        assert_eq!(line["tries"], tries, "{name}");
        assert_eq!(good.requests().len() as u64, tries - 1, "{name}");
    }
}

#[test]
fn when_every_try_fails_the_last_answer_is_the_clients() {
    let fails = |name: &'static str| {
        Server::http(move |_| {
            format!("HTTP/1.1 503 Service Unavailable\r\nContent-Length: 3\r\n\r\n{name}").into_bytes()
        })
    };
    let (one, two) = (fails("one"), fails("two"));
    let tidegate = pair(&one, &two, "retries: { extra: 1, if: [503] }");
    let response = ask(&tidegate, &get("/", ""));
    assert_eq!((response.status, response.text().as_str()), (503, "two"));
    assert_eq!((one.requests().len(), two.requests().len()), (1, 1));
}

#[test]
fn what_cannot_be_sent_again_is_not() {
    let resets = Server::script(|peer| {
        let request = peer.request_head().expect("a head");
        // A large body is on its way when the connection breaks; a small one is here.
        let _ = peer.reader.discard(
            request.fields.value("content-length").map_or(0, |length| length.parse().expect("a number")).min(200_000),
        );
        peer.reset();
    });
    let good = Server::echo();
    let tidegate = pair(&resets, &good, "retries: { extra: 1, if: [reset] }");
    let big = "x".repeat(1_000_000);
    // The turn alternates: the bad server is first for every other request.
    let mut client = tidegate.client();
    assert_eq!(client.ask(post("/", "pay")).status, 502);
    let mut client = tidegate.client();
    assert_eq!(client.ask(get("/", "")).status, 200);
    let mut client = tidegate.client();
    client.send("PUT /small HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nsmall");
    assert_eq!(client.response().text(), "small");
    assert_eq!(tidegate.log_of("/small")["tries"], 2);
    let tidegate = pair(&resets, &good, "retries: { extra: 1, if: [reset] }");
    let mut client = tidegate.client();
    client.try_send(format!("PUT /big HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n{big}", big.len()));
    assert_eq!(client.response().status, 502);
}

#[test]
fn nothing_is_tried_again_once_the_response_has_begun() {
    let cuts = Server::script(|peer| {
        peer.request();
        peer.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf");
    });
    let good = Server::named("good");
    let tidegate = pair(&cuts, &good, "retries: { extra: 1, if: [connect, reset, timeout, 502, 503] }");
    let mut client = tidegate.client();
    client.send(get("/", ""));
    assert!(matches!(client.try_response(), Err(Broken::Cut | Broken::Reset)));
    assert_eq!(good.connections(), 0);
}

#[test]
fn round_robin_deals_by_weight() {
    let servers = [Server::named("a"), Server::named("b"), Server::named("c")];
    let text = "
workers: 1
listeners: { web: { bind: 127.0.0.1:0, to: app } }
pools: { app: { servers: { a: { address: '@A' }, b: { address: '@B', weight: 2 }, c: { address: '@C', weight: 3 } }, balance: round_robin } }
";
    let tidegate = start(text, &[("A", &servers[0]), ("B", &servers[1]), ("C", &servers[2])]);
    let mut client = tidegate.client();
    let answers: String = (0..60).map(|_| client.get("/").text()).collect();
    assert_eq!(servers.each_ref().map(|server| server.requests().len()), [10, 20, 30], "{answers}");
    // Smoothly: no three in a row of a server that has half of the turn.
    assert!(!answers.contains("ccc"), "{answers}");
}

#[test]
fn least_requests_avoids_the_busy_server() {
    let (busy, let_go) = (Arc::new(Shared::new(None)), Signal::new());
    let server = |name: &'static str| {
        let (busy, held) = (Arc::clone(&busy), let_go.clone());
        Server::http(move |request| {
            if request.target == "/slow" {
                busy.with(|busy| *busy = Some(name));
                held.wait();
            }
            ok(name)
        })
    };
    let (one, two) = (server("one"), server("two"));
    let text = "
listeners: { web: { bind: 127.0.0.1:0, to: app } }
pools: { app: [@ONE, @TWO] }
";
    let tidegate = start(text, &[("ONE", &one), ("TWO", &two)]);
    let mut slow = tidegate.client();
    slow.send(get("/slow", ""));
    let busy = busy.until("the slow request", |busy| *busy);
    let mut client = tidegate.client();
    for _ in 0..10 {
        assert_ne!(client.get("/").text(), busy);
    }
    let_go.raise();
    assert_eq!(slow.response().text(), busy);
}

#[test]
fn random_reaches_every_server_by_weight() {
    let (light, heavy) = (Server::named("light"), Server::named("heavy"));
    let text = "
listeners: { web: { bind: 127.0.0.1:0, to: app } }
pools: { app: { servers: [@LIGHT, { address: '@HEAVY', weight: 4 }], balance: random } }
";
    let tidegate = start(text, &[("LIGHT", &light), ("HEAVY", &heavy)]);
    let mut client = tidegate.client();
    for _ in 0..200 {
        assert_eq!(client.get("/").status, 200);
    }
    let (light, heavy) = (light.requests().len(), heavy.requests().len());
    assert!(light > 0 && heavy > 2 * light, "{light} and {heavy}");
}

/// Many clients at once, each with so many requests; every one of them is served.
fn crowd(tidegate: &Tidegate, clients: usize, requests: usize) {
    let address = tidegate.address("web");
    thread::scope(|scope| {
        for _ in 0..clients {
            scope.spawn(|| {
                let mut client = Client::connect(&address);
                for _ in 0..requests {
                    assert_eq!(client.get("/").status, 200);
                }
            });
        }
    });
}

#[test]
fn one_connection_for_four_workers_is_shared_and_never_two() {
    let server = Server::named("app");
    let text = "
workers: 4
listeners: { web: { bind: 127.0.0.1:0, to: app } }
pools: { app: { servers: [{ address: '@APP', max_connections: 1 }], queue: { length: 100, timeout: 20s } } }
";
    let tidegate = start(text, &[("APP", &server)]);
    crowd(&tidegate, 12, 25);
    assert_eq!((server.most_open(), server.requests().len()), (1, 300));
}

#[test]
fn a_limit_holds_while_connections_close_all_the_time() {
    let server = Server::script(|peer| {
        peer.request();
        peer.send("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n");
    });
    let text = "
workers: 4
listeners: { web: { bind: 127.0.0.1:0, to: app } }
pools: { app: { servers: [{ address: '@APP', max_connections: 2 }], queue: { length: 100, timeout: 20s } } }
";
    let tidegate = start(text, &[("APP", &server)]);
    crowd(&tidegate, 12, 20);
    assert!(server.most_open() <= 2, "{} open at once", server.most_open());
    assert_eq!(server.connections(), 240);
}

/// A pool whose one connection is held by a request, until the signal.
fn held(queue: &str) -> (Server, Tidegate, Client, Signal) {
    let let_go = Signal::new();
    let waits = let_go.clone();
    let server = Server::http(move |_| {
        waits.wait();
        ok("served")
    });
    let text = format!(
        "listeners: {{ web: {{ bind: 127.0.0.1:0, to: app }} }}\npools: {{ app: {{ servers: [{{ address: '@APP', max_connections: 1 }}], queue: {queue} }} }}\n"
    );
    let tidegate = start(&text, &[("APP", &server)]);
    let mut first = tidegate.client();
    first.send(get("/first", ""));
    server.until_connections(1);
    (server, tidegate, first, let_go)
}

#[test]
fn a_full_queue_is_503_at_once() {
    let (server, tidegate, mut first, let_go) = held("{ length: 1, timeout: 20s }");
    let mut others = [tidegate.client(), tidegate.client()];
    for client in &mut others {
        client.send(get("/other", ""));
    }
    tidegate.log_line("the refused request", |line| line["fault"] == "queue_full" && line["status"] == 503);
    let_go.raise();
    assert_eq!(first.response().status, 200);
    let mut statuses = others.each_mut().map(|client| client.response().status);
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 503]);
    assert_eq!(server.most_open(), 1);
}

#[test]
fn waiting_too_long_is_503() {
    let (_server, tidegate, mut first, let_go) = held("{ length: 10, timeout: 200ms }");
    assert_eq!(ask(&tidegate, &get("/late", "")).status, 503);
    let line = tidegate.log_of("/late");
    assert_eq!(line["fault"], "queue_timeout");
    assert!(line["queue_us"].as_u64().expect("a number") >= 200_000, "{line}");
    let_go.raise();
    assert_eq!(first.response().status, 200);
}

#[test]
fn whoever_leaves_the_queue_makes_room() {
    let (_server, tidegate, mut first, let_go) = held("{ length: 1, timeout: 20s }");
    let mut clients = [tidegate.client(), tidegate.client()];
    for client in &mut clients {
        client.send(get("/one-of-two", ""));
    }
    // Once one of them has been refused, the other is in the queue.
    let refused = tidegate.log_line("the refused request", |line| line["fault"] == "queue_full");
    let [one, two] = clients;
    let (mut stays, leaves) = if refused["peer"] == one.local_address() { (one, two) } else { (two, one) };
    assert_eq!(stays.response().status, 503);
    leaves.reset();
    tidegate.log_line("the leaver", |line| line["fault"] == "client_gone");
    stays.send(get("/", ""));
    let_go.raise();
    assert_eq!((first.response().status, stays.response().status), (200, 200));
}

#[test]
fn no_safe_request_fails_when_a_server_dies_under_load() {
    let (dies, lives) = (Server::named("dies"), Server::named("lives"));
    let text = "
listeners: { web: { bind: 127.0.0.1:0, to: app } }
pools: { app: { servers: [@DIES, @LIVES], retries: { extra: 2, if: [connect, reset] } } }
";
    let tidegate = start(text, &[("DIES", &dies), ("LIVES", &lives)]);
    let enough = |server: &Server| {
        for _ in 0..100 {
            server.request();
        }
    };
    under_load(&tidegate, || {
        enough(&dies);
        drop(dies);
        enough(&lives);
    });
}

#[test]
fn connecting_for_too_long_is_504() {
    let nobody = Hanging::new();
    let text = "
listeners: { web: { bind: 127.0.0.1:0, to: app } }
pools: { app: { servers: [@APP], timeouts: { connect: 300ms }, retries: { extra: 0 } } }
";
    let tidegate = start(text, &[("APP", &nobody)]);
    assert_eq!(ask(&tidegate, &get("/hangs", "")).status, 504);
    let line = tidegate.log_of("/hangs");
    assert_eq!((&line["fault"], &line["side"]), (&"connect_timeout".into(), &"server".into()));
    assert!(line["connect_us"].as_u64().expect("a number") >= 300_000, "{line}");
}

#[test]
fn a_server_that_does_not_answer_is_504() {
    for (timeouts, fault) in [("response: 300ms", "response_timeout"), ("total: 300ms", "total_timeout")] {
        let server = Server::script(Peer::hang);
        let tidegate = before_pool(&server, &format!("timeouts: {{ {timeouts} }}"));
        let mut client = tidegate.client();
        assert_eq!(client.get("/silent").status, 504, "{fault}");
        assert_eq!(tidegate.log_of("/silent")["fault"], fault);
        // The server may still answer: that connection is not used again.
        server.until_idle();
        assert_eq!(client.get("/").status, 504, "{fault}");
    }
}

#[test]
fn a_response_that_stands_still_is_cut() {
    for (timeouts, fault) in [("stream: 300ms", "stream_timeout"), ("total: 300ms", "total_timeout")] {
        let server = Server::script(|peer| {
            peer.request();
            peer.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nsome\r\n");
            peer.hang();
        });
        let tidegate = before_pool(&server, &format!("timeouts: {{ {timeouts} }}"));
        let mut client = tidegate.client();
        client.send(get("/stands", ""));
        assert!(matches!(client.try_response(), Err(Broken::Cut | Broken::Reset)), "{fault}");
        let line = tidegate.log_of("/stands");
        assert_eq!((&line["fault"], &line["cut"], &line["status"]), (&fault.into(), &true.into(), &200.into()));
        server.until_idle();
    }
}

#[test]
fn an_idle_connection_is_closed_in_time() {
    let server = Server::named("app");
    let tidegate = before_pool(&server, "timeouts: { pooled: 200ms }");
    assert_eq!(ask(&tidegate, &get("/", "")).status, 200);
    server.until_idle();
    assert_eq!(ask(&tidegate, &get("/", "")).status, 200);
    assert_eq!(server.connections(), 2);
}

#[test]
fn a_silent_tunnel_is_closed_in_time() {
    let server = Server::script(|peer| {
        peer.request();
        peer.send("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nhello");
        peer.hang();
    });
    let tidegate = before_pool(&server, "timeouts: { tunnel: 300ms }");
    let mut client = tidegate.client();
    client.send("GET /ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n");
    assert_eq!(client.head().status, 101);
    assert_eq!(client.ending(), Ending::Bytes(b"hello".to_vec()));
    assert_eq!(tidegate.log_of("/ws")["fault"], "tunnel_timeout");
    server.until_idle();
}

#[test]
fn a_name_is_resolved_again_when_its_ttl_ends() {
    let answers = |name: &'static str| {
        move |peer: &mut Peer| {
            while peer.request().is_some() {
                peer.send(ok(name));
            }
        }
    };
    let old = Server::script(answers("old"));
    let new = Server::at(&format!("127.0.0.2:{}", old.port()), answers("new"));
    let names = Names::start(&[Ipv4Addr::new(127, 0, 0, 1)], 1);
    let text = format!(
        "dns: {{ servers: ['{}'] }}\nlisteners: {{ web: {{ bind: 127.0.0.1:0, to: app }} }}\npools: {{ app: ['app.example:{}'] }}\n",
        names.address(),
        old.port()
    );
    let tidegate = start(&text, &[]);
    let mut client = tidegate.client();
    assert_eq!(client.get("/").text(), "old");
    let asked = names.asked();
    names.set(&[Ipv4Addr::new(127, 0, 0, 2)]);
    names.until_asked(asked + 1);
    tidegate.message("`app.example` is now");
    until("requests go to the new address", || client.get("/").text() == "new");
    // The connection to the old address is closed, and the new one stays.
    old.until_idle();
    assert_eq!(client.get("/").text(), "new");
    assert_eq!(new.connections(), 1);
}

#[test]
fn a_name_with_two_addresses_is_two_servers() {
    let one = Server::named("one");
    let two = Server::at(&format!("127.0.0.2:{}", one.port()), |peer| {
        while peer.request().is_some() {
            peer.send(ok("two"));
        }
    });
    let names = Names::start(&[Ipv4Addr::new(127, 0, 0, 1), Ipv4Addr::new(127, 0, 0, 2)], 60);
    let text = format!(
        "workers: 1\ndns: {{ servers: ['{}'] }}\nlisteners: {{ web: {{ bind: 127.0.0.1:0, to: app }} }}\npools: {{ app: {{ servers: ['app.example:{}'], balance: round_robin }} }}\n",
        names.address(),
        one.port()
    );
    let tidegate = start(&text, &[]);
    let mut client = tidegate.client();
    for _ in 0..4 {
        assert_eq!(client.get("/").status, 200);
    }
    assert_eq!((one.requests().len(), two.requests().len()), (2, 2));
}

#[test]
fn a_name_that_does_not_resolve_starts_and_serves_when_it_does() {
    let server = Server::named("app");
    let names = Names::start(&[], 1);
    let text = format!(
        "dns: {{ servers: ['{}'], hosts: {{ fixed.example: 127.0.0.1 }} }}\nlisteners: {{ web: {{ bind: 127.0.0.1:0, routes: [{{ match: {{ path: /fixed }}, to: fixed }}, {{ to: app }}] }} }}\npools: {{ app: ['app.example:{port}'], fixed: ['fixed.example:{port}'] }}\n",
        names.address(),
        port = server.port()
    );
    let tidegate = start(&text, &[]);
    let mut client = tidegate.client();
    assert_eq!(client.get("/fixed").text(), "app");
    assert_eq!(client.get("/none").status, 503);
    assert_eq!(tidegate.log_of("/none")["fault"], "no_server");
    names.set(&[Ipv4Addr::LOCALHOST]);
    tidegate.message("`app.example` is now");
    let deadline = Instant::now() + Duration::from_secs(5);
    while client.get("/").status != 200 {
        assert!(Instant::now() < deadline, "the name resolves, and requests still fail");
    }
}

#[test]
fn whoever_hangs_up_has_left_the_queue() {
    let (server, tidegate, mut first, let_go) = held("{ length: 1, timeout: 20s }");
    let mut leaver = tidegate.client();
    leaver.send(get("/leaver", ""));
    leaver.finish();
    tidegate.log_line("the leaver", |line| line["path"] == "/leaver" && line["fault"] == "client_gone");
    let mut stays = tidegate.client();
    stays.send(get("/stays", ""));
    let_go.raise();
    assert_eq!((first.response().status, stays.response().status), (200, 200));
    assert!(server.requests().iter().all(|request| request.target != "/leaver"));
}

#[test]
fn whoever_waits_while_its_server_is_replaced_is_served() {
    let (_server, tidegate, mut first, let_go) = held("{ length: 3, timeout: 20s }");
    let mut waiters: Vec<Client> = (0..4).map(|_| tidegate.client()).collect();
    for client in &mut waiters {
        client.send(get("/waits", ""));
    }
    // Once one of them has been refused, the others are in the queue.
    let refused = tidegate.log_line("the refused request", |line| line["fault"] == "queue_full");
    waiters.retain(|client| refused["peer"] != client.local_address());
    let other = Server::named("other");
    let text = "listeners: { web: { bind: 127.0.0.1:0, to: app } }\npools: { app: { servers: [{ address: '@APP', max_connections: 1 }], queue: { length: 9, timeout: 20s } } }\n";
    assert_eq!(tidegate.reload(&config(text, &[("APP", &other)])), Reloaded::Yes);
    // Requests that begin now go to the new server, whatever stands in the queue for the old one.
    assert_eq!(ask(&tidegate, &get("/new", "")).text(), "other");
    let_go.raise();
    assert_eq!(first.response().text(), "served");
    for client in &mut waiters {
        assert_eq!(client.response().text(), "served");
    }
}
