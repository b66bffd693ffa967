//! What a pool that fails, or is slow, is spared: the budget of retries and the circuit breaker.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use testkit::{Client, PATIENCE, Server, Signal, Tidegate, ok};

use super::pair;
use crate::admin::Operator;
use crate::support::{ask, before_pool, config, get, start};

/// A server that fails every request.
fn fails() -> Server {
    Server::http(|_| b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 4\r\n\r\nfail".to_vec())
}

fn flood(tidegate: &Tidegate, clients: usize, requests: usize) {
    let address = tidegate.address("web");
    thread::scope(|scope| {
        for _ in 0..clients {
            scope.spawn(|| {
                let mut client = Client::connect(&address);
                for _ in 0..requests {
                    let response = client.get("/flood");
                    // The answer of the last try is the client's, whether or not there could have been another.
                    assert_eq!((response.status, response.text().as_str()), (500, "fail"));
                }
            });
        }
    });
}

#[test]
fn a_flood_of_failures_is_not_multiplied() {
    let (one, two) = (fails(), fails());
    let text = "
workers: 4
listeners: { web: { bind: 127.0.0.1:0, to: app } }
pools: { app: { servers: [@ONE, @TWO], retries: { extra: 3, if: 500, budget: 20% } } }
";
    let tidegate = start(text, &[("ONE", &one), ("TWO", &two)]);
    flood(&tidegate, 8, 50);
    let asked = one.requests().len() + two.requests().len();
    // 400 requests, a fifth of them again, and ten; a slow run may see the ten of a second window.
    assert!((440..=500).contains(&asked), "{asked}");
    let line = tidegate.log_line("a request that was not tried again", |line| line["limit"] == "retry_budget");
    assert_eq!(line["status"], 500);
    assert!(tidegate.metric("tidegate_pool_limits_met_total", &["limit=\"retry_budget\""])[0] >= 300.0);
}

#[test]
fn a_reload_does_not_fill_the_budget() {
    let fails = fails();
    let text = |name: &str| {
        config(
            &format!(
                "listeners: {{ web: {{ bind: 127.0.0.1:0, routes: [{{ name: {name}, to: app }}] }} }}\npools: {{ app: {{ servers: [@APP], retries: {{ if: 500, budget: 0% }} }} }}\n"
            ),
            &[("APP", &fails)],
        )
    };
    let tidegate = testkit::Start::of(crate::support::BINARY).text(&text("before"));
    flood(&tidegate, 1, 20);
    tidegate.reload(&text("after"));
    flood(&tidegate, 1, 5);
    // Twenty and five, and ten further tries; a slow run may see a second window.
    assert!((35..45).contains(&fails.requests().len()), "{}", fails.requests().len());
}

#[test]
fn connections_of_a_pool_are_shared_by_all_workers() {
    let server = Server::named("app");
    let text = "
workers: 4
listeners: { web: { bind: 127.0.0.1:0, to: app } }
pools: { app: { servers: [@APP], circuit_breaker: { connections: 2 }, queue: { length: 100, timeout: 20s } } }
";
    let tidegate = start(text, &[("APP", &server)]);
    let address = tidegate.address("web");
    thread::scope(|scope| {
        for _ in 0..12 {
            scope.spawn(|| {
                let mut client = Client::connect(&address);
                for _ in 0..20 {
                    assert_eq!(client.get("/").status, 200);
                }
            });
        }
    });
    assert!(server.most_open() <= 2, "{}", server.most_open());
    assert_eq!(server.requests().len(), 240);
}

#[test]
fn the_idle_connection_of_a_drained_server_makes_room_for_another() {
    let (one, two) = (Server::named("one"), Server::named("two"));
    let tidegate = pair(&one, &two, "circuit_breaker: { connections: 1 }");
    assert_eq!(ask(&tidegate, &get("/", "")).text(), "one");
    let drained = Operator::of(&tidegate).put("/api/pools/app/servers/a", "", r#"{"drain": true}"#);
    assert_eq!(drained.status, 200);
    let mut client = tidegate.client();
    assert_eq!(client.get("/").text(), "two");
    assert_eq!(client.get("/").text(), "two");
}

#[test]
fn a_request_counts_until_its_response_has_ended() {
    let (go_on, waits) = {
        let signal = Signal::new();
        (signal.clone(), signal)
    };
    let server = Server::script(move |peer| {
        while peer.request().is_some() {
            peer.send("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nha");
            waits.wait();
            peer.send("lf");
        }
    });
    let tidegate = before_pool(&server, "circuit_breaker: { requests: 1 }");
    let mut first = tidegate.client();
    first.send(get("/first", ""));
    server.until_connections(1);
    let refused = ask(&tidegate, &get("/refused", ""));
    assert_eq!(refused.status, 503);
    let line = tidegate.log_of("/refused");
    assert_eq!((&line["fault"], &line["limit"]), (&"circuit_breaker".into(), &"requests".into()));
    assert_eq!(line.get("server"), None);
    go_on.raise();
    assert_eq!(first.response().text(), "half");
    tidegate.log_of("/first");
    assert_eq!(ask(&tidegate, &get("/then", "")).status, 200);
}

#[test]
fn further_tries_at_a_time_are_limited() {
    let let_go = Signal::new();
    let waits = let_go.clone();
    let closes = Server::script(|peer| drop(peer.request()));
    let slow = Server::http(move |_| {
        waits.wait();
        ok("slow")
    });
    let tidegate = pair(&closes, &slow, "circuit_breaker: { retries: 1 }, retries: { extra: 1, if: reset }");
    let mut first = tidegate.client();
    first.send(get("/first", ""));
    slow.until_connections(1);
    // Whoever meets the first server now has no other try: the one further try is taken.
    let mut others = [tidegate.client(), tidegate.client(), tidegate.client()];
    for client in &mut others {
        client.send(get("/other", ""));
    }
    let line = tidegate.log_line("the request without another try", |line| line["limit"] == "retries");
    assert_eq!((&line["tries"], &line["fault"]), (&1.into(), &"reset".into()));
    let_go.raise();
    assert_eq!(first.response().text(), "slow");
}

#[test]
fn a_tunnel_is_no_request_that_a_server_works_on() {
    let server = Server::script(|peer| {
        let socket = peer.request().is_some_and(|request| request.target == "/socket");
        if socket {
            peer.send("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n");
        } else {
            peer.send(ok("beside it"));
        }
        peer.hang();
    });
    let tidegate = before_pool(&server, "concurrency: { limit: adaptive, min: 1, max: 1 }");
    let mut tunnel = tidegate.client();
    tunnel.send(get("/socket", "Connection: Upgrade\r\nUpgrade: websocket\r\n"));
    assert_eq!(tunnel.head().status, 101);
    assert_eq!(ask(&tidegate, &get("/", "")).text(), "beside it");
}

/// A server that does one request at a time, each in ten milliseconds.
#[test]
fn a_pool_takes_no_more_at_a_time_than_it_can_do() {
    let turn = Mutex::new(());
    let server = Server::http(move |_| {
        let _turn = turn.lock().unwrap_or_else(PoisonError::into_inner);
        thread::sleep(Duration::from_millis(10));
        ok("")
    });
    let tidegate = before_pool(&server, "concurrency: { limit: adaptive, min: 1 }");
    let limit = || tidegate.metric("tidegate_pool_concurrency_limit", &["pool=\"app\""])[0];
    let (address, deadline, enough) = (tidegate.address("web"), Instant::now() + PATIENCE, AtomicBool::new(false));
    thread::scope(|scope| {
        for _ in 0..16 {
            scope.spawn(|| {
                let mut client = Client::connect(&address);
                while !enough.load(Ordering::Relaxed) {
                    match client.get("/").status {
                        200 => {}
                        503 => thread::sleep(Duration::from_millis(10)),
                        other => panic!("{other}"),
                    }
                }
            });
        }
        while limit() > 6.0 && Instant::now() < deadline {
            thread::sleep(Duration::from_millis(50));
        }
        enough.store(true, Ordering::Relaxed);
    });
    assert!(Instant::now() < deadline, "{}", limit());
}

/// Whoever reads slowly takes no place at servers that have long answered.
#[test]
fn a_place_is_free_once_the_head_of_the_response_is_here() {
    let go_on = Signal::new();
    let waits = go_on.clone();
    let server = Server::script(move |peer| {
        while let Some(request) = peer.request() {
            peer.send("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nha");
            if request.target == "/slow" {
                waits.wait();
            }
            peer.send("lf");
        }
    });
    let tidegate = before_pool(&server, "concurrency: { limit: adaptive, min: 1, max: 1 }");
    let mut slow = tidegate.client();
    slow.send(get("/slow", ""));
    assert_eq!(slow.head().status, 200);
    assert_eq!(ask(&tidegate, &get("/beside", "")).text(), "half");
    go_on.raise();
}

/// Asks from so many clients at a time.
fn crowd(tidegate: &Tidegate, target: &str, requests: usize) {
    let address = tidegate.address("web");
    thread::scope(|scope| {
        for _ in 0..16 {
            scope.spawn(|| {
                let mut client = Client::connect(&address);
                (0..requests).for_each(|_| drop(client.get(target)));
            });
        }
    });
}

#[test]
fn a_limit_learns_from_time_outs_and_not_from_errors() {
    let server = Server::http(|request| {
        match request.target.as_str() {
            "/hangs" => thread::sleep(Duration::from_secs(2)),
            "/fails" => thread::sleep(Duration::from_millis(5)),
            _ => return ok(""),
        }
        b"HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n".to_vec()
    });
    let tidegate = before_pool(
        &server,
        "concurrency: { limit: adaptive, min: 1 }, timeouts: { response: 60ms }, retries: { extra: 0 }",
    );
    let limit = || tidegate.metric("tidegate_pool_concurrency_limit", &["pool=\"app\""])[0];
    // Windows of a tenth of a second, in which the limit is used, and in which it would grow.
    crowd(&tidegate, "/fails", 60);
    assert_eq!(limit(), 20.0);
    let (mut client, began) = (tidegate.client(), Instant::now());
    while began.elapsed() < Duration::from_millis(300) {
        client.get("/");
    }
    crowd(&tidegate, "/hangs", 8);
    assert!(limit() < 20.0, "{}", limit());
}
