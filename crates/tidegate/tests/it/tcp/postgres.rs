//! PostgreSQL: TLS that begins inside of it, either way, and routes by user and database. Scripted here; `real` is beside it.

mod real;

use std::io::{Read as _, Write as _};
use std::sync::Arc;

use testkit::tls::Wishes;
use testkit::{ClientTls, Hanging, Server, ServerTls, Shared, Signal, Talk, Tidegate, failure_of, until};

use crate::support::{BINARY, Place, config, start};
use crate::tls::Desk;

const SSL: [u8; 8] = [0, 0, 0, 8, 4, 210, 22, 47];
const GSS: [u8; 8] = [0, 0, 0, 8, 4, 210, 22, 48];

/// TLS ends here, and the server is spoken to in plain.
const FRONT: &str = "
certificates: { main: { cert: '@DIR/main.pem', key: '@DIR/main.key' } }
listeners:
  web: { bind: 127.0.0.1:0, role: tcp, tls: { certificates: main, starttls: postgres }, timeouts: { tls_handshake: 2s }, to: app }
pools: { app: [@APP] }
";

/// It begins here.
const BACK: &str = "
listeners: { web: { bind: 127.0.0.1:0, role: tcp, to: app } }
pools: { app: { servers: [@APP], tls: { ca: '@DIR/ca.pem', starttls: postgres } } }
";

fn startup(user: &str, database: &str) -> Vec<u8> {
    let parameters = format!("user\0{user}\0database\0{database}\0\0");
    [&(8 + parameters.len() as u32).to_be_bytes()[..], &[0, 3, 0, 0], parameters.as_bytes()].concat()
}

/// A server that says its name, and what it has heard first.
fn named(name: &'static str) -> Server {
    Server::script(move |peer| {
        let mut talk = Talk::of(peer);
        let length = talk.exactly(4);
        let length = u32::from_be_bytes(length.try_into().unwrap_or([0, 0, 0, 4])) as usize;
        let said = talk.exactly(length.saturating_sub(4));
        talk.say(format!("{name} {}\n", String::from_utf8_lossy(&said[4.min(said.len())..])));
        talk.finish();
    })
}

fn talk(tidegate: &Tidegate) -> Talk {
    Talk::with(&tidegate.address("web"))
}

fn reason(tidegate: &Tidegate) -> String {
    let line = tidegate.log_line("a refusal", |line| line["fault"] == "malformed");
    line["reason"].as_str().unwrap_or_default().to_owned()
}

#[test]
pub(crate) fn tls_ends_here_after_the_question_for_it() {
    let (desk, server) = (Desk::new(), named("a"));
    let tidegate = desk.start(FRONT, &[("APP", &server)]);
    for questions in [&SSL[..], &[GSS, SSL].concat()] {
        let mut client = talk(&tidegate);
        for question in questions.chunks(8) {
            client.say(question);
            assert_eq!(client.exactly(1), if question == SSL { b"S" } else { b"N" });
        }
        client.begin(&desk.tls()).expect("a handshake").say(startup("anna", "shop"));
        assert_eq!(client.line(), "a user\0anna\0database\0shop\0\0");
    }
    let line = tidegate.log_line("a flow", |line| line["pool"] == "app");
    assert_eq!(line["address"], server.address());
}

#[test]
fn tls_may_begin_at_once_if_it_is_for_postgresql() {
    let (desk, server) = (Desk::new(), named("a"));
    let tidegate = desk.start(FRONT, &[("APP", &server)]);
    let wishing =
        |protocols| ClientTls::with(&desk.authority, "example.com", &Wishes { protocols, ..Wishes::default() });
    let mut client = talk(&tidegate);
    client.begin(&wishing(&["postgresql"])).expect("a handshake").say(startup("anna", "shop"));
    assert_eq!(client.agreed().alpn.as_deref(), Some("postgresql"));
    assert!(client.line().starts_with("a user\0anna"));
    // A handshake that is not for us is not served, whether it says for whom or not.
    assert!(talk(&tidegate).begin(&wishing(&["http/1.1"])).is_err());
    let mut silent = talk(&tidegate);
    if silent.begin(&wishing(&[])).is_ok() {
        assert_eq!(silent.say(startup("anna", "shop")).rest(), b"");
    }
    server.until_idle();
    assert_eq!(server.connections(), 1);
}

