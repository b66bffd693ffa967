//! LANGUAGE, "Listeners", "Routes" and "Policies".

use super::{load, mistake, ok, said};
use crate::spec::{
    BindAddress, BodyTest, Ending, HostPattern, Kind, OverLimit, Part, PathPattern, PolicyKind, PoolId, Predicate,
    RedirectTarget, Route, Selector, Serves, SiteHost, Spec, TextTest, ValueMatch, Way,
};

fn routes(spec: &Spec) -> &[Route] {
    match &spec.listeners[0].serves {
        Serves::Routes(routes) => routes,
        Serves::Sites(_) => &[],
    }
}

fn listener(inner: &str) -> String {
    format!("listeners: {{a: {{bind: ':1', {inner}}}}}\npools: {{p: 'h:1', q: 'h:2'}}\n")
}

fn predicate(text: &str) -> Predicate {
    let spec = ok(&listener(&format!("routes: [{{match: {text}, to: p}}]")));
    routes(&spec)[0].matches.clone().expect("a match")
}

fn wrong_route(text: &str) -> String {
    mistake(&listener(&format!("routes: [{text}]")))
}

#[test]
fn every_form_of_bind() {
    let spec = ok(
        "listeners: {a: {bind: ['1.2.3.4:80', ':81', '[::1]:82', 'unix:x', {address: 'unix:y', mode: 0660}, 'localhost:0'], deny: 403}}",
    );
    let binds: Vec<_> = spec.listeners[0].binds.iter().map(|bind| bind.address.clone()).collect();
    let ip = |text: &str| BindAddress::Ip(text.parse().expect("an address"));
    let unix = |path: &str, mode| BindAddress::Unix { path: path.into(), mode };
    assert_eq!(
        binds,
        [
            ip("1.2.3.4:80"),
            BindAddress::AnyFamily(81),
            ip("[::1]:82"),
            unix("x", None),
            unix("y", Some(0o660)),
            ip("127.0.0.1:0")
        ]
    );
    for (bind, wanted) in [
        ("fd:web", "planned"),
        ("1.2.3.4:80/tcp", "role: nat"),
        ("example.com:80", "use an IP address"),
        ("'*:80'", "`:80`"),
        ("80", "is a port alone, write `127.0.0.1:80`"),
        ("::1:80", "in brackets"),
        ("{address: ':80', mode: 0660}", "only a Unix socket has a `mode`"),
        ("{address: ':80', accept_proxy: x}", "is no network"),
        ("{address: ':80', tls: {}}", "`certificates` is missing in `tls` of `bind` of listener `a`"),
        ("{address: 'unix:x', mode: 999}", "octal"),
    ] {
        let said = mistake(&format!("listeners: {{a: {{bind: {bind}, deny: 403}}}}"));
        assert!(said.contains(wanted), "{bind}: {said}");
    }
}

#[test]
fn no_address_is_listened_on_twice() {
    let two = |a: &str, b: &str| {
        said(load(&format!("listeners: {{a: {{bind: '{a}', deny: 403}}, b: {{bind: '{b}', deny: 403}}}}"))).concat()
    };
    assert!(
        two("1.2.3.4:80", "1.2.3.4:80")
            .contains("listener `b` listens where `a` already does (t.yaml:1:23), change one")
    );
    assert!(two("0.0.0.0:80", ":80").contains("already does"));
    assert!(two("unix:x", "unix:x").contains("already does"));
    assert_eq!(two("127.0.0.1:0", "127.0.0.1:0") + &two(":80", ":81"), "");
}

