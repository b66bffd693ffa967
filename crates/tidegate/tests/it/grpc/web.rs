//! gRPC-Web in front of plain gRPC.

use testkit::{Framing, Server, Signal};

use super::{answer, before, refusal, typed};

const WEB: &str = "use: [{ grpc_web: {} }],";
const TEXT: &str = "application/grpc-web-text";

/// The frame of these trailers.
fn frame(trailers: &str) -> Vec<u8> {
    [&[0x80], &(trailers.len() as u32).to_be_bytes()[..], trailers.as_bytes()].concat()
}

/// Base64 as a reader of the other side understands it: group by group, padding anywhere.
fn from_base64(text: &[u8]) -> Vec<u8> {
    let value = |character: u8| match character {
        b'A'..=b'Z' => u32::from(character - b'A'),
        b'a'..=b'z' => u32::from(character - b'a') + 26,
        b'0'..=b'9' => u32::from(character - b'0') + 52,
        b'+' => 62,
        b'/' => 63,
        _ => 0,
    };
    assert_eq!(text.len() % 4, 0);
    let mut out = Vec::new();
    for group in text.chunks(4) {
        let bits = group.iter().fold(0, |bits, character| bits << 6 | value(*character));
        let padding = group.iter().filter(|character| **character == b'=').count();
        out.extend_from_slice(&bits.to_be_bytes()[1..4 - padding]);
    }
    out
}

#[test]
fn a_call_of_a_browser_is_a_plain_one_to_its_server() {
    let server = Server::http(|_| answer("\0\0\0\0\x02hi", "grpc-status: 0\r\nX-Sum: 7\r\n"));
    let tidegate = before(&server, WEB, "");
    let mut client = tidegate.client();
    for _ in 0..2 {
        let request = format!(
            "POST /a.B/C HTTP/1.1\r\nHost: a\r\nContent-Type: application/grpc-web+proto\r\nX-Grpc-Web: 1\r\nContent-Length: 7\r\n\r\n{}",
            "\0\0\0\0\x02yo"
        );
        let response = client.ask(request);
        assert_eq!(response.fields.value("content-type"), Some("application/grpc-web+proto"));
        assert_eq!(response.body, [&b"\0\0\0\0\x02hi"[..], &frame("grpc-status:0\r\nx-sum:7\r\n")].concat());
        assert_eq!(response.trailers.0, []);
        let request = server.request();
        assert_eq!(request.fields.value("content-type"), Some("application/grpc+proto"));
        assert_eq!((request.fields.value("te"), request.body.as_slice()), (Some("trailers"), &b"\0\0\0\0\x02yo"[..]));
    }
    assert_eq!(tidegate.log_of("/a.B/C")["grpc_status"], 0);
}

#[test]
fn text_is_base64_both_ways() {
    let server = Server::http(|_| answer("\0\0\0\0\x02hi", "grpc-status: 0\r\n"));
    let tidegate = before(&server, WEB, "");
    // Two pieces that are padded each, in one body.
    let request = typed("/a.B/C", TEXT, "", b"AAAAAAJ5bw==AAAAAAJ5bw==");
    let response = tidegate.client().ask(request);
    assert_eq!(response.fields.value("content-type"), Some("application/grpc-web-text+proto"));
    assert_eq!(from_base64(&response.body), [&b"\0\0\0\0\x02hi"[..], &frame("grpc-status:0\r\n")].concat());
    let request = server.request();
    assert_eq!(request.body, b"\0\0\0\0\x02yo\0\0\0\0\x02yo");
    assert_eq!((request.fields.value("content-type"), request.framing), (Some("application/grpc"), Framing::Chunked));
}

#[test]
fn what_is_not_base64_never_counts_as_a_call() {
    let server = Server::http(|_| answer("\0\0\0\0\0", "grpc-status: 0\r\n"));
    let tidegate = before(&server, WEB, "");
    for body in ["AAAA!", "AAA"] {
        let response = tidegate.client().ask(typed("/a.B/C", TEXT, "", body.as_bytes()));
        assert_eq!(response.fields.value("grpc-status"), Some("13"), "{body}");
        assert_eq!(response.fields.value("content-type"), Some(TEXT));
        assert_eq!(tidegate.log_of("/a.B/C")["reason"], "broken base64");
    }
    assert_eq!(server.requests().len(), 0);
}

#[test]
fn what_is_not_base64_and_comes_late_is_cut() {
    let server = Server::script(|peer| {
        let request = peer.request_head().expect("a head");
        assert!(peer.reader.body(request.framing).is_err());
    });
    let tidegate = before(&server, WEB, "");
    let mut client = tidegate.client();
    client.send(format!(
        "POST /a.B/C HTTP/1.1\r\nHost: a\r\nContent-Type: {TEXT}\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nAAAA\r\n"
    ));
    server.request();
    client.send("4\r\nA!AA\r\n0\r\n\r\n");
    assert_eq!(client.response().fields.value("grpc-status"), Some("13"));
}

#[test]
fn an_end_in_the_head_stays_there() {
    let server = Server::http(|_| refusal(5));
    let tidegate = before(&server, WEB, "");
    let response = tidegate.client().ask(typed("/a.B/C", "application/grpc-web", "", b""));
    assert_eq!(response.fields.value("content-type"), Some("application/grpc-web"));
    assert_eq!((response.fields.value("grpc-status"), response.body.len()), (Some("5"), 0));
}

#[test]
fn messages_of_a_stream_come_out_one_by_one() {
    for (content_type, is_text) in [("application/grpc-web", false), (TEXT, true)] {
        let next = Signal::new();
        let seen = next.clone();
        let server = Server::script(move |peer| {
            peer.request().expect("a request");
            peer.send("HTTP/1.1 200 OK\r\nContent-Type: application/grpc\r\nTransfer-Encoding: chunked\r\n\r\n7\r\n\0\0\0\0\x02hi\r\n");
            seen.wait();
            peer.send("6\r\n\0\0\0\0\x01a\r\n0\r\ngrpc-status: 0\r\n\r\n");
            peer.rest().expect("an end");
        });
        let tidegate = before(&server, WEB, "");
        let mut client = tidegate.client();
        client.send(typed("/a.B/C", content_type, "", b""));
        assert_eq!(client.head().status, 200);
        let read = |bytes: Vec<u8>| if is_text { from_base64(&bytes) } else { bytes };
        let mut content = Vec::new();
        while content.len() < 7 {
            content.extend(read(client.reader.chunk().expect("a message")));
        }
        assert_eq!(content, b"\0\0\0\0\x02hi");
        next.raise();
        let (rest, _) = client.reader.body(Framing::Chunked).expect("the rest");
        assert_eq!(read(rest), [&b"\0\0\0\0\x01a"[..], &frame("grpc-status:0\r\n")].concat());
    }
}

#[test]
fn what_is_no_such_call_passes_as_it_is() {
    let server = Server::http(|_| answer("\0\0\0\0\x02hi", "grpc-status: 0\r\n"));
    let tidegate = before(&server, WEB, "");
    let response = tidegate.client().ask(typed("/a.B/C", "application/grpc", "", b"x"));
    assert_eq!((response.body.len(), response.trailers.value("grpc-status")), (7, Some("0")));
    let page = Server::http(|_| {
        b"HTTP/1.1 502 Bad Gateway\r\nContent-Type: text/html\r\nContent-Length: 3\r\n\r\nno!".to_vec()
    });
    let tidegate = before(&page, WEB, "");
    let response = tidegate.client().ask(typed("/a.B/C", "application/grpc-web", "", b"x"));
    assert_eq!((response.status, response.text().as_str()), (502, "no!"));
}
