//! Listeners whose packets the kernel rewrites: between machines of the test's own, which need root.

use testkit::until;

use super::Case;
use crate::nat::changes;
use crate::nat::lab::{CAPABILITIES, Datagrams, Lab};

pub(super) const CASES: &[Case] = &[
    (&["listeners.*.nat"], what_is_rewritten),
    (&["listeners.*.interfaces"], interfaces),
    (&["listeners.*.source"], source),
    (&["listeners.*.engine"], engine),
    (&["listeners.*.timeouts.flow"], silence_of_a_listener),
    (&["pools.*.timeouts.flow"], silence_of_a_pool),
    (&["nat", "nat.connections"], changes::a_table_of_another_size_has_all_connections),
];

const AT: &str = "10.77.0.1:53";

/// A listener of datagrams in front of one server.
fn config(listener: &str, pool: &str) -> String {
    format!(
        "
listeners:
  dns: {{ role: nat, bind: {AT}/udp, to: dns, {listener} }}
pools: {{ dns: {{ servers: ['10.78.0.11:53'], {pool} }} }}
"
    )
}

fn what_is_rewritten() {
    let Some(lab) = Lab::new() else { return };
    let _server = Datagrams::serve(&lab, "10.78.0.11:53", "a");
    let tidegate = lab.run(&config("nat: full, source: 10.78.0.2, interfaces: [lb0, lb1]", ""));
    assert_eq!(Datagrams::ask(&lab, AT, "x"), "a heard x of 10.78.0.2");
    drop(tidegate);
    let _tidegate = lab.run(&config("nat: dnat, interfaces: [lb0, lb1]", ""));
    assert_eq!(Datagrams::ask(&lab, AT, "x"), "a heard x of 10.77.0.9");
}

fn interfaces() {
    let Some(lab) = Lab::new() else { return };
    let _server = lab.serve("10.78.0.11:80", "a");
    let config = |interfaces: &str| {
        format!(
            "listeners: {{ web: {{ role: nat, bind: 10.77.0.1:80/tcp, source: 10.78.0.2, interfaces: {interfaces}, to: '10.78.0.11:80' }} }}\n"
        )
    };
    let tidegate = lab.run(&config("lb1"));
    assert!(!lab.answers("10.77.0.1:80"), "packets that come in elsewhere are nobody's");
    drop(tidegate);
    let _tidegate = lab.run(&config("[lb0, lb1]"));
    lab.connect("10.77.0.1:80");
}

fn source() {
    let Some(lab) = Lab::new() else { return };
    lab.balancer.address("lb1", "10.78.0.3/24");
    let _server = Datagrams::serve(&lab, "10.78.0.11:53", "a");
    let _tidegate = lab.run(&config("source: 10.78.0.3, interfaces: [lb0, lb1]", ""));
    assert_eq!(Datagrams::ask(&lab, AT, "x"), "a heard x of 10.78.0.3");
}

fn engine() {
    let Some(lab) = Lab::new() else { return };
    let _server = lab.serve("10.78.0.11:80", "a");
    let config = |engine: &str| {
        format!(
            "listeners: {{ web: {{ role: nat, bind: 10.77.0.1:80/tcp, nat: dnat, interfaces: [lb0, lb1], engine: {engine}, to: '10.78.0.11:80' }} }}\n"
        )
    };
    let limited = || lab.start().without(CAPABILITIES);
    let said = lab.refused(limited(), &config("kernel"));
    assert!(said.contains("CAP_BPF"), "{said}");
    let _tidegate = limited().text(&lab.whole(&config("auto")));
    lab.connect("10.77.0.1:80");
}

fn silence_of_a_listener() {
    silence("timeouts: { flow: 1s },", "");
}

fn silence_of_a_pool() {
    // The nearest level wins.
    silence("timeouts: { flow: 1h },", "timeouts: { flow: 1s }");
}

fn silence(listener: &str, pool: &str) {
    let Some(lab) = Lab::new() else { return };
    let _server = Datagrams::serve(&lab, "10.78.0.11:53", "a");
    let tidegate = lab.run(&config(&format!("{listener} source: 10.78.0.2, interfaces: [lb0, lb1]"), pool));
    assert_eq!(Datagrams::ask(&lab, AT, "x"), "a heard x of 10.78.0.2");
    let of = |name: &str| tidegate.metric(name, &["listener=\"dns\""]);
    until("none of one flow is left", || {
        of("tidegate_nat_connections") == [0.0] && of("tidegate_nat_connections_total") == [1.0]
    });
}
