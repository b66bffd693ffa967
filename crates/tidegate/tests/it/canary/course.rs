//! Canaries that drive themselves, and what operators do to them.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;
use testkit::{Client, PATIENCE, Refusing, Reloaded, Server, Start, Tidegate};

use crate::support::{BINARY, Place, config, get, start};

/// Time for a whole course, on a machine that builds at the same time.
const LONG: Duration = Duration::from_secs(60);

const PLACE: &str = "/api/canaries/web/checkout";

/// A canary with these keys, and retries off: what fails at a server fails at the client.
fn text(canary: &str) -> String {
    format!(
        "workers: 2
access_log: off
listeners:
  web:
    bind: 127.0.0.1:0
    retries: {{ extra: 0 }}
    routes: [{{ name: checkout, canary: {{ stable: v1, candidate: v2, sticky: cookie, {canary} }} }}]
pools: {{ v1: [@V1], v2: [@V2] }}
"
    )
}

/// Asks the operator's address, with a JSON document for a change.
fn operate(tidegate: &Tidegate, put: Option<&str>) -> (u16, Value) {
    let address = tidegate.ready()["admin"].as_str().expect("an admin address").to_owned();
    let request = match put {
        None => format!("GET {PLACE} HTTP/1.1\r\nHost: {address}\r\n\r\n"),
        Some(body) => format!(
            "PUT {PLACE} HTTP/1.1\r\nHost: {address}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        ),
    };
    let response = Client::connect(&address).ask(request);
    (response.status, serde_json::from_slice(&response.body).expect("JSON"))
}

fn until(tidegate: &Tidegate, wanted: impl Fn(&Value) -> bool) -> Value {
    until_within(PATIENCE, tidegate, wanted)
}

fn until_within(patience: Duration, tidegate: &Tidegate, wanted: impl Fn(&Value) -> bool) -> Value {
    let deadline = Instant::now() + patience;
    loop {
        let (_, canary) = operate(tidegate, None);
        if wanted(&canary) {
            return canary;
        }
        assert!(Instant::now() < deadline, "{canary:#}");
        thread::sleep(Duration::from_millis(20));
    }
}

/// Clients without cookies that send this many requests a second for so long. Answers how many there were, and how many
/// were answered with 5xx.
fn load(tidegate: &Tidegate, rate: u64, time: Duration) -> (usize, usize) {
    const CLIENTS: u64 = 4;
    let (all, failed) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let began = Instant::now();
    thread::scope(|scope| {
        for _ in 0..CLIENTS {
            scope.spawn(|| {
                let mut client = tidegate.client();
                for number in 1.. {
                    let due = Duration::from_micros(number * 1_000_000 * CLIENTS / rate);
                    if due > time {
                        break;
                    }
                    thread::sleep(due.saturating_sub(began.elapsed()));
                    let status = client.get("/").status;
                    all.fetch_add(1, Ordering::Relaxed);
                    failed.fetch_add(usize::from(status >= 500), Ordering::Relaxed);
                }
            });
        }
    });
    (all.into_inner(), failed.into_inner())
}

/// The same until it is over, or has been long enough for everything.
fn load_until(tidegate: &Tidegate, rate: u64, over: &AtomicBool) -> (usize, usize) {
    let (mut all, mut failed) = (0, 0);
    let began = Instant::now();
    while !over.load(Ordering::Relaxed) && began.elapsed() < LONG {
        let (more, more_failed) = load(tidegate, rate, Duration::from_secs(1));
        all += more;
        failed += more_failed;
    }
    (all, failed)
}

/// The shares that a canary has had.
fn shares(canary: &Value) -> Vec<&str> {
    canary["history"].as_array().expect("a list").iter().filter_map(|entry| entry["share"].as_str()).collect()
}

/// A server that answers every so many-th request with 500; 0 is never.
fn failing_every(nth: u32) -> (Server, Arc<AtomicU32>) {
    let (every, count) = (Arc::new(AtomicU32::new(nth)), AtomicU32::new(0));
    let said = Arc::clone(&every);
    let server = Server::http(move |_| {
        let (nth, number) = (said.load(Ordering::Relaxed), count.fetch_add(1, Ordering::Relaxed));
        if nth > 0 && number.is_multiple_of(nth) {
            b"HTTP/1.1 500 Broken\r\nContent-Length: 0\r\n\r\n".to_vec()
        } else {
            testkit::ok("new")
        }
    });
    (server, every)
}

/// The example's own numbers.
const EXAMPLE: &str =
    "steps: [5%, 25%, 50%, 100%], every: 10s, rollback_if: { error_points: 2%, p99_ratio: 1.5, min_requests: 50 }";

#[test]
fn a_candidate_that_fails_a_fifth_is_rolled_back_within_seconds() {
    let (stable, (candidate, _)) = (Server::named("old"), failing_every(5));
    let tidegate = start(&text(EXAMPLE), &[("V1", &stable), ("V2", &candidate)]);
    let (all, failed) = thread::scope(|scope| {
        let load = scope.spawn(|| load(&tidegate, 500, Duration::from_secs(12)));
        let mut enough = None;
        let deadline = Instant::now() + PATIENCE;
        loop {
            let (_, canary) = operate(&tidegate, None);
            let judged = canary["candidate"]["requests"]["total"].as_u64() >= Some(50);
            if judged && enough.is_none() {
                enough = Some(Instant::now());
            }
            if canary["state"] == "rolled_back" {
                break;
            }
            assert!(Instant::now() < deadline, "{canary:#}");
            thread::sleep(Duration::from_millis(10));
        }
        let took = enough.map(|since| since.elapsed()).unwrap_or_default();
        assert!(took <= Duration::from_secs(3), "{took:?}");
        load.join().expect("a load")
    });
    // Of a minute of this load they would be a fifth of this share.
    assert!(failed * 100 <= all, "{failed} of {all} failed");
    tidegate.message("canary `checkout` of listener `web`: rolled back at 0%: candidate failed ");
    let (_, canary) = operate(&tidegate, None);
    assert_eq!((&canary["share"], &canary["history"][1]["cause"]), (&"0%".into(), &"errors".into()));
    assert_eq!(tidegate.metric("tidegate_canary_state", &["state=\"rolled_back\""]), [1.0]);
    assert_eq!(tidegate.metric("tidegate_canary_share", &[]), [0.0]);
}

#[test]
fn a_good_candidate_is_promoted_through_all_steps() {
    let (stable, candidate) = (Server::named("old"), Server::named("new"));
    let canary =
        "steps: [5%, 25%, 50%, 100%], every: 1s, rollback_if: { error_points: 2%, p99_ratio: 1000, min_requests: 20 }";
    let tidegate = start(&text(canary), &[("V1", &stable), ("V2", &candidate)]);
    let (all, failed) = thread::scope(|scope| {
        let load = scope.spawn(|| load(&tidegate, 500, Duration::from_secs(8)));
        until(&tidegate, |canary| canary["state"] == "promoted");
        load.join().expect("a load")
    });
    assert!(all > 0 && failed == 0, "{failed} of {all}");
    let (_, canary) = operate(&tidegate, None);
    assert_eq!(shares(&canary), ["5%", "25%", "50%", "100%", "100%"]);
    assert_eq!(tidegate.client().get("/").text(), "new");
    assert_eq!(tidegate.metric("tidegate_canary_changes_total", &["state=\"running\"", "cause=\"step\""]), [3.0]);
}

#[test]
fn the_example_promotes_a_good_candidate_by_its_own_bounds() {
    let (stable, candidate) = (Server::named("old"), Server::named("new"));
    // Nothing but addresses and the time that a step takes: what is judged is judged as the example says.
    let tidegate = Start::of(BINARY)
        .set("listeners.web.bind", "127.0.0.1:0")
        .set("admin.bind", "127.0.0.1:0")
        .set("pools.v1.servers.0", stable.address())
        .set("pools.v2.servers.0", candidate.address())
        .set("listeners.web.routes.0.canary.every", "3s")
        .file(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/canary.yaml"));
    // A busy machine may make it wait at a step.
    let over = AtomicBool::new(false);
    let (last, (all, failed)) = thread::scope(|scope| {
        let load = scope.spawn(|| load_until(&tidegate, 500, &over));
        let last =
            until_within(LONG, &tidegate, |canary| canary["state"] == "promoted" || canary["state"] == "rolled_back");
        over.store(true, Ordering::Relaxed);
        (last, load.join().expect("a load"))
    });
    assert_eq!(last["state"], "promoted", "{last:#}");
    assert!(all > 0 && failed == 0, "{failed} of {all}");
    assert_eq!(shares(&last), ["5%", "25%", "50%", "100%", "100%"]);
    let reason = last["history"][4]["reason"].as_str().expect("a reason");
    assert!(reason.ends_with("ms before the candidate had everything"), "{reason}");
}

#[test]
fn a_thousand_users_never_go_back_while_it_drives_itself() {
    let (stable, candidate) = (Server::named("old"), Server::named("new"));
    let canary = "steps: [5%, 25%, 50%, 100%], every: 1s, rollback_if: { error_points: 2%, min_requests: 20 }";
    let tidegate = start(&text(canary), &[("V1", &stable), ("V2", &candidate)]);
    let over = AtomicBool::new(false);
    let news: usize = thread::scope(|scope| {
        let some_users = || {
            let mut client = tidegate.client();
            let mut users = vec![(None::<String>, false); 250];
            let began = Instant::now();
            loop {
                let last = over.load(Ordering::Relaxed) || began.elapsed() > LONG;
                for (cookie, had) in &mut users {
                    let fields = cookie.as_ref().map(|cookie| format!("Cookie: {cookie}\r\n")).unwrap_or_default();
                    let response = client.ask(get("/", &fields));
                    if let Some(set) = response.fields.value("set-cookie") {
                        assert!(cookie.is_none(), "a cookie that is there is not given again: {set}");
                        *cookie = set.split(';').next().map(str::to_owned);
                    }
                    let has = response.text() == "new";
                    assert!(has || !*had, "a user went back");
                    *had = has;
                }
                if last {
                    break;
                }
            }
            users.iter().filter(|(_, had)| *had).count()
        };
        let threads = [(); 4].map(|()| scope.spawn(some_users));
        let last = until_within(LONG, &tidegate, |canary| canary["state"] == "promoted");
        assert_eq!(shares(&last), ["5%", "25%", "50%", "100%", "100%"]);
        over.store(true, Ordering::Relaxed);
        threads.into_iter().map(|users| users.join().expect("users")).sum()
    });
    assert_eq!(news, 1000);
}

#[test]
fn a_reload_in_the_middle_changes_nothing_and_another_plan_begins_anew() {
    let (stable, candidate) = (Server::named("old"), Server::named("new"));
    let servers: [(&str, &dyn Place); 2] = [("V1", &stable), ("V2", &candidate)];
    let keys = "steps: [10%, 100%], every: 10m, rollback_if: { error_points: 2% }";
    let tidegate = start(&text(keys), &servers);
    assert_eq!(operate(&tidegate, Some(r#"{"share": "40%"}"#)).0, 200);
    load(&tidegate, 500, Duration::from_millis(300));
    let (_, before) = operate(&tidegate, None);
    let requests = |canary: &Value| canary["candidate"]["requests"]["total"].as_u64().unwrap_or(0);
    assert!(requests(&before) > 0, "{before:#}");
    // Other routes, other numbers of servers: the canary is the same.
    let other = config(&text(keys).replace("v2: [@V2]", "v2: { servers: [@V2], balance: random }"), &servers);
    assert_eq!(tidegate.reload(&other), Reloaded::Yes);
    let (_, after) = operate(&tidegate, None);
    assert_eq!((&after["state"], &after["share"]), (&"held".into(), &"40%".into()));
    assert!(requests(&after) >= requests(&before), "{after:#}");
    assert_eq!(after["history"].as_array().map(Vec::len), Some(2), "{after:#}");
    assert_eq!(tidegate.reload(&config(&text(&keys.replace("10%", "20%")), &servers)), Reloaded::Yes);
    let (_, anew) = operate(&tidegate, None);
    assert_eq!((&anew["state"], &anew["share"], requests(&anew)), (&"running".into(), &"20%".into(), 0));
}

#[test]
fn what_became_of_a_canary_survives_another_guard_and_another_pace() {
    let (stable, (candidate, _)) = (Server::named("old"), failing_every(1));
    let servers: [(&str, &dyn Place); 2] = [("V1", &stable), ("V2", &candidate)];
    let keys = "steps: [50%, 100%], every: 1s, rollback_if: { error_points: 2%, min_requests: 20 }";
    let tidegate = start(&text(keys), &servers);
    load(&tidegate, 400, Duration::from_secs(1));
    let before = until(&tidegate, |canary| canary["state"] == "rolled_back");
    let reload = |from: &str, to: &str| {
        assert_eq!(tidegate.reload(&config(&text(&keys.replace(from, to)), &servers)), Reloaded::Yes);
        operate(&tidegate, None).1
    };
    for (from, to) in
        [("every: 1s", "every: 2s"), ("error_points: 2%", "p99_ratio: 3"), ("requests: 20", "requests: 30")]
    {
        let after = reload(from, to);
        assert_eq!((&after["state"], &after["share"]), (&"rolled_back".into(), &"0%".into()), "{to}: {after:#}");
        assert_eq!(after["history"], before["history"], "{to}");
    }
    tidegate.message(
        "canary `checkout` of listener `web`: rolled back at 0%: judged by another `every` or `rollback_if` now",
    );
    for (action, state) in [("promote", "promoted"), ("abort", "aborted"), ("restart", "running"), ("pause", "paused")]
    {
        assert_eq!(operate(&tidegate, Some(&format!(r#"{{"action": "{action}"}}"#))).0, 200);
        let after = reload("every: 1s", if state == "aborted" { "every: 10m" } else { "every: 11m" });
        assert_eq!(after["state"], state, "{after:#}");
    }
    let anew = reload("[50%, 100%]", "[40%, 100%]");
    assert_eq!((&anew["state"], &anew["share"]), (&"running".into(), &"40%".into()), "{anew:#}");
}

#[test]
fn operators_pause_resume_set_abort_promote_and_restart() {
    let (stable, candidate) = (Server::named("old"), Server::named("new"));
    let keys = "steps: [1%, 100%], every: 10m, rollback_if: { error_points: 2% }, \
                force: { by: header.x-canary, candidate: always, stable: never }";
    let tidegate = start(&text(keys), &[("V1", &stable), ("V2", &candidate)]);
    let change = |body: &str, state: &str, share: &str| {
        let (status, canary) = operate(&tidegate, Some(body));
        assert_eq!((status, &canary["state"], &canary["share"]), (200, &state.into(), &share.into()), "{canary:#}");
        canary
    };
    let seen = |fields: &str| tidegate.client().ask(get("/", fields)).text();
    change(r#"{"action": "pause"}"#, "paused", "1%");
    assert_eq!(operate(&tidegate, Some(r#"{"action": "pause"}"#)).0, 409);
    change(r#"{"action": "resume"}"#, "running", "1%");
    change(r#"{"share": "100%"}"#, "held", "100%");
    assert_eq!((seen(""), seen("X-Canary: never\r\n")), ("new".to_owned(), "old".to_owned()));
    change(r#"{"share": "0%"}"#, "held", "0%");
    assert_eq!((seen(""), seen("X-Canary: always\r\n")), ("old".to_owned(), "new".to_owned()));
    change(r#"{"action": "abort"}"#, "aborted", "0%");
    assert_eq!((seen(""), seen("X-Canary: always\r\n")), ("old".to_owned(), "old".to_owned()));
    change(r#"{"action": "promote"}"#, "promoted", "100%");
    assert_eq!(seen(""), "new");
    let last = change(r#"{"action": "restart"}"#, "running", "1%");
    assert_eq!(last["history"].as_array().map(Vec::len), Some(8));
    assert_eq!(last["history"][7]["cause"], "operator");
    tidegate.message("canary `checkout` of listener `web`: aborted at 0%: by 127.0.0.1:");
    for (body, status) in [(r#"{"action": "stop"}"#, 422), (r#"{"share": 5}"#, 422), ("{", 400)] {
        assert_eq!(operate(&tidegate, Some(body)).0, status, "{body}");
    }
}

#[test]
fn nothing_goes_to_an_aborted_candidate_even_without_a_stable_server() {
    let (stable, candidate) = (Refusing::new(), Server::named("new"));
    let keys = "steps: [1%, 100%], every: 10m, rollback_if: { error_points: 2% }, \
                force: { by: header.x-canary, candidate: always, stable: never }";
    let tidegate = start(&text(keys), &[("V1", &stable), ("V2", &candidate)]);
    let mut client = tidegate.client();
    let mut ask = |fields: &str| client.ask(get("/", fields));
    assert_eq!(operate(&tidegate, Some(r#"{"action": "abort"}"#)).0, 200);
    for fields in ["", "X-Canary: always\r\n", "X-Canary: never\r\n"].repeat(3) {
        let status = ask(fields).status;
        assert!(status == 502 || status == 503, "{status}");
    }
    assert_eq!(candidate.requests().len(), 0);
    // At a share of nothing, as after a rollback, it is better than no answer.
    assert_eq!(operate(&tidegate, Some(r#"{"share": "0%"}"#)).0, 200);
    testkit::until("the candidate answers", || ask("").text() == "new");
    tidegate.message("stable `v1` has no server that may be used, candidate `v2` has served ");
}

#[test]
fn who_had_the_candidate_goes_back_with_everybody_else() {
    let (stable, (candidate, fails)) = (Server::named("old"), failing_every(0));
    let keys = "steps: [50%, 100%], every: 1s, rollback_if: { error_points: 2%, min_requests: 20 }";
    let tidegate = start(&text(keys), &[("V1", &stable), ("V2", &candidate)]);
    let mut client = tidegate.client();
    let cookie = loop {
        let response = client.get("/");
        if response.text() == "new" {
            let set = response.fields.value("set-cookie").expect("a cookie").to_owned();
            break set.split(';').next().expect("a pair").to_owned();
        }
    };
    let mut seen = || client.ask(get("/", &format!("Cookie: {cookie}\r\n"))).text();
    assert_eq!(seen(), "new");
    fails.store(1, Ordering::Relaxed);
    load(&tidegate, 400, Duration::from_secs(1));
    until(&tidegate, |canary| canary["state"] == "rolled_back");
    assert_eq!(seen(), "old");
    assert_eq!(operate(&tidegate, Some(r#"{"share": "50%"}"#)).0, 200);
    fails.store(0, Ordering::Relaxed);
    assert_eq!(seen(), "new");
}

#[test]
fn canaries_of_one_name_are_told_apart() {
    let (stable, candidate) = (Server::named("old"), Server::named("new"));
    let text = "
listeners: { web: { bind: 127.0.0.1:0 } }
sites:
  one: { hosts: a.example, listeners: web, routes: [{ name: checkout, canary: { stable: v1, candidate: v2, share: 0% } }] }
  two: { hosts: b.example, listeners: web, routes: [{ name: checkout, canary: { stable: v1, candidate: v2, share: 100% } }] }
pools: { v1: [@V1], v2: [@V2] }
";
    let tidegate = start(text, &[("V1", &stable), ("V2", &candidate)]);
    let seen = |host: &str| tidegate.client().ask(format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n")).text();
    assert_eq!((seen("a.example"), seen("b.example")), ("old".to_owned(), "new".to_owned()));
    for (name, share) in [("checkout", 0.0), ("checkout#2", 1.0)] {
        let labels = format!("route=\"{name}\"");
        assert_eq!(tidegate.metric("tidegate_canary_share", &[&labels]), [share]);
    }
}

/// Nobody has been answered and nothing has timed out: who still waits counts.
#[test]
fn a_candidate_that_hangs_is_rolled_back_long_before_the_timeout() {
    let (v1, v2) = (Server::named("v1"), Server::script(|peer| peer.hang()));
    let bounds = "steps: [50%, 100%], every: 30s, rollback_if: { error_points: 2%, min_requests: 5 }";
    let tidegate = start(&text(bounds), &[("V1", &v1), ("V2", &v2)]);
    let mut clients: Vec<Client> = (0..60).map(|_| tidegate.client()).collect();
    for (number, client) in clients.iter_mut().enumerate() {
        client.send(format!("GET / HTTP/1.1\r\nHost: a\r\nUser-Agent: browser {number}\r\n\r\n"));
    }
    let canary = until(&tidegate, |canary| canary["state"] == "rolled_back");
    assert_eq!(canary["share"], "0%", "{canary:#}");
}
