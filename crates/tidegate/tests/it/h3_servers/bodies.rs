//! Content both ways: how much of it, at whose pace, and what stands around it.

use std::thread;

use testkit::h3_server::{Act, Backend, Manner, Raw, Reply, SETTINGS, ok};
use testkit::{Signal, h2, h3};

use super::{before, shown};
use crate::tls::Desk;

fn trailers(name: &'static str, value: &'static str) -> h2::HeaderMap {
    let mut map = h2::HeaderMap::new();
    map.insert(name, value.parse().expect("a value"));
    map
}

/// Bytes that differ from those around them.
fn bytes(count: u32) -> Vec<u8> {
    (0..count).map(|number| (number >> 8 ^ number) as u8).collect()
}

#[test]
fn content_and_trailers_pass_both_ways() {
    let desk = Desk::new();
    let server = Backend::start(&shown(&desk), Manner::default(), |asked| {
        Reply::Whole(200, asked.body.clone(), asked.trailers.is_some().then(|| trailers("x-sum", "7")))
    });
    let tidegate = before(&desk, &server, "");
    let mut client = h2::Client::connect(tidegate.address("web").parse().expect("an address"));
    let content = bytes(3_000_000);
    let request = h2::request(h2::Method::POST, "a", "/echo", &[("te", "trailers")]);
    let mut exchange = client.begin(request, false).expect("a stream");
    client.send(&mut exchange, &content, false).expect("room");
    client.send_trailers(&mut exchange, trailers("checksum", "1")).expect("an end");
    let answer = client.answer(exchange).expect("a head");
    let whole = client.whole(answer).expect("a body");
    assert!(whole.body == content);
    assert_eq!(whole.trailers.expect("trailers")["x-sum"], "7");
    assert_eq!(server.asked()[0].trailers.as_ref().expect("trailers")["checksum"], "1");

    // And for clients of HTTP/1.1, in chunks.
    let chunked = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nx-end: y\r\n\r\n";
    let answer = tidegate.client().ask(chunked);
    assert_eq!((answer.status, answer.text(), answer.trailers.value("x-sum")), (200, "abc".to_owned(), Some("7")));
    assert_eq!(server.asked()[1].trailers.as_ref().expect("trailers")["x-end"], "y");
}

#[test]
fn ten_megabytes_go_there_and_ten_come_back() {
    let desk = Desk::new();
    let server = Backend::start(&shown(&desk), Manner::default(), |asked| ok(asked.body.clone()));
    let tidegate = before(&desk, &server, "");
    let content = bytes(10 * 1024 * 1024);
    // Two at once, so that neither has the connection for itself.
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                let mut client = tidegate.client();
                client.send(format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n", content.len()));
                client.send(&content);
                let answer = client.response();
                assert_eq!(answer.status, 200);
                assert!(answer.body == content, "{} bytes", answer.body.len());
            });
        }
    });
    assert_eq!(server.connections(), 1);
    assert_eq!(server.asked()[0].fields["content-length"], content.len().to_string());
}