#[test]
fn who_goes_on_in_plain_is_told_so_and_closed() {
    let (desk, server) = (Desk::new(), named("a"));
    let tidegate = desk.start(FRONT, &[("APP", &server)]);
    let mut client = talk(&tidegate);
    let heard = client.say(startup("anna", "shop")).rest();
    assert!(heard.starts_with(b"E") && heard.windows(7).any(|part| part == b"\0C28000"), "{heard:?}");
    assert_eq!(reason(&tidegate), "a client that does not begin TLS");
    assert_eq!(talk(&tidegate).say(b"GET / HTTP/1.1\r\n\r\n").rest(), b"");
    assert_eq!(server.connections(), 0);
}

#[test]
fn where_tls_is_not_required_who_does_not_want_it_goes_on_in_plain() {
    let (desk, server) = (Desk::new(), named("a"));
    let front = FRONT.replace("starttls: postgres", "starttls: { protocol: postgres, required: false }");
    let tidegate = desk.start(&front, &[("APP", &server)]);
    assert_eq!(talk(&tidegate).say(startup("anna", "shop")).line(), "a user\0anna\0database\0shop\0\0");
    let mut client = talk(&tidegate);
    client.say(GSS);
    assert_eq!(client.exactly(1), b"N");
    assert_eq!(client.say(startup("otto", "shop")).line(), "a user\0otto\0database\0shop\0\0");
    let mut client = talk(&tidegate);
    client.say(SSL);
    assert_eq!(client.exactly(1), b"S");
    client.begin(&desk.tls()).expect("a handshake").say(startup("anna", "shop"));
    assert_eq!(client.line(), "a user\0anna\0database\0shop\0\0");
    assert_eq!(talk(&tidegate).say(b"GET / HTTP/1.1\r\n\r\n").rest(), b"");
    assert_eq!(reason(&tidegate), "neither TLS nor PostgreSQL");
}

#[test]
fn where_tls_is_not_required_a_server_without_is_spoken_to_in_plain() {
    let desk = Desk::new();
    let server = Server::script(|peer| {
        let mut talk = Talk::of(peer);
        assert_eq!(talk.exactly(8), SSL);
        talk.say("N");
        let length = startup("anna", "shop").len();
        let said = talk.exactly(length);
        // What is offered for a login.
        talk.say([&b"R\0\0\0\x08\0\0\0\0"[..], &said[8..]].concat());
        talk.finish();
    });
    let back = BACK.replace("starttls: postgres", "starttls: { protocol: postgres, required: false }");
    let tidegate = desk.start(&back, &[("APP", &server)]);
    let heard = talk(&tidegate).say(startup("anna", "shop")).rest();
    assert!(heard.ends_with(b"user\0anna\0database\0shop\0\0"), "{heard:?}");
    let line = tidegate.log_line("a flow", |line| line["pool"] == "app");
    assert_eq!(line.get("fault"), None, "{line}");
}

#[test]
fn what_is_said_in_plain_before_tls_counts_for_nothing() {
    let (desk, server) = (Desk::new(), named("a"));
    let tidegate = desk.start(FRONT, &[("APP", &server)]);
    // With the question, and between the question and the handshake.
    let mut client = talk(&tidegate);
    let heard = client.say([&SSL[..], &startup("mallory", "shop")].concat()).rest();
    assert!(!heard.contains(&b'S') || heard.starts_with(b"E"), "{heard:?}");
    assert_eq!(reason(&tidegate), "bytes in plain behind the question for TLS");
    let mut client = talk(&tidegate);
    client.say(SSL);
    assert_eq!(client.exactly(1), b"S");
    client.say(startup("mallory", "shop"));
    assert!(client.begin(&desk.tls()).is_err());
    assert_eq!(server.connections(), 0);
}

#[test]
fn tls_begins_here_after_the_question_for_it() {
    let desk = Desk::new();
    let tls = ServerTls::new(&desk.issue("server", &["127.0.0.1"]));
    let server = Server::script(move |peer| {
        let mut talk = Talk::of(peer);
        if talk.exactly(8) != SSL {
            return;
        }
        talk.say("S");
        if talk.begun(&tls).is_ok() {
            let length = startup("anna", "shop").len();
            let said = talk.exactly(length);
            talk.say(format!("heard {}\n", String::from_utf8_lossy(&said[8..])));
            talk.finish();
        }
    });
    let tidegate = desk.start(BACK, &[("APP", &server)]);
    assert_eq!(talk(&tidegate).say(startup("anna", "shop")).line(), "heard user\0anna\0database\0shop\0\0");
}

