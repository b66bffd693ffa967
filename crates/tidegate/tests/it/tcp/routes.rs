//! Which way a flow goes.

use std::io::{ErrorKind, Read as _, Write as _};
use std::sync::Arc;

use testkit::tls::Wishes;
use testkit::{ClientTls, Server, ServerTls, Shared, Tidegate, failure_of};

use super::{ask, connect, named, rest};
use crate::support::{BINARY, config, start};
use crate::tls::Desk;

/// The first message of a client of TLS, in records of so many bytes.
fn hello(name: Option<&str>, alpn: &[&str], of: usize) -> Vec<u8> {
    let sized = |width: usize, content: &[u8]| [&(content.len() as u32).to_be_bytes()[4 - width..], content].concat();
    let mut extensions = Vec::new();
    if let Some(name) = name {
        let names = sized(2, &[&[0][..], &sized(2, name.as_bytes())].concat());
        extensions.extend([&[0, 0][..], &sized(2, &names)].concat());
    }
    if !alpn.is_empty() {
        let names: Vec<u8> = alpn.iter().flat_map(|name| sized(1, name.as_bytes())).collect();
        extensions.extend([&[0, 16][..], &sized(2, &sized(2, &names))].concat());
    }
    let body = [&[3, 3][..], &[7; 32], &sized(1, &[]), &sized(2, &[0x13, 1]), &sized(1, &[0]), &sized(2, &extensions)];
    let message = [&[1][..], &sized(3, &body.concat())].concat();
    message.chunks(of).flat_map(|piece| [&[22, 3, 1][..], &sized(2, piece)].concat()).collect()
}

/// A server that says its name, and whether it has heard just this.
fn expecting(name: &'static str, wanted: Arc<Shared<Vec<u8>>>) -> Server {
    Server::script(move |peer| {
        let heard = peer.rest().expect("all of it");
        peer.send(format!("{name}: {}", wanted.with(|wanted| *wanted == heard)));
    })
}

fn say(tidegate: &Tidegate, wanted: &Shared<Vec<u8>>, bytes: &[u8]) -> Result<String, ErrorKind> {
    wanted.with(|wanted| *wanted = bytes.to_vec());
    let mut client = connect(tidegate);
    // In pieces that have nothing to do with the records.
    for piece in bytes.chunks(7) {
        let _ = client.write_all(piece);
    }
    let _ = client.shutdown(std::net::Shutdown::Write);
    rest(&mut client)
}

#[test]
fn the_name_in_the_first_message_decides_and_nothing_of_it_is_lost() {
    let wanted = Arc::<Shared<Vec<u8>>>::default();
    let servers = ["a", "b", "h2", "default"].map(|name| expecting(name, Arc::clone(&wanted)));
    let tidegate = start(
        "
listeners:
  web:
    bind: 127.0.0.1:0
    role: tcp
    routes:
      - { match: { sni: a.example.com }, to: @A1 }
      - { match: { sni: '*.example.com', client: 127.0.0.0/8 }, to: @B1 }
      - { match: { sni: { absent: true } }, deny: close }
      - { match: { sni: reset.test }, deny: reset }
      - { match: { alpn: h2 }, to: @C1 }
      - { match: { not: { client: 127.0.0.1 } }, deny: reset }
      - to: @D1
",
        &[("A1", &servers[0]), ("B1", &servers[1]), ("C1", &servers[2]), ("D1", &servers[3])],
    );
    let ways = [
        (hello(Some("a.example.com"), &[], 4096), Ok("a: true")),
        (hello(Some("A.Example.COM"), &["h2"], 11), Ok("a: true")),
        (hello(Some("x.y.example.com"), &[], 50), Ok("b: true")),
        (hello(Some("example.com"), &["h2", "http/1.1"], 1), Ok("h2: true")),
        (hello(Some("example.com"), &["http/1.1"], 4096), Ok("default: true")),
        (hello(None, &["h2"], 4096), Ok("")),
        (b"GET / HTTP/1.1\r\n\r\n".to_vec(), Ok("")),
        (hello(Some("reset.test"), &[], 4096), Err(ErrorKind::ConnectionReset)),
    ];
    for (bytes, answer) in ways {
        let heard = say(&tidegate, &wanted, &bytes);
        assert_eq!(heard.as_deref(), answer.as_deref(), "{}", String::from_utf8_lossy(&bytes));
    }
    let line = tidegate.log_line("a flow", |line| line["sni"] == "x.y.example.com");
    assert_eq!(line["address"], servers[1].address());
    assert_eq!(tidegate.log_line("a flow", |line| line["sni"] == "reset.test")["fault"], "denied");
}

