//! Responses in a content coding, on the wire.

use testkit::{Framing, Response, Server, Signal, Tidegate, decoded, decoded_whole, skip, tool};

use crate::support::{get, start};

/// One listener that compresses, in front of one server.
fn compressing(server: &Server, policy: &str) -> Tidegate {
    let text = format!(
        "listeners: {{ web: {{ bind: 127.0.0.1:0, use: [{{ compress: {{ {policy} }} }}], to: app }} }}\npools: {{ app: [@APP] }}\n"
    );
    start(&text, &[("APP", server)])
}

/// Text that compresses well, and tells where it is cut.
fn text(length: usize) -> String {
    let mut text: String = (0..length / 8 + 1).map(|line| format!("{line:06} \n")).collect();
    text.truncate(length);
    text
}

fn respond(fields: &str, body: &str) -> Vec<u8> {
    format!("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n{fields}Content-Length: {}\r\n\r\n{body}", body.len())
        .into_bytes()
}

fn accepting(codings: &str) -> String {
    get("/", &format!("Accept-Encoding: {codings}\r\n"))
}

fn coding(response: &Response) -> &str {
    response.fields.value("content-encoding").unwrap_or_default()
}

#[test]
fn every_coding_gives_the_same_content() {
    let server = Server::http(|_| respond("", &text(200_000)));
    let tidegate = compressing(&server, "");
    for (asked, given) in [("gzip", "gzip"), ("br", "br"), ("zstd", "zstd"), ("gzip, br, zstd;q=0", "br")] {
        // The second is coded by what the first has left.
        let mut client = tidegate.client();
        for _ in 0..2 {
            let response = client.ask(accepting(asked));
            assert_eq!((coding(&response), response.framing), (given, Framing::Chunked));
            assert!(response.body.len() < 100_000, "{}", response.body.len());
            assert!(decoded_whole(given, &response.body) == text(200_000).as_bytes(), "{asked}");
        }
    }
    let plain = tidegate.client().ask(accepting("identity"));
    assert_eq!((plain.text(), plain.framing), (text(200_000), Framing::Length(200_000)));
}

#[test]
fn the_head_says_what_holds_for_coded_content() {
    let server = Server::http(|request| match request.fields.value("if-none-match") {
        Some(_) => b"HTTP/1.1 304 Not Modified\r\nETag: \"7\"\r\n\r\n".to_vec(),
        None => respond("ETag: \"7\"\r\nAccept-Ranges: bytes\r\nVary: Origin\r\n", &text(4000)),
    });
    let tidegate = compressing(&server, "");
    let mut client = tidegate.client();
    let coded = client.ask(accepting("gzip"));
    assert_eq!(coded.fields.value("etag"), Some("W/\"7\""));
    assert_eq!(coded.fields.values("vary"), ["Origin", "Accept-Encoding"]);
    assert!(!coded.fields.has("accept-ranges") && !coded.fields.has("content-length"));
    let plain = client.get("/");
    assert_eq!(plain.fields.value("etag"), Some("\"7\""));
    assert_eq!(plain.fields.values("vary"), ["Origin", "Accept-Encoding"]);
    assert!(plain.fields.has("accept-ranges"));
    let held = client.ask(get("/", "Accept-Encoding: gzip\r\nIf-None-Match: W/\"7\"\r\n"));
    assert_eq!((held.status, held.fields.value("etag")), (304, Some("W/\"7\"")));
    assert_eq!(held.fields.value("vary"), Some("Accept-Encoding"));
}

#[test]
fn a_head_request_is_told_what_a_get_would_be() {
    let server = Server::http(|request| {
        let mut response = respond("", &text(4000));
        if request.method == "HEAD" {
            response.truncate(response.len() - 4000);
        }
        response
    });
    let tidegate = compressing(&server, "");
    let mut client = tidegate.client();
    client.send("HEAD / HTTP/1.1\r\nHost: a\r\nAccept-Encoding: gzip\r\n\r\n");
    let head = client.response_to_head();
    assert_eq!((coding(&head), head.fields.has("content-length")), ("gzip", false));
    // The connection goes on.
    assert_eq!(coding(&client.ask(accepting("gzip"))), "gzip");
}

#[test]
fn what_a_server_has_said_comes_out_before_it_says_more() {
    for name in ["gzip", "br", "zstd"] {
        let next = Signal::new();
        let seen = next.clone();
        let server = Server::script(move |peer| {
            peer.request().expect("a request");
            peer.send(
                "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\n6\r\nfirst\n\r\n",
            );
            seen.wait();
            peer.send("5\r\nlast\n\r\n0\r\nX-Sum: 7\r\n\r\n");
            peer.rest().expect("an end");
        });
        let tidegate = compressing(&server, "");
        let mut client = tidegate.client();
        client.send(get("/", &format!("Accept-Encoding: {name}\r\nTE: trailers\r\nConnection: TE\r\n")));
        assert_eq!(coding(&client.head()), name);
        let mut content = Vec::new();
        while decoded(name, &content) != b"first\n" {
            content.extend(client.reader.chunk().expect("a chunk"));
        }
        next.raise();
        let (rest, trailers) = client.reader.body(Framing::Chunked).expect("the rest");
        content.extend(rest);
        assert_eq!(decoded_whole(name, &content), b"first\nlast\n");
        assert_eq!(trailers.value("x-sum"), Some("7"));
    }
}

