//! What is refused by its head: types and lengths.

use testkit::{Ending, Folder, Framing, Server, Signal, h2, h3, ok, tool};

use super::{content, films, filtering, text as text_of};
use crate::forward::{asked, port};
use crate::support::{get, start};
use crate::tls::Desk;

/// A request of somebody who looks at pages.
fn browsing(target: &str) -> String {
    get(target, "Accept: text/html,application/xhtml+xml;q=0.9,*/*;q=0.8\r\n")
}

#[test]
fn a_type_is_refused_with_its_rule_and_the_connections_go_on() {
    let server = Server::http(|request| {
        let kind = request.target.trim_start_matches('/');
        format!("HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nContent-Length: 5\r\nSet-Cookie: a=1\r\n\r\nfilms")
            .into_bytes()
    });
    let tidegate = filtering(
        &server,
        "{ filter: { types: [video/*, application/x-msdownload], except: video/webm, deny: { reason: 'no <films>', contact: it@a.test } } }",
    );
    let mut client = tidegate.client();
    for free in ["text/html", "video/webm", "audio/mp4"] {
        assert_eq!(client.get(&format!("/{free}")).text(), "films", "{free}");
    }
    let refused = client.get("/video/mp4");
    assert_eq!(
        (refused.status, refused.text().as_str()),
        (403, "403: no <films>: rule `type video/mp4` of filter `web/filter`; ask it@a.test\n")
    );
    assert!(!refused.fields.has("set-cookie") && refused.fields.value("cache-control") == Some("no-store"));
    assert_eq!(client.get("/application/x-msdownload").status, 403);
    let page = client.ask(browsing("/Video/x"));
    assert_eq!((page.status, page.fields.value("content-type")), (403, Some("text/html; charset=utf-8")));
    for said in ["no &lt;films&gt;", "<dt>Filter</dt><dd>web/filter</dd>", "type Video/x", "the filter and the rule"] {
        assert!(page.text().contains(said), "{said}: {}", page.text());
    }
    assert_eq!(client.get("/text/css").text(), "films");
    assert_eq!(server.connections(), 1, "what was refused was here whole");
    let line = tidegate.log_of("/video/mp4");
    assert_eq!((&line["list"], &line["rule"]), (&"web/filter".into(), &"type video/mp4".into()));
    assert_eq!((&line["status"], &line["fault"], &line["tries"]), (&403.into(), &"denied".into(), &1.into()));
    assert_eq!(line["server"], server.address());
    assert_eq!(tidegate.metric("tidegate_filter_refusals_total", &["by=\"type\""]), [3.0]);
    assert_eq!(tidegate.metric("tidegate_filter_refusals_total", &["by=\"size\""]), [0.0]);
}

#[test]
fn only_some_types_pass_where_the_others_are_all_refused() {
    let server = films();
    let tidegate = filtering(&server, "{ filter: { types: '*/*', except: [text/*, application/*+json] } }");
    let mut client = tidegate.client();
    for (kind, status) in [("text/plain", 200), ("application/a+json", 200), ("image/png", 403), ("", 403)] {
        assert_eq!(client.get(&format!("/?{kind}")).status, status, "{kind}");
    }
}

