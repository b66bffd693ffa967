//! What servers learn of clients, field by field: the table of the manual is what is tested.

use std::io::Read as _;
use std::process::Stdio;
use std::sync::mpsc;
use std::sync::{Arc, Mutex};

use testkit::{Peer, Response, Server, Tidegate, tool};

use super::{OPEN, port, proxy};
use crate::support::start;

const MANUAL: &str = include_str!("../../../../../docs/forward.md");
const WORDS: [&str; 3] = ["open", "anonymous", "elite"];

/// A row of the table: the names of fields, what stands behind them, and what becomes of them by each word.
struct Row {
    names: Vec<String>,
    about: String,
    becomes: Vec<String>,
}

fn rows() -> Vec<Row> {
    let table =
        MANUAL.split("| field | `open` | `anonymous` | `elite` |\n|---|---|---|---|\n").nth(1).expect("the table");
    let lines = table.lines().take_while(|line| line.starts_with('|'));
    lines
        .map(|line| {
            let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
            let [about, becomes @ ..] = &cells[..] else { panic!("no row: {line}") };
            let names = about.split(" (").next().expect("a name").split('`').skip(1).step_by(2);
            Row {
                names: names.map(|name| name.replace('*', "Test")).collect(),
                about: (*about).to_owned(),
                becomes: becomes.iter().map(|cell| (*cell).to_owned()).collect(),
            }
        })
        .collect()
}

/// What a client says in a field that is asked about.
fn said(name: &str) -> &'static str {
    match name {
        "Via" => "1.1 home",
        "Connection" => "keep-alive",
        "Max-Forwards" => "7",
        "TE" => "trailers",
        "Sec-Fetch-Site" => "none",
        _ => "it-was-me",
    }
}

#[test]
fn each_word_does_what_the_manual_says_of_each_field() {
    let rows = rows();
    assert!(rows.len() > 12 && rows.iter().all(|row| row.becomes.len() == WORDS.len()), "the table of the manual");
    let server = Server::http(|_| b"HTTP/1.1 200 OK\r\nVia: 1.1 home\r\nContent-Length: 0\r\n\r\n".to_vec());
    for (column, word) in WORDS.iter().enumerate() {
        let tidegate = proxy(&format!("forwarding: {word}\n    to: origin"));
        for row in &rows {
            for name in &row.names {
                let becomes = row.becomes[column].as_str();
                let place = format!("{name} by {word}: {becomes}");
                let value = said(name);
                let method = if row.about.contains("OPTIONS") { "OPTIONS" } else { "GET" };
                let request = format!(
                    "{method} http://a.test:{}/p HTTP/1.1\r\nHost: a\r\n{name}: {value}\r\n\r\n",
                    port(&server)
                );
                let answer = tidegate.client().ask(request);
                assert_eq!(answer.status, 200, "{place}");
                let seen = server.request();
                let values = match row.about.contains("of responses") {
                    true => answer.fields.values(name),
                    false => seen.fields.values(name),
                };
                match becomes {
                    "kept" => assert_eq!(values, [value], "{place}"),
                    "removed" => assert!(values.is_empty(), "{place}: {values:?}"),
                    "ours" => assert!(values.len() == 1 && values[0] != value, "{place}: {values:?}"),
                    "ours added" => assert_eq!(values, [value, "1.1 tidegate"], "{place}"),
                    "one less" => assert_eq!(values, ["6"], "{place}"),
                    _ => panic!("what is that: {place}"),
                }
            }
        }
    }
}

