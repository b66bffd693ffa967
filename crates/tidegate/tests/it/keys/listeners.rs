//! The keys that only listeners have.

use std::io::Read as _;
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt as _;

use testkit::datagram::{Answering, Asking};
use testkit::{Client, Ending, Request, Server, Tidegate, h2};

use super::{Case, assert_refused, fault};
use crate::support::{before, before_with, get, seen, start};

pub(super) const CASES: &[Case] = &[
    (&["listeners"], listeners),
    (&["listeners.*.role"], role),
    (&["listeners.*.http"], http),
    (&["listeners.*.bind", "listeners.*.bind.*.address"], bind),
    (&["listeners.*.bind.*.mode"], mode),
    (&["listeners.*.bind.*.accept_proxy", "listeners.*.bind.*.accept_proxy.from"], accept_proxy),
    (&["listeners.*.forwarding", "listeners.*.forwarding.client", "listeners.*.forwarding.trust"], client),
    (&["listeners.*.forwarding.via"], via),
    (&["listeners.*.forwarding.format"], format),
    (&["listeners.*.timeouts", "listeners.*.timeouts.request_head"], request_head),
    (&["listeners.*.timeouts.keep_alive"], keep_alive),
    (&["listeners.*.limits", "listeners.*.limits.request_head"], head_bytes),
    (&["listeners.*.limits.request_line"], line_bytes),
    (&["listeners.*.limits.fields"], fields),
    (&["listeners.*.limits.connections"], connections),
];

/// One listener that answers by itself.
fn alone(keys: &str) -> Tidegate {
    start(&format!("listeners: {{ web: {{ bind: 127.0.0.1:0, respond: 200, {keys} }} }}\n"), &[])
}

fn listeners() {
    let text = "listeners: { web: { bind: 127.0.0.1:0, respond: 201 }, other: { bind: 127.0.0.1:0, respond: 202 } }\n";
    let tidegate = start(text, &[]);
    assert_eq!(tidegate.client().get("/").status, 201);
    assert_eq!(Client::connect(&tidegate.address("other")).get("/").status, 202);
}

fn role() {
    assert_eq!(alone("role: http").client().get("/").status, 200);
    let server = Server::script(|peer| peer.send("not a word of HTTP"));
    let tidegate = start("listeners: { web: { bind: 127.0.0.1:0, role: tcp, to: @APP } }\n", &[("APP", &server)]);
    let mut heard = String::new();
    let mut flow = TcpStream::connect(tidegate.address("web")).expect("a connection");
    flow.read_to_string(&mut heard).expect("all of it");
    assert_eq!(heard, "not a word of HTTP");
    let server = Answering::echo();
    let tidegate = start("listeners: { web: { bind: 127.0.0.1:0, role: udp, to: @APP } }\n", &[("APP", &server)]);
    assert_eq!(Asking::to(&tidegate.address("web")).ask("no word at all"), "no word at all");
    let server = Server::named("asked for");
    let text = "listeners: { web: { bind: 127.0.0.1:0, role: forward, egress: { allow: 127.0.0.1 }, to: origin } }\n";
    let answer = start(text, &[]).client().ask(format!("GET http://{}/ HTTP/1.1\r\nHost: a\r\n\r\n", server.address()));
    assert_eq!(answer.text(), "asked for");
}

fn accept_proxy() {
    let server = Server::named("here");
    let tidegate = start(
        "listeners: { web: { bind: { address: 127.0.0.1:0, accept_proxy: { from: [10.0.0.0/8, 127.0.0.1] } }, to: @APP } }\n",
        &[("APP", &server)],
    );
    let answer = tidegate.client().ask(format!("PROXY TCP6 2001:db8::1 ::1 1 2\r\n{}", get("/", "")));
    assert_eq!(answer.text(), "here");
    assert_eq!(server.request().fields.value("x-forwarded-for"), Some("2001:db8::1"));
}

fn http() {
    assert_eq!(alone("http: h1").client().get("/").status, 200);
    let address = |tidegate: &Tidegate| tidegate.address("web").parse().expect("an address");
    let both = alone("http: [h1, h2]");
    assert_eq!(both.client().get("/").status, 200);
    assert_eq!(h2::Client::connect(address(&both)).get("a", "/", &[]).expect("an answer").status, 200);
    assert_refused(
        "listeners: { web: { bind: 127.0.0.1:0, http: [h1, h3], respond: 200 } }",
        "`h3`, which needs `tls`",
    );
}

fn bind() {
    let binds = "[\"127.0.0.1:0\", \"127.0.0.1:0\", { address: \"unix:web.sock\" }]";
    let tidegate = start(&format!("listeners: {{ web: {{ respond: 200, bind: {binds} }} }}\n"), &[]);
    let addresses = tidegate.ready()["listeners"]["web"].as_array().expect("a list").clone();
    let socket = format!("unix:{}", tidegate.folder.path().join("web.sock").display());
    let mut places: Vec<&str> = addresses.iter().filter_map(|address| address.as_str()).collect();
    places.sort_unstable();
    places.dedup();
    assert!(places.len() == 3 && places[2] == "unix:web.sock", "{places:?}");
    for address in [places[0], places[1], &socket] {
        assert_eq!(Client::connect(address).get("/").status, 200, "{address}");
    }
}

