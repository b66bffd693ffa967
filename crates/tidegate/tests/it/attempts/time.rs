//! `timeouts.try`, `timeouts.total` and the wait before another try.

use std::thread;
use std::time::{Duration, Instant};

use testkit::{Client, Hanging, Server, Signal, Start, ok};

use super::{pair, silent};
use crate::support::{BINARY, ask, before, before_with, get, post, start, until_waiting};

/// The signals of `kill(1)` that stop a process and let it go on.
fn signal(name: &str, pid: u32) {
    let done = std::process::Command::new("kill").args([format!("-{name}"), pid.to_string()]).status();
    assert!(done.is_ok_and(|status| status.success()), "{name}");
}

#[test]
fn a_stopped_server_fails_no_request_that_may_be_repeated() {
    let real = |name: &str| {
        Start::of(BINARY)
            .text(&format!("listeners: {{ web: {{ bind: 127.0.0.1:0, respond: {{ status: 200, body: {name} }} }} }}\n"))
    };
    let (one, two, three) = (real("one"), real("two"), real("three"));
    let text = format!(
        "
listeners: {{ web: {{ bind: 127.0.0.1:0, to: app }} }}
pools:
  app:
    servers: {{ one: '{}', two: '{}', three: '{}' }}
    balance: round_robin
    timeouts: {{ try: 300ms }}
    retries: {{ extra: 2, if: [connect, reset, timeout] }}
",
        one.address("web"),
        two.address("web"),
        three.address("web")
    );
    let tidegate = start(&text, &[]);
    let load = |name: &str| {
        thread::scope(|scope| {
            for number in 0..4 {
                let address = tidegate.address("web");
                scope.spawn(move || {
                    let mut client = Client::connect(&address);
                    for request in 0..12 {
                        assert_eq!(client.get(&format!("/{name}/{number}/{request}")).status, 200);
                    }
                });
            }
        });
    };
    load("healthy");
    signal("STOP", two.pid());
    load("hung");
    signal("CONT", two.pid());
    let last = |line: &serde_json::Value| line["path"].as_str().is_some_and(|path| path.starts_with("/hung/"));
    let mut again = 0;
    for number in 0..4 {
        for request in 0..12 {
            let line = tidegate.log_of(&format!("/hung/{number}/{request}"));
            assert!(last(&line));
            // It is left for good: nobody waits for it twice.
            assert!(line["tries"].as_u64().is_some_and(|tries| tries <= 2), "{line}");
            assert_ne!(line["server"], "two");
            again += u64::from(line["tries"] == 2);
        }
    }
    assert!(again >= 8, "{again} requests met the stopped server");
}

#[test]
fn a_connect_that_takes_the_time_of_the_try_lets_even_a_post_go_on() {
    let (hanging, live) = (Hanging::new(), Server::named("live"));
    let tidegate = pair(&hanging, &live, "timeouts: { try: 100ms }, retries: { if: connect }");
    assert_eq!(ask(&tidegate, &post("/pay", "1")).text(), "live");
    assert_eq!(tidegate.log_of("/pay")["tries"], 2);
}

#[test]
fn a_retry_waits_for_a_busy_server_rather_than_for_the_one_that_hung() {
    let go_on = Signal::new();
    let waits = go_on.clone();
    let busy = Server::http(move |request| {
        if request.target == "/held" {
            waits.wait();
        }
        ok("busy")
    });
    let hung = silent();
    let text = "
workers: 1
listeners: { web: { bind: 127.0.0.1:0, to: app } }
pools:
  app:
    servers: { a: { address: '@BUSY', max_connections: 1 }, b: { address: '@HUNG', max_connections: 9 } }
    balance: round_robin
    timeouts: { try: 100ms }
    retries: { extra: 1, if: timeout }
";
    let tidegate = start(&text.replace("try: 100ms", "try: 10s"), &[("BUSY", &busy), ("HUNG", &hung)]);
    let mut held = tidegate.client();
    held.send(get("/held", ""));
    busy.request();
    // The one that holds the place has time; those that come from now on have not.
    tidegate.reload(&crate::support::config(text, &[("BUSY", &busy), ("HUNG", &hung)]));
    let mut client = tidegate.client();
    client.send(get("/retried", ""));
    until_waiting(&tidegate, 1);
    go_on.raise();
    assert_eq!(client.response().text(), "busy");
    let line = tidegate.log_of("/retried");
    assert_eq!((&line["tries"], &line["server"]), (&2.into(), &"a".into()));
    assert_eq!(hung.requests().len(), 1);
}

#[test]
fn a_post_that_a_hung_server_may_have_acted_on_is_not_repeated() {
    let (hung, live) = (silent(), Server::named("live"));
    let tidegate = pair(&hung, &live, "timeouts: { try: 100ms }, retries: { extra: 3, if: [connect, reset, timeout] }");
    assert_eq!(ask(&tidegate, &post("/pay", "1")).status, 504);
    let line = tidegate.log_of("/pay");
    assert_eq!((&line["tries"], &line["fault"]), (&1.into(), &"response_timeout".into()));
    assert_eq!(live.connections(), 0);
}