#[test]
fn who_matches_nothing_is_closed() {
    let server = named("a");
    let text = "
listeners: { web: { bind: 127.0.0.1:0, role: tcp, routes: [{ match: { client: 10.0.0.0/8 }, to: @APP }] } }
";
    let tidegate = start(text, &[("APP", &server)]);
    assert_eq!(ask(&tidegate, "").as_deref(), Ok(""));
    assert_eq!(tidegate.log_line("a flow", |line| line["listener"] == "web")["fault"], "no_route");
    assert_eq!(server.connections(), 0);
}

#[test]
fn a_client_that_does_not_say_its_name_in_time_is_reset() {
    let server = named("a");
    let text = "
listeners:
  web: { bind: 127.0.0.1:0, role: tcp, timeouts: { request_head: 200ms }, routes: [{ match: { sni: a.test }, to: @APP }] }
";
    let tidegate = start(text, &[("APP", &server)]);
    for begun in [&b""[..], &hello(Some("a.test"), &[], 4096)[..20]] {
        let mut client = connect(&tidegate);
        client.write_all(begun).expect("sent");
        assert_eq!(rest(&mut client), Err(ErrorKind::ConnectionReset));
    }
    assert_eq!(tidegate.log_line("a flow", |line| line["fault"] == "head_timeout")["side"], "client");
}

#[test]
fn tls_passes_through_to_the_server_that_it_is_for() {
    let desk = Desk::new();
    let server = |name: &'static str| {
        let issued = desk.issue(name, &[name]);
        Server::secured(&ServerTls::new(&issued).speaking(&["h2", "http/1.1"]), move |peer| {
            peer.send(name);
            peer.finish();
        })
    };
    let (one, two) = (server("one.test"), server("two.test"));
    let text = "
listeners:
  web:
    bind: 127.0.0.1:0
    role: tcp
    routes: [{ match: { sni: one.test }, to: @ONE }, { match: { sni: two.test }, to: @TWO }]
";
    let tidegate = start(text, &[("ONE", &one), ("TWO", &two)]);
    for name in ["one.test", "two.test"] {
        let tls = ClientTls::with(&desk.authority, name, &Wishes { protocols: &["h2"], ..Wishes::default() });
        let stream = testkit::socket::Socket::connect(&tidegate.address("web")).expect("a connection");
        let mut secured = stream.secure(&tls).expect("a handshake with the server itself");
        let mut heard = String::new();
        secured.read_to_string(&mut heard).expect("its name");
        assert_eq!((heard.as_str(), secured.agreed().alpn.as_deref()), (name, Some("h2")));
    }
}

#[test]
fn a_name_may_choose_the_server() {
    let servers = ["a", "b", "c"].map(named);
    let text = "
listeners: { web: { bind: 127.0.0.1:0, role: tcp, to: app } }
pools: { app: { servers: [@A1, @B1, @C1], balance: { algorithm: maglev, hash: sni } } }
";
    let tidegate = start(text, &[("A1", &servers[0]), ("B1", &servers[1]), ("C1", &servers[2])]);
    let chosen = |name: &str| {
        let mut client = connect(&tidegate);
        client.write_all(&hello(Some(name), &[], 4096)).expect("sent");
        client.shutdown(std::net::Shutdown::Write).expect("finished");
        let mut server = [0; 1];
        client.read_exact(&mut server).expect("a name");
        server[0]
    };
    let first: Vec<u8> = (0..12).map(|number| chosen(&format!("{number}.test"))).collect();
    let again: Vec<u8> = (0..12).map(|number| chosen(&format!("{number}.test"))).collect();
    assert_eq!(first, again);
    assert!(first.iter().any(|server| *server != first[0]), "{first:?}");
    assert_eq!(tidegate.log_line("a flow", |line| line["sni"] == "7.test")["pool"], "app");
}

