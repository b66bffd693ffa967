//! WebSockets by extended CONNECT (RFC 8441) in front of servers of HTTP/1.1.

use testkit::{Peer, Server, h2};

use super::before;

/// Switches as RFC 6455 says, with the right answer to the key unless another is given.
fn switch(peer: &mut Peer, answer: Option<&str>) {
    let request = peer.request().expect("a request");
    assert_eq!((request.method.as_str(), request.fields.value("upgrade")), ("GET", Some("websocket")));
    assert_eq!(request.fields.value("sec-websocket-version"), Some("13"));
    let key = request.fields.value("sec-websocket-key").expect("a key").to_owned();
    let answer = answer.map_or_else(|| testkit::websocket_accept(&key), ToOwned::to_owned);
    peer.send(format!(
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: {answer}\r\n\r\nhello"
    ));
}

#[test]
fn a_stream_becomes_a_tunnel_that_can_end_one_side_at_a_time() {
    let server = Server::script(|peer| {
        switch(peer, None);
        let said = peer.rest().expect("the client's end");
        peer.send([b"you said ", &said[..]].concat());
    });
    let (tidegate, mut client) = before(&server);
    let mut exchange = client.extended_connect("websocket", "a", "/ws").expect("a stream");
    client.send(&mut exchange, b"early ", false).expect("room");
    let (mut answer, body) = client.switch(exchange).expect("a head");
    assert_eq!(answer.head.status, 200);
    assert!(answer.head.headers.get("sec-websocket-accept").is_none());
    assert_eq!(client.content(&mut answer).expect("content").as_deref(), Some(&b"hello"[..]));
    client.finish_with(body, b"and late");
    assert_eq!(client.whole(answer).expect("the rest").body, b"you said early and late");
    let line = tidegate.log_of("/ws");
    assert_eq!(
        (line["status"].as_u64(), line["version"].as_str(), line["bytes_in"].as_u64(), line["bytes_out"].as_u64()),
        (Some(200), Some("2"), Some(14), Some(28))
    );
}

/// RFC 8441 section 5: what breaks a connection resets the stream, as one that nobody needs any more.
#[test]
fn a_websocket_whose_server_breaks_is_cancelled() {
    let server = Server::script(|peer| {
        switch(peer, None);
        let _ = peer.reader.exactly(1);
        peer.reset();
    });
    let (_tidegate, mut client) = before(&server);
    let mut exchange = client.extended_connect("websocket", "a", "/ws").expect("a stream");
    client.send(&mut exchange, b"x", false).expect("room");
    let (answer, mut body) = client.switch(exchange).expect("a head");
    assert_eq!(answer.head.status, 200);
    assert_eq!(client.reset_seen(&mut body), Some(h2::Reason::CANCEL));
}

#[test]
fn a_refused_websocket_is_an_ordinary_response() {
    let server = Server::http(|_| b"HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno".to_vec());
    let (_tidegate, mut client) = before(&server);
    let exchange = client.extended_connect("websocket", "a", "/ws").expect("a stream");
    let answer = client.answer(exchange).expect("a head");
    assert_eq!(answer.head.status, 403);
    assert_eq!(client.whole(answer).expect("a body").body, b"no");
}

#[test]
fn a_server_that_has_not_read_the_key_is_believed_nothing() {
    let server = Server::script(|peer| switch(peer, Some("bm90IHRoZSBhbnN3ZXI=")));
    let (tidegate, mut client) = before(&server);
    let exchange = client.extended_connect("websocket", "a", "/ws").expect("a stream");
    assert_eq!(client.answer(exchange).expect("a head").head.status, 502);
    assert!(tidegate.log_of("/ws")["reason"].as_str().expect("a reason").contains("key of the WebSocket"));
}

#[test]
fn other_protocols_do_not_pass() {
    let server = Server::named("app");
    let (_tidegate, mut client) = before(&server);
    let exchange = client.extended_connect("connect-udp", "a", "/x").expect("a stream");
    assert_eq!(client.answer(exchange).expect("a head").head.status, 501);
    let plain = h2::request(h2::Method::CONNECT, "a:443", "", &[]);
    let exchange = client.begin(plain, false).expect("a stream");
    assert_eq!(client.answer(exchange).expect("a head").head.status, 501);
    assert_eq!(server.connections(), 0);
}

#[test]
fn the_name_of_the_protocol_may_be_written_as_one_likes() {
    let server = Server::script(|peer| switch(peer, None));
    let (_tidegate, mut client) = before(&server);
    let exchange = client.extended_connect("WebSocket", "a", "/ws").expect("a stream");
    assert_eq!(client.answer(exchange).expect("a head").head.status, 200);
}
