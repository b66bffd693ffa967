//! Rules that ask for users and groups, and servers that are told.

use testkit::{Response, Server, Tidegate, failure_of};

use super::{Files, basic};
use crate::forward::{OPEN, port};
use crate::support::{BINARY, config, get, until_shown};

const RULES: &str = "
listeners:
  web:
    bind: 127.0.0.1:0
    use: [{ basic_auth: { users: '@DIR/people', groups: @GROUPS } }]
    routes:
      - { match: { path: /own, user: [ann, '~^b'] }, respond: { body: 'ann or bob' } }
      - { match: { path: /admin, group: admins }, respond: { body: admin } }
      - { match: { path: /staff, group: [staff, nobody] }, respond: { body: staff } }
      - { match: { path: /rest, not: { group: staff } }, respond: { body: rest } }
      - { match: { path: /none, group: { absent: true } }, respond: { body: none } }
";

fn ask(tidegate: &Tidegate, path: &str, pair: &str) -> Response {
    tidegate.client().ask(get(path, &format!("Authorization: {}\r\n", basic(pair))))
}

/// Who is answered at this path.
fn whom(tidegate: &Tidegate, path: &str) -> Vec<&'static str> {
    let people = [("ann", "ann:sesame"), ("bob", "bob:bob"), ("cy", "cy:sha")];
    people.into_iter().filter(|(_, pair)| ask(tidegate, path, pair).status == 200).map(|(name, _)| name).collect()
}

#[test]
pub(crate) fn rules_ask_for_users_and_groups_by_a_map_or_a_file_that_is_watched() {
    let files = Files::new();
    for groups in ["{ staff: [ann, bob], admins: ann, nobody: dan }", "'@DIR/groups'"] {
        let tidegate = files.start(&RULES.replace("@GROUPS", groups), &[]);
        assert_eq!(whom(&tidegate, "/own"), ["ann", "bob"]);
        assert_eq!(whom(&tidegate, "/admin"), ["ann"]);
        assert_eq!(whom(&tidegate, "/staff"), ["ann", "bob"]);
        assert_eq!(whom(&tidegate, "/rest"), ["cy"]);
        assert_eq!(whom(&tidegate, "/none"), ["cy"]);
        assert_eq!(tidegate.client().get("/rest").status, 401, "who shows nothing is asked first");
    }
    let tidegate = files.start(&RULES.replace("@GROUPS", "'@DIR/groups'"), &[]);
    files.0.replace("groups", "admins: cy\n");
    until_shown(&tidegate, "/api/status", |shown| shown["config"]["generation"] == 2);
    assert_eq!(whom(&tidegate, "/admin"), ["cy"]);
    files.0.replace("groups", "no colon\n");
    let said = tidegate.message("groups:1:1");
    assert!(said.contains("no name of a group before a colon"), "{said}");
    assert_eq!(whom(&tidegate, "/admin"), ["cy"]);
}

#[test]
fn tunnels_are_routed_by_their_user() {
    let (files, server) = (Files::new(), Server::named("one"));
    let more = "use: [{ basic_auth: { users: '@DIR/people', groups: '@DIR/groups' } }]\n    \
                routes: [{ match: { kind: tunnel, not: { group: admins } }, deny: 403 }, { to: origin }]";
    let tidegate = files.start(&OPEN.replace("@MORE", more), &[]);
    let status = |pair: &str| {
        let to = format!("a.test:{}", port(&server));
        let fields = format!("Proxy-Authorization: {}\r\n", basic(pair));
        let mut client = tidegate.client();
        client.send(format!("CONNECT {to} HTTP/1.1\r\nHost: {to}\r\n{fields}\r\n"));
        client.head().status
    };
    assert_eq!([status("ann:sesame"), status("bob:bob"), status("ann:x")], [200, 403, 407]);
}

