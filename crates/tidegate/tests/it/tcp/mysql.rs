//! MySQL: TLS that begins on both sides at once.

mod real;

use std::io::{ErrorKind, Read as _, Write as _};

use testkit::{Hanging, Server, ServerTls, Talk, Tidegate, failure_of, until};

use super::{connect, rest};
use crate::support::{BINARY, config};
use crate::tls::Desk;

/// TLS ends here and begins here.
const BOTH: &str = "
certificates: { main: { cert: '@DIR/main.pem', key: '@DIR/main.key' } }
listeners:
  web: { bind: 127.0.0.1:0, role: tcp, tls: { certificates: main, starttls: mysql }, timeouts: { tls_handshake: 2s }, to: app }
pools: { app: { servers: [@APP], tls: { ca: '@DIR/ca.pem', starttls: mysql }, health: { probe: mysql, every: 50ms } } }
";

fn packet(number: u8, payload: &[u8]) -> Vec<u8> {
    [&[payload.len() as u8, 0, 0, number][..], payload].concat()
}

fn greeting(can: u16) -> Vec<u8> {
    packet(0, &[b"\x0a8.0.36\0\x01\0\0\0abcdefgh\0", &can.to_le_bytes()[..], b"\x21\x02\0\x0f\x00\x15"].concat())
}

/// CLIENT_PROTOCOL_41, and CLIENT_SSL if it is asked for.
fn answer(asks: bool, rest: &[u8]) -> Vec<u8> {
    packet(1, &[&[0, if asks { 0x0a } else { 0x02 }, 0, 0][..], &[0; 28], rest].concat())
}

fn take_packet(talk: &mut Talk) -> Vec<u8> {
    let head = talk.exactly(4);
    let length = head.first().copied().unwrap_or_default();
    [head, talk.exactly(usize::from(length))].concat()
}

/// A server that says whether it has heard what a client says inside of TLS.
fn server(tls: ServerTls) -> Server {
    Server::script(move |peer| {
        let mut talk = Talk::of(peer);
        talk.say(greeting(0xffff));
        let asked = take_packet(&mut talk);
        if asked != answer(true, b"") {
            // A check, that logs in without TLS, or nobody.
            talk.say(packet(2, b"\xff\x57\x0c#HY000TLS")).finish();
            return;
        }
        if talk.begun(&tls).is_ok() {
            let login = take_packet(&mut talk);
            talk.say(packet(3, &[b"heard ", &login[4.min(login.len())..]].concat()));
            talk.finish();
        }
    })
}

#[test]
fn the_clients_question_begins_tls_on_both_sides() {
    let desk = Desk::new();
    let server = server(ServerTls::new(&desk.issue("server", &["127.0.0.1"])));
    let tidegate = desk.start(BOTH, &[("APP", &server)]);
    let mut client = Talk::with(&tidegate.address("web"));
    assert_eq!(take_packet(&mut client), greeting(0xffff));
    client.say(answer(true, b"")).begin(&desk.tls()).expect("a handshake").say(packet(2, b"anna"));
    assert_eq!(take_packet(&mut client), packet(3, b"heard anna"));
    client.finish();
    let line = tidegate.log_line("a flow", |line| line["pool"] == "app");
    assert_eq!((&line["sni"], &line["tls"], line.get("fault")), (&"example.com".into(), &"TLSv1.3".into(), None));
}

#[test]
fn who_logs_in_in_plain_or_says_more_than_the_question_is_refused() {
    let desk = Desk::new();
    let server = server(ServerTls::new(&desk.issue("server", &["127.0.0.1"])));
    let tidegate = desk.start(&BOTH.replace(", health: { probe: mysql, every: 50ms }", ""), &[("APP", &server)]);
    for said in [answer(false, b"mallory\0\0"), [answer(true, b""), packet(2, b"mallory")].concat()] {
        let mut client = Talk::with(&tidegate.address("web"));
        take_packet(&mut client);
        let refused = client.say(said).rest();
        assert!(refused.starts_with(b"\x22\0\0\x02\xff\x57\x0c#HY000"), "{refused:?}");
    }
    let line = tidegate.log_line("a refusal", |line| line["fault"] == "malformed");
    assert_eq!(line["reason"], "a client that does not begin TLS");
}

/// A server that says only this.
fn greets(words: Vec<u8>) -> Server {
    Server::script(move |peer| {
        peer.send(&words);
        peer.hang();
    })
}

#[test]
fn servers_that_have_no_tls_or_say_more_than_a_greeting_are_not_used() {
    let desk = Desk::new();
    for (says, fault) in [
        (greeting(0xf7ff), "server_tls"),
        ([greeting(0xffff), packet(1, b"more")].concat(), "server_tls"),
        (b"220 mail\r\n".to_vec(), "server_tls"),
        (packet(0, b"\xff\x10\x04Too many connections"), "connect"),
    ] {
        let server = greets(says);
        let tidegate = desk.start(&BOTH.replace(", health: { probe: mysql, every: 50ms }", ""), &[("APP", &server)]);
        assert_eq!(rest(&mut connect(&tidegate)), Err(ErrorKind::ConnectionReset), "an end would look like an answer");
        let line = tidegate.log_line("a flow", |line| line["pool"] == "app");
        assert_eq!((&line["fault"], &line["tries"]), (&fault.into(), &2.into()));
        until("the server pauses", || paused(&tidegate) == 1.0);
    }
}

