//! Quotas: who has one, what counts, what becomes of those who have used it up, and what is remembered of it.

use std::fs;

use serde_json::{Value, json};
use testkit::{Folder, Reloaded, Server, Start, Tidegate, ok, tool, until};

use crate::admin::Operator;
use crate::forward::{self, OPEN, asked, port};
use crate::support::{BINARY, config, get, post, start, until_shown};
use crate::users::{Files, basic};

mod cut;
mod state;

const BODY: usize = 300_000;

/// A listener whose requests have this quota, which is called `fair`.
fn text(quota: &str) -> String {
    format!(
        "policies: {{ fair: {{ quota: {quota} }} }}
listeners:
  web: {{ bind: 127.0.0.1:0, routes: [{{ match: {{ path: /free }}, to: app }}, {{ match: {{ path: /deny }}, use: fair, deny: 403 }}, {{ use: fair, to: app }}] }}
  other: {{ bind: 127.0.0.1:0, use: fair, to: app }}
pools: {{ app: [@APP] }}
"
    )
}

fn subject(tidegate: &Tidegate, who: &str) -> Value {
    let response = tidegate.admin(&format!("/api/quotas/fair/subjects/{who}"));
    serde_json::from_slice(&response.body).expect("JSON")
}

#[test]
fn each_has_so_many_requests_over_all_listeners_and_workers() {
    let server = Server::named("app");
    let quota = "{ requests: 3, per: 30d, by: header.x-who, deny: 403 }";
    let tidegate = start(&format!("workers: 4\n{}", text(quota)), &[("APP", &server)]);
    let ask = |who: &str, path: &str| tidegate.client().ask(get(path, &format!("X-Who: {who}\r\n")));
    assert_eq!((ask("ann", "/one").status, ask("ann", "/two").status), (200, 200));
    // What is answered here does not count, and what has no quota is not asked.
    assert_eq!((ask("ann", "/deny").status, ask("ann", "/free").status), (403, 200));
    let mut other = testkit::Client::connect(&tidegate.address("other"));
    assert_eq!(other.ask(get("/three", "X-Who: ann\r\n")).status, 200);
    let refused = ask("ann", "/four");
    assert_eq!(refused.status, 403);
    assert_eq!(refused.text(), "403: quota: no more requests until the period ends\n");
    let wait: u64 = refused.fields.value("retry-after").expect("a time").parse().expect("seconds");
    assert!((30 * 86_400 - 60..=30 * 86_400).contains(&wait), "{wait}");
    assert_eq!((ask("bob", "/five").status, ask("ann", "/free").status), (200, 200));
    // It keeps its connection, as whoever is refused by a route.
    assert_eq!(other.ask(get("/six", "X-Who: ann\r\n")).status, 403);
    assert_eq!(other.ask(get("/seven", "X-Who: bob\r\n")).status, 200);
    let line = tidegate.log_of("/four");
    assert_eq!(
        (&line["fault"], &line["reason"], &line["status"]),
        (&"quota".into(), &"no more requests until the period ends".into(), &403.into())
    );
    assert_eq!(server.requests().iter().filter(|request| request.target == "/four").count(), 0);
    assert!(tidegate.message("quota `fair`: `header.x-who=ann` has used it up").contains("3 requests"));
    assert_eq!(tidegate.metric("tidegate_quota_refused_total", &["quota=\"fair\""]), [2.0]);
    assert_eq!(tidegate.metric("tidegate_quota_subjects", &["quota=\"fair\""]), [2.0]);
}

#[test]
fn what_may_go_no_farther_than_here_does_not_count() {
    let server = Server::named("app");
    let tidegate = start(&text("{ requests: 1, per: 30d }"), &[("APP", &server)]);
    let asked = "OPTIONS / HTTP/1.1\r\nHost: a\r\nMax-Forwards: 0\r\n\r\n";
    assert_eq!((tidegate.client().ask(asked).status, tidegate.client().ask(asked).status), (200, 200));
    assert_eq!(subject(&tidegate, "client_ip=127.0.0.1")["requests"]["used"], 0);
    assert_eq!((tidegate.client().get("/").status, tidegate.client().ask(asked).status), (200, 429));
}

