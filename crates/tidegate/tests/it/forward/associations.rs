//! Datagrams by SOCKS5.

use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

use testkit::datagram::Answering;
use testkit::{Client, PATIENCE, Tidegate, until};

use super::socks::{reply, v5};
use super::{OPEN, port, proxy};
use crate::support::start;

/// A client of SOCKS with a socket for its datagrams.
struct Associated {
    client: Client,
    socket: UdpSocket,
    relay: SocketAddr,
}

impl Associated {
    fn new(tidegate: &Tidegate) -> Associated {
        Associated::saying(tidegate, 0)
    }

    /// Says from which port its datagrams will come.
    fn saying(tidegate: &Tidegate, from: u16) -> Associated {
        let mut client = tidegate.client();
        client.send([5, 1, 0]);
        assert_eq!(client.exactly(2), [5, 0]);
        client.send(v5(3, "0.0.0.0", from));
        let (code, port) = reply(&mut client);
        assert_eq!(code, 0);
        let socket = UdpSocket::bind(("127.0.0.1", from)).expect("a port");
        socket.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        Associated { client, socket, relay: ([127, 0, 0, 1], port).into() }
    }

    fn say(&self, host: &str, port: u16, bytes: &str) {
        self.socket.send_to(&letter(0, host, port, bytes), self.relay).expect("sent");
    }

    /// The next datagram: from which port, and what it says.
    fn hear(&self) -> (u16, String) {
        let mut room = [0; 65_536];
        let (length, from) = self.socket.recv_from(&mut room).expect("a datagram");
        assert_eq!(from, self.relay);
        assert_eq!(room[..4], [0, 0, 0, 1]);
        assert_eq!(room[4..8], [127, 0, 0, 1]);
        (u16::from_be_bytes([room[8], room[9]]), String::from_utf8_lossy(&room[10..length]).into_owned())
    }
}

/// A datagram as a client writes it.
fn letter(piece: u8, host: &str, port: u16, bytes: &str) -> Vec<u8> {
    [&[0, 0, piece][..], &v5(0, host, port)[3..], bytes.as_bytes()].concat()
}

fn number(server: &Answering) -> u16 {
    port(server).parse().expect("a port")
}

fn echo() -> Answering {
    Answering::start(|bytes| vec![[b"re: ", bytes].concat()])
}

#[test]
fn datagrams_go_where_each_of_them_says_and_answers_come_back() {
    let (one, two) = (echo(), echo());
    let tidegate = proxy("");
    let client = Associated::new(&tidegate);
    for host in ["127.0.0.1", "A.test"] {
        for server in [&one, &two] {
            client.say(host, number(server), "hello");
            assert_eq!(client.hear(), (number(server), "re: hello".to_owned()), "{host}");
        }
    }
    let long = "x".repeat(9000);
    client.say("a.test", number(&one), &long);
    assert_eq!(client.hear().1.len(), 9004);
    assert_eq!(one.seen().last().map(|seen| seen.bytes.len()), Some(9000));
    drop(client);
    let line = tidegate.log_line("a server", |line| line["host"] == "a.test" && line["datagrams_in"] == 2);
    assert_eq!((&line["method"], &line["pool"]), (&"SOCKS5".into(), &"origin".into()));
    assert_eq!((&line["address"], &line["datagrams_out"]), (&one.address().into(), &2.into()));
    assert_eq!((&line["bytes_in"], &line["bytes_out"]), (&9005.into(), &9013.into()));
    assert!(line["fault"].is_null(), "{line}");
}

#[test]
fn it_lives_as_long_as_its_connection() {
    let server = echo();
    let tidegate = proxy("");
    let Associated { mut client, socket, relay } = Associated::new(&tidegate);
    // What is said on the connection means nothing.
    client.send("hello");
    socket.send_to(&letter(0, "a.test", number(&server), "x"), relay).expect("sent");
    assert!(socket.recv(&mut [0; 100]).is_ok());
    drop(client);
    tidegate.log_line("its end", |line| line["host"] == "a.test");
    socket.connect(relay).expect("a way");
    until("nobody listens there", || socket.send(b"x").is_err());
    // One that has written to nobody leaves a line as well.
    drop(Associated::new(&tidegate));
    let line = tidegate.log_line("an association", |line| line["host"].is_null());
    assert_eq!((&line["method"], &line["datagrams_in"]), (&"SOCKS5".into(), &0.into()));
}

