//! The forward proxy: requests and tunnels to servers that clients name themselves, and where they may not lead.

pub(crate) mod addresses;
pub(crate) mod anonymity;
pub(crate) mod associations;
mod closed;
mod datagrams;
pub(crate) mod egress;
pub(crate) mod inspect;
pub(crate) mod intercept;
pub(crate) mod lists;
pub(crate) mod pac;
pub(crate) mod parents;
pub(crate) mod privacy;
mod real;
mod routes;
mod socks;
mod socks_parents;
mod together;
mod transparent;
mod tunnels;

use testkit::{Response, Server, Tidegate};

use crate::support::{Place, start};

/// A proxy that knows some names, may connect to this machine, and knows no more.
pub(crate) const OPEN: &str = "
dns: { servers: ['127.0.0.1:9'], hosts: { a.test: 127.0.0.1, b.test: 127.0.0.1, two.test: [127.0.0.2, 127.0.0.1], far.test: 192.0.2.1 } }
listeners:
  web:
    bind: 127.0.0.1:0
    role: forward
    egress: { allow: [127.0.0.0/8], connect_ports: 1024-65535 }
    @MORE
";

/// The same that leads everybody everywhere.
pub(crate) fn proxy(more: &str) -> Tidegate {
    start(&OPEN.replace("@MORE", if more.is_empty() { "to: origin" } else { more }), &[])
}

/// The port of a server.
pub(crate) fn port(server: &dyn Place) -> &str {
    server.place().rsplit(':').next().expect("a port")
}

/// A request for a target with its server.
pub(crate) fn asked(target: &str) -> String {
    format!("GET {target} HTTP/1.1\r\nHost: whatever.test\r\nProxy-Connection: keep-alive\r\n\r\n")
}

pub(crate) fn ask(tidegate: &Tidegate, target: &str) -> Response {
    tidegate.client().ask(asked(target))
}

#[test]
fn a_request_goes_to_the_server_that_it_names() {
    let (one, two) = (Server::named("one"), Server::named("two"));
    let tidegate = proxy("");
    let mut client = tidegate.client();
    let target = format!("http://A.test:{}/x/../p?q=1", port(&one));
    assert_eq!(client.ask(asked(&target)).text(), "one");
    let request = one.request();
    assert_eq!(request.target, "/p?q=1");
    assert_eq!(request.fields.values("host"), [format!("A.test:{}", port(&one))]);
    assert!(!request.fields.has("proxy-connection"));
    assert_eq!(client.ask(asked(&format!("http://b.test:{}", port(&two)))).text(), "two");
    assert_eq!(two.request().target, "/");
    let line = tidegate.log_of("/p");
    let said = ["host", "pool", "server", "address"].map(|key| line[key].as_str().expect("a text").to_owned());
    assert_eq!(
        said,
        ["a.test".to_owned(), "origin".to_owned(), format!("a.test:{}", port(&one)), one.address().to_owned()]
    );
}

#[test]
fn connections_are_kept_for_each_server_and_used_again() {
    let server = Server::named("one");
    let tidegate = start(&format!("workers: 1\n{}", OPEN.replace("@MORE", "to: origin")), &[]);
    let mut client = tidegate.client();
    for host in ["a.test", "a.test", "b.test", "A.TEST.", "127.0.0.1", "127.0.0.1"] {
        assert_eq!(client.ask(asked(&format!("http://{host}:{}/", port(&server)))).status, 200);
    }
    assert_eq!(server.connections(), 3, "one for each name");
}

#[test]
fn an_address_that_does_not_answer_gives_way_to_the_next() {
    let server = Server::named("one");
    let tidegate = proxy("");
    let answer = ask(&tidegate, &format!("http://two.test:{}/", port(&server)));
    assert_eq!((answer.status, answer.text().as_str()), (200, "one"));
    assert_eq!(tidegate.log_of("/")["tries"], 2);
}