#[test]
fn a_body_of_any_length_goes_through_at_the_pace_of_its_client() {
    const LENGTH: usize = 6 << 20;
    let server = Server::http(|_| respond("", &text(LENGTH)));
    let tidegate = compressing(&server, "");
    // What every first use of it brings into memory, the program's own pages among them.
    tidegate.client().ask(accepting("zstd"));
    let before = tidegate.rss();
    let mut client = tidegate.client();
    client.send(accepting("zstd"));
    // Others are served while it waits for its client.
    for _ in 0..3 {
        assert_eq!(coding(&tidegate.client().ask(get("/", "Accept-Encoding: gzip\r\n"))), "gzip");
    }
    let response = client.response();
    assert!(decoded_whole("zstd", &response.body) == text(LENGTH).as_bytes());
    assert!(tidegate.rss() < before + (16 << 20), "{} from {before}", tidegate.rss());
}

#[test]
fn a_response_that_is_cut_looks_cut() {
    let server = Server::script(|peer| {
        peer.request().expect("a request");
        peer.send("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 9000\r\n\r\nshort");
    });
    let tidegate = compressing(&server, "");
    let mut client = tidegate.client();
    client.send(accepting("gzip"));
    assert!(client.try_response().is_err());
    assert_eq!(tidegate.log_of("/")["fault"], "truncated");
    // An encoder that was left in the middle does not spoil the next content.
    let whole = Server::http(|_| respond("", &text(5000)));
    let tidegate = start(
        "listeners: { web: { bind: 127.0.0.1:0, use: [{ compress: {} }], routes: [{ match: { path: /cut }, to: cut }, { to: app }] } }\n\
         pools: { app: [@APP], cut: [@CUT] }\nworkers: 1\n",
        &[("APP", &whole), ("CUT", &server)],
    );
    for _ in 0..3 {
        let mut cut = tidegate.client();
        cut.send(get("/cut", "Accept-Encoding: gzip\r\n"));
        assert!(cut.try_response().is_err());
        let response = tidegate.client().ask(accepting("gzip"));
        assert!(decoded_whole("gzip", &response.body) == text(5000).as_bytes());
    }
}

#[test]
fn an_answer_of_our_own_is_compressed_too() {
    let text = format!(
        "listeners: {{ web: {{ bind: 127.0.0.1:0, use: [{{ compress: {{}} }}], routes: [{{ match: {{ path: /short }}, \
         respond: {{ body: short }} }}, {{ respond: {{ body: \"{}\" }} }}] }} }}\n",
        "x".repeat(70_000)
    );
    let tidegate = start(&text, &[]);
    let mut client = tidegate.client();
    for name in ["gzip", "br", "zstd"] {
        let response = client.ask(accepting(name));
        assert_eq!((coding(&response), response.fields.value("vary")), (name, Some("Accept-Encoding")));
        assert_eq!(response.framing, Framing::Length(response.body.len() as u64));
        assert!(decoded_whole(name, &response.body) == "x".repeat(70_000).as_bytes());
        client.send(format!("HEAD / HTTP/1.1\r\nHost: a\r\nAccept-Encoding: {name}\r\n\r\n"));
        let head = client.response_to_head();
        assert_eq!(head.fields.value("content-length"), response.fields.value("content-length"));
    }
    let short = client.ask(get("/short", "Accept-Encoding: gzip\r\n"));
    assert_eq!((short.text().as_str(), short.fields.has("vary")), ("short", false));
}

#[test]
fn curl_reads_every_coding_that_it_knows() {
    let server = Server::http(|_| respond("", &text(300_000)));
    let tidegate = compressing(&server, "");
    for (coding, library) in [("gzip", "zlib/"), ("br", "brotli/"), ("zstd", "zstd/")] {
        let (Some(mut version), Some(mut curl)) = (tool("curl"), tool("curl")) else { return };
        let version = version.arg("--version").output().expect("curl");
        if !String::from_utf8_lossy(&version.stdout).contains(library) {
            skip(&format!("this curl does not read {coding}"));
            continue;
        }
        let url = format!("http://{}/", tidegate.address("web"));
        let asked = format!("Accept-Encoding: {coding}");
        let got = curl.args(["-sS", "--compressed", "-H", &asked, &url]).output().expect("curl");
        assert!(got.stdout == text(300_000).as_bytes(), "{coding}: {}", String::from_utf8_lossy(&got.stderr));
    }
    assert_eq!(
        server.requests().len(),
        server.requests().iter().filter(|one| one.fields.has("accept-encoding")).count()
    );
}
