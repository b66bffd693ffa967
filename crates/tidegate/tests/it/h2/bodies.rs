//! Content, trailers and interim responses, and the pace at which they go.

use std::collections::HashMap;

use testkit::{Framing, Server, Signal, h2, ok};

use super::{before, before_and, field};
use crate::support::before_with;

#[test]
fn one_connection_serves_many_requests_and_servers_see_plain_ones() {
    let server = Server::named("app");
    let (tidegate, mut client) = before(&server);
    for _ in 0..5 {
        let whole =
            client.get("test.example", "/a?b=c", &[("accept", "text/plain"), ("cookie", "a=1"), ("cookie", "b=2")]);
        let whole = whole.expect("an answer");
        assert_eq!((whole.status, whole.body.as_slice()), (200, &b"app"[..]));
        assert_eq!(field(&whole, "connection"), None);
        assert!(whole.trailers.is_none());
    }
    assert_eq!(server.connections(), 1);
    let request = server.request();
    assert_eq!((request.method.as_str(), request.target.as_str()), ("GET", "/a?b=c"));
    assert_eq!(request.fields.value("host"), Some("test.example"));
    // RFC 9113 section 8.2.3: crumbs are joined before they go where they would mean something else.
    assert_eq!(request.fields.value("cookie"), Some("a=1; b=2"));
    assert_eq!(request.framing, Framing::None);
    let line = tidegate.log_of("/a");
    assert_eq!((line["version"].as_str(), line["host"].as_str()), (Some("2"), Some("test.example")));
}

#[test]
fn streams_do_not_wait_for_each_other() {
    let second_is_answered = Signal::new();
    let held = second_is_answered.clone();
    let server = Server::http(move |request| {
        if request.target == "/first" {
            held.wait();
        }
        ok(&request.target)
    });
    let (_tidegate, mut client) = before(&server);
    let first = client.begin(h2::request(h2::Method::GET, "a", "/first", &[]), true).expect("a stream");
    client.turn();
    server.until_connections(1);
    assert_eq!(client.get("a", "/second", &[]).expect("an answer").body, b"/second");
    second_is_answered.raise();
    let answer = client.answer(first).expect("an answer");
    assert_eq!(client.whole(answer).expect("a body").body, b"/first");
}

#[test]
fn bodies_of_every_size_pass_both_ways() {
    let server = Server::http(|request| {
        if request.framing == Framing::Chunked {
            let mut answer = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
            for part in request.body.chunks(5000) {
                answer.extend_from_slice(format!("{:x}\r\n", part.len()).as_bytes());
                answer.extend_from_slice(part);
                answer.extend_from_slice(b"\r\n");
            }
            answer.extend_from_slice(b"0\r\n\r\n");
            answer
        } else {
            ok(&request.body)
        }
    });
    let (_tidegate, mut client) = before(&server);
    for size in [0, 1, 1023, 16 * 1024, 16 * 1024 + 1, 300 * 1024, 2 * 1024 * 1024] {
        let body: Vec<u8> = (0..size).map(|at: usize| (at * 7 % 251) as u8).collect();
        let length = size.to_string();
        let whole = client.post("a", "/said", &[("content-length", &length)], &body).expect("an answer");
        assert!(whole.status == 200 && whole.body == body, "{size} bytes with a length");
        assert_eq!(field(&whole, "content-length"), Some(length.as_str()));
        let whole = client.post("a", "/unsaid", &[], &body).expect("an answer");
        assert!(whole.status == 200 && whole.body == body, "{size} bytes without");
    }
}

#[test]
fn trailers_pass_both_ways() {
    let server = Server::http(|request| {
        assert_eq!(request.framing, Framing::Chunked);
        let sum = request.trailers.value("x-sum").expect("a trailer").to_owned();
        format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nX-Sum: {sum}\r\n\r\n")
            .into_bytes()
    });
    let (_tidegate, mut client) = before(&server);
    let request = h2::request(h2::Method::POST, "a", "/", &[("te", "trailers"), ("trailer", "x-sum")]);
    let mut exchange = client.begin(request, false).expect("a stream");
    client.send(&mut exchange, b"content", false).expect("room");
    let trailers = HashMap::from([("x-sum".to_owned(), "42".to_owned())]);
    client.send_trailers(&mut exchange, (&trailers).try_into().expect("fields")).expect("an open stream");
    let answer = client.answer(exchange).expect("an answer");
    let whole = client.whole(answer).expect("a body");
    assert_eq!(whole.body, b"ok");
    assert_eq!(whole.trailers.expect("trailers").get("x-sum").map(|sum| sum.as_bytes()), Some(&b"42"[..]));
    assert_eq!(server.request().fields.value("te"), Some("trailers"));
}

