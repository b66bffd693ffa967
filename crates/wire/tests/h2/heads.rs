//! Which heads are refused (RFC 9113 sections 8.2 and 8.3, RFC 8441), and what the others look like.

use tidegate_wire::Head;
use tidegate_wire::h1::{self, Progress, Reject};
use tidegate_wire::h2::hpack::encode;
use tidegate_wire::h2::{Code, Limits};

use super::pair::{Seen, text};
use super::raw::{GET, POST, assert_reset, client, data, headers, literal, request, server};

fn limits() -> Limits {
    Limits { extended_connect: true, ..Limits::default() }
}

/// What a request looks like at the server, or why it was reset.
fn asked(end: bool, fields: &[(&str, &str)]) -> Result<String, &'static str> {
    let (mut server, now) = server(&limits());
    server.read(&request(1, end, fields), now);
    if let [Seen::Head { id: 1, end: ended, .. }] = &server.take()[..] {
        assert_eq!(*ended, end);
        // What we accept, HTTP/1's reader accepts too, and means the same.
        let mut out = Vec::new();
        if server.head.protocol().is_empty() {
            h1::request_head(&server.head, &mut out);
            let mut again = Head::default();
            let read = h1::request(&out, &h1::Limits::default(), &mut again);
            assert_eq!(read, Ok(Progress::Complete(out.len())), "{}", out.escape_ascii());
            assert_eq!(again.authority(), server.head.authority());
            assert_eq!(again.path(), server.head.path());
            assert_eq!(again.framing(), server.head.framing());
        }
        return Ok(text(&server.head));
    }
    server.read(&[], now);
    server.read(&request(1, end, fields), now);
    Err(why(end, fields))
}

fn why(end: bool, fields: &[(&str, &str)]) -> &'static str {
    let (mut server, now) = server(&limits());
    server.read(&request(1, end, fields), now);
    let reason = assert_reset(&mut server, 1, Code::PROTOCOL_ERROR);
    // The connection goes on, and its table with it.
    server.read(&request(3, true, &GET), now);
    assert!(matches!(server.take()[..], [Seen::Head { id: 3, .. }]));
    reason
}

fn with<'a>(base: &[(&'a str, &'a str)], more: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    [base, more].concat()
}