#[test]
fn a_call_of_grpc_is_told_in_its_own_words() {
    let server = Server::named("app");
    let tidegate = start(&text("{ requests: 1, per: 30d }"), &[("APP", &server)]);
    assert_eq!(tidegate.client().get("/one").status, 200);
    let answer = tidegate.client().ask("POST /a.B/c HTTP/1.1\r\nHost: a\r\nContent-Type: application/grpc\r\nTE: trailers\r\nContent-Length: 0\r\n\r\n");
    assert_eq!((answer.status, answer.fields.value("grpc-status")), (200, Some("8")));
}

#[test]
fn bytes_count_both_ways_through_pipes_and_without_and_what_is_under_way_is_cut() {
    let server = Server::http(|request| ok("x".repeat(if request.method == "GET" { BODY } else { 2 })));
    for splice in ["true", "false"] {
        let text = format!("splice: {splice}\n{}", text("{ bytes: 800KB, per: 30d }"));
        let tidegate = start(&text, &[("APP", &server)]);
        assert_eq!(tidegate.client().get("/first").body.len(), BODY);
        assert_eq!(tidegate.client().ask(post("/second", &"y".repeat(100_000))).text(), "xx");
        let used =
            |tidegate: &Tidegate| subject(tidegate, "client_ip=127.0.0.1")["bytes"]["used"].as_u64().expect("bytes");
        assert_eq!(used(&tidegate), BODY as u64 + 100_002, "{splice}");
        let mut client = tidegate.client();
        client.send(get("/third", ""));
        assert_eq!(client.head().status, 200);
        assert_eq!(client.exactly(BODY).len(), BODY);
        client.send(get("/fourth", ""));
        assert_eq!(client.response_to_head().status, 200);
        let line = tidegate.log_of("/fourth");
        assert_eq!((&line["fault"], &line["cut"]), (&"quota".into(), &true.into()), "{splice}: {line}");
        assert!(line["bytes_out"].as_u64().is_some_and(|bytes| bytes < BODY as u64));
        let answer = tidegate.client().get("/fifth");
        assert_eq!((answer.status, answer.text().as_str()), (429, "429: quota: no more bytes until the period ends\n"));
        assert_eq!(tidegate.metric("tidegate_quota_cut_total", &["quota=\"fair\""]), [1.0]);
        tidegate.message("quota `fair`: `client_ip=127.0.0.1` has used it up until 20");
    }
}

#[test]
fn an_upload_that_is_too_much_is_answered_and_one_that_may_finish_goes_on() {
    let server = Server::http(|_| ok("taken"));
    let body = "y".repeat(BODY);
    let tidegate = start(&text("{ bytes: 100KB, per: 30d, direction: in }"), &[("APP", &server)]);
    let answer = tidegate.client().ask(post("/one", &body));
    assert_eq!((answer.status, answer.text().as_str()), (429, "429: quota: no more bytes until the period ends\n"));
    assert!(answer.fields.has("retry-after"));
    let tidegate = start(&text("{ bytes: 100KB, per: 30d, running: finish }"), &[("APP", &server)]);
    assert_eq!(tidegate.client().ask(post("/one", &body)).text(), "taken");
    assert_eq!(tidegate.client().get("/two").status, 429);
    assert_eq!(tidegate.metric("tidegate_quota_cut_total", &["quota=\"fair\""]), [0.0]);
}

#[test]
fn users_of_a_proxy_have_one_each_and_a_tunnel_is_cut() {
    let (files, server) = (
        Files::new(),
        Server::script(|peer| {
            peer.send("x".repeat(BODY));
            peer.hang();
        }),
    );
    let more = "use: [{ basic_auth: { users: '@DIR/people' } }, { quota: { bytes: 100KiB, per: day, by: user } }]\n    to: origin";
    let tidegate = files.start(&OPEN.replace("@MORE", more), &[]);
    let place = format!("a.test:{}", server.port());
    let connect = |pair: &str| {
        let mut client = tidegate.client();
        client
            .send(format!("CONNECT {place} HTTP/1.1\r\nHost: {place}\r\nProxy-Authorization: {}\r\n\r\n", basic(pair)));
        let status = client.head().status;
        (client, status)
    };
    let (_tunnel, status) = connect("ann:sesame");
    assert_eq!(status, 200);
    let line = tidegate.log_line("a tunnel", |line| line["method"] == "CONNECT" && line["user"] == "ann");
    assert_eq!((&line["fault"], &line["cut"]), (&"quota".into(), &true.into()), "{line}");
    assert_eq!(connect("ann:sesame").1, 429);
    assert_eq!(connect("bob:bob").1, 200);
    // By SOCKS it is the same user, who hears that a rule forbids it.
    let mut client = tidegate.client();
    client.send([5, 1, 2]);
    assert_eq!(client.exactly(2), [5, 2]);
    client.send([&[1, 3][..], b"ann", &[6], b"sesame"].concat());
    assert_eq!(client.exactly(2), [1, 0]);
    client.send([&[5, 1, 0, 3, 6][..], b"a.test", &server.port().to_be_bytes()].concat());
    assert_eq!(client.exactly(10)[1], 2);
    let line = tidegate.log_line("SOCKS", |line| line["method"] == "SOCKS5");
    assert_eq!((&line["fault"], &line["user"]), (&"quota".into(), &"ann".into()));
    // An inline one is called after its listener.
    let shown: Value = serde_json::from_slice(&tidegate.admin("/api/quotas").body).expect("JSON");
    assert_eq!(
        (&shown[0]["quota"], &shown[0]["per"], &shown[0]["zone"]),
        (&"web/quota".into(), &"day".into(), &"UTC".into())
    );
}

