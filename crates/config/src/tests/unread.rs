//! Refusals that tunnels go around are warned of.

use super::load;

fn warned(rest: &str) -> Vec<String> {
    let text = format!("listeners:\n  office:\n    bind: 127.0.0.1:1\n    role: forward\n    {rest}\n");
    let loaded = load(&text).unwrap_or_else(|mistakes| panic!("{mistakes}"));
    loaded.warnings.iter().map(ToString::to_string).collect()
}

#[test]
fn a_refusal_by_what_no_tunnel_shows_is_warned_of() {
    assert_eq!(
        warned("routes: [{ match: { host: a.test, path: /private/* }, deny: 403 }, { to: origin }]"),
        [
            "a `deny` of listener `office` looks at `path`, which of `https://` pages nobody sees without `intercept`: they pass \
          (t.yaml:5:14)"
        ]
    );
    for (key, text) in [
        ("method", "match: { method: POST }"),
        ("query", "match: { query: { q: x } }"),
        ("header", "match: { not: { header: { user-agent: x } } }"),
        ("path", "match: { any: [{ path: /a }, { method: PUT }] }"),
    ] {
        let said = warned(&format!("routes: [{{ {text}, deny: 403 }}, {{ to: origin }}]"));
        assert!(said.len() == 1 && said[0].contains(&format!("looks at `{key}`")), "{text}: {said:?}");
    }
    let nested =
        "routes: [{ match: { path: /a/* }, routes: [{ match: { host: a.test }, deny: 403 }] }, { to: origin }]";
    assert_eq!(warned(nested).len(), 1);
}

#[test]
fn a_refusal_that_requests_in_plain_inside_of_tunnels_pass_is_warned_of() {
    let refusal = "routes: [{ match: { path: /private/* }, deny: 403 }, { to: origin }]";
    let reading = "intercept: { ca: { cert: a.pem, key: a.key } }";
    let of = |more: &str| warned(&format!("{refusal}\n    {more}"));
    assert_eq!(of(reading), Vec::<String>::new(), "no tunnel goes where servers answer in plain");
    assert_eq!(
        of(&format!("{reading}\n    egress: {{ connect_ports: [80, 443] }}")),
        [
            "a `deny` of listener `office` looks at `path`, which of requests in tunnels to port 80 nobody sees without `inspect: 80`: they pass \
          (t.yaml:5:14)"
        ]
    );
    assert_eq!(
        of(&format!("{reading}\n    egress: {{ connect_ports: [80, 443] }}\n    inspect: {{}}")),
        Vec::<String>::new()
    );
    let some = of(&format!("{reading}\n    egress: {{ connect_ports: 1-65535 }}\n    inspect: 80"));
    assert!(some.len() == 1 && some[0].contains("to port 8080"), "{some:?}");
    assert_eq!(
        of(&format!("{reading}\n    egress: {{ connect_ports: 1-65535 }}\n    inspect: [80, 8000-8100]")),
        Vec::<String>::new()
    );
    let neither = of("egress: { connect_ports: 80 }");
    assert!(neither.len() == 2 && neither[0].contains("without `intercept`"), "{neither:?}");
}

#[test]
fn to_look_into_tunnels_that_may_not_be_is_warned_of() {
    assert_eq!(
        warned("to: origin\n    inspect: 80"),
        [
            "`inspect` of listener `office` does nothing, for no tunnel may go to port 80: add it to `egress.connect_ports` (t.yaml:2:3)"
        ]
    );
    assert_eq!(
        warned("to: origin\n    inspect: 70-90\n    egress: { connect_ports: [443, 90-99] }"),
        Vec::<String>::new()
    );
}

#[test]
fn a_refusal_of_tunnels_that_socks_goes_around_is_warned_of() {
    let of = |kind: &str| {
        warned(&format!("routes: [{{ match: {{ kind: {kind}, port: 443 }}, deny: 403 }}, {{ to: origin }}]"))
    };
    let said = of("tunnel");
    assert!(said.len() == 1 && said[0].contains("write `[tunnel, socks]`"), "{said:?}");
    assert_eq!(of("[http, tunnel]").len(), 1);
    for kind in ["[tunnel, socks]", "socks", "http"] {
        assert_eq!(of(kind), Vec::<String>::new(), "{kind}");
    }
}

