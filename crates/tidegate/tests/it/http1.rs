//! HTTP/1.1 on both sides: framing, connections, fields, what is forwarded and what is not.

use testkit::{Broken, Client, Ending, Framing, Peer, Server, Signal, ok};

use crate::support::{ask, assert_serves, before, before_pool, before_with, get, post, seen};

#[test]
fn one_connection_serves_many_requests_and_so_does_one_to_the_server() {
    let server = Server::named("app");
    let tidegate = before(&server);
    let mut client = tidegate.client();
    for _ in 0..5 {
        let response = client.get("/");
        assert_eq!((response.status, response.text().as_str()), (200, "app"));
        assert!(!response.fields.has("connection"), "{response:?}");
    }
    assert_eq!(server.connections(), 1);
    assert!(server.requests().iter().all(|request| !request.fields.has("connection")));
}

#[test]
fn a_client_that_asks_for_it_gets_its_connection_closed() {
    let server = Server::named("app");
    let tidegate = before(&server);
    let mut client = tidegate.client();
    let response = client.ask(get("/", "Connection: close\r\n"));
    assert_eq!(response.fields.value("connection"), Some("close"));
    assert_eq!(client.ending(), Ending::Clean);
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    // The first answer is the slowest to come: nothing may overtake it.
    let second_is_sent = Signal::new();
    let held = second_is_sent.clone();
    let server = Server::http(move |request| {
        if request.target == "/1" {
            held.wait();
        }
        ok(&request.target)
    });
    let tidegate = before(&server);
    let mut client = tidegate.client();
    client.send([get("/1", ""), post("/2", "body"), get("/3", "")].concat());
    second_is_sent.raise();
    let answers: Vec<String> = (0..3).map(|_| client.response().text()).collect();
    assert_eq!(answers, ["/1", "/2", "/3"]);
    assert_serves(&mut client);
}

#[test]
fn a_pipelined_request_that_comes_in_pieces_is_served() {
    let server = Server::http(|request| ok(&request.target));
    let tidegate = before(&server);
    let mut client = tidegate.client();
    let both = [get("/1", ""), get("/2", "")].concat();
    let (early, late) = both.split_at(both.len() - 9);
    client.send(early);
    assert_eq!(client.response().text(), "/1");
    client.send(late);
    assert_eq!(client.response().text(), "/2");
}