#[test]
fn a_listener_serves_routes_or_sites() {
    assert!(mistake("listeners: {a: {bind: ':1'}}").starts_with("listener `a` serves nothing"));
    for text in ["{}", "{x-listeners: 1}"] {
        assert!(mistake(text).starts_with("`listeners` is missing in the configuration"), "{text}");
    }
    let both = "listeners: {a: {bind: ':1', deny: 403}}\nsites: {s: {hosts: x, listeners: a, deny: 403}}";
    assert!(mistake(both).contains("it can have only one of them"));
    let spec =
        ok("listeners: {a: {bind: ':1'}}\nsites: {s: {hosts: [X.y, '*.x.y', default], listeners: [a], respond: 204}}");
    assert_eq!(spec.listeners[0].serves, Serves::Sites(vec![crate::spec::SiteId(0)]));
    let hosts = [SiteHost::Exact("x.y".to_owned()), SiteHost::Wildcard("x.y".to_owned()), SiteHost::Default];
    assert_eq!(spec.sites[0].hosts, hosts);
    let twice = "listeners: {a: {bind: ':1'}}\nsites: {s: {hosts: x, listeners: a, deny: 403}, t: {hosts: [X], listeners: a, deny: 403}}";
    assert!(mistake(twice).contains("host `x` of site `t` on listener `a` already belongs to site `s`"));
}

#[test]
fn a_route_has_exactly_one_ending() {
    assert!(wrong_route("{match: {path: /a}}").contains("has no ending"));
    assert!(wrong_route("{to: p, deny: 403}").contains("has two endings, `to` and `deny`"));
    assert!(wrong_route("{to: r}").contains("there is no pool `r`"));
    assert!(wrong_route("{to: origin}").contains("exists only under `role: forward`"));
    assert!(
        mistake("listeners: {a: {bind: ':1', to: origin}}\npools: {origin: 'h:1'}").contains("`origin` is reserved")
    );
    let spec = ok(&listener(
        "routes: [{match: {path: /a}, to: 'x:9'}, {match: {path: /b}, to: 'x:9'}, {split: [{to: p, share: 66.67%}, {to: q, share: 33.33%}]}]",
    ));
    assert_eq!((spec.pools.len(), spec.pools[2].name.as_str(), spec.pools[2].implicit), (3, "x:9", true));
    assert!(matches!(&routes(&spec)[2].ending, Ending::Split(portions) if portions[0].share == 6667));
    assert!(
        wrong_route("{split: [{to: p, share: 50%}, {to: q, share: 49%}]}").contains("total 99%, they must total 100%")
    );
    assert!(wrong_route("{split: [{to: p, share: 50%}, {to: p, share: 50%}]}").contains("the same pool stands twice"));
}

#[test]
fn routes_that_can_never_be_reached_are_mistakes() {
    for (first, second) in [
        ("{to: p}", "{match: {path: /a}, to: q}"),
        ("{match: {path: /a/*}, to: p}", "{match: {path: /a/b, method: GET}, to: q}"),
        ("{match: {path: [/a, /b]}, to: p}", "{match: {path: /b}, to: q}"),
        ("{match: {host: '*.x.y'}, routes: [{match: {path: /z}, to: p}]}", "{match: {host: a.x.y}, to: q}"),
        ("{match: {client: 10.0.0.0/8}, to: p}", "{match: {client: 10.1.0.0/16}, to: q}"),
        ("{match: {header: {a: b}}, to: p}", "{match: {header: {a: b}}, to: q}"),
        ("{match: {kind: grpc}, to: p}", "{match: {grpc: {service: a.B, method: C}}, to: q}"),
    ] {
        let said = wrong_route(&format!("{first}, {second}"));
        assert!(said.starts_with("route 2 of listener `a` can never be reached, route 1"), "{said}");
    }
    for (first, second) in [
        ("{match: {path: /a/*}, to: p}", "{match: {path: /ab}, to: q}"),
        ("{match: {path: /a, method: GET}, to: p}", "{match: {path: /a}, to: q}"),
        ("{match: {host: '*.x.y'}, to: p}", "{match: {host: x.y}, to: q}"),
        ("{match: {not: {path: /a}}, to: p}", "{match: {path: /a}, to: q}"),
        ("{match: {grpc: {service: a.B}}, to: p}", "{match: {kind: grpc}, to: q}"),
    ] {
        ok(&listener(&format!("routes: [{first}, {second}]")));
    }
}

