//! The program in front of itself: what one side writes, the other reads.

use testkit::h3::{Client, HeaderMap, Method, request};
use testkit::{Server, Tidegate, websocket_accept};

use super::{before, shown};
use crate::tls::{Desk, page};

/// The program with a listener of HTTP/3 in front of this server, and the program in front of that.
fn chain(desk: &Desk, server: &Server) -> (Tidegate, Tidegate) {
    let certificates = "certificates: { main: { cert: '@DIR/main.pem', key: '@DIR/main.key' } }";
    let listener = "listeners: { web: { bind: 127.0.0.1:0, http: [h1, h2, h3], tls: main, to: app } }";
    let back = desk.start(&format!("{certificates}\n{listener}\npools: {{ app: [@APP] }}\n"), &[("APP", server)]);
    let pool = "tls: { ca: '@DIR/ca.pem', server_name: example.com }, protocol: h3";
    let text = format!("{certificates}\n{listener}\npools: {{ app: {{ servers: ['@BACK'], {pool} }} }}\n");
    let front = desk.start(&text.replace("@BACK", &back.address("web")), &[]);
    (front, back)
}

#[test]
fn requests_go_through_two() {
    let (desk, server) = (Desk::new(), Server::echo());
    let (front, back) = chain(&desk, &server);
    let mut client = Client::connect(&front.address("web"), &desk.tls()).expect("a connection");
    for length in [0, 1, 100_000, 3_000_000] {
        let body = vec![b'b'; length];
        let whole = client.post("example.com", "/echo", &[("x-a", "1")], &body).expect("an answer");
        assert!(whole.status == 200 && whole.body == body, "{length}");
    }
    let mut exchange = client.begin(request(Method::PUT, "example.com", "/", &[("te", "trailers")])).expect("a stream");
    client.send(&mut exchange, b"content").expect("sent");
    let mut trailers = HeaderMap::new();
    trailers.insert("x-sum", "7".parse().expect("a value"));
    client.send_trailers(&mut exchange, trailers).expect("sent");
    client.finish(&mut exchange).expect("sent");
    assert_eq!(client.whole(exchange).expect("an answer").body, b"content");
    let last = server.requests().pop().expect("a request");
    assert_eq!((last.trailers.value("x-sum"), last.fields.value("host")), (Some("7"), Some("example.com")));
    let line = back.log_of("/echo");
    assert_eq!((&line["version"], &line["alpn"]), (&"3".into(), &"h3".into()));
    // Other clients share the way.
    let answer = desk.client(&front).ask(page("/other"));
    assert_eq!(answer.status, 200);
    assert_eq!(back.log_of("/other")["version"], "3");
}

/// Nobody waits until the connection has been silent for long enough.
#[test]
fn a_server_that_dies_without_a_word_is_noticed_by_its_port() {
    let (desk, server) = (Desk::new(), Server::named("app"));
    let (front, mut back) = chain(&desk, &server);
    let mut client = desk.client(&front);
    assert_eq!(client.ask(page("/")).text(), "app");
    back.kill();
    back.wait();
    assert_eq!(client.ask(page("/dead")).status, 502);
    let line = front.log_of("/dead");
    assert!(line["total_us"].as_u64().expect("a number") < 5_000_000, "{line}");
}

#[test]
fn a_websocket_goes_through_two() {
    let server = Server::script(|peer| {
        let Some(request) = peer.request_head() else { return };
        let accept = websocket_accept(request.fields.value("sec-websocket-key").expect("a key"));
        peer.send(format!(
            "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: {accept}\r\n\r\n"
        ));
        while let Ok(byte) = peer.reader.exactly(1) {
            peer.send(byte);
        }
    });
    let desk = Desk::new();
    let (front, back) = chain(&desk, &server);
    let mut client = desk.client(&front);
    client.send(
        "GET /chat HTTP/1.1\r\nHost: example.com\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\nfirst",
    );
    let head = client.head();
    assert_eq!((head.status, head.fields.value("upgrade")), (101, Some("websocket")));
    assert_eq!(head.fields.value("sec-websocket-accept"), Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
    assert_eq!(client.exactly(5), b"first");
    client.send("second");
    assert_eq!(client.exactly(6), b"second");
    client.finish();
    drop(client);
    assert_eq!(back.log_of("/chat")["version"], "3");
}

#[test]
fn a_websocket_ends_at_a_server_that_takes_none() {
    let desk = Desk::new();
    let server = testkit::h3_server::Backend::named(&shown(&desk), "app");
    let tidegate = before(&desk, &server, "");
    let upgrade = "GET /chat HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                   Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    assert_eq!(tidegate.client().ask(upgrade).status, 502);
    let reason = tidegate.log_of("/chat")["reason"].as_str().expect("a reason").to_owned();
    assert!(reason.contains("takes no WebSocket"), "{reason}");
    assert_eq!(tidegate.client().get("/").text(), "app");
}