#[test]
fn servers_are_told_of_the_url_and_not_of_the_proxy() {
    let server = Server::http(|_| testkit::ok("x"));
    let port = port(&server).to_string();
    let request = format!("GET http://a.test:{port}/p HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(proxy("to: origin").client().ask(&request).status, 200);
    let seen = server.request();
    let host = format!("a.test:{port}");
    for (name, value) in [("Port", &port[..]), ("Proto", "http"), ("Host", &host)] {
        assert_eq!(seen.fields.value(&format!("X-Forwarded-{name}")), Some(value));
    }
}

#[test]
pub(crate) fn fields_that_identify_are_a_list() {
    let server = Server::named("one");
    let ask = |forwarding: &str| {
        let tidegate = proxy(&format!("forwarding: {forwarding}\n    to: origin"));
        let fields = "From: me\r\nx_client_ip: me\r\nX-Badge: me\r\nX-Staff-Number: me\r\nAccept: */*\r\n";
        let target = format!("GET http://a.test:{}/ HTTP/1.1\r\nHost: a\r\n{fields}\r\n", port(&server));
        assert_eq!(tidegate.client().ask(target).status, 200);
        let names: Vec<String> = server.request().fields.0.into_iter().map(|(name, _)| name).collect();
        names.join(" ")
    };
    assert_eq!(ask("elite"), "Host X-Badge X-Staff-Number Accept");
    assert_eq!(
        ask("{ client: none, via: false, identifying: [X-Badge, 'x-staff-*'] }"),
        "Host From x_client_ip Accept"
    );
    assert!(
        ask("{ identifying: [From] }").starts_with("Host x_client_ip X-Badge X-Staff-Number Accept X-Forwarded-For")
    );
}

/// A server that keeps the bytes of heads as they come.
fn recorder() -> (Server, mpsc::Receiver<String>) {
    let (heads, recorded) = mpsc::channel();
    let heads = Arc::new(Mutex::new(heads));
    let server = Server::script(move |peer| {
        while let Some(head) = raw_head(peer) {
            let answers = if head.contains("Upgrade: websocket") {
                "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
            } else {
                "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
            };
            if head.to_lowercase().contains("\r\nexpect:") {
                peer.send("HTTP/1.1 100 Continue\r\n\r\n");
            }
            let length =
                head.lines().find_map(|line| line.to_lowercase().strip_prefix("content-length: ")?.parse().ok());
            let mut left = vec![0; length.unwrap_or(0)];
            let _ = peer.reader.socket.read_exact(&mut left);
            if head.to_lowercase().contains("\r\ntransfer-encoding:") {
                while !left.ends_with(b"0\r\n\r\n") {
                    let mut byte = [0];
                    peer.reader.socket.read_exact(&mut byte).expect("the rest of a body");
                    left.push(byte[0]);
                }
            }
            peer.send(answers);
            heads.lock().expect("nobody has failed").send(head).expect("a test that listens");
        }
    });
    (server, recorded)
}

fn raw_head(peer: &mut Peer) -> Option<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        peer.reader.socket.read_exact(&mut byte).ok()?;
        head.push(byte[0]);
    }
    Some(String::from_utf8(head).expect("text"))
}

/// A proxy that leaves no trace.
fn elite() -> Tidegate {
    proxy("forwarding: elite\n    limits: { request_body: 10MiB }\n    to: origin")
}

#[test]
fn by_elite_a_server_sees_what_curl_would_have_sent_without_a_proxy() {
    let (server, recorded) = recorder();
    let tidegate = elite();
    let url = format!("http://a.test:{}/p?q=%20x", port(&server));
    let resolve = format!("a.test:{}:127.0.0.1", port(&server));
    let by = format!("http://{}", tidegate.address("web"));
    let folder = testkit::Folder::new();
    let large = format!("@{}", folder.write("large", &"x".repeat(2_000_000)).display());
    let cases: [&[&str]; 14] = [
        &[],
        &["-H", "Accept-Language: de", "-H", "x-lower: 1", "-H", "X-UPPER: 2", "-H", "user-agent: someone"],
        &["-H", "Connection: close"],
        &["-H", "connection: Keep-Alive", "-H", "X-Behind: it"],
        &["-d", "a=b"],
        &["-H", "Transfer-Encoding: chunked", "-d", "a=b", "-H", "X-Behind: it"],
        &["--data-binary", &large],
        &["-H", "Expect: 100-continue", "-d", "a=b", "-H", "X-Behind: it"],
        &["-X", "OPTIONS", "-H", "Max-Forwards: 3"],
        &["-X", "OPTIONS", "-H", "Max-Forwards: 0"],
        &["-I"],
        &["--compressed", "-b", "a=b; c=d", "-e", "http://a.test/", "-u", "me:secret", "-r", "0-9"],
        &["-H", "TE: trailers", "-H", "X-Behind: it"],
        &["-X", "PROPFIND", "-H", "Depth: 1"],
    ];
    for options in cases {
        for way in [&["--noproxy", "*", "--resolve", &resolve][..], &["-x", &by]] {
            let Some(mut curl) = tool("curl") else { return };
            curl.args(["-sS", "--max-time", "20", "-o", "/dev/null"]).args(options).args(way).arg(&url);
            let output = curl.stdin(Stdio::null()).output().expect("a client that runs");
            assert!(output.status.success(), "{options:?} {way:?}: {}", String::from_utf8_lossy(&output.stderr));
        }
        let next = || recorded.recv_timeout(testkit::PATIENCE).expect("a request");
        assert_eq!(next(), next(), "without a proxy, and by one: {options:?}");
    }
}

