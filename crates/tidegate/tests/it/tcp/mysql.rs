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
        (packet(0, b"\xff\x10\x04Too many connections"), "unwelcome"),
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

/// TLS of clients ends here, and servers have none.
const IN_FRONT: &str = "
certificates: { main: { cert: '@DIR/main.pem', key: '@DIR/main.key' } }
listeners:
  web: { bind: 127.0.0.1:0, role: tcp, tls: { certificates: main, starttls: mysql }, timeouts: { tls_handshake: 2s }, to: app }
pools: { app: [@APP] }
";
/// Clients have no TLS, and that with servers begins here.
const BEHIND: &str = "
listeners: { web: { bind: 127.0.0.1:0, role: tcp, timeouts: { request_head: 2s }, to: app } }
pools: { app: { servers: [@APP], tls: { ca: '@DIR/ca.pem', starttls: mysql } } }
";

/// What a client says of itself, as its packet of this number.
fn login(number: u8, secure: bool) -> Vec<u8> {
    let plain = answer(secure, b"anna\0\0");
    [&plain[..3], &[number], &plain[4..]].concat()
}

/// A server whose login takes two steps, and that then says what it hears.
fn two_steps(talk: &mut Talk, number: u8, secure: bool) {
    let first = take_packet(talk);
    if first.is_empty() {
        // A client that was refused.
        return;
    }
    assert_eq!(first, login(number, secure));
    talk.say(packet(number + 1, b"\xfeed25519\0salt"));
    assert_eq!(take_packet(talk), packet(number + 2, b"signed"));
    // What needs no answer, and the end of it.
    talk.say([packet(number + 3, b"\x01\x03"), packet(number + 4, b"\0\0\0\x02\0")].concat());
    let asked = take_packet(talk);
    talk.say(packet(1, &[b"heard ", &asked[3..]].concat())).finish();
}

fn logs_in(client: &mut Talk, number: u8, secure: bool) {
    client.say(login(number, secure));
    assert_eq!(take_packet(client), packet(number + 1, b"\xfeed25519\0salt"));
    client.say(packet(number + 2, b"signed"));
    assert_eq!(take_packet(client), packet(number + 3, b"\x01\x03"));
    assert_eq!(take_packet(client), packet(number + 4, b"\0\0\0\x02\0"));
    client.say(packet(0, b"\x03select"));
    assert_eq!(take_packet(client), packet(1, b"heard \0\x03select"));
    client.finish();
}

#[test]
fn clients_have_tls_that_servers_have_not() {
    let desk = Desk::new();
    for can in [0xffff, 0xf7ff] {
        let server = Server::script(move |peer| {
            let mut talk = Talk::of(peer);
            talk.say(greeting(can));
            two_steps(&mut talk, 1, false);
        });
        let tidegate = desk.start(IN_FRONT, &[("APP", &server)]);
        let mut client = Talk::with(&tidegate.address("web"));
        assert_eq!(take_packet(&mut client), greeting(0xffff), "TLS is offered, whatever the server has");
        client.say(answer(true, b"")).begin(&desk.tls()).expect("a handshake");
        logs_in(&mut client, 2, true);
        let line = tidegate.log_line("a flow", |line| line["pool"] == "app");
        assert_eq!((&line["tls"], line.get("fault")), (&"TLSv1.3".into(), None));
        // Everything that a client has said after its question.
        assert_eq!(
            line["bytes_in"],
            login(2, true).len() + packet(4, b"signed").len() + packet(0, b"\x03select").len()
        );
        let refused = Talk::with(&tidegate.address("web")).say(login(1, false)).rest();
        assert!(refused.ends_with(b"connections need TLS here"), "{refused:?}");
    }
}

