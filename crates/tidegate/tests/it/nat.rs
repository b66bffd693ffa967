//! Packets that the kernel rewrites, between machines of the test's own: they need root, and are skipped elsewhere.

pub(crate) mod changes;
pub(crate) mod lab;
mod owners;
mod starts;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use serde_json::Value;
use testkit::{Reloaded, Tidegate, output_of};

use crate::admin::Operator;
use crate::support::{BINARY, until_shown};
use lab::{Datagrams, Lab, example};

const WEB: &str = "10.77.0.1:80";

/// One address in front of two servers.
const TWO: &str = "
listeners:
  vip: { role: nat, bind: 10.77.0.1:80/tcp, interfaces: [lb0, lb1], source: 10.78.0.2, to: web }
pools:
  web: { servers: { a: 10.78.0.11:8080, b: 10.78.0.12:8080 } }
";

/// The same without the second.
fn one() -> String {
    TWO.replace(", b: 10.78.0.12:8080", "")
}

/// What the operator is shown, once it is what it should become: connections are counted every second.
fn shown(tidegate: &Tidegate, wanted: impl Fn(&Value) -> bool) -> Value {
    until_shown(tidegate, "/api/nat", wanted)
}

fn both(counts: &BTreeMap<String, usize>) -> bool {
    counts.len() == 2
}

#[test]
fn the_example_of_packets_works_as_it_stands() {
    let Some(lab) = Lab::new() else { return };
    let _web = [lab.serve("10.78.0.11:8080", "a"), lab.serve("10.78.0.12:8080", "b")];
    let _dns = [Datagrams::serve(&lab, "10.78.0.11:5353", "a"), Datagrams::serve(&lab, "10.78.0.12:5353", "b")];
    let tidegate = lab.start().file(&example());
    assert_eq!(tidegate.address("web-vip"), "10.77.0.1:80/tcp");
    assert_eq!(tidegate.address("dns-vip"), "10.77.0.1:5353/udp");
    let counts = lab.spread(WEB, 40);
    assert!(both(&counts), "{counts:?}");
    let answers: Vec<String> = (0..40).map(|_| Datagrams::ask(&lab, "10.77.0.1:5353", "hello")).collect();
    let of = |name: &str| answers.iter().filter(|said| **said == format!("{name} heard hello of 10.78.0.2")).count();
    assert!(of("a") > 0 && of("b") > 0 && of("a") + of("b") == 40, "{answers:?}");
}

#[test]
fn connections_stay_where_they_are_whatever_happens_to_the_process() {
    let Some(lab) = Lab::new() else { return };
    let _web = [lab.serve("10.78.0.11:8080", "a"), lab.serve("10.78.0.12:8080", "b")];
    let tidegate = lab.run(TWO);
    let mut kept = lab.keep(WEB, 60);
    assert!(both(&kept.by_server()), "{:?}", kept.by_server());
    for number in 1..=5 {
        let config = TWO.replace("source:", &format!("timeouts: {{ flow: {number}h }}, source:"));
        assert_eq!(tidegate.reload(&lab.whole(&config)), Reloaded::Yes);
        kept.are_all_where_they_were();
    }
    // A server that is no longer named keeps what it has, and gets nothing new.
    assert_eq!(tidegate.reload(&lab.whole(&one())), Reloaded::Yes);
    kept.are_all_where_they_were();
    assert_eq!(lab.spread(WEB, 40), BTreeMap::from([("a".to_owned(), 40)]));
    assert_eq!(tidegate.reload(&lab.whole(TWO)), Reloaded::Yes);
    kept.are_all_where_they_were();
    // Packets do not wait for a process.
    tidegate.kill();
    kept.are_all_where_they_were();
    let counts = lab.spread(WEB, 40);
    assert!(both(&counts), "{counts:?}");
    drop(tidegate);
    for _ in 0..3 {
        let next = lab.run(TWO);
        next.message("at `lb0`, `lb1`, as an earlier process has left it");
        kept.are_all_where_they_were();
        assert!(both(&lab.spread(WEB, 40)));
    }
    kept.are_all_where_they_were();
}

