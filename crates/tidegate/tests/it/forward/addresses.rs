//! Servers with several addresses, and this host's own.

use std::sync::{Arc, Mutex};

use testkit::socket::Socket;
use testkit::{Hanging, Refusing, Server, Tidegate, failure_of, ok};

use super::{OPEN, ask, asked, port};
use crate::support::{BINARY, config, start};

fn connect(to: &str) -> String {
    format!("CONNECT {to} HTTP/1.1\r\nHost: {to}\r\n\r\n")
}

/// A proxy to which `two.test` is these addresses.
fn proxy(addresses: &str, more: &str) -> Tidegate {
    let text = OPEN.replace("two.test: [127.0.0.2, 127.0.0.1]", &format!("two.test: [{addresses}]"));
    let text = text.replace("allow: [127.0.0.0/8]", "allow: [127.0.0.0/8, '::1']");
    start(&format!("workers: 1\n{}", text.replace("@MORE", &format!("{more}\n    to: origin"))), &[])
}

/// A server at another address with the port of somebody else; none where that address cannot be had.
fn beside(host: &str, other: &str, name: &'static str) -> Server {
    let port = other.rsplit(':').next().expect("a port");
    Server::at(&format!("{host}:{port}"), move |peer| {
        while peer.request().is_some() {
            peer.send(ok(name));
        }
    })
}

#[test]
fn an_address_that_hangs_holds_nobody_up_and_nothing_is_sent_twice() {
    let hanging = Hanging::new();
    let server = beside("127.0.0.2", hanging.address(), "second");
    let tidegate = proxy("127.0.0.1, 127.0.0.2, 127.0.0.3", "");
    let target = format!("http://two.test:{}/race", port(&hanging));
    let post = format!("POST {target} HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello");
    assert_eq!(tidegate.client().ask(post).text(), "second");
    let line = tidegate.log_of("/race");
    assert_eq!((&line["tries"], &line["address"]), (&2.into(), &server.address().into()));
    let connect_us = line["connect_us"].as_u64().expect("a time");
    assert!((250_000..4_000_000).contains(&connect_us), "it has a quarter of a second: {connect_us}");
    assert_eq!((server.connections(), server.requests().len()), (1, 1));
    // The connection is used again, although another address comes first.
    assert_eq!(ask(&tidegate, &target).text(), "second");
    assert_eq!(server.connections(), 1);
    // Who has won is asked first the next time.
    let tries: Vec<u64> = (1..=2)
        .map(|count| {
            let mut client = tidegate.client();
            client.send(connect(&format!("two.test:{}", port(&hanging))));
            assert_eq!(client.head().status, 200);
            client.finish();
            let lines = || tidegate.log().into_iter().filter(|line| line["method"] == "CONNECT").collect::<Vec<_>>();
            testkit::until("a tunnel ends", || lines().len() == count);
            lines()[count - 1]["tries"].as_u64().expect("a number")
        })
        .collect();
    assert_eq!(tries, [2, 1]);
}

#[test]
fn addresses_of_both_families_take_turns_and_those_of_ipv6_begin() {
    let four = Server::named("four");
    let Some(_) = std::net::TcpListener::bind(format!("[::1]:{}", port(&four))).ok() else {
        return testkit::skip("there is no IPv6, or its port is taken");
    };
    let target = format!("http://two.test:{}/", port(&four));
    let both = proxy("127.0.0.1, 127.0.0.2, '::1'", "");
    // Nobody is at the address of IPv6, and the next is of the other family.
    assert_eq!(ask(&both, &target).text(), "four");
    assert_eq!(both.log_of("/")["tries"], 2);
    let six = beside("[::1]", four.address(), "six");
    assert_eq!(ask(&proxy("127.0.0.1, 127.0.0.2, '::1'", ""), &target).text(), "six");
    drop(six);
}

