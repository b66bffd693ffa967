//! Body predicates: what they read, what they cannot know, and when the body is asked for at all.

use super::super::BodyCondition;
use super::*;

const FORM: &str = "application/x-www-form-urlencoded";

fn json(path: &str, value: Text) -> Condition {
    let path = path.parse().expect("tests write valid paths");
    Condition::Body(BodyCondition { json: vec![(path, vec![value])], limit: 1024, ..BodyCondition::default() })
}

fn form(name: &str, value: Text) -> Condition {
    Condition::Body(BodyCondition {
        form: vec![(name.to_owned(), vec![value])],
        limit: 1024,
        ..BodyCondition::default()
    })
}

fn text(value: &str, limit: usize, reject_over_limit: bool) -> Condition {
    let text = vec![Text::Contains { text: value.to_owned(), ignore_case: false }];
    Condition::Body(BodyCondition { text, limit, reject_over_limit, ..BodyCondition::default() })
}

fn post() -> Request {
    Request::of("POST /")
}

#[test]
fn json_values_are_compared_as_written() {
    let body = r#"{"a": {"b": [10, 1.50, true, null, "x\u0041", {"c": ""}]}, "a b": "y"}"#;
    for (path, value) in [
        ("$.a.b[0]", "10"),
        ("$.a.b[1]", "1.50"),
        ("$.a.b[2]", "true"),
        ("$.a.b[3]", "null"),
        ("$.a.b[4]", "xA"),
        ("$.a.b[5].c", ""),
        ("$['a b']", "y"),
    ] {
        assert!(matches(vec![json(path, Text::exact(value))], &post().with_body(body)), "{path}");
        assert!(matches(vec![json(path, Text::Present)], &post().with_body(body)), "{path}");
        assert!(!matches(vec![json(path, Text::Absent)], &post().with_body(body)), "{path}");
    }
    for path in ["$.a", "$.a.b", "$"] {
        assert!(matches(vec![json(path, Text::Present)], &post().with_body(body)), "{path}");
        assert!(!matches(vec![json(path, Text::Regex(regex("")))], &post().with_body(body)), "{path}");
    }
    for path in ["$.x", "$.a[0]", "$.a.b.c", "$.a.b[6]", "$.a.b[0].c"] {
        assert!(matches(vec![json(path, Text::Absent)], &post().with_body(body)), "{path}");
        assert!(!matches(vec![json(path, Text::Present)], &post().with_body(body)), "{path}");
    }
}

#[test]
fn form_fields_are_decoded() {
    let request =
        post().with("content-type", "Application/X-WWW-Form-URLencoded; charset=UTF-8").with_body("a=1&b=x+%79");
    assert!(matches(vec![form("b", Text::exact("x y"))], &request));
    assert!(matches(vec![form("c", Text::Absent)], &request));
    assert!(!matches(vec![form("a", Text::exact("2"))], &request));
}

