//! Connects that fail, each for its own reason, and those of TLS.

use std::sync::atomic::Ordering;

use testkit::h3_server::{Backend, Manner, Raw, Reply, ok};
use testkit::{Authority, Deaf, ServerTls, Unheard};

use super::{TLS, before, before_both, shown, text};
use crate::tls::Desk;

#[test]
fn a_port_where_nobody_is_fails_at_once_and_another_server_is_asked() {
    let desk = Desk::new();
    let (nobody, server) = (Unheard::new(), Backend::named(&shown(&desk), "here"));
    // The connect would be waited for much longer than a test may take.
    let tidegate = before_both(&desk, &nobody, &server, "timeouts: { connect: 1h }");
    assert_eq!(tidegate.client().get("/").text(), "here");
    // The first packet is sent again after a second: it is the first that is answered by the kernel.
    let tidegate = before(&desk, &nobody, "timeouts: { connect: 900ms }");
    assert_eq!(tidegate.client().get("/").status, 502);
    assert_eq!(tidegate.log_of("/")["fault"], "connect");
}

#[test]
fn a_server_that_says_nothing_fails_in_time_and_another_one_is_asked() {
    let desk = Desk::new();
    let (deaf, server) = (Deaf::new(), Backend::named(&shown(&desk), "here"));
    let tidegate = before_both(&desk, &deaf, &server, "timeouts: { connect: 1s }");
    assert_eq!(tidegate.client().get("/").text(), "here");
    let tidegate = before(&desk, &deaf, "timeouts: { connect: 1s }");
    assert_eq!(tidegate.client().get("/").status, 504);
    assert_eq!(tidegate.log_of("/")["fault"], "connect_timeout");
}

#[test]
fn a_server_must_be_who_it_should_be() {
    let desk = Desk::new();
    let server = Backend::named(&ServerTls::new(&desk.issue("origin", &["origin.test", "127.0.0.1"])), "hello");
    desk.folder.write("stranger.pem", Authority::new().pem());
    for (tls, believed) in [
        ("{ server_name: origin.test, ca: '@DIR/ca.pem' }", true),
        ("{ ca: '@DIR/ca.pem' }", true),
        ("{ server_name: other.test, ca: '@DIR/ca.pem' }", false),
        ("{ server_name: origin.test, ca: '@DIR/stranger.pem' }", false),
        ("{ server_name: other.test, verify: false }", true),
    ] {
        let text = text(1, "").replace(TLS, &format!("tls: {tls}"));
        let tidegate = desk.start(&text, &[("APP", &server)]);
        let answer = tidegate.client().get("/");
        if believed {
            assert_eq!((answer.status, answer.text().as_str()), (200, "hello"), "{tls}");
        } else {
            assert_eq!((answer.status, answer.text().as_str()), (502, "502: server_tls\n"), "{tls}");
            let said = tidegate.message("TLS");
            assert!(said.contains("certificate"), "{said}");
        }
    }
}

#[test]
fn a_server_may_ask_who_we_are() {
    let (desk, people) = (Desk::new(), Authority::new());
    people.issue(&["edge.test"]).write(&desk.folder, "edge");
    let tls = ServerTls::asking(&desk.issue("origin", &["origin.test"]), &people);
    let server = Backend::named(&tls, "hello");
    for (shown, wanted) in [(", certificate: edge", "hello"), ("", "502: server_tls\n")] {
        let text = text(1, "")
            .replace(
                "listeners:",
                "certificates: { edge: { cert: '@DIR/edge.pem', key: '@DIR/edge.key' } }\nlisteners:",
            )
            .replace("server_name: origin.test", &format!("server_name: origin.test{shown}"));
        let tidegate = desk.start(&text, &[("APP", &server)]);
        assert_eq!(tidegate.client().get("/").text(), wanted, "{shown}");
    }
}

#[test]
fn a_session_is_resumed() {
    let desk = Desk::new();
    let (tls, resumed) = shown(&desk).counting();
    let server = Backend::start(&tls, Manner::default(), |_| Reply::Leave(b"bye".to_vec()));
    let tidegate = before(&desk, &server, "");
    for _ in 0..3 {
        assert_eq!(tidegate.client().get("/").text(), "bye");
        server.until_open(0);
    }
    assert_eq!((server.connections(), resumed.load(Ordering::SeqCst)), (3, 2));
}

#[test]
fn a_server_must_speak_http_3() {
    let desk = Desk::new();
    let manner = Manner { protocol: "hq-interop", ..Manner::default() };
    let server = Backend::start(&shown(&desk), manner, |_| ok("no"));
    let tidegate = before(&desk, &server, "");
    assert_eq!(tidegate.client().get("/").text(), "502: server_tls\n");

    // One that agrees on it, and does something else.
    let server = Raw::start(&shown(&desk), &[0, 0, 0], false, |_, _| Vec::new());
    let tidegate = before(&desk, &server, "");
    assert_eq!(tidegate.client().get("/").text(), "502: connect\n");
}
