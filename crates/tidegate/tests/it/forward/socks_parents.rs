//! Proxies that are asked by SOCKS 5 for connections to other servers.

use std::sync::{Arc, Mutex};

use testkit::{Folder, Peer, Server, Tidegate, ok};

use super::{ask, asked};
use crate::support::start;

const CHAINED: &str = "
workers: 1
dns: { servers: ['127.0.0.1:9'], hosts: { known.test: 127.0.0.1 } }
listeners:
  web:
    bind: 127.0.0.1:0
    role: forward
    egress: { allow: [127.0.0.0/8], connect_ports: 1024-65535 }
    to: chain
pools: { chain: { servers: ['@PARENT'], protocol: socks5@MORE } }
";

fn chained(parent: &Server, more: &str) -> Tidegate {
    start(&CHAINED.replace("@MORE", more), &[("PARENT", parent)])
}

fn connect(to: &str) -> String {
    format!("CONNECT {to} HTTP/1.1\r\nHost: {to}\r\n\r\n")
}

/// What proxies were asked for, in order.
type Asked = Arc<Mutex<Vec<String>>>;

/// Takes what a client says first, by these rules on who it is, up to whom it asks for.
fn greeted(peer: &mut Peer, wanted: Option<(&str, &str)>) -> Option<String> {
    let head = peer.reader.exactly(2).ok()?;
    assert_eq!(head[0], 5, "the version");
    let ways = peer.reader.exactly(usize::from(head[1])).ok()?;
    match wanted {
        None => peer.send([5, 0]),
        Some(_) if !ways.contains(&2) => {
            peer.send([5, 0xFF]);
            return None;
        }
        Some((name, password)) => {
            peer.send([5, 2]);
            let mut said = Vec::new();
            assert_eq!(peer.reader.exactly(1).ok()?, [1]);
            for _ in 0..2 {
                let length = peer.reader.exactly(1).ok()?[0];
                said.push(String::from_utf8(peer.reader.exactly(usize::from(length)).ok()?).expect("text"));
            }
            let is_known = said == [name, password];
            peer.send([1, u8::from(!is_known)]);
            if !is_known {
                return None;
            }
        }
    }
    let head = peer.reader.exactly(4).ok()?;
    assert_eq!(head[..3], [5, 1, 0], "CONNECT");
    let host = match head[3] {
        1 => peer.reader.exactly(4).ok()?.iter().map(u8::to_string).collect::<Vec<_>>().join("."),
        3 => {
            let length = peer.reader.exactly(1).ok()?[0];
            String::from_utf8(peer.reader.exactly(usize::from(length)).ok()?).expect("text")
        }
        kind => format!("{kind}:{:?}", peer.reader.exactly(16).ok()?),
    };
    let port = peer.reader.exactly(2).ok()?;
    Some(format!("{host}:{}", u16::from_be_bytes([port[0], port[1]])))
}

/// A reply, with an address that means nothing.
fn reply(code: u8) -> [u8; 10] {
    [5, code, 0, 1, 0, 0, 0, 0, 0, 0]
}

/// A proxy that stands for whatever server it is asked for: it answers with whom that was, and with what it was asked.
fn parent(wanted: Option<(&'static str, &'static str)>) -> (Server, Asked) {
    let seen = Asked::default();
    let notes = Arc::clone(&seen);
    let server = Server::script(move |peer| {
        let Some(place) = greeted(peer, wanted) else { return };
        notes.lock().expect("a list").push(place.clone());
        peer.send(reply(0));
        while let Some(request) = peer.request() {
            peer.send(ok(format!("{place} {}", request.target)));
        }
    });
    (server, seen)
}

#[test]
fn each_connection_is_for_one_server_and_used_again_for_it_alone() {
    let (parent, seen) = parent(None);
    let tidegate = chained(&parent, "");
    let mut client = tidegate.client();
    for (target, told) in [
        ("http://A.test/x", "a.test:80 /x"),
        ("http://b.test:8080/y", "b.test:8080 /y"),
        ("http://a.test:80/z", "a.test:80 /z"),
        ("http://127.0.0.1:8080/", "127.0.0.1:8080 /"),
        ("http://b.test:8080/", "b.test:8080 /"),
        ("http://a.test:8080/", "a.test:8080 /"),
    ] {
        assert_eq!(client.ask(asked(target)).text(), told);
    }
    assert_eq!(*seen.lock().expect("a list"), ["a.test:80", "b.test:8080", "127.0.0.1:8080", "a.test:8080"]);
    let request = parent.requests().remove(0);
    assert_eq!((request.target.as_str(), request.fields.values("host")), ("/x", vec!["A.test"]), "in origin-form");
}

