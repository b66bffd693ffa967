//! Datagrams of UDP inside of HTTP (RFC 9298), over every version.

mod quic;

use testkit::datagram::Answering;
use testkit::{Talk, Tidegate, Unheard, h2};

use super::{OPEN, port, proxy};
use crate::support::{Place, start};

/// A datagram in its capsule, not longer than the shortest form of lengths has it.
fn capsule(datagram: &[u8]) -> Vec<u8> {
    [&[0, 1 + datagram.len() as u8, 0][..], datagram].concat()
}

fn path(host: &str, server: &dyn Place) -> String {
    format!("/.well-known/masque/udp/{host}/{}/", port(server))
}

/// What a client of HTTP/1.1 asks with.
fn asks(path: &str) -> String {
    format!(
        "GET {path} HTTP/1.1\r\nHost: proxy.test\r\nConnection: Upgrade\r\nUpgrade: connect-udp\r\nCapsule-Protocol: ?1\r\n\r\n"
    )
}

fn head_of(talk: &mut Talk) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let byte = talk.exactly(1);
        assert!(!byte.is_empty(), "an end in {:?}", String::from_utf8_lossy(&head));
        head.extend(byte);
    }
    String::from_utf8(head).expect("text")
}

fn status(tidegate: &Tidegate, path: &str) -> u16 {
    tidegate.client().ask(asks(path)).status
}

#[test]
fn a_client_of_http1_switches_to_capsules() {
    let server = Answering::named("udp");
    let tidegate = proxy("");
    let mut client = Talk::with(&tidegate.address("web"));
    // The first one comes without waiting, as clients may.
    client.say([asks(&path("a.test", &server)).into_bytes(), capsule(b"one")].concat());
    let head = head_of(&mut client).to_ascii_lowercase();
    assert!(head.starts_with("http/1.1 101 "), "{head}");
    for field in ["connection: upgrade\r\n", "upgrade: connect-udp\r\n", "capsule-protocol: ?1\r\n"] {
        assert!(head.contains(field), "{head}");
    }
    assert_eq!(client.exactly(capsule(b"udp one").len()), capsule(b"udp one"));
    // A capsule that nobody knows, one in two pieces, and two at once.
    client.say([&[0x2a, 2, 1, 2][..], &capsule(b"two")[..3]].concat());
    client.say(&capsule(b"two")[3..]);
    assert_eq!(client.exactly(capsule(b"udp two").len()), capsule(b"udp two"));
    client.say([capsule(b"3"), capsule(b"")].concat());
    let both = [capsule(b"udp 3"), capsule(b"udp ")].concat();
    assert_eq!(client.exactly(both.len()), both);
    client.finish();
    assert!(client.rest().is_empty());
    let line = tidegate.log_line("a flow", |line| line["status"] == 101);
    assert_eq!((&line["host"], &line["pool"], line.get("fault")), (&"a.test".into(), &"origin".into(), None));
    assert_eq!((&line["datagrams_in"], &line["datagrams_out"]), (&4.into(), &4.into()));
    assert_eq!((&line["bytes_in"], &line["bytes_out"]), (&7.into(), &23.into()));
}

#[test]
fn a_client_of_http2_asks_by_extended_connect() {
    let server = Answering::named("udp");
    let tidegate = proxy("http: [h1, h2]\n    to: origin");
    let mut client = h2::Client::connect(tidegate.address("web").parse().expect("an address"));
    let path: &'static str = Box::leak(path("127.0.0.1", &server).into_boxed_str());
    let mut exchange = client.extended_connect("connect-udp", "proxy.test", path).expect("a stream");
    client.send(&mut exchange, &capsule(b"one"), false).expect("room");
    let (mut answer, body) = client.switch(exchange).expect("a head");
    assert_eq!((answer.head.status.as_u16(), answer.head.headers["capsule-protocol"].as_bytes()), (200, &b"?1"[..]));
    assert_eq!(client.content(&mut answer).expect("content").as_deref(), Some(&capsule(b"udp one")[..]));
    client.finish_with(body, &capsule(b"two"));
    while client.content(&mut answer).expect("an end, not a reset").is_some() {}
    // What is nobody's protocol asks us, and leads nowhere.
    let other = client.extended_connect("connect-ip", "127.0.0.1:443", "/").expect("a stream");
    assert_eq!(client.answer(other).expect("a head").head.status, 501);
    server.until_seen(2);
}

#[test]
fn it_leads_where_tunnels_lead_and_no_farther() {
    let server = Answering::named("udp");
    let own = Answering::named("own");
    let routes = "routes: [{ match: { host: b.test, kind: tunnel }, deny: 418 }, { match: { not: { path: /x } }, deny: 500 }, { to: origin }]";
    let tidegate = proxy(routes);
    assert_eq!(status(&tidegate, &path("b.test", &server)), 418);
    assert_eq!(status(&tidegate, &path("a.test", &server)), 101, "of a tunnel no path is known");
    assert_eq!(status(&tidegate, &path("far.test", &server)), 403);
    assert_eq!(status(&tidegate, "/.well-known/masque/udp/a.test/53/"), 403, "a port that is not allowed");
    assert_eq!(status(&tidegate, "/.well-known/masque/udp/a.test/53"), 400);
    assert_eq!(status(&tidegate, "/.well-known/masque/udp/nobody.test/5353/"), 502);
    // Where this process receives by UDP is one of its own addresses, too.
    let text =
        OPEN.replace("@MORE", "to: origin\n  dns: { bind: 127.0.0.1:0, role: udp, to: app }\npools: { app: [@APP] }");
    let tidegate = start(&text, &[("APP", &own)]);
    let address = tidegate.address("dns");
    let port = address.rsplit(':').next().expect("a port");
    assert_eq!(status(&tidegate, &format!("/.well-known/masque/udp/127.0.0.1/{port}/")), 403);
    // Nor does it go by another proxy, or to a pool.
    let pool = "to: POOL\npools: { parent: { protocol: http_proxy, servers: [@APP] }, app: [@APP] }";
    for to in ["parent", "app"] {
        let text = OPEN.replace("@MORE", &pool.replace("POOL", to));
        let tidegate = start(&text, &[("APP", &testkit::Server::named("web"))]);
        assert_eq!(status(&tidegate, &path("127.0.0.1", &server)), 403, "{to}");
    }
    // A reverse proxy does not know it.
    let text = "listeners: { web: { bind: 127.0.0.1:0, to: app } }\npools: { app: [@APP] }\n";
    let web = testkit::Server::named("web");
    let reverse = start(text, &[("APP", &web)]);
    assert_eq!(reverse.client().ask(asks(&path("127.0.0.1", &server))).text(), "web");
    assert!(!web.request().fields.has("upgrade"));
}

