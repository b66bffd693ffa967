//! What breaks the protocol, and what merely looks like it.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use testkit::{PATIENCE, Server};

use super::{address, before, client};
use crate::support::{assert_serves, before_with};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const SETTINGS: &[u8] = b"\0\0\0\x04\0\0\0\0\0";

/// A frame.
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = (payload.len() as u32).to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// A block of fields, each a literal without an index.
fn block(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in fields {
        block.push(0);
        for text in [name, value] {
            assert!(text.len() < 127);
            block.push(text.len() as u8);
            block.extend_from_slice(text.as_bytes());
        }
    }
    block
}

fn get(stream: u32, more: &[(&str, &str)]) -> Vec<u8> {
    let fields = [&[(":method", "GET"), (":scheme", "http"), (":authority", "a"), (":path", "/")], more].concat();
    frame(1, 5, stream, &block(&fields))
}

/// Sends bytes and answers the frames that come back, until the end or `enough`.
fn talk(tidegate: &testkit::Tidegate, bytes: &[u8], enough: impl Fn(&[Frame]) -> bool) -> Vec<Frame> {
    let mut stream = TcpStream::connect(address(tidegate)).expect("a connection");
    stream.set_read_timeout(Some(PATIENCE)).expect("a socket");
    stream.write_all(bytes).expect("room");
    let mut frames = Vec::new();
    while !enough(&frames) {
        let Some(frame) = next(&mut stream) else { break };
        frames.push(frame);
    }
    frames
}

/// The next frame; none if the connection has ended.
fn next(stream: &mut TcpStream) -> Option<Frame> {
    let mut head = [0; 9];
    stream.read_exact(&mut head).ok()?;
    let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
    let mut payload = vec![0; length];
    stream.read_exact(&mut payload).expect("a whole frame");
    let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
    Some(Frame { kind: head[3], stream, payload })
}

struct Frame {
    kind: u8,
    stream: u32,
    payload: Vec<u8>,
}

/// The error code of the RST_STREAM of a stream, or of the GOAWAY.
fn code(frames: &[Frame], kind: u8, stream: u32) -> Option<u32> {
    let frame = frames.iter().find(|frame| frame.kind == kind && frame.stream == stream)?;
    let at = if kind == 7 { 4 } else { 0 };
    Some(u32::from_be_bytes(frame.payload[at..at + 4].try_into().expect("four bytes")))
}

fn answered(stream: u32) -> impl Fn(&[Frame]) -> bool {
    move |frames| frames.iter().any(|frame| frame.kind == 1 && frame.stream == stream)
}

/// Asks, waits for the head of the answer, and then sends a frame that does not end, until the connection is closed.
pub(super) fn open_and_stall(tidegate: &testkit::Tidegate) {
    let bytes = [PREFACE, SETTINGS, &get(1, &[])].concat();
    let mut stream = TcpStream::connect(address(tidegate)).expect("a connection");
    stream.set_read_timeout(Some(PATIENCE)).expect("a socket");
    stream.write_all(&bytes).expect("room");
    let mut frames = Vec::new();
    while !answered(1)(&frames) {
        frames.push(next(&mut stream).expect("a frame"));
    }
    stream.write_all(&[0]).expect("room");
    while next(&mut stream).is_some() {}
}

