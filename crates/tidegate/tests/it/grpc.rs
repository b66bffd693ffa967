//! Calls of gRPC, and its form for browsers, between scripted clients and servers.

use testkit::{Framing, Response, Server, Signal, Tidegate};

use crate::support::{get, start};

mod h2;
mod real;
mod web;

/// A call with these fields, each with its line end.
fn call(path: &str, fields: &str, message: &[u8]) -> Vec<u8> {
    typed(path, "application/grpc", fields, message)
}

fn typed(path: &str, content_type: &str, fields: &str, message: &[u8]) -> Vec<u8> {
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: test.example\r\nContent-Type: {content_type}\r\nTE: trailers\r\nConnection: TE\r\n{fields}\
         Content-Length: {}\r\n\r\n",
        message.len()
    );
    [head.as_bytes(), message].concat()
}

/// An answer with this message and these trailers.
fn answer(message: &str, trailers: &str) -> Vec<u8> {
    format!(
        "HTTP/1.1 200 OK\r\nContent-Type: application/grpc+proto\r\nTransfer-Encoding: chunked\r\n\r\n{:x}\r\n{message}\r\n0\r\n{trailers}\r\n",
        message.len()
    )
    .into_bytes()
}

/// An answer that ends the call in its head.
fn refusal(code: u8) -> Vec<u8> {
    format!("HTTP/1.1 200 OK\r\nContent-Type: application/grpc\r\ngrpc-status: {code}\r\nContent-Length: 0\r\n\r\n")
        .into_bytes()
}

fn before(server: &Server, route: &str, pool: &str) -> Tidegate {
    let text = format!(
        "listeners: {{ web: {{ bind: 127.0.0.1:0, routes: [{{ {route} to: app }}] }} }}\npools: {{ app: {{ servers: [@APP], {pool} }} }}\n"
    );
    start(&text, &[("APP", server)])
}

/// How a call was ended by the program itself: the status in HTTP, of gRPC, and the message.
fn ended(response: &Response) -> (u16, &str, &str) {
    let value = |name| response.fields.value(name).unwrap_or_default();
    assert_eq!(response.fields.value("content-type"), Some("application/grpc"));
    assert_eq!(response.body, b"");
    (response.status, value("grpc-status"), value("grpc-message"))
}

#[test]
fn a_call_passes_with_its_trailers_and_its_status_is_noted() {
    let server = Server::http(|_| answer("\0\0\0\0\x02hi", "grpc-status: 5\r\ngrpc-message: none\r\n"));
    let tidegate = before(&server, "", "");
    let response = tidegate.client().ask(call("/a.B/C", "", b"\0\0\0\0\x02yo"));
    assert_eq!((response.status, response.body.as_slice()), (200, &b"\0\0\0\0\x02hi"[..]));
    assert_eq!(response.trailers.value("grpc-status"), Some("5"));
    let request = server.request();
    assert_eq!((request.fields.value("te"), request.body.as_slice()), (Some("trailers"), &b"\0\0\0\0\x02yo"[..]));
    let line = tidegate.log_of("/a.B/C");
    assert_eq!((line["status"].as_u64(), line["grpc_status"].as_u64()), (Some(200), Some(5)));
    // It counts by the status of HTTP that says the same.
    assert_eq!(tidegate.metric("tidegate_server_requests_total", &["code_class=\"4xx\""]), [1.0]);
}

