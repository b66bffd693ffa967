//! TLS with servers.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use testkit::{Authority, Client, Reloaded, Server, ServerTls, Tidegate, ok, until};

use super::{Desk, ORIGIN};
use crate::support::{Place, get};

/// A server that shows a certificate for `origin.test` and says what it heard.
fn origin(desk: &Desk) -> Server {
    answering(&ServerTls::new(&desk.issue("origin", &["origin.test", "127.0.0.1"])))
}

fn answering(tls: &ServerTls) -> Server {
    Server::secured(tls, |peer| {
        while let Some(request) = peer.request() {
            let agreed = peer.reader.socket.agreed();
            peer.send(ok(format!("{} {} {}", request.target, agreed.version, agreed.name.unwrap_or_default())));
        }
    })
}

fn before(desk: &Desk, server: &dyn Place, tls: &str) -> Tidegate {
    desk.start(&ORIGIN.replace("@TLS", tls), &[("APP", server)])
}

fn status(tidegate: &Tidegate, path: &str) -> u16 {
    tidegate.client().get(path).status
}

#[test]
pub(crate) fn a_server_must_be_who_it_should_be() {
    let desk = Desk::new();
    let server = origin(&desk);
    desk.folder.write("stranger.pem", Authority::new().pem());
    for (tls, heard) in [
        ("{ server_name: origin.test, ca: '@DIR/ca.pem' }", Some("/ TLSv1_3 origin.test")),
        // Its own address is its name where nothing else is said, and an address is no SNI.
        ("{ ca: '@DIR/ca.pem' }", Some("/ TLSv1_3 ")),
        ("{ server_name: other.test, ca: '@DIR/ca.pem' }", None),
        ("{ server_name: origin.test, ca: '@DIR/stranger.pem' }", None),
        // The system's authorities have not signed it.
        ("{ server_name: origin.test }", None),
        ("{ server_name: other.test, verify: false }", Some("/ TLSv1_3 other.test")),
    ] {
        let tidegate = before(&desk, &server, tls);
        let response = tidegate.client().get("/");
        if let Some(heard) = heard {
            assert_eq!((response.status, response.text().as_str()), (200, heard), "{tls}");
        } else {
            assert_eq!((response.status, response.text().as_str()), (502, "502: server_tls\n"), "{tls}");
            let said = tidegate.message("TLS");
            assert!(said.contains("server `127.0.0.1:") && said.contains("pool `app`"), "{said}");
            assert!(server.requests().iter().all(|request| request.target != "/secret"));
        }
    }
}

/// What `openssl req -x509` makes is an authority, and shown by the server that it is for.
#[test]
fn a_server_that_is_its_own_authority_is_believed_by_whoever_names_it() {
    let desk = Desk::new();
    let [issued, other, old] =
        [(2, 1), (2, 1), (1, 2)].map(|(days, before)| Authority::alone(&["origin.test"], days, before));
    desk.folder.write("alone.pem", &issued.cert);
    desk.folder.write("others.pem", &[desk.authority.pem(), &other.cert, &old.cert].concat());
    let (server, outdated) = (answering(&ServerTls::new(&issued)), answering(&ServerTls::new(&old)));
    for (server, tls, wrong) in [
        (&server, "server_name: origin.test, ca: '@DIR/alone.pem'", None),
        (&server, "server_name: other.test, ca: '@DIR/alone.pem'", Some("not valid for name")),
        (
            &server,
            "server_name: origin.test, ca: '@DIR/others.pem'",
            Some("an authority's (`CA:TRUE`), and of none that we believe: if it is the right one, name it in `ca`"),
        ),
        (&outdated, "server_name: origin.test, ca: '@DIR/others.pem'", Some("expired")),
    ] {
        let tidegate = before(&desk, server, &format!("{{ {tls} }}"));
        assert_eq!(status(&tidegate, "/"), if wrong.is_some() { 502 } else { 200 }, "{tls}");
        if let Some(wrong) = wrong {
            tidegate.message(wrong);
        }
    }
}

