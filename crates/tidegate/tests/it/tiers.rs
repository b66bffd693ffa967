//! In which order servers are asked: priorities, backups, zones, subsets.

use std::collections::BTreeMap;

use testkit::{Client, Server, Signal, Tidegate, ok, until};

use crate::admin::Operator;
use crate::support::{Place, get, start};

fn drain(tidegate: &Tidegate, server: &str, drained: bool) {
    let path = format!("/api/pools/app/servers/{server}");
    assert_eq!(Operator::of(tidegate).put(&path, "", &format!(r#"{{"drain": {drained}}}"#)).status, 200);
}

/// How often each server answers.
fn counts(client: &mut Client, target: &str, requests: usize) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for _ in 0..requests {
        *counts.entry(client.get(target).text()).or_default() += 1;
    }
    counts
}

fn names(client: &mut Client, target: &str) -> Vec<String> {
    counts(client, target, 20).into_keys().collect()
}

#[test]
fn later_ones_wait_until_none_of_the_first_is_left() {
    let servers = ["a", "b", "c", "d"].map(Server::named);
    let text = "
listeners: { web: { bind: 127.0.0.1:0, to: app } }
pools:
  app:
    servers:
      a: { address: '@A', backup: true }
      b: { address: '@B', priority: 7 }
      c: '@C'
      d: { address: '@D', priority: 0 }
    balance: round_robin
";
    let places: Vec<(&str, &dyn Place)> =
        ["A", "B", "C", "D"].into_iter().zip(servers.iter().map(|server| server as &dyn Place)).collect();
    let tidegate = start(text, &places);
    let mut client = tidegate.client();
    assert_eq!(names(&mut client, "/"), ["c", "d"]);
    for (out, left) in [("c", "d"), ("d", "b"), ("b", "a")] {
        drain(&tidegate, out, true);
        assert_eq!(names(&mut client, "/"), [left]);
    }
    drain(&tidegate, "d", false);
    assert_eq!(names(&mut client, "/"), ["d"]);
    drain(&tidegate, "d", true);
    drain(&tidegate, "a", true);
    assert_eq!(client.get("/").status, 503);
}

#[test]
fn another_try_goes_to_a_backup_but_nobody_goes_there_for_want_of_room() {
    let held = Signal::new();
    let go = Signal::new();
    let (hold, wait) = (held.clone(), go.clone());
    let main = Server::http(move |request| match request.target.as_str() {
        "/fail" => b"HTTP/1.1 503 Broken\r\nContent-Length: 0\r\n\r\n".to_vec(),
        "/hold" => {
            hold.raise();
            wait.wait();
            ok("main")
        }
        _ => ok("main"),
    });
    let spare = Server::named("spare");
    let text = "
workers: 1
listeners: { web: { bind: 127.0.0.1:0, to: app } }
pools:
  app:
    servers: { main: { address: '@MAIN', max_connections: 1 }, spare: { address: '@SPARE', backup: true } }
    retries: { extra: 1, if: [503] }
";
    let tidegate = start(text, &[("MAIN", &main), ("SPARE", &spare)]);
    let mut client = tidegate.client();
    assert_eq!(client.get("/fail").text(), "spare");
    let mut holder = tidegate.client();
    holder.send(get("/hold", ""));
    held.wait();
    let mut waiter = tidegate.client();
    waiter.send(get("/next", ""));
    until("somebody waits", || !tidegate.admin("/api/pools/app").text().contains("\"waiting\":0"));
    go.raise();
    assert_eq!((holder.response().text(), waiter.response().text()), ("main".to_owned(), "main".to_owned()));
}

/// Three of four near servers are enough, two of four carry 70 % of it.
#[test]
fn our_zone_is_asked_first_and_spills_over_what_it_cannot_carry() {
    let servers: Vec<Server> = (0..6).map(|number| Server::named(if number < 4 { "near" } else { "far" })).collect();
    let labels = ["N0", "N1", "N2", "N3", "F0", "F1"];
    let places: Vec<(&str, &dyn Place)> =
        labels.into_iter().zip(servers.iter().map(|server| server as &dyn Place)).collect();
    let near: String = (0..4).map(|n| format!("n{n}: {{ address: '@N{n}', zone: here }}, ")).collect();
    for (balance, target) in [("round_robin", "/"), ("{ algorithm: maglev, hash: uri }", "/?")] {
        let text = format!(
            "zone: here\nlisteners: {{ web: {{ bind: 127.0.0.1:0, to: app }} }}\npools: {{ app: {{ servers: {{ {near} \
             f0: {{ address: '@F0', zone: there }}, f1: '@F1' }}, balance: {balance} }} }}\n"
        );
        let tidegate = start(&text, &places);
        let share = || {
            let mut client = tidegate.client();
            let targets = (0..400).map(|n| if target == "/" { "/".to_owned() } else { format!("/?{n}") });
            targets.filter(|target| client.get(target).text() == "near").count()
        };
        assert_eq!(share(), 400, "{balance}");
        drain(&tidegate, "n0", true);
        assert_eq!(share(), 400, "{balance}");
        drain(&tidegate, "n1", true);
        let spilling = share();
        assert!((230..330).contains(&spilling), "{balance}: {spilling}");
        drain(&tidegate, "n2", true);
        drain(&tidegate, "n3", true);
        assert_eq!(share(), 0, "{balance}");
    }
}

#[test]
fn a_route_asks_only_servers_with_its_labels() {
    let servers = ["a", "b", "c"].map(Server::named);
    let text = "
listeners:
  web:
    bind: 127.0.0.1:0
    routes:
      - match: { path: /new }
        to: app
        subset: { version: '2' }
      - match: { path: /large }
        to: app
        subset: { size: large, version: '2' }
      - to: app
pools:
  app:
    servers:
      a: { address: '@A', labels: { version: '1', size: large } }
      b: { address: '@B', labels: { version: '2', size: large } }
      c: { address: '@C', labels: { version: '2' } }
    sticky: { by: header.x-client }
";
    let tidegate = start(text, &[("A", &servers[0]), ("B", &servers[1]), ("C", &servers[2])]);
    let mut client = tidegate.client();
    assert_eq!(names(&mut client, "/"), ["a", "b", "c"]);
    assert_eq!(names(&mut client, "/new"), ["b", "c"]);
    assert_eq!(names(&mut client, "/large"), ["b"]);
    drain(&tidegate, "b", true);
    assert_eq!(names(&mut client, "/new"), ["c"]);
    assert_eq!(client.get("/large").status, 503);
    drain(&tidegate, "b", false);
    // A client that belongs to a server outside of it does not break it.
    for number in 0..10 {
        let fields = format!("X-Client: {number}\r\n");
        let any = client.ask(get("/", &fields)).text();
        let new = client.ask(get("/new", &fields)).text();
        assert!(new != "a" && (any == "a" || any == new), "{any} {new}");
    }
}
