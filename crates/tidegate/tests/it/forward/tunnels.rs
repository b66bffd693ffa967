//! CONNECT: bytes both ways, by HTTP/1.1 and HTTP/2.

use testkit::h3::{Quic, frame, head};
use testkit::{Server, Tidegate, h2};

use super::{OPEN, port, proxy};
use crate::support::start;
use crate::tls::Desk;

fn connect(to: &str) -> String {
    format!("CONNECT {to} HTTP/1.1\r\nHost: {to}\r\n\r\n")
}

/// A server that says back what it hears, and its name once its client has finished.
pub(super) fn echo() -> Server {
    Server::script(|peer| {
        while let Ok(1..) = peer.reader.fill() {
            let heard = peer.reader.surplus().to_vec();
            peer.reader.exactly(heard.len()).expect("what is here");
            peer.send(heard);
        }
        peer.send("bye");
    })
}

fn status(tidegate: &Tidegate, to: &str) -> u16 {
    tidegate.client().ask(connect(to)).status
}

#[test]
fn bytes_pass_both_ways_until_both_have_finished() {
    let server = echo();
    let tidegate = proxy("");
    let mut client = tidegate.client();
    // What stands behind the request is for the server.
    client.send(connect(&format!("a.test:{}", port(&server))) + "early");
    let head = client.head();
    assert_eq!(
        (head.status, head.fields.has("content-length"), head.fields.has("transfer-encoding")),
        (200, false, false)
    );
    assert_eq!(client.exactly(5), b"early");
    client.send("more");
    assert_eq!(client.exactly(4), b"more");
    client.finish();
    assert_eq!(client.exactly(3), b"bye");
    let line = tidegate.log_line("a tunnel", |line| line["method"] == "CONNECT");
    let numbers = ["status", "bytes_in", "bytes_out"].map(|key| line[key].as_u64());
    assert_eq!(numbers, [Some(200), Some(9), Some(12)]);
    assert_eq!(
        (&line["host"], &line["pool"], &line["address"]),
        (&"a.test".into(), &"origin".into(), &server.address().into())
    );
    assert_eq!(line["fault"], serde_json::Value::Null);
}

#[test]
fn large_amounts_pass() {
    let server = echo();
    let tidegate = proxy("");
    let mut client = tidegate.client();
    client.send(connect(&format!("127.0.0.1:{}", port(&server))));
    assert_eq!(client.head().status, 200);
    let piece: Vec<u8> = (0..200_000_u32).map(|byte| (byte % 251) as u8).collect();
    for _ in 0..20 {
        client.send(&piece);
        assert!(client.exactly(piece.len()) == piece);
    }
}

#[test]
fn what_cannot_be_connected_to_is_said_as_http() {
    let tidegate = proxy("");
    assert_eq!(status(&tidegate, "a.test:1"), 403, "a port that is not allowed");
    let dead = testkit::Refusing::new();
    assert_eq!(status(&tidegate, &format!("a.test:{}", port(&dead))), 502);
    assert_eq!(status(&tidegate, "nobody.test:4433"), 502);
    assert_eq!(status(&tidegate, "a.test"), 400, "no port");
}

#[test]
fn what_stands_behind_a_connect_that_is_refused_is_no_request() {
    let server = Server::named("one");
    let to = format!("a.test:{}", port(&server));
    let tidegate = proxy("routes: [{ match: { host: b.test }, respond: { status: 200, body: tea } }, { to: origin }]");
    for refused in ["a.test:1", "b.test:4433", "nobody.test:4433"] {
        let mut client = tidegate.client();
        client.send(connect(refused) + &super::asked(&format!("http://{to}/hidden")));
        let answer = client.response();
        assert!(
            answer.status >= 400 && answer.fields.value("connection") == Some("close"),
            "{refused}: {}",
            answer.status
        );
        assert!(matches!(client.ending(), testkit::Ending::Clean | testkit::Ending::Reset), "{refused}");
    }
    assert_eq!(server.connections(), 0);
}

