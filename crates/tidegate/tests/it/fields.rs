//! What servers are told: targets, hosts, who the client is, and which fields end here.

use testkit::{Ending, Server};

use crate::support::{ask, assert_serves, before, before_pool, before_with, get, seen};

#[test]
fn fields_of_one_hop_end_here() {
    let server = Server::http(|_| {
        b"HTTP/1.1 200 OK\r\nConnection: X-Private, keep-alive\r\nX-Private: 1\r\nKeep-Alive: timeout=5\r\nProxy-Authenticate: Basic\r\nX-Public: 1\r\nContent-Length: 0\r\n\r\n".to_vec()
    });
    let tidegate = before(&server);
    let mut client = tidegate.client();
    let fields = "Connection: keep-alive, X-Secret\r\nConnection: x-other\r\nX-Secret: 1\r\nX-Other: 2\r\nKeep-Alive: 5\r\n\
                  Proxy-Connection: keep-alive\r\nProxy-Authorization: Basic x\r\nTE: gzip\r\nX-Kept: yes\r\n";
    let response = client.ask(get("/", fields));
    for gone in ["connection", "x-private", "keep-alive", "proxy-authenticate"] {
        assert!(!response.fields.has(gone), "{gone} in {response:?}");
    }
    assert!(response.fields.has("x-public"));
    let request = server.request();
    for gone in ["connection", "x-secret", "x-other", "keep-alive", "proxy-connection", "proxy-authorization", "te"] {
        assert!(!request.fields.has(gone), "{gone} in {request:?}");
    }
    assert_eq!(request.fields.value("x-kept"), Some("yes"));
    assert_serves(&mut client);
}

#[test]
fn a_field_that_frames_or_routes_cannot_be_listed_away() {
    let server = Server::named("app");
    let tidegate = before(&server);
    for listed in ["Host", "Content-Length", "Transfer-Encoding", "Cookie"] {
        let mut client = tidegate.client();
        assert_eq!(client.ask(get("/", &format!("Connection: {listed}\r\n"))).status, 400, "{listed}");
        assert_eq!(client.ending(), Ending::Clean);
    }
    // Who the client is does not vanish either.
    let request = seen(&tidegate, &server, &get("/", "Connection: X-Forwarded-For, Via\r\n"));
    assert_eq!(request.fields.value("x-forwarded-for"), Some("127.0.0.1"));
    assert!(request.fields.has("via"));
}

#[test]
fn the_order_and_spelling_of_fields_is_kept() {
    let server = Server::named("app");
    let tidegate = before(&server);
    let request =
        seen(&tidegate, &server, &get("/", "b-Field: 1\r\nA-field:2\r\nb-field:  3 \t\r\nEmpty:\r\nLatin: \u{e9}\r\n"));
    let ours: Vec<(&str, &str)> = request
        .fields
        .0
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .filter(|(name, _)| ["b-field", "a-field", "empty", "latin"].contains(&name.to_ascii_lowercase().as_str()))
        .collect();
    // The two bytes of the letter arrive as they were sent.
    assert_eq!(ours, [("b-Field", "1"), ("A-field", "2"), ("b-field", "3"), ("Empty", ""), ("Latin", "\u{c3}\u{a9}")]);
}

#[test]
fn via_is_written_both_ways_and_a_loop_is_found() {
    let server = Server::http(|_| b"HTTP/1.1 200 OK\r\nVia: 1.0 inner\r\nContent-Length: 0\r\n\r\n".to_vec());
    let tidegate = before(&server);
    let response = ask(&tidegate, &get("/", "Via: 1.0 outer\r\n"));
    let request = server.request();
    assert_eq!(request.fields.values("via").join(", "), "1.0 outer, 1.1 tidegate");
    assert_eq!(response.fields.values("via").join(", "), "1.0 inner, 1.1 tidegate");

    // The program in front of itself.
    let ring = Server::script(|_| {});
    let again = before(&ring);
    let looped = format!("Via: {}\r\n", ["1.1 tidegate"; 9].join(", "));
    assert_eq!(ask(&again, &get("/", &looped)).status, 508);
    assert_eq!(ring.connections(), 0);
}

const CLAIMS: &str = "X-Forwarded-For: 9.9.9.9, 8.8.8.8\r\nX-Real-IP: 9.9.9.9\r\nForwarded: for=9.9.9.9\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Host: evil\r\n";

#[test]
fn what_strangers_say_of_clients_is_dropped() {
    let server = Server::named("app");
    let tidegate = before(&server);
    let request = seen(&tidegate, &server, &get("/strange", CLAIMS));
    assert_eq!(request.fields.value("x-forwarded-for"), Some("127.0.0.1"));
    assert_eq!(request.fields.value("x-forwarded-proto"), Some("http"));
    assert_eq!(request.fields.value("x-forwarded-host"), Some("test.example"));
    assert!(!request.fields.has("forwarded") && !request.fields.has("x-real-ip"), "{request:?}");
    assert_eq!(tidegate.log_of("/strange")["client"], "127.0.0.1");
}

#[test]
fn what_trusted_peers_say_of_clients_is_continued() {
    let server = Server::named("app");
    let tidegate = before_with(&server, "forwarding: { trust: [127.0.0.0/8, 8.8.8.0/24] }");
    let request = seen(&tidegate, &server, &get("/trusted", CLAIMS));
    assert_eq!(request.fields.values("x-forwarded-for").join(", "), "9.9.9.9, 8.8.8.8, 127.0.0.1");
    assert_eq!(tidegate.log_of("/trusted")["client"], "9.9.9.9");
}

