//! Who is served, by whom, how long, and how many are.

use testkit::datagram::Answering;
use testkit::{Unheard, is_root, skip, until};

use super::{PLAIN, choosy, client, from, sum, until_metric, with};
use crate::support::{config, start};

#[test]
fn where_there_is_no_room_who_is_not_answered_goes_first_and_who_is_answered_stays() {
    let server = choosy("127.0.0.1:0");
    let text = format!("workers: 1\n{}", PLAIN.replace("to: app", "to: app, limits: { connections: 3 }"));
    let tidegate = start(&text, &[("APP", &server)]);
    let (one, two, mute, three) = (client(&tidegate), client(&tidegate), client(&tidegate), client(&tidegate));
    assert_eq!([one.ask("1"), two.ask("2")], ["1", "2"]);
    mute.say("mute");
    server.until_seen(3);
    assert_eq!(three.ask("3"), "3");
    let line = tidegate.log_line("a flow that made room", |line| line["cut"] == true);
    assert_eq!((&line["fault"], &line["side"]), (&"overload".into(), &"proxy".into()));
    assert_eq!(line["peer"], mute.socket.local_addr().expect("an address").to_string());
    // Now all are answered, and whoever comes has no place.
    let late = client(&tidegate);
    late.say("4");
    until_metric(&tidegate, "tidegate_connections_refused_total", &["listener=\"web\""], 1.0);
    assert!(tidegate.message("listener `web`: there are 3 flows").contains("refused"));
    assert_eq!([one.ask("5"), two.ask("6"), three.ask("7")], ["5", "6", "7"]);
    assert!(!late.has_heard());
    assert_eq!(sum(&tidegate, "tidegate_connections"), 3.0);
    late.say("8");
    until_metric(&tidegate, "tidegate_connections_refused_total", &["listener=\"web\""], 2.0);
    assert_eq!(tidegate.messages().matches("there are 3 flows").count(), 1, "the log does not fill");
}

#[test]
fn routes_decide_who_is_served_and_nobody_else_hears_anything() {
    let server = Answering::named("a");
    let text = "
listeners:
  web:
    bind: 127.0.0.1:0
    role: udp
    timeouts: { flow: 150ms }
    routes:
      - { name: bad, match: { client: 127.0.0.2 }, deny: drop }
      - { name: good, match: { any: [{ client: 127.0.0.1 }, { client: 127.0.0.4 }], not: { port: 1 } }, to: app }
pools: { app: [@APP] }
";
    let tidegate = start(text, &[("APP", &server)]);
    let (denied, nobody) = (from(2, &tidegate), from(3, &tidegate));
    denied.say("x");
    denied.say("y");
    nobody.say("z");
    assert_eq!(from(4, &tidegate).ask("in"), "a in");
    let bad = tidegate.log_line("a denied flow", |line| line["fault"] == "denied");
    assert_eq!((&bad["route"], &bad["side"], &bad["tries"]), (&"bad".into(), &"client".into(), &0.into()));
    assert_eq!((&bad["datagrams_in"], &bad["datagrams_out"]), (&2.into(), &0.into()));
    assert!(bad.get("cut").is_none(), "it ended by silence: {bad}");
    assert_eq!(tidegate.log_line("a flow of nobody", |line| line["fault"] == "no_route")["client"], "127.0.0.3");
    assert_eq!(sum(&tidegate, "tidegate_datagrams_lost_total"), 3.0);
    assert!(!denied.has_heard() && !nobody.has_heard());
    assert_eq!(server.seen().len(), 1);
}

#[test]
fn a_client_has_its_server_by_its_address_where_nothing_is_said() {
    let servers = [Answering::named("a"), Answering::named("b"), Answering::named("c")];
    let text = PLAIN.replace("[@APP]", "[@A1, @B1, @C1]");
    let tidegate = start(&text, &[("A1", &servers[0]), ("B1", &servers[1]), ("C1", &servers[2])]);
    let of = |octet: u8| from(octet, &tidegate).ask("x");
    let first: Vec<String> = (1..40).map(of).collect();
    assert_eq!(first, (1..40).map(of).collect::<Vec<_>>(), "whichever port it comes from");
    for name in ["a x", "b x", "c x"] {
        assert!(first.iter().any(|heard| heard == name), "{name} of {first:?}");
    }
}

