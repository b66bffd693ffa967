//! The keys of forward proxies. Each case is also a test of its own, with its friends.

use super::{Case, assert_refused};
use crate::forward::egress;
use crate::forward::lists::pages;

pub(super) const CASES: &[Case] = &[
    (&["listeners.*.egress", "listeners.*.egress.allow"], egress::what_is_allowed_is_led_to),
    (&["listeners.*.egress.connect_ports"], egress::tunnels_go_to_some_ports),
    (&["listeners.*.open"], open),
    (&["listeners.*.bind.*.transparent"], transparent),
    (
        &[
            "lists",
            "lists.*.file",
            "lists.*.format",
            "listeners.*.routes.*.match.url",
            "listeners.*.routes.*.match.url.list",
        ],
        pages::every_form_blocks_what_it_names_and_nothing_else,
    ),
    (&["pools.*.health.body.*.list"], pages::what_a_list_has_not_decided_is_told_as_ever),
];

#[test]
fn open() {
    let proxy = |open: &str| format!("listeners: {{ web: {{ bind: 0.0.0.0:0, role: forward, {open} to: origin }} }}\n");
    assert_refused(&proxy(""), "is a forward proxy for anybody who reaches");
    assert_eq!(crate::support::start(&proxy("open: true,"), &[]).client().get("/").status, 400);
}

#[test]
fn transparent() {
    let proxy = |more: &str| {
        let text = format!(
            "listeners: {{ web: {{ bind: [{{ address: 127.0.0.1:0{more} }}], role: forward, to: origin }} }}\n"
        );
        crate::support::start(&text, &[])
    };
    assert_eq!(proxy("").client().get("/").status, 400, "a target without a server");
    // Who comes by itself was led from nowhere: whether the kernel says so or not, the way back to us is none.
    let tidegate = proxy(", transparent: redirect");
    let mut client = tidegate.client();
    client.send("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n");
    match client.try_response() {
        Ok(response) => assert_eq!(response.status, 403),
        Err(broken) => assert_eq!(broken, testkit::Broken::Reset),
    }
}
