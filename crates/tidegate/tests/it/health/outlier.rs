//! Servers that are judged by how requests go.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use testkit::{Peer, Server, Tidegate, ok};

use super::{answering, shown, until_state};
use crate::support::{Place, ask, get, post, start};

/// One worker, servers in turn, no retries: `outlier` and whatever else the pool should have.
fn in_turn(servers: &[&dyn Place], pool: &str) -> Tidegate {
    let names = ["a: @A", "b: @B", "c: @C"];
    let list = names[..servers.len()].join(", ");
    let text = format!(
        "workers: 1\nlisteners: {{ web: {{ bind: 127.0.0.1:0, to: app }} }}\n\
         pools: {{ app: {{ servers: {{ {list} }}, balance: round_robin, retries: {{ extra: 0 }}, {pool} }} }}\n"
    );
    let places: Vec<_> = ["A", "B", "C"].into_iter().zip(servers.iter().copied()).collect();
    start(&text, &places)
}

/// The state of each server of pool `app`.
fn states(tidegate: &Tidegate, count: usize) -> Vec<String> {
    (0..count).map(|number| shown(tidegate, "app", number)["state"].as_str().unwrap_or_default().to_owned()).collect()
}

/// A server that answers 500 as long as it is sick.
fn sometimes_sick(sick: &Arc<AtomicBool>) -> Server {
    let sick = Arc::clone(sick);
    Server::http(move |_| match sick.load(Ordering::SeqCst) {
        true => b"HTTP/1.1 500 Sick\r\nContent-Length: 0\r\n\r\n".to_vec(),
        false => ok("well"),
    })
}

#[test]
fn errors_in_a_row_eject_at_once_and_time_brings_back() {
    let sick = Arc::new(AtomicBool::new(true));
    let (one, two) = (sometimes_sick(&sick), Server::named("two"));
    let tidegate = in_turn(&[&one, &two], "outlier: { consecutive_errors: 3, eject_for: 700ms }");
    let failed = (0..20).filter(|_| ask(&tidegate, &get("/", "")).status == 500).count();
    assert_eq!((failed, one.requests().len()), (3, 3));
    let ejected = until_state(&tidegate, 0, "ejected");
    let why = ejected["reason"].as_str().unwrap_or_default();
    assert!(why.starts_with("500 ×3 since ") && why.len() == "500 ×3 since 10:31:04".len(), "{why}");
    tidegate.message("is ejected for 700ms: 500 ×3 since");
    sick.store(false, Ordering::SeqCst);
    tidegate.message("is back: its ejection is over");
    assert_eq!(states(&tidegate, 2), ["up", "up"]);
    let count = |to: &str| {
        let labels = [format!("address=\"{}\"", one.address()), format!("to=\"{to}\"")];
        tidegate.metric("tidegate_server_transitions_total", &[&labels[0], &labels[1]])
    };
    assert_eq!((count("ejected"), count("returned"), count("down")), (vec![1.0], vec![1.0], vec![0.0]));
    for _ in 0..4 {
        assert_eq!(ask(&tidegate, &get("/", "")).status, 200);
    }
    assert_eq!(one.requests().len(), 5);
}

#[test]
fn a_good_answer_between_errors_forgives_them() {
    let turn = std::sync::atomic::AtomicUsize::new(0);
    let server = Server::http(move |_| match turn.fetch_add(1, Ordering::SeqCst) % 3 {
        2 => ok(""),
        _ => b"HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n".to_vec(),
    });
    let other = Server::named("other");
    let tidegate = in_turn(&[&server, &other], "outlier: 3");
    for _ in 0..24 {
        ask(&tidegate, &get("/", ""));
    }
    assert_eq!(server.requests().len(), 12);
    assert_eq!(states(&tidegate, 2), ["up", "up"]);
}