#[test]
fn a_client_may_stay_with_its_server_by_a_table() {
    let servers = [Answering::named("a"), Answering::named("b"), Answering::named("c")];
    let pool = "{ servers: [@A1, @B1, @C1], balance: round_robin, sticky: { by: client_ip, for: 1m } }";
    let text = format!("workers: 1\n{}", PLAIN.replace("[@APP]", pool));
    let tidegate = start(&text, &[("A1", &servers[0]), ("B1", &servers[1]), ("C1", &servers[2])]);
    let first = client(&tidegate).ask("x");
    assert!((0..8).all(|_| client(&tidegate).ask("x") == first));
    let others: std::collections::BTreeSet<String> = (2..9).map(|octet| from(octet, &tidegate).ask("x")).collect();
    assert_eq!(others.len(), 3, "{others:?}");
}

#[test]
fn age_ends_a_flow_that_speaks() {
    let server = Answering::echo();
    let tidegate = with("timeouts: { flow: 10s, total: 300ms }", &server);
    let client = client(&tidegate);
    while !tidegate.log().iter().any(|line| line["cut"] == true) {
        // What is said while it ends is lost, as datagrams may be.
        client.insist("tick");
    }
    assert_eq!(tidegate.log_line("a flow", |line| line["cut"] == true)["fault"], "total_timeout");
}

#[test]
pub(crate) fn the_nearest_level_says_how_long_silence_may_last() {
    let server = Answering::echo();
    let text = "
listeners: { web: { bind: 127.0.0.1:0, role: udp, timeouts: { flow: 1h }, routes: [
  { name: short, match: { client: 127.0.0.2 }, to: app, timeouts: { flow: 100ms } }, { name: long, to: app }] } }
pools: { app: { servers: [@APP], timeouts: { flow: 2h } } }
";
    let tidegate = start(text, &[("APP", &server)]);
    assert_eq!([client(&tidegate).ask("x"), from(2, &tidegate).ask("y")], ["x", "y"]);
    tidegate.log_line("a short flow", |line| line["route"] == "short");
    assert_eq!(sum(&tidegate, "tidegate_connections"), 1.0);
    // Without a word of the route the pool's counts, and without one of the pool the listener's.
    let by_pool = text.replace(", timeouts: { flow: 100ms }", "").replace("flow: 2h", "flow: 100ms");
    let by_listener = by_pool.replace(", timeouts: { flow: 100ms }", "").replace("flow: 1h", "flow: 100ms");
    for text in [by_pool, by_listener] {
        let tidegate = start(&text, &[("APP", &server)]);
        assert_eq!(client(&tidegate).ask("x"), "x");
        tidegate.log_line("a short flow", |line| line["route"] == "long");
    }
}

#[test]
fn a_server_has_no_more_flows_than_it_may() {
    let (one, two) = (Answering::named("one"), Answering::named("two"));
    let pool = "{ servers: { one: { address: @ONE, max_connections: 1 }, two: { address: @TWO, max_connections: 2 } }, balance: first }";
    let text = PLAIN.replace("[@APP]", pool).replace("to: app", "to: app, timeouts: { flow: 500ms }");
    let tidegate = start(&text, &[("ONE", &one), ("TWO", &two)]);
    let clients: Vec<_> = (0..4).map(|_| client(&tidegate)).collect();
    let heard: Vec<String> = clients[..3].iter().map(|client| client.ask("x")).collect();
    assert_eq!(heard, ["one x", "two x", "two x"]);
    clients[3].say("y");
    until_metric(&tidegate, "tidegate_datagrams_lost_total", &[], 1.0);
    // A flow without a server looks for one again.
    clients[..3].iter().for_each(|client| assert!(client.ask("z").ends_with(" z")));
    tidegate.log_line("a flow that is over", |line| line["fault"].is_null() && line["server"] == "one");
    assert_eq!(client(&tidegate).ask("w"), "one w");
    let line = tidegate.log_line("a flow that found none", |line| line["fault"] == "queue_full");
    assert_eq!((&line["datagrams_in"], &line["datagrams_out"]), (&1.into(), &0.into()));
}

