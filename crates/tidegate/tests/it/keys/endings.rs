//! Where requests end and which route leads there: the keys of sites and routes, and the endings of all three levels.

use std::io::{ErrorKind, Read as _};
use std::net::TcpStream;

use testkit::{Client, PATIENCE, Response, Server, Tidegate};

use super::{Case, fate};
use crate::support::{Place, get, start};

pub(super) const CASES: &[Case] = &[
    (&["sites", "sites.*.hosts", "listeners.*.routes"], hosts),
    (&["sites.*.listeners"], listeners_of_a_site),
    (&["sites.*.routes", "listeners.*.routes.*.routes", "listeners.*.routes.*.match"], nested),
    (&["listeners.*.routes.*.name"], name),
    (&["listeners.*.to", "sites.*.to", "listeners.*.routes.*.to"], to),
    (
        &[
            "listeners.*.split",
            "sites.*.split",
            "listeners.*.routes.*.split",
            "listeners.*.split.*.to",
            "listeners.*.split.*.share",
        ],
        split,
    ),
    (
        &["listeners.*.redirect", "sites.*.redirect", "listeners.*.routes.*.redirect", "listeners.*.redirect.location"],
        redirect,
    ),
    (&["listeners.*.redirect.scheme"], scheme),
    (&["listeners.*.redirect.host"], host),
    (&["listeners.*.redirect.port"], port),
    (&["listeners.*.redirect.status"], redirect_status),
    (
        &["listeners.*.respond", "sites.*.respond", "listeners.*.routes.*.respond", "listeners.*.respond.status"],
        respond,
    ),
    (&["listeners.*.respond.body"], respond_body),
    (&["listeners.*.respond.headers"], respond_headers),
    (&["listeners.*.deny", "sites.*.deny", "listeners.*.routes.*.deny", "listeners.*.deny.status"], deny),
    (&["listeners.*.deny.reason"], reason),
    (&["listeners.*.deny.contact"], contact),
    (&["listeners.*.deny.flow"], deny_flow),
];

/// Starts the program with these keys of a listener, of a site and of a route, one after the other.
pub(super) fn each(keys: &str, servers: &[(&str, &dyn Place)], pools: &str, check: impl Fn(&Tidegate)) {
    for web in [
        format!("listeners: {{ web: {{ bind: 127.0.0.1:0, {keys} }} }}"),
        format!(
            "listeners: {{ web: {{ bind: 127.0.0.1:0 }} }}\nsites: {{ s: {{ hosts: default, listeners: web, {keys} }} }}"
        ),
        format!("listeners: {{ web: {{ bind: 127.0.0.1:0, routes: [{{ {keys} }}] }} }}"),
    ] {
        check(&start(&format!("{web}\n{pools}"), servers));
    }
}

/// The response of a listener that has only this ending.
fn answer(ending: &str, target: &str) -> Response {
    start(&format!("listeners: {{ web: {{ bind: 127.0.0.1:0, {ending} }} }}\n"), &[]).client().get(target)
}

