//! HTTP/2 to servers: connections that requests share, and what becomes of them.

mod lost;

use std::thread;

use testkit::h2_server::{Backend, Manner, Reply, ok};
use testkit::{Reloaded, Response, Server, Signal, Tidegate, h2};

use crate::support::{Place, config, start};
use crate::tls::{Desk, page};

/// The program with one worker in front of one server of HTTP/2, with lines of its own for the pool.
fn before(server: &dyn Place, pool: &str) -> Tidegate {
    start(&text(1, pool), &[("APP", server)])
}

fn text(workers: u32, pool: &str) -> String {
    let web = "listeners: { web: { bind: 127.0.0.1:0, to: app, http: [h1, h2] } }";
    format!("workers: {workers}\n{web}\npools: {{ app: {{ servers: {{ s: @APP }}, protocol: h2, {pool} }} }}\n")
}

/// Asks so many times at once; answers all that came, once `meanwhile` is over.
fn together(tidegate: &Tidegate, count: usize, meanwhile: impl FnOnce()) -> Vec<Response> {
    thread::scope(|scope| {
        let asking: Vec<_> = (0..count).map(|_| scope.spawn(|| tidegate.client().get("/"))).collect();
        meanwhile();
        asking.into_iter().map(|one| one.join().expect("an answer")).collect()
    })
}

/// A server whose answers wait for a signal.
fn waiting(streams: u32) -> (Backend, Signal) {
    let signal = Signal::new();
    let released = signal.clone();
    let manner = Manner { streams, ..Manner::default() };
    (Backend::start(manner, move |_| Reply::Later(released.clone(), b"done".to_vec())), signal)
}

fn trailers(name: &'static str, value: &'static str) -> h2::HeaderMap {
    let mut map = h2::HeaderMap::new();
    map.insert(name, value.parse().expect("a value"));
    map
}

#[test]
fn a_burst_of_requests_is_one_connection() {
    let (server, signal) = waiting(100);
    let tidegate = before(&server, "");
    let answers = together(&tidegate, 20, || {
        server.until_asked(20);
        signal.raise();
    });
    assert!(answers.iter().all(|answer| answer.status == 200 && answer.text() == "done"));
    assert_eq!((server.connections(), server.most_under_way()), (1, 20));
    let asked = &server.asked()[0];
    assert_eq!((asked.uri.as_str(), asked.fields.contains_key("connection")), ("http://test.example/", false));
}

#[test]
fn more_connections_are_opened_when_streams_run_out() {
    let (server, signal) = waiting(2);
    let tidegate = before(&server, "");
    let answers = together(&tidegate, 6, || {
        server.until_asked(6);
        signal.raise();
    });
    assert!(answers.iter().all(|answer| answer.status == 200));
    assert_eq!(server.connections(), 3);
}

#[test]
fn requests_beyond_the_limit_of_connections_wait_for_a_stream() {
    let server = Backend::start(Manner { streams: 2, ..Manner::default() }, |_| ok("done"));
    let tidegate = before(&server, "circuit_breaker: { connections: 1 }");
    let answers = together(&tidegate, 30, || {});
    assert!(answers.iter().all(|answer| answer.status == 200 && answer.text() == "done"));
    assert_eq!(server.connections(), 1);
    assert!(server.most_under_way() <= 2);
}

#[test]
fn workers_without_a_connection_get_the_place_of_another() {
    let server = Backend::named("app");
    let tidegate = start(&text(2, "circuit_breaker: { connections: 1 }"), &[("APP", &server)]);
    for _ in 0..3 {
        let answers = together(&tidegate, 12, || {});
        assert!(answers.iter().all(|answer| answer.status == 200 && answer.text() == "app"));
    }
}

