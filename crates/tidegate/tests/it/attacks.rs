//! Messages that two readers could understand differently. Each is refused with its status, its connection closed, and
//! nothing of it, nor of what was hidden behind it, reaches a server.

use testkit::{Broken, Ending, Framing, Server, Signal, Tidegate, ok};

use crate::support::{ask, before, before_with, get};

/// A name, a whole message, and its status. `GET` stands for a request line, a Host follows unless the row is about it.
type Row = (&'static str, &'static [u8], u16);

/// Sends each message with a request hidden behind it.
fn assert_refused(rows: &[Row]) {
    let server = Server::named("app");
    let tidegate = before(&server);
    for (name, message, status) in rows {
        refuse(&tidegate, name, message, *status);
    }
    assert_eq!(server.connections(), 0, "something reached the server: {:?}", server.requests());
}

fn refuse(tidegate: &Tidegate, name: &str, message: &[u8], status: u16) {
    let mut client = tidegate.client();
    client.send(message);
    // The program may have closed the connection by now.
    client.try_send("GET /hidden HTTP/1.1\r\nHost: a\r\n\r\n");
    let response = match client.try_response() {
        Ok(response) => response,
        Err(broken) => panic!("{name}: {broken:?} instead of {status}"),
    };
    assert_eq!((response.status, response.fields.value("connection")), (status, Some("close")), "{name}");
    assert_eq!(client.ending(), Ending::Clean, "{name}");
}

