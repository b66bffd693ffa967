//! How requests and connections of HTTP/3 end.

use testkit::h3::{Method, Quic, request};
use testkit::{Server, ok, until};

use super::{EDGE, GET, before, client, quic};
use crate::tls::Desk;

const NO_ERROR: u64 = 0x100;
const INTERNAL_ERROR: u64 = 0x102;

#[test]
fn a_client_that_gives_up_frees_the_server() {
    let server = Server::script(|peer| {
        peer.request();
        peer.hang();
    });
    let desk = Desk::new();
    let tidegate = before(&desk, &server, "");
    let mut client = client(&desk, &tidegate);
    let mut exchange = client.begin(request(Method::GET, "example.com", "/given-up", &[])).expect("a stream");
    client.finish(&mut exchange).expect("sent");
    server.request();
    client.cancel(exchange);
    until("the record", || {
        client.turn();
        tidegate.log().iter().any(|line| line["path"] == "/given-up" && line["fault"] == "client_gone")
    });
    server.until_idle();
}

#[test]
fn a_response_that_is_cut_looks_cut() {
    let server = Server::script(|peer| {
        peer.request();
        peer.send("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf");
    });
    let desk = Desk::new();
    let tidegate = before(&desk, &server, "");
    let mut client = client(&desk, &tidegate);
    let failed = client.get("example.com", "/cut", &[]).expect_err("a cut");
    assert_eq!(failed.0, Some(INTERNAL_ERROR), "{failed:?}");
    assert_eq!(tidegate.log_of("/cut")["fault"], "truncated");
    // The connection is none the worse for it.
    let failed = client.get("example.com", "/again", &[]).expect_err("a cut");
    assert_eq!(failed.0, Some(INTERNAL_ERROR), "{failed:?}");
}

#[test]
fn an_answer_that_needs_no_more_of_the_request_says_so() {
    let (desk, server) = (Desk::new(), Server::named("unasked"));
    let text = EDGE.replace("to: app@MORE", "routes: [{ match: { path: /no/* }, deny: 403 }, { to: app }]");
    let tidegate = desk.start(&text, &[("APP", &server)]);
    let quic = quic(&desk, &tidegate);
    let head = testkit::h3::head(&[(":method", "POST"), GET[1], GET[2], (":path", "/no/x")]);
    let mut stream = quic.open(&head, false).expect("a stream");
    assert!(!quic.rest(&mut stream).expect("a whole answer").is_empty());
    assert_eq!(quic.stopped(&mut stream.send).expect("a word"), Some(NO_ERROR));
}

#[test]
fn idle_connections_are_closed_with_a_word() {
    let (desk, server) = (Desk::new(), Server::named("here"));
    let tidegate = before(&desk, &server, ", timeouts: { keep_alive: 300ms }");
    let mut client = client(&desk, &tidegate);
    assert_eq!(client.get("example.com", "/", &[]).expect("an answer").status, 200);
    assert_eq!(client.quic().closed().0, Some(NO_ERROR));
}

#[test]
fn a_server_that_thinks_for_longer_than_a_connection_may_idle_is_waited_for() {
    let server = Server::script(|peer| {
        while peer.request().is_some() {
            // Longer than keep_alive and what is added to it for clients that are gone.
            std::thread::sleep(std::time::Duration::from_secs(7));
            peer.send(ok("at last"));
        }
    });
    let desk = Desk::new();
    let tidegate = before(&desk, &server, ", timeouts: { keep_alive: 1s }");
    let mut client = client(&desk, &tidegate);
    assert_eq!(client.get("example.com", "/", &[]).expect("an answer").body, b"at last");
}

#[test]
fn a_drain_lets_requests_end_and_closes_with_a_word() {
    let (proceed, wait) = std::sync::mpsc::channel::<()>();
    let wait = std::sync::Mutex::new(wait);
    let server = Server::http(move |_| {
        wait.lock().expect("a channel").recv().expect("a word");
        ok("the end")
    });
    let desk = Desk::new();
    let mut tidegate = before(&desk, &server, "");
    let mut client = client(&desk, &tidegate);
    let mut exchange = client.begin(request(Method::GET, "example.com", "/", &[])).expect("a stream");
    client.finish(&mut exchange).expect("sent");
    server.request();
    tidegate.terminate();
    tidegate.message("draining: 1 connections");
    proceed.send(()).expect("a server that waits");
    assert_eq!(client.whole(exchange).expect("an answer").body, b"the end");
    assert_eq!(client.quic().closed().0, Some(NO_ERROR));
    assert!(tidegate.wait().success());
    assert!(tidegate.messages().contains("drained: no connection was cut"));
}

#[test]
fn connections_and_the_port_survive_a_reload() {
    let (desk, server) = (Desk::new(), Server::named("here"));
    let tidegate = before(&desk, &server, "");
    let mut client = client(&desk, &tidegate);
    assert_eq!(client.get("example.com", "/", &[]).expect("an answer").status, 200);
    let text = EDGE.replace("to: app@MORE", "respond: { status: 202 }").replace("pools: { app: [@APP] }", "");
    tidegate.reload(&desk.text(&text, &[]));
    assert_eq!(client.get("example.com", "/", &[]).expect("an answer").status, 202);
    let mut fresh = super::client(&desk, &tidegate);
    assert_eq!(fresh.get("example.com", "/", &[]).expect("an answer").status, 202);
    // Without `h3` nobody is let in any more, and who is inside is told to go.
    tidegate.reload(&desk.text(&text.replace("[h1, h2, h3]", "[h1, h2]"), &[]));
    assert_eq!(client.quic().closed().0, Some(NO_ERROR));
    tidegate.reload(&desk.text(&text, &[]));
    until("HTTP/3 again", || Quic::connect(&tidegate.address("web"), &desk.tls()).is_ok());
}

#[test]
fn a_new_certificate_is_shown_to_new_connections() {
    let (desk, server) = (Desk::new(), Server::named("here"));
    let tidegate = before(&desk, &server, "");
    let mut old = client(&desk, &tidegate);
    let (authority, stranger) = (testkit::Authority::new(), desk.tls());
    authority.issue(&["example.com"]).write(&desk.folder, "main");
    let now = testkit::ClientTls::new(&authority, "example.com");
    until("the new certificate", || Quic::connect(&tidegate.address("web"), &now).is_ok());
    assert!(Quic::connect(&tidegate.address("web"), &stranger).is_err());
    let line = tidegate.log_line("a handshake", |line| line["fault"] == "client_tls");
    assert!(line["reason"].as_str().is_some_and(|why| why.contains("the cryptographic handshake failed")), "{line}");
    assert_eq!(old.get("example.com", "/", &[]).expect("an answer").status, 200);
}
