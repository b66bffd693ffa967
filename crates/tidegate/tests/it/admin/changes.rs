//! What it changes of servers, as clients and servers see it.

use serde_json::json;
use testkit::{Client, Reloaded, Server, Tidegate};

use super::{Operator, error, in_turn, json, tag, until};
use crate::support::{config, start};

const ONE: &str = "/api/pools/app/servers/one";

/// Who answers so many requests.
fn answers(tidegate: &Tidegate, count: usize) -> Vec<String> {
    let mut client = tidegate.client();
    (0..count).map(|_| client.get("/").text()).collect()
}

fn share(tidegate: &Tidegate, name: &str, count: usize) -> usize {
    answers(tidegate, count).iter().filter(|answer| *answer == name).count()
}

#[test]
fn a_drained_server_gets_no_new_request_and_finishes_what_it_has() {
    let hold = testkit::Signal::new();
    let held = hold.clone();
    let one = Server::http(move |request| {
        if request.target == "/slow" {
            held.wait();
        }
        testkit::ok("one")
    });
    let other = Server::named("other");
    let tidegate = in_turn(&one, &other);
    assert_eq!(share(&tidegate, "one", 4), 2);
    let mut slow: Vec<Client> = (0..2).map(|_| tidegate.client()).collect();
    for client in &mut slow {
        client.send("GET /slow HTTP/1.1\r\nHost: a\r\n\r\n");
    }
    let mut operator = Operator::of(&tidegate);
    until(&mut operator, ONE, |server| server["addresses"][0]["in_flight"] == 1);
    let drained = operator.put(ONE, "", r#"{"drain": true}"#);
    assert_eq!((drained.status, &json(&drained)["addresses"][0]["state"]), (200, &json!("draining")));
    assert_eq!(share(&tidegate, "other", 10), 10);
    let address = one.address();
    tidegate.message(&format!("server `one` of pool `app` at {address}: drain true (by 127.0.0.1:"));
    hold.raise();
    let mut last: Vec<String> = slow.iter_mut().map(|client| client.response().text()).collect();
    last.sort_unstable();
    assert_eq!(last, ["one", "other"]);
    assert_eq!(operator.put(ONE, "", r#"{"drain": false}"#).status, 200);
    assert_eq!(share(&tidegate, "one", 4), 2);
}

#[test]
fn a_weight_is_a_share_and_none_is_none() {
    let (one, other) = (Server::named("one"), Server::named("other"));
    let tidegate = in_turn(&one, &other);
    let mut operator = Operator::of(&tidegate);
    let weighted = json(&operator.put(ONE, "", r#"{"weight": 3}"#));
    assert_eq!((&weighted["weight"], &weighted["addresses"][0]["weight"]), (&json!(1), &json!(3)));
    // The turn that was under way ends first.
    answers(&tidegate, 8);
    assert_eq!(share(&tidegate, "one", 40), 30);
    let off = json(&operator.put(ONE, "", r#"{"weight": 0}"#));
    assert_eq!(off["addresses"][0]["state"], "off");
    assert_eq!(share(&tidegate, "one", 10), 0);
    let both = json(&operator.put(ONE, "", r#"{"weight": 1, "drain": false}"#));
    assert_eq!(both["addresses"][0]["state"], "up");
    answers(&tidegate, 8);
    assert_eq!(share(&tidegate, "one", 10), 5);
}

#[test]
fn what_an_operator_set_outlives_a_reload_of_something_else() {
    let (one, other) = (Server::named("one"), Server::named("other"));
    let text = "listeners: { web: { bind: 127.0.0.1:0, to: app } }
pools: { app: { servers: { one: { address: @ONE, weight: 2 }, other: { address: @OTHER } }, balance: round_robin } }
";
    let servers = [("ONE", &one), ("OTHER", &other)];
    let tidegate = start(text, &servers.map(|(name, server)| (name, server as _)));
    let mut operator = Operator::of(&tidegate);
    operator.put(ONE, "", r#"{"drain": true, "weight": 9}"#);
    let again = |text: &str| config(text, &servers.map(|(name, server)| (name, server as _)));
    assert_eq!(tidegate.reload(&again(&text.replace("to: app", "to: app, timeouts: { total: 9s }"))), Reloaded::Yes);
    let kept = json(&operator.get(ONE));
    assert_eq!((&kept["addresses"][0]["state"], &kept["addresses"][0]["weight"]), (&json!("draining"), &json!(9)));
    // A weight that the file changes is the file's again; a drain is the operator's until he ends it.
    assert_eq!(tidegate.reload(&again(&text.replace("weight: 2", "weight: 3"))), Reloaded::Yes);
    let changed = json(&operator.get(ONE));
    assert_eq!((&changed["weight"], &changed["addresses"][0]["weight"]), (&json!(3), &json!(3)));
    assert_eq!(changed["addresses"][0]["state"], "draining");
}

#[test]
fn a_change_is_for_all_addresses_of_a_name() {
    let one = Server::at("127.0.0.1:0", |peer| while peer.request().is_some() {});
    let text = format!(
        "dns: {{ hosts: {{ two.example: [127.0.0.1, 127.0.0.2] }} }}
listeners: {{ web: {{ bind: 127.0.0.1:0, to: app }} }}
pools: {{ app: [\"two.example:{}\"] }}
",
        one.port()
    );
    let tidegate = start(&text, &[]);
    let mut operator = Operator::of(&tidegate);
    let target = format!("/api/pools/app/servers/two.example:{}", one.port());
    let drained = json(&operator.put(&target, "", r#"{"drain": true}"#));
    let states = [&drained["addresses"][0]["state"], &drained["addresses"][1]["state"]];
    assert_eq!(states, [&json!("draining"), &json!("draining")], "{drained}");
    assert_eq!(tidegate.client().get("/").status, 503);
    assert_eq!(one.connections(), 0);
}

#[test]
fn a_stale_operator_is_told_so() {
    let (one, other) = (Server::named("one"), Server::named("other"));
    let tidegate = in_turn(&one, &other);
    let mut operator = Operator::of(&tidegate);
    let read = operator.get(ONE);
    let if_match = format!("If-Match: {}\r\n", tag(&read));
    // Requests come and go without changing what a change is about.
    answers(&tidegate, 4);
    let first = operator.put(ONE, &if_match, r#"{"drain": true}"#);
    assert_eq!(first.status, 200);
    assert_ne!(tag(&first), tag(&read));
    let second = operator.put(ONE, &if_match, r#"{"drain": false}"#);
    assert_eq!(second.status, 412);
    assert_eq!(error(&second), "server `one` of pool `app` has changed since, read it again");
    assert_eq!(json(&operator.get(ONE))["addresses"][0]["state"], "draining");
    assert_eq!(operator.put(ONE, &format!("If-Match: {}\r\n", tag(&first)), r#"{"drain": false}"#).status, 200);
    assert_eq!(operator.put(ONE, "If-Match: *\r\n", r#"{"weight": 1}"#).status, 200);
}

#[test]
fn a_change_that_is_not_understood_changes_nothing() {
    let (one, other) = (Server::named("one"), Server::named("other"));
    let tidegate = in_turn(&one, &other);
    let mut operator = Operator::of(&tidegate);
    for (body, expected) in [
        (r#"{"drain": true, "wieght": 2}"#, 422),
        (r#"{"drain": true, "weight": 65536}"#, 422),
        (r#"{"weight": -1}"#, 422),
        (r#"{"drain": "yes"}"#, 422),
        ("{}", 422),
        ("[]", 422),
        ("{drain: true}", 400),
        ("", 400),
    ] {
        assert_eq!(operator.put(ONE, "", body).status, expected, "{body}");
    }
    let message = error(&operator.put(ONE, "", r#"{"wieght": 2}"#));
    assert_eq!(message, "unknown member `wieght`, the members are `drain` and `weight`");
    assert_eq!(operator.put("/api/pools/app/servers/none", "", r#"{"drain": true}"#).status, 404);
    let address = &json(&operator.get(ONE))["addresses"][0];
    assert_eq!((&address["state"], &address["weight"]), (&json!("up"), &json!(1)));
}