#[test]
fn a_preface_may_come_in_pieces_and_with_requests_behind_it() {
    let server = Server::named("app");
    let (tidegate, _client) = before(&server);
    let all = [PREFACE, SETTINGS, &get(1, &[])].concat();
    assert!(!talk(&tidegate, &all, answered(1)).is_empty());
    let mut stream = TcpStream::connect(address(&tidegate)).expect("a connection");
    stream.set_nodelay(true).expect("a socket");
    stream.set_read_timeout(Some(PATIENCE)).expect("a socket");
    for byte in &all {
        stream.write_all(&[*byte]).expect("room");
    }
    let mut first = [0; 9];
    stream.read_exact(&mut first).expect("settings");
    assert_eq!(first[3], 4);
    // A method that begins like the preface is a request of HTTP/1.
    let mut plain = tidegate.client();
    plain.send("PR");
    plain.send("OPFIND / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(plain.response().status, 200);
    assert_serves(&mut plain);
}

#[test]
fn a_listener_that_does_not_speak_it_refuses_it() {
    let server = Server::named("app");
    let tidegate = before_with(&server, "http: h1");
    let mut client = tidegate.client();
    client.send([PREFACE, SETTINGS].concat());
    assert!(client.response().status >= 400);
}

#[test]
fn malformed_requests_reset_their_stream_alone() {
    let server = Server::named("app");
    let (tidegate, _client) = before(&server);
    let fine = get(3, &[]);
    for (what, bad) in [
        ("a field of a connection", get(1, &[("connection", "close")])),
        ("a transfer coding", get(1, &[("transfer-encoding", "chunked")])),
        ("upper case", get(1, &[("Accept", "a")])),
        ("a line end", get(1, &[("x", "a\r\nb: c")])),
        ("a zero", get(1, &[("x", "a\0")])),
        ("an unknown pseudo-header", get(1, &[(":x", "a")])),
        ("a second path", get(1, &[(":path", "/b")])),
        ("another host", get(1, &[("host", "b")])),
        ("no path", frame(1, 5, 1, &block(&[(":method", "GET"), (":scheme", "http"), (":authority", "a")]))),
        ("an empty path", frame(1, 5, 1, &block(&[(":method", "GET"), (":scheme", "http"), (":path", "")]))),
        (
            "a length that is not kept",
            [
                &frame(
                    1,
                    4,
                    1,
                    &block(&[
                        (":method", "POST"),
                        (":scheme", "http"),
                        (":authority", "a"),
                        (":path", "/"),
                        ("content-length", "2"),
                    ]),
                ),
                &frame(0, 1, 1, b"abc")[..],
            ]
            .concat(),
        ),
    ] {
        let frames = talk(&tidegate, &[PREFACE, SETTINGS, &bad, &fine].concat(), answered(3));
        assert_eq!(code(&frames, 3, 1), Some(1), "{what}");
        assert!(answered(3)(&frames), "{what}");
    }
    assert!(server.requests().iter().all(|request| request.method == "GET"), "{:?}", server.requests());
    let line = tidegate.log_line("a refusal", |line| line["fault"] == "malformed");
    assert!(line["reason"].is_string() && line["version"] == "2", "{line}");
}

#[test]
fn heads_over_their_limits_are_431_and_414() {
    let server = Server::named("app");
    let tidegate = before_with(&server, "http: [h1, h2], limits: { request_head: 4KiB, request_line: 1KiB }");
    let mut client = client(&tidegate);
    let long = "x".repeat(5000);
    assert_eq!(client.get("a", "/", &[("x-long", &long)]).expect("an answer").status, 431);
    let path = format!("/{}", "x".repeat(2000));
    assert_eq!(client.get("a", &path, &[]).expect("an answer").status, 414);
    assert_eq!(client.get("a", "/", &[]).expect("an answer").status, 200);
    let line = tidegate.log_line("the first refusal", |line| line["status"] == 431);
    assert_eq!((line["fault"].as_str(), line["version"].as_str()), (Some("head_too_large"), Some("2")));
}

#[test]
fn breaking_the_protocol_ends_the_connection_with_a_word() {
    let server = Server::named("app");
    let (tidegate, _client) = before(&server);
    for (what, bytes, wanted) in [
        ("no settings first", get(1, &[]), 1),
        ("content before a head", [SETTINGS, &frame(0, 0, 1, b"x")].concat(), 1),
        ("an even stream", [SETTINGS, &get(2, &[])].concat(), 1),
        ("a broken block", [SETTINGS, &frame(1, 5, 1, &[0xff, 0xff, 0xff, 0xff, 0xff])].concat(), 9),
        ("a frame over its size", [SETTINGS, &[0xff, 0xff, 0xff, 0, 0, 0, 0, 0, 1]].concat(), 6),
    ] {
        let frames = talk(&tidegate, &[PREFACE, &bytes].concat(), |_| false);
        assert_eq!(code(&frames, 7, 0), Some(wanted), "{what}");
    }
}

#[test]
fn rapid_resets_end_the_connection() {
    // CVE-2023-44487: requests that are taken back at once cost the client nothing.
    let server = Server::named("app");
    let (tidegate, _client) = before(&server);
    let mut bytes = [PREFACE, SETTINGS].concat();
    for number in 0..2000 {
        bytes.extend_from_slice(&get(1 + 2 * number, &[]));
        bytes.extend_from_slice(&frame(3, 0, 1 + 2 * number, &8_u32.to_be_bytes()));
    }
    let frames = talk(&tidegate, &bytes, |_| false);
    assert_eq!(code(&frames, 7, 0), Some(11));
    assert!(server.requests().len() < 2000);
}

#[test]
fn a_head_that_does_not_end_is_not_waited_for_forever() {
    let server = Server::named("app");
    let tidegate = before_with(&server, "http: [h1, h2], timeouts: { request_head: 200ms }");
    let begun = frame(1, 1, 1, &block(&[(":method", "GET")]));
    let frames = talk(&tidegate, &[PREFACE, SETTINGS, &begun].concat(), |_| false);
    assert!(frames.iter().all(|frame| frame.kind != 1));
    // Nor one who says nothing at all.
    assert!(talk(&tidegate, &[PREFACE, SETTINGS].concat(), |_| false).iter().all(|frame| frame.kind != 1));
}

#[test]
fn a_listener_of_http2_alone_refuses_http1() {
    let server = Server::named("app");
    let tidegate = before_with(&server, "http: h2");
    assert_eq!(client(&tidegate).get("a", "/", &[]).expect("an answer").status, 200);
    let refused = tidegate.client().get("/");
    assert_eq!(refused.status, 505);
    assert!(refused.text().contains("HTTP/1 is not spoken here"), "{}", refused.text());
}

#[test]
fn what_a_balancer_says_of_its_client_is_no_mistake() {
    let server = Server::named("app");
    let (tidegate, _client) = before(&server);
    let https =
        frame(1, 5, 1, &block(&[(":method", "GET"), (":scheme", "https"), (":authority", "a"), (":path", "/")]));
    let frames = talk(&tidegate, &[PREFACE, SETTINGS, &https].concat(), answered(1));
    assert!(answered(1)(&frames));
    assert_eq!(server.request().fields.value("host"), Some("a"));
}

/// A window that stays closed is a client that reads nothing: an answer of our own waits as long for it as any other.
#[test]
fn an_answer_of_our_own_waits_for_a_window_as_long_as_is_configured() {
    let server = Server::named("app");
    let lines = "http: [h1, h2], timeouts: { stream: 150ms, keep_alive: 60s }";
    let tidegate = before_with(&server, lines);
    // Streams begin with a window of nothing.
    let closed = frame(4, 0, 0, &[0, 4, 0, 0, 0, 0]);
    let fields = [(":method", "GET"), (":scheme", "http"), (":authority", "a"), (":path", "/%2")];
    let bytes = [PREFACE, &closed, &frame(1, 5, 1, &block(&fields))].concat();
    let frames = talk(&tidegate, &bytes, |frames| frames.iter().any(|frame| frame.kind == 3));
    assert_eq!(code(&frames, 3, 1), Some(2), "the stream is given up");
    let line = tidegate.log_of("/%2");
    assert_eq!((line["status"].as_u64(), line["cut"].as_bool()), (Some(400), Some(true)), "{line}");
    let took = line["total_us"].as_u64().expect("a time");
    assert!((150_000..10_000_000).contains(&took), "{took}");
}

/// Request and reset in one segment: nothing was begun, and nobody is asked.
#[test]
fn a_request_that_is_taken_back_before_it_is_looked_at_costs_no_server() {
    let server = Server::named("app");
    let (tidegate, _client) = before(&server);
    let reset = frame(3, 0, 1, &8_u32.to_be_bytes());
    let bytes = [PREFACE, SETTINGS, &get(1, &[]), &reset, &frame(6, 0, 0, b"are here")].concat();
    talk(&tidegate, &bytes, |frames| frames.iter().any(|frame| frame.kind == 6));
    let line = tidegate.log_of("/");
    assert_eq!((line["fault"].as_str(), line["side"].as_str()), (Some("client_gone"), Some("client")), "{line}");
    assert!(line["server"].is_null() && line["pool"].is_null(), "{line}");
    assert_eq!(server.connections(), 0);
}

/// What a body breaks is said in the log, although nobody can be answered.
#[test]
fn a_body_that_is_not_as_long_as_was_said_has_its_reason_in_the_log() {
    let server = Server::http(|_| testkit::ok("app"));
    let (tidegate, _client) = before(&server);
    let fields =
        [(":method", "POST"), (":scheme", "http"), (":authority", "a"), (":path", "/long"), ("content-length", "3")];
    let mut stream = TcpStream::connect(address(&tidegate)).expect("a connection");
    stream.write_all(&[PREFACE, SETTINGS, &frame(1, 4, 1, &block(&fields))].concat()).expect("room");
    server.until_connections(1);
    stream.write_all(&frame(0, 1, 1, b"four")).expect("room");
    let line = tidegate.log_of("/long");
    assert_eq!(line["fault"], "malformed", "{line}");
    assert_eq!(line["reason"], "more content than Content-Length", "{line}");
}