#[test]
fn a_client_that_takes_its_time_with_the_body_does_not_use_up_the_try() {
    let server = Server::echo();
    let tidegate = pair(&server, &silent(), "timeouts: { try: 150ms }, retries: { extra: 0 }");
    let mut client = tidegate.client();
    client.send("PUT /slow HTTP/1.1\r\nHost: a\r\nContent-Length: 8\r\n\r\n");
    for piece in ["ab", "cd", "ef", "gh"] {
        thread::sleep(Duration::from_millis(100));
        client.send(piece);
    }
    assert_eq!(client.response().text(), "abcdefgh");
}

#[test]
fn a_client_that_waits_for_continue_meets_the_next_server() {
    let (hung, live) = (
        silent(),
        Server::script(|peer| {
            peer.request_head();
            peer.send("HTTP/1.1 100 Continue\r\n\r\n");
            let body = peer.reader.exactly(4).expect("a body");
            peer.send(ok(body));
        }),
    );
    let tidegate = pair(&hung, &live, "timeouts: { try: 100ms }, retries: { if: timeout }");
    let mut client = tidegate.client();
    client.send("PUT /wait HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n");
    assert_eq!(client.head().status, 100);
    client.send("body");
    assert_eq!(client.response().text(), "body");
    assert_eq!(tidegate.log_of("/wait")["tries"], 2);
}

#[test]
fn the_whole_time_bounds_all_tries() {
    let (one, two) = (silent(), silent());
    let tidegate =
        pair(&one, &two, "timeouts: { try: 200ms, total: 500ms }, retries: { extra: 10, if: timeout, backoff: 10ms }");
    let began = Instant::now();
    assert_eq!(ask(&tidegate, &get("/a", "")).status, 504);
    assert!(began.elapsed() < Duration::from_secs(2));
    let tries = tidegate.log_of("/a")["tries"].as_u64();
    assert!(tries.is_some_and(|tries| (2..=3).contains(&tries)), "{tries:?}");
}

/// A server that ends each connection after the first request of it.
fn closes() -> Server {
    Server::script(|peer| drop(peer.request()))
}

#[test]
fn a_client_that_leaves_ends_the_wait_before_another_try() {
    let (closes, live) = (closes(), Server::named("live"));
    let tidegate = pair(&closes, &live, "retries: { if: reset, backoff: 1h }");
    let mut client = tidegate.client();
    client.send(get("/left", ""));
    closes.until_connections(1);
    client.reset();
    assert_eq!(tidegate.log_of("/left")["fault"], "client_gone");
    assert_eq!(live.connections(), 0);
}

#[test]
fn a_drain_ends_the_wait_before_another_try() {
    let (closes, live) = (closes(), Server::named("live"));
    let mut tidegate = {
        let text = "
workers: 1
shutdown: { drain: 100ms }
listeners: { web: { bind: 127.0.0.1:0, to: app } }
pools: { app: { servers: { a: '@ONE', b: '@TWO' }, balance: round_robin, retries: { if: reset, backoff: 1h } } }
";
        start(text, &[("ONE", &closes), ("TWO", &live)])
    };
    let mut client = tidegate.client();
    client.send(get("/cut", ""));
    closes.until_connections(1);
    tidegate.terminate();
    tidegate.wait();
    assert_eq!(live.connections(), 0);
}

#[test]
fn a_reload_does_not_touch_the_wait_before_another_try() {
    let (closes, live) = (closes(), Server::named("live"));
    let pool = "retries: { if: reset, backoff: 1s }";
    let tidegate = pair(&closes, &live, pool);
    let mut client = tidegate.client();
    client.send(get("/kept", ""));
    closes.until_connections(1);
    tidegate
        .reload(&crate::support::config("listeners: { web: { bind: 127.0.0.1:0, respond: { body: new } } }\n", &[]));
    assert_eq!(client.response().text(), "live");
    assert_eq!(client.get("/then").text(), "new");
    assert_eq!(tidegate.log_of("/kept")["tries"], 2);
}

/// The server's time begins when it has the request: what the client takes for its body is not the server's.
#[test]
fn a_slow_upload_is_not_a_slow_server() {
    let server = Server::named("app");
    let tidegate = before(&server);
    let mut client = tidegate.client();
    client.send("POST /up HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n1");
    server.until_open(1);
    // The client's own pace; nothing is waited for.
    thread::sleep(Duration::from_millis(400));
    let sent = Instant::now();
    client.send("2");
    assert_eq!(client.response().status, 200);
    let waited = sent.elapsed().as_micros() as u64;
    let line = tidegate.log_of("/up");
    let (response, total) = (line["response_us"].as_u64(), line["total_us"].as_u64());
    assert!(total > Some(400_000) && response.is_some_and(|response| response <= waited), "{waited} {line}");
}

/// Whichever time ends while a client still sends, it is the client who has used it up.
#[test]
fn a_total_that_ends_in_an_upload_is_the_clients() {
    let server = Server::named("app");
    let tidegate = before_with(&server, "timeouts: { total: 150ms }");
    let mut client = tidegate.client();
    client.send("POST /up HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n1");
    assert_eq!(client.response().status, 408);
    assert_eq!(tidegate.log_of("/up")["fault"], "body_timeout");
}
