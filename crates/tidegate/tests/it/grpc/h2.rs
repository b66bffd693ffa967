//! The same over HTTP/2 from clients.

use std::net::SocketAddr;

use testkit::{Server, Tidegate, decoded_whole, h2};

use super::{answer, refusal};
use crate::support::start;

fn before(server: &Server, route: &str) -> (Tidegate, h2::Client) {
    let text = format!(
        "listeners: {{ web: {{ bind: 127.0.0.1:0, http: [h1, h2], routes: [{{ match: {{ path: /none/* }}, deny: 404 }}, \
         {{ {route} to: app }}] }} }}\npools: {{ app: [@APP] }}\n"
    );
    let tidegate = start(&text, &[("APP", server)]);
    let address: SocketAddr = tidegate.address("web").parse().expect("an address");
    (tidegate, h2::Client::connect(address))
}

fn field<'a>(fields: &'a h2::HeaderMap, name: &str) -> Option<&'a str> {
    fields.get(name).map(|value| value.to_str().expect("text"))
}

const CALL: [(&str, &str); 2] = [("content-type", "application/grpc"), ("te", "trailers")];

#[test]
fn trailers_pass() {
    let server = Server::http(|_| answer("\0\0\0\0\x02hi", "grpc-status: 0\r\nx-sum: 7\r\n"));
    let (_tidegate, mut client) = before(&server, "");
    let whole = client.post("test.example", "/a.B/C", &CALL, b"\0\0\0\0\x02yo").expect("an answer");
    let trailers = whole.trailers.expect("trailers");
    assert_eq!((field(&trailers, "grpc-status"), field(&trailers, "x-sum")), (Some("0"), Some("7")));
    assert_eq!(whole.body, b"\0\0\0\0\x02hi");
}

/// gRPC's clients believe a status in the head only if nothing follows it, not even an empty frame.
#[test]
fn an_end_in_the_head_ends_the_stream_there() {
    let server = Server::http(|_| refusal(5));
    let (_tidegate, mut client) = before(&server, "");
    for (path, code) in [("/none/M", "12"), ("/a.B/C", "5")] {
        let exchange =
            client.begin(h2::request(h2::Method::POST, "test.example", path, &CALL), true).expect("a stream");
        let answer = client.answer(exchange).expect("a head");
        assert_eq!((answer.head.status.as_u16(), field(&answer.head.headers, "grpc-status")), (200, Some(code)));
        assert!(answer.has_ended(), "{path}");
    }
}

#[test]
fn browsers_call_over_it_too() {
    let server = Server::http(|_| answer("\0\0\0\0\x02hi", "grpc-status: 0\r\n"));
    let (_tidegate, mut client) = before(&server, "use: [{ grpc_web: {} }],");
    let fields = [("content-type", "application/grpc-web-text")];
    let whole = client.post("test.example", "/a.B/C", &fields, b"AAAAAAJ5bw==").expect("an answer");
    assert_eq!(field(&whole.fields, "content-type"), Some("application/grpc-web-text+proto"));
    assert!(whole.trailers.is_none());
    assert_eq!(server.request().body, b"\0\0\0\0\x02yo");
    assert!(whole.body.starts_with(b"AAAAAAJoa"), "{:?}", String::from_utf8_lossy(&whole.body));
}

#[test]
fn content_is_compressed_over_it_too() {
    let page = "<li>tide</li>\n".repeat(20_000);
    let body = page.clone();
    let server = Server::http(move |_| {
        format!("HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: {}\r\n\r\n{body}", body.len())
            .into_bytes()
    });
    let (_tidegate, mut client) = before(&server, "use: [{ compress: {} }],");
    for coding in ["gzip", "br", "zstd"] {
        let whole = client.get("test.example", "/", &[("accept-encoding", coding)]).expect("an answer");
        assert_eq!(
            (field(&whole.fields, "content-encoding"), field(&whole.fields, "content-length")),
            (Some(coding), None)
        );
        assert!(decoded_whole(coding, &whole.body) == page.as_bytes());
    }
}

