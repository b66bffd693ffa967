//! SOCKS 4, 4a and 5 on the port of the proxy.

use std::net::{Ipv4Addr, Ipv6Addr};

use testkit::{Client, Ending, Refusing, Reloaded, Server, Tidegate};

use super::tunnels::echo;
use super::{OPEN, port, proxy};
use crate::support::{Place, config, start};

/// A greeting of version 5 that offers to say nothing of the client, and to say a password.
const GREETING: &[u8] = &[5, 2, 0, 2];

/// A name and a password.
fn password(name: &str, password: &str) -> Vec<u8> {
    [&[1, name.len() as u8][..], name.as_bytes(), &[password.len() as u8], password.as_bytes()].concat()
}

fn number(server: &dyn Place) -> u16 {
    port(server).parse().expect("a port")
}

/// A request of version 4, by an address, or of version 4a, by a name.
pub(super) fn v4(host: &str, port: u16) -> Vec<u8> {
    let head = [&[4, 1][..], &port.to_be_bytes()].concat();
    match host.parse::<Ipv4Addr>() {
        Ok(ip) => [&head[..], &ip.octets(), b"me\0"].concat(),
        Err(_) => [&head[..], &[0, 0, 0, 7], b"me\0", host.as_bytes(), b"\0"].concat(),
    }
}

/// A request of version 5 with this command.
pub(crate) fn v5(command: u8, host: &str, port: u16) -> Vec<u8> {
    let host = match (host.parse::<Ipv4Addr>(), host.parse::<Ipv6Addr>()) {
        (Ok(ip), _) => [&[1][..], &ip.octets()].concat(),
        (_, Ok(ip)) => [&[4][..], &ip.octets()].concat(),
        _ => [&[3, host.len() as u8][..], host.as_bytes()].concat(),
    };
    [&[5, command, 0][..], &host, &port.to_be_bytes()].concat()
}

/// Goes through a conversation in version 5, and answers the code of its reply.
pub(crate) fn ask(client: &mut Client, request: &[u8]) -> u8 {
    client.send(GREETING);
    assert_eq!(client.exactly(2), [5, 0]);
    client.send(request);
    reply(client).0
}

/// The code and the port of a reply in version 5.
pub(crate) fn reply(client: &mut Client) -> (u8, u16) {
    let head = client.exactly(4);
    assert_eq!((head[0], head[2]), (5, 0));
    let rest = client.exactly(if head[3] == 4 { 18 } else { 6 });
    (head[1], u16::from_be_bytes([rest[rest.len() - 2], rest[rest.len() - 1]]))
}

fn code_of(tidegate: &Tidegate, host: &str, port: u16) -> u8 {
    let mut client = tidegate.client();
    let code = ask(&mut client, &v5(1, host, port));
    if code != 0 {
        assert_eq!(client.ending(), Ending::Clean);
    }
    code
}

fn speaks(client: &mut Client) {
    client.send("hello");
    assert_eq!(client.exactly(5), b"hello");
}

#[test]
fn a_client_is_connected_to_the_server_that_it_asks_for() {
    let server = echo();
    let tidegate = proxy("");
    let to = number(&server);
    for host in ["127.0.0.1", "A.test", "a.test."] {
        let mut client = tidegate.client();
        client.send(v4(host, to));
        let reply = client.exactly(8);
        assert_eq!((&reply[..2], &reply[4..]), (&[0, 90][..], &[127, 0, 0, 1][..]), "{host}");
        speaks(&mut client);
        let mut client = tidegate.client();
        assert_eq!(ask(&mut client, &v5(1, host, to)), 0, "{host}");
        speaks(&mut client);
        client.finish();
        assert_eq!(client.exactly(3), b"bye");
    }
    let is = |method: &str| {
        let line = tidegate.log_line("a tunnel", |line| line["method"] == method && line["host"] == "a.test");
        assert_eq!((&line["pool"], &line["address"]), (&"origin".into(), &server.address().into()));
        assert_eq!(line["bytes_in"], 5);
        assert!(["version", "status", "path", "fault"].iter().all(|key| line[key].is_null()), "{line}");
        line["bytes_out"].clone()
    };
    assert_eq!(is("SOCKS5"), 8);
}

