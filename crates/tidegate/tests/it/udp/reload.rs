//! Reloads and ends: what is under way goes on, and nothing is lost.

use std::io::Read as _;
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use testkit::datagram::{Answering, Asking};
use testkit::h3::Quic;
use testkit::{Reloaded, Server, Start, Tidegate, until};

use super::{PLAIN, client, from, sum, until_metric};
use crate::support::{BINARY, config, start};
use crate::tls::Desk;

#[test]
fn a_reload_under_load_loses_nothing_and_moves_nobody() {
    let servers = [Answering::named("a"), Answering::named("b")];
    let places: [(&str, &dyn crate::support::Place); 2] = [("A1", &servers[0]), ("B1", &servers[1])];
    let text = |more: &str| format!("workers: 4\n{}", PLAIN.replace("[@APP]", &format!("[@A1, @B1{more}]")));
    let tidegate = start(&text(""), &places);
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for octet in 1..7 {
            let (tidegate, over) = (&tidegate, &over);
            scope.spawn(move || {
                let client = from(octet, tidegate);
                let first = client.ask("x");
                while !over.load(Ordering::Relaxed) {
                    assert_eq!(client.ask("x"), first);
                }
            });
        }
        for number in 0..12 {
            // Each brings another server, or takes it away; by its hash alone, one in three clients would go there.
            let more = if number % 2 == 0 { ", '127.0.0.1:9'" } else { "" };
            assert_eq!(tidegate.reload(&config(&text(more), &places)), Reloaded::Yes);
        }
        over.store(true, Ordering::Relaxed);
    });
    assert_eq!(sum(&tidegate, "tidegate_datagrams_lost_total"), 0.0);
    assert_eq!(sum(&tidegate, "tidegate_connections_total"), 6.0, "no flow has begun anew");
    let froms: std::collections::BTreeSet<_> = servers.iter().flat_map(Answering::seen).map(|seen| seen.from).collect();
    assert_eq!(froms.len(), 6, "each has kept its socket");
}

#[test]
fn a_flow_keeps_its_server_and_the_next_one_has_the_new_one() {
    let (old, new) = (Answering::named("old"), Answering::named("new"));
    let tidegate = start(PLAIN, &[("APP", &old)]);
    let (first, second) = (client(&tidegate), client(&tidegate));
    assert_eq!(first.ask("x"), "old x");
    tidegate.reload(&config(PLAIN, &[("APP", &new)]));
    assert_eq!([first.ask("y"), second.ask("y")], ["old y", "new y"]);
}

#[test]
fn whom_a_reload_admits_need_not_come_anew() {
    let server = Answering::named("a");
    let denied = PLAIN.replace("to: app", "routes: [{ match: { client: 127.0.0.2 }, deny: drop }, { to: app }]");
    let tidegate = start(&denied, &[("APP", &server)]);
    let client = from(2, &tidegate);
    client.say("x");
    until_metric(&tidegate, "tidegate_datagrams_lost_total", &[], 1.0);
    tidegate.reload(&config(PLAIN, &[("APP", &server)]));
    assert_eq!(client.ask("y"), "a y");
    let port = tidegate.address("web").rsplit_once(':').expect("a port").1.to_owned();
    let by_port = PLAIN.replace("to: app", &format!("routes: [{{ match: {{ port: {port} }}, to: app }}]"));
    tidegate.reload(&config(&by_port, &[("APP", &server)]));
    assert_eq!(from(3, &tidegate).ask("z"), "a z");
}

