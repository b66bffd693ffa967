//! Words in texts: found before a client has any of them, whatever versions, codings and pieces they come in.

use std::io::Write as _;
use std::sync::Arc;

use testkit::{Folder, Framing, Server, Signal, Start, Tidegate, coded, decoded_whole, h2, tool, until};

use super::text;
use crate::capture::entries;
use crate::forward::{OPEN, port};
use crate::support::{BINARY, config, get};

/// The list that most tests use.
const LIST: &str = "# words\nforbidden fruit\n\"plan 9\"\n<heavy><60>\nheavier 60\nharmless -100\n東京\nÄrger\n";

/// What is looked for in that list.
const WORDS: &str = "{ filter: { words: w } }";

pub(super) struct Library {
    pub(super) tidegate: Tidegate,
    folder: Folder,
}

fn library(server: &Server, policies: &str) -> Library {
    library_of(server, policies, "")
}

/// The same with more keys of the listener.
pub(super) fn library_of(server: &Server, policies: &str, more: &str) -> Library {
    library_with(
        server,
        &format!("listeners: {{ web: {{ bind: 127.0.0.1:0, http: [h1, h2], {more}use: [{policies}], to: app }} }}\n"),
    )
}

/// The same with listeners, and policies, of one's own.
pub(super) fn library_with(server: &Server, text: &str) -> Library {
    let folder = Folder::new();
    folder.write("w.txt", LIST);
    let text =
        format!("workers: 1\n{text}pools: {{ app: [@APP] }}\nlists: {{ w: {{ file: w.txt, format: words }} }}\n");
    let text = config(&text, &[("APP", server)]);
    Library { tidegate: Start::of(BINARY).file(&folder.write("t.yaml", &text)), folder }
}

pub(super) fn page(fields: &str, body: &[u8]) -> Vec<u8> {
    let head = format!("HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n{fields}Content-Length: {}\r\n\r\n", body.len());
    [head.as_bytes(), body].concat()
}

/// A server that says what it is told to, as a page.
fn speaking() -> Server {
    Server::http(|request| page("", format!("<p>{}</p>", request.fields.value("x-say").unwrap_or_default()).as_bytes()))
}

/// A request for a page that says this.
fn say(said: &str, fields: &str) -> String {
    get("/page", &format!("X-Say: {said}\r\n{fields}"))
}

#[test]
fn words_and_phrases_are_refused_and_told_and_logged() {
    let server = speaking();
    let library = library(&server, WORDS);
    let mut client = library.tidegate.client();
    let mut ask = |said: &str| {
        let answer = client.ask(say(&said.replace('+', " "), ""));
        (answer.status, text(&answer.body).to_owned())
    };
    let refused = |rule: &str| (403, format!("403: blocked: rule `{rule}` of list `w`\n"));
    assert_eq!(ask("the+FORBIDDEN,+<b>fruit</b>!"), refused("forbidden fruit"));
    assert_eq!(ask("plan+9"), refused("plan 9"));
    assert_eq!(ask("heavy+and+heavier"), refused("score 120: heavier, heavy"));
    assert_eq!(ask("heavy+heavy+heavy").0, 200, "each counts once");
    assert_eq!(ask("heavy+and+heavier+yet+harmless").0, 200);
    assert_eq!(ask("forbidden+fruits+plan+90").0, 200, "whole words alone");
    assert_eq!(ask("&#26481;&#20140;"), refused("東京"));
    assert_eq!(server.connections(), 1, "what has been read whole leaves its connection");
    let line = library.tidegate.log_line("a refusal", |line| line["rule"] == "plan 9");
    assert_eq!((&line["list"], &line["status"], &line["fault"]), (&"w".into(), &403.into(), &"denied".into()));
    assert_eq!(library.tidegate.metric("tidegate_list_hits_total", &["list=\"w\""]), [4.0]);
    assert_eq!(library.tidegate.metric("tidegate_filter_refusals_total", &["by=\"words\""]), [4.0]);
    let browser = say("plan 9", "Accept: text/html\r\n");
    let shown = library.tidegate.client().ask(browser).text();
    assert!(shown.contains("<dt>List</dt><dd>w</dd>") && shown.contains("<code>plan 9</code>"), "{shown}");
}