/// Its server offers how to log in while it has more to read than it takes.
#[test]
fn who_does_not_wait_for_the_offer_loses_nothing() {
    let desk = Desk::new();
    let tls = ServerTls::new(&desk.issue("server", &["127.0.0.1"]));
    let (stuck, heard) = (Signal::new(), Arc::<Shared<Option<Vec<u8>>>>::default());
    let server = Server::script({
        let (stuck, heard) = (stuck.clone(), Arc::clone(&heard));
        move |peer| {
            let mut talk = Talk::of(peer);
            talk.exactly(8);
            talk.say("S");
            if talk.begun(&tls).is_ok() {
                talk.exactly(startup("anna", "shop").len());
                stuck.wait();
                let rest = talk.say(b"R\0\0\0\x08\0\0\0\0").rest();
                heard.with(|heard| *heard = Some(rest));
            }
        }
    });
    let tidegate = desk.start(BACK, &[("APP", &server)]);
    let mut client = super::connect(&tidegate);
    client.write_all(&startup("anna", "shop")).expect("sent");
    client.set_nonblocking(true).expect("an option");
    let words: Vec<u8> = (0..251 * 4096_u32).map(|at| (at % 251) as u8).collect();
    let (mut sent, mut refusals) = (0, 0);
    until("a client that cannot go on", || {
        while let Ok(length) = client.write(&words[sent % words.len()..]) {
            (sent, refusals) = (sent + length, 0);
        }
        refusals += 1;
        refusals > 30
    });
    stuck.raise();
    // Who finishes before there is an offer has gone.
    client.set_nonblocking(false).expect("an option");
    let mut offer = [0; 9];
    client.read_exact(&mut offer).expect("an offer");
    assert_eq!(&offer, b"R\0\0\0\x08\0\0\0\0");
    client.shutdown(std::net::Shutdown::Write).expect("finished");
    let heard = heard.until("all of it", Option::take);
    assert_eq!(heard.len(), sent);
    assert!(heard.iter().zip(words.iter().cycle()).all(|(heard, said)| heard == said));
    assert_eq!(
        tidegate.log_line("a flow", |line| line["pool"] == "app")["bytes_in"],
        sent + startup("anna", "shop").len()
    );
}

#[test]
fn a_server_that_has_no_tls_or_speaks_before_it_is_not_used() {
    let desk = Desk::new();
    for (answer, why) in [
        ("N", "the server has no TLS"),
        ("SR\0\0\0\u{8}\0\0\0\0", "bytes in plain where TLS should begin"),
        ("E", "no answer of PostgreSQL to SSLRequest"),
        ("", "the server ended before TLS began"),
    ] {
        let server = Server::script(move |peer| {
            let mut talk = Talk::of(peer);
            talk.exactly(8);
            talk.say(answer);
            talk.finish();
            assert_eq!(talk.rest(), b"", "nothing of the client's without TLS");
        });
        let tidegate = desk.start(BACK, &[("APP", &server)]);
        assert_eq!(talk(&tidegate).say(startup("anna", "shop")).rest(), b"");
        assert_eq!(tidegate.log_line("a flow", |line| line["pool"] == "app")["fault"], "server_tls");
        tidegate.message(why);
    }
}

#[test]
fn a_server_that_offers_nothing_in_time_is_counted() {
    let desk = Desk::new();
    let tls = ServerTls::new(&desk.issue("server", &["127.0.0.1"]));
    let server = Server::script(move |peer| {
        let mut talk = Talk::of(peer);
        talk.exactly(8);
        talk.say("S");
        if talk.begun(&tls).is_ok() {
            talk.rest();
        }
    });
    let text = BACK.replace("to: app }", "timeouts: { tunnel: 1h, total: 300ms }, to: app }");
    let tidegate = desk.start(&text, &[("APP", &server)]);
    assert_eq!(talk(&tidegate).say(startup("anna", "shop")).rest(), b"");
    assert_eq!(tidegate.log_line("a flow", |line| line["pool"] == "app")["fault"], "total_timeout");
    let counted: f64 = tidegate.metric("tidegate_server_requests_total", &["pool=\"app\""]).iter().sum();
    assert_eq!(counted, 1.0);
}

