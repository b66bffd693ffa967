//! The end: what is under way is finished, what is idle is closed, what takes too long is cut.

use testkit::{Client, Ending, Hanging, Peer, Server, Signal, Tidegate, ok};

use crate::support::{PLAIN, Place, get, start, until_waiting};

/// A program in front of a server that holds each request until the signal.
fn held(shutdown: &str) -> (Server, Tidegate, Signal) {
    let let_go = Signal::new();
    let held = let_go.clone();
    let server = Server::http(move |_| {
        held.wait();
        ok("served")
    });
    let tidegate = start(&format!("{PLAIN}shutdown: {{ {shutdown} }}\n"), &[("APP", &server)]);
    (server, tidegate, let_go)
}

#[test]
fn a_program_without_work_ends_at_once() {
    let server = Server::named("app");
    let mut tidegate = start(PLAIN, &[("APP", &server)]);
    tidegate.terminate();
    assert_eq!(tidegate.wait().code(), Some(0));
}

#[test]
fn what_is_under_way_is_finished_and_nobody_new_is_let_in() {
    let (server, mut tidegate, let_go) = held("drain: 20s");
    let mut idle = tidegate.client();
    let mut busy = tidegate.client();
    busy.send(get("/busy", ""));
    server.until_connections(1);
    tidegate.terminate();
    tidegate.message("draining");
    // Idle connections are closed, without a word.
    assert_eq!(idle.ending(), Ending::Clean);
    assert!(Client::try_connect(&tidegate.address("web")).is_none());
    let_go.raise();
    let response = busy.response();
    assert_eq!((response.text().as_str(), response.fields.value("connection")), ("served", Some("close")));
    assert_eq!(busy.ending(), Ending::Clean);
    assert_eq!(tidegate.wait().code(), Some(0));
    assert_eq!(tidegate.log_of("/busy")["status"], 200);
}

#[test]
fn before_it_closes_it_says_that_it_is_not_ready() {
    let server = Server::named("app");
    let mut tidegate = start(&format!("{PLAIN}shutdown: {{ delay: 1s, drain: 1s }}\n"), &[("APP", &server)]);
    assert_eq!(tidegate.admin("/readyz").status, 200);
    tidegate.terminate();
    tidegate.message("draining");
    assert_eq!(tidegate.admin("/readyz").status, 503);
    assert_eq!(tidegate.admin("/healthz").status, 200);
    // A balancer that has not looked yet still sends, and is served.
    assert_eq!(tidegate.client().get("/").text(), "app");
    assert_eq!(tidegate.wait().code(), Some(0));
}

#[test]
fn what_takes_longer_than_the_drain_is_cut_and_counted() {
    let server = Server::script(|peer: &mut Peer| {
        peer.request();
        peer.send("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n");
        peer.hang();
    });
    let mut tidegate = start(&format!("{PLAIN}shutdown: {{ drain: 300ms }}\n"), &[("APP", &server)]);
    let mut tunnel = tidegate.client();
    tunnel.send(get("/ws", "Connection: Upgrade\r\nUpgrade: websocket\r\n"));
    assert_eq!(tunnel.head().status, 101);
    tidegate.terminate();
    tidegate.message("1 connections were cut");
    assert!(matches!(tunnel.ending(), Ending::Clean | Ending::Reset));
    assert_eq!(tidegate.wait().code(), Some(0));
    let line = tidegate.log_of("/ws");
    assert_eq!((&line["fault"], &line["cut"]), (&"drained".into(), &true.into()));
}

#[test]
fn a_request_that_never_ends_is_cut_visibly() {
    let server = Server::script(|peer: &mut Peer| {
        peer.request();
        peer.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nsome\r\n");
        peer.hang();
    });
    let mut tidegate = start(&format!("{PLAIN}shutdown: {{ drain: 300ms }}\n"), &[("APP", &server)]);
    let mut client = tidegate.client();
    client.send(get("/endless", ""));
    assert_eq!(client.head().status, 200);
    tidegate.terminate();
    assert!(client.reader.body(testkit::Framing::Chunked).is_err(), "a cut body looks complete");
    assert_eq!(tidegate.wait().code(), Some(0));
    assert_eq!(tidegate.log_of("/endless")["fault"], "drained");
}

#[test]
fn a_second_signal_ends_it_at_once() {
    let (server, mut tidegate, let_go) = held("drain: 10m");
    let mut busy = tidegate.client();
    busy.send(get("/", ""));
    server.until_connections(1);
    tidegate.terminate();
    tidegate.message("draining");
    assert!(!tidegate.has_ended());
    tidegate.terminate();
    assert_ne!(tidegate.wait().code(), Some(0));
    assert!(busy.try_response().is_err());
    let_go.raise();
}

/// Wherever a request stands, it is answered and recorded when the time is over.
#[test]
fn what_has_no_answer_yet_is_cut_with_a_record() {
    let silent = || Server::script(Peer::hang);
    let (app, full, one, two, hangs) = (silent(), silent(), silent(), silent(), Hanging::new());
    let text = "
listeners:
  web:
    bind: 127.0.0.1:0
    routes:
      - { match: { path: /sent }, to: sent }
      - { match: { path: '/full/*' }, to: app }
      - { match: { path: /hedged }, to: hedged }
      - { match: { path: /connecting }, to: connecting }
pools:
  sent: [@SENT]
  app: { servers: [{ address: '@FULL', max_connections: 1 }], queue: { timeout: 1h } }
  hedged: { servers: [@ONE, @TWO], retries: { hedge: 10ms } }
  connecting: { servers: [@HANGS], timeouts: { connect: 1h } }
shutdown: { drain: 300ms }
";
    let servers: [(&str, &dyn Place); 5] =
        [("SENT", &app), ("FULL", &full), ("ONE", &one), ("TWO", &two), ("HANGS", &hangs)];
    let mut tidegate = start(text, &servers);
    let send = |target: &str| {
        let mut client = tidegate.client();
        client.send(get(target, ""));
        client
    };
    let mut clients = vec![send("/full/first")];
    full.until_connections(1);
    clients.extend(["/full/waits", "/sent", "/hedged", "/connecting"].map(send));
    app.until_connections(1);
    one.until_connections(1);
    two.until_connections(1);
    until_waiting(&tidegate, 1);
    tidegate.terminate();
    for client in &mut clients {
        assert_eq!(client.response().status, 503);
    }
    assert_eq!(tidegate.wait().code(), Some(0));
    for path in ["/full/first", "/full/waits", "/sent", "/hedged", "/connecting"] {
        let line = tidegate.log_of(path);
        assert_eq!((&line["fault"], &line["status"]), (&"drained".into(), &503.into()), "{line}");
    }
}