#[test]
fn what_passes_is_what_the_server_has_sent() {
    let body: Arc<str> = "a page of words, and of more words\n".repeat(20_000).into();
    let sent = Arc::clone(&body);
    let server = Server::http(move |request| match request.target.as_str() {
        "/length" => page("ETag: \"1\"\r\n", sent.as_bytes()),
        _ => {
            let mut out = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
            for piece in sent.as_bytes().chunks(7777) {
                write!(out, "{:x}\r\n{}\r\n", piece.len(), text(piece)).expect("memory");
            }
            out.extend_from_slice(b"0\r\nX-Sum: 7\r\n\r\n");
            out
        }
    });
    let library = library(&server, WORDS);
    let mut client = library.tidegate.client();
    let whole = client.get("/length");
    assert!(whole.text() == *body && whole.fields.value("etag") == Some("\"1\""));
    assert_eq!(whole.framing, Framing::Length(body.len() as u64));
    client.send(get("/chunks", "TE: trailers\r\nConnection: TE\r\n"));
    assert_eq!(client.head().framing, Framing::Chunked);
    let (content, trailers) = client.reader.body(Framing::Chunked).expect("a whole body");
    assert!(content == body.as_bytes());
    assert_eq!(trailers.value("x-sum"), Some("7"));
    // And once more over HTTP/2.
    let mut client = h2::Client::connect(library.tidegate.address("web").parse().expect("an address"));
    assert!(client.get("a", "/chunks", &[]).expect("an answer").body == body.as_bytes());
    assert_eq!(server.connections(), 1);
}

#[test]
fn a_word_that_is_cut_by_chunks_and_pauses_is_found() {
    let server = Server::script(|peer| {
        while peer.request().is_some() {
            peer.send("HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nTransfer-Encoding: chunked\r\n\r\n");
            for byte in "say forbidden fruit now".bytes() {
                peer.send(format!("1\r\n{}\r\n", char::from(byte)));
            }
            peer.send("0\r\n\r\n");
        }
    });
    let library = library(&server, WORDS);
    let mut client = library.tidegate.client();
    assert_eq!(client.get("/").status, 403);
    let mut client = h2::Client::connect(library.tidegate.address("web").parse().expect("an address"));
    assert_eq!(client.get("a", "/", &[]).expect("an answer").status, 403);
}

#[test]
fn coded_pages_are_read_and_go_on_as_they_came() {
    let server = Server::http(|request| {
        let asked = request.fields.value("accept-encoding").expect("codings");
        let coding = asked.split(';').next().expect("one of them");
        let said = match request.target.as_str() {
            "/bad" => format!("{} forbidden fruit {}", "more words ".repeat(9000), "and more ".repeat(9000)),
            _ => "more words ".repeat(9000),
        };
        page(&format!("Content-Encoding: {coding}\r\n"), &coded(coding, said.as_bytes()))
    });
    let library = library(&server, WORDS);
    let mut client = library.tidegate.client();
    for coding in ["gzip", "deflate", "br", "zstd"] {
        let accepting = format!("Accept-Encoding: {coding}\r\n");
        assert_eq!(client.ask(get("/bad", &accepting)).status, 403, "{coding}");
        let page = client.ask(get("/good", &accepting));
        assert_eq!((page.status, page.fields.value("content-encoding")), (200, Some(coding)));
        assert!(page.body == coded(coding, "more words ".repeat(9000).as_bytes()), "{coding}");
    }
    client.ask(get("/good", "Accept-Encoding: dcb, gzip;q=0.5\r\n"));
    let asked = server.requests().pop().expect("a request");
    assert_eq!(asked.fields.value("accept-encoding"), Some("gzip;q=0.5"), "in what can be read");
}

#[test]
fn compression_and_captures_have_what_clients_get() {
    let server = speaking();
    let library = library(
        &server,
        "{ capture: { har: a.har, bodies: 1KiB } }, { compress: { min_size: 1B } }, { filter: { words: w } }",
    );
    let mut client = library.tidegate.client();
    let page = client.ask(say("a harmless page", "Accept-Encoding: gzip\r\n"));
    assert_eq!(page.fields.value("content-encoding"), Some("gzip"));
    assert_eq!(text(&decoded_whole("gzip", &page.body)), "<p>a harmless page</p>");
    assert_eq!(client.ask(say("plan 9", "")).status, 403);
    let entries = entries(&library.tidegate, "a.har", 2);
    assert_eq!(entries[1]["response"]["status"], 403);
    let kept = entries[1]["response"]["content"]["text"].as_str().expect("a text");
    assert!(kept.starts_with("403: blocked"), "{kept}");
    assert_eq!(entries[0]["response"]["bodySize"].as_u64(), Some(page.body.len() as u64));
}

#[test]
fn twenty_megabytes_pass_where_they_may_and_are_cut_off_early_where_not() {
    let server = Server::script(|peer| {
        while peer.request().is_some() {
            let line = "all is well, and so it goes on for a while\n".repeat(1000);
            let lines = 20_000_000 / line.len();
            peer.send(format!(
                "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {}\r\n\r\n",
                lines * line.len()
            ));
            for _ in 0..lines {
                if !peer.try_send(&line) {
                    return;
                }
            }
        }
    });
    let passing = library(&server, WORDS);
    let mut client = passing.tidegate.client();
    client.send(get("/long", ""));
    let Framing::Length(length) = client.head().framing else { panic!("a length") };
    client.reader.discard(length).expect("all of it");
    assert!(length > 19_000_000);
    assert_eq!(passing.tidegate.log_of("/long")["unread"], "long");
    let refusing = library(&server, "{ filter: { words: { list: w, unread: refuse, hold: 256KiB } } }");
    let refused = refusing.tidegate.client().get("/long");
    assert_eq!(refused.text(), "403: blocked: rule `unread: longer than is held` of filter `web/filter`\n");
}