#[test]
fn who_is_led_to_a_listener_opens_no_tunnels() {
    const LED: &str = "{ address: '127.0.0.1:1', transparent: redirect }";
    let of = |bind: &str, rest: &str| {
        let text = format!("listeners:\n  led:\n    bind: [{bind}]\n    role: forward\n    {rest}\n");
        let loaded = load(&text).unwrap_or_else(|mistakes| panic!("{mistakes}"));
        loaded.warnings.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    let reading = "intercept: { ca: { cert: a.pem, key: a.key } }\n    egress: { connect_ports: [80, 443, 8080] }";
    let refusal = format!("routes: [{{ match: {{ path: /a }}, deny: 403 }}, {{ to: origin }}]\n    {reading}");
    assert_eq!(of(LED, &refusal), Vec::<String>::new(), "requests in plain are read there");
    let both = format!("{LED}, '127.0.0.1:2'");
    assert_eq!(of(&both, &refusal).len(), 1);
    let kind = "routes: [{ match: { kind: tunnel }, deny: 403 }, { to: origin }]";
    assert_eq!(of(LED, kind), Vec::<String>::new(), "nobody speaks SOCKS there");
    assert_eq!(of(&both, kind).len(), 1);
    for key in ["inspect", "pac"] {
        let rest = format!("to: origin\n    {key}: {{}}\n    egress: {{ connect_ports: [80, 443] }}");
        let said = of(LED, &rest);
        assert!(said.len() == 1 && said[0].starts_with(&format!("`{key}` of listener `led` does nothing")), "{said:?}");
        assert_eq!(of(&both, &rest), Vec::<String>::new());
    }
}

#[test]
fn what_a_tunnel_shows_or_nobody_asks_of_it_is_not() {
    for rest in [
        "routes: [{ match: { host: a.test }, deny: 403 }, { to: origin }]",
        "routes: [{ match: { kind: http, path: /a }, deny: 403 }, { to: origin }]",
        "routes: [{ match: { any: [{ path: /a }, { host: a.test }] }, deny: 403 }, { to: origin }]",
        "routes: [{ match: { path: /a }, deny: 403 }, { match: { method: GET }, to: origin }]",
        "routes: [{ match: { path: /a }, deny: 403 }, { to: origin }]\n    intercept: { ca: { cert: a.pem, key: a.key } }",
    ] {
        assert_eq!(warned(rest), Vec::<String>::new(), "{rest}");
    }
}

#[test]
fn a_filter_that_sees_no_page_under_tls_is_warned_of() {
    let filter = "use: [{ filter: { types: video/* } }]";
    assert_eq!(
        warned(&format!("to: origin\n    {filter}")),
        [
            "a `filter` of listener `office` looks at responses, which of `https://` pages nobody sees without `intercept`: they pass \
          (t.yaml:6:11)"
        ]
    );
    let inside = format!("routes: [{{ match: {{ host: a.test }}, {filter}, routes: [{{ to: origin }}] }}]");
    assert_eq!(warned(&inside).len(), 1);
    assert_eq!(
        warned(&format!("{inside}\n    intercept: {{ ca: {{ cert: a.pem, key: a.key }} }}")),
        Vec::<String>::new()
    );
}

#[test]
fn routes_that_ask_inside_of_tunnels_alone_are_warned_of() {
    let asks = "use: [{ basic_auth: { users: u } }]";
    let inside = format!("routes: [{{ match: {{ path: /a/* }}, {asks}, to: origin }}, {{ to: origin }}]");
    let reading = "intercept: { ca: { cert: a.pem, key: a.key } }";
    let said = warned(&format!("{inside}\n    {reading}"));
    assert!(
        said.len() == 1 && said[0].contains("looks at `path`, so that nobody gets there through a tunnel"),
        "{said:?}"
    );
    // Who is asked when a tunnel is opened is known inside; and without reading there is no inside.
    let outside = format!(
        "routes: [{{ match: {{ host: a.test }}, {asks}, to: origin }}, {{ match: {{ path: /a/* }}, {asks}, to: origin }}]"
    );
    for rest in [format!("{inside}\n    {reading}\n    {asks}"), format!("{outside}\n    {reading}"), inside] {
        assert!(warned(&rest).is_empty(), "{rest}");
    }
}