#[test]
fn messages_without_content_have_none() {
    let server = Server::http(|request| match request.target.as_str() {
        "/204" => b"HTTP/1.1 204 No Content\r\n\r\n".to_vec(),
        "/304" => b"HTTP/1.1 304 Not Modified\r\nETag: \"a\"\r\n\r\n".to_vec(),
        _ => b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n".to_vec(),
    });
    let (_tidegate, mut client) = before(&server);
    assert_eq!(client.get("a", "/204", &[]).expect("an answer").status, 204);
    assert_eq!(client.get("a", "/304", &[]).expect("an answer").status, 304);
    let exchange = client.begin(h2::request(h2::Method::HEAD, "a", "/", &[]), true).expect("a stream");
    let answer = client.answer(exchange).expect("an answer");
    let whole = client.whole(answer).expect("no body");
    assert_eq!((field(&whole, "content-length"), whole.body.len()), (Some("10"), 0));
    assert_eq!(server.connections(), 1);
}

#[test]
fn answers_of_our_own_have_the_same_form() {
    let server = Server::named("app");
    let tidegate = before_with(&server, "http: [h1, h2], limits: { request_body: 10B }");
    let mut client = super::client(&tidegate);
    let whole = client.post("a", "/", &[("content-length", "11")], b"01234567890").expect("an answer");
    assert_eq!(whole.status, 413);
    assert!(String::from_utf8_lossy(&whole.body).starts_with("413: "), "{whole:?}");
    // The connection goes on: what was refused was one stream's.
    assert_eq!(client.post("a", "/", &[], b"0123456789").expect("an answer").status, 200);
    assert_eq!(tidegate.log_of("/")["fault"], "body_too_large");
}

#[test]
fn one_client_that_reads_slowly_holds_up_neither_others_nor_much_memory() {
    const SIZE: usize = 64 * 1024 * 1024;
    let server = Server::http(|request| if request.target == "/big" { ok(vec![b'x'; SIZE]) } else { ok("small") });
    let (tidegate, mut client) = before_and(&server, "timeouts: { stream: 60s }");
    assert_eq!(client.get("a", "/", &[]).expect("an answer").body, b"small");
    let exchange = client.begin(h2::request(h2::Method::GET, "a", "/big", &[]), true).expect("a stream");
    let mut big = client.answer(exchange).expect("a head");
    let before = tidegate.rss();
    // Its window is full, and it reads nothing; another stream of the same connection is served.
    for _ in 0..20 {
        assert_eq!(client.get("a", "/", &[]).expect("an answer").body, b"small");
    }
    let grown = tidegate.rss().saturating_sub(before);
    assert!(grown < 16 * 1024 * 1024, "{grown} bytes more");
    let mut read = 0;
    while let Some(content) = client.content(&mut big).expect("more of it") {
        read += content.len();
    }
    assert_eq!(read, SIZE);
}

#[test]
fn a_server_that_reads_slowly_slows_its_client() {
    let let_go = Signal::new();
    let held = let_go.clone();
    let server = Server::script(move |peer| {
        let _head = peer.request_head().expect("a head");
        held.wait();
        let _rest = peer.request();
        peer.send(ok("done"));
    });
    let (_tidegate, mut client) =
        before_and(&server, "limits: { request_body: 100MiB }, timeouts: { request_body: 60s }");
    let mut exchange = client.begin(h2::request(h2::Method::POST, "a", "/", &[]), false).expect("a stream");
    let sent = client.send_what_fits(&mut exchange, 64 * 1024 * 1024).expect("an open stream");
    assert!(sent < 16 * 1024 * 1024, "{sent} bytes were taken for a server that reads none");
    client.reset(exchange, h2::Reason::CANCEL);
    let_go.raise();
}
