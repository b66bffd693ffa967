//! Each kind of condition but bodies.

use wire::forwarded::Net;

use super::*;

#[test]
fn hosts_are_exact_wildcards_or_patterns() {
    let exact = || vec![host("example.com")];
    assert!(matches(exact(), &Request::of("example.com/")));
    assert!(!matches(exact(), &Request::of("www.example.com/")));
    let wildcard = || vec![host("*.example.com")];
    assert!(matches(wildcard(), &Request::of("www.example.com/")));
    assert!(matches(wildcard(), &Request::of("a.b.example.com/")));
    for other in ["example.com/", ".example.com/", "xexample.com/", "example.com.org/", "/"] {
        assert!(!matches(wildcard(), &Request::of(other)), "{other}");
    }
    let pattern = || vec![Condition::Host(vec![HostPattern::Regex(regex("^w+[.]"))])];
    assert!(matches(pattern(), &Request::of("www.example.com/")));
    assert!(!matches(pattern(), &Request::of("example.com/")));
    let suffix = Text::Suffix { text: ".ORG".into(), ignore_case: true };
    assert!(matches(vec![Condition::Host(vec![HostPattern::Text(suffix)])], &Request::of("example.org/")));
}

#[test]
fn a_missing_host_satisfies_no_pattern() {
    for pattern in [
        HostPattern::Exact(String::new()),
        HostPattern::Wildcard(String::new()),
        HostPattern::Regex(regex("")),
        HostPattern::Text(Text::Contains { text: String::new(), ignore_case: false }),
    ] {
        assert!(!matches(vec![Condition::Host(vec![pattern.clone()])], &Request::of("/")), "{pattern:?}");
    }
}

#[test]
fn paths_are_exact_prefixes_of_segments_or_patterns() {
    for (pattern, path_text, holds) in [
        ("/a", "/a", true),
        ("/a", "/a/", false),
        ("/a", "/A", false),
        ("/a/*", "/a", true),
        ("/a/*", "/a/", true),
        ("/a/*", "/a/b/c", true),
        ("/a/*", "/ab", false),
        ("/a/*", "/", false),
        ("/a//*", "/a/", true),
        ("/a//*", "/a//b", true),
        ("/a//*", "/a", false),
        ("/*", "/", true),
        ("/*", "/a/b", true),
        ("~^/u/([0-9]+)$", "/u/42", true),
        ("~^/u/([0-9]+)$", "/u/", false),
        ("~b", "/a/b", true),
    ] {
        assert_eq!(matches(vec![path(pattern)], &Request::of(path_text)), holds, "{pattern} {path_text}");
    }
    let ends = Text::Suffix { text: ".png".into(), ignore_case: true };
    assert!(matches(vec![Condition::Path(vec![PathPattern::Text(ends)])], &Request::of("/a.PNG")));
}

#[test]
fn no_path_is_not_below_the_root() {
    // The asterisk of `OPTIONS *` is no path, so `/*` leaves it alone; a rule without a path does not.
    let mut request = Request::of("OPTIONS example.com/");
    request.path = "*".to_owned();
    assert!(!matches(vec![path("/*")], &request));
    assert!(matches(vec![host("example.com")], &request));
}

#[test]
fn a_path_far_longer_than_any_rule_is_found_out() {
    let long = format!("/{}/x", "s".repeat(200));
    let rules = [vec![path(&format!("/{}/*", "s".repeat(200)))], vec![path("/s/*")], vec![path("/*")]];
    let table = table(rules);
    assert_eq!(winner(&table, &Request::of(&long)), Some(0));
    assert_eq!(winner(&table, &Request::of(&"/".repeat(5000))), Some(2));
    assert_eq!(winner(&table, &Request::of("/s/t")), Some(1));
}

#[test]
fn methods_differ_in_case() {
    assert!(matches(vec![method("POST")], &Request::of("POST /")));
    assert!(!matches(vec![method("post")], &Request::of("POST /")));
    assert!(matches(vec![method("PURGE")], &Request::of("PURGE /")));
}

#[test]
fn a_field_of_any_case_and_place_is_enough() {
    let request = Request::of("/").with("X-Beta", "0").with("x-BETA", "1");
    assert!(matches(vec![header("x-beta", Text::exact("1"))], &request));
    assert!(!matches(vec![header("x-beta", Text::exact("2"))], &request));
    assert!(!matches(vec![header("x-beta", Text::Absent)], &request));
    assert!(matches(vec![header("x-other", Text::Absent)], &request));
    assert!(!matches(vec![header("x-other", Text::Regex(regex("")))], &request));
}

#[test]
fn cookies_are_read_from_all_fields() {
    let cookie = |name: &str, value| Condition::Cookie { name: name.to_owned(), values: vec![value] };
    let request = Request::of("/").with("Cookie", "a=1; ring=dev").with("cookie", "ring=qa");
    assert!(matches(vec![cookie("ring", Text::exact("qa"))], &request));
    assert!(!matches(vec![cookie("Ring", Text::Present)], &request));
    assert!(matches(vec![cookie("Ring", Text::Absent)], &request));
}

#[test]
fn queries_are_decoded() {
    let query = |name: &str, value| Condition::Query { name: name.to_owned(), values: vec![value] };
    let request = Request::of("/search?q=a%20b+c&%65ngine=next");
    assert!(matches(vec![query("engine", Text::exact("next"))], &request));
    assert!(matches(vec![query("q", Text::exact("a b c"))], &request));
    assert!(matches(vec![query("x", Text::Absent)], &request));
    assert!(matches(vec![query("x", Text::Absent)], &Request::of("/search")));
    assert!(!matches(vec![query("x", Text::Present)], &Request::of("/search")));
}

#[test]
fn clients_ports_and_kinds_are_compared() {
    let net = |address: [u8; 4], prefix| Net { address: address.into(), prefix };
    let mut request = Request::of("/");
    request.client = IpAddr::from([10, 1, 2, 3]);
    assert!(matches(vec![Condition::Client(vec![net([192, 168, 0, 0], 16), net([10, 0, 0, 0], 8)])], &request));
    assert!(!matches(vec![Condition::Client(vec![net([10, 0, 0, 0], 16)])], &request));
    assert!(matches(vec![Condition::Port(vec![443, 80])], &request));
    assert!(!matches(vec![Condition::Port(vec![443])], &request));
    assert!(!matches(vec![Condition::Kind(vec![Kind::Websocket])], &request));
    request.kind = Kind::Websocket;
    assert!(matches(vec![Condition::Kind(vec![Kind::Websocket])], &request));
}

#[test]
fn an_empty_list_never_holds() {
    for condition in
        [Condition::Host(vec![]), Condition::Path(vec![]), Condition::Method(vec![]), Condition::Any(vec![])]
    {
        assert!(!matches(vec![condition], &Request::of("a/")));
    }
}
