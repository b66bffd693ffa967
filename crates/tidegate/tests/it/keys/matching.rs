//! What routes match: one route that is found or not, for each key.

use testkit::{Reloaded, Tidegate};

use super::Case;
use crate::support::{config, get, post, start};

pub(super) const CASES: &[Case] = &[
    (&["listeners.*.routes.*.match.host"], host),
    (&["listeners.*.routes.*.match.path"], path),
    (&["listeners.*.routes.*.match.method"], method),
    (&["listeners.*.routes.*.match.header"], header),
    (&["listeners.*.routes.*.match.cookie"], cookie),
    (&["listeners.*.routes.*.match.query"], query),
    (&["listeners.*.routes.*.match.client"], client),
    (&["listeners.*.routes.*.match.kind"], kind),
    (&["listeners.*.routes.*.match.grpc", "listeners.*.routes.*.match.grpc.service"], service),
    (&["listeners.*.routes.*.match.grpc.method"], grpc_method),
    (&["listeners.*.routes.*.match.port"], port),
    (&["listeners.*.routes.*.match.any"], any),
    (&["listeners.*.routes.*.match.not"], not),
    (&["pools.*.health.body.*.exact"], exact),
    (&["pools.*.health.body.*.prefix"], prefix),
    (&["pools.*.health.body.*.suffix"], suffix),
    (&["pools.*.health.body.*.contains"], contains),
    (&["pools.*.health.body.*.regex"], regex),
    (&["pools.*.health.body.*.present"], present),
    (&["pools.*.health.body.*.absent"], absent),
    (&["pools.*.health.body.*.case"], case),
    (&["listeners.*.routes.*.match.body", "listeners.*.routes.*.match.body.json"], json),
    (&["listeners.*.routes.*.match.body.form"], form),
    (&["listeners.*.routes.*.match.body.text"], text),
    (&["listeners.*.routes.*.match.body.limit", "listeners.*.routes.*.match.body.over_limit"], limit),
];

/// A route that matches and one for the rest.
fn document(matches: &str) -> String {
    format!(
        "listeners: {{ web: {{ bind: 127.0.0.1:0, forwarding: {{ trust: 127.0.0.0/8 }}, \
         routes: [{{ match: {{ {matches} }}, respond: 299 }}, {{ respond: 200 }}] }} }}\n"
    )
}

/// The route with this `match` is found by some requests and not by others.
fn assert_matches(matches: &str, found: &[String], not_found: &[String]) {
    let tidegate = start(&document(matches), &[]);
    for (requests, status) in [(found, 299), (not_found, 200)] {
        for request in requests {
            assert_eq!(tidegate.client().ask(request).status, status, "{matches}: {request}");
        }
    }
}

/// Requests with one of these lines each.
fn with(lines: &[&str]) -> Vec<String> {
    lines.iter().map(|line| get("/", &format!("{line}\r\n"))).collect()
}

fn targets(targets: &[&str]) -> Vec<String> {
    targets.iter().map(|target| get(target, "")).collect()
}

