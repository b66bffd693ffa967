//! Bodies and tunnels over TLS: whole, at the pace of the slower side, and visibly cut when they are.

use std::io::Write as _;

use testkit::{Client, Ending, Server, ServerTls, ok};

use super::{Desk, EDGE, page};
use crate::support::get;

/// TLS on both sides.
const THROUGH: &str = "
certificates: { main: { cert: '@DIR/main.pem', key: '@DIR/main.key' } }
listeners: { web: { bind: 127.0.0.1:0, tls: main, limits: { request_body: 64MiB }, to: app } }
pools: { app: { servers: [@APP], tls: { server_name: example.com, ca: '@DIR/ca.pem' } } }
";

const UPGRADE: &str = "GET /ws HTTP/1.1\r\nHost: example.com\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
const SWITCHED: &str = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";

fn secret_server(desk: &Desk) -> ServerTls {
    ServerTls::new(&desk.issue("server", &["example.com"]))
}

/// Bytes that show when one is lost, doubled or out of place.
fn noise(length: usize) -> Vec<u8> {
    let mut state = 1_u32;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    (0..length).map(|_| next()).collect()
}

#[test]
fn large_bodies_pass_both_ways_unchanged() {
    let desk = Desk::new();
    let server = Server::secured(&secret_server(&desk), |peer| {
        while let Some(request) = peer.request() {
            peer.send(ok(&request.body));
        }
    });
    let tidegate = desk.start(THROUGH, &[("APP", &server)]);
    let mut client = desk.client(&tidegate);
    for length in [0, 1, 16 * 1024, 5 * 1024 * 1024, 300_000] {
        let body = noise(length);
        if length == 300_000 {
            // Little room in the kernel: writes are taken in part, and must go on where they stopped.
            client.reader.socket.keep_little();
        }
        client.send(format!("POST / HTTP/1.1\r\nHost: example.com\r\nContent-Length: {}\r\n\r\n", body.len()));
        client.send(&body);
        let response = client.response();
        assert!(response.status == 200 && response.body == body, "{} of {}", response.body.len(), body.len());
    }
    assert_eq!(server.connections(), 1);
}

#[test]
fn chunks_and_trailers_pass_over_tls() {
    let desk = Desk::new();
    let server = Server::secured(&secret_server(&desk), |peer| {
        let request = peer.request().expect("a request");
        assert_eq!((request.body.as_slice(), request.trailers.value("x-sum")), (&b"abc"[..], Some("3")));
        peer.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nfour\r\n0\r\nX-End: yes\r\n\r\n");
        peer.hang();
    });
    let tidegate = desk.start(THROUGH, &[("APP", &server)]);
    let mut client = desk.client(&tidegate);
    client.send(
        "POST / HTTP/1.1\r\nHost: example.com\r\nTE: trailers\r\nConnection: TE\r\nTransfer-Encoding: chunked\r\n\r\n",
    );
    client.send("3\r\nabc\r\n0\r\nX-Sum: 3\r\n\r\n");
    let response = client.response();
    assert_eq!((response.text().as_str(), response.trailers.value("x-end")), ("four", Some("yes")));
}

/// RFC 8446 section 6.1: an end that was not said may be an attacker's.
#[test]
fn a_body_that_ends_without_the_closing_alert_is_cut() {
    let desk = Desk::new();
    let server = Server::secured(&secret_server(&desk), |peer| {
        let request = peer.request().expect("a request");
        peer.send("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nso far");
        if request.target == "/whole" {
            peer.finish();
            peer.hang();
        }
    });
    let tidegate = desk.start(THROUGH, &[("APP", &server)]);
    assert_eq!(desk.client(&tidegate).ask(page("/whole")).text(), "so far");
    let mut client = desk.client(&tidegate);
    client.send(page("/cut"));
    assert!(client.try_response().is_err());
    let line = tidegate.log_of("/cut");
    assert_eq!((line["fault"].as_str(), line["cut"].as_bool()), (Some("truncated"), Some(true)));
}