#[test]
fn a_few_bytes_that_stand_for_millions_are_not_read_to_their_end() {
    let bomb: Arc<[u8]> = coded("gzip", &vec![b' '; 100 << 20]).into();
    let sent = Arc::clone(&bomb);
    let server = Server::http(move |_| page("Content-Encoding: gzip\r\n", &sent));
    let library = library(&server, "{ filter: { words: { list: w, unread: refuse } } }");
    assert_eq!(library.tidegate.client().get("/").status, 403);
    let line = library.tidegate.log_of("/");
    assert_eq!(line["rule"], "unread: longer than is held");
}

#[test]
fn what_cannot_be_read_passes_or_is_refused() {
    let server = Server::http(|request| {
        match request.target.as_str() {
        "/unknown" => page("Content-Encoding: compress\r\n", b"forbidden fruit"),
        "/broken" => page("Content-Encoding: gzip\r\n", b"forbidden fruit"),
        "/half" => page("Content-Encoding: gzip\r\n", &coded("gzip", b"some words")[..9]),
        "/early" => {
            let content = coded("gzip", b"heavy and heavier");
            page("Content-Encoding: gzip\r\n", &content[..content.len() - 8])
        }
        "/first" => b"HTTP/1.1 206 Partial Content\r\nContent-Type: text/html\r\nContent-Range: bytes 0-5/90\r\nContent-Length: 6\r\n\r\nplan 9".to_vec(),
        "/parts" => b"HTTP/1.1 206 Partial Content\r\nContent-Type: multipart/byteranges; boundary=x\r\nContent-Length: 3\r\n\r\n--x".to_vec(),
        "/japan" => b"HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=iso-2022-jp\r\nContent-Length: 2\r\n\r\nok".to_vec(),
        "/part" => b"HTTP/1.1 206 Partial Content\r\nContent-Type: text/html\r\nContent-Range: bytes 0-4/9\r\nContent-Length: 5\r\n\r\nforbi".to_vec(),
        "/whole" => b"HTTP/1.1 206 Partial Content\r\nContent-Type: text/html\r\nContent-Range: bytes 0-4/5\r\nContent-Length: 5\r\n\r\nwords".to_vec(),
        _ => page("", b""),
    }
    });
    let passing = library(&server, WORDS);
    let refusing = library(&server, "{ filter: { words: { list: w, unread: refuse } } }");
    for (target, rule) in [
        ("/unknown", "unread: its content coding"),
        ("/broken", "unread: its content coding"),
        ("/half", "unread: its content coding"),
        ("/part", "unread: a part"),
        ("/parts", "unread: a part"),
        ("/japan", "unread: its charset"),
    ] {
        let passed = passing.tidegate.client().get(target);
        assert!(matches!(passed.status, 200 | 206), "{target}");
        let unread = match target {
            "/part" | "/parts" => "part",
            "/japan" => "charset",
            _ => "coding",
        };
        assert_eq!(passing.tidegate.log_of(target)["unread"], unread, "{target}");
        let refused = refusing.tidegate.client().get(target).text();
        assert_eq!(refused, format!("403: blocked: rule `{rule}` of filter `web/filter`\n"));
    }
    for target in ["/early", "/first"] {
        let refused = passing.tidegate.client().get(target);
        assert_eq!(refused.status, 403, "{target}: what has come counts: {}", refused.text());
    }
    for free in ["/whole", "/nothing"] {
        assert!(refusing.tidegate.client().get(free).status < 300, "{free}");
    }
}

#[test]
fn streams_and_what_is_no_text_go_on_as_they_come() {
    let next = Signal::new();
    let seen = next.clone();
    let server = Server::script(move |peer| {
        while let Some(request) = peer.request() {
            match request.target.as_str() {
                "/events" => {
                    peer.send("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n11\r\ndata: plan 9 one\n\r\n");
                    seen.wait();
                    peer.send("0\r\n\r\n");
                }
                _ => peer.send("HTTP/1.1 200 OK\r\nContent-Type: image/png\r\nContent-Length: 6\r\n\r\nplan 9"),
            }
        }
    });
    let library = library(&server, WORDS);
    let mut client = library.tidegate.client();
    assert_eq!(client.get("/image").text(), "plan 9");
    client.send(get("/events", ""));
    client.head();
    assert_eq!(client.reader.chunk().expect("an event"), b"data: plan 9 one\n");
    next.raise();
    client.reader.body(Framing::Chunked).expect("an end");
}

