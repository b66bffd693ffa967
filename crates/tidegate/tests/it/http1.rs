//! HTTP/1.1 on both sides: framing, connections, interim responses, tunnels.

use testkit::{Client, Ending, Framing, Peer, Server, Signal, ok};

use crate::support::{ask, assert_serves, before, get, post, seen};

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