#[test]
fn keys_of_match_are_and_lists_are_or() {
    let path = |text: &str| Predicate::Path(PathPattern::Exact(text.to_owned()));
    let all = predicate("{path: [/a, /b], port: 80, not: {path: /c}, any: [{kind: websocket}, {path: /d}]}");
    assert_eq!(
        all,
        Predicate::All(vec![
            Predicate::Any(vec![path("/a"), path("/b")]),
            Predicate::Port(80),
            Predicate::Any(vec![Predicate::Kind(Kind::Websocket), path("/d")]),
            Predicate::Not(Box::new(path("/c"))),
        ])
    );
    assert!(wrong_route("{match: {}, to: p}").contains("is empty, remove it to match everything"));
    assert!(wrong_route("{match: {not: {}}, to: p}").contains("is empty"));
    let misspelt = wrong_route("{match: {hots: a.test}, to: p}");
    assert!(misspelt.contains("did you mean `host`?") && !misspelt.contains("is empty"), "{misspelt}");
    assert!(
        wrong_route("{match: {host: .a.test}, to: p}")
            .contains("`*.a.test` are the names below it, `a.test` is itself")
    );
    assert!(wrong_route("{match: {header: {}}, to: p}").contains("is empty"));
}

#[test]
fn a_group_that_nobody_is_in_is_none() {
    let asks = |groups: &str, name: &str| {
        let who = format!("{{ basic_auth: {{ users: u, realm: r{groups} }} }}");
        format!(
            "listeners: {{ a: {{ bind: ':80', use: [{who}], routes: [{{ match: {{ group: {name} }}, deny: 403 }}] }} }}"
        )
    };
    let said = mistake(&asks(", groups: { interns: [bob] }", "intern"));
    assert!(said.contains("group `intern`, in which nobody is") && said.contains("did you mean `interns`?"), "{said}");
    assert!(mistake(&asks("", "intern")).contains("in which nobody is"));
    ok(&asks(", groups: { interns: [bob] }", "interns"));
    ok(&asks(", groups: g", "intern"));
}

#[test]
fn values_have_short_and_long_forms() {
    let Predicate::Any(values) = predicate(
        "{header: {X-A: [b, ~^c, {prefix: d, suffix: e, case: ignore}, {absent: true}, {present: false}, {regex: f, case: ignore}]}}",
    ) else {
        panic!("alternatives")
    };
    let tests: Vec<_> = values
        .into_iter()
        .map(|value| match value {
            Predicate::Header { name, value: ValueMatch::Text(text) } => (name, text.tests, text.ignore_case),
            Predicate::Header { name, value } => (format!("{name} {value:?}"), Vec::new(), false),
            other => panic!("{other:?}"),
        })
        .collect();
    let name = || "x-a".to_owned();
    assert_eq!(
        tests,
        [
            (name(), vec![TextTest::Exact("b".to_owned())], false),
            (name(), vec![TextTest::Regex("^c".to_owned())], false),
            (name(), vec![TextTest::Prefix("d".to_owned()), TextTest::Suffix("e".to_owned())], true),
            ("x-a Absent".to_owned(), vec![], false),
            ("x-a Absent".to_owned(), vec![], false),
            (name(), vec![TextTest::Regex("(?i)f".to_owned())], true),
        ]
    );
    assert!(wrong_route("{match: {path: {present: true}}, to: p}").contains("a request always has a path"));
    assert!(wrong_route("{match: {header: {a: {case: ignore}}}, to: p}").contains("tests nothing"));
    assert!(wrong_route("{match: {header: {a: {list: x}}}, to: p}").starts_with("`list` works in `host`"));
    assert!(wrong_route("{match: {url: {list: x}}, to: p}").starts_with("there is no list `x`"));
    let two = said(load("listeners: {a: {bind: ':1', routes: [{match: {host: {list: x, prefix: a}}, to: 'h:1'}]}}"));
    assert!(two.len() == 2 && two[0].contains("`list` stands alone"), "{two:?}");
    assert!(wrong_route("{match: {url: {}}, to: p}").contains("`list` is missing"));
    assert!(wrong_route("{match: {header: {a: '~['}}, to: p}").contains("is not valid"));
    assert!(wrong_route("{match: {header: {a: '~(x{1000}){1000}'}}, to: p}").contains("is not valid"));
    assert!(wrong_route("{match: {header: {a: b, A: c}}, to: p}").contains("are the same field"));
}