#[test]
fn flows_are_split_by_shares() {
    let (one, two) = (named("one"), named("two"));
    let text = "
listeners: { web: { bind: 127.0.0.1:0, role: tcp, split: [{ to: a, share: 50% }, { to: b, share: 50% }] } }
pools: { a: [@ONE], b: [@TWO] }
";
    let tidegate = start(text, &[("ONE", &one), ("TWO", &two)]);
    let answers: Vec<_> = (0..40).map(|_| ask(&tidegate, "").expect("an answer")).collect();
    assert!(answers.iter().any(|name| name.starts_with("one")) && answers.iter().any(|name| name.starts_with("two")));
}

const POOLS: &str = "
pools:
  app: ['127.0.0.1:1']
  h2: { servers: ['127.0.0.1:1'], protocol: h2 }
  cookie: { servers: ['127.0.0.1:1'], sticky: cookie }
  field: { servers: ['127.0.0.1:1', '127.0.0.1:2'], balance: { algorithm: maglev, hash: header.x-user } }
  slow: { servers: ['127.0.0.1:1'], concurrency: adaptive }
  named: { servers: ['127.0.0.1:1'], host: a.test }
  again: { servers: ['127.0.0.1:1'], retries: { if: [connect, 503] } }
  user: { servers: ['127.0.0.1:1'], sticky: { by: header.x-user, for: 1m } }
";

/// What belongs to requests is a mistake in a listener of flows, and the other way round.
#[test]
fn each_role_has_its_own_keys() {
    for (listener, wrong) in [
        ("role: tcp, respond: { body: x }", "`respond` in listener `web` does not exist with `role: tcp`"),
        ("role: tcp, to: app, http: h2", "`http` in listener `web` does not exist with `role: tcp`"),
        ("role: tcp, to: app, use: [{ compress: {} }]", "`use` in listener `web` does not exist with `role: tcp`"),
        ("role: tcp, deny: 403", "`status` in `deny` of listener `web` does not exist with `role: tcp`"),
        ("deny: close", "`flow` in `deny` of listener `web` does not exist with `role: http`"),
        (
            "role: tcp, routes: [{ match: { path: /x }, to: app }]",
            "`path` in `match` of route 1 of listener `web` does not exist",
        ),
        ("role: tcp, to: app, timeouts: { response: 1s }", "`response` in `timeouts` of listener `web` does not exist"),
        (
            "role: tcp, to: app, retries: { if: [reset] }",
            "`reset` is about requests, with `role: tcp` only `connect` is worth",
        ),
        ("role: tcp, to: h2", "`protocol` of pool `h2` is about requests, but listener `web`"),
        ("role: tcp, to: cookie", "`sticky` by a cookie of pool `cookie` is about requests, but listener `web`"),
        ("role: tcp, to: slow", "`concurrency` of pool `slow` is about requests"),
        ("role: tcp, to: named", "`host` of pool `named` is about requests"),
        ("role: tcp, to: again", "`retries.if` beyond `connect` of pool `again` is about requests"),
        ("role: tcp, to: field", "`balance.hash` of pool `field` is about requests, but listener `web`"),
        (
            "role: tcp, split: [{ to: user, share: 50% }, { to: app, share: 50% }]",
            "`sticky.by` of pool `user` is about requests",
        ),
    ] {
        let text = format!("listeners: {{ web: {{ bind: 127.0.0.1:0, {listener} }} }}\n{POOLS}");
        let (code, said) = failure_of(BINARY, &config(&text, &[]));
        assert_eq!(code, Some(2), "{listener}");
        assert!(said.contains(wrong), "{listener}: {said}");
        assert_eq!(said.lines().count(), 1, "one mistake is said once: {said}");
    }
    let text = "
listeners: { web: { bind: 127.0.0.1:0, role: tcp } }
sites: { s: { hosts: default, listeners: web, respond: { body: x } } }
";
    let (_, said) = failure_of(BINARY, &config(text, &[]));
    assert!(said.contains("sites are of HTTP and its role is `tcp`"), "{said}");
}
