//! Canaries: who sees which version, by every key that decides it.

use testkit::{Response, Server, Tidegate};

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
        assert!(given.ends_with("; Path=/; HttpOnly; SameSite=Lax"), "{given}");
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
