//! What is blocked, and what people and the log are told of it.

use std::process::Stdio;

use testkit::{Folder, Server, tool};

use super::{ask, listed, shown, status};
use crate::forward::port;

#[test]
pub(crate) fn every_form_blocks_what_it_names_and_nothing_else() {
    let (server, folder) = (Server::named("one"), Folder::new());
    let tidegate = listed(
        &folder,
        &[
            ("hosts", "hosts", "# mine\n0.0.0.0 localhost\n0.0.0.0 a.test other.test\n"),
            ("domains", "domains", "far.test\n"),
            (
                "zone",
                "rpz",
                "$TTL 1\n@ SOA a. b. 1 2 3 4 5\nzone.test CNAME .\n*.zone.test CNAME .\nok.zone.test CNAME rpz-passthru.\n",
            ),
            ("ads", "adblock", "[Adblock Plus 2.0]\n||ads.test^\n||b.test/banner/\n@@||b.test/banner/ours\n##.ad\n"),
        ],
    );
    let at = |target: &str| status(&tidegate, &target.replace("PORT", port(&server)));
    for blocked in
        ["a.test", "x.far.test", "zone.test", "x.zone.test", "ads.test", "www.ads.test:81", "b.test/banner/1"]
    {
        assert_eq!(at(&format!("http://{blocked}")), 403, "{blocked}");
    }
    for free in ["b.test:PORT/", "b.test:PORT/banner/ours", "127.0.0.1:PORT/"] {
        assert_eq!(at(&format!("http://{free}")), 200, "{free}");
    }
    assert_eq!(at("http://www.a.test/"), 502, "a file of hosts names just these, and nobody has this address");
    assert_eq!(at("http://ok.zone.test/"), 502, "an exception");
    let lists = shown(&tidegate);
    let rules = |at: usize| ["hosts", "exceptions", "patterns"].map(|kind| lists[at]["rules"][kind].as_u64());
    assert_eq!(rules(0), [Some(2), Some(0), Some(0)]);
    assert_eq!(rules(2), [Some(3), Some(1), Some(0)]);
    assert_eq!(rules(3), [Some(1), Some(0), Some(2)]);
    assert_eq!(lists[3]["passed_over"], serde_json::json!({ "foreign": 1, "wrong": 0 }));
    assert_eq!(
        (&lists[3]["name"], &lists[3]["format"], &lists[3]["hits"]),
        (&"ads".into(), &"adblock".into(), &3.into())
    );
    assert!(lists[3]["memory_bytes"].as_u64().is_some_and(|bytes| bytes > 0) && lists[3]["error"].is_null());
    assert_eq!(tidegate.metric("tidegate_list_hits_total", &["list=\"ads\""]), [3.0]);
    assert_eq!(tidegate.metric("tidegate_list_rules", &["list=\"zone\"", "kind=\"host\""]), [3.0]);
}

#[test]
fn people_are_told_which_rule_of_which_list_and_the_log_as_well() {
    let folder = Folder::new();
    let tidegate = listed(&folder, &[("ads", "adblock", "||ads.test^\n/<b>\n")]);
    let brief = ask(&tidegate, "http://x.ads.test/secret");
    assert_eq!(brief.text(), "403: not <here>: rule `||ads.test^` of list `ads`\n");
    assert_eq!(brief.fields.value("cache-control"), Some("no-store"));
    let line = tidegate.log_of("/secret");
    assert_eq!((&line["list"], &line["rule"]), (&"ads".into(), &"||ads.test^".into()));
    assert_eq!((&line["fault"], &line["status"]), (&"denied".into(), &403.into()));
    let browser = "Accept: text/html,application/xhtml+xml;q=0.9,*/*;q=0.8\r\n";
    let page = tidegate.client().ask(format!("GET http://a.test/%3Cb%3E HTTP/1.1\r\nHost: a\r\n{browser}\r\n"));
    assert_eq!(page.status, 502, "no rule has escapes");
    let page = tidegate.client().ask(format!("GET http://ads.test/ HTTP/1.1\r\nHost: a\r\n{browser}\r\n"));
    assert_eq!((page.status, page.fields.value("content-type")), (403, Some("text/html; charset=utf-8")));
    let text = page.text();
    for said in ["not &lt;here&gt;", "<dd>ads.test</dd>", "<dd>ads</dd>", "||ads.test^", "color-scheme: light dark"] {
        assert!(text.contains(said), "{said}: {text}");
    }
    assert!(!text.contains("http") && !text.contains("<script"), "nothing from elsewhere");
}

#[test]
pub(crate) fn what_a_list_has_not_decided_is_told_as_ever() {
    let server = Server::named("one");
    let folder = Folder::new();
    folder.write("l.txt", "listed.test\n");
    let text = crate::support::config(
        &format!(
            "listeners: {{ web: {{ bind: 127.0.0.1:0, routes: [{{ match: {{ path: /no }}, deny: {{ status: 403, reason: why, contact: me }} }}, \
             {{ match: {{ host: {{ list: l }} }}, deny: 410 }}, {{ match: {{ not: {{ url: {{ list: l }} }} }}, to: app }}] }} }}\n\
             pools: {{ app: ['{}'] }}\nlists: {{ l: {{ file: l.txt, format: domains }} }}\n",
            server.address()
        ),
        &[],
    );
    let tidegate = testkit::Start::of(crate::support::BINARY).file(&folder.write("t.yaml", &text));
    let get = |host: &str, path: &str| tidegate.client().ask(format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n"));
    assert_eq!(get("a.test", "/no").text(), "403: why; ask me\n");
    assert_eq!(get("a.test", "/").text(), "one", "in front of servers of our own, too");
    let gone = get("x.listed.test", "/x");
    assert_eq!((gone.status, gone.text().as_str()), (410, "410: blocked: rule `listed.test` of list `l`\n"));
    assert!(tidegate.log_of("/no")["list"].is_null());
}

#[test]
fn curl_is_told_in_a_line_or_by_a_page() {
    let Some(mut curl) = tool("curl") else { return };
    let folder = Folder::new();
    let tidegate = listed(&folder, &[("ads", "domains", "ads.test\n")]);
    let proxy = format!("http://{}", tidegate.address("web"));
    let output = curl
        .args([
            "-sS",
            "--max-time",
            "20",
            "-x",
            &proxy,
            "-H",
            "Accept: text/html",
            "http://ads.test/",
            "-w",
            "%{http_code}",
        ])
        .stdin(Stdio::null())
        .output()
        .expect("a client that runs");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(said.starts_with("<!doctype html>") && said.ends_with("403"), "{said}");
    let mut curl = tool("curl").expect("it was there");
    let output = curl
        .args(["-sS", "--max-time", "20", "-x", &proxy, "https://ads.test/", "-w", "%{http_connect}"])
        .stdin(Stdio::null())
        .output()
        .expect("a client that runs");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "403");
}