#[test]
fn only_a_part_of_a_pool_is_ejected_and_never_all() {
    for (most, out) in [("50%", 1), ("0%", 1), ("70%", 2), ("100%", 2)] {
        let servers = [answering(503), answering(503), answering(503)];
        let places: Vec<&dyn Place> = servers.iter().map(|server| server as &dyn Place).collect();
        let tidegate = in_turn(
            &places,
            &format!("outlier: {{ consecutive_errors: 2, eject_for: 1h, eject_for_max: 1h, max_ejected: {most} }}"),
        );
        for _ in 0..20 {
            assert_eq!(ask(&tidegate, &get("/", "")).status, 503);
        }
        let ejected = states(&tidegate, 3).iter().filter(|state| *state == "ejected").count();
        assert_eq!(ejected, out, "{most}");
    }
    let alone = answering(503);
    let tidegate = in_turn(&[&alone], "outlier: 1");
    (0..5).for_each(|_| drop(ask(&tidegate, &get("/", ""))));
    assert_eq!((alone.requests().len(), states(&tidegate, 1)), (5, vec!["up".to_owned()]));
}

#[test]
fn ejections_grow_up_to_a_most() {
    let (sick, well) = (answering(500), Server::named("well"));
    let tidegate =
        in_turn(&[&sick, &well], "outlier: { consecutive_errors: 1, eject_for: 150ms, eject_for_max: 350ms }");
    let began = Instant::now();
    for term in ["150ms", "300ms", "350ms"] {
        while !tidegate.messages().contains(&format!("is ejected for {term}: 500 ×1")) {
            ask(&tidegate, &get("/", ""));
            assert!(began.elapsed() < testkit::PATIENCE, "no ejection for {term}");
        }
    }
}

/// What is not an answer speaks against a server, too; what its client did does not.
#[test]
fn resets_and_timeouts_count_and_clients_that_leave_do_not() {
    let resets = Server::script(|peer| drop(peer.request()));
    let other = Server::named("other");
    let tidegate = in_turn(&[&resets, &other], "outlier: 2");
    for _ in 0..8 {
        ask(&tidegate, &post("/", "once"));
    }
    let why = until_state(&tidegate, 0, "ejected");
    assert!(why["reason"].as_str().is_some_and(|why| why.starts_with("reset ×2 since ")), "{why}");

    let hangs = Server::script(Peer::hang);
    let tidegate = in_turn(&[&hangs, &other], "outlier: 2, timeouts: { response: 50ms }");
    for _ in 0..8 {
        ask(&tidegate, &get("/", ""));
    }
    let why = until_state(&tidegate, 0, "ejected");
    assert!(why["reason"].as_str().is_some_and(|why| why.starts_with("response_timeout ×2 since ")), "{why}");

    let slow = Server::script(|peer| {
        peer.request();
        peer.hang();
    });
    let text = "
listeners: { web: { bind: 127.0.0.1:0, to: app } }
pools: { app: { servers: { a: @SLOW, b: @SLOW }, outlier: 1 } }
";
    let tidegate = start(text, &[("SLOW", &slow)]);
    for path in ["/a", "/b", "/c", "/d"] {
        let mut client = tidegate.client();
        client.send(get(path, ""));
        assert_eq!(slow.request().target, path);
        client.reset();
        assert_eq!(tidegate.log_of(path)["fault"], "client_gone");
    }
    assert_eq!(states(&tidegate, 2), ["up", "up"]);
}

/// With retries no request notices that one of the servers fails.
#[test]
fn with_retries_no_request_fails_while_a_server_is_found_out() {
    let (sick, well) = (answering(500), Server::named("well"));
    let text = "
workers: 2
listeners: { web: { bind: 127.0.0.1:0, to: app } }
pools: { app: { servers: [@SICK, @WELL], retries: { extra: 1, if: [500] }, outlier: 4 } }
";
    let tidegate = start(text, &[("SICK", &sick), ("WELL", &well)]);
    for _ in 0..40 {
        assert_eq!(ask(&tidegate, &get("/", "")).text(), "well");
    }
    assert!(sick.requests().len() <= 6, "{}", sick.requests().len());
}

