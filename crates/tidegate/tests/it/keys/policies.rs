//! Policies: where they are named and used, and what each kind does.

use testkit::{Request, Response, Server};

use super::Case;
use crate::support::{get, start};

pub(super) const CASES: &[Case] = &[
    (&["policies", "policies.*.*.headers", "listeners.*.use", "sites.*.use", "listeners.*.routes.*.use"], uses),
    (&["policies.*.*.headers.request", "policies.*.*.headers.request.set"], set),
    (&["policies.*.*.headers.response"], response),
    (&["policies.*.*.headers.request.remove"], remove),
    (&["policies.*.*.headers.request.add"], add),
    (&["policies.*.*.headers.request.default"], default),
    (&["policies.*.*.grpc_web"], grpc_web),
    (&["policies.*.*.rewrite", "policies.*.*.rewrite.path"], rewrite),
];

/// What the server saw of a request, and the client of the response, with one policy in between.
fn through(policy: &str, request: &str) -> (Request, Response) {
    let server = Server::http(|_| b"HTTP/1.1 200 OK\r\nServer: x\r\nContent-Length: 0\r\n\r\n".to_vec());
    let text = format!(
        "listeners: {{ web: {{ bind: 127.0.0.1:0, routes: [{{ match: {{ path: /a/* }}, use: [{{ {policy} }}], to: app }}] }} }}\n\
         pools: {{ app: [@APP] }}\n"
    );
    let tidegate = start(&text, &[("APP", &server)]);
    let response = tidegate.client().ask(request);
    (server.request(), response)
}

/// The outer level's policy runs first on the request, and last on the response.
fn uses() {
    let text = "
policies:
  one: [{ headers: { request: { add: { x-a: one } }, response: { add: { x-a: one } } } }]
  two: [{ headers: { request: { add: { x-a: two } }, response: { add: { x-a: two } } } }]
  three: [{ headers: { request: { add: { x-a: three } }, response: { add: { x-a: three } } } }]
listeners: { web: { bind: 127.0.0.1:0, use: one } }
sites: { s: { hosts: default, listeners: web, use: [two], routes: [{ use: [three], to: app }] } }
pools: { app: [@APP] }
";
    let server = Server::named("app");
    let response = start(text, &[("APP", &server)]).client().get("/");
    assert_eq!(server.request().fields.values("x-a"), ["one", "two", "three"]);
    assert_eq!(response.fields.values("x-a"), ["three", "two", "one"]);
}

fn set() {
    let policy = "headers: { request: { set: { x-a: \"${client_ip} ${header.x-b}\" } } }";
    let (request, _) = through(policy, &get("/a/", "X-A: old\r\nX-A: older\r\nX-B: b\r\n"));
    assert_eq!(request.fields.values("x-a"), ["127.0.0.1 b"]);
}

fn response() {
    let (request, response) = through("headers: { response: { set: { x-a: new }, remove: server } }", &get("/a/", ""));
    assert_eq!((response.fields.value("x-a"), response.fields.value("server")), (Some("new"), None));
    assert!(!request.fields.has("x-a"));
}

fn remove() {
    let (request, _) =
        through("headers: { request: { remove: [x-a] } }", &get("/a/", "X-A: 1\r\nX-B: 2\r\nx-a: 3\r\n"));
    assert_eq!((request.fields.has("x-a"), request.fields.value("x-b")), (false, Some("2")));
}

fn add() {
    let (request, _) = through("headers: { request: { add: { x-a: new } } }", &get("/a/", "X-A: old\r\n"));
    assert_eq!(request.fields.values("x-a"), ["old", "new"]);
}

fn default() {
    let policy = "headers: { request: { default: { x-a: new, x-b: new } } }";
    let (request, _) = through(policy, &get("/a/", "X-A: old\r\n"));
    assert_eq!((request.fields.values("x-a"), request.fields.values("x-b")), (vec!["old"], vec!["new"]));
}

fn grpc_web() {
    let request = get("/a/b", "Content-Type: application/grpc-web+proto\r\n").replace("GET", "POST");
    let (request, _) = through("grpc_web: {}", &request);
    assert_eq!(request.fields.value("content-type"), Some("application/grpc+proto"));
}

fn rewrite() {
    let (request, _) = through("rewrite: { path: /new/* }", &get("/a/b%2Fc?d", ""));
    assert_eq!(request.target, "/new/b%2Fc?d");
}