#[test]
fn good_requests() {
    type Row = (bool, Vec<(&'static str, &'static str)>, &'static str);
    let rows: [Row; 12] = [
        (true, GET.to_vec(), "GET example.com/ | host: example.com | None"),
        (false, POST.to_vec(), "POST example.com/ | host: example.com | Unknown"),
        (
            false,
            with(&POST, &[("content-length", "5")]),
            "POST example.com/ | host: example.com | content-length: 5 | Length(5)",
        ),
        (
            true,
            with(&POST, &[("content-length", "0")]),
            "POST example.com/ | host: example.com | content-length: 0 | None",
        ),
        (true, with(&GET, &[("host", "Example.com")]), "GET example.com/ | host: example.com | None"),
        (
            true,
            vec![(":method", "GET"), (":scheme", "http"), (":path", "/a?b?c"), ("host", "a:80")],
            "GET a:80/a?b?c | host: a:80 | None",
        ),
        (
            true,
            with(&GET, &[("cookie", "a=1"), ("x", "y"), ("cookie", "b=2"), ("cookie", "c=3")]),
            "GET example.com/ | host: example.com | x: y | cookie: a=1; b=2; c=3 | None",
        ),
        (true, with(&GET, &[("te", "trailers")]), "GET example.com/ | host: example.com | te: trailers | None"),
        (
            true,
            vec![(":method", "OPTIONS"), (":scheme", "http"), (":path", "*"), (":authority", "a")],
            "OPTIONS a* | host: a | None",
        ),
        (false, vec![(":method", "CONNECT"), (":authority", "a:443")], "CONNECT a:443 | host: a:443 | None"),
        (
            false,
            vec![
                (":method", "CONNECT"),
                (":protocol", "websocket"),
                (":scheme", "https"),
                (":path", "/chat"),
                (":authority", "a"),
                ("sec-websocket-version", "13"),
            ],
            "GET a/chat as websocket | host: a | sec-websocket-version: 13 | None",
        ),
        (
            false,
            vec![
                (":method", "CONNECT"),
                (":protocol", "connect-udp"),
                (":scheme", "https"),
                (":path", "/x"),
                (":authority", "a"),
            ],
            "CONNECT a/x as connect-udp | host: a | None",
        ),
    ];
    for (end, fields, expected) in rows {
        assert_eq!(asked(end, &fields).as_deref(), Ok(expected));
    }
}

#[test]
fn bad_requests() {
    let connect = [(":method", "CONNECT"), (":protocol", "websocket"), (":scheme", "https"), (":authority", "a")];
    let rows: Vec<(Vec<(&str, &str)>, &str)> = vec![
        (with(&GET, &[("Accept", "x")]), "field name in upper case"),
        (with(&GET, &[("a b", "x")]), "invalid field name"),
        (with(&GET, &[("", "x")]), "invalid field name"),
        (with(&GET, &[("a:", "x")]), "invalid field name"),
        (with(&GET, &[("a\r\nb", "x")]), "invalid field name"),
        (with(&GET, &[("a", "x\r\nb: c")]), "invalid field value"),
        (with(&GET, &[("a", "x\nb")]), "invalid field value"),
        (with(&GET, &[("a", "x\0")]), "invalid field value"),
        (with(&GET, &[("a", " x")]), "invalid field value"),
        (with(&GET, &[("a", "x\t")]), "invalid field value"),
        (with(&GET, &[("connection", "close")]), "a field of the connection"),
        (with(&GET, &[("keep-alive", "1")]), "a field of the connection"),
        (with(&GET, &[("proxy-connection", "close")]), "a field of the connection"),
        (with(&GET, &[("transfer-encoding", "chunked")]), "a field of the connection"),
        (with(&GET, &[("upgrade", "h2c")]), "a field of the connection"),
        (with(&GET, &[("te", "gzip")]), "a field of the connection"),
        (with(&GET, &[("te", "trailers, gzip")]), "a field of the connection"),
        (with(&GET, &[("content_length", "1")]), "a framing field's name with `_`"),
        (with(&GET, &[("transfer_encoding", "chunked")]), "a framing field's name with `_`"),
        (with(&GET, &[("content-length", "1")]), "a Content-Length and no content"),
        (with(&GET, &[("content-length", "x")]), "invalid Content-Length"),
        (with(&GET, &[("content-length", "+1")]), "invalid Content-Length"),
        (with(&GET, &[("content-length", "0"), ("content-length", "0")]), "more than one Content-Length"),
        (with(&GET, &[("host", "b")]), "Host is not :authority"),
        (with(&GET, &[("host", "example.com:443")]), "Host is not :authority"),
        (with(&GET, &[("host", "")]), "Host is not :authority"),
        (with(&GET, &[("host", "example.com"), ("host", "b")]), "Host is not :authority"),
        (with(&GET[..2], &[(":path", "/"), ("host", "a"), ("host", "a")]), "more than one Host"),
        (with(&GET[..2], &[(":path", "/")]), "neither :authority nor Host"),
        (with(&GET[..2], &[(":path", "/"), ("host", "")]), "invalid :authority"),
        (with(&GET, &[("a", "b"), (":method", "GET")]), "a pseudo-header field behind a field"),
        (with(&GET, &[(":method", "GET")]), "a pseudo-header field twice"),
        (with(&GET, &[(":path", "/")]), "a pseudo-header field twice"),
        (with(&GET, &[(":authority", "example.com")]), "a pseudo-header field twice"),
        (with(&GET, &[(":status", "200")]), "a pseudo-header field in the wrong kind of message"),
        (with(&GET, &[(":unknown", "x")]), "unknown pseudo-header field"),
        (with(&GET, &[(":Path", "x")]), "unknown pseudo-header field"),
        (GET[1..].to_vec(), "no :method"),
        (GET[..3].to_vec(), "no :path"),
        (with(&GET[..1], &GET[2..]), "no :scheme"),
        (with(&[(":method", "G T")], &GET[1..]), "invalid :method"),
        (with(&[(":method", "")], &GET[1..]), "invalid :method"),
        (with(&GET[..3], &[(":path", "")]), ":path without a leading slash"),
        (with(&GET[..3], &[(":path", "a")]), ":path without a leading slash"),
        (with(&GET[..3], &[(":path", "http://a/")]), ":path without a leading slash"),
        (with(&GET[..3], &[(":path", "*")]), ":path * with a method other than OPTIONS"),
        (with(&GET[..3], &[(":path", "/a b")]), "invalid byte in :path"),
        (with(&GET[..3], &[(":path", "/ HTTP/1.1\r\nhost: b\r\n")]), "invalid byte in :path"),
        (with(&GET[..3], &[(":path", "/#")]), "invalid byte in :path"),
        (with(&[(":scheme", "ftp"), GET[0]], &GET[2..]), "a scheme other than http and https"),
        (with(&[GET[0], GET[1], GET[3]], &[(":authority", "a@b")]), "invalid :authority"),
        (with(&[GET[0], GET[1], GET[3]], &[(":authority", "a/b")]), "invalid :authority"),
        (with(&[GET[0], GET[1], GET[3]], &[(":authority", "")]), "invalid :authority"),
        (vec![(":method", "CONNECT"), (":authority", "a")], "CONNECT without host and port"),
        (vec![(":method", "CONNECT"), (":authority", "a:0")], "CONNECT without host and port"),
        (vec![(":method", "CONNECT"), (":authority", "a:1"), (":path", "/")], "CONNECT with :scheme or :path"),
        (connect.to_vec(), "no :path"),
        (with(&GET, &[(":protocol", "websocket")]), ":protocol with a method other than CONNECT"),
        (with(&connect, &[(":path", "/"), ("content-length", "1")]), "a body with a method that has none"),
    ];
    for (fields, expected) in rows {
        assert_eq!(asked(true, &fields), Err(expected), "{fields:?}");
    }
    let trace = with(&[(":method", "TRACE")], &GET[1..]);
    assert_eq!(asked(false, &trace), Err("a body with a method that has none"));
}

#[test]
fn extended_connect_must_be_offered() {
    let (mut server, now) = server(&Limits::default());
    let fields = [(":method", "CONNECT"), (":protocol", "websocket"), (":path", "/")];
    server.read(&request(1, false, &with(&fields, &GET[1..3])), now);
    assert_eq!(assert_reset(&mut server, 1, Code::PROTOCOL_ERROR), ":protocol, which was not offered");
}

#[test]
fn content_is_as_long_as_announced() {
    for (chunks, reason) in [
        (&[&b"abcd"[..]][..], "less content than Content-Length"),
        (&[b"abc", b"def"], "more content than Content-Length"),
        (&[b"abcdef"], "more content than Content-Length"),
        (&[b"abc", b""], "less content than Content-Length"),
    ] {
        let (mut server, now) = server(&Limits::default());
        server.read(&request(1, false, &with(&POST, &[("content-length", "5")])), now);
        for (number, chunk) in chunks.iter().enumerate() {
            server.read(&data(1, number + 1 == chunks.len(), chunk), now);
        }
        assert_eq!(assert_reset(&mut server, 1, Code::PROTOCOL_ERROR), reason);
    }
    let (mut server, now) = server(&Limits::default());
    server.read(&request(1, false, &with(&POST, &[("content-length", "5")])), now);
    server.read(&data(1, false, b"abc"), now);
    server.read(&request(1, true, &[("a", "b")]), now);
    assert_eq!(assert_reset(&mut server, 1, Code::PROTOCOL_ERROR), "less content than Content-Length");
}

#[test]
fn trailers_have_rules_too() {
    for (end, fields, reason) in [
        (true, &[(":path", "/")][..], "a pseudo-header field in trailers"),
        (false, &[("a", "b")], "trailers that do not end the stream"),
        (true, &[("connection", "close")], "a field of the connection"),
        (true, &[("content_length", "5")], "a framing field's name with `_`"),
    ] {
        let (mut server, now) = server(&Limits::default());
        server.read(&request(1, false, &POST), now);
        server.read(&request(1, end, fields), now);
        assert_eq!(assert_reset(&mut server, 1, Code::PROTOCOL_ERROR), reason);
    }
}

#[test]
fn oversize_requests_may_be_answered_and_the_table_goes_on() {
    let limits = Limits { head: 2000, line: 500, fields: 10, ..Limits::default() };
    let long = "x".repeat(3000);
    let target = format!("/{}", "x".repeat(600));
    let many: Vec<(String, String)> = (0..20).map(|number| (format!("n{number}"), "v".into())).collect();
    let many: Vec<(&str, &str)> = many.iter().map(|(name, value)| (&name[..], &value[..])).collect();
    for (fields, reject) in [
        (with(&GET, &[("long", &long)]), Reject::HeadTooLarge),
        (with(&GET[..3], &[(":path", &target)]), Reject::LineTooLong),
        (with(&GET, &many), Reject::TooManyFields),
    ] {
        let (mut server, now) = server(&limits);
        let mut block = super::raw::block(&fields);
        // An entry for the table behind all that is too much.
        block.extend_from_slice(&[0x40, 1, b'k', 1, b'v']);
        server.read(&headers(1, true, &block), now);
        assert_eq!(server.take(), [Seen::Refused { id: 1, reject }]);
        let mut response = Head::default();
        response.start_response(431);
        let id = tidegate_wire::h2::StreamId::new(1).expect("a number");
        server.connection.send_head(id, &response);
        server.connection.finish(id, None);
        let mut block = super::raw::block(&GET);
        encode::indexed(61, &mut block);
        *block.last_mut().expect("a byte") = 0x80 | 62;
        server.read(&headers(3, true, &block), now);
        let text = "GET example.com/ | host: example.com | k: v | None";
        assert_eq!(server.take(), [Seen::Head { id: 3, end: true, text: text.into() }]);
    }
}

#[test]
fn secrets_stay_secret() {
    let (mut server, now) = server(&Limits::default());
    let mut block = super::raw::block(&GET);
    let at = block.len();
    literal(b"x-key", b"k", &mut block);
    block[at] = 0x10;
    server.read(&headers(1, true, &block), now);
    let (mut client, _) = client(&Limits::default());
    client.connection.open(&server.head).expect("a stream");
    let out = client.write();
    let at = out.windows(5).position(|five| five == b"x-key").expect("the field");
    assert_eq!(out[at - 2], 0x10);
}

/// What a response looks like at the client, or why it was reset.
fn answered(method: &str, end: bool, fields: &[(&str, &str)]) -> Result<String, &'static str> {
    let (mut client, now) = client(&Limits::default());
    let mut head = Head::default();
    head.start_request(method.as_bytes(), b"a:1", b"/", None);
    let id = client.connection.open(&head).expect("a stream");
    client.connection.finish(id, None);
    client.read(&headers(1, end, &super::raw::block(fields)), now);
    match &client.take()[..] {
        [Seen::Head { text, .. }] => Ok(text.clone()),
        [Seen::Reset { by: tidegate_wire::h2::By::Us(reason), code: Code::PROTOCOL_ERROR, .. }] => Err(reason),
        seen => panic!("{seen:?}"),
    }
}

