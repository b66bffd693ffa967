//! WebSockets over HTTP/3 (RFC 9220), in front of servers of HTTP/1.1.

use testkit::h2_server::{Backend, Manner};
use testkit::h3::{Stream, frame, head};
use testkit::{Server, websocket_accept};

use super::{EDGE, GET, before, quic};
use crate::tls::Desk;

/// What a client asks with.
const ASKS: [(&str, &str); 6] = [
    (":method", "CONNECT"),
    (":protocol", "websocket"),
    GET[1],
    GET[2],
    (":path", "/chat"),
    ("sec-websocket-version", "13"),
];

/// A server that switches, and says back what it hears.
fn echo() -> Server {
    Server::script(|peer| {
        let Some(request) = peer.request_head() else { return };
        assert_eq!(request.fields.value("upgrade"), Some("websocket"));
        let accept = websocket_accept(request.fields.value("sec-websocket-key").expect("a key"));
        peer.send(format!(
            "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: {accept}\r\n\r\n"
        ));
        while let Ok(byte) = peer.reader.exactly(1) {
            peer.send(byte);
        }
    })
}

/// The payload of the next frame.
fn payload(quic: &testkit::h3::Quic, stream: &mut Stream) -> (u8, Vec<u8>) {
    let kind = quic.hear(stream, 1).expect("a frame")[0];
    let first = quic.hear(stream, 1).expect("a length")[0];
    let rest = quic.hear(stream, (1 << (first >> 6)) - 1).expect("a length");
    let length = rest.iter().fold(usize::from(first & 0x3f), |length, byte| length << 8 | usize::from(*byte));
    (kind, quic.hear(stream, length).expect("a payload"))
}

#[test]
fn a_websocket_goes_through_both_ways() {
    let (desk, server) = (Desk::new(), echo());
    let tidegate = before(&desk, &server, "");
    let quic = quic(&desk, &tidegate);
    let mut stream = quic.open(&head(&ASKS), false).expect("a stream");
    let (kind, answer) = payload(&quic, &mut stream);
    assert_eq!((kind, &answer[..3]), (1, &[0, 0, 0xd9][..]), "200");
    for text in [&b"one"[..], b"two", &[b'x'; 5000]] {
        quic.say(&mut stream, &frame(0, text)).expect("said");
        let mut heard = Vec::new();
        while heard.len() < text.len() {
            let (kind, bytes) = payload(&quic, &mut stream);
            assert_eq!(kind, 0);
            heard.extend(bytes);
        }
        assert_eq!(heard, text);
    }
    stream.send.finish().expect("an open stream");
    assert_eq!(quic.rest(&mut stream).expect("an end"), b"");
    let line = tidegate.log_of("/chat");
    assert_eq!((line["status"].as_u64(), line["bytes_in"].as_u64()), (Some(200), Some(5006)), "{line}");
}

/// RFC 9220 section 3.
#[test]
fn a_websocket_whose_server_breaks_is_cancelled() {
    let server = Server::script(|peer| {
        let Some(request) = peer.request_head() else { return };
        let accept = websocket_accept(request.fields.value("sec-websocket-key").expect("a key"));
        peer.send(format!(
            "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: {accept}\r\n\r\n"
        ));
        let _ = peer.reader.exactly(1);
        peer.reset();
    });
    let desk = Desk::new();
    let tidegate = before(&desk, &server, "");
    let quic = quic(&desk, &tidegate);
    let mut stream = quic.open(&[head(&ASKS), frame(0, b"x")].concat(), false).expect("a stream");
    let broken = quic.rest(&mut stream).expect_err("no end");
    assert_eq!(broken.0, Some(REQUEST_CANCELLED), "{broken:?}");
    assert_eq!(quic.stopped(&mut stream.send), Ok(Some(REQUEST_CANCELLED)));
}

const REQUEST_CANCELLED: u64 = 0x10c;

/// HTTP/3 in front, HTTP/2 behind: neither side has a key.
#[test]
fn a_websocket_goes_on_to_a_server_of_http2() {
    let manner = Manner { extended_connect: true, ..Manner::default() };
    let (desk, server) = (Desk::new(), Backend::start(manner, |_| testkit::h2_server::ok("no")));
    let text = EDGE.replace("@MORE", "").replace("app: [@APP]", "app: { servers: [@APP], protocol: h2 }");
    let tidegate = desk.start(&text, &[("APP", &server)]);
    let quic = quic(&desk, &tidegate);
    let mut stream = quic.open(&head(&ASKS), false).expect("a stream");
    let (kind, answer) = payload(&quic, &mut stream);
    assert_eq!((kind, &answer[..3]), (1, &[0, 0, 0xd9][..]), "200");
    for text in [&b"one"[..], &[b'x'; 5000]] {
        quic.say(&mut stream, &frame(0, text)).expect("said");
        let mut heard = Vec::new();
        while heard.len() < text.len() {
            heard.extend(payload(&quic, &mut stream).1);
        }
        assert_eq!(heard, text);
    }
    stream.send.finish().expect("an open stream");
    assert_eq!(quic.rest(&mut stream).expect("an end"), b"");
    let asked = &server.asked()[0];
    assert_eq!((asked.method.as_str(), asked.uri.as_str()), ("CONNECT", "http://example.com/chat"));
}

#[test]
fn a_websocket_that_is_refused_is_told_so() {
    let (desk, server) =
        (Desk::new(), Server::http(|_| b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n".to_vec()));
    let tidegate = before(&desk, &server, "");
    let quic = quic(&desk, &tidegate);
    let mut stream = quic.open(&head(&ASKS), false).expect("a stream");
    let (kind, answer) = payload(&quic, &mut stream);
    assert_eq!((kind, &answer[..4]), (1, &[0, 0, 0xff, 5][..]), "403");
    let mut other = ASKS;
    other[1].1 = "connect-udp";
    let mut stream = quic.open(&head(&other), false).expect("a stream");
    let (_, answer) = payload(&quic, &mut stream);
    assert_ne!(answer[2], 0xd9, "other protocols do not pass");
}
