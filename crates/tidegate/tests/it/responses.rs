//! What servers answer: what is not believed, what is not passed on, and what is visibly cut.

use testkit::{Broken, Ending, Framing, Peer, Server, Signal, ok};

use crate::support::{ask, assert_serves, before, before_with, get, post, start};

#[test]
fn an_unasked_100_from_the_server_is_not_passed_on() {
    let server = Server::http(|_| [&b"HTTP/1.1 100 Continue\r\n\r\n"[..], &ok("x")].concat());
    let tidegate = before(&server);
    let response = ask(&tidegate, &post("/", "body"));
    assert_eq!((response.interim.len(), response.text().as_str()), (0, "x"));
}

#[test]
fn a_server_that_sends_a_body_with_204_is_not_believed_to_be_in_step() {
    let server = Server::http(|_| b"HTTP/1.1 204 No Content\r\n\r\nsurplus".to_vec());
    let tidegate = before(&server);
    let mut client = tidegate.client();
    for _ in 0..2 {
        assert_eq!(client.get("/").status, 204);
    }
    assert_eq!(server.connections(), 2);
}

#[test]
fn a_body_that_ends_with_the_servers_connection_goes_on_in_chunks() {
    let server = Server::script(|peer| {
        peer.request().expect("a request");
        peer.send("HTTP/1.0 200 OK\r\n\r\nhalf ");
        peer.send("done");
    });
    let tidegate = before(&server);
    let mut client = tidegate.client();
    for _ in 0..2 {
        let response = client.get("/");
        assert_eq!((response.framing, response.text().as_str()), (Framing::Chunked, "half done"));
    }
    assert_eq!(server.connections(), 2);
}

#[test]
fn a_server_that_answers_before_the_upload_ends_is_heard() {
    let server = Server::script(|peer| {
        peer.request_head().expect("a head");
        peer.send("HTTP/1.1 413 Content Too Large\r\nConnection: close\r\nContent-Length: 3\r\n\r\nbig");
        peer.finish();
        let _ = peer.rest();
    });
    let tidegate = before_with(&server, "limits: { request_body: 1GiB }");
    let mut client = tidegate.client();
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000000\r\n\r\n");
    let response = client.response();
    assert_eq!((response.status, response.text().as_str()), (413, "big"));
    // The client has not sent the rest, and cannot use this connection for anything else.
    assert_eq!(client.ending(), Ending::Clean);
}

#[test]
fn an_answer_that_comes_while_the_client_still_sends_does_not_reset_it() {
    let answered = Signal::new();
    let seen = answered.clone();
    let server = Server::script(move |peer| {
        let request = peer.request_head().expect("a head");
        peer.send("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nearly");
        seen.wait();
        // The answer is out: whether the rest still comes is the program's choice.
        let _ = peer.reader.body(request.framing);
    });
    let tidegate = before(&server);
    let mut client = tidegate.client();
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nall ");
    assert_eq!(client.response().text(), "early");
    answered.raise();
    // Whether the rest still goes to the server is open; that the client is not reset over it is not.
    client.try_send("of it");
    client.finish();
    assert_ne!(client.ending(), Ending::Reset);
}

#[test]
fn surplus_bytes_from_a_server_never_reach_the_next_client() {
    let server = Server::http(|_| [&ok("mine")[..], &ok("smuggled")].concat());
    let tidegate = before_with(&server, "retries: { extra: 0 }");
    for _ in 0..3 {
        let mut client = tidegate.client();
        for _ in 0..2 {
            assert_eq!(client.get("/").text(), "mine");
        }
    }
}

#[test]
fn bytes_that_an_idle_server_sends_are_not_the_next_response() {
    let late = Signal::new();
    let now = late.clone();
    let sent = Signal::new();
    let done = sent.clone();
    let server = Server::script(move |peer| {
        while let Some(request) = peer.request() {
            peer.send(ok(&request.target));
            if peer.number == 0 {
                now.wait();
                peer.send(ok("smuggled"));
                done.raise();
            }
        }
    });
    let tidegate = before(&server);
    let mut client = tidegate.client();
    assert_eq!(client.get("/1").text(), "/1");
    late.raise();
    sent.wait();
    assert_eq!(client.get("/2").text(), "/2");
}

