//! Connections that are opened before a request needs them.

use testkit::{Client, Refusing, Reloaded, Server, Signal, Tidegate, ok};

use crate::support::{Place, config, get, start};

fn warm_config(workers: usize, pool: &str) -> String {
    format!(
        "workers: {workers}\nlisteners: {{ web: {{ bind: 127.0.0.1:0, to: app }} }}\npools: {{ app: {{ servers: {{ one: {{ address: @APP }} }}, {pool} }} }}\n"
    )
}

fn warm(server: &dyn Place, workers: usize, pool: &str) -> Tidegate {
    start(&warm_config(workers, pool), &[("APP", server)])
}

fn put(tidegate: &Tidegate, target: &str, body: &str) {
    let address = tidegate.ready()["admin"].as_str().expect("an admin address").to_owned();
    let request = format!(
        "PUT {target} HTTP/1.1\r\nHost: {address}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    assert_eq!(Client::connect(&address).ask(request).status, 200);
}

#[test]
fn the_number_is_the_process_s_whatever_the_number_of_workers() {
    for workers in [1, 3, 4] {
        let server = Server::named("app");
        let tidegate = warm(&server, workers, "warm: 4");
        server.until_open(4);
        assert!(server.opens_no_more_than(4), "{workers} workers: {}", server.connections());
        assert!(server.requests().is_empty());
        assert_eq!(tidegate.client().get("/first").text(), "app");
        assert_eq!(tidegate.log_of("/first")["reused"], true, "{workers} workers");
    }
}

#[test]
fn what_servers_close_after_use_is_opened_again() {
    let server = Server::script(|peer| {
        peer.request();
        peer.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok");
    });
    let tidegate = warm(&server, 1, "warm: 2");
    let mut client = tidegate.client();
    for number in 0..20 {
        server.until_open(2);
        let path = format!("/{number}");
        assert_eq!(client.get(&path).text(), "ok");
        assert_eq!(tidegate.log_of(&path)["reused"], true, "{number}");
    }
    server.until_connections(22);
    assert!(server.opens_no_more_than(22), "{}", server.connections());
}

#[test]
fn what_servers_close_while_it_waits_is_opened_again() {
    let close = Signal::new();
    let closing = close.clone();
    let server = Server::script(move |peer| if peer.number < 4 { closing.wait() } else { peer.hang() });
    let _tidegate = warm(&server, 2, "warm: 4");
    server.until_open(4);
    close.raise();
    server.until_connections(8);
    server.until_open(4);
    assert!(server.opens_no_more_than(8), "{}", server.connections());
}

#[test]
fn what_has_been_idle_for_too_long_is_opened_again() {
    let server = Server::named("app");
    let _tidegate = warm(&server, 2, "warm: 3, timeouts: { pooled: 300ms }");
    server.until_connections(9);
    assert!(server.most_open() <= 3, "{}", server.most_open());
}

#[test]
fn a_drained_server_keeps_none_and_has_them_again_afterwards() {
    let server = Server::named("app");
    let tidegate = warm(&server, 2, "warm: 4");
    server.until_open(4);
    put(&tidegate, "/api/pools/app/servers/one", r#"{"drain": true}"#);
    server.until_idle();
    assert!(server.opens_no_more_than(4), "{}", server.connections());
    put(&tidegate, "/api/pools/app/servers/one", r#"{"drain": false}"#);
    server.until_open(4);
    assert!(server.opens_no_more_than(8), "{}", server.connections());
}

#[test]
fn a_server_that_refuses_has_them_when_it_is_back() {
    let dead = Refusing::new();
    let tidegate = warm(&dead, 2, "warm: 4");
    // Nobody waits for them: the process serves, and says what it can.
    assert_eq!(tidegate.client().get("/").status, 502);
    let server = Server::revive(dead, |peer| {
        while peer.request().is_some() {
            peer.send(ok("back"));
        }
    });
    server.until_open(4);
    assert_eq!(tidegate.client().get("/back").text(), "back");
    assert_eq!(tidegate.log_of("/back")["reused"], true);
}

#[test]
fn a_reload_neither_doubles_nor_drops_them() {
    let server = Server::named("app");
    let tidegate = warm(&server, 2, "warm: 4");
    server.until_open(4);
    for said in ["warm: 4, queue: { length: 7 }", "warm: 4, balance: random"] {
        assert_eq!(tidegate.reload(&config(&warm_config(2, said), &[("APP", &server)])), Reloaded::Yes);
        assert!(server.opens_no_more_than(4), "{said}: {}", server.connections());
        server.until_open(4);
    }
    assert_eq!(tidegate.reload(&config(&warm_config(2, "warm: 7"), &[("APP", &server)])), Reloaded::Yes);
    server.until_open(7);
    assert!(server.opens_no_more_than(7), "{}", server.connections());
    assert_eq!(tidegate.client().get("/after").text(), "app");
    assert_eq!(tidegate.log_of("/after")["reused"], true);
}

/// With as many connections as there may be, a worker that has none is given the one of another.
#[test]
fn they_count_in_the_limit_of_connections() {
    let server = Server::named("app");
    let text = "
workers: 4
listeners: { web: { bind: 127.0.0.1:0, to: app } }
pools: { app: { servers: [{ address: @APP, max_connections: 2 }], warm: 2, queue: { length: 50, timeout: 20s } } }
";
    let tidegate = start(text, &[("APP", &server)]);
    server.until_open(2);
    let mut clients: Vec<Client> = (0..12).map(|_| tidegate.client()).collect();
    for _ in 0..5 {
        clients.iter_mut().for_each(|client| client.send(get("/", "")));
        assert!(clients.iter_mut().all(|client| client.response().text() == "app"));
    }
    assert!(server.most_open() <= 2, "{}", server.most_open());
}

/// Connections that bring a request are those of the checks.
#[test]
fn a_server_that_is_down_keeps_none_and_has_them_again_afterwards() {
    let well = Signal::new();
    let is_well = well.clone();
    let server = Server::http(move |_| {
        let status = if is_well.is_raised() { "200 OK" } else { "503 Not Yet" };
        format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n").into_bytes()
    });
    let checks = "health: { probe: http, path: /, every: 100ms, fast: 100ms, fall: 1, rise: 1 }";
    let tidegate = warm(&server, 2, &format!("warm: 4, {checks}"));
    tidegate.message("is down");
    server.until_idle();
    let (before, checked) = (server.connections(), server.requests().len());
    server.until_connections(before + 5);
    // A check that is under way has not brought its request yet.
    let (after, asked) = (server.connections() - before, server.requests().len() - checked);
    assert!(after <= asked + 1, "{after} connections for {asked} checks");
    well.raise();
    tidegate.message("is up");
    server.until_open(4);
    assert_eq!(tidegate.client().get("/up").status, 200);
    assert_eq!(tidegate.log_of("/up")["reused"], true);
}