#[test]
fn hosts_and_paths_have_the_form_of_requests() {
    assert_eq!(
        predicate("{host: Shop.Example.COM}"),
        Predicate::Host(HostPattern::Exact("shop.example.com".to_owned()))
    );
    assert_eq!(predicate("{host: '*.Example.com'}"), Predicate::Host(HostPattern::Wildcard("example.com".to_owned())));
    assert_eq!(predicate("{path: /a/*}"), Predicate::Path(PathPattern::Prefix("/a".to_owned())));
    assert_eq!(predicate("{path: '~^/u'}"), Predicate::Path(PathPattern::Regex("^/u".to_owned())));
    for host in ["a.b:80", "a.b.", "*", "a.*.b", "*.*.b", "bücher.example", "a..b", "a b"] {
        assert!(!wrong_route(&format!("{{match: {{host: '{host}'}}, to: p}}")).is_empty());
    }
    assert!(wrong_route("{match: {path: /%61/*}, to: p}").contains("can never match"));
    assert!(wrong_route("{match: {method: get}, to: p}").contains("`GET`"));
}

#[test]
fn bodies_are_tested_by_place() {
    let Predicate::Body(body) =
        predicate("{body: {json: {$.a.b: [x, y]}, form: {c: z}, text: ~w, limit: 1KiB, over_limit: reject}}")
    else {
        panic!("a body")
    };
    assert_eq!((body.limit, body.over_limit, body.tests.len()), (1024, OverLimit::Reject, 3));
    assert!(matches!(&body.tests[0], BodyTest::Json { any, .. } if any.len() == 2));
    assert!(wrong_route("{match: {body: {limit: 1KiB}}, to: p}").contains("tests nothing"));
    assert!(wrong_route("{match: {body: {json: {a: b}}}, to: p}").contains("is no place in a JSON document"));
}

#[test]
fn stars_and_groups_come_from_the_path() {
    let spec = ok(&listener(
        "routes: [{match: {path: /a/*}, redirect: '/b/*'}, {match: {path: '~^/(.)/(.)'}, use: [{rewrite: {path: '/$2/$$1'}}], to: p}]",
    ));
    let Ending::Redirect(redirect) = &routes(&spec)[0].ending else { panic!("a redirect") };
    let RedirectTarget::Location(location) = &redirect.target else { panic!("a location") };
    assert_eq!(location.parts, [Part::Literal("/b/".to_owned()), Part::Star]);
    let PolicyKind::Rewrite(rewrite) = &spec.policies[0].kind else { panic!("a rewrite") };
    assert_eq!(rewrite.path.parts, [Part::Literal("/".to_owned()), Part::Group(2), Part::Literal("/$1".to_owned())]);
    assert!(wrong_route("{match: {path: /a}, redirect: '/b/*'}").contains("`*` stands for nothing here"));
    assert!(wrong_route("{match: {path: '~^/(.)'}, redirect: /$2}").contains("`$2` stands for nothing here"));
    assert!(wrong_route("{redirect: b}").contains("must begin with"));
    assert!(wrong_route("{redirect: {location: /a, port: 80}}").contains("exclude each other"));
    assert!(wrong_route("{redirect: {status: 302}}").contains("names no place"));
    // An outer path serves the routes inside of it.
    ok(&listener("routes: [{match: {path: /a/*}, routes: [{match: {method: GET}, redirect: '/b/*'}]}]"));
}