#[test]
fn what_names_no_server_is_refused() {
    let tidegate = proxy("");
    let mut client = tidegate.client();
    let status = |target: &str| ask(&tidegate, target).status;
    assert_eq!(client.get("/").status, 400, "no server at all");
    assert_eq!(status("https://a.test/"), 501, "TLS is asked for by CONNECT");
    assert_eq!(status("http://a.test:0/"), 400);
    assert_eq!(status("http://nobody.test/"), 502, "a name without an address");
    assert_eq!(status("http://2130706433/"), 502, "a number is a name, and no address");
}

#[test]
fn a_body_and_an_upgrade_pass() {
    let server = Server::script(|peer| {
        while let Some(request) = peer.request() {
            if request.fields.has("upgrade") {
                let accept = testkit::websocket_accept(request.fields.value("sec-websocket-key").expect("a key"));
                peer.send(format!(
                    "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: {accept}\r\n\r\n"
                ));
                let heard = peer.reader.exactly(5).expect("a message");
                peer.send(heard);
                return;
            }
            peer.send(testkit::ok(&request.body));
        }
    });
    let tidegate = proxy("");
    let mut client = tidegate.client();
    let body = "x".repeat(300_000);
    let head =
        format!("POST http://a.test:{}/ HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n", port(&server), body.len());
    assert!(client.ask(head + &body).text() == body);
    client.send(format!(
        "GET http://a.test:{}/chat HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
        port(&server)
    ));
    assert_eq!(client.head().status, 101);
    client.send("hello");
    assert_eq!(client.exactly(5), b"hello");
}

#[test]
fn a_loop_is_found_out() {
    let tidegate = proxy("");
    let via = "1.1 tidegate, ".repeat(9);
    let request = format!("GET http://a.test:1/ HTTP/1.1\r\nHost: a\r\nVia: {}\r\n\r\n", via.trim_end_matches(", "));
    assert_eq!(tidegate.client().ask(request).status, 508);
}

#[test]
fn a_name_with_many_addresses_is_tried_a_few_times_and_a_request_sent_as_often_as_is_said() {
    let dead = testkit::Refusing::new();
    let many: Vec<String> = (1..=300).map(|number| format!("127.1.{}.{}", number / 250, number % 250 + 1)).collect();
    let text = OPEN.replace("b.test: 127.0.0.1", &format!("b.test: [{}]", many.join(", ")));
    let tidegate = start(&text.replace("@MORE", "to: origin"), &[]);
    assert_eq!(ask(&tidegate, &format!("http://b.test:{}/many", port(&dead))).status, 502);
    assert_eq!(tidegate.log_of("/many")["tries"], 8);
    // What is no failed connect is a retry like any other.
    let server = Server::script(|peer| {
        while peer.request().is_some() {
            peer.send("HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n");
        }
    });
    let text = OPEN
        .replace("two.test: [127.0.0.2, 127.0.0.1]", "two.test: [127.0.0.1, '::1', 127.0.0.2, 127.0.0.3, 127.0.0.4]");
    let tidegate = start(
        &text
            .replace("@MORE", "retries: { extra: 1, if: [connect, 503] }, to: origin")
            .replace(", to: origin", "\n    to: origin"),
        &[],
    );
    assert!(ask(&tidegate, &format!("http://two.test:{}/", port(&server))).status >= 502);
    assert_eq!(server.requests().len(), 1, "one more try was allowed, and led to where nobody is");
}

#[test]
fn a_connection_that_is_somebodys_is_not_used_for_another() {
    let server = Server::named("one");
    let tidegate = start(&format!("workers: 1\n{}", OPEN.replace("@MORE", "to: origin")), &[]);
    let target = format!("http://a.test:{}/", port(&server));
    let ntlm = format!("GET {target} HTTP/1.1\r\nHost: a\r\nAuthorization: NTLM TlRMTVNTUAAB\r\n\r\n");
    assert_eq!(tidegate.client().ask(ntlm).text(), "one");
    assert_eq!(ask(&tidegate, &target).text(), "one");
    assert_eq!(ask(&tidegate, &target).text(), "one");
    assert_eq!(server.connections(), 2);
}