#[test]
fn only_its_client_is_heard_and_pieces_are_nobodys() {
    let server = echo();
    let tidegate = proxy("");
    let to = number(&server);
    let client = Associated::new(&tidegate);
    let stranger = UdpSocket::bind("127.0.0.2:0").expect("a port");
    stranger.send_to(&letter(0, "127.0.0.1", to, "stranger"), client.relay).expect("sent");
    client.socket.send_to(&letter(1, "127.0.0.1", to, "piece"), client.relay).expect("sent");
    for broken in [&b""[..], b"\0\0", b"\0\0\0\x01\x7f", b"\0\0\0\x02\0\0\0\0\0\0\0", b"\0\0\0\x01\x7f\0\0\x01\0\0x"] {
        client.socket.send_to(broken, client.relay).expect("sent");
    }
    client.say("127.0.0.1", to, "mine");
    assert_eq!(client.hear().1, "re: mine");
    // Its port is known now.
    let other = UdpSocket::bind("127.0.0.1:0").expect("a port");
    other.send_to(&letter(0, "127.0.0.1", to, "other"), client.relay).expect("sent");
    client.say("127.0.0.1", to, "mine");
    assert_eq!(client.hear().1, "re: mine");
    assert_eq!(server.seen().iter().map(|seen| seen.bytes.clone()).collect::<Vec<_>>(), [b"mine", b"mine"]);
    until("what was lost is counted", || {
        tidegate.metric("tidegate_datagrams_lost_total", &["listener=\"web\""]).iter().sum::<f64>() == 8.0
    });
    // A server that was not written to is not heard: it would have to know the port from which datagrams go on.
    let outward = server.seen()[0].from;
    UdpSocket::bind("127.0.0.1:0").expect("a port").send_to(b"surprise", outward).expect("sent");
    client.say("127.0.0.1", to, "mine");
    assert_eq!(client.hear().1, "re: mine");
}

#[test]
fn a_port_that_was_said_is_the_only_one() {
    let server = echo();
    let tidegate = proxy("");
    let own = UdpSocket::bind("127.0.0.1:0").expect("a port").local_addr().expect("an address").port();
    let client = Associated::saying(&tidegate, own);
    let other = UdpSocket::bind("127.0.0.1:0").expect("a port");
    other.send_to(&letter(0, "127.0.0.1", number(&server), "other"), client.relay).expect("sent");
    client.say("127.0.0.1", number(&server), "mine");
    assert_eq!(client.hear().1, "re: mine");
    assert_eq!(server.seen().len(), 1);
}

#[test]
fn servers_are_judged_one_by_one() {
    let server = echo();
    let to = number(&server);
    let text = format!(
        "{}\n  flows: {{ bind: 127.0.0.1:0, role: udp, to: app }}\npools: {{ app: ['{}'] }}\n",
        OPEN.replace(
            "@MORE",
            "routes: [{ match: { kind: socks, host: b.test }, deny: 403 }, { match: { kind: socks }, to: origin }]"
        ),
        server.address()
    );
    let tidegate = start(&text, &[]);
    let client = Associated::new(&tidegate);
    let ours = tidegate.address("flows").rsplit(':').next().and_then(|port| port.parse().ok()).expect("a port");
    for (host, port) in [("b.test", to), ("10.0.0.1", to), ("a.test", 53), ("127.0.0.1", ours)] {
        client.say(host, port, host);
    }
    client.say("a.test", to, "mine");
    assert_eq!(client.hear().1, "re: mine");
    assert_eq!(server.seen().len(), 1);
    drop(client);
    for (host, fault) in [("b.test", "denied"), ("10.0.0.1", "denied"), ("127.0.0.1", "denied")] {
        let line = tidegate.log_line("a refusal", |line| line["host"] == host);
        assert_eq!(line["fault"], fault, "{line}");
    }
    let reason =
        |why: &str| tidegate.log_line(why, |line| line["reason"].as_str().is_some_and(|said| said.contains(why)));
    assert_eq!(reason("process listens")["host"], "127.0.0.1");
    assert_eq!(reason("port that tunnels")["host"], "a.test");
}

#[test]
fn a_name_that_nobody_answers_for_holds_up_nobody_else() {
    let server = echo();
    let silent = UdpSocket::bind("127.0.0.1:0").expect("a port");
    let text = OPEN.replace("'127.0.0.1:9'", &format!("'{}'", silent.local_addr().expect("an address")));
    let tidegate = start(&text.replace("@MORE", "timeouts: { connect: 300ms, flow: 1s }\n    to: origin"), &[]);
    let client = Associated::new(&tidegate);
    // More than wait, and more names than are asked for at once.
    for number in 0..40 {
        client.say(&format!("silent{number}.test"), 4433, "x");
        client.say("silent0.test", 4433, "x");
    }
    client.say("a.test", number(&server), "mine");
    assert_eq!(client.hear().1, "re: mine");
    let mut room = [0; 512];
    silent.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    assert!(silent.recv(&mut room).is_ok(), "it was asked");
    // Each leaves its line when it was silent for long enough.
    let of = |host: &str| tidegate.log_line("a server", |line| line["host"] == host);
    assert_eq!(of("silent39.test")["fault"], "overload");
    assert_eq!(of("silent0.test")["datagrams_in"], 41);
    assert_eq!(of("silent0.test")["fault"], "unresolved");
}