fn hosts(hosts: &[&str]) -> Vec<String> {
    hosts.iter().map(|host| format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n")).collect()
}

fn bodies(bodies: &[&str]) -> Vec<String> {
    bodies.iter().map(|body| post("/", body)).collect()
}

fn host() {
    assert_matches(
        "host: [a.example, \"*.b.example\"]",
        &hosts(&["a.example", "A.Example:81", "x.b.example", "x.y.b.example"]),
        &hosts(&["b.example", "x.a.example", "c.example"]),
    );
}

fn path() {
    let (found, not_found) = (["/a", "/b", "/b/", "/b/c?d", "/x/../a", "/%61", "/d7"], ["/", "/a/", "/bc", "/d"]);
    assert_matches("path: [/a, /b/*, '~^/d[0-9]$']", &targets(&found), &targets(&not_found));
}

fn method() {
    let put = "PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n".to_owned();
    let lower = "put / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n".to_owned();
    assert_matches("method: [PUT, DELETE]", &[put], &[get("/", ""), lower]);
}

fn header() {
    let (found, not_found) = (["X-A: 1", "X-A: 2\r\nx-a: 1"], ["X-A: 2", "X-A: 11", "X-B: 1"]);
    assert_matches("header: { x-a: \"1\" }", &with(&found), &with(&not_found));
}

fn cookie() {
    let (found, not_found) = (["Cookie: ring=qa", "Cookie: a=b; ring=dev"], ["Cookie: ring=prod", "Ring: qa"]);
    assert_matches("cookie: { ring: [qa, dev] }", &with(&found), &with(&not_found));
}

fn query() {
    let (found, not_found) = (["/?engine=next", "/?a&engine=ne%78t"], ["/", "/?engine=old", "/?Engine=next"]);
    assert_matches("query: { engine: next }", &targets(&found), &targets(&not_found));
}

/// The client is the one that a trusted peer names.
fn client() {
    let (found, not_found) = (["X-Forwarded-For: 192.0.2.7"], ["X-Forwarded-For: 192.0.3.7", "A: b"]);
    assert_matches("client: [192.0.2.0/24]", &with(&found), &with(&not_found));
}

fn kind() {
    let websocket = with(&["Connection: Upgrade\r\nUpgrade: websocket"]);
    let http = with(&["A: b"]);
    assert_matches("kind: websocket", &websocket, &http);
    assert_matches("kind: http", &http, &websocket);
    assert_matches("kind: grpc", &[call("/a.B/C")], &[post("/a.B/C", "")]);
    assert_matches("kind: http", &http, &[call("/a.B/C")]);
}

fn call(path: &str) -> String {
    post(path, "").replace("Content-Length", "Content-Type: application/grpc\r\nContent-Length")
}

fn service() {
    let found = [call("/a.B/C"), call("/c.X/C")];
    assert_matches("grpc: { service: [a.B, ~^c] }", &found, &[call("/b.B/C"), post("/a.B/C", "")]);
}

fn grpc_method() {
    assert_matches("grpc: { service: a.B, method: C }", &[call("/a.B/C")], &[call("/a.B/D"), call("/b.B/C")]);
}

/// The port is known only once it is bound.
fn port() {
    let tidegate = start(&document("port: 1"), &[]);
    let status = |tidegate: &Tidegate| tidegate.client().get("/").status;
    assert_eq!(status(&tidegate), 200);
    let address = tidegate.address("web");
    let port = address.rsplit(':').next().expect("a port");
    assert_eq!(tidegate.reload(&config(&document(&format!("port: [1, {port}]")), &[])), Reloaded::Yes);
    assert_eq!(status(&tidegate), 299);
}

fn any() {
    assert_matches(
        "any: [{ path: /a }, { header: { x-a: b } }]",
        &[get("/a", ""), get("/", "X-A: b\r\n")],
        &[get("/", "X-A: c\r\n")],
    );
}

fn not() {
    assert_matches("path: /a/*, not: { path: /a/b }", &targets(&["/a", "/a/c"]), &targets(&["/a/b", "/b"]));
}

/// A test of the header `x-a`.
fn assert_value(test: &str, found: &[&str], not_found: &[&str]) {
    assert_matches(&format!("header: {{ x-a: {test} }}"), &with(found), &with(not_found));
}

fn exact() {
    assert_value("{ exact: \"~b\" }", &["X-A: ~b"], &["X-A: b", "X-A: ~bc"]);
}

fn prefix() {
    assert_value("{ prefix: b }", &["X-A: b", "X-A: bc"], &["X-A: cb", "X-A: B"]);
}

fn suffix() {
    assert_value("{ suffix: b }", &["X-A: b", "X-A: cb"], &["X-A: bc"]);
}

fn contains() {
    assert_value("{ contains: b }", &["X-A: b", "X-A: abc"], &["X-A: ac"]);
}

fn regex() {
    assert_value("{ regex: \"b+c\" }", &["X-A: abbcd"], &["X-A: acb", "X-A: b+c"]);
}

fn present() {
    assert_value("{ present: true }", &["X-A: b", "X-A:"], &["X-B: b"]);
    assert_value("{ present: false }", &["X-B: b"], &["X-A: b"]);
}

fn absent() {
    assert_value("{ absent: true }", &["X-B: b"], &["X-A: b"]);
}

fn case() {
    assert_value("{ exact: Abc, case: ignore }", &["X-A: aBC", "X-A: abc"], &["X-A: ab"]);
    assert_value("{ prefix: Abc, case: ignore }", &["X-A: aBCd"], &["X-A: ab"]);
}

fn json() {
    assert_matches(
        "body: { json: { $.customer.tier: gold, \"$.items[1]\": \"2\" } }",
        &bodies(&[r#"{"customer":{"tier":"gold"},"items":[1,2]}"#]),
        &bodies(&[r#"{"customer":{"tier":"tin"},"items":[1,2]}"#, r#"{"customer":{"tier":"gold"}}"#, "gold", ""]),
    );
}

fn form() {
    let form = |body: &str| {
        let length = body.len();
        format!(
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: {length}\r\n\r\n{body}"
        )
    };
    assert_matches("body: { form: { tier: gold } }", &[form("a=b&tier=g%6Fld")], &[form("tier=tin"), form("gold")]);
}

fn text() {
    assert_matches("body: { text: \"~go+ld\" }", &bodies(&["all that is goold"]), &bodies(&["all that glitters"]));
}

fn limit() {
    assert_matches("body: { text: { prefix: a }, limit: 4B }", &bodies(&["abcd"]), &bodies(&["abcde"]));
    let tidegate = start(&document("body: { text: { prefix: a }, limit: 4B, over_limit: reject }"), &[]);
    assert_eq!(tidegate.client().ask(post("/", "abcd")).status, 299);
    assert_eq!(tidegate.client().ask(post("/", "abcde")).status, 413);
}