#[test]
fn whom_checks_call_down_is_left_by_its_flows() {
    let (one, checks) = Answering::beside_tcp("one");
    let (two, _checks) = Answering::beside_tcp("two");
    let pool = "{ servers: { one: { address: @ONE }, two: { address: @TWO } }, balance: first, health: { probe: tcp, every: 50ms, fall: 2 } }";
    let tidegate = start(&PLAIN.replace("[@APP]", pool), &[("ONE", &one), ("TWO", &two)]);
    let client = client(&tidegate);
    assert_eq!(client.ask("x"), "one x");
    drop(checks);
    until_metric(&tidegate, "tidegate_server_state", &["server=\"one\"", "state=\"down\""], 1.0);
    assert_eq!(client.ask("y"), "two y");
}

#[test]
fn a_pool_of_requests_may_serve_datagrams_too() {
    let server = Answering::named("udp");
    let web = testkit::Server::named("web");
    let text = "
listeners:
  web: { bind: 127.0.0.1:0, role: udp, to: both }
  page: { bind: 127.0.0.1:0, to: both }
pools: { both: { servers: { a: { address: @APP } } } }
";
    let tidegate = start(text, &[("APP", &server)]);
    assert_eq!(client(&tidegate).ask("x"), "udp x");
    tidegate.reload(&config(text, &[("APP", &web)]));
    assert_eq!(testkit::Client::connect(&tidegate.address("page")).get("/").text(), "web");
}

#[test]
fn a_further_try_counts_until_a_server_has_answered() {
    let (dead, also, mute, late) = (Unheard::new(), Unheard::new(), choosy("127.0.0.1:0"), Answering::named("d"));
    let pool = "{ servers: { a: { address: @DEAD }, b: { address: @MUTE, max_connections: 1 }, c: { address: @ALSO }, d: { address: @LATE } }, \
                balance: first, circuit_breaker: { retries: 1 } }";
    let text = format!("workers: 1\n{}", PLAIN.replace("[@APP]", pool));
    let tidegate = start(&text, &[("DEAD", &dead), ("MUTE", &mute), ("ALSO", &also), ("LATE", &late)]);
    let (one, two) = (client(&tidegate), client(&tidegate));
    one.say("mute");
    mute.until_seen(1);
    // One of the two that are not there refuses, and no further try is left.
    two.say("x");
    let met = || {
        let labels = ["pool=\"app\"", "limit=\"retries\""];
        tidegate.metric("tidegate_pool_limits_met_total", &labels).iter().sum::<f64>()
    };
    until("the limit", || met() == 1.0);
    assert!(late.seen().is_empty());
    // What it says next looks for a server by itself.
    assert_eq!(two.ask("y"), "d y");
    assert_eq!((one.ask("z").as_str(), met()), ("z", 1.0));
}

#[test]
fn a_datagram_from_port_0_is_lost_and_changes_nothing() {
    if !is_root() {
        return skip("a raw socket needs root");
    }
    let server = Answering::named("a");
    let tidegate = with("timeouts: { flow: 10s }", &server);
    testkit::datagram::say_from_port_0(&tidegate.address("web"), b"nobody");
    until_metric(&tidegate, "tidegate_datagrams_lost_total", &["listener=\"web\""], 1.0);
    assert_eq!(client(&tidegate).ask("x"), "a x");
    assert_eq!((server.seen().len(), sum(&tidegate, "tidegate_connections_total")), (1, 1.0));
}