#[test]
fn a_listener_may_have_another_name_and_keep_its_flows() {
    let server = Answering::named("a");
    let tidegate = start(PLAIN, &[("APP", &server)]);
    let port = tidegate.address("web");
    // Port 0 would be another one for another name.
    let fixed = PLAIN.replace("127.0.0.1:0", &port);
    tidegate.reload(&config(&fixed, &[("APP", &server)]));
    let client = Asking::to(&port);
    assert_eq!(client.ask("x"), "a x");
    tidegate.reload(&config(&fixed.replace("web:", "names:"), &[("APP", &server)]));
    assert_eq!(client.ask("y"), "a y");
    let seen = server.seen();
    assert_eq!(seen[0].from, seen[1].from, "its flow is the same");
    assert_eq!(Asking::to(&port).ask("z"), "a z");
    let of = |name: &str| tidegate.metric("tidegate_connections", &[&format!("listener=\"{name}\"")]);
    assert_eq!(of("names").iter().sum::<f64>(), 1.0);
}

#[test]
fn a_listener_that_is_gone_takes_nobody_new_and_may_come_back() {
    let server = Answering::named("a");
    let tidegate = start(PLAIN, &[("APP", &server)]);
    let at = tidegate.address("web");
    let fixed = PLAIN.replace("127.0.0.1:0", &at);
    tidegate.reload(&config(&fixed, &[("APP", &server)]));
    let count = sockets_at(&at);
    let other = "listeners: { other: { bind: 127.0.0.1:0, role: udp, to: app } }\npools: { app: [@APP] }\n";
    for round in 0..2 {
        let client = Asking::to(&at);
        assert_eq!(client.ask("x"), "a x", "round {round}");
        tidegate.reload(&config(other, &[("APP", &server)]));
        // Who is there is served to the end; who speaks goes on.
        assert_eq!(client.ask("y"), "a y");
        assert_eq!(tidegate.reload(&config(&fixed, &[("APP", &server)])), Reloaded::Yes);
        // What comes to the sockets of before until they are closed is lost, as datagrams may be.
        assert_eq!(client.insist("z"), "a z");
        // As they go, the kernel chooses anew among those that stay.
        until("the sockets of before are closed", || sockets_at(&at) == count);
    }
}

/// How many sockets of UDP have this address of IPv4.
fn sockets_at(at: &str) -> usize {
    let port: u16 = at.rsplit(':').next().and_then(|port| port.parse().ok()).expect("a port");
    let place = format!("0100007F:{port:04X}");
    let table = std::fs::read_to_string("/proc/net/udp").expect("a table");
    table.lines().filter(|line| line.split_ascii_whitespace().nth(1) == Some(&place)).count()
}

#[test]
fn a_listener_may_become_one_of_another_kind() {
    let (datagrams, flows) = (Answering::named("udp"), Server::script(|peer| peer.send("tcp")));
    // At an address where no client gets a port: whoever is at the same port of TCP might be anybody.
    let tidegate = start(&PLAIN.replace("127.0.0.1:0", "127.0.0.78:0"), &[("APP", &datagrams)]);
    let at = tidegate.address("web");
    let udp = PLAIN.replace("127.0.0.1:0", &at);
    let tcp = udp.replace("role: udp", "role: tcp");
    for _ in 0..2 {
        tidegate.reload(&config(&udp, &[("APP", &datagrams)]));
        assert_eq!(Asking::to(&at).insist("x"), "udp x");
        // Those of TCP that were there before may still be on their way out: then it is refused.
        until("a listener of TCP", || tidegate.reload(&config(&tcp, &[("APP", &flows)])) == Reloaded::Yes);
        // One of the sockets of before may still be on its way out, and take a connection with it.
        until("a flow of TCP", || {
            TcpStream::connect(&at).and_then(|mut stream| stream.read_exact(&mut [0; 3])).is_ok()
        });
    }
    // One port of each kind is for both: names are asked for by either.
    let both =
        udp.replace("listeners: {", &format!("listeners: {{ also: {{ bind: '{at}', role: tcp, to: 'localhost:1' }},"));
    assert_eq!(tidegate.reload(&config(&both, &[("APP", &datagrams)])), Reloaded::Yes);
    assert_eq!(Asking::to(&at).insist("y"), "udp y");
}

/// An address that is of HTTP/3, or of flows of UDP and of TCP: nobody else shall have its port of TCP meanwhile.
struct Turning {
    desk: Desk,
    datagrams: Answering,
    web: Server,
}

