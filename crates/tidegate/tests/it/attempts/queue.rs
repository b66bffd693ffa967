//! Who is given what in the queue of a pool with limits.

use std::collections::BTreeMap;

use testkit::{Client, Reloaded, Server, Signal, Start, Tidegate, ok};

use crate::health::until_state;
use crate::support::{BINARY, ask, config, get, start, until_waiting};

/// A server that answers with its name, and to `/hold` only after the signal. It closes each connection if it is asked to.
fn holding(name: &'static str, closes: bool, let_go: &Signal) -> Server {
    let let_go = let_go.clone();
    Server::script(move |peer| {
        while let Some(request) = peer.request() {
            if request.target.starts_with("/hold") {
                let_go.wait();
            }
            let close = if closes { "Connection: close\r\n" } else { "" };
            peer.send(format!("HTTP/1.1 200 OK\r\n{close}Content-Length: {}\r\n\r\n{name}", name.len()));
            if closes {
                return;
            }
        }
    })
}

/// Sends a request on a connection of its own.
fn sent(tidegate: &Tidegate, request: &str) -> Client {
    let mut client = tidegate.client();
    client.send(request);
    client
}

/// Three servers, each behind a path of its own; the first has one connection at most.
fn by_labels(pool: &str, servers: [&Server; 3]) -> Tidegate {
    let routes = ["a", "b", "c"].map(|name| {
        format!("      - {{ match: {{ path: '~^/[a-z]*/{name}$' }}, to: app, subset: {{ is: {name} }} }}\n")
    });
    let text = format!(
        "listeners:\n  web:\n    bind: 127.0.0.1:0\n    routes:\n{}\
         pools:\n  app:\n    servers:\n      a: {{ address: '@A', labels: {{ is: a }}, max_connections: 1 }}\n\
         \x20     b: {{ address: '@B', labels: {{ is: b }} }}\n      c: {{ address: '@C', labels: {{ is: c }} }}\n    {pool}\n",
        routes.concat()
    );
    start(&text, &[("A", servers[0]), ("B", servers[1]), ("C", servers[2])])
}

#[test]
fn who_waits_is_given_a_server_that_is_well() {
    let let_go = Signal::new();
    let sick = Server::http(|request| match request.target.as_str() {
        "/check" => b"HTTP/1.1 500 Sick\r\nContent-Length: 0\r\n\r\n".to_vec(),
        _ => ok("sick"),
    });
    let well = holding("well", false, &let_go);
    let text = "
listeners: { web: { bind: 127.0.0.1:0, to: app } }
pools:
  app:
    servers: { a: { address: '@SICK', max_connections: 1 }, b: { address: '@WELL', max_connections: 1 } }
    panic: 1%
    queue: { timeout: 20s }
    health: { probe: http, path: /check, every: 20ms, fall: 1 }
";
    let tidegate = start(text, &[("SICK", &sick), ("WELL", &well)]);
    until_state(&tidegate, 0, "down");
    let mut first = sent(&tidegate, &get("/hold", ""));
    while well.request().target != "/hold" {}
    let mut waits = sent(&tidegate, &get("/waits", ""));
    until_waiting(&tidegate, 1);
    let_go.raise();
    assert_eq!((first.response().text(), waits.response().text()), ("well".to_owned(), "well".to_owned()));
}

#[test]
fn room_is_offered_on_until_somebody_can_use_it() {
    let [a_goes, c_goes] = [Signal::new(), Signal::new()];
    let servers = [holding("a", false, &a_goes), holding("b", false, &a_goes), holding("c", true, &c_goes)];
    let [a, b, c] = &servers;
    let tidegate = by_labels("circuit_breaker: { connections: 2 }\n    queue: { timeout: 20s }", [a, b, c]);
    let mut holds_a = sent(&tidegate, &get("/hold/a", ""));
    a.request();
    let mut holds_c = sent(&tidegate, &get("/hold/c", ""));
    c.request();
    let mut waits_for_a = sent(&tidegate, &get("/then/a", ""));
    until_waiting(&tidegate, 1);
    let mut waits_for_b = sent(&tidegate, &get("/then/b", ""));
    until_waiting(&tidegate, 2);
    c_goes.raise();
    assert_eq!(holds_c.response().text(), "c");
    assert_eq!(waits_for_b.response().text(), "b");
    until_waiting(&tidegate, 1);
    a_goes.raise();
    assert_eq!((holds_a.response().text(), waits_for_a.response().text()), ("a".to_owned(), "a".to_owned()));
}