#[test]
fn answers_without_content() {
    let desk = Desk::new();
    let server = Backend::start(&shown(&desk), Manner::default(), |asked| match asked.uri.rsplit('/').next() {
        Some("204") => Reply::Whole(204, Vec::new(), None),
        Some("304") => Reply::Whole(304, Vec::new(), None),
        _ => Reply::Whole(200, Vec::new(), None),
    });
    let tidegate = before(&desk, &server, "");
    let mut client = tidegate.client();
    for (path, status) in [("/204", 204), ("/304", 304), ("/", 200)] {
        let answer = client.get(path);
        assert_eq!((answer.status, answer.text()), (status, String::new()));
    }
    client.send("HEAD / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(client.response_to_head().status, 200);
    assert_eq!(server.connections(), 1);
}

#[test]
fn interim_responses_pass() {
    let desk = Desk::new();
    let said = [
        h3::head(&[(":status", "103"), ("link", "</a>")]),
        h3::head(&[(":status", "103"), ("link", "</b>")]),
        h3::head(&[(":status", "200")]),
        h3::frame(0, b"all"),
    ]
    .concat();
    let server = Raw::start(&shown(&desk), &SETTINGS, false, move |_, _| vec![Act::Say(said.clone()), Act::End]);
    let tidegate = before(&desk, &server, "");
    let mut client = tidegate.client();
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    for link in ["</a>", "</b>"] {
        let early = client.head();
        assert_eq!((early.status, early.fields.value("link")), (103, Some(link)));
    }
    let last = client.response();
    assert_eq!((last.status, last.text()), (200, "all".to_owned()));
}

#[test]
fn a_server_may_answer_before_it_has_heard_all() {
    let desk = Desk::new();
    let server = Raw::start(&shown(&desk), &SETTINGS, true, |_, _| {
        let head = h3::head(&[(":status", "200"), ("content-length", "5")]);
        vec![Act::Say([head, h3::frame(0, b"early")].concat()), Act::End, Act::Stop(0x100)]
    });
    let tidegate = before(&desk, &server, "");
    let mut client = tidegate.client();
    client.send("POST /early HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n");
    client.send([b'x'; 1000]);
    let answer = client.response();
    assert_eq!((answer.status, answer.text()), (200, "early".to_owned()));
}

#[test]
fn content_comes_as_it_is_said() {
    let desk = Desk::new();
    let signal = Signal::new();
    let heard = signal.clone();
    let server = Raw::start(&shown(&desk), &SETTINGS, false, move |_, _| {
        let first = [h3::head(&[(":status", "200")]), h3::frame(0, b"first")].concat();
        vec![Act::Say(first), Act::Wait(heard.clone()), Act::Say(h3::frame(0, b"second")), Act::End]
    });
    let tidegate = before(&desk, &server, "");
    let mut client = tidegate.client();
    client.send("GET / HTTP/1.0\r\nHost: a\r\n\r\n");
    assert_eq!(client.head().status, 200);
    assert_eq!(client.exactly(5), b"first");
    signal.raise();
    assert_eq!(client.exactly(6), b"second");
}

#[test]
fn a_server_that_reads_nothing_slows_its_client() {
    let desk = Desk::new();
    let server = Raw::start(&shown(&desk), &SETTINGS, true, |_, _| Vec::new());
    let text = super::text(1, "")
        .replace("workers", "certificates: { main: { cert: '@DIR/main.pem', key: '@DIR/main.key' } }\nworkers")
        .replace("http: [h1, h2]", "http: [h1, h3], tls: main, limits: { request_body: 1GiB }");
    let tidegate = desk.start(&text, &[("APP", &server)]);
    let mut client = h3::Client::connect(&tidegate.address("web"), &desk.tls()).expect("a connection");
    let mut exchange = client.begin(h3::request(h3::Method::POST, "example.com", "/", &[])).expect("a stream");
    let sent = client.send_what_fits(&mut exchange, 64 * 1024 * 1024).expect("sent");
    // Windows of both connections, and what the client itself holds.
    assert!(sent < 16 * 1024 * 1024, "{sent}");
}

#[test]
fn a_client_that_reads_nothing_does_not_hold_up_others_on_the_connection() {
    let desk = Desk::new();
    let server = Backend::start(&shown(&desk), Manner::default(), |asked| match asked.uri.ends_with("/long") {
        true => ok(vec![b'x'; 32 * 1024 * 1024]),
        false => ok("short"),
    });
    let tidegate = before(&desk, &server, "");
    let idle: Vec<_> = (0..8)
        .map(|_| {
            let mut client = tidegate.client();
            client.send("GET /long HTTP/1.1\r\nHost: a\r\n\r\n");
            client
        })
        .collect();
    server.until_asked(8);
    for _ in 0..20 {
        assert_eq!(tidegate.client().get("/").text(), "short");
    }
    assert_eq!(server.connections(), 1);
    drop(idle);
}