#[test]
fn bodies_of_every_size_pass_both_ways_in_both_framings() {
    let server = Server::http(|request| {
        if request.framing == Framing::Chunked {
            [&b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"[..], &chunked(&request.body)].concat()
        } else {
            ok(&request.body)
        }
    });
    let tidegate = before(&server);
    let mut client = tidegate.client();
    for size in [1, 2, 1023, 16 * 1024 - 1, 16 * 1024, 64 * 1024 + 1, 300 * 1024] {
        let body: Vec<u8> = (0..size).map(|at| (at * 7 % 251) as u8).collect();
        let plain = format!("POST /plain HTTP/1.1\r\nHost: a\r\nContent-Length: {size}\r\n\r\n");
        client.send([plain.as_bytes(), &body].concat());
        let response = client.response();
        assert_eq!(response.framing, Framing::Length(size as u64));
        assert!(response.body == body, "{size} bytes with a length");

        let head = b"POST /chunked HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
        client.send([&head[..], &chunked(&body)].concat());
        let response = client.response();
        assert_eq!(response.framing, Framing::Chunked);
        assert!(response.body == body, "{size} bytes in chunks");
    }
    assert_eq!(server.connections(), 1);
}

/// A body in chunks of changing sizes.
fn chunked(body: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let (mut rest, mut size) = (body, 1);
    while !rest.is_empty() {
        let (chunk, after) = rest.split_at(size.min(rest.len()));
        out.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
        out.extend_from_slice(chunk);
        out.extend_from_slice(b"\r\n");
        (rest, size) = (after, size * 3);
    }
    out.extend_from_slice(b"0\r\n\r\n");
    out
}

#[test]
fn a_chunked_body_that_comes_byte_by_byte_arrives_whole() {
    let server = Server::echo();
    let tidegate = before(&server);
    let mut client = tidegate.client();
    let head = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
    for byte in format!("{head}5;name=value\r\nhello\r\n00A\r\n 123456789\r\n0\r\nX-Sum: 1\r\n\r\n").bytes() {
        client.send([byte]);
    }
    assert_eq!(client.response().text(), "hello 123456789");
    assert_eq!(server.request().trailers.value("x-sum"), Some("1"));
}

#[test]
fn trailers_pass_both_ways() {
    let server = Server::http(|_| {
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Down\r\n\r\n3\r\nabc\r\n0\r\nX-Down: yes\r\nContent-Length: 9\r\n\r\n"
            .to_vec()
    });
    let tidegate = before(&server);
    let mut client = tidegate.client();
    let up = "POST / HTTP/1.1\r\nHost: a\r\nTE: trailers\r\nConnection: TE\r\nTransfer-Encoding: chunked\r\n\r\n\
              2\r\nhi\r\n0\r\nX-Up: yes\r\nHost: evil\r\n\r\n";
    let response = client.ask(up);
    assert_eq!(response.text(), "abc");
    assert_eq!(response.trailers.0, [("X-Down".to_owned(), "yes".to_owned())]);
    let request = server.request();
    assert_eq!(request.trailers.0, [("X-Up".to_owned(), "yes".to_owned())]);
    assert_eq!(request.fields.value("te"), Some("trailers"));
    assert_serves(&mut client);
}

#[test]
fn a_body_is_sent_only_after_the_servers_100() {
    let head_came = Signal::new();
    let noted = head_came.clone();
    let server = Server::script(move |peer| {
        let request = peer.request_head().expect("a head");
        assert_eq!(request.fields.value("expect"), Some("100-continue"));
        assert!(peer.reader.surplus().is_empty(), "a body came before the 100");
        noted.raise();
        peer.send("HTTP/1.1 100 Continue\r\n\r\n");
        let (body, _) = peer.reader.body(request.framing).expect("a body");
        peer.send(ok(body));
        peer.hang();
    });
    let tidegate = before(&server);
    let mut client = tidegate.client();
    client.send("POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n");
    head_came.wait();
    assert_eq!(client.head().status, 100);
    client.send("body");
    assert_eq!(client.response().text(), "body");
}

#[test]
fn a_refusal_instead_of_100_closes_the_connection_whose_body_nobody_read() {
    let server = Server::script(|peer| {
        peer.request_head().expect("a head");
        peer.send("HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n");
        peer.hang();
    });
    let tidegate = before(&server);
    let mut client = tidegate.client();
    let response = client.ask("POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n");
    assert_eq!((response.status, response.interim.len()), (401, 0));
    assert_eq!(response.fields.value("connection"), Some("close"));
    assert_eq!(client.ending(), Ending::Clean);
    // The server waits for a body that will not come: its connection cannot be used again.
    server.until_idle();
}

#[test]
fn an_unasked_100_from_the_server_is_not_passed_on() {
    let server = Server::http(|_| [&b"HTTP/1.1 100 Continue\r\n\r\n"[..], &ok("x")].concat());
    let tidegate = before(&server);
    let response = ask(&tidegate, &post("/", "body"));
    assert_eq!((response.interim.len(), response.text().as_str()), (0, "x"));
}

#[test]
fn an_unknown_expectation_is_417() {
    let server = Server::named("app");
    let tidegate = before(&server);
    let mut client = tidegate.client();
    assert_eq!(client.ask(get("/", "Expect: a-miracle\r\n")).status, 417);
    assert!(server.requests().is_empty());
}

#[test]
fn responses_without_a_body_are_framed_so() {
    let server = Server::http(|request| {
        let head = match request.target.as_str() {
            "/204" => "204 No Content\r\n",
            "/304" => "304 Not Modified\r\nContent-Length: 5\r\nETag: \"1\"\r\n",
            "/length" => "200 OK\r\nContent-Length: 5\r\n",
            "/chunked" => "200 OK\r\nTransfer-Encoding: chunked\r\n",
            _ => "200 OK\r\nContent-Length: 0\r\n",
        };
        format!("HTTP/1.1 {head}\r\n").into_bytes()
    });
    let tidegate = before(&server);
    let mut client = tidegate.client();
    for target in ["/204", "/304"] {
        let response = client.get(target);
        assert_eq!((response.framing, response.status.to_string()), (Framing::None, target[1..].to_owned()));
    }
    for (target, length) in [("/length", Some("5")), ("/chunked", None), ("/empty", Some("0"))] {
        client.send(format!("HEAD {target} HTTP/1.1\r\nHost: a\r\n\r\n"));
        let response = client.response_to_head();
        assert_eq!((response.status, response.fields.value("content-length")), (200, length), "{target}");
    }
    assert_eq!(client.get("/empty").framing, Framing::Length(0));
    assert_eq!(server.connections(), 1);
}

#[test]
fn a_server_that_sends_a_body_with_204_is_not_believed_to_be_in_step() {
    let server = Server::http(|_| b"HTTP/1.1 204 No Content\r\n\r\nsurplus".to_vec());
    let tidegate = before(&server);
    let mut client = tidegate.client();
    for _ in 0..2 {
        assert_eq!(client.get("/").status, 204);
    }
    assert_eq!(server.connections(), 2);
}

#[test]
fn http_1_0_gets_what_it_understands() {
    let server = Server::http(|request| match request.target.as_str() {
        "/chunked" => b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n".to_vec(),
        _ => ok("abc"),
    });
    let tidegate = before(&server);

    let mut client = tidegate.client();
    let response = client.ask("GET / HTTP/1.0\r\n\r\n");
    assert_eq!((response.framing, response.text().as_str()), (Framing::Length(3), "abc"));
    assert_eq!(client.ending(), Ending::Clean);

    let mut client = tidegate.client();
    for _ in 0..2 {
        let response = client.ask("GET / HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\n\r\n");
        assert_eq!(response.fields.value("connection"), Some("keep-alive"));
    }
    // Without chunks only the end of the connection can mark the end of the body.
    let response = client.ask("GET /chunked HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    assert_eq!((response.framing, response.text().as_str()), (Framing::UntilClose, "abc"));
    assert_eq!(response.fields.value("connection"), Some("close"));
    assert_eq!(tidegate.log_of("/chunked")["version"], "1.0");
}

#[test]
fn interim_responses_pass_to_1_1_and_not_to_1_0() {
    let server = Server::http(|_| {
        let hints = b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\nConnection: x-hop\r\nX-Hop: 1\r\n\r\n";
        [&hints[..], b"HTTP/1.1 102 Processing\r\n\r\n", &ok("done")].concat()
    });
    let tidegate = before(&server);
    let response = ask(&tidegate, &get("/", ""));
    let statuses: Vec<u16> = response.interim.iter().map(|interim| interim.status).collect();
    assert_eq!(statuses, [103, 102]);
    assert_eq!(response.interim[0].fields.0, [("Link".to_owned(), "</a.css>; rel=preload".to_owned())]);
    assert_eq!(response.text(), "done");

    let response = ask(&tidegate, "GET / HTTP/1.0\r\n\r\n");
    assert_eq!((response.interim.len(), response.text().as_str()), (0, "done"));
}

#[test]
fn an_early_hint_reaches_the_client_before_the_server_has_answered() {
    let hint_came = Signal::new();
    let seen = hint_came.clone();
    let server = Server::script(move |peer| {
        peer.request().expect("a request");
        peer.send("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n");
        seen.wait();
        peer.send(ok("done"));
    });
    let tidegate = before(&server);
    let mut client = tidegate.client();
    client.send(get("/", ""));
    assert_eq!(client.head().status, 103);
    hint_came.raise();
    assert_eq!(client.response().text(), "done");
}

const UPGRADE: &str = "GET /ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
const SWITCHED: &str =
    "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: x\r\n\r\n";

#[test]
fn a_websocket_becomes_a_tunnel_that_can_end_one_side_at_a_time() {
    let server = Server::script(|peer| {
        let request = peer.request().expect("a request");
        assert_eq!(request.fields.value("upgrade"), Some("websocket"));
        assert!(request.fields.value("connection").is_some_and(|options| options.eq_ignore_ascii_case("upgrade")));
        // The first words of the tunnel come with the head.
        peer.send(format!("{SWITCHED}hello"));
        let said = peer.rest().expect("the client's end");
        peer.send([b"you said ", &said[..]].concat());
    });
    let tidegate = before(&server);
    let mut client = tidegate.client();
    client.send([UPGRADE, "early "].concat());
    let response = client.head();
    assert_eq!((response.status, response.fields.value("upgrade")), (101, Some("websocket")));
    assert_eq!(client.exactly(5), b"hello");
    client.send("and late");
    client.finish();
    assert_eq!(client.ending(), Ending::Bytes(b"you said early and late".to_vec()));
    let line = tidegate.log_of("/ws");
    assert_eq!(
        (line["status"].as_u64(), line["bytes_in"].as_u64(), line["bytes_out"].as_u64()),
        (Some(101), Some(14), Some(28))
    );
}

#[test]
fn a_refused_websocket_is_an_ordinary_response() {
    let server = Server::http(|_| b"HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno".to_vec());
    let tidegate = before(&server);
    let mut client = tidegate.client();
    assert_eq!(client.ask(UPGRADE).text(), "no");
    assert_serves(&mut client);
}

#[test]
fn other_upgrades_do_not_pass_and_nobody_switches_unasked() {
    let server = Server::http(|request| match request.target.as_str() {
        "/switch" => SWITCHED.as_bytes().to_vec(),
        _ => ok("plain"),
    });
    let tidegate = before(&server);
    let request = seen(
        &tidegate,
        &server,
        &get("/", "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAA\r\n"),
    );
    for field in ["upgrade", "connection", "http2-settings"] {
        assert!(!request.fields.has(field), "{field} in {request:?}");
    }
    assert_eq!(ask(&tidegate, &get("/switch", "")).status, 502);
}

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

#[test]
fn a_body_that_ends_with_the_servers_connection_goes_on_in_chunks() {
    let server = Server::script(|peer| {
        peer.request().expect("a request");
        peer.send("HTTP/1.0 200 OK\r\n\r\nhalf ");
        peer.send("done");
    });
    let tidegate = before(&server);
    let mut client = tidegate.client();
    for _ in 0..2 {
        let response = client.get("/");
        assert_eq!((response.framing, response.text().as_str()), (Framing::Chunked, "half done"));
    }
    assert_eq!(server.connections(), 2);
}

#[test]
fn a_server_that_answers_before_the_upload_ends_is_heard() {
    let server = Server::script(|peer| {
        peer.request_head().expect("a head");
        peer.send("HTTP/1.1 413 Content Too Large\r\nConnection: close\r\nContent-Length: 3\r\n\r\nbig");
        peer.finish();
        let _ = peer.rest();
    });
    let tidegate = before_with(&server, "limits: { request_body: 1GiB }");
    let mut client = tidegate.client();
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000000\r\n\r\n");
    let response = client.response();
    assert_eq!((response.status, response.text().as_str()), (413, "big"));
    // The client has not sent the rest, and cannot use this connection for anything else.
    assert_eq!(client.ending(), Ending::Clean);
}

#[test]
fn an_answer_that_comes_while_the_client_still_sends_does_not_reset_it() {
    let answered = Signal::new();
    let seen = answered.clone();
    let server = Server::script(move |peer| {
        let request = peer.request_head().expect("a head");
        peer.send("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nearly");
        seen.wait();
        // The answer is out: whether the rest still comes is the program's choice.
        let _ = peer.reader.body(request.framing);
    });
    let tidegate = before(&server);
    let mut client = tidegate.client();
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nall ");
    assert_eq!(client.response().text(), "early");
    answered.raise();
    // Whether the rest still goes to the server is open; that the client is not reset over it is not.
    client.try_send("of it");
    client.finish();
    assert_ne!(client.ending(), Ending::Reset);
}

#[test]
fn surplus_bytes_from_a_server_never_reach_the_next_client() {
    let server = Server::http(|_| [&ok("mine")[..], &ok("smuggled")].concat());
    let tidegate = before_with(&server, "retries: { extra: 0 }");
    for _ in 0..3 {
        let mut client = tidegate.client();
        for _ in 0..2 {
            assert_eq!(client.get("/").text(), "mine");
        }
    }
}

#[test]
fn bytes_that_an_idle_server_sends_are_not_the_next_response() {
    let late = Signal::new();
    let now = late.clone();
    let sent = Signal::new();
    let done = sent.clone();
    let server = Server::script(move |peer| {
        while let Some(request) = peer.request() {
            peer.send(ok(&request.target));
            if peer.number == 0 {
                now.wait();
                peer.send(ok("smuggled"));
                done.raise();
            }
        }
    });
    let tidegate = before(&server);
    let mut client = tidegate.client();
    assert_eq!(client.get("/1").text(), "/1");
    late.raise();
    sent.wait();
    assert_eq!(client.get("/2").text(), "/2");
}

#[test]
fn what_is_no_response_is_502() {
    let rows: &[(&str, &str)] = &[
        ("garbage", "\x16\x03\x01 what is this\r\n\r\n"),
        ("two lengths", "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab"),
        ("length and chunks", "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
        ("bad length", "HTTP/1.1 200 OK\r\nContent-Length: +1\r\n\r\na"),
        ("folded line", "HTTP/1.1 200 OK\r\nA: b\r\n c\r\nContent-Length: 0\r\n\r\n"),
        ("bare LF", "HTTP/1.1 200 OK\nContent-Length: 0\n\n"),
        ("space before colon", "HTTP/1.1 200 OK\r\nContent-Length : 0\r\n\r\n"),
        ("unknown coding", "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n"),
        ("status", "HTTP/1.1 099 Low\r\nContent-Length: 0\r\n\r\n"),
        ("version", "HTTP/2.0 200 OK\r\nContent-Length: 0\r\n\r\n"),
        ("nothing", ""),
        ("half a head", "HTTP/1.1 200 OK\r\nContent-"),
        ("204 with a length", "HTTP/1.1 204 No Content\r\nContent-Length: 3\r\n\r\nabc"),
        ("listed framing", "HTTP/1.1 200 OK\r\nConnection: Content-Length\r\nContent-Length: 1\r\n\r\na"),
        ("empty line first", "\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"),
        ("control byte", "HTTP/1.1 200 OK\r\nA: \x01\r\nContent-Length: 0\r\n\r\n"),
    ];
    for (name, bytes) in rows {
        let bytes = bytes.as_bytes().to_vec();
        let server = Server::script(move |peer: &mut Peer| {
            peer.request().expect("a request");
            peer.send(&bytes);
        });
        let tidegate = before(&server);
        let mut client = tidegate.client();
        assert_eq!(client.get("/bad").status, 502, "{name}");
        // It is the server's fault: the client's connection lives.
        assert_serves(&mut client);
        assert_eq!(tidegate.log_of("/bad")["side"], "server", "{name}");
    }
}

#[test]
fn a_large_head_from_a_server_passes() {
    let server = Server::http(|request| {
        let size: usize = request.target[1..].parse().expect("a number");
        format!("HTTP/1.1 200 OK\r\nX-Large: {}\r\nContent-Length: 2\r\n\r\nok", "x".repeat(size)).into_bytes()
    });
    let tidegate = before(&server);
    let mut client = tidegate.client();
    for size in [1_000, 8_000, 16_384, 33_000, 60_000] {
        let response = client.get(&format!("/{size}"));
        assert_eq!((response.status, response.text().as_str()), (200, "ok"), "{size}");
        assert_eq!(response.fields.value("x-large").map(str::len), Some(size));
    }
    assert_eq!(server.connections(), 1);
}

#[test]
fn a_server_cannot_go_on_for_ever_before_it_answers() {
    for (name, piece, count) in [
        ("interim responses", "HTTP/1.1 103 Early Hints\r\n\r\n".to_owned(), 200),
        ("one endless head", format!("HTTP/1.1 200 OK\r\nX: {}\r\n", "x".repeat(60_000)), 2),
        ("many fields", format!("HTTP/1.1 200 OK\r\n{}\r\n", "X: y\r\n".repeat(300)), 1),
    ] {
        let server = Server::script(move |peer: &mut Peer| {
            peer.request();
            for _ in 0..count {
                peer.send(&piece);
            }
            peer.hang();
        });
        let tidegate = before(&server);
        assert_eq!(ask(&tidegate, &get("/endless", "")).status, 502, "{name}");
        assert_eq!(tidegate.log_of("/endless")["fault"], "bad_response", "{name}");
    }
}

#[test]
fn a_client_that_has_finished_sending_still_gets_its_answers() {
    let finished = Signal::new();
    let held = finished.clone();
    let server = Server::http(move |request| {
        held.wait();
        ok(&request.target)
    });
    let tidegate = before(&server);
    let mut client = tidegate.client();
    client.send([get("/1", ""), get("/2", "")].concat());
    server.until_connections(1);
    client.finish();
    finished.raise();
    assert_eq!([client.response().text(), client.response().text()], ["/1", "/2"]);
    assert_eq!(client.ending(), Ending::Clean);
}

#[test]
fn a_truncated_response_is_visibly_cut() {
    const CHUNKED: &str = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    for (name, head, rest) in [
        ("length", "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nsome", ""),
        ("much", "HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\nsome", " more"),
        ("before a chunk", CHUNKED, ""),
        ("after a chunk", CHUNKED, "4\r\nsome\r\n"),
        ("in a chunk", CHUNKED, "ff\r\nsome"),
        ("in the trailers", CHUNKED, "4\r\nsome\r\n0\r\nX-A: 1\r\n"),
        ("bad chunk", CHUNKED, "4\r\nsome\r\nxyz\r\n0\r\n\r\n"),
        ("bad end of a chunk", CHUNKED, "4\r\nsomeX\r\n0\r\n\r\n"),
    ] {
        let head_came = Signal::new();
        let go_on = head_came.clone();
        let server = Server::script(move |peer: &mut Peer| {
            peer.request().expect("a request");
            peer.send(head);
            go_on.wait();
            peer.send(rest);
        });
        let tidegate = before(&server);
        let mut client = tidegate.client();
        client.send(get("/cut", ""));
        let framing = client.head().framing;
        head_came.raise();
        let broken = client.reader.body(framing).expect_err("a whole response out of half of one");
        assert!(matches!(broken, Broken::Cut | Broken::Reset), "{name}: {broken:?}");
        let line = tidegate.log_of("/cut");
        assert_eq!((&line["cut"], &line["side"]), (&true.into(), &"server".into()), "{name}");
    }
}

#[test]
fn a_response_that_is_broken_from_its_first_chunk_on_is_502() {
    let server = Server::http(|_| b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n".to_vec());
    let tidegate = before(&server);
    let mut client = tidegate.client();
    assert_eq!(client.get("/broken").status, 502);
    assert_serves(&mut client);
    let line = tidegate.log_of("/broken");
    assert_eq!((&line["fault"], line.get("cut")), (&"bad_response".into(), None));
}

#[test]
fn a_reset_inside_a_body_that_ends_with_the_connection_is_passed_on_as_one() {
    let read = Signal::new();
    let client_has_some = read.clone();
    let server = Server::script(move |peer| {
        peer.request().expect("a request");
        peer.send("HTTP/1.0 200 OK\r\n\r\nsome");
        client_has_some.wait();
        peer.reset();
    });
    let tidegate = before(&server);
    let mut client = tidegate.client();
    client.send("GET / HTTP/1.0\r\n\r\n");
    assert_eq!(client.head().framing, Framing::UntilClose);
    assert_eq!(client.exactly(4), b"some");
    read.raise();
    assert_eq!(client.ending(), Ending::Reset);
}

#[test]
fn a_client_that_leaves_in_the_middle_frees_the_server() {
    let server = Server::script(Peer::hang);
    let tidegate = before(&server);
    let mut client: Client = tidegate.client();
    client.send(get("/leaves", ""));
    server.until_connections(1);
    client.reset();
    server.until_idle();
    assert_eq!(tidegate.log_of("/leaves")["fault"], "client_gone");
}

#[test]
fn unix_sockets_serve_on_both_sides() {
    let folder = testkit::Folder::new();
    let server = Server::unix(&folder.path().join("app.sock"), |peer| {
        while peer.request().is_some() {
            peer.send(ok("by file"));
        }
    });
    let path = folder.path().join("front.sock");
    let text = format!(
        "listeners: {{ web: {{ bind: {{ address: 'unix:{}', mode: '0600' }}, to: app }} }}\npools: {{ app: ['@APP'] }}\n",
        path.display()
    );
    let tidegate = crate::support::start(&text, &[("APP", &server)]);
    assert_eq!(tidegate.client().get("/").text(), "by file");
    let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&path).expect("a socket").permissions());
    assert_eq!(mode & 0o777, 0o600);
}
