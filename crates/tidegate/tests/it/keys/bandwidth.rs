//! Bandwidth: what each key changes. Nothing here measures how fast something is: a limit is so low that what it holds back would take
//! hours, and stands still for longer than it may; or so high that it is not met.

use testkit::{Server, Tidegate, ok, until};

use super::Case;
use crate::support::{get, start};

pub(super) const CASES: &[Case] = &[
    (&["policies.*.*.bandwidth", "policies.*.*.bandwidth.rate"], rate),
    (&["policies.*.*.bandwidth.burst"], burst),
    (&["policies.*.*.bandwidth.by"], by),
    (&["policies.*.*.bandwidth.direction"], direction),
];

/// What a body is whose beginning comes with its head, and the rest later.
const BODY: usize = 300_000;

fn limited(policy: &str) -> (Server, Tidegate) {
    let server = Server::http(|request| ok("x".repeat(if request.method == "GET" { BODY } else { 2 })));
    let text = format!(
        "listeners: {{ web: {{ bind: 127.0.0.1:0, timeouts: {{ stream: 300ms, request_body: 300ms }}, use: [{{ bandwidth: {policy} }}], to: app }} }}\n\
         pools: {{ app: [@APP] }}\n"
    );
    let tidegate = start(&text, &[("APP", &server)]);
    (server, tidegate)
}

/// Asks for a body that is held back: it is cut where it stands still.
fn stands_still(tidegate: &Tidegate, path: &str, fields: &str) {
    let mut client = tidegate.client();
    client.send(get(path, fields));
    assert_eq!(client.head().status, 200);
    let line = tidegate.log_of(path);
    assert_eq!((&line["fault"], &line["cut"]), (&"stream_timeout".into(), &true.into()));
    assert!(line["bytes_out"].as_u64().is_some_and(|bytes| bytes < BODY as u64));
}

fn rate() {
    // A byte in a second.
    let (_server, tidegate) = limited("1B/s");
    stands_still(&tidegate, "/still", "");
    // What nobody meets holds nobody back, through pipes and without.
    let (_server, tidegate) = limited("1GiB/s");
    assert_eq!(tidegate.client().get("/").body.len(), BODY);
    until("it is spliced", || {
        tidegate.metric("tidegate_spliced_bytes_total", &[]).first().is_some_and(|bytes| *bytes > 0.0)
    });
}

fn burst() {
    let (_server, tidegate) = limited("{ rate: 1B/s, burst: 1MiB }");
    assert_eq!(tidegate.client().get("/").body.len(), BODY, "it goes at once");
}

fn by() {
    let (_server, tidegate) = limited("{ rate: 1B/s, burst: 400KiB, by: header.x-who }");
    for who in ["a", "b"] {
        let fields = format!("X-Who: {who}\r\n");
        assert_eq!(tidegate.client().ask(get("/", &fields)).body.len(), BODY, "each has a burst of its own");
    }
    stands_still(&tidegate, "/still", "X-Who: a\r\n");
}

fn direction() {
    let upload = format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {BODY}\r\n\r\n{}", "x".repeat(BODY));
    let (_server, tidegate) = limited("{ rate: 1B/s, direction: out }");
    assert_eq!(tidegate.client().ask(&upload).status, 200);
    stands_still(&tidegate, "/still", "");
    let (_server, tidegate) = limited("{ rate: 1B/s, direction: in }");
    assert_eq!(tidegate.client().get("/").body.len(), BODY);
    assert_eq!(tidegate.client().ask(&upload).status, 408);
}