#[test]
fn a_reload_without_outlier_brings_everybody_back() {
    let (sick, well) = (answering(500), Server::named("well"));
    let places: [(&str, &dyn Place); 2] = [("SICK", &sick), ("WELL", &well)];
    let text = |outlier: &str| {
        let pool = format!("servers: [@SICK, @WELL], balance: round_robin, retries: {{ extra: 0 }}, {outlier}");
        crate::support::config(
            &format!("listeners: {{ web: {{ bind: 127.0.0.1:0, to: app }} }}\npools: {{ app: {{ {pool} }} }}\n"),
            &places,
        )
    };
    let with = text("outlier: { consecutive_errors: 1, eject_for: 1h, eject_for_max: 1h }");
    let tidegate = testkit::Start::of(crate::support::BINARY).text(&with);
    (0..4).for_each(|_| drop(ask(&tidegate, &get("/", ""))));
    until_state(&tidegate, 0, "ejected");
    assert_eq!(tidegate.reload(&with.replace("workers: 2", "workers: 2 # changed")), testkit::Reloaded::Yes);
    assert_eq!(states(&tidegate, 2), ["ejected", "up"]);
    assert_eq!(tidegate.reload(&text("")), testkit::Reloaded::Yes);
    until_state(&tidegate, 0, "up");
}

/// Five servers, one of which fails two of five requests, never two in a row.
#[test]
fn a_server_that_fails_more_often_than_the_others_is_found() {
    let turn = std::sync::atomic::AtomicUsize::new(0);
    let worse = Server::http(move |_| match turn.fetch_add(1, Ordering::SeqCst) % 5 {
        1 | 3 => b"HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n".to_vec(),
        _ => ok(""),
    });
    let others = [(); 4].map(|()| Server::named("well"));
    let text = "
workers: 1
listeners: { web: { bind: 127.0.0.1:0, to: app } }
pools:
  app:
    servers: { a: @A, b: @B, c: @C, d: @D, e: @E }
    balance: round_robin
    outlier: { success_rate: { min_requests: 20 }, every: 300ms }
";
    let places: [(&str, &dyn Place); 5] =
        [("A", &worse), ("B", &others[0]), ("C", &others[1]), ("D", &others[2]), ("E", &others[3])];
    let tidegate = start(text, &places);
    let (mut client, began) = (tidegate.client(), Instant::now());
    while !tidegate.messages().contains("is ejected") {
        client.get("/");
        assert!(began.elapsed() < testkit::PATIENCE, "nobody is ejected");
    }
    let ejected = until_state(&tidegate, 0, "ejected");
    let why = ejected["reason"].as_str().unwrap_or_default();
    assert!(why.starts_with("success rate ") && why.contains("% (pool "), "{why}");
    assert_eq!(states(&tidegate, 5)[1..], ["up", "up", "up", "up"]);
}

#[test]
fn a_server_that_is_slower_than_the_others_is_found() {
    let slow = Server::http(|_| {
        std::thread::sleep(Duration::from_millis(40));
        ok("slow")
    });
    let others = [(); 2].map(|()| Server::named("well"));
    let tidegate = in_turn(
        &[&others[0], &slow, &others[1]],
        "outlier: { latency: { min_requests: 5, over: 20ms }, every: 400ms }",
    );
    let (mut client, began) = (tidegate.client(), Instant::now());
    while !tidegate.messages().contains("is ejected") {
        client.get("/");
        assert!(began.elapsed() < testkit::PATIENCE, "nobody is ejected");
    }
    let ejected = until_state(&tidegate, 1, "ejected");
    let why = ejected["reason"].as_str().unwrap_or_default();
    assert!(why.starts_with("mean response 4") && why.contains("ms (pool "), "{why}");
    assert_eq!(states(&tidegate, 3), ["up", "ejected", "up"]);
}