#[test]
fn a_tunnel_has_a_connection_that_was_nobodys() {
    let server = Server::named("one");
    let tidegate = start(&format!("workers: 1\n{}", OPEN.replace("@MORE", "to: origin")), &[]);
    let to = format!("a.test:{}", port(&server));
    assert_eq!(super::ask(&tidegate, &format!("http://{to}/")).text(), "one");
    let mut client = tidegate.client();
    client.send(connect(&to));
    assert_eq!(client.head().status, 200);
    server.until_connections(2);
    drop(client);
    assert_eq!(super::ask(&tidegate, &format!("http://{to}/")).text(), "one");
    assert_eq!(server.connections(), 2, "and is nobody's afterwards");
}

/// A server that resets its connection as soon as it hears anything: earlier it might break before it was connected to.
fn broken() -> Server {
    Server::script(|peer| {
        peer.send("half");
        let _ = peer.reader.exactly(1);
        peer.reset();
    })
}

#[test]
fn a_server_that_breaks_breaks_the_tunnel() {
    let server = broken();
    let tidegate = proxy("");
    let mut client = tidegate.client();
    client.send(connect(&format!("a.test:{}", port(&server))));
    assert_eq!(client.head().status, 200);
    client.send("x");
    assert_eq!(client.ending(), testkit::Ending::Reset);
    assert_eq!(tidegate.log_line("a tunnel", |line| line["method"] == "CONNECT")["fault"], "truncated");
}

/// RFC 9113 section 8.5: what breaks the connection is an error of the stream, of a kind of its own.
#[test]
fn a_tunnel_of_http2_breaks_with_its_connection() {
    let server = broken();
    let tidegate = proxy("http: [h1, h2]\n    timeouts: { tunnel: 300ms }\n    to: origin");
    let mut client = h2::Client::connect(tidegate.address("web").parse().expect("an address"));
    let silent = Server::script(testkit::Peer::hang);
    for (to, said) in [(&server, &b"x"[..]), (&silent, b"")] {
        let asked = h2::request(h2::Method::CONNECT, &format!("a.test:{}", port(to)), "", &[]);
        let mut exchange = client.begin(asked, false).expect("a stream");
        client.send(&mut exchange, said, false).expect("room");
        let (answer, mut body) = client.switch(exchange).expect("a head");
        assert_eq!(answer.head.status, 200);
        assert_eq!(client.reset_seen(&mut body), Some(h2::Reason::CONNECT_ERROR));
    }
}

/// RFC 9114 section 4.4: the same, in both directions.
#[test]
fn a_tunnel_of_http3_breaks_with_its_connection() {
    let (desk, server) = (Desk::new(), broken());
    let certificates = "certificates: { main: { cert: '@DIR/main.pem', key: '@DIR/main.key' } }";
    let text = OPEN.replace("@MORE", "http: [h1, h2, h3]\n    tls: main\n    to: origin");
    let tidegate = desk.start(&format!("{certificates}{text}"), &[]);
    let quic = Quic::connect(&tidegate.address("web"), &desk.tls()).expect("a connection");
    let to = format!("127.0.0.1:{}", port(&server));
    let asked = [head(&[(":method", "CONNECT"), (":authority", &to)]), frame(0, b"x")].concat();
    let mut stream = quic.open(&asked, false).expect("a stream");
    let broken = quic.rest(&mut stream).expect_err("no end");
    assert_eq!(broken.0, Some(CONNECT_ERROR), "{broken:?}");
    assert_eq!(quic.stopped(&mut stream.send), Ok(Some(CONNECT_ERROR)));
}

const CONNECT_ERROR: u64 = 0x10f;

#[test]
fn a_silent_tunnel_ends() {
    let server = Server::script(testkit::Peer::hang);
    let tidegate = proxy("timeouts: { tunnel: 200ms }\n    to: origin");
    let mut client = tidegate.client();
    client.send(connect(&format!("a.test:{}", port(&server))));
    assert_eq!(client.head().status, 200);
    assert_eq!(client.ending(), testkit::Ending::Reset);
    assert_eq!(tidegate.log_line("a tunnel", |line| line["cut"] == true)["fault"], "tunnel_timeout");
}

#[test]
fn reverse_listeners_make_no_tunnels() {
    let server = Server::named("one");
    let tidegate = crate::support::before(&server);
    assert_eq!(status(&tidegate, "a.test:443"), 501);
    assert_eq!(server.connections(), 0);
}
