//! The laws that hold between conditions and between rules.

use wire::forwarded::Net;

use super::super::BodyCondition;
use super::*;

#[test]
fn the_first_match_wins_in_the_order_given() {
    let rules = [vec![path("/a/*")], vec![path("/a/b")], vec![host("x")], vec![]];
    let table = table(rules);
    assert_eq!(winner(&table, &Request::of("x/a/b")), Some(0));
    assert_eq!(winner(&table, &Request::of("x/b")), Some(2));
    assert_eq!(winner(&table, &Request::of("y/b")), Some(3));
}

#[test]
fn a_later_exact_host_does_not_overtake_an_earlier_wildcard() {
    let table = table([vec![host("*.a")], vec![host("b.a")], vec![host("*.b.a")]]);
    assert_eq!(winner(&table, &Request::of("b.a/")), Some(0));
    assert_eq!(winner(&table, &Request::of("c.b.a/")), Some(0));
}

#[test]
fn no_condition_is_everything_and_no_rule_is_nothing() {
    assert!(matches(vec![], &Request::of("PURGE x/y?z")));
    assert_eq!(find([], &Request::of("/")), Finding::None);
}

#[test]
fn keys_are_and_values_are_or() {
    let rule = || vec![Condition::Method(vec![Text::exact("GET"), Text::exact("HEAD")]), path("/a")];
    assert!(matches(rule(), &Request::of("HEAD /a")));
    assert!(!matches(rule(), &Request::of("POST /a")));
    assert!(!matches(rule(), &Request::of("GET /b")));
}

#[test]
fn any_and_not_nest() {
    let rule = || {
        vec![
            Condition::Any(vec![vec![path("/ws")], vec![header("upgrade", Text::exact("websocket")), method("GET")]]),
            Condition::Not(vec![host("x"), Condition::Any(vec![vec![method("GET")], vec![method("PUT")]])]),
        ]
    };
    assert!(matches(rule(), &Request::of("y/ws")));
    assert!(matches(rule(), &Request::of("POST x/ws")));
    assert!(!matches(rule(), &Request::of("PUT x/ws")));
    assert!(matches(rule(), &Request::of("y/").with("upgrade", "websocket")));
    assert!(!matches(rule(), &Request::of("POST y/").with("upgrade", "websocket")));
}

#[test]
fn nested_conditions_of_one_kind_all_hold() {
    let rule = || vec![path("/api/*"), path("~v[12]"), path("/api/v1/*")];
    assert!(matches(rule(), &Request::of("/api/v1/x")));
    assert!(!matches(rule(), &Request::of("/api/v3/x")));
    let rule = || vec![host("*.a"), host("b.a")];
    assert!(matches(rule(), &Request::of("b.a/")));
    assert!(!matches(rule(), &Request::of("c.a/")));
    assert!(!matches(vec![host("*.x"), host("b.a")], &Request::of("b.a/")));
}

#[test]
fn a_rule_of_many_hosts_and_paths_is_found_by_each_of_them() {
    let names = |n: usize| (0..n).map(|n| HostPattern::Exact(format!("h{n}")));
    let paths = |n: usize| (0..n).map(|n| PathPattern::Exact(format!("/p{n}")));
    for (hosts, count) in [(3, 3), (100, 100)] {
        let rule = || vec![Condition::Host(names(hosts).collect()), Condition::Path(paths(count).collect())];
        assert!(matches(rule(), &Request::of("h2/p1")));
        assert!(!matches(rule(), &Request::of(&format!("h{hosts}/p1"))));
        assert!(!matches(rule(), &Request::of(&format!("h1/p{count}"))));
    }
}

#[test]
fn a_search_resumes_at_the_rule_given() {
    let table = table([vec![path("/a")], vec![], vec![path("/a")]]);
    let request = Request::of("/a");
    for (from, ordinal) in [(0, Some(0)), (1, Some(1)), (2, Some(2)), (3, None), (usize::MAX, None)] {
        let found = match table.find(&request.facts(), from) {
            Finding::Rule(found) => Some(found.ordinal),
            _ => None,
        };
        assert_eq!(found, ordinal, "from {from}");
    }
}

