//! Filters of responses: what each key changes.

use testkit::{Response, Server};

use super::Case;
use crate::support::start;

pub(super) const CASES: &[Case] = &[
    (&["policies.*.*.filter", "policies.*.*.filter.types"], types),
    (&["policies.*.*.filter.except"], except),
    (&["policies.*.*.filter.over"], over),
    (&["policies.*.*.filter.deny", "policies.*.*.filter.deny.status"], status),
    (&["policies.*.*.filter.deny.reason", "policies.*.*.filter.deny.contact"], reason),
];

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
