//! Tunnels that are read and led on by other proxies.

use std::io::Write as _;
use std::net::TcpStream;
use std::thread;

use testkit::{Server, Tidegate};

use super::super::{OPEN, port};
use super::{Office, READING, page, saying, stranger, tunnel};
use crate::support::{Place, start};

/// The same as ever, by way of the pool `up`.
fn by(office: &Office, parent: &str, more: &str) -> Tidegate {
    let text = READING.replace("@MORE", "").replace("to: origin", "to: up");
    office.desk.start(&format!("{text}pools: {{ up: {{ servers: ['{parent}'], {more} }} }}\n"), &[])
}

/// Pages come by it, and nothing that was said under TLS is said to it.
fn leads(office: &Office, tidegate: &Tidegate) -> Server {
    let (server, _) = office.server(&["a.test"]);
    for target in ["/one", "/two"] {
        let mut client = office.inside(tidegate, "a.test", &server);
        assert_eq!(client.ask(page("a.test", target)).text(), format!("{target} "));
        assert_eq!(client.ask(page("a.test", "/private/x")).status, 403);
    }
    assert_eq!(server.connections(), 1, "led on once, and used again");
    assert_eq!(server.request().target, "/one", "as for the server itself");
    assert_eq!(tidegate.log_of("/two")["pool"], "up");
    let bad = saying(&stranger().issue(&["b.test"]));
    let answer = office.inside(tidegate, "b.test", &bad).ask(page("b.test", "/"));
    assert_eq!(
        (answer.status, answer.text().as_str()),
        (502, "502: server_tls: the server's certificate is signed by no authority that we believe\n")
    );
    server
}

#[test]
fn a_parent_by_http_is_asked_for_tunnels_alone() {
    let office = Office::new();
    let parent = start(&OPEN.replace("@MORE", "to: origin"), &[]);
    let tidegate = by(&office, &parent.address("web"), "protocol: http_proxy");
    leads(&office, &tidegate);
    // In plain it is asked for pages, on connections of its own.
    let plain = Server::named("plain");
    for _ in 0..2 {
        let target = format!("http://a.test:{}/plain", port(&plain));
        assert_eq!(tidegate.client().ask(super::super::asked(&target)).text(), "plain");
    }
    let methods =
        |lines: Vec<serde_json::Value>| lines.into_iter().filter(|line| line["path"] != "/plain").collect::<Vec<_>>();
    parent.log_line("a tunnel", |line| line["path"] == "/plain");
    assert!(methods(parent.log()).iter().all(|line| line["method"] == "CONNECT"));
}

#[test]
fn a_parent_by_http_under_tls_has_tls_inside_of_tls() {
    let office = Office::new();
    let text = OPEN.replace("@MORE", "tls: main\n    to: origin");
    let text = format!("certificates: {{ main: {{ cert: '@DIR/main.pem', key: '@DIR/main.key' }} }}\n{text}");
    let parent = office.desk.start(&text, &[]);
    let more = "protocol: http_proxy, tls: { ca: '@DIR/ca.pem', server_name: example.com }";
    let tidegate = by(&office, &parent.address("web"), more);
    leads(&office, &tidegate);
}