/// How often failed connects have kept a server out.
fn paused(tidegate: &Tidegate) -> f64 {
    tidegate.metric("tidegate_server_transitions_total", &["to=\"paused\""]).iter().sum()
}

#[test]
fn a_server_that_has_no_tls_is_left_for_another() {
    let desk = Desk::new();
    let good = server(ServerTls::new(&desk.issue("server", &["127.0.0.1"])));
    let text = BOTH
        .replace("[@APP]", "{ a: { address: '@BAD' }, b: { address: '@GOOD' } }, balance: first")
        .replace(", health: { probe: mysql, every: 50ms }", "");
    for says in [greeting(0xf7ff), packet(0, b"\xff\x10\x04Too many connections")] {
        let bad = greets(says);
        let tidegate = desk.start(&text, &[("BAD", &bad), ("GOOD", &good)]);
        let mut client = Talk::with(&tidegate.address("web"));
        assert_eq!(take_packet(&mut client), greeting(0xffff));
        client.say(answer(true, b"")).begin(&desk.tls()).expect("a handshake").say(packet(2, b"anna"));
        assert_eq!(take_packet(&mut client), packet(3, b"heard anna"));
        client.finish();
        let line = tidegate.log_line("a flow", |line| line["pool"] == "app");
        assert_eq!((&line["server"], &line["tries"], line.get("fault")), (&"b".into(), &2.into(), None));
    }
}

#[test]
fn a_server_that_does_not_go_on_in_tls_is_a_reset_and_pauses() {
    let desk = Desk::new();
    let server = Server::script(|peer| {
        let mut talk = Talk::of(peer);
        talk.say(greeting(0xffff)).exactly(36);
        talk.say(packet(2, b"\xff\x10\x04not today")).finish();
    });
    let tidegate = desk.start(&BOTH.replace(", health: { probe: mysql, every: 50ms }", ""), &[("APP", &server)]);
    let mut client = connect(&tidegate);
    let mut heard = vec![0; greeting(0xffff).len()];
    client.read_exact(&mut heard).expect("a greeting");
    assert_eq!(heard, greeting(0xffff));
    client.write_all(&answer(true, b"")).expect("a question");
    assert_eq!(rest(&mut client), Err(ErrorKind::ConnectionReset));
    let line = tidegate.log_line("a flow", |line| line["pool"] == "app");
    assert_eq!((&line["fault"], &line["tries"]), (&"server_tls".into(), &1.into()));
    until("the server pauses", || paused(&tidegate) == 1.0);
}

#[test]
fn a_side_that_says_nothing_is_not_waited_for_without_end() {
    let desk = Desk::new();
    let silent = Server::script(|peer| peer.hang());
    let text = BOTH
        .replace("2s", "200ms")
        .replace("health: { probe: mysql, every: 50ms }", "timeouts: { connect: 200ms }, retries: { extra: 0 }");
    let tidegate = desk.start(&text, &[("APP", &silent)]);
    assert_eq!(rest(&mut connect(&tidegate)), Err(ErrorKind::ConnectionReset));
    assert_eq!(tidegate.log_line("a flow", |line| line["pool"] == "app")["fault"], "connect_timeout");
    let server = server(ServerTls::new(&desk.issue("server", &["127.0.0.1"])));
    let tidegate = desk.start(&text, &[("APP", &server)]);
    assert_eq!(Talk::with(&tidegate.address("web")).rest(), greeting(0xffff));
    assert_eq!(tidegate.log_line("a flow", |line| line["pool"] == "app")["fault"], "head_timeout");
}

#[test]
fn one_side_alone_and_what_is_known_too_late_are_mistakes() {
    let hanging = Hanging::new();
    let tls = "tls: { certificates: internal, starttls: mysql }";
    for (listener, pool, wrong) in [
        (
            format!("{tls}, to: app"),
            "",
            "`tls.starttls: mysql` has to be said of pool `app` and of all of listener `web`",
        ),
        ("to: app".to_owned(), "tls: { starttls: mysql }", "`tls.starttls: mysql` has to be said of pool `app`"),
        (
            format!("{tls}, routes: [{{ match: {{ sni: a.test }}, to: app }}]"),
            "tls: { starttls: mysql }",
            "with `starttls: mysql` the server is chosen before its client says anything",
        ),
        (
            format!("{tls}, to: app"),
            "tls: { starttls: mysql }, balance: { algorithm: maglev, hash: sni }",
            "with `starttls: mysql` the server is chosen before its client says anything",
        ),
    ] {
        let text = format!(
            "listeners: {{ web: {{ bind: 127.0.0.1:0, role: tcp, {listener} }} }}\npools: {{ app: {{ servers: [@APP], {pool} }} }}\n"
        );
        let (code, said) = failure_of(BINARY, &config(&text, &[("APP", &hanging)]));
        assert_eq!(code, Some(2), "{listener}, {pool}");
        assert!(said.contains(wrong) && said.lines().count() == 1, "{listener}, {pool}: {said}");
    }
}
