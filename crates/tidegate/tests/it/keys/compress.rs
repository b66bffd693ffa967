//! Compression: what each key changes.

use testkit::{Client, Response, Server, Signal, Tidegate};

use super::Case;
use crate::support::{get, start};

pub(super) const CASES: &[Case] = &[
    (&["policies.*.*.compress"], compresses),
    (&["policies.*.*.compress.codings"], codings),
    (&["policies.*.*.compress.levels", "policies.*.*.compress.levels.zstd"], || level("zstd", 7)),
    (&["policies.*.*.compress.levels.br"], || level("br", 5)),
    (&["policies.*.*.compress.levels.gzip"], || level("gzip", 9)),
    (&["policies.*.*.compress.min_size"], min_size),
    (&["policies.*.*.compress.types"], types),
    (&["policies.*.*.compress.offload"], offload),
    (&["policies.*.*.compress.at_once"], at_once),
];

fn text(policy: &str) -> String {
    format!(
        "listeners: {{ web: {{ bind: 127.0.0.1:0, use: [{{ compress: {{ {policy} }} }}], to: app }} }}\npools: {{ app: [@APP] }}\n"
    )
}

/// A server whose answers are as long as their request's path says, of the type that its query says.
fn server() -> Server {
    Server::http(|request| {
        let (path, kind) = request.target.split_once('?').unwrap_or((&request.target, "text/plain"));
        let length: usize = path.trim_start_matches('/').parse().expect("a length");
        let words = ["tide ", "gate ", "head ", "request ", "worker\n", "<li>", "</li>", "17", "stream "];
        let mut body: String = (0..length).map(|n| words[(n * n / 7 + n / 3 * n % 11) % words.len()]).collect();
        body.truncate(length);
        format!("HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\n\r\n{body}").into_bytes()
    })
}

fn ask(tidegate: &Tidegate, target: &str, codings: &str) -> Response {
    tidegate.client().ask(get(target, &format!("Accept-Encoding: {codings}\r\n")))
}

fn coding(response: &Response) -> Option<&str> {
    response.fields.value("content-encoding")
}

fn compresses() {
    let server = server();
    let tidegate = start(&text(""), &[("APP", &server)]);
    assert_eq!(coding(&ask(&tidegate, "/5000", "gzip, br, zstd")), Some("zstd"));
    assert_eq!(server.request().fields.value("accept-encoding"), Some("gzip, br, zstd"));
}

fn codings() {
    let server = server();
    let tidegate = start(&text("codings: [gzip, br]"), &[("APP", &server)]);
    assert_eq!(coding(&ask(&tidegate, "/5000", "br, gzip, zstd")), Some("gzip"));
    assert_eq!(coding(&ask(&tidegate, "/5000", "br, gzip;q=0.9")), Some("br"));
    assert_eq!(coding(&ask(&tidegate, "/5000", "zstd")), None);
}

fn level(name: &str, most: u8) {
    let server = server();
    let length = |level: u8| {
        let tidegate = start(&text(&format!("levels: {{ {name}: {level} }}")), &[("APP", &server)]);
        ask(&tidegate, "/60000", name).body.len()
    };
    assert!(length(most) < length(1), "{name}");
}

fn min_size() {
    let server = server();
    let tidegate = start(&text("min_size: 600B"), &[("APP", &server)]);
    assert_eq!(coding(&ask(&tidegate, "/599", "gzip")), None);
    assert_eq!(coding(&ask(&tidegate, "/600", "gzip")), Some("gzip"));
}

fn types() {
    let server = server();
    let tidegate = start(&text("types: [image/png, text/*, application/*+json]"), &[("APP", &server)]);
    for (kind, is_coded) in
        [("image/png", true), ("text/css", true), ("application/x+json", true), ("application/json", false)]
    {
        assert_eq!(coding(&ask(&tidegate, &format!("/5000?{kind}"), "gzip")).is_some(), is_coded, "{kind}");
    }
    let tidegate = start(&text(""), &[("APP", &server)]);
    for (kind, is_coded) in [("image/png", false), ("application/json", true), ("text/event-stream", false)] {
        assert_eq!(coding(&ask(&tidegate, &format!("/5000?{kind}"), "gzip")).is_some(), is_coded, "{kind}");
    }
}

fn offload() {
    let server = server();
    let tidegate = start(&text("offload: true"), &[("APP", &server)]);
    assert_eq!(coding(&ask(&tidegate, "/5000", "gzip, br")), Some("br"));
    assert_eq!(server.request().fields.value("accept-encoding"), Some("identity"));
}

/// The second of two that are under way goes as it is.
fn at_once() {
    let end = Signal::new();
    let wait = end.clone();
    let server = Server::script(move |peer| {
        peer.request().expect("a request");
        peer.send("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n");
        wait.wait();
        peer.send("0\r\n\r\n");
    });
    let tidegate = start(&text("at_once: 1"), &[("APP", &server)]);
    let begin = || {
        let mut client: Client = tidegate.client();
        client.send(get("/", "Accept-Encoding: gzip\r\n"));
        let coded = client.head().fields.has("content-encoding");
        (client, coded)
    };
    let (_first, is_first) = begin();
    let (_second, is_second) = begin();
    assert_eq!((is_first, is_second), (true, false));
    assert_eq!(tidegate.metric("tidegate_encoders", &[]), [1.0]);
    assert_eq!(tidegate.metric("tidegate_encoders_refused_total", &[]), [1.0]);
    end.raise();
}
