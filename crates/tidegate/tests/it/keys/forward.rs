//! The keys of forward proxies. Each case is also a test of its own, with its friends.

use std::io::{ErrorKind, Read as _, Write as _};

use super::{Case, assert_refused};
use crate::forward::lists::pages;
use crate::forward::{addresses, anonymity, egress, inspect, intercept, pac, parents, privacy};

pub(super) const CASES: &[Case] = &[
    (&["listeners.*.egress", "listeners.*.egress.allow"], egress::what_is_allowed_is_led_to),
    (&["listeners.*.egress.connect_ports"], egress::tunnels_go_to_some_ports),
    (&["listeners.*.open"], open),
    (&["listeners.*.bind.*.transparent"], transparent),
    (
        &["listeners.*.egress.source", "listeners.*.routes.*.source"],
        addresses::connections_have_the_address_that_the_nearest_level_says,
    ),
    (&["pools.*.username", "pools.*.password"], parents::the_parent_is_told_who_we_are_and_nobody_else),
    (&["listeners.*.forwarding.identifying"], anonymity::fields_that_identify_are_a_list),
    (&["listeners.*.pac"], pac::whatever_could_be_for_the_proxy_is_led_there),
    (&["listeners.*.pac.direct"], pac::exceptions_do_without_the_proxy),
    (&["listeners.*.pac.proxy"], pac::other_proxies_can_be_named),
    (&["policies.*.*.privacy", "policies.*.*.privacy.cookies"], privacy::cookies_pass_as_far_as_they_may),
    (&["policies.*.*.privacy.referer"], privacy::the_page_before_is_told_by_its_policy),
    (&["policies.*.*.privacy.user_agent"], privacy::a_browser_is_what_is_said_of_it),
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
        &["listeners.*.inspect", "listeners.*.inspect.ports"],
        inspect::words::tunnels_to_some_ports_are_read_and_others_left_alone,
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
    // It may be reset before it has said anything.
    let mut socket = std::net::TcpStream::connect(tidegate.address("web")).expect("a connection");
    let mut heard = Vec::new();
    let said = socket.write_all(b"GET / HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n");
    match said.and_then(|()| socket.read_to_end(&mut heard)) {
        Ok(_) => assert!(heard.starts_with(b"HTTP/1.1 403 "), "{}", String::from_utf8_lossy(&heard)),
        Err(error) => assert!(matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe), "{error}"),
    }
}