#[test]
fn captures_are_what_the_innermost_path_left_over() {
    let star = |rule: Vec<Condition>, request: &str| {
        let request = Request::of(request);
        match find([rule], &request) {
            Finding::Rule(found) => String::from_utf8_lossy(found.captures.star(request.path.as_bytes())).into_owned(),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(star(vec![path("/old/*")], "/old/a/b"), "a/b");
    assert_eq!(star(vec![path("/old/*")], "/old"), "");
    assert_eq!(star(vec![path("/*")], "/a/b"), "a/b");
    assert_eq!(star(vec![path("/a/*"), host("x")], "x/a/b"), "b");
    assert_eq!(star(vec![path("/a/*"), path("/a/b/*")], "/a/b/c"), "c");
    assert_eq!(star(vec![path("/a/*"), path("/a/b")], "/a/b"), "");
    assert_eq!(star(vec![path("/a/*"), Condition::Any(vec![vec![host("x")], vec![path("/a/b/*")]])], "x/a/c"), "c");
    assert_eq!(star(vec![path("/a/*"), Condition::Any(vec![vec![host("x")], vec![path("/a/b/*")]])], "x/a/b/c"), "c");
    assert_eq!(star(vec![Condition::Path(vec![path_pattern("/b/*"), path_pattern("/a/*")])], "/a/c"), "c");
    assert_eq!(star(vec![path("/a/*"), Condition::Not(vec![path("/a/b/*")])], "/a/c"), "c");
    assert_eq!(star(vec![], "/a"), "");
}

#[test]
fn groups_are_those_of_the_pattern_that_matched() {
    let request = Request::of("/u/42");
    let either = Condition::Path(vec![path_pattern("~^/x/(.*)$"), path_pattern("~^/u/([0-9]+)$")]);
    let Finding::Rule(found) = find([vec![either]], &request) else { panic!("it matches") };
    assert_eq!(found.captures.group(1, b"/u/42"), b"42");
}

/// The routes of the example that have no body predicate, in its order, with what falls under them.
#[test]
fn the_reverse_example_is_routed() {
    let cookie = |values: [&str; 2]| Condition::Cookie { name: "ring".into(), values: values.map(Text::exact).into() };
    let inside = Condition::Client(vec![Net { address: IpAddr::from([10, 0, 0, 0]), prefix: 8 }]);
    let tier = ("$.customer.tier".parse().expect("a valid path"), vec![Text::exact("gold")]);
    let gold = BodyCondition { json: vec![tier], limit: 64 << 10, ..BodyCondition::default() };
    let table = table([
        vec![host("api.example.com"), path("/v1/*")],
        vec![path("/beta/*"), header("x-beta", Text::exact("1"))],
        vec![path("/beta/*"), cookie(["qa", "dev"])],
        vec![path("/search"), Condition::Query { name: "engine".into(), values: vec![Text::exact("next")] }],
        vec![method("POST"), path("/orders"), Condition::Body(gold)],
        vec![path("/internal/*"), Condition::Not(vec![inside])],
        vec![path("/old/*")],
        vec![path("/healthz")],
        vec![path("~^/u/([0-9]+)$")],
        vec![],
    ]);
    for (request, ordinal) in [
        (Request::of("api.example.com/v1/x"), 0),
        (Request::of("www.example.com/v1/x"), 9),
        (Request::of("/beta").with("x-beta", "1"), 1),
        (Request::of("/beta/x").with("cookie", "ring=dev"), 2),
        (Request::of("/beta/x").with("cookie", "ring=prod"), 9),
        (Request::of("/search?engine=next"), 3),
        (Request::of("/search?engine=last"), 9),
        (Request::of("POST /orders").with_body(r#"{"customer":{"tier":"gold"}}"#), 4),
        (Request::of("POST /orders").with_body(r#"{"customer":{"tier":"iron"}}"#), 9),
        (Request::of("POST /orders"), 9),
        (Request::of("GET /orders").unread(), 9),
        (Request::of("/internal/x"), 5),
        (Request::of("/old/x"), 6),
        (Request::of("/healthz"), 7),
        (Request::of("/u/42"), 8),
        (Request::of("/u/x"), 9),
    ] {
        assert_eq!(winner(&table, &request), Some(ordinal), "{request:?}");
    }
    let orders = Request::of("POST /orders").unread();
    assert_eq!(table.find(&orders.facts(), 0), Finding::NeedsBody { ordinal: 4, limit: 64 << 10 });
}
