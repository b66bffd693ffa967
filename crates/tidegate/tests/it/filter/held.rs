//! Texts that are held: what goes on beside them, and what they may take.

use std::sync::mpsc;
use std::time::{Duration, Instant};

use testkit::h2::{self, Method};
use testkit::{PATIENCE, Server, Signal, Tidegate, until};

use super::words::library_of;
use crate::support::get;

/// Chunks of a body.
fn chunk(text: &str) -> String {
    format!("{:x}\r\n{text}\r\n", text.len())
}

/// Whatever the only worker was to do before this it has done.
fn turn(tidegate: &Tidegate) {
    assert_eq!(tidegate.client().get("/turn").status, 200);
}

const CHUNKED: &str = "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nTransfer-Encoding: chunked\r\n\r\n";

#[test]
fn an_upload_that_was_too_long_leaves_no_hole() {
    let [begun, more, last] = [(); 3].map(|()| Signal::new());
    let (begin, go_on, end) = (begun.clone(), more.clone(), last.clone());
    let server = Server::script(move |peer| {
        let Some(request) = peer.request_head() else { return };
        if request.target == "/turn" {
            return peer.send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
        }
        peer.send(format!("{CHUNKED}{}", chunk("some ")));
        begin.raise();
        go_on.wait();
        peer.send(chunk("more "));
        end.wait();
        peer.send(format!("{}0\r\n\r\n", chunk("words")));
        let heard = peer.rest().unwrap_or_default();
        let heard = String::from_utf8_lossy(&heard);
        assert!(heard.contains("first") && !heard.contains("third"), "{heard}");
    });
    let library = library_of(&server, "{ filter: { words: w } }", "limits: { request_body: 12B }, ");
    let mut client = library.tidegate.client();
    client.send(format!("POST /up HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n{}", chunk("first")));
    begun.wait();
    turn(&library.tidegate);
    client.send(chunk("second, too long"));
    turn(&library.tidegate);
    more.raise();
    turn(&library.tidegate);
    client.send(chunk("third"));
    turn(&library.tidegate);
    last.raise();
    assert_eq!(client.response().text(), "some more words");
    server.until_idle();
}

/// What a text is told that has no place.
const CROWD: &str = "403: blocked: rule `unread: too many at once` of filter `web/filter`\n";

#[test]
fn a_text_has_its_place_until_its_client_has_taken_it() {
    // More than the window of its client.
    let body = "all is well ".repeat(125_000);
    let sent = body.clone();
    let server = Server::http(move |request| match request.target.as_str() {
        "/long" => super::words::page("", sent.as_bytes()),
        _ => super::words::page("", b"short"),
    });
    let words = "{ filter: { words: { list: w, at_once: 1, hold: 2MiB, unread: refuse } } }";
    let library = library_of(&server, words, "");
    let mut slow = h2::Client::connect(library.tidegate.address("web").parse().expect("an address"));
    let asked = slow.begin(h2::request(Method::GET, "a", "/long", &[]), true).expect("a stream");
    let answer = slow.answer(asked).expect("an answer");
    assert_eq!(answer.head.status.as_u16(), 200);
    let mut other = library.tidegate.client();
    for _ in 0..3 {
        assert_eq!(other.get("/short").text(), CROWD, "what its client has not taken is held");
    }
    assert!(slow.whole(answer).expect("all of it").body == body.as_bytes());
    until("its place is free", || other.get("/short").status == 200);
}

#[test]
fn one_client_has_a_quarter_of_the_places() {
    let [begun, go_on] = [(); 2].map(|()| Signal::new());
    let (begin, may) = (begun.clone(), go_on.clone());
    let server = Server::script(move |peer| {
        while let Some(request) = peer.request() {
            peer.send(format!("{CHUNKED}{}", chunk("some words")));
            if request.target == "/slow" {
                begin.raise();
                may.wait();
            }
            peer.send("0\r\n\r\n");
        }
    });
    let words = "{ filter: { words: { list: w, at_once: 4, unread: refuse } } }";
    let library = library_of(&server, words, "forwarding: { trust: [127.0.0.0/8] }, ");
    let ask = |target: &str, client: &str| get(target, &format!("X-Forwarded-For: {client}\r\n"));
    let mut slow = library.tidegate.client();
    slow.send(ask("/slow", "192.0.2.1"));
    begun.wait();
    turn(&library.tidegate);
    let mut other = library.tidegate.client();
    assert_eq!(other.ask(ask("/", "192.0.2.1")).text(), CROWD);
    assert_eq!(other.ask(ask("/", "192.0.2.2")).text(), "some words", "others have theirs");
    go_on.raise();
    assert_eq!(slow.response().text(), "some words");
    until("its place is free", || other.ask(ask("/", "192.0.2.1")).status == 200);
}

#[test]
fn a_server_that_waits_for_the_rest_of_a_request_is_not_slow() {
    let (heard, hears) = mpsc::channel();
    let server = Server::script(move |peer| {
        peer.request_head().expect("a request");
        peer.send(format!("{CHUNKED}{}", chunk("some ")));
        while !peer.reader.chunk().expect("a piece of the request").is_empty() {
            heard.send(()).expect("a test that waits");
        }
        peer.send(format!("{}0\r\n\r\n", chunk("words")));
        let _ = peer.rest();
    });
    for (more, wait) in [("", "1s"), ("timeouts: { stream: 1s }, ", "1m")] {
        let words = format!("{{ filter: {{ words: {{ list: w, wait: {wait}, unread: refuse }} }} }}");
        let library = library_of(&server, &words, more);
        let mut client = library.tidegate.client();
        client.send("POST /up HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_secs(2) {
            client.send(chunk("more"));
            hears.recv_timeout(PATIENCE).expect("a piece that goes through");
        }
        client.send("0\r\n\r\n");
        assert_eq!(client.response().text(), "some words", "{wait}");
    }
}

#[test]
fn a_filter_that_two_levels_use_is_asked_once() {
    let server = Server::http(|_| super::words::page("", b"some words"));
    let library = super::words::library_with(
        &server,
        "policies: { clean: { filter: { words: { list: w, at_once: 1, unread: refuse } } } }\n\
         listeners: { web: { bind: 127.0.0.1:0, use: clean, routes: [{ use: clean, to: app }] } }\n",
    );
    assert_eq!(library.tidegate.client().get("/").text(), "some words");
}
