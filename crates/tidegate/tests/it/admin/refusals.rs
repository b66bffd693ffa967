//! Whom it refuses, and why.

use testkit::{Client, Ending, Server};

use super::{Operator, error, in_turn, json};
use crate::support::{PLAIN, start};

/// A request with this head, on a connection of its own.
fn status(operator: &Operator, head: &str) -> u16 {
    let mut client = Client::connect(&operator.host);
    client.ask(format!("{head}\r\n\r\n")).status
}

#[test]
fn hosts_and_origins_of_others_are_refused() {
    let server = Server::named("app");
    let tidegate = start(PLAIN, &[("APP", &server)]);
    let operator = Operator::of(&tidegate);
    let own = &operator.host;
    for host in ["localhost", "localhost:1", "127.0.0.1", "127.1.2.3:80", "[::1]", "[::1]:9900", own] {
        assert_eq!(status(&operator, &format!("GET /healthz HTTP/1.1\r\nHost: {host}")), 200, "{host}");
    }
    for host in ["evil.example", "localhost.evil.example", "127.0.0.1.evil.example", "192.0.2.1", "0.0.0.0", ""] {
        assert_eq!(status(&operator, &format!("GET /healthz HTTP/1.1\r\nHost: {host}")), 403, "{host}");
    }
    // The target's authority counts, not the Host beside it.
    assert_eq!(status(&operator, &format!("GET http://evil.example/healthz HTTP/1.1\r\nHost: {own}")), 403);
    assert_eq!(status(&operator, "GET /healthz HTTP/1.0"), 403);
    assert_eq!(status(&operator, &format!("GET /healthz HTTP/1.1\r\nHost: {own}\r\nOrigin: http://{own}")), 200);
    for origin in ["http://evil.example", "null", "https://localhost", &format!("https://{own}"), "http://127.0.0.1:1"]
    {
        let head = format!("GET /healthz HTTP/1.1\r\nHost: {own}\r\nOrigin: {origin}");
        assert_eq!(status(&operator, &head), 403, "{origin}");
    }
}