#[test]
fn nothing_is_lost_while_processes_come_and_go() {
    let Some(lab) = Lab::new() else { return };
    let _web = [lab.serve("10.78.0.11:8080", "a"), lab.serve("10.78.0.12:8080", "b")];
    let mut tidegate = lab.run(TWO);
    let mut kept = lab.keep(WEB, 20);
    let (is_over, rounds) = (AtomicBool::new(false), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        // Those that are open, and a new one, without a pause.
        let busy = scope.spawn(|| {
            while !is_over.load(Ordering::Relaxed) {
                kept.are_all_where_they_were();
                lab.keep(WEB, 1);
                rounds.fetch_add(1, Ordering::Relaxed);
            }
        });
        let some_rounds = || {
            let before = rounds.load(Ordering::Relaxed);
            while rounds.load(Ordering::Relaxed) < before + 5 && !busy.is_finished() {
                std::thread::yield_now();
            }
        };
        for number in 0..3 {
            for config in [one(), TWO.to_owned()] {
                assert_eq!(tidegate.reload(&lab.whole(&config)), Reloaded::Yes);
                some_rounds();
            }
            if number % 2 == 0 {
                tidegate.kill();
            } else {
                tidegate.terminate();
                tidegate.wait();
            }
            some_rounds();
            tidegate = lab.run(TWO);
            some_rounds();
        }
        is_over.store(true, Ordering::Relaxed);
        busy.join().expect("every request is answered, by the server that its connection has");
    });
}

#[test]
fn servers_come_from_lists_as_they_do_everywhere() {
    let Some(lab) = Lab::new() else { return };
    let _web = [lab.serve("10.78.0.11:8080", "a"), lab.serve("10.78.0.12:8080", "b")];
    let folder = testkit::Folder::new();
    let list = folder.write("list.yaml", "- 10.78.0.11:8080\n- '[2001:2:0:78::11]:8080'\n");
    let listed = format!("['file:{}']", list.display());
    let tidegate = lab.run(&TWO.replace("{ a: 10.78.0.11:8080, b: 10.78.0.12:8080 }", &listed));
    assert_eq!(lab.spread(WEB, 20), BTreeMap::from([("a".to_owned(), 20)]));
    let mut kept = lab.keep(WEB, 10);
    folder.replace("list.yaml", "- 10.78.0.12:8080\n");
    shown(&tidegate, |nat| {
        let servers = &nat["listeners"][0]["addresses"][0]["servers"];
        servers[0]["address"] == "10.78.0.12:8080" && servers[1]["weight"].is_null()
    });
    assert_eq!(lab.spread(WEB, 20), BTreeMap::from([("b".to_owned(), 20)]));
    kept.are_all_where_they_were();
}

