//! A server that comes back is given little at first.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use testkit::{Client, Reloaded, Server, Start, Tidegate, ok};

use super::until_state;
use crate::support::{BINARY, Place, config, get};

fn pair(one: &dyn Place, two: &dyn Place, pool: &str) -> String {
    let text = format!(
        "workers: 1\nlisteners: {{ web: {{ bind: 127.0.0.1:0, to: app }} }}\n\
         pools: {{ app: {{ servers: {{ a: @ONE, b: @TWO }}, balance: round_robin, {pool} }} }}\n"
    );
    config(&text, &[("ONE", one), ("TWO", two)])
}

/// How many of so many requests were answered by `one`.
fn dealt(tidegate: &Tidegate, requests: usize) -> usize {
    let mut client = tidegate.client();
    (0..requests).filter(|_| client.get("/").text() == "one").count()
}

#[test]
fn a_server_that_comes_up_warms_up_and_one_that_starts_does_not() {
    let sick = Arc::new(AtomicBool::new(false));
    let one = {
        let sick = Arc::clone(&sick);
        Server::http(move |request| match request.target.as_str() {
            "/check" if sick.load(Ordering::SeqCst) => b"HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n".to_vec(),
            _ => ok("one"),
        })
    };
    let two = Server::named("two");
    let pool = "slow_start: 1h, health: { probe: http, path: /check, every: 20ms, fall: 1, rise: 1 }";
    let tidegate = Start::of(BINARY).text(&pair(&one, &two, pool));
    assert_eq!(dealt(&tidegate, 100), 50);
    sick.store(true, Ordering::SeqCst);
    until_state(&tidegate, 0, "down");
    assert_eq!(dealt(&tidegate, 20), 0);
    sick.store(false, Ordering::SeqCst);
    until_state(&tidegate, 0, "up");
    // A tenth against a whole.
    let got = dealt(&tidegate, 220);
    assert!((19..=22).contains(&got), "{got}");
}

#[test]
fn a_server_that_is_let_in_again_has_its_whole_share_in_the_end() {
    let (one, two) = (Server::named("one"), Server::named("two"));
    let tidegate = Start::of(BINARY).text(&pair(&one, &two, "slow_start: 1s"));
    let admin = tidegate.ready()["admin"].as_str().expect("an address").to_owned();
    let drain = |drain: bool| {
        let body = format!("{{\"drain\": {drain}}}");
        let head = format!("PUT /api/pools/app/servers/a HTTP/1.1\r\nHost: {admin}\r\nContent-Type: application/json");
        let request = format!("{head}\r\nContent-Length: {}\r\n\r\n{body}", body.len());
        assert_eq!(Client::connect(&admin).ask(request).status, 200);
    };
    drain(true);
    assert_eq!(dealt(&tidegate, 10), 0);
    // Control looks ten times a second, and when an operator has changed something.
    drain(false);
    let first = dealt(&tidegate, 22);
    assert!(first <= 8, "{first}");
    let began = Instant::now();
    while dealt(&tidegate, 20) != 10 {
        assert!(began.elapsed() < testkit::PATIENCE, "it never gets its share");
    }
}

#[test]
fn a_server_that_joins_warms_up() {
    let (one, two) = (Server::named("one"), Server::named("two"));
    let with = pair(&one, &two, "slow_start: 1h");
    let tidegate = Start::of(BINARY).text(&with.replace(&format!("a: {}, ", one.address()), ""));
    assert_eq!(tidegate.client().ask(get("/", "")).text(), "two");
    assert_eq!(tidegate.reload(&with), Reloaded::Yes);
    let got = dealt(&tidegate, 220);
    assert!((19..=22).contains(&got), "{got}");
}