#[test]
fn bytes_may_come_one_by_one_or_all_at_once() {
    let server = echo();
    let tidegate = proxy("");
    let to = number(&server);
    for (said, answers) in [([GREETING, &v5(1, "a.test", to)].concat(), 2 + 10), (v4("a.test", to), 8)] {
        let mut client = tidegate.client();
        client.send([&said[..], b"early"].concat());
        client.exactly(answers);
        assert_eq!(client.exactly(5), b"early");
        let mut client = tidegate.client();
        // A client that is so slow has it read byte by byte: it is answered in the middle.
        said.iter().for_each(|byte| client.send([*byte]));
        client.exactly(answers);
        speaks(&mut client);
    }
}

#[test]
fn addresses_of_ipv6_are_asked_for_and_one_address_has_one_spelling() {
    let server = Server::at("[::1]:0", |peer| peer.send("six"));
    let text = OPEN.replace("allow: [127.0.0.0/8]", "allow: ['::1/128', 127.0.0.0/8]");
    let routes = "routes: [{ match: { host: ['[::1]', 127.0.0.1] }, to: origin }]";
    let tidegate = start(&text.replace("@MORE", routes), &[]);
    let mut client = tidegate.client();
    assert_eq!(ask(&mut client, &v5(1, "::1", number(&server))), 0);
    assert_eq!(client.exactly(3), b"six");
    let four = echo();
    for host in ["::ffff:127.0.0.1", "127.0.0.1"] {
        assert_eq!(code_of(&tidegate, host, number(&four)), 0, "{host}");
    }
    let mut client = tidegate.client();
    // An address that was written as a name.
    assert_eq!(ask(&mut client, &[&[5, 1, 0, 3, 3][..], b"::1", &number(&server).to_be_bytes()].concat()), 0);
}

#[test]
fn a_refusal_is_said_by_its_number() {
    let server = echo();
    let dead = Refusing::new();
    let routes = "routes: [{ match: { host: b.test }, deny: 403 }, { match: { host: far.test }, respond: { body: tea } }, { match: { port: 2000 }, deny: {} }, { to: origin }]";
    let tidegate = proxy(routes);
    let to = number(&server);
    for (host, port, code) in [
        ("b.test", to, 2),
        ("far.test", to, 2),
        ("a.test", 2000, 2),
        // A port that tunnels may not go to, addresses that are not public, and this process.
        ("a.test", 22, 2),
        ("10.0.0.1", 4433, 2),
        ("0.0.0.0", to, 2),
        (
            "127.0.0.1",
            tidegate.address("web").rsplit(':').next().and_then(|port| port.parse().ok()).expect("a port"),
            2,
        ),
        ("nobody.test", 4433, 4),
        ("2130706433", to, 4),
        ("127.0.0.1", number(&dead), 5),
        ("a b", to, 1),
    ] {
        assert_eq!(code_of(&tidegate, host, port), code, "{host}:{port}");
    }
    assert_eq!(server.connections(), 0);
    let line = tidegate.log_line("a refusal", |line| line["host"] == "b.test");
    assert_eq!((&line["method"], &line["fault"]), (&"SOCKS5".into(), &"denied".into()));
    for (host, port) in [("b.test", to), ("nobody.test", 4433), ("10.0.0.1", 4433)] {
        let mut client = tidegate.client();
        client.send(v4(host, port));
        assert_eq!(client.exactly(8)[..2], [0, 91], "{host}");
        assert_eq!(client.ending(), Ending::Clean);
    }
}