#[test]
fn connections_that_others_wait_for_are_not_handed_to_them_for_another_server() {
    let (parent, seen) = parent(None);
    let text =
        CHAINED.replace("workers: 1", "workers: 2").replace("'@PARENT'", "{ address: '@PARENT', max_connections: 1 }");
    let tidegate = start(&text.replace("@MORE", ""), &[("PARENT", &parent)]);
    std::thread::scope(|scope| {
        for thread in 0..6 {
            let tidegate = &tidegate;
            scope.spawn(move || {
                let mut client = tidegate.client();
                for number in 0..20 {
                    let host = format!("h{}.test", (thread + number) % 3);
                    assert_eq!(
                        client.ask(asked(&format!("http://{host}/{number}"))).text(),
                        format!("{host}:80 /{number}")
                    );
                }
            });
        }
    });
    assert_eq!(parent.most_open(), 1);
    assert!(seen.lock().expect("a list").len() >= 3);
}

#[test]
fn a_tunnel_goes_through_it() {
    let seen = Asked::default();
    let notes = Arc::clone(&seen);
    let parent = Server::script(move |peer| {
        let place = greeted(peer, None).expect("a request");
        notes.lock().expect("a list").push(place);
        let mut words = reply(0).to_vec();
        words.extend_from_slice(b"220 hello");
        peer.send(words);
        let heard = peer.reader.exactly(5).expect("a word");
        peer.send(heard);
    });
    let tidegate = chained(&parent, "");
    let mut client = tidegate.client();
    client.send(connect("Mail.test:2525"));
    assert_eq!(client.head().status, 200);
    assert_eq!(client.exactly(9), b"220 hello");
    client.send("hello");
    assert_eq!(client.exactly(5), b"hello");
    assert_eq!(*seen.lock().expect("a list"), ["mail.test:2525"], "it was not resolved here");
}

#[test]
fn it_is_told_who_we_are_where_it_wants_to_know() {
    let folder = Folder::new();
    let secret = folder.write("secret", "opensesame");
    let known = format!(", username: me, password: '${{file.{}}}'", secret.display());
    let (strict, _) = parent(Some(("me", "opensesame")));
    assert_eq!(ask(&chained(&strict, &known), "http://a.test/").text(), "a.test:80 /");
    let (easy, _) = parent(None);
    assert_eq!(ask(&chained(&easy, &known), "http://a.test/").text(), "a.test:80 /");
    let (other, _) = parent(Some(("me", "other")));
    for (server, more, reason) in
        [(&strict, "", "the parent wants credentials"), (&other, known.as_str(), "the parent wants other credentials")]
    {
        let tidegate = chained(server, more);
        let told = ask(&tidegate, "http://a.test/");
        assert_eq!(told.status, 502);
        assert!(told.text().contains(reason), "{}", told.text());
        tidegate.message("look at `username` and `password`");
        assert!(!tidegate.messages().contains("opensesame"));
    }
}

#[test]
fn what_it_refuses_is_said() {
    for (code, reason) in
        [(2, "not allowed"), (4, "host unreachable"), (5, "connection refused"), (99, "another reply")]
    {
        let parent = Server::script(move |peer| {
            greeted(peer, None);
            peer.send(reply(code));
        });
        let tidegate = chained(&parent, "");
        let told = ask(&tidegate, "http://a.test/");
        assert_eq!(told.status, 502, "{reason}");
        assert!(told.text().contains("parent_refused") && told.text().contains(reason), "{}", told.text());
        assert_eq!(tidegate.client().ask(connect("a.test:4433")).status, 502);
        assert_eq!(parent.connections(), 2, "it is not asked again");
    }
    let other = Server::script(|peer| {
        peer.reader.exactly(3).expect("a greeting");
        peer.send("HTTP/1.1 400 Bad Request\r\n\r\n");
    });
    let told = ask(&chained(&other, ""), "http://a.test/");
    assert_eq!(told.status, 502);
    assert!(told.text().contains("bad_response: the parent does not answer like a proxy"), "{}", told.text());
}

#[test]
fn a_name_that_is_too_long_is_not_asked_for() {
    let (parent, _) = parent(None);
    let tidegate = chained(&parent, "");
    let long = vec!["a"; 140].join(".");
    assert_eq!(ask(&tidegate, &format!("http://{long}/")).status, 400);
    assert_eq!(ask(&tidegate, "http://a.test/").status, 200);
}
