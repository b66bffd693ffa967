//! What a request that comes over TLS means.

use testkit::{Client, ClientTls, Server};

use super::{ALONE, Desk, EDGE, page};

#[test]
fn a_host_with_another_certificate_is_misdirected_and_one_with_the_same_is_not() {
    let desk = Desk::new();
    desk.issue("other", &["other.test"]);
    let text = "
certificates:
  main: { cert: '@DIR/main.pem', key: '@DIR/main.key' }
  other: { cert: '@DIR/other.pem', key: '@DIR/other.key' }
listeners: { web: { bind: 127.0.0.1:0, tls: [main, other], respond: { body: here } } }
";
    let tidegate = desk.start(text, &[]);
    let ask = |sni: &str, host: &str, path: &str| {
        let mut client = Client::secured(&tidegate.address("web"), &ClientTls::new(&desk.authority, sni));
        client.ask(format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n")).status
    };
    // RFC 9113 section 9.1.1: a browser may use one connection for all names of its certificate.
    for host in ["example.com", "shop.example.com", "Example.com:8443"] {
        assert_eq!(ask("example.com", host, "/"), 200, "{host}");
    }
    assert_eq!(ask("other.test", "other.test", "/"), 200);
    assert_eq!(ask("example.com", "other.test", "/a"), 421);
    assert_eq!(ask("other.test", "example.com", "/b"), 421);
    assert_eq!(tidegate.log_of("/a")["fault"], "misdirected");
    // Who named nobody was shown what everybody is.
    assert_eq!(ask("127.0.0.1", "other.test", "/"), 200);
}

#[test]
fn a_target_of_the_other_scheme_is_misdirected() {
    let desk = Desk::new();
    let tidegate = desk.start(ALONE, &[]);
    for (target, status) in [("http://example.com/", 421), ("https://example.com/", 200)] {
        assert_eq!(desk.client(&tidegate).ask(page(target)).status, status, "{target}");
    }
}

#[test]
fn servers_are_told_of_https_and_redirects_stay_there() {
    let desk = Desk::new();
    let server = Server::named("app");
    let text = EDGE
        .replace("to: app", "routes: [{ match: { path: /away }, redirect: { host: shop.example.com } }, { to: app }]");
    let tidegate = desk.start(&text, &[("APP", &server)]);
    let mut client = desk.client(&tidegate);
    assert_eq!(client.ask(page("/")).text(), "app");
    assert_eq!(server.request().fields.value("x-forwarded-proto"), Some("https"));
    assert_eq!(client.ask(page("/away")).fields.value("location"), Some("https://shop.example.com/away"));
}

/// Not found is a page of a site that there is; a site that there is not may be elsewhere.
#[test]
fn a_host_that_no_route_is_for_is_misdirected() {
    let desk = Desk::new();
    let text = ALONE.replace(
        "respond: { body: here }",
        "routes: [{ match: { host: example.com, path: /a }, respond: 200 }, \
         { match: { host: ['*.shop.test', '~^re[0-9]'] }, routes: [{ match: { path: /b }, respond: 200 }] }]",
    );
    let tidegate = desk.start(&text, &[]);
    for (host, path, status) in [
        ("example.com", "/a", 200),
        ("example.com", "/b", 404),
        ("a.shop.test", "/b", 200),
        ("a.shop.test", "/a", 404),
        ("re5.test", "/a", 404),
        ("shop.test", "/a", 421),
        ("nobody.test", "/a", 421),
    ] {
        let mut client = Client::secured(&tidegate.address("web"), &ClientTls::new(&desk.authority, "127.0.0.1"));
        let request = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n");
        assert_eq!(client.ask(request).status, status, "{host}{path}");
    }
    // Where one route is for every host, none is unknown.
    let text = ALONE.replace("respond: { body: here }", "routes: [{ match: { path: /a }, respond: 200 }]");
    let tidegate = desk.start(&text, &[]);
    assert_eq!(desk.client(&tidegate).ask(page("/b")).status, 404);
}
