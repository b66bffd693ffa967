//! Mirrors, end to end: copies are whole, hold nothing up, and are compared.

use std::time::{Duration, Instant};

use serde_json::Value;
use testkit::{Hanging, Refusing, Reloaded, Server, Tidegate, until};

use crate::support::{Place, config, get, post, start, until_shown};

/// A listener whose requests are copied so.
fn text(mirror: &str) -> String {
    format!(
        "policies: {{ copy: [{{ mirror: {{ to: shadow, {mirror} }} }}] }}
listeners: {{ web: {{ bind: 127.0.0.1:0, routes: [{{ name: all, use: [copy], to: app }}] }} }}
pools: {{ app: [@APP], shadow: [@SHADOW] }}
"
    )
}

fn mirrored(app: &Server, shadow: &dyn Place, mirror: &str) -> Tidegate {
    start(&text(mirror), &[("APP", app), ("SHADOW", shadow)])
}

/// The report, once it is as it should be.
fn report(tidegate: &Tidegate, wanted: impl Fn(&Value) -> bool) -> Value {
    until_shown(tidegate, "/api/mirrors", |reports| wanted(&reports[0]))[0].clone()
}

#[test]
fn a_copy_is_what_the_server_was_sent_body_included() {
    let (app, shadow) = (Server::named("app"), Server::named("shadow"));
    let tidegate = mirrored(&app, &shadow, "limit: 1MiB");
    let large = "x".repeat(300_000);
    let half = "y".repeat(40_000);
    let chunked = format!(
        "PUT /chunked?q=1 HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n{:x}\r\n{half}\r\n5\r\nhello\r\n0\r\n\r\n",
        half.len()
    );
    let mut client = tidegate.client();
    for request in [get("/plain?a=b", "X-Field: 1\r\n"), post("/large", &large), post("/small", "abc"), chunked] {
        assert_eq!(client.ask(&request).text(), "app");
    }
    let report = report(&tidegate, |report| report["sent"] == 4);
    assert_eq!((&report["same_status"], &report["under_way"]), (&4.into(), &0.into()), "{report:#}");
    let key = |request: &testkit::Request| request.target.clone();
    let (mut real, mut copies) = (app.requests(), shadow.requests());
    real.sort_by_key(key);
    copies.sort_by_key(key);
    assert_eq!(real.len(), copies.len());
    for (real, copy) in real.iter().zip(&copies) {
        assert_eq!((&real.method, &real.target, &real.body), (&copy.method, &copy.target, &copy.body));
        assert_eq!(real.fields, copy.fields, "{}", real.target);
    }
}

#[test]
fn a_body_that_waits_to_be_asked_for_is_copied() {
    let (app, shadow) = (Server::named("app"), Server::named("shadow"));
    let tidegate = mirrored(&app, &shadow, "limit: 1MiB");
    let mut client = tidegate.client();
    client.send("POST /x HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n");
    client.send("abc");
    assert_eq!(client.response().status, 200);
    report(&tidegate, |report| report["sent"] == 1);
    let copy = shadow.request();
    assert_eq!((copy.body.as_slice(), copy.fields.has("expect")), (&b"abc"[..], false));
}

#[test]
fn a_shadow_that_hangs_holds_up_nobody() {
    let (app, shadow) = (Server::named("app"), Hanging::new());
    let tidegate = mirrored(&app, &shadow, "at_once: 3, timeout: 10m");
    let mut client = tidegate.client();
    let began = Instant::now();
    for _ in 0..50 {
        assert_eq!(client.get("/").text(), "app");
    }
    // Far less than one timeout of anything.
    assert!(began.elapsed() < Duration::from_secs(4), "{:?}", began.elapsed());
    let report = report(&tidegate, |report| report["dropped"]["too_many"] == 47);
    assert_eq!((&report["sent"], &report["under_way"]), (&0.into(), &3.into()), "{report:#}");
    assert_eq!(tidegate.metric("tidegate_mirror_copies_total", &["result=\"too_many\""]), [47.0]);
}

#[test]
fn what_goes_wrong_with_a_copy_is_nobodys_fault() {
    let (app, shadow) = (Server::named("app"), Refusing::new());
    let tidegate = mirrored(&app, &shadow, "share: 100%");
    assert_eq!(tidegate.client().get("/some").text(), "app");
    let report = report(&tidegate, |report| report["sent"] == 1);
    assert_eq!(report["pairs"], serde_json::json!([{ "real": "2xx", "shadow": "5xx", "count": 1 }]));
    let line = tidegate.log_line("the copy's line", |line| line["route"] == "mirror:copy");
    assert_eq!((&line["status"], &line["pool"]), (&502.into(), &"shadow".into()));
    let real = tidegate.log_line("the request's line", |line| line["route"] == "all");
    assert_eq!((&real["status"], &real["id"]), (&200.into(), &line["id"]));
}