#[test]
pub(crate) fn a_server_may_ask_who_we_are() {
    let desk = Desk::new();
    let people = Authority::new();
    people.issue(&["edge.test"]).write(&desk.folder, "edge");
    let server = answering(&ServerTls::asking(&desk.issue("origin", &["origin.test"]), &people));
    let text = ORIGIN
        .replace("listeners:", "certificates: { edge: { cert: '@DIR/edge.pem', key: '@DIR/edge.key' } }\nlisteners:");
    for (shown, wanted) in [(", certificate: edge", 200), ("", 502)] {
        let tls = format!("{{ server_name: origin.test, ca: '@DIR/ca.pem'{shown} }}");
        let tidegate = desk.start(&text.replace("@TLS", &tls), &[("APP", &server)]);
        assert_eq!(status(&tidegate, "/"), wanted, "{shown}");
    }
}

#[test]
pub(crate) fn the_oldest_version_holds_for_servers_too() {
    let desk = Desk::new();
    let issued = desk.issue("origin", &["origin.test"]);
    let server = answering(&ServerTls::only(&issued, &rustls::version::TLS12));
    for (oldest, wanted) in [("tls1.2", 200), ("tls1.3", 502)] {
        let tls = format!("{{ server_name: origin.test, ca: '@DIR/ca.pem', min_version: {oldest} }}");
        assert_eq!(status(&before(&desk, &server, &tls), "/"), wanted, "{oldest}");
    }
}

/// RFC 7301: a server that has never heard of protocols speaks what all do; one that speaks others alone has no request.
#[test]
fn a_server_must_speak_our_protocol() {
    let desk = Desk::new();
    let tls = ServerTls::new(&desk.issue("origin", &["origin.test"]));
    for (spoken, wanted) in [(&["h2", "http/1.1"][..], 200), (&[], 200), (&["h2"], 502)] {
        let server = answering(&tls.speaking(spoken));
        let tidegate = before(&desk, &server, "{ server_name: origin.test, ca: '@DIR/ca.pem' }");
        assert_eq!(status(&tidegate, "/"), wanted, "{spoken:?}");
        if wanted == 502 {
            assert_eq!(tidegate.log_of("/")["fault"], "server_tls");
            tidegate.message("NoApplicationProtocol");
        }
    }
}

#[test]
pub(crate) fn suites_and_groups_may_be_chosen_for_servers_too() {
    let desk = Desk::new();
    let server = Server::secured(&ServerTls::new(&desk.issue("origin", &["origin.test"])), |peer| {
        while peer.request().is_some() {
            let agreed = peer.reader.socket.agreed();
            peer.send(ok(format!("{} {}", agreed.cipher, agreed.exchange)));
        }
    });
    for (keys, wanted) in [
        ("ciphers: TLS_AES_128_GCM_SHA256, groups: secp256r1", "TLS13_AES_128_GCM_SHA256 secp256r1"),
        ("ciphers: ECDHE-ECDSA-AES128-GCM-SHA256, groups: X25519", "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256 X25519"),
        ("ciphers: ECDHE-RSA-AES128-GCM-SHA256", "502: server_tls\n"),
    ] {
        let tidegate = before(&desk, &server, &format!("{{ server_name: origin.test, ca: '@DIR/ca.pem', {keys} }}"));
        assert_eq!(tidegate.client().get("/").text(), wanted, "{keys}");
    }
}

/// Tickets that come behind the handshake are bytes on an idle connection, and no reason to close it.
#[test]
fn connections_with_tls_are_used_again() {
    let desk = Desk::new();
    let server = origin(&desk);
    let tidegate = before(&desk, &server, "{ server_name: origin.test, ca: '@DIR/ca.pem' }");
    let mut client = tidegate.client();
    for number in 0..5 {
        assert_eq!(client.get(&format!("/{number}")).status, 200);
        assert_eq!(tidegate.log_of(&format!("/{number}"))["reused"], number > 0);
    }
    assert_eq!(server.connections(), 1);
}

/// One connection for all workers: an idle one moves to the worker that needs it, its session with it.
#[test]
fn an_idle_connection_with_tls_moves_between_workers() {
    let desk = Desk::new();
    let server = origin(&desk);
    let text = "
workers: 3
listeners: { web: { bind: 127.0.0.1:0, to: app } }
pools:
  app:
    servers: { one: { address: @APP, max_connections: 1 } }
    queue: { length: 100 }
    tls: { server_name: origin.test, ca: '@DIR/ca.pem' }
";
    let tidegate = desk.start(text, &[("APP", &server)]);
    let mut clients: Vec<Client> = (0..12).map(|_| tidegate.client()).collect();
    for round in 0..5 {
        for (number, client) in clients.iter_mut().enumerate() {
            let path = format!("/{round}/{number}");
            assert!(client.get(&path).text().starts_with(&path));
        }
    }
    assert_eq!(server.connections(), 1);
}