#[test]
fn a_named_policy_is_one_and_its_uses_share_it() {
    let spec = ok("
policies: {h: [{headers: {request: {set: {X-A: 'a${header.B}${client_ip}'}}}}, {rewrite: {path: /z}}]}
listeners: {a: {bind: ':1', use: h, routes: [{use: [h, {rewrite: {path: /y}}], to: 'h:1'}]}}
");
    let route = &routes(&spec)[0];
    assert_eq!(spec.listeners[0].uses, route.uses[..2]);
    assert_eq!((spec.policies.len(), route.uses.len()), (3, 3));
    let PolicyKind::Headers(headers) = &spec.policies[0].kind else { panic!("headers") };
    let parts = [
        Part::Literal("a".to_owned()),
        Part::Selector(Selector::Header("b".to_owned())),
        Part::Selector(Selector::ClientIp),
    ];
    assert_eq!(headers.request.set, [("x-a".to_owned(), crate::spec::Template { parts: parts.to_vec() })]);
    assert!(wrong_route("{use: h, to: p}").contains("there is no policy `h`"));
    assert!(wrong_route("{use: [{headers: {}}], to: p}").contains("does nothing"));
    assert!(wrong_route("{use: [{headers: {request: {set: {host: x}}}}], to: p}").contains("use `host` of the pool"));
    assert!(wrong_route("{use: [{headers: {request: {set: {a: \"x\\ny\"}}}}], to: p}").contains("no line ends"));
    assert!(
        wrong_route("{use: [{rewrite: {path: /x}, headers: {response: {remove: a}}}], to: p}")
            .contains("exactly one key")
    );
}

#[test]
fn nobody_opens_a_proxy_to_everybody_without_a_word() {
    let proxy = |bind: &str, more: &str| format!("listeners: {{ a: {{ bind: '{bind}', role: forward, {more} }} }}");
    for (bind, more) in [
        ("127.0.0.1:1", "to: origin"),
        ("[::1]:1", "to: origin"),
        (":1", "open: true, to: origin"),
        (":1", "routes: [{ match: { client: 10.0.0.0/8 }, to: origin }, { deny: 403 }]"),
        (":1", "routes: [{ match: { client: 10.0.0.0/8 }, routes: [{ to: origin }] }]"),
        (
            ":1",
            "routes: [{ match: { any: [{ client: 10.0.0.0/8 }, { client: 'fd00::/8', host: a.test }] }, to: origin }]",
        ),
    ] {
        ok(&proxy(bind, more));
    }
    for more in [
        "to: origin",
        "routes: [{ match: { host: a.test }, to: origin }]",
        "routes: [{ match: { client: 0.0.0.0/0 }, to: origin }]",
        "routes: [{ match: { client: [0.0.0.0/1, 128.0.0.0/1] }, to: origin }]",
        "routes: [{ match: { not: { client: 10.0.0.0/8 } }, to: origin }]",
        "routes: [{ match: { any: [{ client: 10.0.0.0/8 }, { host: a.test }] }, to: origin }]",
        "routes: [{ match: { client: 10.0.0.0/8 }, to: origin }, { match: { host: b.test }, routes: [{ to: origin }] }]",
    ] {
        let said = mistake(&proxy("192.0.2.1:1", more));
        assert!(said.contains("is a forward proxy for anybody who reaches 192.0.2.1:1"), "{more}: {said}");
        assert!(said.contains("`open: true`"), "{more}: {said}");
    }
    let some = "routes: [{ match: { client: 10.0.0.0/8 }, to: origin }]";
    ok(&proxy(":1", &format!("forwarding: {{ trust: 10.0.0.0/8 }}, {some}")));
    for told in ["forwarding: { trust: ['::/0'] }", "forwarding: { trust: [0.0.0.0/1, 128.0.0.0/1] }"] {
        let said = mistake(&proxy("192.0.2.1:1", &format!("{told}, {some}")));
        assert!(said.contains("everybody is believed who the client is"), "{told}: {said}");
    }
    let said = mistake(&format!(
        "listeners: {{ a: {{ bind: {{ address: '192.0.2.1:1', accept_proxy: 0.0.0.0/0 }}, role: forward, {some} }} }}"
    ));
    assert!(said.contains("everybody is believed"), "{said}");
}

#[test]
fn forward_proxies_may_lead_to_pools_and_by_others() {
    let text = "
listeners:
  a: { bind: ':1', role: forward, routes: [{ match: { host: a.test }, to: 'h:1' }, { match: { client: 10.0.0.0/8 }, to: [p, origin], source: ['::ffff:192.0.2.1', '2001:db8::1'] }] }
pools: { p: { servers: 'h:2', protocol: http_proxy, username: me, password: '${env.SET}' } }";
    let loaded = load(text).unwrap_or_else(|mistakes| panic!("{mistakes}"));
    let routes = routes(&loaded.spec);
    assert_eq!(routes[0].ending, Ending::To(PoolId(1)), "the literal one");
    assert_eq!(routes[1].ending, Ending::Ways(vec![Way::Pool(PoolId(0)), Way::Origin]));
    let source = routes[1].source.as_ref().expect("addresses");
    assert_eq!((source.v4, source.v6), ("192.0.2.1".parse().ok(), "2001:db8::1".parse().ok()));
    let credentials = loaded.spec.pools[0].credentials.as_ref().expect("credentials");
    assert_eq!((credentials.username.as_str(), credentials.password.0.as_str()), ("me", "s3cret"));
    assert!(!crate::effective(&loaded).contains("s3cret") && !format!("{:?}", loaded.spec).contains("s3cret"));
}

#[test]
fn what_forward_proxies_do_not_have_is_said() {
    for (text, wanted) in [
        ("listeners: { a: { bind: ':1', to: origin } }", "exists only under `role: forward`"),
        (
            "listeners: { a: { bind: 'h:1', role: forward, to: origin, egress: { connect_ports: [0] } } }",
            "`0` is no port",
        ),
        (
            "listeners: { a: { bind: '127.0.0.1:1', role: forward, to: origin, egress: { connect_ports: 9-8 } } }",
            "`9-8` is no port",
        ),
        (
            "listeners: { a: { bind: ':1', role: forward, to: [p, 'h:1'] } }\npools: { p: { servers: 'h:2', protocol: http_proxy } }",
            "is a forward proxy for anybody",
        ),
        (
            "listeners: { a: { bind: '127.0.0.1:1', role: tcp, to: p } }\npools: { p: { servers: 'h:2', protocol: socks5 } }",
            "the servers of pool `p` are proxies that lead to any server: only `to` under `role: forward` may lead to it",
        ),
        (
            "listeners: { a: { bind: '127.0.0.1:1', role: forward, use: [{ mirror: p }], to: origin } }\npools: { p: { servers: 'h:2', protocol: socks5 } }",
            "only `to` of a route may lead to it",
        ),
        (
            "listeners: { a: { bind: '127.0.0.1:1', role: http, routes: [{ match: { kind: tunnel }, deny: 403 }] } }",
            "never matches",
        ),
        (
            "listeners: { a: { bind: '127.0.0.1:1', role: http, routes: [{ match: { kind: [http, socks] }, deny: 403 }] } }",
            "`kind: socks` never matches without `role: forward`",
        ),
        (
            "listeners: { a: { bind: '127.0.0.1:1', role: http, open: true, deny: 403 } }",
            "`open` in listener `a` does not exist with `role: http`",
        ),
    ] {
        let said = super::said(super::load(text)).join("\n");
        assert!(said.contains(wanted), "{text}: {said}");
    }
}