/// A client of HTTP/1.0 sees the end of a body by the end of the connection, which must be said.
#[test]
fn a_body_that_ends_with_the_connection_ends_with_the_closing_alert() {
    let desk = Desk::new();
    let body = noise(700_000);
    let sent = body.clone();
    let server = Server::script(move |peer| {
        peer.request();
        peer.send(format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{:x}\r\n", sent.len()));
        peer.send(&sent);
        peer.send("\r\n0\r\n\r\n");
        peer.hang();
    });
    let tidegate = desk.start(EDGE, &[("APP", &server)]);
    let mut client = desk.client(&tidegate);
    client.reader.socket.keep_little();
    client.send("GET /old HTTP/1.0\r\nHost: example.com\r\n\r\n");
    let all = client.reader.to_end().expect("an end that is said");
    assert!(all.ends_with(&body), "{}", all.len());
}

#[test]
fn a_client_that_is_killed_inside_a_body_ends_both_sides() {
    let desk = Desk::new();
    let server = Server::secured(&secret_server(&desk), |peer| {
        while let Some(request) = peer.request() {
            if request.target != "/long" {
                peer.send(ok("short"));
                continue;
            }
            peer.send("HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n");
            while peer.try_send([0; 65536]) {}
            return;
        }
    });
    let tidegate = desk.start(THROUGH, &[("APP", &server)]);
    let mut client = desk.client(&tidegate);
    client.send(page("/long"));
    assert_eq!(client.head().status, 200);
    client.reset();
    assert_eq!(tidegate.log_of("/long")["fault"], "client_gone");
    server.until_open(0);
    assert_eq!(desk.client(&tidegate).ask(page("/")).text(), "short");
}

#[test]
fn a_websocket_over_tls_can_end_one_side_at_a_time() {
    let desk = Desk::new();
    let server = Server::secured(&secret_server(&desk), |peer| {
        peer.request().expect("a request");
        peer.send(format!("{SWITCHED}hello"));
        if peer.number == 0 {
            let said = peer.rest().expect("the client's end");
            peer.send([b"you said ", &said[..]].concat());
            peer.finish();
        } else {
            // This time the server is the first to end.
            peer.finish();
            assert_eq!(peer.rest().expect("the client's end"), b"still here");
        }
    });
    let tidegate = desk.start(THROUGH, &[("APP", &server)]);
    let mut client = desk.client(&tidegate);
    client.send([UPGRADE, "early "].concat());
    assert_eq!(client.head().status, 101);
    assert_eq!(client.exactly(5), b"hello");
    client.send("and late");
    client.finish();
    assert_eq!(client.ending(), Ending::Bytes(b"you said early and late".to_vec()));

    let mut client = desk.client(&tidegate);
    client.send(UPGRADE);
    assert_eq!(client.head().status, 101);
    assert_eq!(client.ending(), Ending::Bytes(b"hello".to_vec()));
    client.send("still here");
    client.finish();
    server.until_open(0);
}

/// More than the kernel keeps, one way and then the other, through sockets that take little.
#[test]
fn a_tunnel_loses_nothing_when_its_ends_take_little() {
    let desk = Desk::new();
    let body = noise(400_000);
    let expected = body.clone();
    let server = Server::secured(&secret_server(&desk), move |peer| {
        peer.request().expect("a request");
        peer.reader.socket.keep_little();
        peer.send(SWITCHED);
        // It says all before it listens.
        peer.send(&expected);
        assert!(peer.reader.exactly(expected.len()).expect("the other direction") == expected);
        peer.finish();
    });
    let tidegate = desk.start(THROUGH, &[("APP", &server)]);
    let mut client = desk.client(&tidegate);
    client.send(UPGRADE);
    assert_eq!(client.head().status, 101);
    client.reader.socket.keep_little();
    assert!(client.exactly(body.len()) == body);
    client.send(&body);
    assert_eq!(client.ending(), Ending::Clean);
}

#[test]
fn a_refused_request_is_answered_before_its_body_is_read() {
    let desk = Desk::new();
    let server = Server::named("app");
    let tidegate = desk.start(EDGE, &[("APP", &server)]);
    let mut client: Client = desk.client(&tidegate);
    client.send("POST / HTTP/1.1\r\nHost: example.com\r\nContent-Length: 20000000\r\n\r\n");
    // It goes on sending, and still reads the answer.
    let _ = client.reader.socket.write_all(&noise(300_000));
    assert_eq!(client.response().status, 413);
    let mut client = desk.client(&tidegate);
    assert_eq!(client.ask(get("/", "Bad Name: x\r\n")).status, 400);
    assert_eq!(client.ending(), Ending::Clean);
}

/// Answers of the session itself go out whatever else is on its way.
#[test]
fn keys_may_change_in_the_middle_on_either_side() {
    let desk = Desk::new();
    let server = Server::secured(&secret_server(&desk), |peer| {
        while let Some(request) = peer.request() {
            let answer = ok(&request.body);
            let (first, rest) = answer.split_at(answer.len() / 2);
            peer.send(first);
            peer.reader.socket.refresh_keys().expect("new keys");
            peer.send(rest);
        }
    });
    let tidegate = desk.start(THROUGH, &[("APP", &server)]);
    let mut client = desk.client(&tidegate);
    let body = noise(200_000);
    for _ in 0..4 {
        client.reader.socket.refresh_keys().expect("new keys");
        client.send(format!("POST / HTTP/1.1\r\nHost: example.com\r\nContent-Length: {}\r\n\r\n", body.len()));
        let (first, rest) = body.split_at(150_000);
        client.send(first);
        client.reader.socket.refresh_keys().expect("new keys");
        client.send(rest);
        assert!(client.response().body == body);
    }
    assert_eq!(server.connections(), 1);
}