#[test]
fn statuses_and_latencies_are_compared() {
    let app = Server::named("app");
    let shadow = Server::http(|request| {
        std::thread::sleep(Duration::from_millis(300));
        match request.target.as_str() {
            "/gone" => b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n".to_vec(),
            _ => testkit::ok("fine"),
        }
    });
    let servers: [(&str, &dyn Place); 2] = [("APP", &app), ("SHADOW", &shadow)];
    let tidegate = start(&text("share: 100%"), &servers);
    let mut client = tidegate.client();
    for path in ["/one", "/gone", "/two"] {
        client.get(path);
    }
    // A copy counts as sent before it has been compared.
    let compared = |report: &serde_json::Value| {
        ["slower", "faster"].iter().filter_map(|which| report[which]["count"].as_u64()).sum::<u64>()
    };
    let seen = report(&tidegate, |report| compared(report) == 3 && report["under_way"] == 0);
    assert_eq!((&seen["sent"], &seen["same_status"]), (&3.into(), &2.into()));
    assert_eq!((&seen["slower"]["count"], &seen["faster"]["count"]), (&3.into(), &0.into()), "{seen:#}");
    assert!(seen["shadow"]["p50_us"].as_u64() >= Some(200_000), "{seen:#}");
    let differences = seen["differences"].as_array().expect("a list");
    assert_eq!(differences.len(), 1, "{seen:#}");
    assert_eq!(
        (&differences[0]["path"], &differences[0]["real"], &differences[0]["shadow"]),
        (&"/gone".into(), &200.into(), &404.into())
    );
    // The report outlives a reload, and goes with its mirror.
    assert_eq!(tidegate.reload(&config(&text("share: 50%"), &servers)), Reloaded::Yes);
    report(&tidegate, |report| report["sent"] == 3);
    let without = text("share: 50%").replace("use: [copy], ", "");
    assert_eq!(tidegate.reload(&config(&without, &servers)), Reloaded::Yes);
    assert_eq!(tidegate.admin("/api/mirrors").text(), "[]\n");
}

#[test]
fn connections_to_the_shadow_are_used_again() {
    let (app, shadow) = (Server::named("app"), Server::named("shadow"));
    let tidegate = start(&format!("workers: 1\n{}", text("share: 100%")), &[("APP", &app), ("SHADOW", &shadow)]);
    let mut client = tidegate.client();
    for number in 1..=20 {
        client.get("/");
        report(&tidegate, |report| report["sent"] == number && report["under_way"] == 0);
    }
    assert_eq!(shadow.connections(), 1);
}

#[test]
fn mirrors_without_a_name_are_told_apart_by_their_routes() {
    let (app, shadow) = (Server::named("app"), Hanging::new());
    let servers: [(&str, &dyn Place); 2] = [("APP", &app), ("SHADOW", &shadow)];
    let text = |first: &str| {
        format!(
            "listeners:
  web:
    bind: 127.0.0.1:0
    routes:
      {first}
      - {{ name: one, match: {{ path: /one }}, use: [mirror: {{ to: shadow, at_once: 1, timeout: 10m }}], to: app }}
      - {{ name: two, match: {{ path: /two }}, use: [mirror: {{ to: shadow, at_once: 2, timeout: 10m }}], to: app }}
pools: {{ app: [@APP], shadow: [@SHADOW] }}
"
        )
    };
    let tidegate = start(&text(""), &servers);
    let mut client = tidegate.client();
    for path in ["/one", "/two"].repeat(3) {
        assert_eq!(client.get(path).text(), "app");
    }
    let seen = || -> Vec<(String, u64, u64)> {
        let reports: Vec<Value> = serde_json::from_slice(&tidegate.admin("/api/mirrors").body).expect("JSON");
        let number = |value: &Value| value.as_u64().expect("a number");
        let one = |report: &Value| {
            let name = report["name"].as_str().expect("a name").to_owned();
            (name, number(&report["under_way"]), number(&report["dropped"]["too_many"]))
        };
        reports.iter().map(one).collect()
    };
    let expected = [("web/one/shadow".to_owned(), 1, 2), ("web/two/shadow".to_owned(), 2, 1)];
    until("both are counted", || seen() == expected);
    // Nor does another route before them change who they are.
    let other = text("- { name: zero, match: { path: /zero }, use: [mirror: shadow], to: app }");
    assert_eq!(tidegate.reload(&config(&other, &servers)), Reloaded::Yes);
    assert_eq!(seen(), [&expected[..], &[("web/zero/shadow".to_owned(), 0, 0)]].concat());
}
