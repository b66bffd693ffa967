//! Requests before the end of the handshake (0-RTT), and what clients by TCP are told.

use std::time::Duration;

use testkit::h3::{Client, Quic, frame, head};
use testkit::{Server, Tidegate};

use super::{EDGE, GET, before, client};
use crate::tls::{Desk, page};

/// A client's session of before, and the program that remembers it.
fn known(desk: &Desk, server: &Server, more: &str) -> (Tidegate, testkit::ClientTls) {
    let tidegate = before(desk, server, more);
    let tls = desk.tls();
    let mut first = Client::connect(&tidegate.address("web"), &tls).expect("a connection");
    assert_eq!(first.get("example.com", "/first", &[]).expect("an answer").status, 200);
    // Its ticket comes behind the handshake, at the latest with the answer.
    first.turn();
    (tidegate, tls)
}

#[test]
pub(crate) fn safe_requests_may_come_early_where_that_is_allowed() {
    let (desk, server) = (Desk::new(), Server::echo());
    let (tidegate, tls) = known(&desk, &server, ", http3: { early_data: true }");
    let address = tidegate.address("web");
    let quic = Quic::connect_early(&address, &tls);
    let mut get = quic.open(&head(&GET), true).expect("a stream");
    assert!(!quic.rest(&mut get).expect("an answer").is_empty());
    let seen = server.requests().pop().expect("a request");
    assert_eq!(seen.fields.value("early-data"), Some("1"), "the server is told");
    // The handshake is done: what comes now is as good as any.
    let post = head(&[(":method", "POST"), GET[1], GET[2], GET[3]]);
    let mut late = quic.open(&[post.clone(), frame(0, b"x")].concat(), true).expect("a stream");
    assert!(!quic.rest(&mut late).expect("an answer").is_empty());
    let seen = server.requests().pop().expect("a request");
    assert_eq!((seen.method.as_str(), seen.fields.value("early-data")), ("POST", None));

    let (_, tls) = (drop(quic), tls);
    let again = Client::connect(&address, &tls).expect("a connection");
    drop(again);
    let quic = Quic::connect_early(&address, &tls);
    let mut early = quic.open(&[post, frame(0, b"x")].concat(), true).expect("a stream");
    let answer = String::from_utf8_lossy(&quic.rest(&mut early).expect("an answer")).into_owned();
    assert!(answer.contains("425: too_early"), "{answer}");
    assert_eq!(server.requests().iter().filter(|request| request.method == "POST").count(), 1);
}

#[test]
fn nothing_comes_early_unless_that_is_allowed() {
    let (desk, server) = (Desk::new(), Server::echo());
    let (tidegate, tls) = known(&desk, &server, "");
    let address = tidegate.address("web");
    let early = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| Quic::connect_early(&address, &tls)));
    assert!(early.is_err(), "the session that was remembered does not allow it");
}

/// What a client by TCP is told of HTTP/3.
fn told(desk: &Desk, tidegate: &Tidegate) -> Option<String> {
    desk.client(tidegate).ask(page("/")).fields.value("alt-svc").map(str::to_owned)
}

#[test]
pub(crate) fn what_clients_are_told_can_be_chosen() {
    let desk = Desk::new();
    let server = Server::script(|peer| {
        while peer.request().is_some() {
            peer.send("HTTP/1.1 200 OK\r\nAlt-Svc: h3=\":9\"\r\nContent-Length: 0\r\n\r\n");
        }
    });
    let tidegate = before(&desk, &server, ", http3: { port: 443, max_age: 1h }");
    assert_eq!(told(&desk, &tidegate).as_deref(), Some("h3=\":443\"; ma=3600"), "and not what the server says");
    let tidegate = before(&desk, &server, ", http3: { advertise: false }");
    assert_eq!(told(&desk, &tidegate).as_deref(), Some("h3=\":9\""), "the server's own word passes");
    assert_eq!(client(&desk, &tidegate).get("example.com", "/", &[]).expect("an answer").status, 200);
}

#[test]
fn an_address_without_tls_is_none_of_http_3() {
    let (desk, server) = (Desk::new(), Server::named("here"));
    let text = EDGE.replace("bind: 127.0.0.1:0", "bind: [127.0.0.1:0, { address: 127.0.0.1:0, tls: off }]");
    let tidegate = desk.start(&text.replace("@MORE", ""), &[("APP", &server)]);
    let addresses = tidegate.ready()["listeners"]["web"].as_array().expect("a list").clone();
    let address = |number: usize| addresses[number].as_str().expect("an address").to_owned();
    let unknown = [&[0xc0, 0xba, 0xba, 0xba, 0xba, 8][..], b"idofours", &[8], b"idofhers", &[0; 1200]].concat();
    let speaks: Vec<bool> = (0..2)
        .map(|number| {
            let socket = Quic::throw(&address(number), &unknown);
            socket.set_read_timeout(Some(Duration::from_secs(2))).expect("a socket");
            // A version that nobody knows is answered with those that are known, where somebody listens.
            socket.recv(&mut [0; 2048]).is_ok()
        })
        .collect();
    assert_eq!(speaks.iter().filter(|speaks| **speaks).count(), 1, "{speaks:?}");
}