#[test]
fn all_quotas_of_all_levels_hold_and_none_counts_twice() {
    let server = Server::named("app");
    let text = "
policies: { fair: { quota: { requests: 4, per: month } }, hourly: { quota: { requests: 2, per: 30d, by: path } } }
listeners: { web: { bind: 127.0.0.1:0, use: fair, routes: [{ use: [hourly, fair], to: app }] } }
pools: { app: [@APP] }
";
    let tidegate = start(text, &[("APP", &server)]);
    let status = |path: &str| tidegate.client().get(path).status;
    assert_eq!([status("/a"), status("/a"), status("/a")], [200, 200, 429]);
    // What one of them has refused the other one has not counted.
    assert_eq!(subject(&tidegate, "client_ip=127.0.0.1")["requests"], json!({ "used": 2, "left": 2 }));
    assert_eq!([status("/b"), status("/c"), status("/d")], [200, 200, 429]);
}

#[test]
fn what_was_used_is_remembered_when_the_process_is_killed() {
    let (folder, server) = (Folder::new(), Server::named("app"));
    let text = format!("state: {}\n{}", folder.path().display(), text("{ requests: 2, per: 30d, by: header.x-who }"));
    let text = config(&text, &[("APP", &server)]);
    let file = folder.path().join("quotas.json");
    let ask = |tidegate: &Tidegate| tidegate.client().ask(get("/", "X-Who: \u{e4}nn\r\n")).status;
    let mut tidegate = Start::of(BINARY).text(&text);
    assert_eq!((ask(&tidegate), ask(&tidegate), ask(&tidegate)), (200, 200, 429));
    until("it is written", || fs::read_to_string(&file).is_ok_and(|text| text.contains("\"requests\":2")));
    tidegate.kill();
    tidegate.wait();
    let mut tidegate = Start::of(BINARY).text(&text);
    assert_eq!(ask(&tidegate), 429, "it goes on where it was");
    let answer =
        Operator::of(&tidegate).put("/api/quotas/fair/subjects/header.x-who%3D%C3%A4nn", "", "{\"action\":\"reset\"}");
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(ask(&tidegate), 200);
    // A reload keeps it, and so does a gentle end, which writes what was counted last.
    assert_eq!(tidegate.reload(&text.replace("requests: 2", "requests: 3")), Reloaded::Yes);
    assert_eq!(ask(&tidegate), 200);
    tidegate.terminate();
    tidegate.wait();
    let mut tidegate = Start::of(BINARY).text(&text.replace("requests: 2", "requests: 3"));
    assert_eq!((ask(&tidegate), ask(&tidegate)), (200, 429));
    tidegate.terminate();
    tidegate.wait();
    // What cannot be read is put aside, and everybody begins anew.
    fs::write(&file, "{\"version\":1,\"quotas\":{\"fair\":[").expect("written");
    let tidegate = Start::of(BINARY).text(&text);
    tidegate.message("what was used of quotas cannot be read");
    assert!(folder.path().join("quotas.json.damaged").exists());
    assert_eq!(ask(&tidegate), 200);
}

#[test]
fn a_folder_that_cannot_be_written_is_said_once_and_nobody_is_refused() {
    let (folder, server) = (Folder::new(), Server::named("app"));
    folder.write("file", "");
    let text = format!("state: {}/file\n{}", folder.path().display(), text("{ requests: 20, per: 30d }"));
    let tidegate = start(&text, &[("APP", &server)]);
    assert_eq!(tidegate.client().get("/").status, 200);
    tidegate.message("quotas cannot be written to");
    assert_eq!(tidegate.client().get("/").status, 200);
}

