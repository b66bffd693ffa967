//! Filters of responses: what each key changes.

use testkit::{Folder, Response, Server, Start, Tidegate};

use super::Case;
use crate::support::{BINARY, config, start};

pub(super) const CASES: &[Case] = &[
    (&["policies.*.*.filter", "policies.*.*.filter.types"], types),
    (&["policies.*.*.filter.except"], except),
    (&["policies.*.*.filter.over"], over),
    (&["policies.*.*.filter.deny", "policies.*.*.filter.deny.status"], status),
    (&["policies.*.*.filter.deny.reason", "policies.*.*.filter.deny.contact"], reason),
    (&["policies.*.*.filter.words", "policies.*.*.filter.words.list"], words),
    (&["policies.*.*.filter.words.score"], score),
    (&["policies.*.*.filter.words.types"], text_types),
    (&["policies.*.*.filter.words.hold", "policies.*.*.filter.words.unread"], hold),
    (&["policies.*.*.filter.words.wait"], wait),
    (&["policies.*.*.filter.words.at_once"], at_once),
];

/// A proxy that looks for `bad` and, with its weight, `worse 60` in what this server says.
fn reading(server: &Server, words: &str) -> (Tidegate, Folder) {
    let folder = Folder::new();
    folder.write("w.txt", "bad\nworse 60\n");
    let text = config(
        &format!(
            "listeners: {{ web: {{ bind: 127.0.0.1:0, use: [{{ filter: {{ words: {words} }} }}], to: app }} }}\npools: {{ app: [@APP] }}\n\
             lists: {{ w: {{ file: w.txt, format: words }} }}\n"
        ),
        &[("APP", server)],
    );
    (Start::of(BINARY).file(&folder.write("t.yaml", &text)), folder)
}

fn read(words: &str, kind: &'static str, text: &'static str) -> Response {
    let server = Server::http(move |_| {
        format!("HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nContent-Length: {}\r\n\r\n{text}", text.len()).into_bytes()
    });
    let (tidegate, _folder) = reading(&server, words);
    tidegate.client().get("/")
}

fn words() {
    assert_eq!(read("w", "text/html", "this is bad").text(), "403: blocked: rule `bad` of list `w`\n");
    assert_eq!(read("{ list: [w] }", "text/html", "this is not").status, 200);
}

fn score() {
    assert_eq!(read("{ list: w, score: 61 }", "text/html", "worse").status, 200);
    assert_eq!(
        read("{ list: w, score: 60 }", "text/html", "worse").text(),
        "403: blocked: rule `score 60: worse` of list `w`\n"
    );
}

fn text_types() {
    assert_eq!(read("{ list: w, types: application/x-note }", "text/html", "bad").status, 200);
    assert_eq!(read("{ list: w, types: application/x-note }", "application/x-note", "bad").status, 403);
}

fn hold() {
    let server = Server::http(|_| {
        let text = "all is well ".repeat(10_000);
        format!("HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: {}\r\n\r\n{text}", text.len())
            .into_bytes()
    });
    let status = |words: &str| {
        let (tidegate, _folder) = reading(&server, words);
        tidegate.client().get("/").status
    };
    assert_eq!(status("{ list: w, unread: refuse }"), 200);
    assert_eq!(status("{ list: w, hold: 9B, unread: refuse }"), 403);
    assert_eq!(status("{ list: w, hold: 9B }"), 200);
}

/// A server whose text never ends.
fn slow() -> Server {
    Server::script(|peer| {
        while peer.request().is_some() {
            peer.send("HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nall\r\n");
            peer.hang();
        }
    })
}

fn wait() {
    let server = slow();
    let (tidegate, _folder) = reading(&server, "{ list: w, wait: 50ms, unread: refuse }");
    let refused = tidegate.client().get("/");
    assert_eq!(refused.text(), "403: blocked: rule `unread: slower than is waited for` of filter `web/filter`\n");
}

fn at_once() {
    let server = Server::http(|_| {
        b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nbad\r\n0\r\n\r\n"
            .to_vec()
    });
    // One that is held for as long as it likes takes the only place.
    let held = slow();
    let folder = Folder::new();
    folder.write("w.txt", "bad\n");
    let text = config(
        "workers: 1\npolicies: { read: { filter: { words: { list: w, at_once: 1, unread: refuse } } } }\n\
         listeners: { web: { bind: 127.0.0.1:0, use: [read], routes: [{ match: { path: /held }, to: held }, { to: app }] } }\n\
         pools: { app: [@APP], held: [@HELD] }\nlists: { w: { file: w.txt, format: words } }\n",
        &[("APP", &server), ("HELD", &held)],
    );
    let tidegate = Start::of(BINARY).file(&folder.write("t.yaml", &text));
    let (mut holder, refused) = (None, || tidegate.client().get("/").text());
    testkit::until("the place is taken", || {
        // Who looks takes it for a moment, and may keep out who is to hold it.
        holder.insert(tidegate.client()).send(crate::support::get("/held", ""));
        let text = refused();
        assert!(text.starts_with("403: blocked"), "{text}");
        text == "403: blocked: rule `unread: too many at once` of filter `read`\n"
    });
    drop(holder);
    testkit::until("it is free again", || refused() == "403: blocked: rule `bad` of list `w`\n");
}

fn filtered(filter: &str) -> Response {
    let server = Server::http(|_| {
        b"HTTP/1.1 200 OK\r\nContent-Type: video/mp4\r\nContent-Length: 11\r\n\r\nmoving pics".to_vec()
    });
    let text = format!(
        "listeners: {{ web: {{ bind: 127.0.0.1:0, use: [{{ filter: {filter} }}], to: app }} }}\npools: {{ app: [@APP] }}\n"
    );
    start(&text, &[("APP", &server)]).client().get("/")
}

fn types() {
    assert_eq!(filtered("{ types: video/* }").text(), "403: blocked: rule `type video/mp4` of filter `web/filter`\n");
    assert_eq!(filtered("{ types: audio/* }").status, 200);
}

fn except() {
    assert_eq!(filtered("{ types: '*/*', except: video/mp4 }").status, 200);
}

fn over() {
    assert_eq!(filtered("{ over: 10B }").text(), "403: blocked: rule `over 10B` of filter `web/filter`\n");
    assert_eq!(filtered("{ over: 11B }").status, 200);
}

fn status() {
    assert_eq!(filtered("{ over: 1B, deny: 451 }").status, 451);
}

fn reason() {
    let text = filtered("{ over: 1B, deny: { reason: too long, contact: me } }").text();
    assert_eq!(text, "403: too long: rule `over 1B` of filter `web/filter`; ask me\n");
}