#[test]
fn a_slow_text_is_waited_for_and_a_client_that_leaves_is_not() {
    let (gone, asked) = (Signal::new(), Signal::new());
    let (told, tell) = (gone.clone(), asked.clone());
    let server = Server::script(move |peer| {
        while let Some(request) = peer.request() {
            peer.send("HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nplan \r\n");
            match request.target.as_str() {
                "/left" => {
                    tell.raise();
                    let _ = peer.rest();
                    told.raise();
                    return;
                }
                "/cut" => return,
                _ => {}
            }
            peer.send("1\r\n9\r\n0\r\n\r\n");
        }
    });
    let library = library(&server, WORDS);
    assert_eq!(library.tidegate.client().get("/slow").status, 403);
    let mut client = library.tidegate.client();
    client.send(get("/left", ""));
    asked.wait();
    client.reset();
    gone.wait();
    assert_eq!(library.tidegate.log_of("/left")["fault"], "client_gone");
    let cut = library.tidegate.client().get("/cut");
    assert_eq!((cut.status, cut.text().as_str()), (502, "502: truncated\n"), "nothing of it has gone to the client");
}

#[test]
fn a_list_that_changes_is_looked_for_without_a_reload() {
    let server = speaking();
    let library = library(&server, WORDS);
    let mut client = library.tidegate.client();
    assert_eq!(client.ask(say("new words", "")).status, 200);
    library.folder.write("w.txt", "new words\n");
    until("the new list holds", || client.ask(say("new words", "")).status == 403);
    assert_eq!(client.ask(say("plan 9", "")).status, 200);
    let lists: serde_json::Value = serde_json::from_slice(&library.tidegate.admin("/api/lists").body).expect("JSON");
    assert_eq!((&lists[0]["format"], &lists[0]["rules"]["patterns"]), (&"words".into(), &1.into()));
    assert!(lists[0]["memory_bytes"].as_u64().is_some_and(|bytes| bytes > 0));
}

#[test]
fn texts_in_other_clothes_are_the_same() {
    let utf16: Vec<u8> = "\u{feff}plan 9".encode_utf16().flat_map(u16::to_le_bytes).collect();
    let server = Server::http(move |request| {
        match request.target.as_str() {
        "/json" => b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 22\r\n\r\n{\"a\":\"\\n\\u0070lan 9 \"}".to_vec(),
        "/latin1" => page("", b"viel \xc4RGER hier"),
        "/utf16" => page("", &utf16),
        "/twice" => b"HTTP/1.1 200 OK\r\nContent-Type: image/png, text/html\r\nContent-Length: 6\r\n\r\nplan 9".to_vec(),
        "/invalid" => b"HTTP/1.1 200 OK\r\nContent-Type: image/p ng\r\nContent-Length: 6\r\n\r\nplan 9".to_vec(),
        "/unseen" => page("", b"pl\0an&#x200b&nbsp9"),
        "/untyped" => b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nplan 9".to_vec(),
        _ => page("", b"<img alt=\"plan 9\">"),
    }
    });
    let library = library(&server, WORDS);
    for target in ["/json", "/latin1", "/utf16", "/twice", "/invalid", "/unseen", "/untyped", "/attribute"] {
        assert_eq!(library.tidegate.client().get(target).status, 403, "{target}");
    }
}

#[test]
fn curl_is_shown_a_page_and_what_passes_is_whole() {
    let Some(mut curl) = tool("curl") else { return };
    let server = Server::http(|request| {
        let said = match request.target.as_str() {
            "/bad" => "the forbidden fruit".to_owned(),
            _ => "all is well ".repeat(30_000),
        };
        page("Content-Encoding: gzip\r\n", &coded("gzip", said.as_bytes()))
    });
    let folder = Folder::new();
    folder.write("w.txt", LIST);
    let text = config(&OPEN.replace("@MORE", "use: [{ filter: { words: w } }]\n    to: origin"), &[])
        + "lists: { w: { file: w.txt, format: words } }\n";
    let tidegate = Start::of(BINARY).file(&folder.write("t.yaml", &text));
    let proxy = format!("http://{}", tidegate.address("web"));
    let url = |target: &str| format!("http://a.test:{}{target}", port(&server));
    let common = ["-sS", "--max-time", "20", "--compressed", "-x", &proxy, "-H", "Accept: text/html"];
    let output = curl.args(common).arg(url("/bad")).output().expect("a client that runs");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(said.starts_with("<!doctype html>") && said.contains("forbidden fruit"), "{said}");
    let output =
        tool("curl").expect("it was there").args(common).arg(url("/good")).output().expect("a client that runs");
    assert!(output.status.success() && output.stdout == "all is well ".repeat(30_000).as_bytes());
}
