//! The keys of forward proxies. Each case is also a test of its own, with its friends.

use super::{Case, assert_refused};
use crate::forward::lists::pages;
use crate::forward::{egress, intercept};

pub(super) const CASES: &[Case] = &[
    (&["listeners.*.egress", "listeners.*.egress.allow"], egress::what_is_allowed_is_led_to),
    (&["listeners.*.egress.connect_ports"], egress::tunnels_go_to_some_ports),
    (&["listeners.*.open"], open),
    (
        &[
            "listeners.*.intercept",
            "listeners.*.intercept.ca",
            "listeners.*.intercept.ca.cert",
            "listeners.*.intercept.ca.key",
            "listeners.*.intercept.except",
            "listeners.*.intercept.upstream_ca",
        ],
        intercept::servers::whoever_is_excepted_is_not_read,
    ),
    (
        &["listeners.*.intercept.on_failure", "listeners.*.intercept.bypass_for"],
        intercept::clients::who_is_left_alone_is_read_again_when_its_time_is_over,
    ),
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