/// As much as can come in one piece, and ends too early.
#[test]
fn a_call_in_text_that_is_cut_off_is_the_clients_fault() {
    let server = Server::http(|_| answer("\0\0\0\0\0", "grpc-status: 0\r\n"));
    let (tidegate, mut client) = before(&server, "use: [{ grpc_web: {} }],");
    let fields = [("content-type", "application/grpc-web-text")];
    let whole = client.post("test.example", "/a.B/C", &fields, b"AAA").expect("an answer");
    assert_eq!(field(&whole.fields, "grpc-status"), Some("13"));
    let line = tidegate.log_of("/a.B/C");
    assert_eq!((line["fault"].as_str(), line["reason"].as_str()), (Some("malformed"), Some("broken base64")));
}

#[test]
fn a_stream_that_is_open_and_quiet_ends_by_its_own_times() {
    let server = Server::script(|peer| {
        peer.request_head().expect("a head");
        peer.hang();
    });
    let (tidegate, mut client) = before(&server, "timeouts: { request_body: 150ms, response: 150ms },");
    for (path, timeout, said) in
        [("/a.B/Deadline", "50m", ("4", "504: total_timeout")), ("/a.B/Silence", "1H", ("14", "504: response_timeout"))]
    {
        let fields = [CALL[0], CALL[1], ("grpc-timeout", timeout)];
        let mut exchange =
            client.begin(h2::request(h2::Method::POST, "test.example", path, &fields), false).expect("a stream");
        client.send(&mut exchange, b"\0\0\0\0\0", false).expect("a message");
        let answer = client.answer(exchange).expect("a head");
        let value = |name| field(&answer.head.headers, name).unwrap_or_default();
        assert_eq!((value("grpc-status"), value("grpc-message")), said);
        tidegate.log_of(path);
    }
    // Whose turn it was nobody knows: no server is blamed.
    assert_eq!(tidegate.metric("tidegate_server_faults_total", &[]).iter().sum::<f64>(), 0.0);
}

#[test]
fn a_call_that_breaks_behind_its_head_still_ends_with_a_status() {
    let server = Server::script(|peer| {
        peer.request().expect("a request");
        peer.send("HTTP/1.1 200 OK\r\nContent-Type: application/grpc\r\nTransfer-Encoding: chunked\r\n\r\n7\r\n\0\0\0\0\x02hi\r\n");
    });
    let (tidegate, mut client) = before(&server, "");
    let whole = client.post("test.example", "/a.B/C", &CALL, b"\0\0\0\0\0").expect("an answer");
    let trailers = whole.trailers.expect("trailers");
    assert_eq!(
        (field(&trailers, "grpc-status"), field(&trailers, "grpc-message")),
        (Some("14"), Some("502: truncated"))
    );
    assert_eq!(whole.body, b"\0\0\0\0\x02hi");
    let line = tidegate.log_of("/a.B/C");
    assert_eq!((line["fault"].as_str(), line["grpc_status"].as_u64()), (Some("truncated"), Some(14)));
}

#[test]
fn a_client_that_says_too_much_in_a_stream_is_told_at_once() {
    let server = Server::script(|peer| {
        peer.request_head().expect("a head");
        peer.send("HTTP/1.1 200 OK\r\nContent-Type: application/grpc\r\nTransfer-Encoding: chunked\r\n\r\n");
        peer.hang();
    });
    let (_tidegate, mut client) = before(&server, "limits: { request_body: 8B },");
    let request = h2::request(h2::Method::POST, "test.example", "/a.B/C", &CALL);
    let exchange = client.begin(request, false).expect("a stream");
    let (answer, body) = client.switch(exchange).expect("a head");
    client.finish_with(body, b"\0\0\0\0\x04long");
    let trailers = client.whole(answer).expect("an end").trailers.expect("trailers");
    assert_eq!(
        (field(&trailers, "grpc-status"), field(&trailers, "grpc-message")),
        (Some("8"), Some("413: body_too_large"))
    );
}

#[test]
fn a_call_that_ends_without_a_status_has_not_ended_well() {
    let server = Server::http(|_| answer("\0\0\0\0\x02hi", ""));
    let (tidegate, mut client) = before(&server, "");
    client.post("test.example", "/a.B/C", &CALL, b"\0\0\0\0\0").expect("an answer");
    assert_eq!(tidegate.log_of("/a.B/C")["grpc_status"], 2);
    assert_eq!(tidegate.metric("tidegate_server_requests_total", &["code_class=\"5xx\""]), [1.0]);
}
