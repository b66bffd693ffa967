//! Archives of what passes: what is in them, what is not, and what becomes of them while they are written.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use serde_json::{Value, json};
use testkit::{Reloaded, Server, Start, Tidegate, ok, until};

use crate::support::{BINARY, config, get, post, start};

mod forward;
mod readers;

/// A reverse proxy whose listener is captured so.
fn reverse(capture: &str, server: &Server) -> Tidegate {
    start(&text(capture), &[("APP", server)])
}

fn text(capture: &str) -> String {
    format!(
        "listeners: {{ web: {{ bind: 127.0.0.1:0, use: [{{ capture: {capture} }}], to: app }} }}\npools: {{ app: [@APP] }}\n"
    )
}

fn file(tidegate: &Tidegate, name: &str) -> PathBuf {
    tidegate.folder.path().join(name)
}

/// The entries of an archive, as they are now. It is a document whenever it is looked at between two writes.
fn now(path: &PathBuf) -> Vec<Value> {
    let text = fs::read(path).expect("an archive");
    let archive: Value =
        serde_json::from_slice(&text).unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&text)));
    assert_eq!((&archive["log"]["version"], &archive["log"]["creator"]["name"]), (&json!("1.2"), &json!("tidegate")));
    archive["log"]["entries"].as_array().expect("entries").clone()
}

/// Whether so many entries are in an archive that may be written to in this very moment: then it is no document.
fn holds(path: &PathBuf, count: usize) -> bool {
    let archive = fs::read(path).ok().and_then(|text| serde_json::from_slice::<Value>(&text).ok());
    archive.is_some_and(|archive| archive["log"]["entries"].as_array().is_some_and(|entries| entries.len() == count))
}

/// The entries of an archive, once so many have been written.
pub(crate) fn entries(tidegate: &Tidegate, name: &str, count: usize) -> Vec<Value> {
    let path = file(tidegate, name);
    let label = format!("/{name}\"");
    let wanted = [count as f64];
    until(&format!("{count} entries"), || {
        let page = tidegate.admin("/metrics").text();
        let samples = page.lines().filter(|line| {
            line.starts_with("tidegate_capture_entries_total{")
                && (line.contains(&label) || line.contains(&format!("\"{name}\"")))
        });
        samples.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).eq(wanted)
    });
    let entries = now(&path);
    entries.iter().for_each(check);
    entries
}

/// What HAR 1.2 demands of an entry.
fn check(entry: &Value) {
    let texts = |at: &Value, keys: &[&str]| keys.iter().for_each(|key| assert!(at[key].is_string(), "{key}: {at:#}"));
    let numbers = |at: &Value, keys: &[&str]| keys.iter().for_each(|key| assert!(at[key].is_number(), "{key}: {at:#}"));
    let lists = |at: &Value, keys: &[&str]| keys.iter().for_each(|key| assert!(at[key].is_array(), "{key}: {at:#}"));
    texts(entry, &["startedDateTime", "connection"]);
    let (request, response) = (&entry["request"], &entry["response"]);
    texts(request, &["method", "url", "httpVersion"]);
    lists(request, &["cookies", "headers", "queryString"]);
    numbers(request, &["headersSize", "bodySize"]);
    texts(response, &["statusText", "httpVersion", "redirectURL"]);
    lists(response, &["cookies", "headers"]);
    numbers(response, &["status", "headersSize", "bodySize"]);
    numbers(&response["content"], &["size"]);
    texts(&response["content"], &["mimeType"]);
    assert!(entry["cache"].is_object());
    let timings = &entry["timings"];
    numbers(timings, &["blocked", "dns", "connect", "ssl", "send", "wait", "receive"]);
    // HAR 1.2: the sum of all that are not -1, and TLS is part of the connect.
    let parts = ["blocked", "dns", "connect", "send", "wait", "receive"];
    let sum: f64 = parts.iter().filter_map(|part| timings[part].as_f64()).filter(|part| *part >= 0.0).sum();
    assert!((sum - entry["time"].as_f64().expect("a time")).abs() < 0.01, "{entry:#}");
}

fn header<'a>(message: &'a Value, name: &str) -> Option<&'a str> {
    let headers = message["headers"].as_array().expect("headers").iter();
    headers
        .filter(|header| header["name"].as_str().expect("a name").eq_ignore_ascii_case(name))
        .find_map(|header| header["value"].as_str())
}

