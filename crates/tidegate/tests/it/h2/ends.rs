//! How streams and connections end: resets, silence, drain, reload.

use testkit::{Server, Signal, h2, ok};

use super::{before, before_and, client};
use crate::support::{PLAIN, before_with, start};

#[test]
fn a_client_that_resets_a_stream_frees_the_server_and_keeps_its_connection() {
    let server = Server::http(|_| ok("served"));
    let holding = Server::script(|peer| {
        let _request = peer.request();
        peer.hang();
    });
    let tidegate = start(
        "listeners: { web: { bind: 127.0.0.1:0, http: [h1, h2], routes: [ { match: { path: /held }, to: holding }, { to: app } ] } }
pools: { app: [@APP], holding: [@HOLDING] }",
        &[("APP", &server), ("HOLDING", &holding)],
    );
    let mut client = client(&tidegate);
    let exchange = client.begin(h2::request(h2::Method::GET, "a", "/held", &[]), true).expect("a stream");
    client.turn();
    holding.until_connections(1);
    client.reset(exchange, h2::Reason::CANCEL);
    holding.until_idle();
    assert_eq!(client.get("a", "/", &[]).expect("an answer").body, b"served");
    let line = tidegate.log_of("/held");
    assert_eq!((line["fault"].as_str(), line["status"].as_u64()), (Some("client_gone"), None));
}

#[test]
fn a_response_that_is_cut_is_seen_to_be_cut_and_others_go_on() {
    let server = Server::script(|peer| {
        while let Some(request) = peer.request() {
            if request.target == "/cut" {
                peer.send("HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nonly this");
                return;
            }
            peer.send(ok("whole"));
        }
    });
    let (tidegate, mut client) = before(&server);
    let exchange = client.begin(h2::request(h2::Method::GET, "a", "/cut", &[]), true).expect("a stream");
    let answer = client.answer(exchange).expect("a head");
    let failed = client.whole(answer).expect_err("a cut");
    assert_eq!(failed.0, Some(h2::Reason::INTERNAL_ERROR), "{failed:?}");
    assert_eq!(client.get("a", "/", &[]).expect("an answer").body, b"whole");
    assert_eq!(tidegate.log_of("/cut")["cut"], true);
}

#[test]
fn an_answer_that_needs_no_more_of_the_request_stops_it() {
    let server = Server::named("app");
    let tidegate = start(
        "listeners: { web: { bind: 127.0.0.1:0, http: [h1, h2], routes: [ { match: { path: /no }, deny: 403 }, { to: app } ] } }
pools: { app: [@APP] }",
        &[("APP", &server)],
    );
    let mut client = super::client(&tidegate);
    let mut exchange = client.begin(h2::request(h2::Method::POST, "a", "/no", &[]), false).expect("a stream");
    client.send(&mut exchange, b"some of it", false).expect("room");
    let (answer, mut body) = client.switch(exchange).expect("a head");
    assert_eq!(answer.head.status, 403);
    // RFC 9113 section 8.1.
    assert_eq!(client.reset_seen(&mut body), Some(h2::Reason::NO_ERROR));
    assert_eq!(client.get("a", "/", &[]).expect("an answer").status, 200);
}

#[test]
fn an_idle_connection_is_told_and_closed() {
    let server = Server::named("app");
    let (_tidegate, mut client) = before_and(&server, "timeouts: { keep_alive: 100ms }");
    assert_eq!(client.get("a", "/", &[]).expect("an answer").status, 200);
    client.ended().expect("an end without an error");
}

#[test]
fn draining_finishes_what_is_under_way() {
    let let_go = Signal::new();
    let held = let_go.clone();
    let server = Server::http(move |_| {
        held.wait();
        ok("served")
    });
    let text = format!("{}shutdown: {{ drain: 20s }}\n", PLAIN.replace("to: app", "http: [h1, h2], to: app"));
    let mut tidegate = start(&text, &[("APP", &server)]);
    let mut client = client(&tidegate);
    let exchange = client.begin(h2::request(h2::Method::GET, "a", "/", &[]), true).expect("a stream");
    client.turn();
    server.until_connections(1);
    tidegate.terminate();
    tidegate.message("draining");
    let_go.raise();
    let answer = client.answer(exchange).expect("an answer");
    assert_eq!(client.whole(answer).expect("a body").body, b"served");
    client.ended().expect("a graceful end");
    assert_eq!(tidegate.wait().code(), Some(0));
    assert_eq!(tidegate.log_of("/")["status"], 200);
}

#[test]
fn a_reload_takes_no_connection_and_the_next_stream_sees_the_new_routes() {
    let server = Server::named("app");
    let text = PLAIN.replace("to: app", "http: [h1, h2], to: app");
    let tidegate = start(&text, &[("APP", &server)]);
    let mut client = client(&tidegate);
    assert_eq!(client.get("a", "/", &[]).expect("an answer").body, b"app");
    let changed = text.replace("to: app", "respond: { status: 200, body: new }");
    tidegate.reload(&crate::support::config(&changed, &[("APP", &server)]));
    assert_eq!(client.get("a", "/", &[]).expect("an answer").body, b"new");
}

/// A server that answers with a head and then says nothing, until its client leaves.
fn silent() -> Server {
    Server::script(|peer| {
        let _request = peer.request();
        peer.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
        peer.hang();
    })
}

#[test]
fn a_stream_that_is_taken_back_frees_a_server_that_is_silent() {
    let server = silent();
    let (_tidegate, mut client) = before(&server);
    let exchange = client.begin(h2::request(h2::Method::GET, "a", "/", &[]), true).expect("a stream");
    let (answer, mut body) = client.switch(exchange).expect("a head");
    body.send_reset(h2::Reason::CANCEL);
    client.turn();
    server.until_idle();
    drop(answer);
}

#[test]
fn a_connection_with_a_silent_stream_is_told_of_the_end() {
    let server = silent();
    let text = format!("{}shutdown: {{ drain: 20s }}\n", PLAIN.replace("to: app", "http: [h1, h2], to: app"));
    let mut tidegate = start(&text, &[("APP", &server)]);
    let mut client = client(&tidegate);
    let exchange = client.begin(h2::request(h2::Method::GET, "a", "/", &[]), true).expect("a stream");
    let (answer, mut body) = client.switch(exchange).expect("a head");
    tidegate.terminate();
    tidegate.message("draining");
    // The GOAWAY comes although nothing else moves.
    client.until_going();
    body.send_reset(h2::Reason::CANCEL);
    drop((answer, body));
    client.ended().expect("a graceful end");
    assert_eq!(tidegate.wait().code(), Some(0));
}

#[test]
fn exchanges_end_with_their_connection() {
    // A frame that does not end closes the connection, streams and all.
    let server = silent();
    let tidegate = before_with(&server, "http: [h1, h2], timeouts: { request_head: 200ms }");
    super::strict::open_and_stall(&tidegate);
    server.until_idle();
}