#[test]
fn content_and_trailers_pass_both_ways() {
    let server = Backend::start(Manner::default(), |asked| {
        Reply::Whole(200, asked.body.clone(), asked.trailers.is_some().then(|| trailers("grpc-status", "0")))
    });
    let tidegate = before(&server, "");
    let mut client = h2::Client::connect(tidegate.address("web").parse().expect("an address"));
    let content: Vec<u8> = (0..3_000_000_u32).map(|number| number as u8).collect();
    let request = h2::request(h2::Method::POST, "a", "/echo", &[("te", "trailers")]);
    let mut exchange = client.begin(request, false).expect("a stream");
    client.send(&mut exchange, &content, false).expect("room");
    client.send_trailers(&mut exchange, trailers("checksum", "1")).expect("an end");
    let answer = client.answer(exchange).expect("a head");
    let whole = client.whole(answer).expect("a body");
    assert!(whole.body == content);
    assert_eq!(whole.trailers.expect("trailers").get("grpc-status").expect("a field"), "0");
    let asked = &server.asked()[0];
    assert_eq!(asked.trailers.as_ref().expect("trailers").get("checksum").expect("a field"), "1");
    assert_eq!(asked.fields.get("te").map(|value| value.as_bytes()), Some(&b"trailers"[..]));

    // And for clients of HTTP/1.1, in chunks.
    let chunked = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nx-end: y\r\n\r\n";
    let answer = tidegate.client().ask(chunked);
    assert_eq!((answer.status, answer.text()), (200, "abc".to_owned()));
    assert_eq!(server.asked()[1].trailers.as_ref().expect("trailers").get("x-end").expect("a field"), "y");
}