#[test]
fn idle_connections_to_others_give_way_to_who_waits() {
    let none = Signal::new();
    let servers = [holding("a", false, &none), holding("b", false, &none), holding("c", false, &none)];
    let tidegate = by_labels("circuit_breaker: { connections: 1 }\n    queue: { timeout: 20s }", servers.each_ref());
    for name in ["a", "b", "c", "b", "b", "a"] {
        assert_eq!(ask(&tidegate, &get(&format!("/then/{name}"), "")).text(), name);
    }
    assert_eq!(servers[1].connections(), 2, "one of them was of use again");
}

#[test]
fn a_hash_is_kept_by_who_waits() {
    let let_go = Signal::new();
    let (one, two) = (holding("one", true, &let_go), holding("two", true, &let_go));
    let text = "
listeners: { web: { bind: 127.0.0.1:0, to: app } }
pools:
  app:
    servers: { a: @ONE, b: @TWO }
    balance: { algorithm: maglev, hash: header.x-key }
    circuit_breaker: { connections: 1 }
    queue: { timeout: 20s }
";
    let tidegate = start(text, &[("ONE", &one), ("TWO", &two)]);
    let request = |target: &str, key: usize| get(target, &format!("X-Key: {key}\r\n"));
    let homes: BTreeMap<usize, String> = (0..12).map(|key| (key, ask(&tidegate, &request("/", key)).text())).collect();
    assert!(homes.values().any(|home| home == "one") && homes.values().any(|home| home == "two"));
    let mut first = sent(&tidegate, &request("/hold", 0));
    let holds = if homes[&0] == "one" { &one } else { &two };
    while holds.request().target != "/hold" {}
    let mut waiting = Vec::new();
    for key in homes.keys() {
        waiting.push(sent(&tidegate, &request("/", *key)));
        until_waiting(&tidegate, waiting.len());
    }
    let_go.raise();
    assert_eq!(first.response().text(), homes[&0]);
    for (client, home) in waiting.iter_mut().zip(homes.values()) {
        assert_eq!(&client.response().text(), home);
    }
}

#[test]
fn a_limit_that_a_reload_brings_holds_for_older_connections() {
    let let_go = Signal::new();
    let server = holding("app", false, &let_go);
    let text = |pool: &str| {
        let text = format!(
            "listeners: {{ web: {{ bind: 127.0.0.1:0, to: app }} }}\npools: {{ app: {{ servers: [@APP], {pool} }} }}\n"
        );
        config(&text, &[("APP", &server)])
    };
    let tidegate = Start::of(BINARY).text(&text("timeouts: { pooled: 1m }"));
    let mut clients: Vec<Client> = (0..4).map(|_| sent(&tidegate, &get("/hold", ""))).collect();
    server.until_open(4);
    let limited = text("circuit_breaker: { connections: 2 }, queue: { timeout: 20s }");
    assert_eq!(tidegate.reload(&limited), Reloaded::Yes);
    // What is under way is not cut.
    let_go.raise();
    for client in &mut clients {
        assert_eq!(client.response().text(), "app");
    }
    server.until_open(2);
    let mut later: Vec<Client> = (0..8).map(|_| sent(&tidegate, &get("/later", ""))).collect();
    for client in &mut later {
        assert_eq!(client.response().text(), "app");
    }
    assert_eq!(server.connections(), 4, "the two that stay serve");
}