#[test]
fn commands_and_addresses_that_are_not_known_are_said_to_be() {
    let tidegate = proxy("");
    let code = |request: &[u8]| ask(&mut tidegate.client(), request);
    assert_eq!(code(&v5(2, "127.0.0.1", 2121)), 7, "BIND");
    assert_eq!(code(&v5(9, "127.0.0.1", 2121)), 7);
    assert_eq!(code(&[5, 1, 0, 2]), 8);
    let mut client = tidegate.client();
    client.send([4, 2, 8, 73, 127, 0, 0, 1, 0]);
    assert_eq!(client.exactly(8)[..2], [0, 91], "BIND of version 4");
    // Ways to say who one is that nobody knows here; a password that nobody has asked for is taken.
    let mut client = tidegate.client();
    client.send([5, 1, 1]);
    assert_eq!(client.exactly(2), [5, 0xFF]);
    assert_eq!(client.ending(), Ending::Clean);
    let mut client = tidegate.client();
    client.send([5, 1, 2]);
    assert_eq!(client.exactly(2), [5, 2]);
    client.send(b"\x01\x02me\x03sec");
    assert_eq!(client.exactly(2), [1, 0]);
    client.send(v5(2, "127.0.0.1", 1));
    assert_eq!(reply(&mut client).0, 7);
    // What is no message at all is answered by nothing.
    for broken in [&b"\x05\x00"[..], b"\x05\x01\x00\x04\x01", b"\x05\x01\x02\x05\x01"] {
        let mut client = tidegate.client();
        client.send(broken);
        match client.ending() {
            Ending::Clean => {}
            Ending::Bytes(bytes) => assert!(bytes.len() == 2 && bytes[0] == 5, "{bytes:?}"),
            other => panic!("{broken:?}: {other:?}"),
        }
    }
    let line = tidegate.log_line("a broken one", |line| line["fault"] == "malformed");
    assert_eq!(line["method"], "SOCKS5");
}

#[test]
fn whoever_says_nothing_more_is_not_waited_for() {
    let tidegate = proxy("timeouts: { request_head: 200ms }\n    to: origin");
    for begun in [&b"\x05"[..], b"\x04\x01", b"\x05\x01\x00", b"\x05\x01\x00\x05\x01\x00\x03\x09a.t"] {
        let mut client = tidegate.client();
        client.send(begun);
        assert!(!matches!(client.ending(), Ending::Open), "{begun:?}");
    }
    assert_eq!(tidegate.log_line("a slow one", |line| line["method"] == "SOCKS4")["fault"], "head_timeout");
    // A name without an end is not read to its end.
    let mut client = tidegate.client();
    client.send([&[4, 1, 0, 80, 127, 0, 0, 1][..], &[b'x'; 300]].concat());
    assert_eq!(client.exactly(8)[..2], [0, 91]);
}