#[test]
fn an_exchange_is_written_as_its_client_saw_it() {
    let server = Server::http(|request| {
        let mut answer = b"HTTP/1.1 201 Made\r\nContent-Type: text/plain\r\nSet-Cookie: sid=secret; Path=/\r\nConnection: keep-alive\r\n".to_vec();
        answer.extend_from_slice(format!("Content-Length: {}\r\n\r\n", request.body.len()).as_bytes());
        answer.extend_from_slice(&request.body);
        answer
    });
    let tidegate = reverse("{ har: a.har, bodies: 4KiB }", &server);
    let body = "0123456789".repeat(1000);
    let request = format!(
        "POST /a/../b?x=1&token=secret HTTP/1.1\r\nHost: test.example\r\nAuthorization: Bearer secret\r\nCookie: a=secret\r\n\
         X-Odd: caf\u{e9}\r\nContent-Type: text/plain\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    assert_eq!(tidegate.client().ask(request).text(), body);
    let entry = entries(&tidegate, "a.har", 1).remove(0);
    let (request, response) = (&entry["request"], &entry["response"]);
    assert_eq!(request["url"], "http://test.example/b?x=1&token=[redacted]");
    assert_eq!((&request["method"], &request["httpVersion"]), (&json!("POST"), &json!("HTTP/1.1")));
    assert_eq!(header(request, "authorization"), Some("Bearer [redacted]"));
    assert_eq!(header(request, "x-odd"), Some("caf\u{e9}"));
    assert_eq!(header(request, "via"), None, "that is what the server sees");
    assert_eq!(request["bodySize"], 10_000);
    assert_eq!(request["postData"]["text"].as_str(), Some(&body[..4096]));
    assert_eq!(request["postData"]["comment"], "cut: the beginning of 10000 bytes");
    assert_eq!((&response["status"], &response["statusText"]), (&json!(201), &json!("Made")));
    assert!(header(response, "date").is_some() && header(response, "via").is_some(), "that is what the client saw");
    assert_eq!(response["content"]["text"].as_str(), Some(&body[..4096]));
    assert_eq!((&response["content"]["size"], &response["content"]["_truncated"]), (&json!(10_000), &json!(true)));
    assert_eq!(response["cookies"], json!([{"name": "sid", "value": "[redacted]", "path": "/"}]));
    assert_eq!(entry["serverIPAddress"], "127.0.0.1");
    assert_eq!(
        (&entry["_listener"], &entry["_pool"], &entry["_client"]),
        (&json!("web"), &json!("app"), &json!("127.0.0.1"))
    );
    let line = tidegate.log_of("/b");
    assert_eq!(entry["_id"], line["id"]);
    let whole = fs::read_to_string(file(&tidegate, "a.har")).expect("an archive");
    assert!(!whole.contains("secret"), "{whole}");
    let mode = fs::metadata(file(&tidegate, "a.har")).expect("a file").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn bodies_come_whole_by_every_way() {
    let body = "x".repeat(100_000);
    let chunked =
        format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{:x}\r\n{body}\r\n0\r\n\r\n", body.len());
    let until_close = format!("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n{body}");
    let sized = String::from_utf8(ok(&body)).expect("text");
    let server = Server::script(move |peer| {
        while let Some(request) = peer.request() {
            match &*request.target {
                "/chunked" => peer.send(&chunked),
                "/close" => return peer.send(&until_close),
                "/empty" => peer.send("HTTP/1.1 204 No Content\r\n\r\n"),
                _ => peer.send(&sized),
            }
        }
    });
    let tidegate = reverse("{ har: a.har, bodies: 1MiB }", &server);
    let targets = ["/chunked", "/close", "/sized", "/empty"];
    for target in targets {
        assert!(tidegate.client().get(target).status < 300);
    }
    let mut head = tidegate.client();
    head.send(get("/sized", "").replace("GET", "HEAD"));
    assert_eq!(head.response_to_head().status, 200);
    let entries = entries(&tidegate, "a.har", 5);
    let of = |path: &str, method: &str| {
        let is = |entry: &&Value| {
            entry["request"]["url"].as_str().is_some_and(|told| told.ends_with(path))
                && entry["request"]["method"] == method
        };
        entries.iter().find(is).expect("an entry")["response"]["content"].clone()
    };
    for target in &targets[..3] {
        let content = of(target, "GET");
        assert_eq!((&content["size"], content["text"].as_str()), (&json!(100_000), Some(&*body)), "{target}");
    }
    assert_eq!(of("/empty", "GET"), json!({"size": 0, "mimeType": ""}));
    assert_eq!(of("/sized", "HEAD")["size"], 0);
}

#[test]
fn uploads_in_chunks_and_their_beginnings_are_kept_in_order() {
    let server = Server::echo();
    let tidegate = reverse("{ har: a.har, bodies: 1MiB }", &server);
    let mut client = tidegate.client();
    client.send("POST /up HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n");
    server.until_connections(1);
    client.send("6\r\nsecond\r\n");
    client.send("0\r\n\r\n");
    assert_eq!(client.response().status, 200);
    assert_eq!(entries(&tidegate, "a.har", 1)[0]["request"]["postData"]["text"], "firstsecond");
}

#[test]
fn what_is_compressed_on_its_way_is_told_in_plain() {
    let server = Server::http(|_| {
        let body = "tide ".repeat(1000);
        format!("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {}\r\n\r\n{body}", body.len())
            .into_bytes()
    });
    for coding in ["gzip", "br", "zstd"] {
        let tidegate = start(
            "listeners: { web: { bind: 127.0.0.1:0, use: [{ capture: { har: a.har, bodies: 64KiB } }, { compress: {} }], to: app } }\n\
             pools: { app: [@APP] }\n",
            &[("APP", &server)],
        );
        tidegate.client().ask(get("/", &format!("Accept-Encoding: {coding}\r\n")));
        let entry = entries(&tidegate, "a.har", 1).remove(0);
        assert_eq!(header(&entry["response"], "content-encoding"), Some(coding));
        let content = &entry["response"]["content"];
        assert_eq!((&content["size"], content["text"].as_str()), (&json!(5000), Some(&*"tide ".repeat(1000))));
        let sent = entry["response"]["bodySize"].as_u64().expect("a size");
        assert_eq!(content["compression"], 5000 - sent);
    }
}

#[test]
fn what_is_answered_here_and_what_fails_is_written_too() {
    let dead = testkit::Refusing::new();
    let tidegate = start(
        "workers: 1
listeners:
  web:
    bind: 127.0.0.1:0
    use: [{ capture: { har: a.har, bodies: 64KiB } }]
    routes:
      - { match: { path: /no }, deny: { status: 403, reason: go away } }
      - { match: { path: /tea }, respond: { status: 200, body: tea } }
      - { match: { path: /there }, redirect: { location: '/here?token=secret' } }
      - { match: { path: /dead }, to: dead }
pools: { dead: [@DEAD] }
",
        &[("DEAD", &dead)],
    );
    for target in ["/no", "/tea", "/there", "/dead", "/nowhere"] {
        assert!(tidegate.client().get(target).status >= 200);
    }
    let entries = entries(&tidegate, "a.har", 5);
    let said: Vec<_> = entries
        .iter()
        .map(|entry| {
            let response = &entry["response"];
            let text = response["content"]["text"].as_str().unwrap_or_default();
            (
                response["status"].as_u64().expect("a status"),
                text.trim_end(),
                entry["_fault"].as_str().unwrap_or_default(),
            )
        })
        .collect();
    assert_eq!(
        said,
        [
            (403, "403: go away", "denied"),
            (200, "tea", ""),
            (308, "", ""),
            (502, "502: connect", "connect"),
            (404, "404: no_route", "no_route")
        ]
    );
    assert_eq!(entries[2]["response"]["redirectURL"], "/here?token=[redacted]");
    assert_eq!(entries[3]["_side"], "server");
}

#[test]
fn a_response_that_is_cut_and_a_client_that_leaves_are_told() {
    let server = Server::script(|peer| {
        let Some(request) = peer.request() else { return };
        if request.target == "/silent" {
            return peer.hang();
        }
        peer.send("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf");
        peer.reset();
    });
    let tidegate = reverse("{ har: a.har, bodies: 1KiB }", &server);
    let mut client = tidegate.client();
    client.send(get("/cut", ""));
    assert_eq!(client.head().status, 200);
    client.ending();
    let entry = entries(&tidegate, "a.har", 1).remove(0);
    assert_eq!((&entry["_cut"], &entry["_fault"]), (&json!(true), &json!("truncated")));
    let mut client = tidegate.client();
    client.send(get("/silent", ""));
    server.until_connections(2);
    client.reset();
    let entry = entries(&tidegate, "a.har", 2).remove(1);
    assert_eq!((&entry["response"]["status"], &entry["response"]["_error"]), (&json!(0), &json!("client_gone")));
}

#[test]
fn a_websocket_is_told_by_its_heads_and_interim_responses_by_theirs() {
    let server = Server::script(|peer| {
        while let Some(request) = peer.request() {
            if request.fields.has("upgrade") {
                let accept = testkit::websocket_accept(request.fields.value("sec-websocket-key").expect("a key"));
                peer.send(format!(
                    "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: {accept}\r\n\r\n"
                ));
                let heard = peer.reader.exactly(5).expect("a message");
                return peer.send(heard);
            }
            peer.send("HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\nSet-Cookie: secret=1\r\n\r\n");
            peer.send(ok("x"));
        }
    });
    let tidegate = reverse("{ har: a.har, bodies: 1KiB }", &server);
    let mut client = tidegate.client();
    client.send(get("/hints", ""));
    assert_eq!(client.head().status, 103);
    assert_eq!(client.response().status, 200);
    client.send(get(
        "/chat",
        "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n",
    ));
    assert_eq!(client.head().status, 101);
    client.send("hello");
    assert_eq!(client.exactly(5), b"hello");
    drop(client);
    let entries = entries(&tidegate, "a.har", 2);
    let interim = &entries[0]["_interim"][0];
    assert_eq!((&interim["status"], header(interim, "link")), (&json!(103), Some("</a.css>")));
    assert_eq!(header(interim, "set-cookie"), Some("[redacted]"));
    let (request, response) = (&entries[1]["request"], &entries[1]["response"]);
    assert_eq!((&request["url"], &response["status"]), (&json!("ws://test.example/chat"), &json!(101)));
    assert_eq!((&request["bodySize"], &response["bodySize"]), (&json!(5), &json!(5)));
    assert_eq!(entries[1]["_resourceType"], "websocket");
}

#[test]
fn requests_of_http2_are_told_alike() {
    let server = Server::echo();
    let text = text("{ har: a.har, bodies: 1KiB }").replace("to: app }", "http: [h1, h2], to: app }");
    let tidegate = start(&text, &[("APP", &server)]);
    let mut client = testkit::h2::Client::connect(tidegate.address("web").parse().expect("an address"));
    client.post("a.test", "/x?y=1", &[("cookie", "a=1"), ("cookie", "b=2")], b"hello").expect("an answer");
    let entry = entries(&tidegate, "a.har", 1).remove(0);
    let request = &entry["request"];
    assert_eq!((&request["httpVersion"], &request["url"]), (&json!("HTTP/2"), &json!("http://a.test/x?y=1")));
    assert_eq!((&request["headersSize"], &request["postData"]["text"]), (&json!(-1), &json!("hello")));
    assert_eq!(request["cookies"].as_array().map(Vec::len), Some(2));
}

#[test]
fn large_bodies_still_go_through_pipes_where_nobody_wants_them() {
    let body = "x".repeat(300_000);
    let server = Server::http(move |_| ok(&body));
    let spliced = |capture: &str| {
        let tidegate = reverse(capture, &server);
        assert_eq!(tidegate.client().get("/").body.len(), 300_000);
        assert_eq!(entries(&tidegate, "a.har", 1)[0]["response"]["bodySize"], 300_000);
        tidegate.metric("tidegate_spliced_bytes_total", &[])[0]
    };
    assert!(spliced("{ har: a.har }") > 200_000.0);
    assert_eq!(spliced("{ har: a.har, bodies: 1MiB }"), 0.0);
    // What is kept has passed, and the rest need not be looked at.
    let some = spliced("{ har: a.har, bodies: 64KiB }");
    assert!(some > 0.0 && some < 236_000.0, "{some}");
}

#[test]
fn an_archive_is_rotated_while_clients_come() {
    let server = Server::named("app");
    let tidegate = reverse("{ har: a.har, max_size: 4KiB, keep: 2 }", &server);
    let mut client = tidegate.client();
    for number in 0..40 {
        assert_eq!(client.get(&format!("/{number}")).status, 200);
    }
    until("all are written", || tidegate.metric("tidegate_capture_entries_total", &[]) == [40.0]);
    let mut urls = Vec::new();
    for name in ["a.2.har", "a.1.har", "a.har"] {
        let path = file(&tidegate, name);
        assert!(fs::metadata(&path).expect("a file").len() <= 4096);
        urls.extend(now(&path).iter().map(|entry| entry["request"]["url"].clone()));
    }
    let last: Vec<Value> = (40 - urls.len()..40).map(|number| json!(format!("http://test.example/{number}"))).collect();
    assert_eq!(urls, last);
    assert!(!file(&tidegate, "a.3.har").exists());
}

#[test]
fn a_reload_goes_on_with_the_same_archive_and_a_restart_finds_it() {
    let server = Server::named("app");
    let first = config(&text("{ har: a.har }"), &[("APP", &server)]);
    let mut tidegate = Start::of(BINARY).text(&first);
    tidegate.client().get("/1");
    entries(&tidegate, "a.har", 1);
    // Other bodies are another policy for new requests, and the same archive.
    assert_eq!(tidegate.reload(&first.replace("a.har", "a.har, bodies: 1KiB")), Reloaded::Yes);
    tidegate.client().get("/2");
    let both = entries(&tidegate, "a.har", 2);
    assert_eq!(
        (&both[0]["response"]["content"]["text"], &both[1]["response"]["content"]["text"]),
        (&Value::Null, &json!("app"))
    );
    // Without it nothing more is written, and it is taken up again.
    assert_eq!(tidegate.reload(&first.replace("use: [{ capture: { har: a.har } }], ", "")), Reloaded::Yes);
    tidegate.client().get("/3");
    assert_eq!(tidegate.reload(&first), Reloaded::Yes);
    tidegate.client().get("/4");
    until("it is written", || holds(&file(&tidegate, "a.har"), 3));
    // The last ones are written when the process ends, and another process goes on.
    tidegate.client().get("/5");
    tidegate.terminate();
    tidegate.wait();
    let path = file(&tidegate, "a.har");
    assert_eq!(now(&path).len(), 4);
    let place = path.display().to_string();
    let again = start(&text(&format!("{{ har: '{place}' }}")), &[("APP", &server)]);
    again.client().get("/6");
    until("it is written", || holds(&path, 5));
    // Nobody else writes meanwhile, and what is no archive is not touched.
    let other = config(&text(&format!("{{ har: '{place}' }}")), &[("APP", &server)]);
    let (code, said) = testkit::failure_of(BINARY, &other);
    assert!(code == Some(2) && said.contains("somebody else writes to it"), "{code:?}: {said}");
    let odd = again.folder.write("odd.har", "{}");
    let (code, said) = testkit::failure_of(BINARY, &other.replace(&place, &odd.display().to_string()));
    assert!(code == Some(2) && said.contains("no capture of ours"), "{code:?}: {said}");
    assert_eq!(fs::read_to_string(odd).expect("a file"), "{}");
    let Reloaded::No(said) = again.reload(&other.replace(&place, "/nowhere/a.har")) else { panic!("reloaded") };
    assert!(said.contains("cannot open the capture `/nowhere/a.har`"), "{said}");
    again.client().get("/7");
    until("it is written", || holds(&path, 6));
}

#[test]
fn a_disk_that_is_slow_or_full_loses_entries_and_no_requests() {
    let server = Server::named("app");
    let tidegate = reverse("{ har: a.har, max_size: 4KiB, keep: 1 }", &server);
    // It cannot be rotated: there is a folder in the way.
    fs::create_dir(file(&tidegate, "a.1.har")).expect("a folder");
    let mut client = tidegate.client();
    for number in 0..20 {
        assert_eq!(client.get(&format!("/{number}")).status, 200);
    }
    until("all are settled", || {
        let sum = |name: &str| tidegate.metric(name, &[])[0];
        sum("tidegate_capture_entries_total") + sum("tidegate_capture_lost_total") == 20.0
    });
    assert!(tidegate.metric("tidegate_capture_lost_total", &[])[0] > 0.0);
    tidegate.message("entries are lost");
    assert!(!now(&file(&tidegate, "a.har")).is_empty());
}

#[test]
fn what_a_routes_archive_has_no_room_for_is_not_in_another_that_leaves_out_less() {
    let server = Server::script(|peer| {
        peer.request();
        peer.stand_still();
    });
    let text = "
listeners:
  web:
    bind: 127.0.0.1:0
    limits: { request_head: 256KiB, request_body: 16MiB }
    use: { capture: all.har }
    routes:
      - name: app
        match: { path: /app/* }
        use: [{ capture: { har: app.har, bodies: 16MiB, redact: { fields: [x-session] } } }, { quota: { requests: 5, per: 30d } }]
        to: app
pools: { app: [@APP] }
";
    let tidegate = start(text, &[("APP", &server)]);
    let body = "x".repeat(16 << 20);
    // Heads and bodies of these are more than may be held, and nobody answers them.
    let clients = [(); 5].map(|()| {
        let mut client = tidegate.client();
        client.send(post("/app/held", &body));
        client
    });
    until("they are held", || server.requests().len() == clients.len());
    let large: String = (0..10).map(|number| format!("X-{number}: {}\r\n", "y".repeat(10_000))).collect();
    let refused = tidegate.client().ask(get("/app/refused", &format!("X-Session: secret\r\n{large}")));
    assert_eq!(refused.status, 429);
    assert_eq!(tidegate.client().get("/nowhere").status, 404);
    let told = entries(&tidegate, "all.har", 1);
    assert!(told[0]["request"]["url"].as_str().is_some_and(|url| url.ends_with("/nowhere")), "{}", told[0]);
    assert_eq!(tidegate.metric("tidegate_capture_lost_total", &["app.har"]), [1.0]);
}
