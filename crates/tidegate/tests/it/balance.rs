//! Which server is chosen, where that is not left to chance.

use testkit::{Reloaded, Server, Tidegate};

use crate::admin::Operator;
use crate::support::{Place, config, get, start};

const KEYS: usize = 300;

/// Three servers under lasting names.
fn pool(balance: &str) -> String {
    format!(
        "listeners: {{ web: {{ bind: 127.0.0.1:0, to: app }} }}\n\
         pools: {{ app: {{ servers: {{ a: '@A', b: {{ address: '@B', weight: 2 }}, c: '@C' }}, balance: {balance} }} }}\n"
    )
}

/// Who answers each of many keys.
fn choices(tidegate: &Tidegate) -> Vec<String> {
    let mut client = tidegate.client();
    (0..KEYS).map(|key| client.ask(get(&format!("/{key}"), "")).text()).collect()
}

fn share(choices: &[String], name: &str) -> f64 {
    choices.iter().filter(|choice| *choice == name).count() as f64 / KEYS as f64
}

#[test]
fn two_processes_with_one_configuration_choose_alike() {
    let servers = [Server::named("a"), Server::named("b"), Server::named("c")];
    let places: Vec<(&str, &dyn Place)> = vec![("A", &servers[0]), ("B", &servers[1]), ("C", &servers[2])];
    for algorithm in ["maglev", "ring_hash"] {
        let text = pool(&format!("{{ algorithm: {algorithm}, hash: uri }}"));
        // What neither workers nor the order of a document may change.
        let turned = text.replace(
            "a: '@A', b: { address: '@B', weight: 2 }, c: '@C'",
            "c: '@C', a: '@A', b: { address: '@B', weight: 2 }",
        );
        assert_ne!(text, turned);
        let one = choices(&start(&text, &places));
        let two = choices(&start(&format!("workers: 1\n{turned}"), &places));
        assert_eq!(one, two, "{algorithm}");
        for (name, wanted) in [("a", 0.25), ("b", 0.5), ("c", 0.25)] {
            assert!((share(&one, name) - wanted).abs() < 0.1, "{algorithm} {name}: {}", share(&one, name));
        }
    }
}

#[test]
fn a_server_that_is_out_or_gone_moves_nobody_elses_keys() {
    let servers = [Server::named("a"), Server::named("b"), Server::named("c")];
    let places: Vec<(&str, &dyn Place)> = vec![("A", &servers[0]), ("B", &servers[1]), ("C", &servers[2])];
    for algorithm in ["maglev", "ring_hash"] {
        let text = pool(&format!("{{ algorithm: {algorithm}, hash: path }}"));
        let tidegate = start(&text, &places);
        let before = choices(&tidegate);
        let stay = |after: &[String], out: &str| {
            assert!(after.iter().all(|name| name != out), "{algorithm}: `{out}` is out");
            before.iter().zip(after).filter(|(was, is)| *was != out && was != is).count()
        };
        assert_eq!(put(&tidegate, "c", r#"{"drain": true}"#), 200);
        assert_eq!(stay(&choices(&tidegate), "c"), 0, "{algorithm}");
        assert_eq!(put(&tidegate, "c", r#"{"drain": false}"#), 200);
        assert_eq!(choices(&tidegate), before);
        // A weight that is set by hand makes another table.
        assert_eq!(put(&tidegate, "b", r#"{"weight": 0}"#), 200);
        assert!(stay(&choices(&tidegate), "b") < KEYS / 20, "{algorithm}");
        assert_eq!(put(&tidegate, "b", r#"{"weight": 2}"#), 200);
        assert_eq!(choices(&tidegate), before);
        assert_eq!(tidegate.reload(&config(&text.replace(", c: '@C'", ""), &places)), Reloaded::Yes);
        assert!(stay(&choices(&tidegate), "c") < KEYS / 20, "{algorithm}");
    }
}

/// Only when the first is full is the second needed.
#[test]
fn first_fills_one_server_after_the_other() {
    let held = testkit::Signal::new();
    let hold = held.clone();
    let full = Server::http(move |request| {
        if request.target == "/hold" {
            hold.raise();
            std::thread::park();
        }
        testkit::ok("full")
    });
    let spare = Server::named("spare");
    // With one worker: an idle connection of another one would take the only place.
    let text = "
workers: 1
listeners: { web: { bind: 127.0.0.1:0, to: app } }
pools: { app: { servers: { s1: { address: '@FULL', max_connections: 1 }, s2: '@SPARE' }, balance: first } }
";
    let tidegate = start(text, &[("FULL", &full), ("SPARE", &spare)]);
    let mut client = tidegate.client();
    assert!((0..5).all(|_| client.get("/").text() == "full"));
    let mut holder = tidegate.client();
    holder.send(get("/hold", ""));
    held.wait();
    assert!((0..5).all(|_| client.get("/").text() == "spare"));
}

fn put(tidegate: &Tidegate, server: &str, document: &str) -> u16 {
    Operator::of(tidegate).put(&format!("/api/pools/app/servers/{server}"), "", document).status
}
