//! What it shows.

use std::collections::HashSet;
use std::os::unix::fs::PermissionsExt as _;

use serde_json::json;
use testkit::{Folder, Refusing, Server, failure_of};

use super::{Operator, in_turn, json, until};
use crate::support::{BINARY, before, start};

#[test]
fn one_connection_is_shown_everything_and_nothing_of_it_may_be_kept_or_framed() {
    let server = Server::named("app");
    let tidegate = before(&server);
    let mut operator = Operator::of(&tidegate);
    for (target, kind) in [
        ("/", "text/html; charset=utf-8"),
        ("/?from=bookmark", "text/html; charset=utf-8"),
        ("/metrics", "text/plain; version=0.0.4; charset=utf-8"),
        ("/healthz", "text/plain; charset=utf-8"),
        ("/readyz", "text/plain; charset=utf-8"),
        ("/api/status", "application/json"),
        ("/api/config", "application/json"),
        ("/api/listeners", "application/json"),
        ("/api/pools", "application/json"),
        ("/api/pools/app", "application/json"),
    ] {
        let response = operator.get(target);
        assert_eq!((response.status, response.fields.value("content-type")), (200, Some(kind)), "{target}");
        for (name, value) in [
            ("cache-control", "no-store"),
            ("x-content-type-options", "nosniff"),
            ("x-frame-options", "DENY"),
            ("cross-origin-resource-policy", "same-origin"),
        ] {
            assert_eq!(response.fields.value(name), Some(value), "{target}");
        }
        assert!(!response.fields.has("connection") && response.fields.has("date"), "{target}");
        operator.client.send(operator.request("HEAD", target, "", ""));
        let head = operator.client.response_to_head();
        assert_eq!((head.status, head.fields.value("content-type")), (200, Some(kind)), "HEAD {target}");
        assert!(head.fields.has("content-length") && head.body.is_empty(), "HEAD {target}");
    }
}

#[test]
fn the_page_runs_only_what_carries_its_nonce() {
    let server = Server::named("app");
    let tidegate = before(&server);
    let mut operator = Operator::of(&tidegate);
    let mut nonces = HashSet::new();
    for _ in 0..3 {
        let page = operator.get("/");
        let policy = page.fields.value("content-security-policy").expect("a policy").to_owned();
        let nonce =
            policy.split("script-src 'nonce-").nth(1).and_then(|rest| rest.split('\'').next()).expect("a nonce");
        assert!(policy.starts_with("default-src 'none'; ") && !policy.contains("unsafe"), "{policy}");
        assert!(page.text().contains(&format!("<script nonce=\"{nonce}\">")), "{nonce}");
        assert!(nonces.insert(nonce.to_owned()), "a nonce was used twice: {nonce}");
    }
}

#[test]
fn the_process_is_shown() {
    let server = Server::named("app");
    let tidegate = before(&server);
    let _held = tidegate.client().get("/");
    let status = json(&tidegate.admin("/api/status"));
    assert_eq!((&status["pid"], &status["ready"]), (&json!(tidegate.pid()), &json!(true)));
    assert_eq!((&status["config"]["generation"], &status["config"]["source"]), (&json!(1), &json!("file")));
    assert!(status["config"]["name"].as_str().is_some_and(|name| name.ends_with("tidegate.yaml")), "{status}");
    assert!(status["memory_bytes"].as_u64() > Some(1_000_000) && status["open_fds"].as_u64() > Some(5), "{status}");
    assert_eq!(status["workers"].as_array().map(Vec::len), Some(2));
    assert!(status["version"].is_string() && status["uptime_seconds"].is_u64(), "{status}");
}