impl Turning {
    fn new() -> Turning {
        Turning { desk: Desk::new(), datagrams: Answering::named("udp"), web: Server::named("web") }
    }

    fn http3(&self, at: &str) -> String {
        let plain = PLAIN.replace("role: udp", "http: [h1, h2, h3], tls: main").replace("127.0.0.1:0", at);
        let certificates = "certificates: { main: { cert: '@DIR/main.pem', key: '@DIR/main.key' } }";
        self.desk.text(&format!("workers: 4\n{certificates}\n{plain}"), &[("APP", &self.web)])
    }

    fn flows(&self, at: &str) -> String {
        let udp = PLAIN.replace("127.0.0.1:0", at);
        let udp = udp.replace("listeners: {", &format!("listeners: {{ also: {{ bind: '{at}', role: tcp, to: app }},"));
        self.desk.text(&format!("workers: 4\n{udp}"), &[("APP", &self.datagrams)])
    }

    fn becomes_http3(&self, tidegate: &Tidegate, at: &str) {
        assert_eq!(tidegate.reload(&self.http3(at)), Reloaded::Yes);
        until("HTTP/3", || Quic::connect(at, &self.desk.tls()).is_ok());
    }

    /// Until the sockets of before are closed, some of what is sent is lost. Then a client has one worker, whatever it says.
    fn becomes_flows(&self, tidegate: &Tidegate, at: &str) {
        assert_eq!(tidegate.reload(&self.flows(at)), Reloaded::Yes);
        until("one worker for each client", || {
            let (client, before) = (Asking::to(at), self.datagrams.seen().len());
            (0..12).for_each(|byte| drop(client.insist([byte; 16])));
            let seen = self.datagrams.seen();
            seen[before..].iter().all(|one| one.from == seen[before].from)
        });
    }
}

#[test]
fn an_address_of_flows_may_become_one_of_http3_and_back() {
    let turning = Turning::new();
    // The port of TCP that the kernel has chosen is free for UDP, most of the time.
    let (tidegate, at) = loop {
        let tcp = PLAIN.replace("role: udp", "role: tcp");
        let tidegate = start(&format!("workers: 4\n{tcp}"), &[("APP", &turning.web)]);
        let at = tidegate.address("web");
        if tidegate.reload(&turning.flows(&at)) == Reloaded::Yes {
            break (tidegate, at);
        }
    };
    let client = Asking::to(&at);
    client.ask("x");
    turning.becomes_http3(&tidegate, &at);
    turning.becomes_flows(&tidegate, &at);
    assert!(client.insist("y").ends_with(" y"));
}

#[test]
fn an_address_of_http3_may_become_one_of_flows_and_back() {
    let turning = Turning::new();
    let tidegate = Start::of(BINARY).text(&turning.http3("127.0.0.1:0"));
    let at = tidegate.address("web");
    turning.becomes_flows(&tidegate, &at);
    turning.becomes_http3(&tidegate, &at);
    // It may not be of both at a time.
    let both = turning.http3(&at);
    let both = both.replace("listeners: {", &format!("listeners: {{ other: {{ bind: '{at}', role: udp, to: app }},"));
    assert!(matches!(tidegate.reload(&both), Reloaded::No(_)));
}

#[test]
fn an_address_that_has_ended_is_free_for_others_and_is_not_shared_with_them() {
    let server = Answering::named("a");
    let tidegate = start(PLAIN, &[("APP", &server)]);
    let at = tidegate.address("web");
    let fixed = PLAIN.replace("127.0.0.1:0", &at);
    let other = "listeners: { other: { bind: 127.0.0.1:0, role: udp, to: app } }\npools: { app: [@APP] }\n";
    tidegate.reload(&config(other, &[("APP", &server)]));
    let mut stranger = None;
    until("the address to be free", || {
        let Ok(socket) = std::net::UdpSocket::bind(&at) else { return false };
        // It would share its address with us.
        testkit::datagram::share(&socket);
        stranger = Some(socket);
        true
    });
    assert!(matches!(tidegate.reload(&config(&fixed, &[("APP", &server)])), Reloaded::No(_)));
    assert!(tidegate.messages().contains("cannot bind listener `web`"), "{}", tidegate.messages());
    drop(stranger);
    assert_eq!(tidegate.reload(&config(&fixed, &[("APP", &server)])), Reloaded::Yes);
    assert_eq!(Asking::to(&at).ask("x"), "a x");
}