#[test]
fn servers_have_tls_that_clients_have_not() {
    let desk = Desk::new();
    let tls = ServerTls::new(&desk.issue("server", &["127.0.0.1"]));
    let server = Server::script(move |peer| {
        let mut talk = Talk::of(peer);
        talk.say(greeting(0xffff));
        if take_packet(&mut talk) == answer(true, b"") && talk.begun(&tls).is_ok() {
            two_steps(&mut talk, 2, true);
        }
    });
    let tidegate = desk.start(BEHIND, &[("APP", &server)]);
    let mut client = Talk::with(&tidegate.address("web"));
    assert_eq!(take_packet(&mut client), greeting(0xf7ff), "TLS is not offered");
    logs_in(&mut client, 1, false);
    assert_eq!(tidegate.log_line("a flow", |line| line["pool"] == "app").get("fault"), None);
    // Who asks for what nobody has offered, or says something else, gets an end, and the server nothing.
    for said in [answer(true, b""), b"GET / HTTP/1.1\r\n\r\n".to_vec()] {
        let mut client = Talk::with(&tidegate.address("web"));
        take_packet(&mut client);
        assert!(client.say(said).rest().is_empty());
        let line = tidegate.log_line("no login", |line| line["fault"] == "malformed");
        assert_eq!(line["reason"], "no login of MySQL");
    }
}

#[test]
fn a_login_on_one_side_of_tls_is_bounded_and_ends_with_whoever_ends() {
    let desk = Desk::new();
    let hangs = Server::script(|peer| {
        let mut talk = Talk::of(peer);
        talk.say(greeting(0xffff));
        take_packet(&mut talk);
        talk.rest();
    });
    let tidegate = desk.start(&IN_FRONT.replace("2s", "300ms"), &[("APP", &hangs)]);
    let mut client = Talk::with(&tidegate.address("web"));
    take_packet(&mut client);
    client.say(answer(true, b"")).begin(&desk.tls()).expect("a handshake").say(login(2, true)).rest();
    let line = tidegate.log_line("a silent server", |line| line["fault"] == "response_timeout");
    assert_eq!(line["side"], "server");
    let mut client = Talk::with(&tidegate.address("web"));
    take_packet(&mut client);
    client.say(answer(true, b"")).begin(&desk.tls()).expect("a handshake").say(b"\xff\xff\xff\x02").rest();
    tidegate.log_line("a packet without an end", |line| line["fault"] == "malformed");
    let leaves = Server::script(|peer| {
        let mut talk = Talk::of(peer);
        talk.say(greeting(0xffff));
        take_packet(&mut talk);
    });
    let tidegate = desk.start(IN_FRONT, &[("APP", &leaves)]);
    let mut client = Talk::with(&tidegate.address("web"));
    take_packet(&mut client);
    client.say(answer(true, b"")).begin(&desk.tls()).expect("a handshake").say(login(2, true)).rest();
    tidegate.log_line("a server that leaves", |line| line["fault"] == "truncated");
}

/// Who says that much will come has said little.
#[test]
fn a_packet_takes_as_much_memory_as_has_come_of_it() {
    const CLIENTS: usize = 200;
    let desk = Desk::new();
    let server = Server::script(|peer| {
        let mut talk = Talk::of(peer);
        talk.say(greeting(0xffff)).rest();
    });
    let tidegate = desk.start(BEHIND, &[("APP", &server)]);
    let greeted = |_| {
        let mut client = Talk::with(&tidegate.address("web"));
        take_packet(&mut client);
        client
    };
    let mut clients: Vec<Talk> = (0..CLIENTS).map(greeted).collect();
    let before = tidegate.rss();
    for client in &mut clients {
        client.say(b"\x00\xf0\x01\x01\x00\x02");
    }
    // By the time that these are greeted, the others were heard.
    let more: Vec<Talk> = (0..20).map(greeted).collect();
    let after = tidegate.rss();
    assert!(after < before + 8 * 1024 * 1024, "{before} {after}");
    drop((clients, more));
}

#[test]
fn what_is_known_too_late_is_a_mistake() {
    let hanging = Hanging::new();
    let tls = "tls: { certificates: internal, starttls: mysql }";
    for (listener, pool, wrong) in [
        (
            "to: app".to_owned(),
            "tls: { starttls: mysql }, warm: 2",
            "pool `app`: servers that speak first cannot be `warm`, remove it or `tls.starttls`",
        ),
        (
            "routes: [{ match: { sni: a.test }, to: app }]".to_owned(),
            "tls: { starttls: mysql }",
            "with `starttls: mysql` the server is chosen before its client says anything",
        ),
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
