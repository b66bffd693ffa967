//! The same request at another server, while the first takes long.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use testkit::{Client, Refusing, Server, Signal, Tidegate, ok};

use super::{pair, silent};
use crate::health::shown;
use crate::support::{ask, get, post, start};

/// A server that answers every request once it is let go.
fn held(answer: Vec<u8>) -> (Server, Signal) {
    let go_on = Signal::new();
    let waits = go_on.clone();
    let server = Server::http(move |_| {
        waits.wait();
        answer.clone()
    });
    (server, go_on)
}

fn unavailable(body: &str) -> Vec<u8> {
    format!("HTTP/1.1 503 Service Unavailable\r\nContent-Length: {}\r\n\r\n{body}", body.len()).into_bytes()
}

fn hedges(tidegate: &Tidegate) -> (f64, f64) {
    let of = |family: &str| tidegate.metric(family, &["pool=\"app\""])[0];
    (of("tidegate_pool_hedges_total"), of("tidegate_pool_hedges_won_total"))
}

#[test]
fn a_server_that_hangs_is_overtaken_and_left() {
    let (hung, live) = (silent(), Server::named("live"));
    let tidegate = pair(&hung, &live, "retries: { extra: 0, hedge: 30ms }");
    for number in 0..3 {
        assert_eq!(ask(&tidegate, &get(&format!("/{number}"), "")).text(), "live");
    }
    let line = tidegate.log_of("/0");
    assert_eq!((&line["tries"], &line["hedged"], &line["server"]), (&2.into(), &true.into(), &"b".into()));
    hung.until_idle();
    assert_eq!(tidegate.metric("tidegate_server_in_flight", &["server=\"a\""]), [0.0]);
    let (sent, won) = hedges(&tidegate);
    assert!(sent >= 1.0 && sent == won, "{sent} sent, {won} won");
}

#[test]
fn the_first_server_may_still_win() {
    let ((slow, go_on), hung) = (held(ok("slow")), silent());
    let tidegate = pair(&slow, &hung, "retries: { extra: 0, hedge: 30ms }");
    let mut client = tidegate.client();
    client.send(get("/a", ""));
    hung.request();
    go_on.raise();
    assert_eq!(client.response().text(), "slow");
    let line = tidegate.log_of("/a");
    assert_eq!((&line["tries"], &line["hedged"], &line["server"]), (&2.into(), &true.into(), &"a".into()));
    hung.until_idle();
    assert_eq!(hedges(&tidegate), (1.0, 0.0));
    assert_eq!(tidegate.metric("tidegate_server_in_flight", &["server=\"b\""]), [0.0]);
    // The connection of the winner is kept.
    assert_eq!(slow.connections(), 1);
}

#[test]
fn what_is_not_safe_to_send_twice_is_not_hedged() {
    let body = "PUT /put HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx".to_owned();
    let socket = get("/socket", "Connection: Upgrade\r\nUpgrade: websocket\r\n");
    for request in [post("/post", ""), post("/body", "x"), body, socket] {
        let slow = Server::http(|_| {
            thread::sleep(Duration::from_millis(150));
            ok("slow")
        });
        let other = Server::named("other");
        let tidegate = pair(&slow, &other, "retries: { extra: 0, hedge: 20ms }");
        assert_eq!(ask(&tidegate, &request).text(), "slow", "{request}");
        assert_eq!((slow.requests().len(), other.connections()), (1, 0), "{request}");
    }
}

#[test]
fn a_hedge_that_fails_changes_nothing() {
    let (slow, go_on) = held(ok("slow"));
    let refusing = Refusing::new();
    let tidegate = pair(&slow, &refusing, "retries: { extra: 0, hedge: 30ms }");
    let mut client = tidegate.client();
    client.send(get("/a", ""));
    while hedges(&tidegate).0 < 1.0 {}
    go_on.raise();
    assert_eq!(client.response().text(), "slow");
    assert_eq!(tidegate.log_of("/a")["server"], "a");
}

