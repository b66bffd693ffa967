//! HTTP/3 to servers: connections over QUIC that requests share.

mod bodies;
mod chain;
mod connects;
mod ends;
mod real;
mod strict;

use std::thread;

use testkit::h3_server::{Backend, Manner, Reply, ok};
use testkit::{Response, ServerTls, Signal, Tidegate, Unheard, h2};

use crate::support::Place;
use crate::tls::Desk;

/// What a server of `desk` shows.
fn shown(desk: &Desk) -> ServerTls {
    ServerTls::new(&desk.issue("origin", &["origin.test"]))
}

/// How the pool believes such servers.
const TLS: &str = "tls: { ca: '@DIR/ca.pem', server_name: origin.test }";

/// The program with one worker in front of one server of HTTP/3, with lines of its own for the pool.
fn before(desk: &Desk, server: &dyn Place, pool: &str) -> Tidegate {
    desk.start(&text(1, pool), &[("APP", server)])
}

fn text(workers: u32, pool: &str) -> String {
    let web = "listeners: { web: { bind: 127.0.0.1:0, to: app, http: [h1, h2] } }";
    format!("workers: {workers}\n{web}\npools: {{ app: {{ servers: {{ s: @APP }}, protocol: h3, {TLS}, {pool} }} }}\n")
}

/// The same in front of two servers, of which the first is asked first.
fn before_both(desk: &Desk, one: &dyn Place, two: &dyn Place, pool: &str) -> Tidegate {
    let text = format!(
        "workers: 1\nlisteners: {{ web: {{ bind: 127.0.0.1:0, to: app }} }}\npools: {{ app: {{ servers: {{ a: @ONE, b: @TWO }}, \
         balance: first, protocol: h3, {TLS}, {pool} }} }}\n"
    );
    desk.start(&text, &[("ONE", one), ("TWO", two)])
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
fn waiting(desk: &Desk, streams: u32) -> (Backend, Signal) {
    let signal = Signal::new();
    let released = signal.clone();
    let manner = Manner { streams, ..Manner::default() };
    let server = Backend::start(&shown(desk), manner, move |_| Reply::Later(released.clone(), b"done".to_vec()));
    (server, signal)
}

#[test]
fn a_request_goes_there_and_back() {
    let desk = Desk::new();
    let server = Backend::named(&shown(&desk), "hello");
    let tidegate = before(&desk, &server, "");
    let mut client = tidegate.client();
    let answer = client.ask("GET /a?b=c HTTP/1.1\r\nHost: a.test\r\nX-One: 1\r\nConnection: x-one\r\nX-Two: 2\r\n\r\n");
    assert_eq!((answer.status, answer.text().as_str(), answer.fields.value("server")), (200, "hello", Some("backend")));
    let asked = &server.asked()[0];
    assert_eq!((asked.method.as_str(), asked.uri.as_str()), ("GET", "https://a.test/a?b=c"));
    let field = |name: &str| asked.fields.get(name).map(|value| value.to_str().expect("text"));
    assert_eq!((field("x-two"), field("x-one"), field("connection"), field("host")), (Some("2"), None, None, None));
    let line = tidegate.log_of("/a");
    assert_eq!((&line["status"], &line["address"]), (&200.into(), &server.address().into()));
}

#[test]
fn a_burst_of_requests_is_one_connection() {
    let desk = Desk::new();
    let (server, signal) = waiting(&desk, 100);
    let tidegate = before(&desk, &server, "");
    let answers = together(&tidegate, 20, || {
        server.until_asked(20);
        signal.raise();
    });
    assert!(answers.iter().all(|answer| answer.status == 200 && answer.text() == "done"));
    assert_eq!((server.connections(), server.most_under_way()), (1, 20));
}

#[test]
fn more_connections_are_opened_when_streams_run_out() {
    let desk = Desk::new();
    let (server, signal) = waiting(&desk, 2);
    let tidegate = before(&desk, &server, "");
    let answers = together(&tidegate, 6, || {
        server.until_asked(6);
        signal.raise();
    });
    assert!(answers.iter().all(|answer| answer.status == 200));
    assert_eq!(server.connections(), 3);
}

#[test]
fn requests_beyond_the_limit_of_connections_wait_for_a_stream() {
    let desk = Desk::new();
    let server = Backend::start(&shown(&desk), Manner { streams: 2, ..Manner::default() }, |_| ok("done"));
    let tidegate = before(&desk, &server, "circuit_breaker: { connections: 1 }");
    let answers = together(&tidegate, 30, || {});
    assert!(answers.iter().all(|answer| answer.status == 200 && answer.text() == "done"));
    assert_eq!(server.connections(), 1);
    assert!(server.most_under_way() <= 2);
}

#[test]
fn connections_are_there_before_the_first_request() {
    let desk = Desk::new();
    let server = Backend::named(&shown(&desk), "app");
    let tidegate = before(&desk, &server, "warm: 1");
    server.until_open(1);
    assert_eq!(tidegate.client().get("/").text(), "app");
    assert_eq!(server.connections(), 1);
}

#[test]
fn hedges_share_connections_too() {
    let desk = Desk::new();
    let (slow, signal) = waiting(&desk, 100);
    let fast = Backend::named(&shown(&desk), "fast");
    let tidegate = before_both(&desk, &slow, &fast, "retries: { hedge: { after: 50ms } }");
    for _ in 0..3 {
        assert_eq!(tidegate.client().get("/").text(), "fast");
    }
    assert_eq!((slow.connections(), fast.connections()), (1, 1));
    signal.raise();
}

#[test]
fn health_is_checked_over_quic() {
    let desk = Desk::new();
    let server = Backend::start(&shown(&desk), Manner::default(), |asked| {
        match (asked.uri.rsplit('/').next(), asked.connection) {
            // The first two checks.
            (Some("healthz"), 0 | 1) => Reply::Whole(500, b"sick".to_vec(), None),
            (Some("healthz"), _) => ok("all is well"),
            _ => ok("app"),
        }
    });
    let health = "health: { probe: http, path: /healthz, body: 'all is well', every: 20ms, fall: 1, rise: 1 }";
    let tidegate = before(&desk, &server, health);
    tidegate.message("status 500");
    tidegate.message("a check passed");
    assert_eq!(tidegate.client().get("/").text(), "app");
    let asked = &server.asked()[0];
    assert_eq!(
        (asked.method.as_str(), asked.uri.as_str()),
        ("GET", format!("https://{}/healthz", server.address()).as_str())
    );

    let tidegate = before(&desk, &Unheard::new(), "health: { probe: http, every: 20ms, timeout: 10s, fall: 1 }");
    tidegate.message("connect refused");
}

#[test]
fn calls_of_grpc_pass() {
    let desk = Desk::new();
    let server = Backend::start(&shown(&desk), Manner::default(), |asked| {
        let mut trailers = h2::HeaderMap::new();
        trailers.insert("grpc-status", "0".parse().expect("a value"));
        Reply::Whole(200, asked.body.clone(), Some(trailers))
    });
    let tidegate = before(&desk, &server, "");
    let mut client = h2::Client::connect(tidegate.address("web").parse().expect("an address"));
    let fields = [("content-type", "application/grpc"), ("te", "trailers")];
    let whole = client.post("test.example", "/a.B/C", &fields, b"\0\0\0\0\x02yo").expect("an answer");
    assert_eq!(whole.body, b"\0\0\0\0\x02yo");
    assert_eq!(whole.trailers.expect("trailers")["grpc-status"], "0");
    assert_eq!(server.asked()[0].fields["te"], "trailers");
}
