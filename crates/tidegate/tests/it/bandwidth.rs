//! Bandwidth: who shares it, tunnels, pipes, reloads. What is held back stands still for longer than it may, and is cut.

use serde_json::Value;
use testkit::{Reloaded, Server, Start, ok};

use crate::forward;
use crate::support::{BINARY, config, get, post, start};

const BODY: usize = 300_000;

fn server() -> Server {
    Server::http(|_| ok("x".repeat(BODY)))
}

fn text(policy: &str) -> String {
    format!(
        "policies: {{ slow: {{ bandwidth: {policy} }} }}
listeners:
  web: {{ bind: 127.0.0.1:0, timeouts: {{ stream: 300ms }}, routes: [{{ match: {{ path: /free }}, to: app }}, {{ use: slow, to: app }}] }}
  other: {{ bind: 127.0.0.1:0, timeouts: {{ stream: 300ms }}, use: slow, to: app }}
pools: {{ app: [@APP] }}
"
    )
}

#[test]
fn a_named_limit_is_one_for_all_its_uses_and_workers_and_lasts_over_reloads() {
    let server = server();
    let first = config(&text("{ rate: 1B/s, burst: 310KiB }"), &[("APP", &server)]);
    let tidegate = Start::of(BINARY).text(&first);
    assert_eq!(tidegate.client().get("/first").body.len(), BODY);
    let mut client = testkit::Client::connect(&tidegate.address("other"));
    client.send(get("/second", ""));
    assert_eq!(client.head().status, 200);
    assert_eq!(tidegate.log_of("/second")["fault"], "stream_timeout");
    assert_eq!(tidegate.client().get("/free").body.len(), BODY, "whoever is not limited is not held back");
    assert_eq!(tidegate.reload(&first.replace("workers: 2", "workers: 2 ")), Reloaded::Yes);
    tidegate.client().send(get("/third", ""));
    assert_ne!(tidegate.log_of("/third")["fault"], Value::Null);
    // Another rate is believed at once.
    assert_eq!(tidegate.reload(&first.replace("1B/s", "1GiB/s")), Reloaded::Yes);
    assert_eq!(tidegate.client().get("/fourth").body.len(), BODY);
}

#[test]
fn what_is_held_back_comes_whole_and_in_order() {
    // About a third of a second: the burst, and the rest in turns.
    let body: Vec<u8> = (0..BODY as u32).map(|at| (at % 251) as u8).collect();
    let sent = body.clone();
    let server = Server::http(move |_| ok(&sent));
    for splice in ["true", "false"] {
        let tidegate =
            start(&format!("splice: {splice}\n{}", text("{ rate: 800KiB/s, burst: 16KiB }")), &[("APP", &server)]);
        assert!(tidegate.client().get("/whole").body == body, "{splice}");
        let line = tidegate.log_of("/whole");
        assert!(line["total_us"].as_u64().is_some_and(|took| took > 250_000), "it has waited: {line}");
    }
}

#[test]
fn a_tunnel_is_held_back_both_ways_together() {
    let server = Server::script(|peer| {
        peer.send("x".repeat(BODY));
        peer.hang();
    });
    let policy = |burst: &str| {
        format!(
            "timeouts: {{ tunnel: 300ms }}\n    use: [{{ bandwidth: {{ rate: 1B/s, burst: {burst} }} }}]\n    to: origin"
        )
    };
    let place = format!("a.test:{}", server.port());
    for (burst, comes) in [("1MiB", true), ("16KiB", false)] {
        let tidegate = forward::proxy(&policy(burst));
        let mut client = tidegate.client();
        client.send(format!("CONNECT {place} HTTP/1.1\r\nHost: {place}\r\n\r\n"));
        assert_eq!(client.head().status, 200);
        let line = tidegate.log_line("a tunnel", |line| line["method"] == "CONNECT");
        assert_eq!(line["fault"], "tunnel_timeout");
        assert_eq!(line["bytes_out"] == BODY, comes, "{line}");
    }
}

/// What is small passes with its head, before anybody looks at it.
#[test]
fn who_owes_for_small_bodies_waits_before_the_next_one_goes_on() {
    let text = |direction: &str| {
        format!(
            "listeners: {{ web: {{ bind: 127.0.0.1:0, timeouts: {{ total: 300ms }}, to: app, use: [{{ bandwidth: {{ rate: 1B/s, burst: 16KiB, \
             direction: {direction} }} }}] }} }}\npools: {{ app: [@APP] }}\n"
        )
    };
    let large = "x".repeat(12_000);
    for (direction, request, answer) in [("out", get("/one", ""), &*large), ("in", post("/one", &large), "small")] {
        let server = Server::http({
            let answer = answer.to_owned();
            move |_| ok(&answer)
        });
        let tidegate = start(&text(direction), &[("APP", &server)]);
        for _ in 0..2 {
            assert_eq!(tidegate.client().ask(&request).text(), answer, "{direction}");
        }
        assert_eq!(tidegate.client().get("/three").status, 504, "{direction}");
        assert_eq!(tidegate.log_of("/three")["fault"], "total_timeout", "{direction}");
        assert_eq!(server.requests().len(), 2, "{direction}: nobody was troubled");
    }
}

#[test]
fn addresses_of_one_network_of_ipv6_share_it() {
    let server = server();
    let text = text("{ rate: 1B/s, burst: 310KiB }")
        .replace("0, timeouts", "0, forwarding: { trust: [127.0.0.0/8] }, timeouts");
    let tidegate = start(&text, &[("APP", &server)]);
    let ask = |path: &str, of: &str| {
        let mut client = tidegate.client();
        client.send(get(path, &format!("X-Forwarded-For: {of}\r\n")));
        // It may be cut.
        let _ = client.try_response();
        tidegate.log_of(path)
    };
    assert_eq!(ask("/one", "2001:db8:0:1::1")["fault"], Value::Null);
    assert_eq!(ask("/two", "2001:db8:0:1::2")["fault"], "stream_timeout");
    assert_eq!(ask("/three", "2001:db8:0:2::1")["fault"], Value::Null);
}
