//! What pages learn of browsers, rule by rule.

use testkit::{Server, Tidegate};

use super::{port, proxy};

/// Asks for a page of a host and says what its server has seen of these fields, and how many cookies came back.
fn ask(tidegate: &Tidegate, server: &Server, host: &str, fields: &str) -> (String, usize) {
    let place = format!("{host}:{}", port(server));
    let fields = fields.replace("@PORT", port(server));
    let answer = tidegate.client().ask(format!("GET http://{place}/ HTTP/1.1\r\nHost: {place}\r\n{fields}\r\n"));
    assert_eq!(answer.status, 200);
    let seen = server.request().fields.0;
    let seen: Vec<String> = seen
        .into_iter()
        .filter(|(name, _)| name != "Host" && name != "Via")
        .map(|(name, value)| format!("{name}: {value}").replace(port(server), "PORT"))
        .collect();
    (seen.join(", "), answer.fields.values("set-cookie").len())
}

fn with(privacy: &str) -> Tidegate {
    proxy(&format!("forwarding: anonymous\n    use: [{{ privacy: {{ {privacy} }} }}]\n    to: origin"))
}

fn baker() -> Server {
    Server::http(|_| b"HTTP/1.1 200 OK\r\nSet-Cookie: a=b\r\nset-cookie: c=d\r\nContent-Length: 0\r\n\r\n".to_vec())
}

#[test]
pub(crate) fn the_page_before_is_told_by_its_policy() {
    let server = baker();
    let page = "Referer: http://a.test:@PORT/secret?q#x\r\n";
    let (whole, origin) = ("Referer: http://a.test:PORT/secret?q#x", "Referer: http://a.test:PORT/");
    for (policy, same, cross) in [
        ("origin", origin, origin),
        ("same_origin", whole, ""),
        ("origin_when_cross_origin", whole, origin),
        ("remove", "", ""),
    ] {
        let tidegate = with(&format!("referer: {policy}"));
        assert_eq!(ask(&tidegate, &server, "a.test", page), (same.to_owned(), 2), "{policy}");
        assert_eq!(ask(&tidegate, &server, "b.test", page), (cross.to_owned(), 2), "{policy}");
        assert_eq!(ask(&tidegate, &server, "a.test", "Referer: https://a.test/secret\r\n").0, "", "{policy}");
    }
}

#[test]
pub(crate) fn cookies_pass_as_far_as_they_may() {
    let server = baker();
    let removing = with("cookies: remove");
    assert_eq!(ask(&removing, &server, "a.test", "A: 1\r\nCookie: x=y\r\nB: 2\r\n"), ("A: 1, B: 2".to_owned(), 0));
    // What `referer` takes away still says whose page has asked.
    let first = with("cookies: first_party, referer: remove");
    let cookie = "Cookie: x=y\r\n";
    for (page, kept) in [
        ("", true),
        ("Referer: http://a.test/\r\n", true),
        ("Referer: http://www.a.test:81/\r\n", true),
        ("Referer: http://other.test/\r\n", false),
        ("Sec-Fetch-Site: cross-site\r\n", false),
        ("Sec-Fetch-Site: same-site\r\nReferer: http://other.test/\r\n", true),
    ] {
        let (seen, set) = ask(&first, &server, "a.test", &format!("{page}{cookie}"));
        assert_eq!((seen.contains("Cookie"), set), (kept, if kept { 2 } else { 0 }), "{page}");
    }
}

#[test]
pub(crate) fn a_browser_is_what_is_said_of_it() {
    let server = baker();
    let fields = "Accept: */*\r\nuser-agent: Real/1.0\r\nSec-CH-UA: \"Real\";v=\"1\"\r\nsec-ch-ua-platform: Linux\r\nX-Last: 1\r\n";
    let seen = |user_agent: &str| ask(&with(&format!("user_agent: {user_agent}")), &server, "a.test", fields).0;
    assert_eq!(seen("remove"), "Accept: */*, X-Last: 1");
    assert_eq!(seen("\"Other/2.0 (all)\""), "Accept: */*, user-agent: Other/2.0 (all), X-Last: 1");
    let plain = with("user_agent: Other/2.0");
    assert_eq!(ask(&plain, &server, "a.test", "X-Last: 1\r\n").0, "X-Last: 1, User-Agent: Other/2.0");
}

#[test]
fn a_rule_is_for_its_route() {
    let server = baker();
    let tidegate = proxy(
        "forwarding: anonymous\n    routes: [{ match: { host: a.test }, to: origin }, { use: [{ privacy: { cookies: remove } }], to: origin }]",
    );
    assert_eq!(ask(&tidegate, &server, "a.test", "Cookie: x=y\r\n"), ("Cookie: x=y".to_owned(), 2));
    assert_eq!(ask(&tidegate, &server, "b.test", "Cookie: x=y\r\n"), (String::new(), 0));
}
