//! Quotas: what each key changes.

use serde_json::Value;
use testkit::{Server, Tidegate, ok};

use super::Case;
use crate::support::{get, start};

pub(super) const CASES: &[Case] = &[
    (&["policies.*.*.quota", "policies.*.*.quota.requests"], requests),
    (&["policies.*.*.quota.bytes", "policies.*.*.quota.running"], bytes),
    (&["policies.*.*.quota.per", "policies.*.*.quota.zone"], per),
    (&["policies.*.*.quota.by"], by),
    (&["policies.*.*.quota.direction"], direction),
    (&["policies.*.*.quota.deny"], deny),
];

const BODY: usize = 300_000;

fn limited(quota: &str) -> (Server, Tidegate) {
    let server = Server::http(|request| ok("x".repeat(if request.method == "GET" { BODY } else { 2 })));
    let text = format!(
        "policies: {{ fair: {{ quota: {quota} }} }}\nlisteners: {{ web: {{ bind: 127.0.0.1:0, use: fair, to: app }} }}\npools: {{ app: [@APP] }}\n"
    );
    let tidegate = start(&text, &[("APP", &server)]);
    (server, tidegate)
}

fn statuses(tidegate: &Tidegate) -> [u16; 2] {
    [(); 2].map(|()| tidegate.client().get("/").status)
}

fn requests() {
    let (_server, tidegate) = limited("{ requests: 1, per: 30d }");
    assert_eq!(statuses(&tidegate), [200, 429]);
}

fn bytes() {
    let (_server, tidegate) = limited("{ bytes: 100KB, per: 30d }");
    let mut client = tidegate.client();
    client.send(get("/cut", ""));
    assert_eq!(client.head().status, 200);
    assert_eq!(tidegate.log_of("/cut")["fault"], "quota");
    let (_server, tidegate) = limited("{ bytes: 100KB, per: 30d, running: finish }");
    assert_eq!(tidegate.client().get("/").body.len(), BODY);
    assert_eq!(tidegate.client().get("/").status, 429);
}

fn per() {
    let ends = |per: &str| {
        let (_server, tidegate) = limited(&format!("{{ requests: 5, {per} }}"));
        assert_eq!(tidegate.client().get("/").status, 200);
        let shown: Value = serde_json::from_slice(&tidegate.admin("/api/quotas/fair").body).expect("JSON");
        shown["subjects"][0]["until"].as_str().expect("a time").to_owned()
    };
    // Nobody knows what time it is, but when days end.
    assert!(ends("per: day").ends_with("T00:00:00Z"));
    assert!(ends("per: day, zone: '+12:34'").ends_with("T11:26:00Z"));
    assert!(ends("per: month").ends_with("-01T00:00:00Z"));
    assert!(ends("per: hour").ends_with(":00:00Z"));
}

fn by() {
    let (_server, tidegate) = limited("{ requests: 1, per: 30d, by: header.x-who }");
    let ask = |who: &str| tidegate.client().ask(get("/", &format!("X-Who: {who}\r\n"))).status;
    assert_eq!([ask("a"), ask("b"), ask("a")], [200, 200, 429]);
}

fn direction() {
    let (_server, tidegate) = limited("{ bytes: 100KB, per: 30d, direction: in }");
    assert_eq!(statuses(&tidegate), [200, 200], "what goes out does not count");
    let upload = format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {BODY}\r\n\r\n{}", "x".repeat(BODY));
    assert_eq!(tidegate.client().ask(&upload).status, 429);
    let (_server, tidegate) = limited("{ bytes: 100KB, per: 30d, direction: out }");
    assert_eq!(tidegate.client().ask(&upload).status, 200, "what comes in does not count");
}

fn deny() {
    let (_server, tidegate) = limited("{ requests: 1, per: 30d, deny: 403 }");
    assert_eq!(statuses(&tidegate), [200, 403]);
}
