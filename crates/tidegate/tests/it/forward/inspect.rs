//! Requests in plain inside of tunnels, at the ports where the operator wants them read.

mod around;
mod parents;
pub(crate) mod words;

use serde_json::Value;
use testkit::{Client, Server, Signal, Tidegate, ok, tool};

use super::socks::{ask, v4, v5};
use super::{OPEN, port};
use crate::support::{Place, start};

/// Routes that refuse a part of each site.
const ROUTES: &str = "
    routes:
      - { match: { path: /private/* }, deny: { status: 403, reason: not for you } }
      - to: origin
";

/// A proxy that looks into tunnels; one worker, so that connections are counted.
fn inspecting(more: &str) -> String {
    let text = OPEN.replace("@MORE", &format!("inspect: 1024-65535{more}{ROUTES}"));
    format!("workers: 1\n{text}")
}

fn looking() -> Tidegate {
    start(&inspecting(""), &[])
}

/// A server that answers with what it was asked for.
fn saying() -> Server {
    Server::script(|peer| {
        while let Some(request) = peer.request() {
            peer.send(ok(format!("{} {}", request.target, String::from_utf8_lossy(&request.body))));
        }
    })
}

fn page(host: &str, target: &str) -> String {
    format!("GET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n")
}

fn tunnel(tidegate: &Tidegate, host: &str, server: &dyn Place) -> Client {
    Client::through(&tidegate.address("web"), &format!("{host}:{}", port(server)))
}

/// The same by SOCKS5.
fn socks(tidegate: &Tidegate, host: &str, server: &dyn Place) -> Client {
    let mut client = tidegate.client();
    assert_eq!(ask(&mut client, &v5(1, host, port(server).parse().expect("a port"))), 0);
    client
}

fn line_of(tidegate: &Tidegate, method: &str, host: &str) -> Value {
    tidegate.log_line("a tunnel's line", |line| line["method"] == method && line["host"] == host)
}

#[test]
fn requests_inside_find_their_routes_and_leave_lines_of_their_own() {
    let tidegate = looking();
    for method in ["CONNECT", "SOCKS5", "SOCKS4"] {
        let server = saying();
        let host = format!("a.test:{}", port(&server));
        let mut client = match method {
            "CONNECT" => tunnel(&tidegate, "a.test", &server),
            "SOCKS5" => socks(&tidegate, "a.test", &server),
            _ => {
                let mut client = tidegate.client();
                client.send(v4("a.test", server.port()));
                assert_eq!(client.exactly(8)[1], 90);
                client
            }
        };
        let path = format!("/{method}");
        let answer = client.ask(page(&host, &format!("{path}?q=1")));
        assert_eq!((answer.status, answer.text()), (200, format!("{path}?q=1 ")), "{method}");
        let answer = client.ask(page(&host, "/private/page"));
        assert_eq!((answer.status, answer.text().as_str()), (403, "403: not for you\n"));
        assert_eq!(client.ask(page("a.test", "/x/../%70rivate/page")).status, 403, "no spelling of a path is another");
        // A body, and requests that come all at once.
        let body = "x".repeat(100_000);
        let upload = format!("POST /up HTTP/1.1\r\nHost: a.test\r\nContent-Length: {}\r\n\r\n{body}", body.len());
        assert!(client.ask(upload).text() == format!("/up {body}"));
        client.send([page("a.test", "/1"), page("a.test", "/private/2"), page("a.test", "/3")].concat());
        let answers = [0; 3].map(|_| client.response().status);
        assert_eq!(answers, [200, 403, 200]);
        let asked: Vec<String> = server.requests().into_iter().map(|request| request.target).collect();
        assert_eq!(asked, [&format!("{path}?q=1"), "/up", "/1", "/3"]);
        assert_eq!(server.connections(), 1, "that of the tunnel itself");
        let fields = server.request().fields;
        let said = ["host", "x-forwarded-proto", "x-forwarded-port"].map(|name| fields.values(name).concat());
        assert_eq!(said, [host.as_str(), "http", port(&server)]);
        let line = tidegate.log_of(&path);
        let said = ["host", "method", "pool", "interception", "server"].map(|key| line[key].as_str().expect("a text"));
        assert_eq!(said, ["a.test", "GET", "origin", "inspected", &host]);
        assert_eq!(line["port"], server.port());
        client.finish();
        drop(client);
        let line = line_of(&tidegate, method, "a.test");
        assert_eq!((&line["interception"], &line["fault"]), (&"inspected".into(), &Value::Null), "{line}");
        assert!(line["bytes_in"] == 100_000 && line["bytes_out"].as_u64() > Some(100_000), "{line}");
    }
}

#[test]
fn a_tunnel_to_one_host_is_no_way_to_another() {
    let (server, other) = (saying(), Server::named("other"));
    let tidegate = looking();
    let asks = |request: &str| tunnel(&tidegate, "a.test", &server).ask(request).status;
    let other = port(&other);
    for (request, status) in [
        ("GET / HTTP/1.1\r\nHost: a.test.\r\n\r\n".to_owned(), 200),
        (format!("GET http://a.test:{}/ HTTP/1.1\r\nHost: b.test\r\n\r\n", port(&server)), 200),
        ("GET / HTTP/1.0\r\n\r\n".to_owned(), 200),
        ("GET / HTTP/1.1\r\nHost: b.test\r\n\r\n".to_owned(), 421),
        ("GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".to_owned(), 421),
        (format!("GET / HTTP/1.1\r\nHost: a.test:{other}\r\n\r\n"), 421),
        (format!("GET http://b.test:{other}/ HTTP/1.1\r\nHost: a.test\r\n\r\n"), 421),
        (format!("GET http://a.test:{other}/ HTTP/1.1\r\nHost: a.test\r\n\r\n"), 421),
        (format!("GET https://a.test:{}/ HTTP/1.1\r\nHost: a.test\r\n\r\n", port(&server)), 421),
        (format!("CONNECT b.test:{other} HTTP/1.1\r\nHost: b.test\r\n\r\n"), 501),
        (format!("CONNECT a.test:{0} HTTP/1.1\r\nHost: a.test:{0}\r\n\r\n", port(&server)), 501),
        ("GET / HTTP/1.1\r\nHost: a.test\r\nHost: b.test\r\n\r\n".to_owned(), 400),
        ("GET / HTTP/1.1\r\n\r\n".to_owned(), 400),
        (
            "POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
                .to_owned(),
            400,
        ),
        ("GET / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n".to_owned(), 400),
        ("GET /proxy.pac HTTP/1.1\r\nHost: a.test\r\n\r\n".to_owned(), 200),
    ] {
        assert_eq!(asks(&request), status, "{request}");
    }
    assert_eq!(server.requests().len(), 4);
}

#[test]
fn a_tunnel_to_an_address_is_for_the_host_that_its_client_names_and_goes_nowhere_else() {
    let server = saying();
    let routes = "\n    routes: [{ match: { host: b.test }, deny: { reason: not there } }, { to: origin }]\n";
    let tidegate = start(&inspecting("").replace(ROUTES, routes), &[]);
    let asks = |host: &str| {
        let answer = socks(&tidegate, "127.0.0.1", &server).ask(page(host, "/by-address"));
        (answer.status, answer.text())
    };
    assert_eq!(asks("a.test"), (200, "/by-address ".to_owned()));
    assert_eq!(asks("b.test"), (403, "403: not there\n".to_owned()), "what was looked up elsewhere");
    assert_eq!(asks("far.test").0, 200, "it gets no farther by another name");
    assert_eq!(asks("a.test:1").0, 421);
    let line = tidegate.log_line("a request", |line| line["path"] == "/by-address" && line["host"] == "far.test");
    assert_eq!(line["address"], server.address());
    let hosts: Vec<_> = server.requests().iter().map(|request| request.fields.values("host").concat()).collect();
    assert_eq!(hosts, ["a.test", "far.test"]);
}

#[test]
fn rules_about_where_a_tunnel_leads_hold_whatever_host_is_named_in_it() {
    let (desk, server) = (crate::tls::Desk::new(), saying());
    desk.folder.write("listed.txt", "127.0.0.1\n");
    let routes = "
    routes:
      - { match: { kind: tunnel }, to: origin }
      - { match: { host: a.test, path: /first/* }, to: origin }
      - { match: { host: 127.0.0.1, path: [/private/*, /first/no] }, deny: { reason: not there } }
      - { match: { host: { list: bad }, path: /listed/* }, deny: { reason: on a list } }
      - { match: { host: { regex: '^[0-9.]+$' }, path: /numbers/* }, deny: 403 }
      - { match: { host: '*.test' }, to: origin }
      - { deny: { reason: nobody else } }
";
    let text = inspecting("").replace(ROUTES, routes);
    let tidegate =
        desk.start(&format!("{text}lists: {{ bad: {{ file: '@DIR/listed.txt', format: domains }} }}\n"), &[]);
    let asks = |to: &str, host: &str, path: &str| {
        let answer = tunnel(&tidegate, to, &server).ask(page(host, path));
        (answer.status, answer.text().trim().to_owned())
    };
    let refused = |reason: &str| (403, format!("403: {reason}"));
    assert_eq!(asks("127.0.0.1", "far.test", "/private/x"), refused("not there"));
    assert_eq!(asks("127.0.0.1", "far.test", "/listed/x"), refused("on a list: rule `127.0.0.1` of list `bad`"));
    assert_eq!(asks("127.0.0.1", "a.test", "/first/no"), refused("not there"), "wherever it stands");
    assert_eq!(
        asks("127.0.0.1", "far.test", "/page"),
        (200, "/page".to_owned()),
        "what is for all is not for addresses"
    );
    assert_eq!(asks("127.0.0.1", "far.test", "/numbers/x").0, 200, "and so is what is for all addresses");
    assert_eq!(asks("127.0.0.1", "other.example", "/page"), refused("nobody else"));
    assert_eq!(asks("a.test", "a.test", "/private/x").0, 200, "what a name means is not asked");
    let line = tidegate.log_of("/listed/x");
    assert_eq!((&line["list"], &line["host"]), (&"bad".into(), &"far.test".into()));
}

#[test]
fn who_names_no_host_is_for_that_of_the_tunnel() {
    let server = saying();
    let tidegate = looking();
    for request in ["GET / HTTP/1.0\r\n\r\n", "GET / HTTP/1.1\r\nHost:\r\n\r\n"] {
        assert_eq!(tunnel(&tidegate, "a.test", &server).ask(request).status, 200);
        assert_eq!(
            server.requests().pop().expect("a request").fields.values("host"),
            [format!("a.test:{}", port(&server))]
        );
    }
}

#[test]
fn a_connection_that_the_first_request_has_no_use_for_is_closed() {
    let closed = std::sync::Arc::new(Signal::new());
    let seen = std::sync::Arc::clone(&closed);
    let server = Server::script(move |peer| {
        if peer.request().is_none() {
            seen.raise();
        }
    });
    let tidegate = looking();
    let mut client = tunnel(&tidegate, "a.test", &server);
    assert_eq!(client.ask(page("a.test", "/private/x")).status, 403);
    closed.wait();
    assert_eq!(client.ask(page("a.test", "/private/y")).status, 403, "the tunnel stands");
}

#[test]
fn what_cannot_be_connected_to_is_no_tunnel() {
    let tidegate = looking();
    let dead = testkit::Refusing::new();
    let connect = |to: &str| tidegate.client().ask(format!("CONNECT {to} HTTP/1.1\r\nHost: {to}\r\n\r\n")).status;
    assert_eq!(connect(&format!("a.test:{}", port(&dead))), 502);
    assert_eq!(connect("a.test:80"), 403, "a port that is looked at, but to which no tunnel may go, is none to go to");
    assert_eq!(ask(&mut tidegate.client(), &v5(1, "a.test", port(&dead).parse().expect("a port"))), 5);
}

#[test]
fn a_websocket_goes_through() {
    let server = Server::script(|peer| {
        while let Some(request) = peer.request() {
            let Some(key) = request.fields.value("sec-websocket-key") else {
                peer.send(ok("plain"));
                continue;
            };
            let accept = testkit::websocket_accept(key);
            peer.send(format!(
                "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: {accept}\r\n\r\n"
            ));
            let heard = peer.reader.exactly(5).expect("a message");
            peer.send(heard);
            return;
        }
    });
    let tidegate = looking();
    let mut client = socks(&tidegate, "a.test", &server);
    assert_eq!(client.ask(page("a.test", "/")).text(), "plain");
    client.send(
        "GET /chat HTTP/1.1\r\nHost: a.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
    );
    assert_eq!(client.head().status, 101);
    client.send("hello");
    assert_eq!(client.exactly(5), b"hello");
    client.finish();
    drop(client);
    assert_eq!(tidegate.log_of("/chat")["interception"], "inspected");
    assert_eq!(line_of(&tidegate, "SOCKS5", "a.test")["interception"], "inspected");
}

#[test]
fn clients_that_others_have_written_are_read() {
    let server = saying();
    let tidegate = looking();
    let by = tidegate.address("web");
    let url = |path: &str| format!("http://a.test:{}{path}", port(&server));
    let http = format!("http://{by}");
    let ways: [&[&str]; 4] = [
        &["--proxytunnel", "-x", &http],
        &["--socks5-hostname", &by],
        &["--socks4a", &by],
        &["--socks5", &by, "--resolve", ""],
    ];
    for way in ways {
        let Some(mut curl) = tool("curl") else { return };
        let resolve = format!("a.test:{}:127.0.0.1", port(&server));
        let way: Vec<&str> = way.iter().map(|word| if word.is_empty() { &*resolve } else { *word }).collect();
        let output = curl
            .args(["-sS", "--max-time", "20", "-w", " %{http_code}\n"])
            .args(&way)
            .args([&url("/one"), &url("/private/two"), &url("/three")])
            .output()
            .expect("a client that runs");
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert_eq!(said, "/one  200\n403: not for you\n 403\n/three  200\n", "{way:?} {output:?}");
    }
    assert_eq!(tidegate.log_of("/private/two")["interception"], "inspected");
}