#[test]
fn all_of_them_together_are_one_fault() {
    let (hanging, dead) = (Hanging::new(), Refusing::new());
    let more = "timeouts: { connect: 400ms }\n    retries: { extra: 3 }";
    let tidegate = proxy("127.0.0.1, 127.0.0.2, 127.0.0.3", more);
    assert_eq!(ask(&tidegate, &format!("http://two.test:{}/late", port(&hanging))).status, 504);
    let line = tidegate.log_of("/late");
    assert_eq!((&line["tries"], &line["fault"]), (&3.into(), &"connect_timeout".into()), "in the time of one");
    assert_eq!(ask(&tidegate, &format!("http://two.test:{}/dead", port(&dead))).status, 502);
    let line = tidegate.log_of("/dead");
    assert_eq!((&line["tries"], &line["fault"]), (&3.into(), &"connect".into()));
}

/// A server that notes from which addresses it was connected to.
fn noting() -> (Server, Arc<Mutex<Vec<String>>>) {
    let seen = Arc::<Mutex<Vec<String>>>::default();
    let notes = Arc::clone(&seen);
    let server = Server::script(move |peer| {
        let Socket::Tcp(stream) = &peer.reader.socket else { panic!("a stream") };
        notes.lock().expect("a list").push(stream.peer_addr().expect("a peer").ip().to_string());
        while peer.request().is_some() {
            peer.send(ok("page"));
        }
    });
    (server, seen)
}

#[test]
pub(crate) fn connections_have_the_address_that_the_nearest_level_says() {
    let (server, seen) = noting();
    let more = "routes:
      - { match: { host: a.test }, source: [127.0.0.6, '::1'], to: origin }
      - { match: { host: b.test }, source: '::1', to: origin }
      - { match: { host: 127.0.0.1 }, source: 127.0.0.7, routes: [{ match: { path: /own }, source: 127.0.0.8, to: origin }, { to: origin }] }
      - to: origin";
    let text = OPEN.replace("connect_ports:", "source: 127.0.0.5, connect_ports:").replace("@MORE", more);
    let tidegate = start(&text, &[]);
    for target in ["known", "a.test", "127.0.0.1", "127.0.0.1/own", "two.test"] {
        let (host, path) = target.split_once('/').unwrap_or((target, ""));
        let host = host.replace("known", "127.0.0.2");
        let url = format!("http://{host}:{}/{path}", port(&server));
        // Nobody is at 127.0.0.2.
        let status = if host == "127.0.0.2" { 502 } else { 200 };
        assert_eq!(ask(&tidegate, &url).status, status, "{url}");
    }
    assert_eq!(*seen.lock().expect("a list"), ["127.0.0.6", "127.0.0.7", "127.0.0.8", "127.0.0.5"]);
    let told = ask(&tidegate, &format!("http://b.test:{}/", port(&server)));
    assert_eq!(told.status, 403, "it has no address of the family that is said");
    let mut client = tidegate.client();
    client.send(connect(&format!("a.test:{}", port(&server))));
    assert_eq!(client.head().status, 200);
    client.send(asked("/"));
    assert_eq!(client.response().status, 200);
    assert_eq!(seen.lock().expect("a list").last().expect("one more"), "127.0.0.6", "tunnels, too");
}

#[test]
fn an_address_that_is_not_ours_is_refused_at_the_start() {
    let (server, _) = noting();
    for said in
        ["egress: { source: 192.0.2.77 }, to: origin", "routes: [{ routes: [{ source: '2001:db8::77', to: origin }] }]"]
    {
        let text = format!("listeners: {{ web: {{ bind: 127.0.0.1:0, role: forward, {said} }} }}\n");
        let (code, told) = failure_of(BINARY, &config(&text, &[]));
        assert_eq!(code, Some(2), "{told}");
        assert!(told.contains("use an address of this host"), "{told}");
    }
    let tidegate = proxy("127.0.0.1", "");
    let bad = OPEN.replace("@MORE", "routes: [{ source: 192.0.2.77, to: origin }]");
    assert!(matches!(tidegate.reload(&config(&bad, &[])), testkit::Reloaded::No(_)));
    assert_eq!(
        ask(&tidegate, &format!("http://two.test:{}/", port(&server))).status,
        200,
        "what was in force still is"
    );
}