#[test]
fn faults_of_ours_are_statuses_of_grpc() {
    let server = Server::script(|peer| {
        peer.request().expect("a request");
    });
    let text = "
listeners:
  web:
    bind: 127.0.0.1:0
    routes:
      - { match: { path: /deny/* }, deny: { status: 403, reason: 100% no } }
      - { match: { path: /limit/* }, deny: 429 }
      - { match: { path: /gone/* }, to: gone, retries: { extra: 0 } }
      - { match: { path: /reset/* }, to: app, retries: { extra: 0 } }
      - { match: { path: /small/* }, to: app, limits: { request_body: 1B } }
pools: { app: [@APP], gone: [@GONE] }
";
    let gone = testkit::Refusing::new();
    let tidegate = start(text, &[("APP", &server), ("GONE", &gone)]);
    let end = |path: &str, fields: &str| tidegate.client().ask(call(path, fields, b"\0\0\0\0\0"));
    assert_eq!(ended(&end("/deny/M", "")), (200, "7", "403: 100%25 no"));
    assert_eq!(ended(&end("/limit/M", "")), (200, "14", "429: denied"));
    assert_eq!(ended(&end("/gone/M", "")), (200, "14", "502: connect"));
    assert_eq!(ended(&end("/reset/M", "")), (200, "14", "502: reset"));
    assert_eq!(ended(&end("/small/M", "")), (200, "8", "413: body_too_large"));
    assert_eq!(ended(&end("/none/M", "")), (200, "12", "404: no_route"));
    let said = end("/reset/M", "grpc-timeout: 1s\r\n");
    assert_eq!(ended(&said), (200, "13", "400: malformed: grpc-timeout is no time"));
    let line = tidegate.log_of("/gone/M");
    assert_eq!((line["fault"].as_str(), line["grpc_status"].as_u64()), (Some("connect"), Some(14)));
    // Who does not call gets what everybody gets.
    assert_eq!(tidegate.client().get("/none/M").status, 404);
}

#[test]
fn a_deadline_is_kept_and_passed_on() {
    let server = Server::script(|peer| {
        peer.request().expect("a request");
        peer.hang();
    });
    let tidegate = before(&server, "timeouts: { total: 20s },", "");
    let response = tidegate.client().ask(call("/a.B/C", "grpc-timeout: 150m\r\n", b""));
    assert_eq!(ended(&response), (200, "4", "504: total_timeout"));
    let left = |timeout: Option<&str>| -> u64 {
        let micros = timeout.and_then(|value| value.strip_suffix('u')).expect("microseconds");
        micros.parse().expect("a number")
    };
    let passed = left(server.request().fields.value("grpc-timeout"));
    assert!((1..=150_000).contains(&passed), "{passed}");
    assert_eq!(tidegate.log_of("/a.B/C")["grpc_status"], 4);
    // The route's own time is told as well, and is the shorter one here.
    let mut client = tidegate.client();
    client.send(call("/a.B/C", "grpc-timeout: 1H\r\n", b""));
    let passed = left(server.request().fields.value("grpc-timeout"));
    assert!((10_000_000..=20_000_000).contains(&passed), "{passed}");
}

#[test]
fn a_call_is_made_again_after_an_end_that_is_worth_it() {
    let busy = Server::http(|_| refusal(14));
    let well = Server::http(|_| answer("\0\0\0\0\0", "grpc-status: 0\r\n"));
    let text = "
listeners: { web: { bind: 127.0.0.1:0, to: app } }
pools: { app: { servers: [@BUSY, { address: @WELL, backup: true }], retries: { extra: 1, if: unavailable } } }
";
    let tidegate = start(text, &[("BUSY", &busy), ("WELL", &well)]);
    let response = tidegate.client().ask(call("/a.B/C", "", b"\0\0\0\0\x02yo"));
    assert_eq!((response.fields.value("grpc-status"), response.trailers.value("grpc-status")), (None, Some("0")));
    assert_eq!(well.request().body, b"\0\0\0\0\x02yo");
    assert_eq!(tidegate.log_of("/a.B/C")["tries"], 2);
}

#[test]
fn a_server_is_judged_by_how_its_calls_end() {
    let server = Server::http(|_| answer("\0\0\0\0\0", "grpc-status: 14\r\n"));
    let other = Server::http(|_| answer("\0\0\0\0\0", "grpc-status: 0\r\n"));
    let text = "
listeners: { web: { bind: 127.0.0.1:0, to: app } }
pools: { app: { servers: [@BAD, @GOOD], balance: round_robin, outlier: { consecutive_errors: 2, max_ejected: 50% } } }
";
    let tidegate = start(text, &[("BAD", &server), ("GOOD", &other)]);
    let mut client = tidegate.client();
    for _ in 0..12 {
        client.ask(call("/a.B/C", "", b""));
    }
    assert_eq!((server.requests().len(), other.requests().len()), (2, 10));
}

#[test]
fn routes_tell_calls_by_service_and_method() {
    let text = "
listeners:
  web:
    bind: 127.0.0.1:0
    routes:
      - { match: { grpc: { service: shop.Cart, method: [Add, ~^Remove] } }, respond: 291 }
      - { match: { grpc: { service: { prefix: shop. } } }, respond: 292 }
      - { match: { kind: grpc }, respond: 293 }
      - { match: { kind: http }, respond: 294 }
";
    let tidegate = start(text, &[]);
    let status = |request: Vec<u8>| tidegate.client().ask(request).status;
    assert_eq!(status(call("/shop.Cart/Add", "", b"")), 291);
    assert_eq!(status(call("/shop.Cart/RemoveAll", "", b"")), 291);
    assert_eq!(status(call("/shop.Cart/Show", "", b"")), 292);
    assert_eq!(status(call("/other.Cart/Add", "", b"")), 293);
    assert_eq!(status(typed("/shop.Cart/Add", "application/grpc-web+proto", "", b"")), 291);
    assert_eq!(status(typed("/shop.Cart/Add", "application/json", "", b"")), 294);
    assert_eq!(status(get("/shop.Cart/Add", "Content-Type: application/grpc\r\n").into_bytes()), 294);
}

#[test]
fn messages_pass_one_by_one_both_ways() {
    let (seen, go) = (Signal::new(), Signal::new());
    let (first, on) = (seen.clone(), go.clone());
    let server = Server::script(move |peer| {
        let request = peer.request_head().expect("a head");
        assert_eq!(peer.reader.chunk().expect("a message"), b"\0\0\0\0\x01a");
        peer.send("HTTP/1.1 200 OK\r\nContent-Type: application/grpc\r\nTransfer-Encoding: chunked\r\n\r\n6\r\n\0\0\0\0\x01b\r\n");
        first.raise();
        on.wait();
        let (rest, _) = peer.reader.body(request.framing).expect("the rest");
        assert_eq!(rest, b"\0\0\0\0\x01c");
        peer.send("0\r\ngrpc-status: 0\r\n\r\n");
    });
    let tidegate = before(&server, "", "");
    let mut client = tidegate.client();
    client.send(
        "POST /a.B/C HTTP/1.1\r\nHost: a\r\nContent-Type: application/grpc\r\nTE: trailers\r\nConnection: TE\r\n\
         Transfer-Encoding: chunked\r\n\r\n6\r\n\0\0\0\0\x01a\r\n",
    );
    seen.wait();
    assert_eq!(client.head().status, 200);
    assert_eq!(client.reader.chunk().expect("a message"), b"\0\0\0\0\x01b");
    client.send("6\r\n\0\0\0\0\x01c\r\n0\r\n\r\n");
    go.raise();
    let (rest, trailers) = client.reader.body(Framing::Chunked).expect("the end");
    assert_eq!((rest.len(), trailers.value("grpc-status")), (0, Some("0")));
}