#[test]
fn connections_with_tls_are_opened_before_they_are_needed() {
    let desk = Desk::new();
    let agreed = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&agreed);
    let server = Server::secured(&ServerTls::new(&desk.issue("origin", &["origin.test"])), move |peer| {
        peer.reader.socket.handshake().expect("a handshake");
        counted.fetch_add(1, Ordering::SeqCst);
        while peer.request().is_some() {
            peer.send(ok("warm"));
        }
    });
    let text = ORIGIN.replace("tls: @TLS", "warm: 4, tls: { server_name: origin.test, ca: '@DIR/ca.pem' }");
    let tidegate = desk.start(&text, &[("APP", &server)]);
    until("all are agreed on", || agreed.load(Ordering::SeqCst) == 4);
    // Each worker has two: one that is put away at this very moment leaves the other.
    assert_eq!(status(&tidegate, "/first"), 200);
    assert_eq!(tidegate.log_of("/first")["reused"], true);
}

#[test]
fn health_is_checked_over_tls() {
    let desk = Desk::new();
    let server = origin(&desk);
    for (name, up) in [("origin.test", true), ("other.test", false)] {
        let text = ORIGIN.replace(
            "tls: @TLS",
            &format!(
                "health: {{ probe: http, path: /check, every: 50ms, fall: 2 }}, tls: {{ server_name: {name}, ca: '@DIR/ca.pem' }}"
            ),
        );
        let tidegate = desk.start(&text, &[("APP", &server)]);
        if up {
            while server.request().target != "/check" {}
            assert_eq!(status(&tidegate, "/"), 200);
        } else {
            let said = tidegate.message("is down");
            assert!(said.contains("certificate"), "{said}");
            until("it is down", || tidegate.metric("tidegate_server_up", &["app"]) == [0.0]);
        }
    }
}

/// Connections of other settings are others, however well they would serve.
#[test]
fn a_connection_is_never_used_under_other_settings_than_it_was_made_with() {
    let desk = Desk::new();
    let server = origin(&desk);
    desk.folder.write("stranger.pem", Authority::new().pem());
    let text = |tls: &str| desk.text(&ORIGIN.replace("@TLS", tls), &[("APP", &server)]);
    let tidegate = desk.start(&ORIGIN.replace("@TLS", "{ verify: false }"), &[("APP", &server)]);
    assert_eq!(status(&tidegate, "/a"), 200);
    assert_eq!(tidegate.reload(&text("{ ca: '@DIR/stranger.pem' }")), Reloaded::Yes);
    assert_eq!(status(&tidegate, "/b"), 502);
    assert_eq!(tidegate.reload(&text("{ ca: '@DIR/ca.pem' }")), Reloaded::Yes);
    assert_eq!(status(&tidegate, "/c"), 200);
    // What was refused has never come so far as to be a request.
    assert_eq!(server.requests().len(), 2);
}

#[test]
fn a_server_that_speaks_no_tls_is_502() {
    let desk = Desk::new();
    let server = Server::script(|peer| {
        // What came is no request: it is a handshake.
        peer.send("HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n");
        let _ = peer.rest();
    });
    let tidegate = before(&desk, &server, "{ ca: '@DIR/ca.pem' }");
    assert_eq!(tidegate.client().ask(get("/plain", "")).status, 502);
    assert_eq!(tidegate.log_of("/plain")["fault"], "server_tls");
}

#[test]
fn the_log_hears_of_failed_handshakes_once_a_second() {
    let desk = Desk::new();
    let server = origin(&desk);
    let tidegate = before(&desk, &server, "{ server_name: other.test, ca: '@DIR/ca.pem' }");
    let began = Instant::now();
    for _ in 0..40 {
        assert_eq!(status(&tidegate, "/"), 502);
    }
    tidegate.message("and TLS: ");
    let said = tidegate.messages().matches("and TLS: ").count() as u64;
    assert!(said <= began.elapsed().as_secs() + 1, "{said}");
}