#[test]
fn operators_see_pages_of_who_has_used_what_and_reset_one() {
    let server = Server::named("app");
    let tidegate = start(&text("{ requests: 9, per: 30d, by: header.x-who }"), &[("APP", &server)]);
    for who in ["c", "a", "b", "a"] {
        assert_eq!(tidegate.client().ask(get("/", &format!("X-Who: {who}\r\n"))).status, 200);
    }
    let shown = until_shown(&tidegate, "/api/quotas", |shown| shown[0]["subject_count"] == 3);
    assert_eq!((&shown[0]["requests"], &shown[0]["bytes"], &shown[0]["per"]), (&9.into(), &Value::Null, &"30d".into()));
    let page = |query: &str| -> Value {
        serde_json::from_slice(&tidegate.admin(&format!("/api/quotas/fair{query}")).body).expect("JSON")
    };
    let names = |page: &Value| -> Vec<String> {
        let subjects = page["subjects"].as_array().expect("a list").iter();
        subjects.map(|one| one["subject"].as_str().expect("a text").to_owned()).collect()
    };
    let first = page("?limit=2");
    assert_eq!(
        (names(&first), &first["next"]),
        (vec!["header.x-who=a".into(), "header.x-who=b".into()], &"header.x-who=b".into())
    );
    let second = page("?limit=2&after=header.x-who%3Db");
    assert_eq!((names(&second), &second["next"]), (vec!["header.x-who=c".to_owned()], &Value::Null));
    assert_eq!(first["subjects"][0]["requests"], json!({ "used": 2, "left": 7 }));
    let mut operator = Operator::of(&tidegate);
    let path = "/api/quotas/fair/subjects/header.x-who%3Da";
    let reset = operator.put(path, "", "{\"action\":\"reset\"}");
    let reset: Value = serde_json::from_slice(&reset.body).expect("JSON");
    assert_eq!(reset["requests"], json!({ "used": 0, "left": 9 }));
    for (target, body, status) in [
        (path, "{\"action\":\"stop\"}", 422),
        (path, "[]", 422),
        (path, "{", 400),
        ("/api/quotas/fair/subjects/nobody", "{\"action\":\"reset\"}", 404),
        ("/api/quotas/unfair/subjects/a", "{\"action\":\"reset\"}", 404),
        ("/api/quotas/fair", "{\"action\":\"reset\"}", 405),
    ] {
        assert_eq!(operator.put(target, "", body).status, status, "{target} {body}");
    }
    assert_eq!(tidegate.admin("/api/quotas/fair?limit=0").status, 400);
    assert_eq!(tidegate.admin("/api/quotas/unfair").status, 404);
}

#[test]
fn requests_of_a_proxy_count_with_their_bodies() {
    let server = Server::http(|_| ok("x".repeat(1000)));
    let tidegate = forward::proxy("use: [{ quota: { bytes: 1MiB, per: week } }]\n    to: origin");
    assert_eq!(tidegate.client().ask(asked(&format!("http://a.test:{}/", port(&server)))).status, 200);
    let shown =
        until_shown(&tidegate, "/api/quotas/web%2Fquota", |shown| shown["subjects"][0]["bytes"]["used"] == 1000);
    assert_eq!(shown["subjects"][0]["requests"], json!({ "used": 1, "left": null }));
}

#[test]
fn curl_is_told_to_wait() {
    let (files, server) = (Files::new(), Server::http(|_| ok("x".repeat(1000))));
    let more = "use: [{ basic_auth: { users: '@DIR/people' } }, { quota: { bytes: 2KB, per: 30d, by: user } }]\n    to: origin";
    let tidegate = files.start(&OPEN.replace("@MORE", more), &[]);
    let (proxy, url) = (tidegate.address("web"), format!("http://a.test:{}/", port(&server)));
    for (user, said) in
        [("ann:sesame", "200 1000"), ("ann:sesame", "200 1000"), ("ann:sesame", "429 48"), ("bob:bob", "200 1000")]
    {
        let Some(mut curl) = tool("curl") else { return };
        curl.args(["-sS", "--max-time", "20", "-o", "/dev/null", "-w", "%{http_code} %{size_download}"]);
        let output = curl.args(["-x", &proxy, "-U", user, &url]).output().expect("a client that runs");
        assert_eq!(String::from_utf8_lossy(&output.stdout), said, "{user}: {output:?}");
    }
}