/// Six flows are in the hands of a few of eight workers: the others have nothing to wait for, and wait nevertheless.
#[test]
fn flows_that_speak_keep_their_worker_while_the_others_end() {
    let other = "listeners: { other: { bind: 127.0.0.1:0, role: udp, to: app } }\npools: { app: [@APP] }\n";
    for drains in [false, true] {
        let server = Answering::named("a");
        let text = |text: &str| format!("workers: 8\nshutdown: {{ drain: 60s }}\n{text}");
        let mut tidegate = start(&text(PLAIN), &[("APP", &server)]);
        let clients: Vec<_> = (0..6).map(|_| client(&tidegate)).collect();
        assert!(clients.iter().all(|client| client.ask("x") == "a x"));
        if drains {
            tidegate.terminate();
            tidegate.message("draining");
        } else {
            assert_eq!(tidegate.reload(&config(&text(other), &[("APP", &server)])), Reloaded::Yes);
        }
        for _ in 0..300 {
            assert!(clients.iter().all(|client| client.ask("y") == "a y"));
        }
        let froms: std::collections::BTreeSet<_> = server.seen().iter().map(|seen| seen.from).collect();
        assert_eq!(froms.len(), 6, "each has kept its flow");
        if drains {
            assert!(tidegate.wait().success());
            assert!(tidegate.messages().contains("no connection was cut"), "{}", tidegate.messages());
        }
    }
}

#[test]
fn an_address_that_another_has_is_not_shared() {
    let other = Answering::named("other");
    let text = config(&PLAIN.replace("127.0.0.1:0", other.address()), &[("APP", &other)]);
    let (code, said) = testkit::failure_of(crate::support::BINARY, &text);
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("cannot bind listener `web`"), "{said}");
}

#[test]
fn a_drain_ends_silent_flows_and_cuts_those_that_speak() {
    let server = Answering::echo();
    let text = format!("shutdown: {{ drain: 30s }}\n{}", PLAIN);
    let mut tidegate = start(&text, &[("APP", &server)]);
    let client = self::client(&tidegate);
    assert_eq!(client.ask("x"), "x");
    tidegate.terminate();
    // Long before the drain's time is over.
    assert!(tidegate.wait().success());
    assert!(tidegate.messages().contains("no connection was cut"), "{}", tidegate.messages());
    assert!(tidegate.log()[0].get("fault").is_none());

    let text = format!("shutdown: {{ drain: 500ms }}\n{}", PLAIN);
    let mut tidegate = start(&text, &[("APP", &server)]);
    let client = self::client(&tidegate);
    assert_eq!(client.ask("x"), "x");
    tidegate.terminate();
    tidegate.message("draining");
    let (over, asked) = (AtomicBool::new(false), server.seen().len());
    client.socket.set_read_timeout(Some(Duration::from_millis(100))).expect("a timeout");
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                // Once nobody is there, there is no answer either.
                let _ = client.socket.send(b"still here").and_then(|_| client.socket.recv(&mut [0; 64]));
            }
        });
        assert!(tidegate.wait().success());
        over.store(true, Ordering::Relaxed);
    });
    assert!(server.seen().len() > asked + 5, "it was served while it was drained");
    assert!(tidegate.messages().contains("1 connections were cut"), "{}", tidegate.messages());
    let line = tidegate.log_line("a flow that was cut", |line| line["cut"] == true);
    assert_eq!(line["fault"], "drained");
}