#[test]
fn what_is_no_response_is_502() {
    let rows: &[(&str, &str)] = &[
        ("garbage", "\x16\x03\x01 what is this\r\n\r\n"),
        ("two lengths", "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab"),
        ("length and chunks", "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
        ("bad length", "HTTP/1.1 200 OK\r\nContent-Length: +1\r\n\r\na"),
        ("folded line", "HTTP/1.1 200 OK\r\nA: b\r\n c\r\nContent-Length: 0\r\n\r\n"),
        ("bare LF", "HTTP/1.1 200 OK\nContent-Length: 0\n\n"),
        ("space before colon", "HTTP/1.1 200 OK\r\nContent-Length : 0\r\n\r\n"),
        ("unknown coding", "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n"),
        ("status", "HTTP/1.1 099 Low\r\nContent-Length: 0\r\n\r\n"),
        ("version", "HTTP/2.0 200 OK\r\nContent-Length: 0\r\n\r\n"),
        ("nothing", ""),
        ("half a head", "HTTP/1.1 200 OK\r\nContent-"),
        ("204 with a length", "HTTP/1.1 204 No Content\r\nContent-Length: 3\r\n\r\nabc"),
        ("listed framing", "HTTP/1.1 200 OK\r\nConnection: Content-Length\r\nContent-Length: 1\r\n\r\na"),
        ("empty line first", "\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"),
        ("control byte", "HTTP/1.1 200 OK\r\nA: \x01\r\nContent-Length: 0\r\n\r\n"),
    ];
    for (name, bytes) in rows {
        let bytes = bytes.as_bytes().to_vec();
        let server = Server::script(move |peer: &mut Peer| {
            peer.request().expect("a request");
            peer.send(&bytes);
        });
        let tidegate = before(&server);
        let mut client = tidegate.client();
        assert_eq!(client.get("/bad").status, 502, "{name}");
        // It is the server's fault: the client's connection lives.
        assert_serves(&mut client);
        assert_eq!(tidegate.log_of("/bad")["side"], "server", "{name}");
    }
}

#[test]
fn a_large_head_from_a_server_passes() {
    let server = Server::http(|request| {
        let size: usize = request.target[1..].parse().expect("a number");
        format!("HTTP/1.1 200 OK\r\nX-Large: {}\r\nContent-Length: 2\r\n\r\nok", "x".repeat(size)).into_bytes()
    });
    let tidegate = before(&server);
    let mut client = tidegate.client();
    for size in [1_000, 8_000, 16_384, 33_000, 60_000] {
        let response = client.get(&format!("/{size}"));
        assert_eq!((response.status, response.text().as_str()), (200, "ok"), "{size}");
        assert_eq!(response.fields.value("x-large").map(str::len), Some(size));
    }
    assert_eq!(server.connections(), 1);
}

#[test]
fn a_server_cannot_go_on_for_ever_before_it_answers() {
    for (name, piece, count) in [
        ("interim responses", "HTTP/1.1 103 Early Hints\r\n\r\n".to_owned(), 200),
        ("one endless head", format!("HTTP/1.1 200 OK\r\nX: {}\r\n", "x".repeat(60_000)), 2),
        ("many fields", format!("HTTP/1.1 200 OK\r\n{}\r\n", "X: y\r\n".repeat(300)), 1),
    ] {
        let server = Server::script(move |peer: &mut Peer| {
            peer.request();
            for _ in 0..count {
                peer.send(&piece);
            }
            peer.hang();
        });
        let tidegate = before(&server);
        assert_eq!(ask(&tidegate, &get("/endless", "")).status, 502, "{name}");
        assert_eq!(tidegate.log_of("/endless")["fault"], "bad_response", "{name}");
    }
}

#[test]
fn a_truncated_response_is_visibly_cut() {
    const CHUNKED: &str = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    for (name, head, rest) in [
        ("length", "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nsome", ""),
        ("much", "HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\nsome", " more"),
        ("before a chunk", CHUNKED, ""),
        ("after a chunk", CHUNKED, "4\r\nsome\r\n"),
        ("in a chunk", CHUNKED, "ff\r\nsome"),
        ("in the trailers", CHUNKED, "4\r\nsome\r\n0\r\nX-A: 1\r\n"),
        ("bad chunk", CHUNKED, "4\r\nsome\r\nxyz\r\n0\r\n\r\n"),
        ("bad end of a chunk", CHUNKED, "4\r\nsomeX\r\n0\r\n\r\n"),
    ] {
        let head_came = Signal::new();
        let go_on = head_came.clone();
        let server = Server::script(move |peer: &mut Peer| {
            peer.request().expect("a request");
            peer.send(head);
            go_on.wait();
            peer.send(rest);
        });
        let tidegate = before(&server);
        let mut client = tidegate.client();
        client.send(get("/cut", ""));
        let framing = client.head().framing;
        head_came.raise();
        let broken = client.reader.body(framing).expect_err("a whole response out of half of one");
        assert!(matches!(broken, Broken::Cut | Broken::Reset), "{name}: {broken:?}");
        let line = tidegate.log_of("/cut");
        assert_eq!((&line["cut"], &line["side"]), (&true.into(), &"server".into()), "{name}");
    }
}

#[test]
fn a_response_that_is_broken_from_its_first_chunk_on_is_502() {
    let server = Server::http(|_| b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n".to_vec());
    let tidegate = before(&server);
    let mut client = tidegate.client();
    assert_eq!(client.get("/broken").status, 502);
    assert_serves(&mut client);
    let line = tidegate.log_of("/broken");
    assert_eq!((&line["fault"], line.get("cut")), (&"bad_response".into(), None));
}

#[test]
fn a_reset_inside_a_body_that_ends_with_the_connection_is_passed_on_as_one() {
    let read = Signal::new();
    let client_has_some = read.clone();
    let server = Server::script(move |peer| {
        peer.request().expect("a request");
        peer.send("HTTP/1.0 200 OK\r\n\r\nsome");
        client_has_some.wait();
        peer.reset();
    });
    let tidegate = before(&server);
    let mut client = tidegate.client();
    client.send("GET / HTTP/1.0\r\n\r\n");
    assert_eq!(client.head().framing, Framing::UntilClose);
    assert_eq!(client.exactly(4), b"some");
    read.raise();
    assert_eq!(client.ending(), Ending::Reset);
}

/// A runtime that gives each task so many steps a turn must not make a closed connection look open: the request behind any
/// number of others on one connection gets a connection of its own.
#[test]
fn a_connection_that_ended_is_noticed_however_busy_its_client_is() {
    let text = "
workers: 1
listeners: { web: { bind: 127.0.0.1:0, routes: [{ match: { path: /static }, respond: 200 }, { to: app }] } }
pools: { app: [@APP] }
";
    for before in [60, 125, 126, 127, 128] {
        let closed = Signal::new();
        let told = closed.clone();
        let server = Server::script(move |peer| {
            let once = peer.request().is_some_and(|request| request.target == "/once");
            peer.send(ok(if once { "once" } else { "again" }));
            peer.finish();
            told.raise();
        });
        let tidegate = start(text, &[("APP", &server)]);
        assert_eq!(ask(&tidegate, &get("/once", "")).text(), "once");
        closed.wait();
        // The program has heard of the end once it has answered somebody else.
        assert_eq!(ask(&tidegate, &get("/static", "")).status, 200);
        let mut client = tidegate.client();
        client.send(format!("{}{}", get("/static", "").repeat(before), post("/victim", "x")));
        for _ in 0..before {
            assert_eq!(client.response().status, 200);
        }
        assert_eq!(client.response().status, 200, "behind {before} others");
    }
}