#[test]
fn a_parent_by_socks_leads_on_as_well() {
    let office = Office::new();
    let parent = Server::script(|peer| {
        assert_eq!(peer.reader.exactly(3).expect("a greeting"), [5, 1, 0]);
        peer.send([5, 0]);
        let head = peer.reader.exactly(5).expect("a request");
        assert_eq!(head[..4], [5, 1, 0, 3], "a name");
        let rest = peer.reader.exactly(usize::from(head[4]) + 2).expect("its end");
        let (_, port) = rest.split_at(rest.len() - 2);
        let port = u16::from_be_bytes([port[0], port[1]]);
        let mut server = TcpStream::connect(("127.0.0.1", port)).expect("a server");
        peer.send([5, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
        let mut back = server.try_clone().expect("a handle");
        let mut out = peer.reader.socket.try_clone().expect("a handle");
        let answers = thread::spawn(move || {
            let _ = std::io::copy(&mut back, &mut out);
            out.end();
        });
        while let Ok(1..) = peer.reader.fill() {
            let heard = peer.reader.surplus().to_vec();
            peer.reader.exactly(heard.len()).expect("what is here");
            if server.write_all(&heard).is_err() {
                break;
            }
        }
        let _ = server.shutdown(std::net::Shutdown::Both);
        answers.join().expect("a thread");
    });
    let tidegate = by(&office, parent.place(), "protocol: socks5");
    leads(&office, &tidegate);
}

#[test]
fn where_a_parent_is_not_there_the_next_way_is_taken() {
    let office = Office::new();
    let dead = testkit::Refusing::new();
    let text = READING.replace("@MORE", "").replace("to: origin", "to: [up, origin]");
    let text = format!("{text}pools: {{ up: {{ servers: ['{}'], protocol: http_proxy }} }}\n", dead.place());
    let tidegate = office.desk.start(&text, &[]);
    let (server, _) = office.server(&["a.test"]);
    assert_eq!(office.inside(&tidegate, "a.test", &server).ask(page("a.test", "/next")).text(), "/next ");
    assert_eq!(tidegate.log_of("/next")["pool"], "origin");
}

#[test]
fn a_pool_in_the_place_of_a_server_gets_what_was_said() {
    let office = Office::new();
    let app = Server::named("app");
    let text = READING.replace("@MORE", "").replace("to: origin", "to: app");
    let text = format!("{text}pools: {{ app: ['{}'] }}\n", app.place());
    let tidegate = office.desk.start(&text, &[]);
    // No server is asked by TLS who has none: the host that is asked for is ours.
    let mut client =
        tunnel(&tidegate, "a.test", &app).begin(&office.client("a.test")).expect("a client that trusts us");
    assert_eq!(client.ask(page("a.test", "/x")).text(), "app");
    assert_eq!(client.ask(page("a.test", "/private/x")).status, 403);
}

#[test]
fn a_connection_of_requests_in_plain_is_handed_to_nobody_who_has_said_things_under_tls() {
    let office = Office::new();
    let parent = start(&OPEN.replace("@MORE", "to: origin"), &[]);
    let text = READING.replace("@MORE", "").replace("to: origin", "to: up");
    let pool = format!("{{ p: {{ address: '{}', max_connections: 1 }} }}", parent.address("web"));
    let tidegate =
        office.desk.start(&format!("{text}pools: {{ up: {{ servers: {pool}, protocol: http_proxy }} }}\n"), &[]);
    let (secured, _) = office.server(&["a.test"]);
    // Its handshake is known afterwards, so that a tunnel needs no connection to be opened.
    let mut inside = office.inside(&tidegate, "a.test", &secured);
    assert_eq!(inside.ask(page("a.test", "/known")).text(), "/known ");
    drop(inside);
    let held = testkit::Signal::new();
    let plain = Server::script({
        let held = held.clone();
        move |peer| {
            while peer.request().is_some() {
                held.wait();
                peer.send(testkit::ok("plain"));
            }
        }
    });
    let mut first = tidegate.client();
    first.send(super::super::asked(&format!("http://b.test:{}/", port(&plain))));
    plain.until_connections(1);
    let mut inside = office.inside(&tidegate, "a.test", &secured);
    inside.send(page("a.test", "/secret"));
    testkit::until("it waits", || {
        tidegate.metric("tidegate_pool_waiting", &["pool=\"up\""]).iter().sum::<f64>() == 1.0
    });
    held.raise();
    assert_eq!(first.response().text(), "plain");
    assert_eq!(inside.response().text(), "/secret ");
    assert!(parent.log().iter().all(|line| line["path"] != "/secret"), "it was said under TLS");
}