#[test]
fn only_clients_on_the_way_to_such_a_server_are_waited_for() {
    let desk = Desk::new();
    let tls = ServerTls::new(&desk.issue("server", &["127.0.0.1"]));
    let behind = Server::script(move |peer| {
        let mut talk = Talk::of(peer);
        talk.exactly(8);
        talk.say("S");
        if talk.begun(&tls).is_ok() {
            talk.exactly(startup("anna", "shop").len());
            talk.say("Z\0\0\0\x05I").finish();
        }
    });
    let first = Server::script(|peer| peer.send("220 I speak first\r\n"));
    let text = "
listeners:
  web: { bind: 127.0.0.1:0, role: tcp, split: [{ to: app, share: 50% }, { to: @FIRST, share: 50% }] }
  named: { bind: 127.0.0.1:0, role: tcp, routes: [{ match: { sni: a.test }, to: @FIRST }, { to: app }] }
pools: { app: { servers: [@APP], tls: { ca: '@DIR/ca.pem', starttls: postgres } } }
";
    let tidegate = desk.start(text, &[("APP", &behind), ("FIRST", &first)]);
    until("the one that speaks first was asked", || {
        let mut client = talk(&tidegate);
        client.finish();
        client.line() == "220 I speak first"
    });
    // What was heard for the sake of a name is heard for this, too.
    let mut client = Talk::with(&tidegate.address("named"));
    assert_eq!(client.say(SSL).exactly(1), b"N");
    assert_eq!(client.say(startup("anna", "shop")).exactly(6), b"Z\0\0\0\x05I");
    let mut client = Talk::with(&tidegate.address("named"));
    assert_eq!(client.say(startup("anna", "shop")).exactly(6), b"Z\0\0\0\x05I");
}

const ROUTES: &str = "
listeners:
  web:
    bind: 127.0.0.1:0
    role: tcp
    timeouts: { request_head: 500ms }
    routes:
      - { match: { postgres: { user: [root, ~^admin] } }, deny: reset }
      - { match: { postgres: { database: { prefix: shop } }, client: 127.0.0.1 }, to: @SHOP }
      - { match: { not: { postgres: { user: anna } } }, to: @OTHERS }
      - { match: { client: 127.0.0.0/8, postgres: { user: anna } }, to: @ANNA }
      - to: @REST
";

fn route(tidegate: &Tidegate, said: &[u8]) -> String {
    let mut client = talk(tidegate);
    client.say(said).line()
}

#[test]
pub(crate) fn users_and_databases_choose_the_way() {
    let servers = ["shop", "others", "anna", "rest"].map(named);
    let places: [(&str, &dyn Place); 4] =
        [("SHOP", &servers[0]), ("OTHERS", &servers[1]), ("ANNA", &servers[2]), ("REST", &servers[3])];
    let tidegate = start(ROUTES, &places);
    for (said, answer) in [
        (startup("anna", "shop_1"), "shop user\0anna\0database\0shop_1\0\0"),
        (startup("bob", "x"), "others user\0bob\0database\0x\0\0"),
        (startup("anna", "x"), "anna user\0anna\0database\0x\0\0"),
        (startup("admin2", "shop_1"), ""),
        (startup("root", "x"), ""),
        // What cannot be read is nobody's, under `not` either.
        (startup("anna\0user\0root", "x"), "rest user\0anna\0user\0root\0database\0x\0\0"),
        (b"\0\0\0\x10\x04\xd2\x16\x2e\0\0\0\x01\0\0\0\x02".to_vec(), "rest \0\0\0\u{1}\0\0\0\u{2}"),
    ] {
        assert_eq!(route(&tidegate, &said), answer, "{}", String::from_utf8_lossy(&said));
    }
    // In pieces, and after a question for what is not there.
    let mut client = talk(&tidegate);
    assert_eq!(client.say(SSL).exactly(1), b"N");
    assert_eq!(client.say(GSS).exactly(1), b"N");
    for piece in startup("anna", "shop_2").chunks(5) {
        client.say(piece);
    }
    assert!(client.line().starts_with("shop user\0anna"));
    // Who says nothing is not waited for without end.
    assert_eq!(talk(&tidegate).rest(), b"");
    assert_eq!(tidegate.log_line("a flow", |line| line["fault"] == "head_timeout")["side"], "client");
}