#[test]
fn a_first_server_that_fails_leaves_it_to_the_hedge() {
    for bad in [unavailable("bad"), b"garbage\r\n\r\n".to_vec()] {
        let ((first, fail), (second, go_on)) = (held(bad), held(ok("second")));
        let tidegate = pair(&first, &second, "retries: { extra: 0, if: [reset, 503], hedge: 30ms }");
        let mut client = tidegate.client();
        client.send(get("/a", ""));
        second.request();
        fail.raise();
        // In either order it is the second one's answer; mostly the failure comes first.
        thread::sleep(Duration::from_millis(30));
        go_on.raise();
        assert_eq!(client.response().text(), "second");
        let line = tidegate.log_of("/a");
        assert_eq!((&line["status"], &line["server"]), (&200.into(), &"b".into()));
    }
}

#[test]
fn when_all_fail_the_answer_is_that_of_the_first() {
    let ((first, go_on), second) = (held(unavailable("first")), Server::http(|_| unavailable("second")));
    let tidegate = pair(&first, &second, "retries: { extra: 0, if: 503, hedge: 30ms }");
    let mut client = tidegate.client();
    client.send(get("/a", ""));
    second.request();
    go_on.raise();
    let response = client.response();
    assert_eq!((response.status, response.text().as_str()), (503, "first"));
    assert_eq!(tidegate.log_of("/a")["server"], "a");
}

#[test]
fn hedges_keep_to_the_limits_of_further_tries() {
    let ((slow, go_on), other) = (held(ok("slow")), Server::named("other"));
    let tidegate = pair(&slow, &other, "retries: { extra: 0, hedge: 20ms }, circuit_breaker: { retries: 0 }");
    let mut client = tidegate.client();
    client.send(get("/a", ""));
    let met = || tidegate.metric("tidegate_pool_limits_met_total", &["limit=\"retries\""])[0];
    while met() < 1.0 {}
    go_on.raise();
    assert_eq!(client.response().text(), "slow");
    assert_eq!((&tidegate.log_of("/a")["limit"], other.connections()), (&"retries".into(), 0));
}

#[test]
fn a_client_that_leaves_ends_all_of_it() {
    let (one, two) = (silent(), silent());
    let tidegate = pair(&one, &two, "retries: { extra: 0, hedge: 20ms }");
    let mut client = tidegate.client();
    client.send(get("/left", ""));
    two.request();
    client.reset();
    assert_eq!(tidegate.log_of("/left")["fault"], "client_gone");
    one.until_idle();
    two.until_idle();
}

#[test]
fn the_time_of_a_try_is_that_of_all_its_hedges() {
    let (one, two) = (silent(), silent());
    let tidegate = pair(&one, &two, "timeouts: { try: 150ms, total: 10s }, retries: { extra: 0, hedge: 30ms }");
    assert_eq!(ask(&tidegate, &get("/a", "")).status, 504);
    let line = tidegate.log_of("/a");
    assert_eq!((&line["fault"], &line["tries"]), (&"response_timeout".into(), &2.into()));
}

/// Every answer is that of its own request, whoever wins, and nothing is left behind.
#[test]
fn answers_are_never_mixed_up() {
    let count = Arc::new(AtomicUsize::new(0));
    let server = || {
        let count = Arc::clone(&count);
        Server::http(move |request| {
            if count.fetch_add(1, Ordering::Relaxed).is_multiple_of(3) {
                thread::sleep(Duration::from_millis(40));
            }
            ok(&request.target)
        })
    };
    let (one, two, three) = (server(), server(), server());
    let text = "
listeners: { web: { bind: 127.0.0.1:0, to: app } }
pools: { app: { servers: [@ONE, @TWO, @THREE], retries: { hedge: { after: 10ms, extra: 2 } } } }
";
    let tidegate = start(text, &[("ONE", &one), ("TWO", &two), ("THREE", &three)]);
    let address = tidegate.address("web");
    thread::scope(|scope| {
        for number in 0..4 {
            let address = &address;
            scope.spawn(move || {
                let mut client = Client::connect(address);
                for request in 0..40 {
                    let target = format!("/{number}/{request}");
                    assert_eq!(client.get(&target).text(), target);
                }
            });
        }
    });
    assert!(hedges(&tidegate).1 > 0.0);
    let in_flight = tidegate.metric("tidegate_server_in_flight", &["pool=\"app\""]);
    assert_eq!(in_flight.iter().sum::<f64>(), 0.0, "{in_flight:?}");
}