fn mode() {
    let text = "listeners: { web: { respond: 200, bind: { address: \"unix:web.sock\", mode: 0620 } } }\n";
    let tidegate = start(text, &[]);
    let there = std::fs::metadata(tidegate.folder.path().join("web.sock")).expect("a socket");
    assert_eq!(there.permissions().mode() & 0o777, 0o620);
}

/// What the server is told of a client that comes through another proxy.
fn told(forwarding: &str) -> Request {
    let server = Server::named("app");
    let tidegate = before_with(&server, &format!("forwarding: {forwarding}"));
    seen(&tidegate, &server, &get("/", "X-Forwarded-For: 192.0.2.1, 192.0.2.2\r\nVia: 1.1 other\r\n"))
}

fn client() {
    let told_of = |forwarding: &str| told(forwarding).fields.value("x-forwarded-for").map(str::to_owned);
    let is = |list: &str| Some(list.to_owned());
    assert_eq!(told_of("{ client: append }"), is("127.0.0.1"));
    assert_eq!(told_of("{ trust: 127.0.0.0/8 }"), is("192.0.2.1, 192.0.2.2, 127.0.0.1"));
    assert_eq!(told_of("{ client: keep, trust: 127.0.0.0/8 }"), is("192.0.2.1, 192.0.2.2"));
    assert_eq!(told_of("{ client: replace, trust: 127.0.0.0/8 }"), is("192.0.2.2"));
    assert_eq!(told_of("{ client: replace, trust: [127.0.0.0/8, 192.0.2.2/32] }"), is("192.0.2.1"));
    assert_eq!(told_of("{ client: none, trust: 127.0.0.0/8 }"), None);
    assert_eq!(told_of("anonymous"), None);
}

fn via() {
    assert_eq!(told("{ via: true }").fields.values("via").join(", "), "1.1 other, 1.1 tidegate");
    assert_eq!(told("{ via: false }").fields.values("via").join(", "), "1.1 other");
    assert!(!told("elite").fields.has("via"));
    let server = Server::named("app");
    assert!(before(&server).client().get("/").fields.has("via"));
    assert!(!before_with(&server, "forwarding: { via: false }").client().get("/").fields.has("via"));
}

fn format() {
    for (format, old, new) in [("x-forwarded", true, false), ("rfc7239", false, true), ("both", true, true)] {
        let request = told(&format!("{{ format: {format} }}"));
        assert_eq!((request.fields.has("x-forwarded-for"), request.fields.has("forwarded")), (old, new), "{format}");
    }
}

/// A head that began earlier, at a listener without the key, outlives one that began later at a listener with it.
fn request_head() {
    let text = "listeners: { web: { bind: 127.0.0.1:0, respond: 200, timeouts: { request_head: 100ms } }, \
                patient: { bind: 127.0.0.1:0, respond: 200 } }\n";
    let tidegate = start(text, &[]);
    let mut earlier = Client::connect(&tidegate.address("patient"));
    earlier.send("GET / HTTP/1.1\r\n");
    let mut later = tidegate.client();
    assert_eq!(later.ask("GET / HTTP/1.1\r\n").status, 408);
    tidegate.log_line("the late head", |line| line["fault"] == "head_timeout");
    assert_eq!(earlier.ask("Host: a\r\n\r\n").status, 200);
}

/// Without the key it would be longer than a test waits.
fn keep_alive() {
    let tidegate = alone("timeouts: { keep_alive: 100ms }");
    let mut client = tidegate.client();
    assert_eq!(client.get("/").status, 200);
    assert_eq!(client.ending(), Ending::Clean);
}

/// A refusal whose path was never understood.
fn refusal(tidegate: &Tidegate, request: &str, wanted: &str) -> u16 {
    let status = tidegate.client().ask(request).status;
    tidegate.log_line("a refused request", |line| line["fault"] == wanted);
    status
}

fn head_bytes() {
    let tidegate = alone("limits: { request_head: 1KiB }");
    assert_eq!(tidegate.client().ask(get("/", &format!("A: {}\r\n", "a".repeat(500)))).status, 200);
    assert_eq!(refusal(&tidegate, &get("/", &format!("A: {}\r\n", "a".repeat(1024))), "head_too_large"), 431);
}

fn line_bytes() {
    let tidegate = alone("limits: { request_line: 64B }");
    assert_eq!(tidegate.client().get("/").status, 200);
    assert_eq!(refusal(&tidegate, &get(&format!("/{}", "a".repeat(64)), ""), "line_too_long"), 414);
}

fn fields() {
    let tidegate = alone("limits: { fields: 3 }");
    assert_eq!(tidegate.client().ask(get("/", "A: 1\r\nB: 2\r\n")).status, 200);
    assert_eq!(refusal(&tidegate, &get("/", "A: 1\r\nB: 2\r\nC: 3\r\n"), "too_many_fields"), 431);
}

fn connections() {
    let tidegate = alone("limits: { connections: 1 }");
    let mut first = tidegate.client();
    assert_eq!(first.get("/first").status, 200);
    assert_eq!(tidegate.client().response().status, 503);
    assert_eq!(first.get("/second").status, 200);
    assert_eq!(fault(&tidegate, "/second"), "");
}