#[test]
fn listeners_and_routes_count_what_they_served() {
    let server = Server::named("app");
    let tidegate = start(
        "listeners:
  web:
    bind: 127.0.0.1:0
    routes:
      - { name: shop, match: { path: /shop/* }, to: app }
      - { name: old, match: { path: /old }, redirect: /new }
      - { name: no, match: { path: /no }, deny: 403 }
pools: { app: [@APP] }
",
        &[("APP", &server)],
    );
    let mut client = tidegate.client();
    for target in ["/shop/1", "/shop/2", "/old", "/no", "/nowhere"] {
        client.get(target);
    }
    let mut operator = Operator::of(&tidegate);
    let listeners = until(&mut operator, "/api/listeners", |listeners| {
        let routes = listeners[0]["routes"].as_array().expect("routes").iter();
        routes.filter_map(|route| route["requests"]["total"].as_u64()).sum::<u64>() == 5
    });
    let web = &listeners[0];
    assert_eq!((&web["name"], &web["addresses"]), (&json!("web"), &json!([tidegate.address("web")])));
    assert_eq!((&web["connections"]["active"], &web["connections"]["accepted"]), (&json!(1), &json!(1)));
    let route = |name: &str| {
        let mut routes = web["routes"].as_array().expect("routes").iter();
        routes.find(|route| route["name"] == name).cloned().expect("a route")
    };
    let shop = route("shop");
    assert_eq!((&shop["to"], &shop["requests"]["2xx"], &shop["faults"]), (&json!("app"), &json!(2), &json!([])));
    assert!(shop["p50_us"].as_u64() > Some(0) && shop["p99_us"].as_u64() >= shop["p50_us"].as_u64(), "{shop}");
    assert_eq!((&route("old")["to"], &route("old")["requests"]["3xx"]), (&json!("redirect 308"), &json!(1)));
    assert_eq!(route("no")["faults"], json!([{ "side": "client", "code": "denied", "count": 1 }]));
    assert_eq!((&route("")["to"], &route("")["requests"]["4xx"]), (&json!("no route"), &json!(1)));
}

#[test]
fn pools_and_servers_are_shown_by_name_whatever_is_in_it() {
    let folder = Folder::new();
    let path = folder.path().join("app.sock");
    let server = Server::unix(&path, |peer| {
        while peer.request().is_some() {
            peer.send(testkit::ok("unix"));
        }
    });
    let tidegate = start(
        "listeners: { web: { bind: 127.0.0.1:0, to: app } }\npools: { app: { servers: [\"@APP\"], queue: { length: 7 } } }\n",
        &[("APP", &server)],
    );
    assert_eq!(tidegate.client().get("/").text(), "unix");
    let pool = json(&tidegate.admin("/api/pools/app"));
    assert_eq!((&pool["name"], &pool["balance"]), (&json!("app"), &json!("least_requests")));
    assert_eq!(pool["queue"], json!({ "waiting": 0, "length": 7 }));
    assert_eq!(json(&tidegate.admin("/api/pools"))[0]["name"], "app");
    let name = format!("unix:{}", path.display());
    assert_eq!(pool["servers"][0]["name"], name.as_str());
    let encoded = name.replace(':', "%3a").replace('/', "%2F");
    let mut operator = Operator::of(&tidegate);
    let target = format!("/api/pools/%61pp/servers/{encoded}");
    let server = until(&mut operator, &target, |server| server["addresses"][0]["requests"]["total"] == 1);
    let address = &server["addresses"][0];
    assert_eq!((&address["address"], &address["state"]), (&json!(name), &json!("up")));
    assert_eq!((&address["connections"], &address["in_flight"]), (&json!(1), &json!(0)));
    assert_eq!((&address["requests"]["2xx"], &address["weight"]), (&json!(1), &json!(1)));
}

#[test]
fn a_server_that_refuses_connections_is_shown_as_down() {
    let refusing = Refusing::new();
    let tidegate =
        start("listeners: { web: { bind: 127.0.0.1:0, to: app } }\npools: { app: [@APP] }\n", &[("APP", &refusing)]);
    let mut client = tidegate.client();
    assert_eq!(client.get("/").status, 502);
    let pool = json(&tidegate.admin("/api/pools/app"));
    assert_eq!(pool["servers"][0]["addresses"][0]["state"], "paused");
}

#[test]
fn metrics_are_valid_and_say_each_thing_once() {
    let (one, other) = (Server::named("one"), Server::named("other"));
    let tidegate = in_turn(&one, &other);
    let mut client = tidegate.client();
    for _ in 0..6 {
        client.get("/");
    }
    until(&mut Operator::of(&tidegate), "/api/listeners", |listeners| {
        listeners[0]["routes"][0]["requests"]["total"] == 6
    });
    let page = tidegate.admin("/metrics").text();
    let mut series = HashSet::new();
    for line in page.lines() {
        if let Some(comment) = line.strip_prefix("# ") {
            assert!(comment.starts_with("HELP ") || comment.starts_with("TYPE "), "{line}");
            continue;
        }
        let (name, value) = line.rsplit_once(' ').expect("a name and a value");
        assert!(value.parse::<f64>().is_ok(), "{line}");
        assert!(name.starts_with("tidegate_") || name.starts_with("process_"), "{line}");
        assert!(series.insert(name), "twice: {line}");
    }
    let requests =
        tidegate.metric("tidegate_requests_total", &["listener=\"web\"", "route=\"all\"", "code_class=\"2xx\""]);
    assert_eq!(requests, [6.0]);
    for name in ["one", "other"] {
        let labels = ["pool=\"app\"", &format!("server=\"{name}\""), "code_class=\"2xx\""];
        assert_eq!(tidegate.metric("tidegate_server_requests_total", &labels), [3.0], "{name}");
    }
    assert_eq!(tidegate.metric("tidegate_connections", &["listener=\"web\""]), [1.0]);
    assert_eq!(tidegate.metric("tidegate_config_generation", &[]), [1.0]);
    assert!(tidegate.metric("process_resident_memory_bytes", &[])[0] > 1e6);
}

#[test]
fn readiness_ends_at_once_and_life_does_not() {
    let server = Server::named("app");
    let mut tidegate = start(
        "listeners: { web: { bind: 127.0.0.1:0, to: app } }\npools: { app: [@APP] }\nshutdown: { delay: 2s }\n",
        &[("APP", &server)],
    );
    assert_eq!((tidegate.admin("/readyz").status, tidegate.admin("/readyz").text().as_str()), (200, "ready\n"));
    tidegate.terminate();
    tidegate.message("draining: ");
    let ready = tidegate.admin("/readyz");
    assert_eq!((ready.status, ready.text().as_str()), (503, "draining\n"));
    assert_eq!(tidegate.admin("/healthz").status, 200);
    assert_eq!(json(&tidegate.admin("/api/status"))["ready"], false);
    // The delay is there so that a balancer can look away: until then requests are served.
    assert_eq!(tidegate.client().get("/").text(), "app");
    assert!(tidegate.wait().success());
}

#[test]
fn an_operator_never_speaks_to_two_processes() {
    let server = Server::named("app");
    let tidegate = before(&server);
    let taken = tidegate.ready()["admin"].as_str().expect("an admin address");
    let (code, said) =
        failure_of(BINARY, &format!("admin: {taken}\nlisteners: {{ web: {{ bind: 127.0.0.1:0, deny: 403 }} }}\n"));
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains(&format!("cannot bind admin: {taken}: ")), "{said}");
}

#[test]
fn a_unix_socket_is_the_owners_alone_and_goes_with_the_process() {
    let (server, folder) = (Server::named("app"), Folder::new());
    let path = folder.path().join("admin.sock");
    let mut tidegate = start(
        &format!(
            "admin: unix:{}\nlisteners: {{ web: {{ bind: 127.0.0.1:0, to: app }} }}\npools: {{ app: [@APP] }}\n",
            path.display()
        ),
        &[("APP", &server)],
    );
    let mode = std::fs::metadata(&path).expect("a socket").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let mut operator = Operator::of(&tidegate);
    assert_eq!(operator.get("/healthz").status, 200);
    let name = server.address();
    assert_eq!(operator.put(&format!("/api/pools/app/servers/{name}"), "", r#"{"drain": true}"#).status, 200);
    let user = owner(&path);
    tidegate.message(&format!("drain true (by user {user}, process {})", std::process::id()));
    tidegate.terminate();
    assert!(tidegate.wait().success());
    assert!(!path.exists());
}

fn owner(path: &std::path::Path) -> u32 {
    use std::os::unix::fs::MetadataExt as _;
    std::fs::metadata(path).expect("a socket").uid()
}