#[test]
fn inside_of_tls_users_choose_the_way_too() {
    let (desk, one, two) = (Desk::new(), named("one"), named("two"));
    let text = FRONT.replace("to: app }", "routes: [{ match: { postgres: { user: anna } }, to: app }, { to: @TWO }] }");
    let tidegate = desk.start(&text, &[("APP", &one), ("TWO", &two)]);
    for (user, server) in [("anna", "one"), ("bob", "two")] {
        let mut client = talk(&tidegate);
        assert_eq!(client.say(SSL).exactly(1), b"S");
        client.begin(&desk.tls()).expect("a handshake").say(startup(user, "x"));
        assert!(client.line().starts_with(server));
    }
}

#[test]
fn the_user_may_choose_the_server() {
    let servers = ["a", "b", "c"].map(named);
    let text = "
listeners: { web: { bind: 127.0.0.1:0, role: tcp, to: app } }
pools: { app: { servers: [@A1, @B1, @C1], balance: { algorithm: maglev, hash: postgres.user } } }
";
    let tidegate = start(text, &[("A1", &servers[0]), ("B1", &servers[1]), ("C1", &servers[2])]);
    let chosen = |user: &str| route(&tidegate, &startup(user, "x")).chars().next();
    let first: Vec<_> = (0..12).map(|number| chosen(&format!("user{number}"))).collect();
    let again: Vec<_> = (0..12).map(|number| chosen(&format!("user{number}"))).collect();
    assert_eq!(first, again);
    assert!(first.iter().all(Option::is_some) && first.iter().any(|server| *server != first[0]), "{first:?}");
}

#[test]
fn what_does_not_go_together_is_a_mistake() {
    let hanging = Hanging::new();
    for (listener, pool, wrong) in [
        ("role: tcp, tls: { certificates: internal, starttls: ssh }, to: app", "", "unknown word `ssh`"),
        (
            "tls: { certificates: internal, starttls: postgres }, to: app",
            "",
            "`starttls` in `tls` of listener `web` does not exist with `role: http`",
        ),
        ("to: app", "tls: { starttls: postgres }", "`tls.starttls` of pool `app` is for flows of TCP, but requests"),
        (
            "role: tcp, tls: { certificates: internal, starttls: smtp }, to: app",
            "tls: { starttls: imap }",
            "`tls.starttls` of pool `app` is another protocol than that of listener `web`",
        ),
        ("role: tcp, to: app", "warm: 1, tls: { starttls: smtp }", "servers that speak first cannot be `warm`"),
        (
            "role: tcp, tls: { certificates: internal, starttls: smtp }, to: app",
            "warm: 1",
            "`warm` of pool `app`: its servers speak first",
        ),
        (
            "role: tcp, to: app",
            "tls: { starttls: smtp }, health: tls",
            "a probe of `tls` begins at once, other than `tls.starttls`",
        ),
        (
            "routes: [{ match: { postgres: { user: a } }, to: app }]",
            "",
            "`postgres` in `match` of route 1 of listener `web` does not exist with `role: http`",
        ),
        ("role: tcp, routes: [{ match: { postgres: {} }, to: app }]", "", "is empty, say `user` or `database`"),
        ("role: tcp, routes: [{ match: { mqtt: {} }, to: app }]", "", "`client_id`"),
        (
            "to: app",
            "balance: { algorithm: maglev, hash: mqtt.client_id }",
            "pool `app` goes by what clients say first in flows of TCP, but requests are sent to it",
        ),
        (
            "to: app, use: [{ headers: { request: { set: { x: '${postgres.user}' } } } }]",
            "",
            "`${postgres.user}` is of flows of TCP",
        ),
    ] {
        let text = format!(
            "listeners: {{ web: {{ bind: 127.0.0.1:0, {listener} }} }}\npools: {{ app: {{ servers: [@APP], {pool} }} }}\n"
        );
        let (code, said) = failure_of(BINARY, &config(&text, &[("APP", &hanging)]));
        assert_eq!(code, Some(2), "{listener}, {pool}");
        assert!(said.contains(wrong), "{listener}, {pool}: {said}");
        assert_eq!(said.lines().count(), 1, "one mistake is said once: {said}");
    }
}