#[test]
fn answers_without_content() {
    let server = Backend::start(Manner::default(), |asked| match asked.uri.rsplit('/').next() {
        Some("204") => Reply::Whole(204, Vec::new(), None),
        Some("304") => Reply::Whole(304, Vec::new(), None),
        _ => Reply::Whole(200, Vec::new(), None),
    });
    let tidegate = before(&server, "");
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
fn a_refused_stream_is_tried_again_whatever_it_asks() {
    let server = Backend::start(Manner::default(), |asked| match asked.fields.get("x-try") {
        _ if asked.body != b"pay" => ok("what"),
        _ => Reply::Reset(h2::Reason::REFUSED_STREAM),
    });
    let other = Backend::named("paid");
    let text = "
workers: 1
listeners: { web: { bind: 127.0.0.1:0, to: app } }
pools: { app: { servers: { a: @ONE, b: @TWO }, balance: first, protocol: h2 } }
";
    let tidegate = start(text, &[("ONE", &server), ("TWO", &other)]);
    let answer = tidegate.client().ask("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\npay");
    assert_eq!((answer.status, answer.text()), (200, "paid".to_owned()));
    assert_eq!((server.asked().len(), other.asked().len()), (1, 1));
}

#[test]
fn a_stream_that_is_reset_for_another_reason_is_not() {
    let server = Backend::start(Manner::default(), |_| Reply::Reset(h2::Reason::INTERNAL_ERROR));
    let tidegate = before(&server, "");
    let answer = tidegate.client().ask("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\npay");
    assert_eq!((answer.status, server.asked().len()), (502, 1));
}

#[test]
fn a_server_that_leaves_is_connected_to_again() {
    let server = Backend::start(Manner::default(), |asked| match asked.connection {
        0 => Reply::Leave(b"bye".to_vec()),
        _ => ok("again"),
    });
    let tidegate = before(&server, "");
    let mut client = tidegate.client();
    assert_eq!(client.get("/").text(), "bye");
    server.until_open(0);
    assert_eq!(client.get("/").text(), "again");
    assert_eq!(server.connections(), 2);
}

#[test]
fn a_connection_that_breaks_takes_only_its_own_requests_with_it() {
    let server = Backend::start(Manner::default(), |asked| match (asked.connection, asked.uri.ends_with("/break")) {
        (0, true) => Reply::Break,
        _ => ok("app"),
    });
    let tidegate = before(&server, "");
    let mut client = tidegate.client();
    assert_eq!(client.get("/").text(), "app");
    // The connection was there before the request, which is safe to send again.
    assert_eq!(client.get("/break").text(), "app");
    assert_eq!((server.connections(), client.get("/").status), (2, 200));
}

#[test]
fn idle_connections_close_and_so_do_those_to_servers_that_are_gone() {
    let server = Backend::named("app");
    let tidegate = before(&server, "timeouts: { pooled: 100ms }");
    assert_eq!(tidegate.client().get("/").text(), "app");
    server.until_open(0);
    assert_eq!(tidegate.client().get("/").text(), "app");

    let (gone, stays) = (Backend::named("gone"), Backend::named("stays"));
    let tidegate = before(&gone, "");
    assert_eq!(tidegate.client().get("/").text(), "gone");
    assert_eq!(tidegate.reload(&config(&text(1, ""), &[("APP", &stays)])), Reloaded::Yes);
    gone.until_open(0);
    assert_eq!(tidegate.client().get("/").text(), "stays");
}

/// Nobody else will ever ask there, so that the connection is of no use but to them.
#[test]
fn who_waits_for_a_connection_has_it_even_if_its_server_has_gone_meanwhile() {
    let (come, go) = (Signal::new(), Signal::new());
    let (came, goes) = (come.clone(), go.clone());
    let server = Server::script(move |peer| {
        come.raise();
        goes.wait();
        // SETTINGS, and for the request a head of `:status: 200` that ends its stream.
        peer.send([0, 0, 0, 4, 0, 0, 0, 0, 0]);
        peer.reader.exactly(24).expect("a preface");
        loop {
            let front = peer.reader.exactly(9).expect("a frame");
            peer.reader.exactly(usize::from(front[1]) << 8 | usize::from(front[2])).expect("a payload");
            if front[3] == 1 {
                break;
            }
        }
        peer.send([0, 0, 1, 1, 5, 0, 0, 0, 1, 0x88]);
        peer.hang();
    });
    let other = Backend::named("other");
    let tidegate = before(&server, "");
    let mut client = tidegate.client();
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    came.wait();
    assert_eq!(tidegate.reload(&config(&text(1, ""), &[("APP", &other)])), Reloaded::Yes);
    go.raise();
    assert_eq!(client.response().status, 200);
    assert_eq!(tidegate.client().get("/").text(), "other");
    assert_eq!(server.connections(), 1);
}

#[test]
fn connections_are_there_before_the_first_request() {
    let server = Backend::named("app");
    let tidegate = before(&server, "warm: 1");
    server.until_open(1);
    assert_eq!(tidegate.client().get("/").text(), "app");
    assert_eq!(server.connections(), 1);
}

#[test]
fn a_websocket_goes_on_by_extended_connect() {
    let server = Backend::start(Manner { extended_connect: true, ..Manner::default() }, |_| ok("no"));
    let tidegate = before(&server, "");
    let mut client = tidegate.client();
    client.send(
        "GET /chat HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\nfirst",
    );
    let head = client.head();
    assert_eq!((head.status, head.fields.value("upgrade")), (101, Some("websocket")));
    assert_eq!(head.fields.value("sec-websocket-accept"), Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
    assert_eq!(client.exactly(5), b"first");
    client.send("second");
    assert_eq!(client.exactly(6), b"second");
    let asked = &server.asked()[0];
    assert_eq!((asked.method.as_str(), asked.uri.as_str()), ("CONNECT", "http://a/chat"));
    assert!(!asked.fields.contains_key("sec-websocket-key") && !asked.fields.contains_key("upgrade"));

    // Other requests share the connection.
    assert_eq!(tidegate.client().get("/").text(), "no");
    assert_eq!(server.connections(), 1);
    client.finish();
}

#[test]
fn a_websocket_goes_on_from_a_client_of_http2() {
    let server = Backend::start(Manner { extended_connect: true, ..Manner::default() }, |_| ok("no"));
    let tidegate = before(&server, "");
    let mut client = h2::Client::connect(tidegate.address("web").parse().expect("an address"));
    let mut exchange = client.extended_connect("websocket", "a", "/chat").expect("a stream");
    client.send(&mut exchange, b"early ", false).expect("room");
    let (mut answer, body) = client.switch(exchange).expect("a head");
    assert_eq!(answer.head.status, 200);
    let mut heard = Vec::new();
    while heard.len() < 6 {
        heard.extend(client.content(&mut answer).expect("content").expect("more"));
    }
    assert_eq!(heard, b"early ");
    client.finish_with(body, b"late");
    assert_eq!(client.whole(answer).expect("the rest").body, b"late");
    let asked = &server.asked()[0];
    assert_eq!((asked.method.as_str(), asked.uri.as_str()), ("CONNECT", "http://a/chat"));
    assert_eq!(asked.fields.get("sec-websocket-version").map(|value| value.as_bytes()), Some(&b"13"[..]));
    let line = tidegate.log_of("/chat");
    assert_eq!(
        (line["status"].as_u64(), line["bytes_in"].as_u64(), line["bytes_out"].as_u64()),
        (Some(200), Some(10), Some(10)),
        "{line}"
    );
}

#[test]
fn a_websocket_ends_at_a_server_that_takes_none() {
    let server = Backend::named("app");
    let tidegate = before(&server, "");
    let upgrade = "GET /chat HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                   Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    assert_eq!(tidegate.client().ask(upgrade).status, 502);
    let reason = tidegate.log_of("/chat")["reason"].as_str().expect("a reason").to_owned();
    assert!(reason.contains("takes no WebSocket"), "{reason}");
}

#[test]
fn a_server_that_speaks_another_protocol_cannot_be_connected_to() {
    let server = Server::script(|peer| peer.send("HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n"));
    let tidegate = before(&server, "");
    assert_eq!(tidegate.client().get("/").status, 502);
    assert_eq!(tidegate.log_of("/")["fault"], "connect");
}

#[test]
fn health_is_checked_in_the_protocol_of_the_pool() {
    let server = Backend::start(Manner::default(), |asked| match asked.uri.ends_with("/healthz") {
        true => Reply::Whole(500, b"sick".to_vec(), None),
        false => ok("app"),
    });
    let tidegate = before(&server, "health: { probe: http, path: /healthz, every: 20ms, fall: 1 }");
    tidegate.message("status 500");
    assert_eq!(tidegate.client().get("/").status, 503);
}

#[test]
fn hedges_share_connections_too() {
    let (slow, signal) = waiting(100);
    let fast = Backend::named("fast");
    let text = "
workers: 1
listeners: { web: { bind: 127.0.0.1:0, to: app } }
pools:
  app:
    servers: { a: @SLOW, b: @FAST }
    balance: first
    protocol: h2
    retries: { hedge: { after: 50ms } }
";
    let tidegate = start(text, &[("SLOW", &slow), ("FAST", &fast)]);
    for _ in 0..3 {
        assert_eq!(tidegate.client().get("/").text(), "fast");
    }
    assert_eq!((slow.connections(), fast.connections()), (1, 1));
    signal.raise();
}

#[test]
fn under_tls_the_protocol_is_agreed_on() {
    let desk = Desk::new();
    let behind = desk.start(
        "
certificates: { main: { cert: '@DIR/main.pem', key: '@DIR/main.key' } }
listeners: { web: { bind: 127.0.0.1:0, tls: main, http: [h2], respond: { body: behind } } }
",
        &[],
    );
    let text = "
listeners: { web: { bind: 127.0.0.1:0, to: app } }
pools: { app: { servers: [@APP], tls: { ca: '@DIR/ca.pem', server_name: example.com }, protocol: h2 } }
"
    .replace("@APP", &behind.address("web"));
    let tidegate = desk.start(&text, &[]);
    for _ in 0..2 {
        assert_eq!(tidegate.client().ask(page("/secured")).text(), "behind");
    }
    assert_eq!(behind.log_of("/secured")["version"], "2");
}
