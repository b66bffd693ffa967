//! Mistakes that somebody makes who is new here: each is told with the way out.

use super::{load, mistake, said};

/// A document, and what has to be in the only thing that is said of it.
const MISTAKES: [(&str, &str); 35] = [
    (
        "listeners: { a: { bind: ':1', use: [basic_auth], respond: 200 } }",
        "there is no policy `basic_auth`, a kind is written as a map: `{ basic_auth: { users: … } }`",
    ),
    ("listeners: { a: { bind: ':1', use: [compress], respond: 200 } }", "a map: `{ compress: {} }`"),
    (
        "listeners: { a: { bind: ':1', use: [privacy], respond: 200 } }",
        "`{ privacy: { … } }` with `referer` or `cookies` or `user_agent`",
    ),
    ("listeners: { a: { bind: ':1', use: [jwt], respond: 200 } }", "is planned and does not work yet"),
    (
        "listeners: { a: { bind: '127.0.0.1:1', role: forward, pac: true, to: origin } }",
        "`pac` of listener `a` is a single value, it must be a map, write `{}` for one that is as by default",
    ),
    (
        "listeners: { a: { bind: '127.0.0.1:1', role: forward, pac: off, to: origin } }",
        "it must be a map, remove it for none",
    ),
    (
        "listeners: { a: { bind: ':1', use: [{ basic_auth: true }], respond: 200 } }",
        "is a single value, it must be a map with `users`",
    ),
    (
        "listeners: { a: { bind: ':1', role: tcp, deny: 403 } }",
        "does not exist with `role: tcp`, write `deny: close` or `deny: reset`",
    ),
    ("listeners: { a: { bind: ':1', role: udp, deny: 403 } }", "does not exist with `role: udp`, write `deny: drop`"),
    ("listeners: { a: { bind: ':1', deny: close } }", "with `role: http`, write a status such as `deny: 403`"),
    (
        "listeners: { a: { bind: ':1', role: tcp, routes: [{ match: { host: a.test }, deny: close }] } }",
        "with `role: tcp`, the name that is asked for in TLS is `sni`",
    ),
    (
        "listeners: { a: { bind: ':1', respond: \"ok\\n\" } }",
        "`respond` of listener `a`: `ok\\n` is no status, a text is written `respond: { body: … }`",
    ),
    ("listeners: { a: { bind: ':1', deny: away } }", "`away` is no status, a text is written `deny: { reason: … }`"),
    (
        "listeners: { a: { bind: ':1', to: c } }\npools: { c: [] }",
        "`servers` of pool `c` is an empty list, name a server, such as `\"127.0.0.1:9001\"`, or where servers come from by \
         `file:` or `srv:`",
    ),
    (
        "listeners: { a: { bind: '127.0.0.1:1', role: forward, routes: [{ match: { method: CONNECT }, to: origin }] } }",
        "write `kind: tunnel`, or `kind: [tunnel, socks]`",
    ),
    (
        "listeners: { a: { bind: ':1', role: tcp, tls: auto, to: 'h:1' } }",
        "write `certificates: { auto: { acme: { domains: [example.com] } } }`",
    ),
    (
        "listeners: { a: { bind: ':1', to: p } }\npools: { p: { servers: 'h:1', max_connections: 5 } }",
        "it belongs to each server: `servers: [{ address: \"HOST:PORT\", max_connections: … }]`, or for all of them together \
         `circuit_breaker.connections`",
    ),
    (
        "listeners: { a: { bind: ':1', to: p } }\npools: { p: { servers: 'h:1', backup: true } }",
        "it belongs to each server: `servers: [{ address: \"HOST:PORT\", backup: … }]` (t.yaml:2:31)",
    ),
    (
        "listeners: { a: { bind: ':1', to: p } }\npools: { p: { servers: [{ address: 'h:1', balance: random }] } }",
        "unknown key `balance` in server 1 of `servers` of pool `p`, it belongs to a pool",
    ),
    (
        "listeners: { a: { bind: ':1', routes: [{ bind: ':2', respond: 200 }] } }",
        "unknown key `bind` in route 1 of listener `a`, it belongs to a listener",
    ),
    (
        "listeners: { a: { bind: ':1', compress: {}, respond: 200 } }",
        "unknown key `compress` in listener `a`, it is a policy: `use: [{ compress: … }]`",
    ),
    (
        "listeners: { a: { bind: ':1', tls: { certificates: internal, key: a }, respond: 200 } }",
        "unknown key `key` in `tls` of listener `a`, certificates have names: `certificates: { main: { cert: …, key: … } }` and `tls: main`",
    ),
    (
        "listeners: { a: { bind: ':1', tls: true, respond: 200 } }",
        "there is no certificate `true`, name one of `certificates`, or `internal` for one for development, or `auto`",
    ),
    (
        "listeners: { a: { bind: ':1', routes: [{ host: a.test, respond: 200 }] } }",
        "unknown key `host` in route 1 of listener `a`, it belongs to `match`: `match: { host: … }`",
    ),
    (
        "listeners: { a: { bind: ':1', path: /a, respond: 200 } }",
        "unknown key `path` in listener `a`, it belongs to `match` of a route: `match: { path: … }`",
    ),
    (
        "listeners: { a: { bind: ':1', respond: 200, match: { host: a.test } } }",
        "unknown key `match` in listener `a`, it belongs to a route",
    ),
    ("listeners: { a: { listen: ':1', respond: 200 } }", "unknown key `listen` in listener `a`, here it is `bind`"),
    (
        "listeners: { a: { bind: ':1', respond: 200 } }\nupstreams: { p: ['h:1'] }",
        "unknown key `upstreams` in the configuration, here it is `pools`",
    ),
    ("listeners: [{ bind: ':1', respond: 200 }]", "is a list, it must be a map of names, `{ NAME: … }`"),
    ("listeners: { a: { bind: ':1', respond: 200 } }\naccess_log: true", "`true` would be a file, write `stdout`"),
    (
        "listeners: { a: { bind: ':1', respond: 200 } }\nadmin: true",
        "`true` is no address, write one such as `127.0.0.1:9900`",
    ),
    ("listeners: { a: { bind: ':1', respond: 200 } }\nadmin: { bind: ':1' }", "use `127.0.0.1:1` or `unix:PATH`"),
    (
        "listeners: { a: { bind: ':1', to: p } }\npools: { p: { servers: 'h:1', retries: 3 } }",
        "`retries` of pool `p` is a single value, it must be a map, such as `{ extra: 3 }`",
    ),
    ("listeners: { a: { bind: ':1', redirect: https } }", "another scheme alone is `redirect: { scheme: https }`"),
    (
        "listeners: { a: { bind: ':1', respond: 200 } }\ntiemouts: { total: 1s }",
        "unknown key `tiemouts` in the configuration",
    ),
];

