//! Access records as they come.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;

use serde_json::{Value, json};
use testkit::{Client, PATIENCE, Server, Tidegate, ok, until};

use crate::support::{get, start};

/// One who looks.
struct Viewer(BufReader<TcpStream>);

impl Viewer {
    fn of(tidegate: &Tidegate, query: &str) -> Viewer {
        let address = tidegate.ready()["admin"].as_str().expect("an admin address");
        let mut stream = TcpStream::connect(address).expect("a connection");
        stream.set_read_timeout(Some(PATIENCE)).expect("a socket");
        write!(stream, "GET /api/tail{query} HTTP/1.1\r\nHost: {address}\r\n\r\n").expect("sent");
        let mut viewer = Viewer(BufReader::new(stream));
        let head: Vec<String> = std::iter::from_fn(|| Some(viewer.line()).filter(|line| !line.is_empty())).collect();
        assert_eq!(head[0], "HTTP/1.1 200 OK");
        assert!(head.iter().any(|line| line == "Content-Type: text/event-stream"), "{head:?}");
        assert!(head.iter().any(|line| line == "Cache-Control: no-store"), "{head:?}");
        assert!(
            !head.iter().any(|line| line.starts_with("Content-Length") || line.starts_with("Transfer")),
            "{head:?}"
        );
        viewer
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.0.read_line(&mut line).expect("a line");
        line.trim_end().to_owned()
    }

    /// The next event: its name, if it has one, and its data.
    fn next(&mut self) -> (String, Value) {
        let (mut name, mut data) = (String::new(), Value::Null);
        loop {
            let line = self.line();
            match line.split_once(": ") {
                Some(("event", said)) => said.clone_into(&mut name),
                Some(("data", said)) => data = serde_json::from_str(said).expect("JSON"),
                _ if line.is_empty() && !data.is_null() => return (name, data),
                _ => {}
            }
        }
    }
}

const TWO: &str = "
access_log: off
listeners:
  web: { bind: 127.0.0.1:0, routes: [{ name: no, match: { path: /no }, deny: 403 }, { name: all, to: app }] }
  other: { bind: 127.0.0.1:0, to: app }
pools: { app: [@APP] }
";

fn two() -> (Server, Tidegate) {
    let server = Server::http(|_| ok("x"));
    let tidegate = start(TWO, &[("APP", &server)]);
    (server, tidegate)
}

#[test]
fn records_are_told_as_they_come_to_those_who_want_them() {
    let (_server, tidegate) = two();
    let mut all = Viewer::of(&tidegate, "");
    let mut refused = Viewer::of(&tidegate, "?status=4xx&client=127.0.0.0/8");
    let mut other = Viewer::of(&tidegate, "?listener=other&listener=nobody&host=*.EXAMPLE");
    let mut routed = Viewer::of(&tidegate, "?route=no");
    assert_eq!(tidegate.client().get("/yes").status, 200);
    assert_eq!(tidegate.client().get("/no").status, 403);
    assert_eq!(Client::connect(&tidegate.address("other")).get("/other").status, 200);
    let paths = |viewer: &mut Viewer, count: usize| -> Vec<Value> {
        let mut paths: Vec<Value> = (0..count).map(|_| viewer.next().1["path"].clone()).collect();
        // Two workers tell of what they have done: which comes first is nobody's business.
        paths.sort_by_key(Value::to_string);
        paths
    };
    assert_eq!(paths(&mut all, 3), [json!("/no"), json!("/other"), json!("/yes")]);
    assert_eq!(paths(&mut refused, 1), [json!("/no")]);
    assert_eq!(paths(&mut other, 1), [json!("/other")]);
    assert_eq!(paths(&mut routed, 1), [json!("/no")]);
    tidegate.client().ask(get("/later", "User-Agent: x\r\n"));
    let (name, record) = all.next();
    assert_eq!(
        (name.as_str(), &record["path"], &record["status"], &record["listener"]),
        ("", &json!("/later"), &json!(200), &json!("web"))
    );
}

#[test]
fn a_tunnel_is_told_of_when_it_ends() {
    let server = Server::script(testkit::Peer::hang);
    let tidegate = crate::forward::proxy("");
    let mut viewer = Viewer::of(&tidegate, "?host=a.test");
    let place = format!("a.test:{}", server.port());
    let mut client = tidegate.client();
    client.send(format!("CONNECT {place} HTTP/1.1\r\nHost: {place}\r\n\r\nhello"));
    assert_eq!(client.head().status, 200);
    client.reset();
    let (_, record) = viewer.next();
    assert_eq!((&record["method"], &record["bytes_in"]), (&json!("CONNECT"), &json!(5)));
    assert_eq!(record["port"], server.port());
}

#[test]
fn who_does_not_read_loses_records_and_is_told() {
    let (_server, tidegate) = two();
    let mut viewer = Viewer::of(&tidegate, "");
    let long = "x".repeat(6000);
    let mut client = tidegate.client();
    // More than sockets and the queue hold.
    for number in 0..4000 {
        assert_eq!(client.get(&format!("/{number}?{long}")).status, 200);
    }
    let (mut told, mut lost) = (0, 0);
    while told + lost < 4000 {
        match viewer.next() {
            (name, data) if name == "lost" => lost += data["lost"].as_u64().expect("a number"),
            (_, data) => told += u64::from(data["path"].is_string()),
        }
    }
    assert!(lost > 0 && told > 0, "{told} {lost}");
}

#[test]
fn strangers_many_and_queries_that_mean_nothing_are_refused() {
    let (_server, tidegate) = two();
    let address = tidegate.ready()["admin"].as_str().expect("an admin address").to_owned();
    let ask = |method: &str, target: &str, host: &str, fields: &str| {
        Client::connect(&address).ask(format!("{method} {target} HTTP/1.1\r\nHost: {host}\r\n{fields}\r\n")).status
    };
    assert_eq!(ask("GET", "/api/tail", "evil.example", ""), 403);
    assert_eq!(ask("GET", "/api/tail", &address, "Origin: http://evil.example\r\n"), 403);
    assert_eq!(ask("PUT", "/api/tail", &address, "Content-Length: 0\r\n"), 405);
    assert_eq!(ask("GET", "/api/tail?status=teapot", &address, ""), 400);
    assert_eq!(ask("GET", "/api/tail?hots=a", &address, ""), 400);
    let viewers: Vec<Viewer> = (0..8).map(|_| Viewer::of(&tidegate, "")).collect();
    assert_eq!(ask("GET", "/api/tail", &address, ""), 503);
    // Whoever leaves makes room.
    drop(viewers);
    until("there is room", || {
        let mut client = Client::connect(&address);
        client.send(format!("GET /api/tail?status=none HTTP/1.1\r\nHost: {address}\r\n\r\n"));
        client.head().status == 200
    });
}