#[test]
fn a_server_that_refuses_and_a_client_that_lies_end_it() {
    let unheard = Unheard::new();
    let tidegate = proxy("");
    let mut client = Talk::with(&tidegate.address("web"));
    client.say([asks(&path("127.0.0.1", &unheard)).into_bytes(), capsule(b"x")].concat());
    head_of(&mut client);
    // The kernel is told of the first one, and tells it with the next.
    client.say(capsule(b"y").repeat(20));
    client.rest();
    let line = tidegate.log_line("a refusal", |line| line["fault"] == "connect");
    assert_eq!(line["side"], "server");
    let server = Answering::named("udp");
    let mut client = Talk::with(&tidegate.address("web"));
    // Longer than any datagram: it is not waited for.
    client.say([asks(&path("127.0.0.1", &server)).into_bytes(), vec![0, 0x80, 2, 0, 0]].concat());
    head_of(&mut client);
    client.rest();
    tidegate.log_line("a capsule without an end", |line| line["fault"] == "malformed");
    // Silence on both sides ends it, as a tunnel.
    let tidegate = proxy("timeouts: { tunnel: 200ms }\n    to: origin");
    let mut client = Talk::with(&tidegate.address("web"));
    client.say(asks(&path("127.0.0.1", &server)));
    head_of(&mut client);
    client.rest();
    tidegate.log_line("silence", |line| line["fault"] == "tunnel_timeout");
}

#[test]
fn datagrams_of_every_size_pass_and_what_is_too_large_for_the_way_is_lost_alone() {
    let server = Answering::start(|bytes| vec![(bytes.len() as u32).to_be_bytes().to_vec()]);
    let tidegate = proxy("");
    let mut client = Talk::with(&tidegate.address("web"));
    client.say(asks(&path("127.0.0.1", &server)));
    head_of(&mut client);
    for length in [1_usize, 63, 1200, 9000, 65_507, 65_527, 2] {
        let mut bytes = vec![0, 0x80];
        bytes.extend_from_slice(&(length as u32 + 1).to_be_bytes()[1..]);
        bytes.push(0);
        bytes.extend(vec![7; length]);
        client.say(bytes);
        // IPv4 has no room for the largest that RFC 9298 knows.
        if length <= 65_507 {
            assert_eq!(client.exactly(7), capsule(&(length as u32).to_be_bytes()), "{length}");
        }
    }
}

/// More than is read in a turn comes before anybody else has anything to say.
#[test]
fn a_client_that_says_much_at_once_is_heard_to_the_end() {
    let server = Answering::named("udp");
    let tidegate = proxy("");
    let mut client = Talk::with(&tidegate.address("web"));
    client.say(asks(&path("a.test", &server)));
    head_of(&mut client);
    // A capsule that nobody knows, of 16 MiB.
    let filler = [&[0x2a, 0x81, 0, 0, 0][..], &vec![7; 16 << 20]].concat();
    client.say([filler, capsule(b"last")].concat());
    assert_eq!(client.exactly(capsule(b"udp last").len()), capsule(b"udp last"));
}

#[test]
fn they_come_from_the_address_that_the_listener_says() {
    let server = Answering::named("udp");
    let tidegate =
        start(&OPEN.replace("connect_ports", "source: 127.0.0.6, connect_ports").replace("@MORE", "to: origin"), &[]);
    let mut client = Talk::with(&tidegate.address("web"));
    client.say([asks(&path("a.test", &server)).into_bytes(), capsule(b"x")].concat());
    head_of(&mut client);
    assert_eq!(server.until_seen(1)[0].from.ip(), std::net::Ipv4Addr::new(127, 0, 0, 6));
}

#[test]
fn a_quota_ends_a_flow() {
    let server = Answering::named("udp");
    let tidegate = proxy("use: [{ quota: { bytes: 20B, per: 30d } }]\n    to: origin");
    let mut client = Talk::with(&tidegate.address("web"));
    client.say([asks(&path("a.test", &server)).into_bytes(), capsule(b"twelve bytes")].concat());
    assert!(head_of(&mut client).starts_with("HTTP/1.1 101 "));
    let line = tidegate.log_line("a flow", |line| !line["datagrams_in"].is_null());
    assert_eq!((&line["fault"], &line["cut"], &line["bytes_in"]), (&"quota".into(), &true.into(), &12.into()));
    assert_eq!(status(&tidegate, &path("a.test", &server)), 429);
}