#[test]
fn each_is_told_the_way_out() {
    for (text, words) in MISTAKES {
        let said = mistake(text);
        assert!(said.contains(words), "{text}:\n{said}");
        assert!(!said.contains(char::is_control), "{said}");
    }
}

#[test]
fn who_sends_to_itself_is_warned() {
    for (bind, role, server, is_loop) in [
        ("127.0.0.1:8080", "http", "127.0.0.1:8080", true),
        ("127.0.0.1:8080", "tcp", "localhost:8080", true),
        (":8080", "http", "127.0.0.1:8080", true),
        (":8080", "tcp", "[::1]:8080", true),
        ("0.0.0.0:8080", "http", "127.0.0.1:8080", true),
        ("[::]:8080", "http", "127.0.0.1:8080", true),
        ("192.0.2.1:8080", "udp", "192.0.2.1:8080", true),
        ("unix:/run/a", "http", "unix:/run/a", true),
        ("0.0.0.0:8080", "http", "[::1]:8080", false),
        ("127.0.0.1:8080", "http", "127.0.0.1:8081", false),
        ("127.0.0.1:8080", "http", "127.0.0.2:8080", false),
        (":8080", "http", "192.0.2.1:8080", false),
        ("unix:/run/a", "http", "unix:/run/b", false),
    ] {
        let text =
            format!("listeners: {{ a: {{ bind: '{bind}', role: {role}, to: p }} }}\npools: {{ p: ['{server}'] }}");
        let warned: Vec<_> = load(&text).expect("no mistakes").warnings.iter().map(ToString::to_string).collect();
        let told = warned.iter().any(|said| said.contains("of pool `p` is listener `a` itself (t.yaml:1:14)"));
        assert_eq!(told, is_loop, "{text}: {warned:?}");
    }
    let by_site = "listeners: { a: { bind: ':8080' } }\nsites: { s: { hosts: default, listeners: a, to: p } }\npools: { p: '[::1]:8080' }";
    let loaded = load(by_site).unwrap_or_else(|wrong| panic!("{wrong}"));
    assert!(
        loaded.warnings.iter().any(|said| said.message.contains("is listener `a` itself")),
        "{:?}",
        loaded.warnings
    );
}

#[test]
fn who_keeps_tunnels_out_by_their_method_may() {
    let route = "{ match: { not: { method: CONNECT } }, to: origin }, { deny: 403 }";
    let text = format!("listeners: {{ a: {{ bind: '127.0.0.1:1', role: forward, routes: [{route}] }} }}");
    assert!(said(load(&text)).is_empty(), "{:?}", said(load(&text)));
}