#[test]
fn what_is_asked_of_one_body_must_all_hold() {
    let both = |tier: &str| {
        let mut body = BodyCondition { limit: 99, text: vec![Text::exact(r#"{"a":1,"b":2}"#)], ..Default::default() };
        for (path, value) in [("$.a", "1"), ("$.b", tier)] {
            body.json.push((path.parse().expect("a valid path"), vec![Text::exact("9"), Text::exact(value)]));
        }
        vec![Condition::Body(body)]
    };
    assert!(matches(both("2"), &post().with_body(r#"{"a":1,"b":2}"#)));
    assert!(!matches(both("3"), &post().with_body(r#"{"a":1,"b":2}"#)));
    assert!(!matches(both("2"), &post().with_body(r#"{"a":1,"b":2} "#)));
}

#[test]
fn what_cannot_be_known_satisfies_neither_a_condition_nor_its_opposite() {
    let neither = |condition: Condition, request: &Request| {
        assert!(!matches(vec![condition.clone()], request), "{request:?}");
        assert!(!matches(vec![Condition::Not(vec![condition.clone()])], request), "{request:?}");
        assert!(!matches(vec![Condition::Not(vec![Condition::Not(vec![condition])])], request), "{request:?}");
    };
    for body in ["", "{", r#"{"a":1,"a":1}"#, r#"{"b":{"a":1,"\u0061":1}}"#, "{a:1}", "[1,]", "{} x", "\"\\ud800\""] {
        neither(json("$.a", Text::exact("2")), &post().with_body(body));
        neither(json("$.a", Text::Absent), &post().with_body(body));
    }
    neither(json("$.a", Text::Absent), &post().with_body(b"{\"b\":\"\xff\"}"));
    neither(text("x", 99, false), &post().with_body(b"x\xff"));
    neither(json("$.a", Text::Absent), &post().with_body("[".repeat(500) + &"]".repeat(500)));
    for (name, value) in [
        ("content-encoding", "gzip"),
        ("content-encoding", "identity, br"),
        ("content-type", "text/plain; charset=utf-16"),
        ("content-type", "text/plain;x=y; CharSet = \"latin1\""),
    ] {
        neither(text("x", 99, false), &post().with(name, value).with_body("x"));
        neither(json("$.a", Text::exact("1")), &post().with(name, value).with_body("{\"a\":1}"));
    }
    neither(form("a", Text::Absent), &post().with_body("b=1"));
    neither(form("a", Text::Absent), &post().with("content-type", "text/plain").with_body("b=1"));
    for body in ["a=%", "a=1&b=%zz", "a=1&b=%ff"] {
        neither(form("a", Text::exact("1")), &post().with("content-type", FORM).with_body(body));
    }
    neither(text("x", 4, false), &post().with_body("xxxxx"));
}

#[test]
fn a_plain_body_is_known_by_other_names_too() {
    for (name, value) in [
        ("content-encoding", "Identity"),
        ("content-encoding", ""),
        ("content-type", "text/plain; charset=\"UTF-8\""),
        ("content-type", "text/plain; boundary=x"),
    ] {
        assert!(matches(vec![text("x", 99, false)], &post().with(name, value).with_body("x")), "{name}: {value}");
    }
}

#[test]
fn no_body_is_an_empty_text() {
    assert!(matches(vec![text("", 9, false)], &Request::of("/")));
    assert!(matches(vec![Condition::Not(vec![text("x", 9, false)])], &Request::of("/")));
    assert!(!matches(vec![json("$", Text::Absent)], &Request::of("/")));
}

#[test]
fn the_body_is_read_only_when_nothing_cheaper_decides() {
    let unread = post().unread();
    let needs = |limit| Finding::NeedsBody { ordinal: 0, limit };
    let x = || text("x", 9, false);
    let cheap = |holds: bool| if holds { method("POST") } else { method("GET") };
    assert_eq!(find([vec![x(), cheap(false)]], &unread), Finding::None);
    assert_eq!(find([vec![x(), cheap(true)]], &unread), needs(9));
    assert_eq!(find([vec![x(), text("y", 20, false)]], &unread), needs(20));
    assert_eq!(find([vec![Condition::Not(vec![x(), cheap(true)])]], &unread), needs(9));
    assert!(matches(vec![Condition::Not(vec![x(), cheap(false)])], &unread));
    assert!(matches(vec![Condition::Any(vec![vec![x()], vec![cheap(true)]])], &unread));
    assert_eq!(find([vec![Condition::Any(vec![vec![x()], vec![cheap(false)]])]], &unread), needs(9));
    assert_eq!(find([vec![Condition::Any(vec![vec![x(), cheap(false)]])]], &unread), Finding::None);
}

#[test]
fn what_the_head_says_of_the_body_spares_reading_it() {
    assert_eq!(find([vec![text("x", 9, false)]], &post().with("content-encoding", "br").unread()), Finding::None);
    assert_eq!(find([vec![form("x", Text::Absent)]], &post().with("content-type", "text/css").unread()), Finding::None);
    let mut long = post().unread();
    long.head.set_framing(Framing::Length(10));
    assert_eq!(find([vec![text("x", 9, false)]], &long), Finding::None);
    assert_eq!(find([vec![text("x", 9, true)]], &long), Finding::TooLarge { ordinal: 0 });
    // Something else that can never be known makes reading pointless, too.
    let opposite = Condition::Not(vec![form("x", Text::Absent)]);
    assert_eq!(find([vec![text("x", 9, false), opposite]], &post().unread()), Finding::None);
}

#[test]
fn a_body_over_the_limit_is_no_match_or_refused() {
    let rules = |reject| [vec![text("x", 4, reject)], vec![]];
    let over = [post().with_body("xxxxx"), post().with_beginning("xxxxx")];
    for request in over {
        assert_eq!(winner(&table(rules(false)), &request), Some(1));
        assert_eq!(find(rules(true), &request), Finding::TooLarge { ordinal: 0 });
        let guarded = |holds| vec![text("x", 4, true), method(if holds { "POST" } else { "GET" })];
        assert_eq!(find([guarded(true)], &request), Finding::TooLarge { ordinal: 0 });
        assert_eq!(find([guarded(false)], &request), Finding::None);
    }
    assert_eq!(winner(&table(rules(true)), &post().with_body("xxxx")), Some(0));
    // Whether it ends here is still to be seen.
    assert_eq!(find(rules(true), &post().with_beginning("xxxx")), Finding::NeedsBody { ordinal: 0, limit: 4 });
}

#[test]
fn a_search_goes_on_where_it_asked_for_the_body() {
    let table = table([vec![text("x", 4, false)], vec![text("y", 8, false)], vec![]]);
    assert_eq!(table.find(&post().unread().facts(), 0), Finding::NeedsBody { ordinal: 0, limit: 4 });
    let more = post().with_beginning("abcde");
    assert_eq!(table.find(&more.facts(), 0), Finding::NeedsBody { ordinal: 1, limit: 8 });
    assert_eq!(winner(&table, &post().with_body("abcdyy")), Some(1));
    assert_eq!(winner(&table, &post().with_body("abcdef")), Some(2));
}