#[test]
fn forwarding_says_what_it_is_told_to() {
    for (forwarding, wanted) in [
        ("elite", vec![]),
        ("anonymous", vec!["via"]),
        ("{ client: replace }", vec!["via", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto"]),
        ("{ via: false, format: rfc7239 }", vec!["forwarded"]),
        ("{ via: false, format: both }", vec!["forwarded", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto"]),
    ] {
        let server = Server::named("app");
        let tidegate = before_with(&server, &format!("forwarding: {forwarding}"));
        let request = seen(&tidegate, &server, &get("/", CLAIMS));
        let mut told: Vec<String> = request.fields.0.iter().map(|(name, _)| name.to_ascii_lowercase()).collect();
        told.retain(|name| name != "host" && name != "x-forwarded-port");
        told.sort();
        assert_eq!(told, wanted, "{forwarding}");
        assert!(!format!("{:?}", request.fields).contains("9.9.9.9"), "{forwarding}");
    }
}

#[test]
fn the_clients_host_is_sent_on_unless_the_pool_says_otherwise() {
    for (host, wanted) in [("client", "test.example"), ("app.internal", "app.internal"), ("server", "")] {
        let server = Server::named("app");
        let tidegate = before_pool(&server, &format!("host: {host}"));
        let wanted = if wanted.is_empty() { server.address().to_owned() } else { wanted.to_owned() };
        let request = seen(&tidegate, &server, &get("/", ""));
        assert_eq!(request.fields.value("host"), Some(wanted.as_str()), "{host}");
        assert_eq!(request.fields.value("x-forwarded-host"), Some("test.example"), "{host}");
    }
}

#[test]
fn the_target_in_absolute_form_names_the_host() {
    let server = Server::named("app");
    let tidegate = before(&server);
    let request = seen(&tidegate, &server, "GET http://Named.example:81/p?q HTTP/1.1\r\nHost: other\r\n\r\n");
    assert_eq!((request.target.as_str(), request.fields.value("host")), ("/p?q", Some("Named.example:81")));
    assert_eq!(tidegate.log_of("/p")["host"], "named.example");
    assert_eq!(ask(&tidegate, "GET https://named.example/ HTTP/1.1\r\nHost: named.example\r\n\r\n").status, 421);
}

#[test]
fn the_target_star_is_for_options_alone() {
    let server = Server::named("app");
    let tidegate = before(&server);
    let request = seen(&tidegate, &server, "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(request.target, "*");
    let request = seen(&tidegate, &server, "OPTIONS http://a HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(request.target, "*");
    assert_eq!(ask(&tidegate, "GET * HTTP/1.1\r\nHost: a\r\n\r\n").status, 400);
}

#[test]
fn connect_is_refused() {
    let server = Server::named("app");
    let tidegate = before(&server);
    let mut client = tidegate.client();
    assert_eq!(client.ask("CONNECT example.com:443 HTTP/1.1\r\nHost: example.com\r\n\r\n").status, 501);
    assert_eq!(client.ending(), Ending::Clean);
    assert_eq!(server.connections(), 0);
}

#[test]
fn the_path_that_was_matched_is_the_path_that_is_forwarded() {
    let server = Server::named("app");
    let tidegate = before(&server);
    for (sent, wanted) in [
        ("/a/./b/../c?x=%61/../", "/a/c?x=%61/../"),
        ("/%61%2f%2E%2E/b%5c", "/a%2F../b%5C"),
        ("/%7e/%zz", ""),
        ("/a//b", "/a//b"),
        ("/..", ""),
        ("/a/%2e%2e", "/"),
        ("/a\\b", ""),
        ("/a%00", ""),
        ("/a#b", ""),
    ] {
        let response = ask(&tidegate, &get(sent, ""));
        if wanted.is_empty() {
            assert_eq!(response.status, 400, "{sent}");
        } else {
            assert_eq!((response.status, server.request().target.as_str()), (200, wanted), "{sent}");
        }
    }
}

/// RFC 9110 section 7.6.2.
#[test]
fn a_request_goes_no_farther_than_it_says() {
    let server = Server::named("app");
    let tidegate = before(&server);
    let of = |method: &str, hops: &str| format!("{method} /hops HTTP/1.1\r\nHost: a\r\nMax-Forwards: {hops}\r\n\r\n");
    for (method, status) in [("OPTIONS", 200), ("TRACE", 405)] {
        let mut client = tidegate.client();
        let response = client.ask(of(method, "0"));
        assert_eq!((response.status, response.body.len()), (status, 0), "{method}");
        assert!(response.fields.value("allow").is_some_and(|allow| allow.contains("OPTIONS")), "{method}");
        assert!(server.requests().is_empty(), "{method}");
        // The connection goes on.
        assert_eq!(client.ask(of(method, "x")).status, 400, "{method}");
    }
    for method in ["OPTIONS", "TRACE", "GET"] {
        let request = seen(&tidegate, &server, &of(method, "7"));
        assert_eq!(request.fields.value("max-forwards"), Some(if method == "GET" { "7" } else { "6" }), "{method}");
    }
}

#[test]
fn the_log_says_why_a_request_was_refused() {
    let server = Server::named("app");
    let tidegate = before(&server);
    let response = ask(&tidegate, &get("/a/%00", ""));
    assert_eq!(response.status, 400);
    let line = tidegate.log_line("the refused request", |line| line["fault"] == "malformed");
    let reason = line["reason"].as_str().expect("a reason");
    assert!(!reason.is_empty() && response.text().contains(reason), "{line}: {}", response.text());
    assert_eq!(ask(&tidegate, &get("/fine", "")).status, 200);
    assert!(tidegate.log_of("/fine")["reason"].is_null());
}