#[test]
fn by_elite_a_browser_says_to_servers_what_it_says_without_a_proxy() {
    let (server, recorded) = recorder();
    let tidegate = elite();
    let place = format!("a.test:{}", port(&server));
    let mut client = tidegate.client();
    let mut ask = |fields: &str| -> (Response, String) {
        let answer = client.ask(format!("GET http://{place}/ HTTP/1.1\r\nHost: {place}\r\n{fields}\r\n"));
        (answer, recorded.recv_timeout(testkit::PATIENCE).expect("a request"))
    };
    let agent = "User-Agent: Mozilla/5.0 (X11; Linux x86_64)\r\nAccept: text/html\r\n";
    let (answer, head) = ask(&format!("Proxy-Connection: keep-alive\r\nProxy-Authorization: Basic eDp5\r\n{agent}"));
    assert_eq!(answer.status, 200);
    assert_eq!(head, format!("GET / HTTP/1.1\r\nHost: {place}\r\nConnection: keep-alive\r\n{agent}\r\n"));
    let (_, head) = ask(&format!("connection: keep-alive\r\nProxy-Connection: keep-alive\r\n{agent}"));
    assert_eq!(head, format!("GET / HTTP/1.1\r\nHost: {place}\r\nconnection: keep-alive\r\n{agent}\r\n"));
    let upgrade = format!(
        "{agent}Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nConnection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
    );
    client.send(format!("GET http://{place}/ HTTP/1.1\r\nHost: {place}\r\n{upgrade}\r\n"));
    let head = recorded.recv_timeout(testkit::PATIENCE).expect("a request");
    assert_eq!(head, format!("GET / HTTP/1.1\r\nHost: {place}\r\n{upgrade}\r\n"));
}

#[test]
fn by_elite_a_connection_is_kept_or_closed_as_the_client_wishes() {
    let server = Server::http(|request| {
        let close = if request.fields.value("connection") == Some("close") { "Connection: close\r\n" } else { "" };
        format!("HTTP/1.1 200 OK\r\n{close}Content-Length: 0\r\n\r\n").into_bytes()
    });
    let tidegate = start(&format!("workers: 1\n{}", OPEN.replace("@MORE", "forwarding: elite\n    to: origin")), &[]);
    let ask = |connection: &str| {
        let place = format!("a.test:{}", port(&server));
        let request = format!("GET http://{place}/ HTTP/1.1\r\nHost: {place}\r\nConnection: {connection}\r\n\r\n");
        assert_eq!(tidegate.client().ask(request).status, 200);
        server.connections()
    };
    assert_eq!(["keep-alive", "keep-alive", "close"].map(ask), [1, 1, 1]);
    assert_eq!(["keep-alive", "close", "close"].map(ask), [2, 2, 3]);
}

#[test]
fn by_elite_what_comes_by_http2_goes_on_with_nothing_added() {
    let (server, recorded) = recorder();
    let tidegate = proxy("http: [h2]\n    forwarding: elite\n    to: origin");
    let address = tidegate.address("web").parse().expect("an address");
    let mut client = testkit::h2::Client::connect(address);
    let place = format!("a.test:{}", port(&server));
    let fields = [
        ("user-agent", "Mozilla/5.0"),
        ("x-b", "1"),
        ("te", "trailers"),
        ("accept", "*/*"),
        ("x-client-ip", "me"),
        ("via", "2 home"),
    ];
    let answer = client.get(&place, "/p?q", &fields).expect("an answer");
    assert!(!answer.fields.contains_key("via"), "{:?}", answer.fields);
    let head = recorded.recv_timeout(testkit::PATIENCE).expect("a request");
    let expected = format!(
        "GET /p?q HTTP/1.1\r\nhost: {place}\r\nuser-agent: Mozilla/5.0\r\nx-b: 1\r\nte: trailers\r\naccept: */*\r\n\r\n"
    );
    assert_eq!(head, expected);
}

/// In front of servers of one's own connections are ours to keep: there `elite` is about fields that tell of clients.
#[test]
fn a_reverse_proxy_hides_clients_and_keeps_its_connections() {
    let server = Server::named("one");
    let text = "listeners: { web: { bind: 127.0.0.1:0, forwarding: elite, to: app } }\npools: { app: [@APP] }\n";
    let tidegate = start(text, &[("APP", &server)]);
    let fields = "From: me\r\nTrue-Client-IP: me\r\nVia: 1.1 home\r\nConnection: close\r\nX-Forwarded-For: 6.6.6.6\r\nAccept: */*\r\n";
    let answer = tidegate.client().ask(format!("GET / HTTP/1.1\r\nHost: a\r\n{fields}\r\n"));
    assert_eq!((answer.status, answer.fields.has("via")), (200, false));
    let names: Vec<String> = server.request().fields.0.into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["Host", "Accept"]);
}