#[test]
fn many_servers_are_written_to_and_those_that_are_silent_are_forgotten() {
    let server = echo();
    let tidegate = proxy("timeouts: { flow: 300ms }\n    to: origin");
    let client = Associated::new(&tidegate);
    client.say("a.test", number(&server), "first");
    assert_eq!(client.hear().1, "re: first");
    for port in 0..300 {
        client.say("127.0.0.1", 20_000 + port, "x");
        if port % 100 == 99 {
            // No faster than it is read.
            client.say("a.test", number(&server), "last");
            assert_eq!(client.hear().1, "re: last");
        }
    }
    // Each leaves its line while the connection stands.
    until("all have left", || tidegate.log().iter().filter(|line| line["method"] == "SOCKS5").count() >= 301);
    client.say("a.test", number(&server), "again");
    assert_eq!(client.hear().1, "re: again");
    drop(client);
}

#[test]
fn an_association_of_whom_nothing_is_heard_ends() {
    let tidegate = proxy("timeouts: { tunnel: 200ms }\n    to: origin");
    let mut client = Associated::new(&tidegate).client;
    assert_ne!(client.ending(), testkit::Ending::Open);
    assert_eq!(tidegate.log_line("its end", |line| line["method"] == "SOCKS5")["fault"], "tunnel_timeout");
    assert!(
        Duration::from_millis(100).as_micros() < u128::from(tidegate.log()[0]["total_us"].as_u64().expect("a time"))
    );
}

#[test]
fn datagrams_of_ipv6_pass() {
    let server = Answering::at("[::1]:0", |bytes| vec![bytes.to_vec()]);
    let text = OPEN.replace("allow: [127.0.0.0/8]", "allow: ['::1/128', 127.0.0.0/8]");
    let tidegate = start(&text.replace("@MORE", "to: origin"), &[]);
    let client = Associated::new(&tidegate);
    client.say("::1", number(&server), "six");
    let mut room = [0; 100];
    let length = client.socket.recv(&mut room).expect("an answer");
    assert_eq!((room[3], &room[length - 3..length]), (4, &b"six"[..]));
}

#[test]
fn its_user_is_whoever_has_asked_for_it() {
    let server = echo();
    let files = crate::users::Files::new();
    let text = OPEN.replace("@MORE", "use: [{ basic_auth: { users: '@DIR/people', realm: office } }]\n    to: origin");
    let tidegate = files.start(&text, &[]);
    let mut client = tidegate.client();
    client.send([&[5, 1, 2, 1, 3][..], b"ann", &[6], b"sesame", &v5(3, "0.0.0.0", 0)].concat());
    assert_eq!(client.exactly(4), [5, 2, 1, 0]);
    let relay = SocketAddr::from(([127, 0, 0, 1], reply(&mut client).1));
    let client = Associated { client, socket: UdpSocket::bind("127.0.0.1:0").expect("a port"), relay };
    client.socket.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    client.say("a.test", number(&server), "hello");
    assert_eq!(client.hear().1, "re: hello");
    drop(client);
    assert_eq!(tidegate.log_line("a server", |line| line["host"] == "a.test")["user"], "ann");
}

#[test]
fn the_first_answer_of_a_server_whose_name_was_looked_up_does_not_wait_for_another_datagram() {
    let (server, names) = (echo(), testkit::Names::start(&[[127, 0, 0, 1].into()], 60));
    let text = OPEN.replace("127.0.0.1:9", names.address()).replace("@MORE", "timeouts: { flow: 60s }\n    to: origin");
    let tidegate = start(&text, &[]);
    let client = Associated::new(&tidegate);
    client.say("looked-up.test", number(&server), "x");
    assert_eq!(client.hear(), (number(&server), "re: x".to_owned()));
    let line = |line: &serde_json::Value| line["host"] == "looked-up.test";
    drop(client);
    assert_eq!(tidegate.log_line("its server's line", line)["port"], number(&server));
}

