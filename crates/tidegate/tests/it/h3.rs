//! HTTP/3 from clients: streams side by side, clients that move, early data, and those who break the rules.

mod attacks;
mod bodies;
pub(crate) mod early;
mod ends;
mod moves;
mod real;
mod strict;
mod websockets;

use testkit::h3::{Client, Quic};
use testkit::{Server, Tidegate, h2::Whole};

use crate::tls::Desk;

/// One listener with all versions in front of one server; `@MORE` stands for lines of the listener's own.
const EDGE: &str = "
certificates: { main: { cert: '@DIR/main.pem', key: '@DIR/main.key' } }
listeners: { web: { bind: 127.0.0.1:0, http: [h1, h2, h3], tls: main, to: app@MORE } }
pools: { app: [@APP] }
";

/// The program with such a listener.
fn before(desk: &Desk, server: &Server, more: &str) -> Tidegate {
    desk.start(&EDGE.replace("@MORE", more), &[("APP", server)])
}

fn client(desk: &Desk, tidegate: &Tidegate) -> Client {
    Client::connect(&tidegate.address("web"), &desk.tls()).expect("a connection")
}

fn quic(desk: &Desk, tidegate: &Tidegate) -> Quic {
    Quic::connect(&tidegate.address("web"), &desk.tls()).expect("a connection")
}

fn field<'a>(whole: &'a Whole, name: &str) -> Option<&'a str> {
    whole.fields.get(name).map(|value| value.to_str().expect("text"))
}

/// The head of a plain request.
const GET: [(&str, &str); 4] =
    [(":method", "GET"), (":scheme", "https"), (":authority", "example.com"), (":path", "/plain")];

#[test]
fn a_request_goes_through_and_back() {
    let (desk, server) = (Desk::new(), Server::named("hello"));
    let tidegate = before(&desk, &server, "");
    let mut client = client(&desk, &tidegate);
    let whole =
        client.get("example.com", "/a?b=c", &[("x-a", "1"), ("cookie", "a=b"), ("cookie", "c=d")]).expect("all");
    assert_eq!((whole.status, &whole.body[..]), (200, &b"hello"[..]));
    assert_eq!(field(&whole, "alt-svc"), None, "who is here need not be told");
    let seen = server.request();
    assert_eq!((seen.method.as_str(), seen.target.as_str()), ("GET", "/a?b=c"));
    assert_eq!(seen.fields.value("host"), Some("example.com"));
    assert_eq!(seen.fields.value("cookie"), Some("a=b; c=d"), "crumbs are joined");
    assert_eq!(seen.fields.value("transfer-encoding"), None, "a request that ends with its head has no body");
    assert_eq!(seen.fields.value("x-forwarded-proto"), Some("https"));
    let line = tidegate.log_of("/a");
    assert_eq!((line["version"].as_str(), line["status"].as_u64()), (Some("3"), Some(200)));
    assert_eq!(line["alpn"].as_str(), Some("h3"));
}

#[test]
fn requests_run_side_by_side() {
    let (desk, server) = (Desk::new(), Server::http(|request| testkit::ok(&request.target)));
    let tidegate = before(&desk, &server, "");
    let mut client = client(&desk, &tidegate);
    let mut under_way = Vec::new();
    for number in 0..50 {
        let request = testkit::h3::request(testkit::h3::Method::GET, "example.com", &format!("/{number}"), &[]);
        let mut exchange = client.begin(request).expect("a stream");
        client.finish(&mut exchange).expect("sent");
        under_way.push(exchange);
    }
    for (number, exchange) in under_way.into_iter().enumerate().rev() {
        let whole = client.whole(exchange).expect("all");
        assert_eq!((whole.status, whole.body), (200, format!("/{number}").into_bytes()));
    }
}

#[test]
fn clients_by_tcp_are_told() {
    let (desk, server) = (Desk::new(), Server::named("hello"));
    let tidegate = before(&desk, &server, "");
    let address = tidegate.address("web");
    let port = address.rsplit(':').next().expect("a port");
    let response = desk.client(&tidegate).ask(crate::tls::page("/"));
    assert_eq!(response.fields.value("alt-svc"), Some(format!("h3=\":{port}\"; ma=86400").as_str()));
}
