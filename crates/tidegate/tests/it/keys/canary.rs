//! Canaries: who sees which version, by every key that decides it.

use std::time::{Duration, Instant};

use testkit::{PATIENCE, Response, Server, Tidegate};

use super::Case;
use crate::support::{Place, get, start};

pub(super) const CASES: &[Case] = &[
    (
        &[
            "listeners.*.canary",
            "sites.*.canary",
            "listeners.*.routes.*.canary",
            "listeners.*.canary.stable",
            "listeners.*.canary.candidate",
            "listeners.*.canary.share",
        ],
        share,
    ),
    (&["listeners.*.canary.steps", "listeners.*.canary.every"], steps),
    (&["listeners.*.canary.rollback_if", "listeners.*.canary.rollback_if.error_points"], error_points),
    (&["listeners.*.canary.rollback_if.p99_ratio"], p99_ratio),
    (&["listeners.*.canary.rollback_if.min_requests"], min_requests),
    (&["listeners.*.canary.sticky", "listeners.*.canary.sticky.by"], sticky),
    (&["listeners.*.canary.sticky.cookie"], cookie),
    (
        &[
            "listeners.*.canary.force",
            "listeners.*.canary.force.by",
            "listeners.*.canary.force.candidate",
            "listeners.*.canary.force.stable",
        ],
        force,
    ),
];

/// A canary between a stable server and a new one.
fn with(canary: &str, check: impl Fn(&Tidegate)) {
    let (stable, candidate) = (Server::named("stable"), Server::named("candidate"));
    let text = format!(
        "listeners: {{ web: {{ bind: 127.0.0.1:0, canary: {{ stable: s, candidate: c, {canary} }} }} }}
pools: {{ s: [@STABLE], c: [@CANDIDATE] }}
"
    );
    check(&start(&text, &[("STABLE", &stable), ("CANDIDATE", &candidate)]));
}

fn share() {
    let (stable, candidate) = (Server::named("stable"), Server::named("candidate"));
    let servers: [(&str, &dyn Place); 2] = [("STABLE", &stable), ("CANDIDATE", &candidate)];
    for (share, expected) in [("0%", "stable"), ("100%", "candidate")] {
        let canary = format!("canary: {{ stable: s, candidate: c, share: {share} }}");
        super::endings::each(&canary, &servers, "pools: { s: [@STABLE], c: [@CANDIDATE] }\n", |tidegate| {
            let mut client = tidegate.client();
            assert!((0..20).all(|_| client.get("/").text() == expected), "{share}");
        });
    }
    with("share: 50%", |tidegate| {
        let mut client = tidegate.client();
        let news = (0..100).filter(|_| client.get("/").text() == "candidate").count();
        assert!((1..100).contains(&news), "{news}");
    });
}

/// A canary whose candidate answers so; requests go on until the log says `wanted`.
fn until(canary: &str, candidate: impl Fn() -> Vec<u8> + Send + Sync + 'static, wanted: &str) -> String {
    let (stable, candidate) = (Server::named("stable"), Server::http(move |_| candidate()));
    let text = format!(
        "listeners: {{ web: {{ bind: 127.0.0.1:0, canary: {{ stable: s, candidate: c, {canary} }} }} }}
pools: {{ s: [@STABLE], c: [@CANDIDATE] }}
"
    );
    let tidegate = start(&text, &[("STABLE", &stable), ("CANDIDATE", &candidate)]);
    let (mut client, deadline) = (tidegate.client(), Instant::now() + PATIENCE);
    while !tidegate.messages().contains(wanted) {
        assert!(Instant::now() < deadline, "{wanted}: {}", tidegate.messages());
        client.get("/");
    }
    tidegate.messages()
}

fn failing() -> Vec<u8> {
    b"HTTP/1.1 500 Broken\r\nContent-Length: 0\r\n\r\n".to_vec()
}

fn steps() {
    let began = Instant::now();
    let canary = "steps: [30%, 60%, 100%], every: 300ms, rollback_if: { error_points: 50%, min_requests: 5 }";
    let said = until(canary, || testkit::ok("new"), "promoted at 100%");
    assert!(began.elapsed() >= Duration::from_millis(900));
    for step in
        ["running at 30%: new", "running at 60%: candidate 0 errors of ", "running at 100%: candidate 0 errors of "]
    {
        assert!(said.contains(step), "{step}: {said}");
    }
}

fn error_points() {
    let steps = "steps: [50%, 100%], every: 500ms";
    let strict = format!("{steps}, rollback_if: {{ error_points: 10%, min_requests: 5 }}");
    until(&strict, failing, "rolled back at 0%: candidate failed 100.00% of ");
    let patient = format!("{steps}, rollback_if: {{ error_points: 100%, min_requests: 5 }}");
    until(&patient, failing, "promoted at 100%");
}

fn p99_ratio() {
    // So slow that no load of the machine makes the other one as slow.
    let slow = || {
        std::thread::sleep(Duration::from_millis(150));
        testkit::ok("slow")
    };
    let steps = "steps: [50%, 100%], every: 3s";
    until(&format!("{steps}, rollback_if: {{ p99_ratio: 1.5, min_requests: 5 }}"), slow, "rolled back at 0%: ");
    until(&format!("{steps}, rollback_if: {{ error_points: 100%, min_requests: 5 }}"), slow, "promoted at 100%");
}

fn min_requests() {
    let canary = "steps: [50%, 100%], every: 300ms, rollback_if: { error_points: 10%, min_requests: 1000000 }";
    until(canary, failing, "stays at 50%: too few requests of the candidate: ");
}

fn sticky() {
    with("share: 50%, sticky: header.x-user", |tidegate| {
        let mut client = tidegate.client();
        let mut seen = |user: usize| client.ask(get("/", &format!("X-User: {user}\r\n"))).text();
        let first: Vec<String> = (0..100).map(&mut seen).collect();
        let again: Vec<String> = (0..100).map(&mut seen).collect();
        assert_eq!(first, again);
        let news = first.iter().filter(|version| *version == "candidate").count();
        assert!((20..80).contains(&news), "{news}");
    });
    with("share: 50%, sticky: cookie", |tidegate| {
        let given = set_cookie(&tidegate.client().get("/"));
        assert!(given.starts_with("tidegate-canary-"), "{given}");
        assert!(given.ends_with("; Path=/; HttpOnly; SameSite=Lax; Max-Age=2592000"), "{given}");
    });
}

fn cookie() {
    with("share: 50%, sticky: { by: cookie, cookie: ring }", |tidegate| {
        assert!(set_cookie(&tidegate.client().get("/")).starts_with("ring="));
    });
}

fn force() {
    let forced = |share: &str, value: &str, expected: &str| {
        let keys = format!("share: {share}, force: {{ by: query.v, candidate: new, stable: old }}");
        with(&keys, |tidegate| {
            let mut client = tidegate.client();
            assert_eq!(client.get(&format!("/?v={value}")).text(), expected, "{share} {value}");
        });
    };
    forced("0%", "new", "candidate");
    forced("0%", "old", "stable");
    forced("0%", "else", "stable");
    forced("100%", "old", "stable");
    forced("100%", "else", "candidate");
}

fn set_cookie(response: &Response) -> String {
    response.fields.value("set-cookie").expect("a cookie").to_owned()
}