#[test]
fn a_length_that_is_said_is_refused_before_a_byte_of_it_went_out() {
    let server = Server::script(|peer| {
        while let Some(request) = peer.request() {
            let length = request.target.trim_start_matches('/');
            // What it has said, it never sends.
            peer.send(format!("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {length}\r\n\r\nbegin"));
        }
    });
    let tidegate = filtering(&server, "{ filter: { over: 1MiB } }");
    let refused = tidegate.client().get("/1048577");
    assert_eq!(refused.text(), "403: blocked: rule `over 1MiB` of filter `web/filter`\n");
    let mut client = tidegate.client();
    client.send(get("/1048576", ""));
    assert_eq!(client.head().framing, Framing::Length(1_048_576));
    assert_eq!(client.exactly(5), b"begin");
    assert_eq!(server.connections(), 2, "who has more to say is left");
    drop(client);
    let mut client = tidegate.client();
    client.send("HEAD /1048577 HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(client.response_to_head().status, 403, "as a GET would be answered");
    assert_eq!(tidegate.metric("tidegate_filter_refusals_total", &["by=\"size\""]), [2.0]);
}

#[test]
fn a_part_counts_as_the_whole_that_it_is_of() {
    let server = Server::http(|request| match request.fields.value("range") {
        Some("bytes=0-4") => {
            b"HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 0-4/90\r\nContent-Length: 5\r\n\r\nfilms".to_vec()
        }
        Some(other) => panic!("{other}"),
        None => ok("films"),
    });
    let tidegate = filtering(&server, "{ filter: { types: video/*, over: 80B } }");
    let mut client = tidegate.client();
    assert_eq!(client.ask(get("/", "Range: bytes=0-4\r\n")).status, 403);
    let whole = client.ask(get("/", "Range: bytes=0-1,3-4\r\nIf-Range: \"a\"\r\n"));
    assert_eq!((whole.status, whole.text().as_str()), (200, "films"), "several parts would hide their types");
    assert!(!server.requests()[1].fields.has("if-range"));
}

#[test]
fn content_without_a_length_is_cut_where_it_is_too_long() {
    let server = Server::script(|peer| {
        while let Some(request) = peer.request() {
            let (head, until_close) = match request.target.as_str() {
                "/chunked" => ("Transfer-Encoding: chunked\r\n", false),
                _ => ("", true),
            };
            peer.send(format!("HTTP/1.1 200 OK\r\n{head}\r\n"));
            for _ in 0..300 {
                let sent = match until_close {
                    true => peer.try_send("x".repeat(1000)),
                    false => peer.try_send(format!("3e8\r\n{}\r\n", "x".repeat(1000))),
                };
                if !sent {
                    return;
                }
            }
            if until_close {
                return;
            }
            peer.try_send("0\r\n\r\n");
        }
    });
    for policies in ["{ filter: { over: 200KB } }", "{ compress: {} }, { filter: { over: 200KB } }"] {
        let tidegate = filtering(&server, policies);
        for target in ["/chunked", "/close"] {
            let mut client = tidegate.client();
            client.send(get(target, "Accept-Encoding: gzip\r\n"));
            let head = client.head();
            assert_eq!((head.status, head.framing), (200, Framing::Chunked));
            assert!(client.reader.body(Framing::Chunked).is_err(), "{policies}: {target} looks whole");
            let line = tidegate.log_of(target);
            assert_eq!((&line["cut"], &line["fault"]), (&true.into(), &"denied".into()));
            assert_eq!((&line["rule"], &line["list"]), (&"over 200KB".into(), &"web/filter".into()));
            assert_eq!(line["reason"], "the content is longer than a filter lets pass");
            assert!(line["bytes_out"].as_u64().is_some_and(|sent| sent <= 200_000), "{line}");
        }
        // HTTP/1.0 knows the end by the connection's alone.
        let mut client = tidegate.client();
        client.send("GET /close HTTP/1.0\r\nHost: a\r\n\r\n");
        client.head();
        assert!(client.reader.to_end().is_err() || client.ending() == Ending::Reset);
    }
}

#[test]
fn content_that_is_too_long_at_once_is_refused_with_a_page() {
    let server = films();
    let tidegate = filtering(&server, "{ filter: { over: 900B } }");
    let refused = tidegate.client().ask(browsing("/?text/plain&chunked"));
    assert_eq!(refused.status, 403);
    assert!(refused.text().contains("over 900B"), "{}", refused.text());
}

#[test]
fn a_stream_of_h2_is_reset_and_its_connection_goes_on() {
    let server = films();
    let tidegate = filtering(&server, "{ filter: { types: video/*, over: 9KB } }");
    let mut client = h2::Client::connect(tidegate.address("web").parse().expect("an address"));
    let refused = client.get("a", "/?video/mp4", &[]).expect("an answer");
    assert_eq!(refused.status, 403);
    assert!(client.get("a", "/?text/plain&chunked", &[]).is_err(), "it looks whole");
    assert_eq!(client.get("a", "/?text/plain", &[]).expect("an answer").status, 403);
    assert_eq!(tidegate.metric("tidegate_filter_refusals_total", &["by=\"size\""]), [2.0]);
}

#[test]
fn clients_of_h3_are_refused_the_same() {
    let desk = Desk::new();
    let folder = Folder::new();
    folder.write("w.txt", "plan\n");
    let server = films();
    let text = format!(
        "workers: 1
certificates: {{ main: {{ cert: '@DIR/main.pem', key: '@DIR/main.key' }} }}
listeners: {{ web: {{ bind: 127.0.0.1:0, http: [h1, h2, h3], tls: main, use: [{{ filter: {{ types: video/*, over: 9KB }} }}, {{ filter: {{ words: w }} }}],
  routes: [{{ match: {{ path: /page }}, to: page }}, {{ to: app }}] }} }}
pools: {{ app: [@APP], page: [@PAGE] }}
lists: {{ w: {{ file: '{}', format: words }} }}
",
        folder.path().join("w.txt").display()
    );
    let page = Server::http(|request| {
        let said = request.fields.value("x-say").unwrap_or_default();
        format!("HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: {}\r\n\r\n{said}", said.len())
            .into_bytes()
    });
    let tidegate = desk.start(&text, &[("APP", &server), ("PAGE", &page)]);
    let mut client = h3::Client::connect(&tidegate.address("web"), &desk.tls()).expect("a connection");
    let refused = client.get("example.com", "/?video/mp4", &[]).expect("an answer");
    assert_eq!(
        (refused.status, text_of(&refused.body)),
        (403, "403: blocked: rule `type video/mp4` of filter `web/filter`\n")
    );
    assert_eq!(client.get("example.com", "/?image/png", &[]).expect("an answer").status, 403, "its length");
    assert!(client.get("example.com", "/?image/png&chunked", &[]).is_err(), "it looks whole");
    let refused = client.get("example.com", "/page", &[("x-say", "the plan")]).expect("an answer");
    assert_eq!((refused.status, text_of(&refused.body)), (403, "403: blocked: rule `plan` of list `w`\n"));
    let passed = client.get("example.com", "/page", &[("x-say", "plans")]).expect("an answer");
    assert_eq!((passed.status, text_of(&passed.body)), (200, "plans"));
}

#[test]
fn every_filter_on_the_way_is_asked_and_edits_of_others_hide_nothing() {
    let server = films();
    let text = "
workers: 1
policies:
  no-films: { filter: { types: video/* } }
  short: { filter: { over: 20KB } }
listeners:
  web:
    bind: 127.0.0.1:0
    use: [no-films, { headers: { response: { set: { content-type: text/plain, x-seen: '1' } } } }]
    routes:
      - { match: { path: /free }, use: [short], to: app }
      - { use: [{ filter: { types: audio/* } }], to: app }
pools: { app: { servers: [@APP], retries: { extra: 3, if: [503] } } }
";
    let tidegate = start(text, &[("APP", &server)]);
    let mut client = tidegate.client();
    let refused = client.get("/?video/mp4");
    assert_eq!(refused.text(), "403: blocked: rule `type video/mp4` of filter `no-films`\n");
    assert_eq!(refused.fields.value("x-seen"), Some("1"), "an answer like any other");
    assert_eq!(client.get("/?audio/mp4").text(), "403: blocked: rule `type audio/mp4` of filter `web/1/filter`\n");
    assert_eq!(client.get("/free?audio/mp4").text(), content());
    assert_eq!(client.get("/free?video/mp4").status, 403);
    assert_eq!(server.requests().len(), 4, "what was refused is not asked for again");
    assert_eq!(tidegate.metric("tidegate_filter_refusals_total", &["filter=\"no-films\"", "by=\"type\""]), [2.0]);
}

#[test]
fn what_has_no_content_or_is_no_response_passes() {
    let server = Server::script(|peer| {
        while let Some(request) = peer.request() {
            match request.target.as_str() {
                "/304" => peer.send("HTTP/1.1 304 Not Modified\r\nContent-Type: video/mp4\r\n\r\n"),
                "/hint" => peer.send(
                    "HTTP/1.1 103 Early Hints\r\nContent-Type: video/mp4\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Type: text/a\r\n\r\nhi",
                ),
                "/moved" => peer.send("HTTP/1.1 302 Found\r\nLocation: /\r\nContent-Length: 0\r\n\r\n"),
                _ => {
                    let accept = testkit::websocket_accept(request.fields.value("sec-websocket-key").expect("a key"));
                    peer.send(format!(
                        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: {accept}\r\n\r\n"
                    ));
                    let heard = peer.reader.exactly(5).expect("a message");
                    peer.send(heard);
                    return;
                }
            }
        }
    });
    let tidegate = filtering(&server, "{ filter: { types: '*/*', except: text/*, over: 3B } }");
    let mut client = tidegate.client();
    assert_eq!(client.get("/304").status, 304);
    assert_eq!(client.get("/moved").status, 302);
    assert_eq!(client.get("/hint").text(), "hi");
    client.send(get(
        "/chat",
        "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n",
    ));
    assert_eq!(client.head().status, 101);
    client.send("hello");
    assert_eq!(client.exactly(5), b"hello");
}

#[test]
fn a_call_of_grpc_is_refused_by_a_status_of_its_own() {
    let server = Server::http(|_| {
        b"HTTP/1.1 200 OK\r\nContent-Type: application/grpc\r\nTransfer-Encoding: chunked\r\n\r\n7\r\n\0\0\0\0\x02hi\r\n0\r\ngrpc-status: 0\r\n\r\n".to_vec()
    });
    let tidegate = filtering(&server, "{ filter: { types: application/grpc, deny: { reason: no calls } } }");
    let call = "POST /a.B/C HTTP/1.1\r\nHost: a\r\nContent-Type: application/grpc\r\nTE: trailers\r\nConnection: TE\r\nContent-Length: 5\r\n\r\n\0\0\0\0\0";
    let answer = tidegate.client().ask(call);
    assert_eq!((answer.status, answer.fields.value("grpc-status")), (200, Some("7")));
    let message = answer.fields.value("grpc-message").unwrap_or_default();
    assert!(message.contains("type application/grpc"), "{message}");
}

#[test]
fn a_server_that_goes_on_is_left_and_a_client_that_goes_is_noted() {
    let (refused, seen) = (Signal::new(), Signal::new());
    let told = refused.clone();
    let noticed = seen.clone();
    let server = Server::script(move |peer| {
        peer.request().expect("a request");
        peer.send("HTTP/1.1 200 OK\r\nContent-Type: video/mp4\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n");
        told.wait();
        // Its connection was closed: there is no end to wait for.
        let _ = peer.rest();
        noticed.raise();
    });
    let tidegate = filtering(&server, "{ filter: { types: video/* } }");
    assert_eq!(tidegate.client().get("/").status, 403);
    refused.raise();
    seen.wait();
}

#[test]
fn curl_sees_a_page_and_a_transfer_that_is_not_whole() {
    let Some(mut curl) = tool("curl") else { return };
    let server = films();
    let text =
        crate::forward::OPEN.replace("@MORE", "use: [{ filter: { types: video/*, over: 9KB } }]\n    to: origin");
    let tidegate = start(&text, &[]);
    assert_eq!(tidegate.client().ask(asked(&format!("http://a.test:{}/?video/mp4", port(&server)))).status, 403);
    let proxy = format!("http://{}", tidegate.address("web"));
    let url = |target: &str| format!("http://a.test:{}/{target}", port(&server));
    let output = curl
        .args([
            "-sS",
            "--max-time",
            "20",
            "-x",
            &proxy,
            "-H",
            "Accept: text/html",
            &url("?video/mp4"),
            "-w",
            "%{http_code}",
        ])
        .output()
        .expect("a client that runs");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(said.starts_with("<!doctype html>") && said.contains("type video/mp4") && said.ends_with("403"), "{said}");
    let mut curl = tool("curl").expect("it was there");
    let output = curl
        .args(["-sS", "--max-time", "20", "-x", &proxy, &url("?text/plain&chunked"), "-w", "%{http_code}"])
        .output()
        .expect("a client that runs");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(!output.status.success() || said.ends_with("403"), "{said}");
    assert!(!said.contains(&content()));
}