#[test]
fn responses() {
    let length = ("content-length", "5");
    for (method, end, fields, expected) in [
        ("GET", false, &[(":status", "200")][..], Ok("200 | Unknown")),
        ("GET", true, &[(":status", "200")], Ok("200 | None")),
        ("GET", false, &[(":status", "200"), length], Ok("200 | content-length: 5 | Length(5)")),
        ("HEAD", true, &[(":status", "200"), length], Ok("200 | content-length: 5 | None")),
        ("GET", true, &[(":status", "304"), length], Ok("304 | content-length: 5 | None")),
        ("GET", true, &[(":status", "204")], Ok("204 | None")),
        ("GET", false, &[(":status", "100")], Ok("100 | None")),
        ("CONNECT", false, &[(":status", "200"), length], Ok("200 | None")),
        ("GET", true, &[(":status", "200"), length], Err("a Content-Length and no content")),
        ("GET", true, &[(":status", "100")], Err("an interim response that ends the stream")),
        ("GET", false, &[(":status", "103"), length], Err("a body announced where none can be")),
        ("GET", true, &[(":status", "204"), length], Err("a body announced where none can be")),
        ("GET", true, &[(":status", "101")], Err("status 101")),
        ("GET", true, &[(":status", "99")], Err("invalid :status")),
        ("GET", true, &[(":status", "600")], Err("invalid :status")),
        ("GET", true, &[(":status", "2 0")], Err("invalid :status")),
        ("GET", true, &[("a", "b")], Err("no :status")),
        ("GET", true, &[(":status", "200"), (":path", "/")], Err("a pseudo-header field in the wrong kind of message")),
        ("GET", true, &[(":status", "200"), (":status", "200")], Err("a pseudo-header field twice")),
        ("GET", true, &[(":status", "200"), ("connection", "close")], Err("a field of the connection")),
    ] {
        assert_eq!(answered(method, end, fields), expected.map(str::to_owned), "{fields:?}");
    }
}