#[test]
fn rules_know_it_by_its_kind_and_nothing_of_what_it_carries() {
    let (one, two) = (echo(), Server::named("two"));
    let routes = "routes:
      - { match: { path: /x/* }, deny: 403 }
      - { match: { not: { method: GET } }, deny: 403 }
      - { match: { kind: socks, host: a.test }, to: origin }
      - { match: { kind: tunnel, host: b.test }, to: origin }
      - { match: { kind: http }, to: origin }";
    let tidegate = proxy(routes);
    assert_eq!(code_of(&tidegate, "a.test", number(&one)), 0);
    assert_eq!(code_of(&tidegate, "b.test", number(&one)), 2);
    let connect = |host: &str| {
        let mut client = tidegate.client();
        client.send(format!("CONNECT {host}:{} HTTP/1.1\r\nHost: a\r\n\r\n", port(&one)));
        client.head().status
    };
    assert_eq!((connect("a.test"), connect("b.test")), (403, 200));
    assert_eq!(super::ask(&tidegate, &format!("http://a.test:{}/", port(&two))).text(), "two");
}

#[test]
fn it_is_spoken_inside_of_tls_too_and_by_no_other_listener() {
    let server = echo();
    let desk = crate::tls::Desk::new();
    let text = "
certificates: { main: { cert: '@DIR/main.pem', key: '@DIR/main.key' } }
listeners:
  web: { bind: 127.0.0.1:0, role: forward, tls: main, egress: { allow: [127.0.0.0/8], connect_ports: 1024-65535 }, to: origin }
  plain: { bind: 127.0.0.1:0, respond: { body: page } }
";
    let tidegate = desk.start(text, &[]);
    let mut client = desk.client(&tidegate);
    assert_eq!(ask(&mut client, &v5(1, "127.0.0.1", number(&server))), 0);
    speaks(&mut client);
    let mut client = Client::connect(&tidegate.address("plain"));
    client.send(GREETING);
    client.send("\r\n\r\n");
    assert_eq!(client.response().status, 400);
}

#[test]
fn large_amounts_pass_and_a_reload_ends_nothing() {
    let server = echo();
    let tidegate = proxy("");
    let mut client = tidegate.client();
    assert_eq!(ask(&mut client, &v5(1, "a.test", number(&server))), 0);
    let piece: Vec<u8> = (0..200_000_u32).map(|byte| (byte % 251) as u8).collect();
    for round in 0..10 {
        if round == 5 {
            assert_eq!(tidegate.reload(&config(&OPEN.replace("@MORE", "deny: 403"), &[])), Reloaded::Yes);
            assert_eq!(code_of(&tidegate, "a.test", number(&server)), 2);
        }
        client.send(&piece);
        assert!(client.exactly(piece.len()) == piece);
    }
}

/// A proxy that asks its clients who they are, and answers one of them alone.
fn asking() -> (crate::users::Files, Tidegate) {
    let files = crate::users::Files::new();
    let text = OPEN.replace("@MORE", "use: [{ basic_auth: { users: '@DIR/people', realm: office } }]\n    to: origin");
    let tidegate = files.start(&text, &[]);
    (files, tidegate)
}

#[test]
fn a_password_is_asked_for_where_the_listener_asks_who_clients_are() {
    let server = echo();
    let (_files, tidegate) = asking();
    let to = number(&server);
    for (name, secret) in [("ann", "sesame"), ("bob", "bob"), ("cy", "sha")] {
        let mut client = tidegate.client();
        // All at once: it is not asked anything that it has not said already.
        client.send([GREETING, &password(name, secret), &v5(1, "a.test", to), b"early"].concat());
        assert_eq!(client.exactly(4), [5, 2, 1, 0], "{name}");
        assert_eq!(reply(&mut client).0, 0);
        assert_eq!(client.exactly(5), b"early");
        drop(client);
        tidegate.log_line("a user", |line| line["user"] == name && line["host"] == "a.test");
    }
    for (name, secret) in [("ann", "wrong"), ("ann", ""), ("", ""), ("nobody", "sesame"), ("ann", "ses\0ame")] {
        let mut client = tidegate.client();
        client.send([GREETING, &password(name, secret), &v5(1, "a.test", to)].concat());
        assert_eq!(client.exactly(4), [5, 2, 1, 1], "{name}");
        assert_eq!(client.ending(), Ending::Clean);
    }
    let line = tidegate.log_line("a failure", |line| line["user"] == "nobody");
    assert_eq!((&line["fault"], &line["method"]), (&"proxy_unauthenticated".into(), &"SOCKS5".into()));
    assert_eq!(tidegate.metric("tidegate_auth_failures_total", &["listener=\"web\""]).iter().sum::<f64>(), 5.0);
    let mut client = tidegate.client();
    client.send([5, 1, 0]);
    assert_eq!(client.exactly(2), [5, 0xFF], "who would say nothing");
    let mut client = tidegate.client();
    client.send(v4("a.test", to));
    assert_eq!(client.exactly(8)[..2], [0, 93], "version 4 has no password");
    assert_eq!(server.connections(), 3);
}

#[test]
fn rules_know_the_user_and_a_route_may_ask_itself() {
    let server = echo();
    let files = crate::users::Files::new();
    let routes = "routes:
      - { match: { host: a.test }, use: [{ basic_auth: { users: '@DIR/people', realm: office } }], to: origin }
      - { match: { host: b.test }, to: origin }";
    let tidegate = files.start(&OPEN.replace("@MORE", routes), &[]);
    let to = number(&server);
    let code = |greeting: &[u8], said: &[u8], host: &str| {
        let mut client = tidegate.client();
        client.send([greeting, said, &v5(1, host, to)].concat());
        client.exactly(if said.is_empty() { 2 } else { 4 });
        reply(&mut client).0
    };
    assert_eq!(code(GREETING, &password("ann", "sesame"), "a.test"), 0);
    assert_eq!(code(GREETING, &password("ann", "wrong"), "a.test"), 2);
    assert_eq!(code(&[5, 1, 0], b"", "a.test"), 2);
    assert_eq!(code(&[5, 1, 0], b"", "b.test"), 0);
    let mut client = tidegate.client();
    client.send(v4("a.test", to));
    assert_eq!(client.exactly(8)[..2], [0, 93]);
}