#[test]
fn two_ways_to_frame_a_body_are_refused() {
    assert_refused(&[
        (
            "length and chunks",
            b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            400,
        ),
        (
            "chunks and length",
            b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
            400,
        ),
        ("two lengths", b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab", 400),
        (
            "the same length twice",
            b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\na",
            400,
        ),
        ("a list of lengths", b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1, 1\r\n\r\na", 400),
        (
            "a length on GET and chunks",
            b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
            400,
        ),
        ("chunks in 1.0", b"POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
        (
            "two codings",
            b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
            400,
        ),
        (
            "identity beside chunked",
            b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: identity\r\nTransfer-Encoding: chunked\r\n\r\n",
            400,
        ),
        ("chunked twice", b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, chunked\r\n\r\n", 400),
        ("chunked not last", b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, gzip\r\n\r\n", 400),
        ("almost chunked", b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n", 400),
        ("chunked with a parameter", b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked;q=1\r\n\r\n", 400),
        ("quoted chunked", b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: \"chunked\"\r\n\r\n", 400),
        ("no coding", b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding:\r\n\r\n", 400),
        ("vertical tab", b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: \x0bchunked\r\n\r\n", 400),
        ("unknown coding", b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\n", 501),
        ("coding before chunked", b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", 501),
        ("identity", b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: identity\r\n\r\n", 501),
        ("body on TRACE", b"TRACE / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\na", 400),
        ("body on CONNECT", b"CONNECT a:1 HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\na", 400),
    ]);
}

#[test]
fn lengths_that_are_no_plain_numbers_are_refused() {
    for length in
        ["+5", "-5", "0x5", "5 5", "", "5;", "5.0", "5e0", "\u{665}", "9999999999999999999", "18446744073709551621"]
    {
        let message = format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\nhello").into_bytes();
        assert_refused(&[(Box::leak(length.to_owned().into_boxed_str()), Box::leak(message.into_boxed_slice()), 400)]);
    }
}

#[test]
fn bad_chunks_are_refused() {
    const BODIES: &[(&str, &[u8])] = &[
        ("no digit", b"g\r\nhello\r\n0\r\n\r\n"),
        ("minus", b"-1\r\nhello\r\n0\r\n\r\n"),
        ("0x", b"0x5\r\nhello\r\n0\r\n\r\n"),
        ("space before", b" 5\r\nhello\r\n0\r\n\r\n"),
        ("space behind", b"5 \r\nhello\r\n0\r\n\r\n"),
        ("empty", b"\r\nhello\r\n0\r\n\r\n"),
        ("underscore", b"5_0\r\nhello\r\n0\r\n\r\n"),
        ("overflow", b"ffffffffffffffff5\r\nhello\r\n0\r\n\r\n"),
        ("bare LF behind the size", b"5\nhello\r\n0\r\n\r\n"),
        ("bare CR behind the size", b"5\rhello\r\n0\r\n\r\n"),
        ("bare LF in an extension", b"5;a\nhello\r\n0\r\n\r\n"),
        ("bare CR in an extension", b"5;a\rb\r\nhello\r\n0\r\n\r\n"),
        ("NUL in an extension", b"5;\0\r\nhello\r\n0\r\n\r\n"),
        ("too much content", b"5\r\nhelloworld\r\n0\r\n\r\n"),
        ("bare LF behind the content", b"5\r\nhello\n0\r\n\r\n"),
        ("no line end behind the content", b"5\r\nhello0\r\n\r\n"),
        ("bare LF behind the last chunk", b"0\n\n"),
        ("folded trailer", b"0\r\nA: b\r\n c\r\n\r\n"),
        ("bare LF in the trailers", b"0\r\nA: b\n\r\n"),
        ("bad trailer name", b"0\r\nA : b\r\n\r\n"),
    ];
    let server = Server::named("app");
    let tidegate = before(&server);
    for (name, body) in BODIES {
        let head = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
        refuse(&tidegate, name, &[&head[..], body].concat(), 400);
    }
    assert_eq!(server.connections(), 0, "something reached the server: {:?}", server.requests());
}

#[test]
fn a_bad_chunk_behind_good_ones_never_completes_a_request() {
    let head_came = Signal::new();
    let noted = head_came.clone();
    let server = Server::script(move |peer| {
        let request = peer.request_head().expect("a head");
        assert_eq!(request.framing, Framing::Chunked);
        noted.raise();
        let broken = peer.reader.body(request.framing).expect_err("a whole body out of a broken one");
        assert!(matches!(broken, Broken::Cut | Broken::Reset), "{broken:?}");
    });
    let tidegate = before(&server);
    let mut client = tidegate.client();
    client.send("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n4\r\ngood\r\n");
    head_came.wait();
    client.send("zz\r\nGET /hidden HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(client.response().status, 400);
    assert_eq!(client.ending(), Ending::Clean);
    server.until_idle();
    assert_eq!(server.requests().len(), 1);
}

#[test]
fn chunk_extensions_without_end_are_refused() {
    let server = Server::named("app");
    let tidegate = before(&server);
    let padding = "x".repeat(20_000);
    let message =
        format!("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1;{padding}\r\na\r\n0\r\n\r\n");
    let mut client = tidegate.client();
    client.send(message);
    assert_eq!(client.response().status, 400);
}

#[test]
fn lines_that_end_or_continue_oddly_are_refused() {
    assert_refused(&[
        ("bare LF everywhere", b"GET / HTTP/1.1\nHost: a\n\n", 400),
        ("bare LF behind the request line", b"GET / HTTP/1.1\nHost: a\r\n\r\n", 400),
        ("bare LF behind a field", b"GET / HTTP/1.1\r\nHost: a\nX: b\r\n\r\n", 400),
        ("bare LF at the end", b"GET / HTTP/1.1\r\nHost: a\r\n\n", 400),
        ("bare CR in a value", b"GET / HTTP/1.1\r\nHost: a\r\nX: b\rY: c\r\n\r\n", 400),
        ("bare CR behind the request line", b"GET / HTTP/1.1\rHost: a\r\n\r\n", 400),
        ("CR CR LF", b"GET / HTTP/1.1\r\nHost: a\r\r\n\r\n", 400),
        ("folded by a space", b"GET / HTTP/1.1\r\nHost: a\r\nX: b\r\n c\r\n\r\n", 400),
        ("folded by a tab", b"GET / HTTP/1.1\r\nHost: a\r\nX: b\r\n\tc\r\n\r\n", 400),
        ("folded first", b"GET / HTTP/1.1\r\n Host: a\r\n\r\n", 400),
        ("folded framing", b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding:\r\n chunked\r\n\r\n", 400),
        ("two empty lines first", b"\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        ("LF first", b"\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        ("space first", b" GET / HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    ]);
}

#[test]
fn fields_that_are_none_are_refused() {
    assert_refused(&[
        ("space before the colon", b"GET / HTTP/1.1\r\nHost: a\r\nX : b\r\n\r\n", 400),
        ("tab before the colon", b"GET / HTTP/1.1\r\nHost: a\r\nX\t: b\r\n\r\n", 400),
        ("framing with a space", b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length : 5\r\n\r\nhello", 400),
        ("space in a name", b"GET / HTTP/1.1\r\nHost: a\r\nX Y: b\r\n\r\n", 400),
        ("no name", b"GET / HTTP/1.1\r\nHost: a\r\n: b\r\n\r\n", 400),
        ("no colon", b"GET / HTTP/1.1\r\nHost: a\r\nX\r\n\r\n", 400),
        ("NUL in a value", b"GET / HTTP/1.1\r\nHost: a\r\nX: a\0b\r\n\r\n", 400),
        ("control byte in a value", b"GET / HTTP/1.1\r\nHost: a\r\nX: \x1b\r\n\r\n", 400),
        ("DEL in a value", b"GET / HTTP/1.1\r\nHost: a\r\nX: \x7f\r\n\r\n", 400),
        ("NUL in a name", b"GET / HTTP/1.1\r\nHost: a\r\nX\0: b\r\n\r\n", 400),
        ("high byte in a name", b"GET / HTTP/1.1\r\nHost: a\r\nX\xff: b\r\n\r\n", 400),
        ("brackets in a name", b"GET / HTTP/1.1\r\nHost: a\r\n(X): b\r\n\r\n", 400),
    ]);
}

#[test]
fn hosts_that_are_none_or_two_are_refused() {
    assert_refused(&[
        ("none", b"GET / HTTP/1.1\r\n\r\n", 400),
        ("two", b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400),
        ("the same twice", b"GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", 400),
        ("two in 1.0", b"GET / HTTP/1.0\r\nHost: a\r\nHost: b\r\n\r\n", 400),
        ("a list", b"GET / HTTP/1.1\r\nHost: a, b\r\n\r\n", 400),
        ("a space", b"GET / HTTP/1.1\r\nHost: a b\r\n\r\n", 400),
        ("a path", b"GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", 400),
        ("a user", b"GET / HTTP/1.1\r\nHost: u@a\r\n\r\n", 400),
        ("an empty label", b"GET / HTTP/1.1\r\nHost: a..b\r\n\r\n", 400),
        ("a big port", b"GET / HTTP/1.1\r\nHost: a:65536\r\n\r\n", 400),
        ("a port in words", b"GET / HTTP/1.1\r\nHost: a:http\r\n\r\n", 400),
        ("an open bracket", b"GET / HTTP/1.1\r\nHost: [::1\r\n\r\n", 400),
        ("a bad one beside an absolute target", b"GET http://a/ HTTP/1.1\r\nHost: b c\r\n\r\n", 400),
    ]);
}

#[test]
fn request_lines_that_are_none_are_refused() {
    assert_refused(&[
        ("two spaces", b"GET  / HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        ("tab", b"GET\t/ HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        ("no version", b"GET /\r\nHost: a\r\n\r\n", 400),
        ("space behind", b"GET / HTTP/1.1 \r\nHost: a\r\n\r\n", 400),
        ("space in the target", b"GET /a b HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        ("no method", b" / HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        ("method with a colon", b"GE:T / HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        ("no slash", b"GET a HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        ("another scheme", b"GET ftp://a/ HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        ("user in the target", b"GET http://u@a/ HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        ("no authority in the target", b"GET http:///x HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        ("fragment", b"GET /a#b HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        ("raw bytes in the target", b"GET /\xc3\xa9 HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        ("star with GET", b"GET * HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        ("CONNECT without a port", b"CONNECT a HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        ("version 2", b"GET / HTTP/2.0\r\nHost: a\r\n\r\n", 505),
        ("version 1.2", b"GET / HTTP/1.2\r\nHost: a\r\n\r\n", 505),
        ("version 0.9", b"GET / HTTP/0.9\r\nHost: a\r\n\r\n", 505),
        ("the preface of HTTP/2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
        ("TLS", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400),
        ("NULs", b"\0\0\0\0\0\0\0\0", 400),
        ("a banner", b"SSH-2.0-OpenSSH_9.6\r\n\r\n", 400),
    ]);
}

#[test]
fn no_spelling_of_a_guarded_path_reaches_the_server() {
    let server = Server::named("app");
    let text = "
listeners:
  web:
    bind: 127.0.0.1:0
    routes:
      - { match: { path: /guarded/* }, deny: 403 }
      - { to: app }
pools: { app: [@APP] }
";
    let tidegate = crate::support::start(text, &[("APP", &server)]);
    for path in [
        "/guarded",
        "/guarded/",
        "/guarded/x",
        "/%67uarded/x",
        "/./guarded/x",
        "/a/../guarded",
        "/a/%2e%2E/guarded/x",
        "/guarded/../guarded/x",
        "/guarded?x",
        "/%67%75%61%72%64%65%64",
        "/a/b/../../guarded/.",
        "http://other/guarded/x",
    ] {
        assert_eq!(ask(&tidegate, &get(path, "")).status, 403, "{path}");
    }
    for path in ["/..;/guarded/x", "/a/..;x/guarded", "/../guarded", "/guarded\\..\\x", "/%00/guarded", "/%g7uarded"] {
        assert_eq!(ask(&tidegate, &get(path, "")).status, 400, "{path}");
    }
    // These name other things, and the server sees them as the route did.
    for path in ["/guardedx", "//guarded/x", "/a%2Fguarded", "/%2Fguarded", "/Guarded"] {
        assert_eq!(ask(&tidegate, &get(path, "")).status, 200, "{path}");
        assert_eq!(server.request().target, path);
    }
}

#[test]
fn a_request_hidden_in_a_body_stays_there() {
    let server = Server::http(|request| ok(format!("{} {}", request.target, request.body.len())));
    let tidegate = before(&server);
    let hidden = "GET /hidden HTTP/1.1\r\nHost: a\r\n\r\n";
    let mut client = tidegate.client();
    // GET with a body is framed like any other.
    let response =
        client.ask(format!("GET /1 HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n{hidden}", hidden.len()));
    assert_eq!(response.text(), format!("/1 {}", hidden.len()));
    let chunk = format!("{:x}\r\n{hidden}\r\n0\r\n\r\n", hidden.len());
    let response = client.ask(format!("DELETE /2 HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n{chunk}"));
    assert_eq!(response.text(), format!("/2 {}", hidden.len()));
    let targets: Vec<String> = server.requests().into_iter().map(|request| request.target).collect();
    assert_eq!(targets, ["/1", "/2"]);
}

#[test]
fn a_body_that_nobody_reads_is_not_the_next_request() {
    // A route that answers by itself leaves the body where it is: the connection cannot go on behind it.
    let server = Server::named("app");
    let text = "
listeners: { web: { bind: 127.0.0.1:0, routes: [{ match: { path: /here }, respond: 200 }, { to: app }] } }
pools: { app: [@APP] }
";
    let tidegate = crate::support::start(text, &[("APP", &server)]);
    let hidden = "GET /hidden HTTP/1.1\r\nHost: a\r\n\r\n";
    let mut client = tidegate.client();
    client.send(format!("POST /here HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n", hidden.len()));
    let response = client.response();
    client.try_send(hidden);
    client.try_send(hidden);
    assert_eq!((response.status, response.fields.value("connection")), (200, Some("close")));
    assert_eq!(client.ending(), Ending::Clean);
    assert!(server.requests().is_empty());
}

#[test]
fn fields_that_identify_do_not_come_in_by_another_spelling() {
    let server = Server::named("app");
    let tidegate = before_with(&server, "forwarding: { client: none }");
    let fields = "X-FORWARDED-FOR: 1.1.1.1\r\nx-Forwarded-Anything: x\r\nforwarded: for=1.1.1.1\r\n";
    assert_eq!(ask(&tidegate, &get("/", fields)).status, 200);
    assert!(!format!("{:?}", server.request().fields).to_ascii_lowercase().contains("forwarded"));
}