/// Where the time of a request ends before that of a try, a server that hangs is found out all the same.
#[test]
fn a_server_that_had_a_request_for_its_whole_time_has_timed_out() {
    let (hangs, other) = (Server::script(Peer::hang), Server::named("other"));
    let tidegate = in_turn(&[&hangs, &other], "outlier: 2, timeouts: { response: 1m, total: 60ms }");
    for number in 0..8 {
        ask(&tidegate, &get(&format!("/{number}"), ""));
    }
    let why = until_state(&tidegate, 0, "ejected");
    assert!(why["reason"].as_str().is_some_and(|why| why.starts_with("response_timeout ×2 since ")), "{why}");
    // What the client is told stays as it is.
    assert_eq!(tidegate.log_line("a timeout", |line| line["status"] == 504)["fault"], "total_timeout");
}

/// A try without an answer has taken as long as it was waited for, not no time at all.
#[test]
fn a_server_that_hangs_is_not_the_fastest() {
    let hangs = Server::script(Peer::hang);
    let others = [(); 2].map(|()| Server::named("well"));
    let tidegate = in_turn(
        &[&others[0], &hangs, &others[1]],
        "timeouts: { response: 40ms }, \
         outlier: { consecutive_errors: 1000, latency: { min_requests: 5, over: 20ms }, every: 400ms }",
    );
    let (mut client, began) = (tidegate.client(), Instant::now());
    while !tidegate.messages().contains("is ejected") {
        client.get("/");
        assert!(began.elapsed() < testkit::PATIENCE, "nobody is ejected");
    }
    let ejected = until_state(&tidegate, 1, "ejected");
    let why = ejected["reason"].as_str().unwrap_or_default();
    assert!(why.starts_with("mean response 4") && why.contains("ms (pool "), "{why}");
}

/// Who leaves and comes back is still who it was.
#[test]
fn a_server_that_comes_back_has_its_past_and_nothing_more() {
    let (sick, well, refusing) = (answering(500), Server::named("well"), testkit::Refusing::new());
    let places: [(&str, &dyn Place); 3] = [("SICK", &sick), ("WELL", &well), ("REFUSING", &refusing)];
    let text = |servers: &str| {
        let outlier = "outlier: { consecutive_errors: 1, eject_for: 1h, eject_for_max: 9h }";
        crate::support::config(
            &format!(
                "workers: 1\nlisteners: {{ web: {{ bind: 127.0.0.1:0, to: app }} }}\n\
                 pools: {{ app: {{ servers: {servers}, balance: round_robin, retries: {{ extra: 0 }}, {outlier} }} }}\n"
            ),
            &places,
        )
    };
    let (all, less) = (text("{ a: @SICK, b: @WELL, c: @REFUSING }"), text("{ b: @WELL }"));
    let tidegate = testkit::Start::of(crate::support::BINARY).text(&all);
    (0..6).for_each(|_| drop(ask(&tidegate, &get("/", ""))));
    tidegate.message("is ejected for 1h");
    tidegate.message("is passed over, failed ×1: connection refused");
    // Control looks at a server before it shows it.
    let passed_over = || {
        shown(&tidegate, "app", 0);
        tidegate.messages().matches("is passed over").count()
    };
    let before = passed_over();
    assert_eq!(tidegate.reload(&less), testkit::Reloaded::Yes);
    assert_eq!(tidegate.reload(&all), testkit::Reloaded::Yes);
    assert_eq!(states(&tidegate, 1), ["up"]);
    assert_eq!(passed_over(), before);
    (0..6).for_each(|_| drop(ask(&tidegate, &get("/", ""))));
    tidegate.message("is ejected for 2h");
    assert!(!tidegate.messages().contains("is back"), "{}", tidegate.messages());
}
