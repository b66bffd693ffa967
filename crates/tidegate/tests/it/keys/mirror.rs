//! Mirrors: what is copied, and where to, by every key that decides it.

use serde_json::Value;
use testkit::{Hanging, Server, Signal, Tidegate};

use super::Case;
use crate::support::{Place, get, post, start, until_shown};

pub(super) const CASES: &[Case] = &[
    (&["policies.*.*.mirror", "policies.*.*.mirror.to"], to),
    (&["policies.*.*.mirror.share"], share),
    (&["policies.*.*.mirror.limit"], limit),
    (&["policies.*.*.mirror.at_once"], at_once),
    (&["policies.*.*.mirror.timeout"], timeout),
];

/// A listener that copies to one pool or two.
fn with(mirrors: &str, shadow: &dyn Place, check: impl Fn(&Tidegate)) {
    let (app, other) = (Server::named("app"), Server::named("other"));
    let text = format!(
        "listeners: {{ web: {{ bind: 127.0.0.1:0, use: [{mirrors}], to: app }} }}
pools: {{ app: [@APP], shadow: [@SHADOW], other: [@OTHER] }}
"
    );
    check(&start(&text, &[("APP", &app), ("SHADOW", shadow), ("OTHER", &other)]));
}

/// The reports, once one of them is as it should be.
fn reports(tidegate: &Tidegate, name: &str, wanted: impl Fn(&Value) -> bool) -> Vec<Value> {
    let found = until_shown(tidegate, "/api/mirrors", |reports| {
        reports.as_array().expect("a list").iter().any(|report| report["name"] == name && wanted(report))
    });
    serde_json::from_value(found).expect("a list")
}

fn to() {
    let shadow = Server::named("shadow");
    with("{ mirror: shadow }", &shadow, |tidegate| {
        assert_eq!(tidegate.client().ask(post("/copied", "body")).text(), "app");
        let copy = shadow.request();
        assert_eq!((copy.target.as_str(), copy.body.as_slice()), ("/copied", &b"body"[..]));
    });
}

fn share() {
    let shadow = Server::named("shadow");
    with("{ mirror: { to: shadow, share: 0% } }, { mirror: { to: other, share: 100% } }", &shadow, |tidegate| {
        let mut client = tidegate.client();
        (0..20).for_each(|_| drop(client.get("/")));
        let reports = reports(tidegate, "web/other", |report| report["sent"] == 20);
        let none = reports.iter().find(|report| report["name"] == "web/shadow").expect("a report");
        assert_eq!((&none["sent"], &none["under_way"]), (&0.into(), &0.into()));
    });
    with("{ mirror: { to: shadow, share: 50% } }, { mirror: other }", &shadow, |tidegate| {
        let mut client = tidegate.client();
        (0..100).for_each(|_| drop(client.get("/")));
        reports(tidegate, "web/other", |report| report["sent"] == 100);
        let half = reports(tidegate, "web/shadow", |report| report["under_way"] == 0);
        let half = half.iter().find(|report| report["name"] == "web/shadow").expect("a report");
        assert!((1..100).contains(&half["sent"].as_u64().expect("a number")), "{half:#}");
    });
}

fn limit() {
    let shadow = Server::named("shadow");
    with("{ mirror: { to: shadow, limit: 8B } }", &shadow, |tidegate| {
        let mut client = tidegate.client();
        client.ask(post("/fits", "12345678"));
        client.ask(post("/large", "123456789"));
        client.ask("POST /chunks HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n9\r\n123456789\r\n0\r\n\r\n");
        reports(tidegate, "web/shadow", |report| report["sent"] == 1 && report["dropped"]["too_large"] == 2);
        assert_eq!(shadow.request().target, "/fits");
    });
}

fn at_once() {
    with("{ mirror: { to: shadow, at_once: 2, timeout: 10m } }", &Hanging::new(), |tidegate| {
        let mut client = tidegate.client();
        (0..5).for_each(|_| drop(client.get("/")));
        reports(tidegate, "web/shadow", |report| report["under_way"] == 2 && report["dropped"]["too_many"] == 3);
    });
}

fn timeout() {
    let hold = Signal::new();
    let held = hold.clone();
    let shadow = Server::http(move |_| {
        held.wait();
        testkit::ok("late")
    });
    with("{ mirror: { to: shadow, timeout: 50ms } }", &shadow, |tidegate| {
        assert_eq!(tidegate.client().ask(get("/", "")).status, 200);
        let line = tidegate.log_line("the copy's line", |line| line["route"] == "mirror:web/shadow");
        assert_eq!(line["fault"], "total_timeout");
    });
    hold.raise();
}