#[test]
fn datagrams_count_both_ways_and_each_server_is_a_request() {
    let (one, two) = (Answering::named("one"), Answering::named("two"));
    let tidegate = proxy("use: [{ quota: { bytes: 40B, requests: 3, per: 30d } }]\n    to: origin");
    let associated = Associated::new(&tidegate);
    associated.say("a.test", number(&one), "twelve bytes");
    assert_eq!(associated.hear().1, "one twelve bytes");
    associated.say("a.test", number(&two), "four");
    assert_eq!(associated.hear().1, "two four");
    // 12 and 16, 4 and 8 are 40; from here on nothing passes.
    associated.say("a.test", number(&one), "x");
    until("it is over", || tidegate.metric("tidegate_quota_cut_total", &["quota=\"web/quota\""]) == [1.0]);
    drop(associated.client);
    let line = tidegate.log_line("one", |line| line["port"] == number(&one));
    assert_eq!((&line["fault"], &line["bytes_in"], &line["bytes_out"]), (&"quota".into(), &13.into(), &16.into()));
    let line = tidegate.log_line("two", |line| line["port"] == number(&two));
    assert_eq!(line["fault"], serde_json::Value::Null);
}

#[test]
fn datagrams_that_go_nowhere_are_not_counted() {
    let server = echo();
    let tidegate = proxy("use: [{ quota: { bytes: 1KiB, requests: 9, per: 30d } }]\n    to: origin");
    let client = Associated::new(&tidegate);
    for _ in 0..3 {
        client.say("10.0.0.1", number(&server), &"x".repeat(100));
    }
    client.say("a.test", number(&server), "mine");
    assert_eq!(client.hear().1, "re: mine");
    let used = tidegate.admin("/api/quotas/web%2Fquota/subjects/client_ip=127.0.0.1");
    let used: serde_json::Value = serde_json::from_slice(&used.body).expect("JSON");
    assert_eq!((&used["bytes"]["used"], &used["requests"]["used"]), (&12.into(), &1.into()), "{used}");
}

/// Says something to a server by its name, hears the answer, and goes.
pub(crate) fn exchange(tidegate: &Tidegate, port: u16) {
    let client = Associated::new(tidegate);
    client.say("a.test", port, "hello");
    client.hear();
}

/// A client that has shown a name and a password, and got its port.
fn shown(tidegate: &Tidegate, name: &str, password: &str) -> Associated {
    let mut client = tidegate.client();
    let credentials = [&[1, name.len() as u8], name.as_bytes(), &[password.len() as u8], password.as_bytes()].concat();
    client.send([&[5, 1, 2][..], &credentials, &v5(3, "0.0.0.0", 0)].concat());
    assert_eq!(client.exactly(4), [5, 2, 1, 0]);
    let relay = SocketAddr::from(([127, 0, 0, 1], reply(&mut client).1));
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a port");
    socket.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    Associated { client, socket, relay }
}

#[test]
fn routes_that_ask_for_users_know_whoever_has_opened_it() {
    let (server, open) = (echo(), Answering::named("open"));
    let files = crate::users::Files::new();
    let routes = format!(
        "routes: [{{ match: {{ port: {} }}, to: origin }}, {{ use: [{{ basic_auth: {{ users: '@DIR/people' }} }}], to: origin }}]",
        number(&open)
    );
    let tidegate = files.start(&OPEN.replace("@MORE", &routes), &[]);
    let client = shown(&tidegate, "ann", "sesame");
    client.say("a.test", number(&server), "hello");
    assert_eq!(client.hear().1, "re: hello");
    drop(client);
    assert_eq!(tidegate.log_line("ann's", |line| line["host"] == "a.test")["user"], "ann");
    // Whoever is nobody goes where nobody asks, and nowhere else.
    let nobody = shown(&tidegate, "ann", "wrong");
    let silent = Associated::new(&tidegate);
    for client in [nobody, silent] {
        client.say("b.test", number(&server), "hello");
        client.say("b.test", number(&open), "hello");
        assert_eq!(client.hear().1, "open hello");
        drop(client);
    }
    let refused = |line: &serde_json::Value| line["host"] == "b.test" && line["port"] == number(&server);
    until("both are refused", || tidegate.log().iter().filter(|line| refused(line)).count() == 2);
    for line in tidegate.log().iter().filter(|line| refused(line)) {
        assert_eq!((&line["fault"], &line["user"]), (&"proxy_unauthenticated".into(), &serde_json::Value::Null));
    }
    assert_eq!(tidegate.metric("tidegate_auth_failures_total", &["listener=\"web\""]).iter().sum::<f64>(), 1.0);
    assert_eq!(server.seen().len(), 1);
}