/// Its server knows a client that stays with it; another does not.
#[test]
fn a_client_that_stays_with_its_server_is_not_sent_to_another() {
    let (go_on, slow) = (Signal::new(), Arc::new(AtomicUsize::new(0)));
    let server = |name: &'static str| {
        let (waits, slow) = (go_on.clone(), Arc::clone(&slow));
        Server::http(move |request| {
            if request.target == "/slow" {
                slow.fetch_add(1, Ordering::SeqCst);
                waits.wait();
            }
            ok(name)
        })
    };
    let (one, two) = (server("one"), server("two"));
    let tidegate = pair(&one, &two, "sticky: cookie, retries: { extra: 0, hedge: 20ms }, timeouts: { try: 200ms }");
    let first = ask(&tidegate, &get("/", ""));
    let cookie = first.fields.value("set-cookie").and_then(|cookie| cookie.split(';').next()).expect("a cookie");
    let response = ask(&tidegate, &get("/slow", &format!("Cookie: {cookie}\r\n")));
    assert_eq!((response.status, slow.load(Ordering::SeqCst)), (504, 1));
    assert_eq!(tidegate.log_of("/slow")["tries"], 1);
    go_on.raise();
}

/// No request waits for a server that hangs, and it is found out all the same.
#[test]
fn a_server_that_hangs_behind_hedges_is_ejected() {
    let (hung, live) = (silent(), Server::named("live"));
    let pool = "retries: { extra: 0, hedge: 20ms }, outlier: { consecutive_errors: 3, eject_for: 1h, eject_for_max: 1h }, \
                timeouts: { response: 150ms }";
    let tidegate = pair(&hung, &live, pool);
    while shown(&tidegate, "app", 0)["state"] != "ejected" {
        assert_eq!(ask(&tidegate, &get("/", "")).text(), "live");
        assert!(hung.requests().len() < 200, "not ejected");
    }
    let why = shown(&tidegate, "app", 0);
    assert!(why["reason"].as_str().is_some_and(|why| why.starts_with("response_timeout ×")), "{why}");
    hung.until_idle();
    let asked = tidegate.metric("tidegate_server_request_seconds_count", &["server=\"a\""])[0];
    let took = tidegate.metric("tidegate_server_request_seconds_sum", &["server=\"a\""])[0];
    assert!(asked >= 3.0 && took >= asked * 0.02, "{asked} {took}");
}

/// One that would answer, only later than others, is not.
#[test]
fn a_server_that_is_merely_slower_than_a_hedge_is_not_ejected() {
    let slow = Server::http(|_| {
        thread::sleep(Duration::from_millis(300));
        ok("slow")
    });
    let live = Server::named("live");
    let tidegate = pair(&slow, &live, "retries: { extra: 0, hedge: 20ms }, outlier: 3");
    for _ in 0..24 {
        assert_eq!(ask(&tidegate, &get("/", "")).text(), "live");
    }
    slow.until_idle();
    assert_eq!(shown(&tidegate, "app", 0)["state"], "up");
    assert!(slow.requests().len() >= 12, "{}", slow.requests().len());
    assert!(!tidegate.messages().contains("is ejected"));
}

/// Where nobody else can be asked, nothing of the budget is spent.
#[test]
fn a_hedge_that_is_not_sent_costs_nothing() {
    let slow = Server::http(|_| {
        thread::sleep(Duration::from_millis(40));
        ok("slow")
    });
    let busy = silent();
    let text = "
workers: 1
listeners: { web: { bind: 127.0.0.1:0, to: app } }
pools:
  app:
    servers: { a: '@SLOW', b: { address: '@BUSY', max_connections: 1 } }
    balance: round_robin
    retries: { extra: 0, budget: 0%, hedge: 10ms }
";
    let tidegate = start(text, &[("SLOW", &slow), ("BUSY", &busy)]);
    assert_eq!(ask(&tidegate, &post("/", "")).text(), "slow");
    let mut client = tidegate.client();
    client.send(post("/", ""));
    busy.request();
    // More than even a budget of nothing allows.
    for _ in 0..14 {
        assert_eq!(ask(&tidegate, &get("/", "")).text(), "slow");
    }
    let met = tidegate.metric("tidegate_pool_limits_met_total", &["limit=\"retry_budget\""])[0];
    assert_eq!((met, hedges(&tidegate).0), (0.0, 0.0));
}