/// Asks for a host.
fn status_at(tidegate: &Tidegate, host: &str) -> u16 {
    tidegate.client().ask(format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n")).status
}

fn hosts() {
    let text = "
listeners: { web: { bind: 127.0.0.1:0 } }
sites:
  any:   { hosts: default, listeners: web, respond: 201 }
  wide:  { hosts: \"*.example.com\", listeners: web, respond: 202 }
  wider: { hosts: \"*.com\", listeners: web, respond: 203 }
  exact: { hosts: [a.example.com, b.example.com], listeners: web, routes: [{ respond: 204 }] }
";
    let tidegate = start(text, &[]);
    for (host, status) in [
        ("a.example.com", 204),
        ("B.EXAMPLE.COM.:80", 204),
        ("c.example.com", 202),
        ("x.y.example.com", 202),
        ("example.com", 203),
        ("example.org", 201),
    ] {
        assert_eq!(status_at(&tidegate, host), status, "{host}");
    }
}

fn listeners_of_a_site() {
    let text = "
listeners: { web: { bind: 127.0.0.1:0 }, other: { bind: 127.0.0.1:0 }, third: { bind: 127.0.0.1:0 } }
sites:
  one: { hosts: default, listeners: [web, other], respond: 201 }
  two: { hosts: default, listeners: third, respond: 202 }
";
    let tidegate = start(text, &[]);
    for (listener, status) in [("web", 201), ("other", 201), ("third", 202)] {
        assert_eq!(Client::connect(&tidegate.address(listener)).get("/").status, status, "{listener}");
    }
}

/// A block matches when it and one of its own match, and ends there.
fn nested() {
    let routes =
        "routes: [{ match: { path: /a/* }, routes: [{ match: { path: /a/b }, respond: 201 }] }, { respond: 202 }]";
    let listener = format!("listeners: {{ web: {{ bind: 127.0.0.1:0, {routes} }} }}\n");
    let site = format!(
        "listeners: {{ web: {{ bind: 127.0.0.1:0 }} }}\nsites: {{ s: {{ hosts: default, listeners: web, {routes} }} }}\n"
    );
    for text in [listener, site] {
        let tidegate = start(&text, &[]);
        for (path, status) in [("/a/b", 201), ("/a/c", 404), ("/b", 202)] {
            assert_eq!(tidegate.client().get(path).status, status, "{path}");
        }
    }
}

fn name() {
    let tidegate = start("listeners: { web: { bind: 127.0.0.1:0, routes: [{ name: front, respond: 200 }] } }\n", &[]);
    tidegate.client().get("/a");
    assert_eq!(tidegate.log_of("/a")["route"], "front");
    assert!(tidegate.admin("/metrics").text().contains("route=\"front\""));
}

fn to() {
    let server = Server::named("app");
    let literal = format!("to: \"{}\"", server.address());
    each("to: app", &[("APP", &server)], "pools: { app: [@APP] }\n", |tidegate| {
        assert_eq!(tidegate.client().get("/a").text(), "app");
        assert_eq!(tidegate.log_of("/a")["pool"], "app");
    });
    each(&literal, &[], "", |tidegate| assert_eq!(tidegate.client().get("/a").text(), "app"));
}

fn split() {
    let (one, two) = (Server::named("one"), Server::named("two"));
    let servers: [(&str, &dyn Place); 2] = [("ONE", &one), ("TWO", &two)];
    let pools = "pools: { a: [@ONE], b: [@TWO] }\n";
    // A share of everything leaves nothing to chance.
    for (shares, expected) in [(["100%", "0%"], "one"), (["0%", "100%"], "two")] {
        let keys = format!("split: [{{ to: a, share: {} }}, {{ to: b, share: {} }}]", shares[0], shares[1]);
        each(&keys, &servers, pools, |tidegate| {
            let mut client = tidegate.client();
            assert!((0..20).all(|_| client.get("/").text() == expected));
        });
    }
    // All of so many on one side: less likely than a wrong machine.
    each("split: [{ to: a, share: 50% }, { to: b, share: 50% }]", &servers, pools, |tidegate| {
        let mut client = tidegate.client();
        let ones = (0..100).filter(|_| client.get("/").text() == "one").count();
        assert!((1..100).contains(&ones), "{ones}");
    });
}

fn redirect() {
    each("redirect: { location: /new }", &[], "", |tidegate| {
        let response = tidegate.client().get("/old?a=b");
        assert_eq!((response.status, response.fields.value("location")), (308, Some("/new?a=b")));
    });
}

/// Where a request for `http://test.example:8080/a?b` is sent.
fn place(redirect: &str) -> String {
    let text = format!("listeners: {{ web: {{ bind: 127.0.0.1:0, redirect: {redirect} }} }}\n");
    let response = start(&text, &[]).client().ask("GET /a?b HTTP/1.1\r\nHost: test.example:8080\r\n\r\n");
    response.fields.value("location").expect("a place").to_owned()
}

fn scheme() {
    assert_eq!(place("{ scheme: https }"), "https://test.example/a?b");
}

fn host() {
    assert_eq!(place("{ host: new.example }"), "http://new.example/a?b");
}

fn port() {
    assert_eq!(place("{ port: 8443 }"), "http://test.example:8443/a?b");
    assert_eq!(place("{ scheme: https, port: 8443 }"), "https://test.example:8443/a?b");
}

fn redirect_status() {
    for status in [301, 302, 303, 307] {
        assert_eq!(answer(&format!("redirect: {{ location: /, status: {status} }}"), "/a").status, status);
    }
}

fn respond() {
    each("respond: { status: 299 }", &[], "", |tidegate| assert_eq!(tidegate.client().get("/").status, 299));
}

fn respond_body() {
    let response = answer("respond: { body: \"here\\n\" }", "/");
    assert_eq!((response.status, response.text().as_str()), (200, "here\n"));
    assert_eq!(response.fields.value("content-type"), Some("text/plain; charset=utf-8"));
}

fn respond_headers() {
    let response = answer("respond: { body: \"{}\", headers: { Content-Type: application/json, x-a: b } }", "/");
    assert_eq!(response.fields.value("content-type"), Some("application/json"));
    assert_eq!(response.fields.value("x-a"), Some("b"));
}

fn deny() {
    each("deny: { status: 451 }", &[], "", |tidegate| {
        assert_eq!(fate(tidegate, "/a"), (451, "denied".to_owned()));
    });
}

fn reason() {
    let text = "listeners: { web: { bind: 127.0.0.1:0, deny: { reason: not on mondays } } }\n";
    let tidegate = start(text, &[]);
    let response = tidegate.client().ask(get("/a", ""));
    assert_eq!((response.status, response.text().as_str()), (403, "403: not on mondays\n"));
}

fn contact() {
    let text = "listeners: { web: { bind: 127.0.0.1:0, deny: { reason: not on mondays, contact: room 7 } } }\n";
    let response = start(text, &[]).client().ask(get("/a", ""));
    assert_eq!(response.text(), "403: not on mondays; ask room 7\n");
}

fn deny_flow() {
    for (word, ended) in [
        ("close", Ok(0)),
        ("reset", Err(ErrorKind::ConnectionReset)),
        ("{ flow: reset }", Err(ErrorKind::ConnectionReset)),
    ] {
        let tidegate = start(&format!("listeners: {{ web: {{ bind: 127.0.0.1:0, role: tcp, deny: {word} }} }}\n"), &[]);
        let mut flow = TcpStream::connect(tidegate.address("web")).expect("a connection");
        flow.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        assert_eq!(flow.read(&mut [0; 1]).map_err(|error| error.kind()), ended, "{word}");
    }
}