#[test]
fn a_drained_server_keeps_its_connections_and_gets_no_new_ones() {
    let Some(lab) = Lab::new() else { return };
    let _web = [lab.serve("10.78.0.11:8080", "a"), lab.serve("10.78.0.12:8080", "b")];
    let tidegate = lab.run(TWO);
    let mut kept = lab.keep(WEB, 40);
    let mut operator = Operator::of(&tidegate);
    let mut drain = |wanted: bool| {
        let answer = operator.put("/api/pools/web/servers/a", "", &format!("{{\"drain\": {wanted}}}"));
        assert_eq!(answer.status, 200, "{}", answer.text());
    };
    drain(true);
    assert_eq!(lab.spread(WEB, 40), BTreeMap::from([("b".to_owned(), 40)]));
    kept.are_all_where_they_were();
    drain(false);
    assert!(both(&lab.spread(WEB, 40)));
    kept.are_all_where_they_were();
    // A weight is a share of what is new.
    assert_eq!(operator.put("/api/pools/web/servers/a", "", r#"{"weight": 0}"#).status, 200);
    assert_eq!(lab.spread(WEB, 40), BTreeMap::from([("b".to_owned(), 40)]));
}

#[test]
fn a_dead_server_gets_no_new_connections() {
    let Some(lab) = Lab::new() else { return };
    let _first = lab.serve("10.78.0.11:8080", "a");
    let second = lab.serve("10.78.0.12:8080", "b");
    let checked = TWO.replace("web: {", "web: { health: { probe: tcp, every: 100ms, fall: 2, rise: 1 },");
    let tidegate = lab.run(&checked);
    assert!(both(&lab.spread(WEB, 40)));
    drop(second);
    tidegate.message("server `b` of pool `web` at 10.78.0.12:8080 is down");
    shown(&tidegate, |nat| nat["listeners"][0]["addresses"][0]["servers"][1]["weight"] == 0);
    assert_eq!(lab.spread(WEB, 40), BTreeMap::from([("a".to_owned(), 40)]));
    let _second = lab.serve("10.78.0.12:8080", "b");
    tidegate.message("server `b` of pool `web` at 10.78.0.12:8080 is up");
    shown(&tidegate, |nat| nat["listeners"][0]["addresses"][0]["servers"][1]["weight"] == 1);
    assert!(both(&lab.spread(WEB, 40)));
}

#[test]
fn both_families_and_the_clients_own_address() {
    let Some(lab) = Lab::new() else { return };
    let _web = [lab.serve("[2001:2:0:78::11]:8080", "six"), lab.serve("10.78.0.11:8080", "four")];
    let _dns = [Datagrams::serve(&lab, "10.78.0.11:53", "four"), Datagrams::serve(&lab, "[2001:2:0:78::12]:53", "six")];
    let _tidegate = lab.run(
        "
listeners:
  web:
    role: nat
    bind: ['10.77.0.1:80/tcp', '[2001:2:0:77::1]:80/tcp']
    interfaces: [lb0, lb1]
    source: [10.78.0.2, '2001:2:0:78::2']
    to: web
  dns: { role: nat, bind: '10.77.0.1:53/udp', nat: dnat, interfaces: lb0, to: '10.78.0.11:53' }
  dns-six: { role: nat, bind: '[2001:2:0:77::1]:53/udp', interfaces: lb1, source: '2001:2:0:78::2', to: '[2001:2:0:78::12]:53' }
pools:
  web: ['10.78.0.11:8080', '[2001:2:0:78::11]:8080']
",
    );
    assert_eq!(lab.spread(WEB, 10), BTreeMap::from([("four".to_owned(), 10)]));
    assert_eq!(lab.spread("[2001:2:0:77::1]:80", 10), BTreeMap::from([("six".to_owned(), 10)]));
    assert_eq!(Datagrams::ask(&lab, "10.77.0.1:53", "hello"), "four heard hello of 10.77.0.9");
    assert_eq!(Datagrams::ask(&lab, "[2001:2:0:77::1]:53", "hello"), "six heard hello of 2001:2:0:78::2");
}

#[test]
fn what_the_kernel_has_done_is_shown() {
    let Some(lab) = Lab::new() else { return };
    let _web = [lab.serve("10.78.0.11:8080", "a"), lab.serve("10.78.0.12:8080", "b")];
    let tidegate = lab.run(TWO);
    let mut kept = lab.keep(WEB, 20);
    let counts = kept.by_server();
    let open = |nat: &Value, server: usize| nat["listeners"][0]["addresses"][0]["servers"][server].clone();
    let nat = shown(&tidegate, |nat| {
        (0..2).all(|n| open(nat, n)["connections"]["open"].as_u64().is_some_and(|open| open > 0))
    });
    assert_eq!(
        (&nat["interfaces"], &nat["listeners"][0]["engine"]),
        (&serde_json::json!(["lb0", "lb1"]), &"kernel".into())
    );
    assert_eq!(nat["listeners"][0]["addresses"][0]["address"], "10.77.0.1:80/tcp");
    assert!(nat["drops"]["no_server"] == 0 && nat["entries"]["most"].as_u64() > Some(1000), "{nat:#}");
    for (number, name) in ["a", "b"].into_iter().enumerate() {
        let server = open(&nat, number);
        assert_eq!(server["name"], name);
        assert_eq!(server["connections"]["opened"], counts[name], "{server:#}");
        assert!(server["bytes_in"].as_u64() > Some(1000) && server["packets_out"].as_u64() > Some(3), "{server:#}");
        let label = format!("server=\"{name}\"");
        let labels = ["listener=\"vip\"", "bind=\"10.77.0.1:80/tcp\"", label.as_str()];
        assert_eq!(tidegate.metric("tidegate_nat_connections_total", &labels), [counts[name] as f64]);
        assert_eq!(tidegate.metric("tidegate_nat_packets_total", &labels).len(), 2);
    }
    assert_eq!(tidegate.metric("tidegate_nat_in_kernel", &["listener=\"vip\""]), [1.0]);
    // Nobody is there for a moment: what is new is dropped, and counted.
    let mut operator = Operator::of(&tidegate);
    for name in ["a", "b"] {
        assert_eq!(operator.put(&format!("/api/pools/web/servers/{name}"), "", r#"{"drain": true}"#).status, 200);
    }
    assert!(!lab.answers(WEB));
    shown(&tidegate, |nat| nat["drops"]["no_server"].as_u64() > Some(0));
    kept.are_all_where_they_were();
    // What is no longer named is shown for as long as it has connections.
    assert_eq!(tidegate.reload(&lab.whole(&one())), Reloaded::Yes);
    shown(&tidegate, |nat| open(nat, 1)["weight"].is_null() && open(nat, 1)["connections"]["open"] == counts["b"]);
}

#[test]
fn silent_flows_are_forgotten() {
    let Some(lab) = Lab::new() else { return };
    let _dns = Datagrams::serve(&lab, "10.78.0.11:53", "a");
    let tidegate = lab.run(
        "
listeners:
  dns: { role: nat, bind: 10.77.0.1:53/udp, interfaces: [lb0, lb1], source: 10.78.0.2, to: dns, timeouts: { flow: 1s } }
pools: { dns: ['10.78.0.11:53'] }
",
    );
    assert_eq!(Datagrams::ask(&lab, "10.77.0.1:53", "x"), "a heard x of 10.78.0.2");
    let connections = |nat: &Value| nat["listeners"][0]["addresses"][0]["servers"][0]["connections"].clone();
    shown(&tidegate, |nat| {
        connections(nat) == serde_json::json!({ "open": 0, "opened": 1 }) && nat["entries"]["taken"] == 0
    });
}

#[test]
fn a_reload_without_packets_ends_it_and_a_stop_does_not() {
    let Some(lab) = Lab::new() else { return };
    let _web = [lab.serve("10.78.0.11:8080", "a"), lab.serve("10.78.0.12:8080", "b")];
    let mut tidegate = lab.run(TWO);
    let mut kept = lab.keep(WEB, 10);
    tidegate.terminate();
    assert!(tidegate.wait().success());
    assert!(tidegate.messages().contains("packets are still rewritten inside the kernel"), "{}", tidegate.messages());
    kept.are_all_where_they_were();
    let none = "listeners: { web: { bind: 127.0.0.1:0, respond: 200 } }\n";
    drop(tidegate);
    // Another configuration does not take away what it knows nothing of.
    let other = lab.run(none);
    other.message("an earlier process has left packets to be rewritten inside the kernel");
    kept.are_all_where_they_were();
    drop(other);
    let tidegate = lab.run(TWO);
    kept.are_all_where_they_were();
    assert_eq!(tidegate.reload(&lab.whole(none)), Reloaded::Yes);
    tidegate.message("packets are no longer rewritten inside the kernel");
    lab.until_silent(WEB);
    assert_eq!(tidegate.reload(&lab.whole(TWO)), Reloaded::Yes);
    assert!(both(&lab.spread(WEB, 40)));
    // The operator ends it without a process.
    drop(tidegate);
    lab.connect(WEB);
    let released = || lab.start().refused(&["nat", "release"]);
    let (code, said) = released();
    assert!(code == Some(0) && said.contains("packets are no longer rewritten inside the kernel"), "{said}");
    lab.until_silent(WEB);
    let (code, said) = released();
    assert!(code == Some(0) && said.contains("no process has left anything"), "{said}");
}

#[test]
fn what_somebody_has_taken_away_is_said_and_begun_anew() {
    let Some(lab) = Lab::new() else { return };
    let _web = [lab.serve("10.78.0.11:8080", "a"), lab.serve("10.78.0.12:8080", "b")];
    let tidegate = lab.run(TWO);
    lab.connect(WEB);
    std::fs::remove_dir_all(lab.pins.path().join("tidegate")).expect("pins can be removed");
    tidegate.message("somebody has taken that away; a reload begins anew");
    lab.until_silent(WEB);
    assert_eq!(tidegate.reload(&lab.whole(TWO)), Reloaded::Yes);
    assert!(both(&lab.spread(WEB, 40)));
}

#[test]
fn a_configuration_of_packets_is_checked_without_any_right() {
    let Some(mut setpriv) = testkit::tool("setpriv") else { return };
    let file = example().display().to_string();
    let said = if testkit::is_root() {
        let words = ["--bounding-set=-all", "--inh-caps=-all", "--", BINARY, "check", &file];
        setpriv.args(words).output().expect("a process")
    } else {
        output_of(BINARY, &["check", &file])
    };
    let text = String::from_utf8_lossy(&said.stdout).into_owned();
    assert!(said.status.success() && text.contains("is sound: 2 listeners, 0 sites, 2 pools"), "{text}");
}