#[test]
fn a_page_of_another_site_cannot_drain_a_server() {
    let (one, other) = (Server::named("one"), Server::named("other"));
    let tidegate = in_turn(&one, &other);
    let mut operator = Operator::of(&tidegate);
    let target = "/api/pools/app/servers/one";
    let refused = operator.put(target, "Origin: http://evil.example\r\n", r#"{"drain": true}"#);
    assert_eq!(refused.status, 403);
    assert_eq!(error(&refused), "another origin may not ask here: `http://evil.example`");
    let mut operator = Operator::of(&tidegate);
    // What a form or a script can send without asking first.
    for kind in
        ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=b", "application/jsonx"]
    {
        let fields = format!("Content-Type: {kind}\r\n");
        let request = operator.request("PUT", target, &fields, r#"{"drain": true}"#);
        assert_eq!(Client::connect(&operator.host).ask(request).status, 415, "{kind}");
    }
    assert_eq!(Client::connect(&operator.host).ask(operator.request("PUT", target, "", "{}")).status, 415);
    assert_eq!(json(&operator.get(target))["addresses"][0]["state"], "up");
}

#[test]
fn what_is_not_there_and_what_does_nothing_is_said() {
    let server = Server::named("app");
    let tidegate = start(PLAIN, &[("APP", &server)]);
    let mut operator = Operator::of(&tidegate);
    for target in ["/nothing", "/api", "/api/", "/metrics/", "/api/pools/none", "/api/pools/app/servers/none", "//"] {
        let refused = operator.get(target);
        assert_eq!(refused.status, 404, "{target}");
        assert!(!error(&refused).is_empty(), "{target}");
    }
    assert_eq!(error(&operator.get("/api/pools/none")), "there is no pool `none`");
    assert_eq!(operator.get("/api/pools/%zz").status, 400);
    for (method, target, allowed) in [
        ("POST", "/api/config", "GET, HEAD, PUT"),
        ("DELETE", "/api/pools/app/servers/none", "GET, HEAD, PUT"),
        ("PUT", "/api/pools", "GET, HEAD"),
        ("OPTIONS", "/", "GET, HEAD"),
        ("BREW", "/metrics", "GET, HEAD"),
    ] {
        let refused = operator.ask(method, target, "", "");
        assert_eq!((refused.status, refused.fields.value("allow")), (405, Some(allowed)), "{method} {target}");
    }
}

#[test]
fn what_is_too_large_or_broken_is_refused_and_the_connection_closes() {
    let server = Server::named("app");
    let tidegate = start(PLAIN, &[("APP", &server)]);
    let operator = Operator::of(&tidegate);
    let long = "x".repeat(17_000);
    let own = &operator.host;
    let put = "Content-Type: application/json\r\nIf-Match: *";
    for (head, expected) in [
        (format!("GET / HTTP/1.1\r\nHost: {own}\r\nx: {long}"), 431),
        (format!("GET / HTTP/1.1\r\nHost: {own}{}", "\r\na: b".repeat(70)), 431),
        (format!("GET /{long} HTTP/1.1\r\nHost: {own}"), 414),
        (format!("GET / HTTP/1.1\r\nHost : {own}"), 400),
        ("GET / HTTP/1.1".to_owned(), 400),
        ("GET / HTTP/3.0\r\nHost: a".to_owned(), 505),
        (format!("PUT /api/config HTTP/1.1\r\nHost: {own}\r\n{put}\r\nContent-Length: 4194305"), 413),
        (format!("PUT /api/config HTTP/1.1\r\nHost: {own}\r\n{put}\r\nContent-Length: 2\r\nExpect: a-miracle"), 417),
        (format!("PUT /api/config HTTP/1.1\r\nHost: {own}\r\n{put}\r\nTransfer-Encoding: gzip, chunked"), 501),
        (format!("PUT /api/config HTTP/1.1\r\nHost: {own}\r\n{put}\r\nTransfer-Encoding: chunked\r\n\r\nzz"), 400),
    ] {
        let mut client = Client::connect(&operator.host);
        let refused = client.ask(format!("{head}\r\n\r\n"));
        let start = &head[..head.len().min(120)];
        assert_eq!((refused.status, refused.fields.value("connection")), (expected, Some("close")), "{start}");
        assert!(!error(&refused).is_empty(), "{start}");
        client.finish();
        assert_eq!(client.ending(), Ending::Clean, "{start}");
    }
}

#[test]
fn a_chunked_body_is_counted_while_it_comes() {
    let server = Server::named("app");
    let tidegate = start(PLAIN, &[("APP", &server)]);
    let operator = Operator::of(&tidegate);
    let mut client = Client::connect(&operator.host);
    let fields = "Content-Type: application/json\r\nIf-Match: *\r\nTransfer-Encoding: chunked\r\n";
    client.send(operator.request("PUT", "/api/config", fields, ""));
    let chunk = format!("10000\r\n{}\r\n", " ".repeat(0x1_0000));
    for _ in 0..65 {
        client.send(&chunk);
    }
    let refused = client.response();
    assert_eq!(refused.status, 413);
    assert_eq!(error(&refused), "the body is larger than 4194304 bytes");
}

#[test]
fn a_client_that_waits_to_send_is_told_to() {
    let server = Server::named("app");
    let tidegate = start(PLAIN, &[("APP", &server)]);
    let mut operator = Operator::of(&tidegate);
    let body = r#"{"drain": false}"#;
    let target = format!("/api/pools/app/servers/{}", server.address());
    let request = operator.request("PUT", &target, "Content-Type: application/json\r\nExpect: 100-continue\r\n", body);
    let (head, body) = request.split_at(request.len() - body.len());
    operator.client.send(head);
    assert_eq!(operator.client.head().status, 100);
    operator.client.send(body);
    assert_eq!(operator.client.response().status, 200);
    assert_eq!(operator.get("/healthz").status, 200);
}

#[test]
fn a_head_that_does_not_come_is_not_waited_for() {
    let server = Server::named("app");
    let tidegate = start(PLAIN, &[("APP", &server)]);
    let operator = Operator::of(&tidegate);
    let mut slow = Client::connect(&operator.host);
    slow.send("GET /healthz HTTP/1.1\r\nHost:");
    let mut silent = Client::connect(&operator.host);
    assert_eq!(slow.response().status, 408);
    assert_eq!(silent.ending(), Ending::Clean);
}

#[test]
fn connections_are_bounded_and_come_free_again() {
    let server = Server::named("app");
    let tidegate = start(PLAIN, &[("APP", &server)]);
    let mut held: Vec<Operator> = (0..64).map(|_| Operator::of(&tidegate)).collect();
    for operator in &mut held {
        assert_eq!(operator.get("/healthz").status, 200);
    }
    let mut refused = Client::connect(&held[0].host);
    assert_eq!(refused.response().status, 503);
    assert_eq!(refused.ending(), Ending::Clean);
    // The ones that are there are not disturbed, and one that goes makes room.
    let mut last = held.pop().expect("an operator");
    assert_eq!(last.ask("GET", "/healthz", "Connection: close\r\n", "").status, 200);
    assert_eq!(last.client.ending(), Ending::Clean);
    assert_eq!(Operator::of(&tidegate).get("/healthz").status, 200);
}