#[test]
fn a_pool_may_go_by_the_user() {
    let files = Files::new();
    let servers: Vec<Server> = ["one", "two", "three", "four"].map(Server::named).into();
    let text = "
listeners:
  web: { bind: 127.0.0.1:0, use: [{ basic_auth: { users: '@DIR/people' } }], to: app }
pools: { app: { servers: [@ONE, @TWO, @THREE, @FOUR], balance: { algorithm: maglev, hash: [user] } } }
";
    let places: Vec<(&str, &dyn crate::support::Place)> =
        ["ONE", "TWO", "THREE", "FOUR"].into_iter().zip(servers.iter().map(|server| server as _)).collect();
    let tidegate = files.start(text, &places);
    for pair in ["ann:sesame", "bob:bob", "cy:sha"] {
        let first = ask(&tidegate, "/", pair).text();
        assert!((0..8).all(|_| ask(&tidegate, "/", pair).text() == first), "{pair}");
    }
}

#[test]
fn servers_are_told_and_nobody_else_can_tell_them() {
    let (files, server) = (Files::new(), Server::named("app"));
    let text = "
listeners:
  web:
    bind: 127.0.0.1:0
    use: [{ basic_auth: { users: '@DIR/people', groups: '@DIR/groups' } }]
    routes:
      - match: { path: /told }
        use: [{ headers: { request: { set: { x-user: '${user}', x-groups: '${group}' } } } }]
        to: app
      - { to: app }
  open: { bind: 127.0.0.1:0, to: app }
pools: { app: [@APP] }
";
    let tidegate = files.start(text, &[("APP", &server)]);
    let forged = "X-User: root\r\nx_user: root\r\nX-Groups: wheel\r\nX-Other: kept\r\n";
    let shown = format!("Authorization: {}\r\n{forged}", basic("ann:sesame"));
    assert_eq!(tidegate.client().ask(get("/told", &shown)).status, 200);
    let seen = server.request();
    assert_eq!((seen.fields.values("x-user"), seen.fields.values("x-groups")), (vec!["ann"], vec!["admins,staff"]));
    assert!(!seen.fields.has("x_user") && seen.fields.has("x-other"));
    // Where they are not set, they are not there, whoever asks wherever.
    assert_eq!(tidegate.client().ask(get("/untold", &shown)).status, 200);
    let mut open = testkit::Client::connect(&tidegate.address("open"));
    assert_eq!(open.ask(get("/open", forged)).status, 200);
    for _ in 0..2 {
        let seen = server.request();
        assert!(["x-user", "x_user", "x-groups"].iter().all(|name| !seen.fields.has(name)), "{seen:?}");
        assert!(seen.fields.has("x-other"));
    }
}

#[test]
fn what_could_never_hold_is_refused_at_the_start() {
    let files = Files::new();
    for (listener, wanted) in [
        (
            "bind: 127.0.0.1:0, routes: [{ match: { group: staff }, respond: 200 }]",
            "a route asks for `user` or `group`",
        ),
        ("bind: 127.0.0.1:0, use: [{ cert_auth: {} }], respond: 200", "`cert_auth` lets in nobody"),
        (
            "bind: '0.0.0.0:0', role: forward, routes: [{ to: origin }]",
            "is a forward proxy for anybody who reaches 0.0.0.0:0",
        ),
        (
            "bind: 127.0.0.1:0, use: [{ basic_auth: { users: '@DIR/missing' } }], respond: 200",
            "the file cannot be read: No such file",
        ),
        (
            "bind: 127.0.0.1:0, use: [{ basic_auth: { users: '@DIR' } }], respond: 200",
            "the file cannot be read: it is not a regular file",
        ),
    ] {
        let text = files.placed(&format!("listeners: {{ web: {{ {listener} }} }}\n"));
        let (code, said) = failure_of(BINARY, &config(&text, &[]));
        assert!(code == Some(2) && said.contains(wanted), "{listener}: {code:?} {said}");
    }
    // A forward proxy at any address that asks who its clients are is open to nobody.
    for asks in ["use: [people], to: origin", "routes: [{ use: [people], to: origin }]"] {
        let text = format!(
            "policies: {{ people: [{{ basic_auth: {{ users: '@DIR/people' }} }}] }}\n\
             listeners: {{ web: {{ bind: '0.0.0.0:0', role: forward, {asks} }} }}\n"
        );
        drop(files.start(&text, &[]));
    }
}
