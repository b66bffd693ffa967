//! What is said inside of a tunnel.

use testkit::{Client, Server, ServerTls, ok};

use super::super::port;
use super::{Office, READING, line_of_tunnel, page, tunnel};

#[test]
fn requests_inside_find_their_routes_by_path_and_leave_lines_of_their_own() {
    let office = Office::new();
    let (server, _) = office.server(&["a.test"]);
    let tidegate = office.start("");
    let mut client = office.inside(&tidegate, "a.test", &server);
    let host = format!("a.test:{}", port(&server));
    let answer = client.ask(page(&host, "/page?q=1"));
    assert_eq!((answer.status, answer.text().as_str()), (200, "/page?q=1 "));
    let answer = client.ask(page(&host, "/private/page"));
    assert_eq!((answer.status, answer.text().as_str()), (403, "403: not for you\n"));
    // No spelling of a path is another.
    assert_eq!(client.ask(page(&host, "/x/../%70rivate/page")).status, 403);
    assert_eq!(client.ask(page("a.test", "/more")).text(), "/more ");
    let asked: Vec<String> = server.requests().into_iter().map(|request| request.target).collect();
    assert_eq!(asked, ["/page?q=1", "/more"]);
    let fields = server.request().fields;
    assert_eq!((fields.values("host"), fields.values("x-forwarded-proto")), (vec![host.as_str()], vec!["https"]));
    let line = tidegate.log_of("/page");
    let said =
        ["host", "method", "pool", "tls", "interception"].map(|key| line[key].as_str().expect("a text").to_owned());
    assert_eq!(said, ["a.test", "GET", "origin", "TLSv1.3", "intercepted"]);
    assert_eq!(line["server"], host.as_str());
    drop(client);
    let line = line_of_tunnel(&tidegate, "a.test");
    assert_eq!(
        (&line["status"], &line["interception"], &line["sni"]),
        (&200.into(), &"intercepted".into(), &"a.test".into())
    );
    assert_eq!(line["bytes_out"], 10 + 17 + 17 + 6);
    assert_eq!(line["fault"], serde_json::Value::Null);
}

#[test]
fn bodies_pass_and_connections_are_used_by_all_clients() {
    let office = Office::new();
    let (server, _) = office.server(&["a.test"]);
    let tidegate = office.start("");
    let body = "x".repeat(300_000);
    for _ in 0..3 {
        let mut client = office.inside(&tidegate, "a.test", &server);
        let head = format!("POST /up HTTP/1.1\r\nHost: a.test\r\nContent-Length: {}\r\n\r\n", body.len());
        assert!(client.ask(head + &body).text() == format!("/up {body}"));
    }
    assert_eq!(server.connections(), 1, "the one that the first tunnel has begun with");
}

#[test]
fn a_websocket_goes_through() {
    let office = Office::new();
    let server = Server::secured(&ServerTls::new(&office.desk.authority.issue(&["a.test"])), |peer| {
        while let Some(request) = peer.request() {
            let Some(key) = request.fields.value("sec-websocket-key") else {
                peer.send(ok("plain"));
                continue;
            };
            let accept = testkit::websocket_accept(key);
            peer.send(format!(
                "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: {accept}\r\n\r\n"
            ));
            let heard = peer.reader.exactly(5).expect("a message");
            peer.send(heard);
            return;
        }
    });
    let tidegate = office.start("");
    let mut client = office.inside(&tidegate, "a.test", &server);
    client.send(
        "GET /chat HTTP/1.1\r\nHost: a.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
    );
    assert_eq!(client.head().status, 101);
    client.send("hello");
    assert_eq!(client.exactly(5), b"hello");
    client.finish();
    drop(client);
    // The tunnel lives as long as what speaks inside of it.
    let inner = tidegate.log_of("/chat");
    assert_eq!((&inner["status"], &inner["interception"]), (&101.into(), &"intercepted".into()));
    assert_eq!(line_of_tunnel(&tidegate, "a.test")["interception"], "intercepted");
}

#[test]
fn a_tunnel_to_one_host_is_no_way_to_another() {
    let office = Office::new();
    let (server, _) = office.server(&["a.test", "b.test"]);
    let tidegate = office.start("");
    let asks = |request: String| office.inside(&tidegate, "a.test", &server).ask(request).status;
    assert_eq!(asks(page("a.test", "/")), 200);
    assert_eq!(asks(page("b.test", "/")), 421, "although its certificate is for both");
    assert_eq!(asks(page("a.test:1", "/")), 421);
    assert_eq!(asks(page("a.test.", "/")), 200, "a trailing dot is no other host");
    assert_eq!(asks("GET http://a.test/ HTTP/1.1\r\nHost: a.test\r\n\r\n".to_owned()), 421, "another scheme");
    assert_eq!(asks(format!("GET https://a.test:{}/ HTTP/1.1\r\nHost: a.test\r\n\r\n", port(&server))), 200);
    assert_eq!(asks(format!("CONNECT b.test:{} HTTP/1.1\r\nHost: b.test\r\n\r\n", port(&server))), 501);
    assert_eq!(server.requests().len(), 3);
}

#[test]
fn a_name_in_the_handshake_is_whom_the_server_has_to_be() {
    let office = Office::new();
    let (server, _) = office.server(&["b.test"]);
    let tidegate = office.start("");
    // Asked for by its address, as by a client that is led here by the network.
    let client = tunnel(&tidegate, "127.0.0.1", &server).begin(&office.client("b.test"));
    let mut client = client.expect("a client that trusts us");
    assert_eq!(client.ask(page("b.test", "/by-address")).status, 200);
    assert_eq!(tidegate.log_of("/by-address")["host"], "b.test");
    let client = tunnel(&tidegate, "127.0.0.1", &server).begin(&office.client("www.bank.test"));
    assert!(client.is_err(), "excepted by its name: the server's own certificate is for another");
    assert_eq!(line_of_tunnel(&tidegate, "127.0.0.1")["interception"], "excepted");
}

#[test]
fn what_is_not_tls_passes_and_what_might_be_does_not() {
    let office = Office::new();
    let echo = Server::script(|peer| {
        peer.send("220 first\r\n");
        let heard = peer.rest().expect("words");
        peer.send(heard);
    });
    let silent = Server::script(|peer| {
        let heard = peer.rest().unwrap_or_default();
        peer.send(heard);
    });
    let tidegate = office.start("");
    // A server that speaks first.
    let mut client = tunnel(&tidegate, "a.test", &echo);
    assert_eq!(client.exactly(11), b"220 first\r\n");
    client.send("hello");
    client.finish();
    assert_eq!(client.exactly(5), b"hello");
    // A client that does.
    let mut client = tunnel(&tidegate, "b.test", &silent);
    client.send("SSH-2.0-x\r\n");
    client.finish();
    assert_eq!(client.exactly(11), b"SSH-2.0-x\r\n");
    for host in ["a.test", "b.test"] {
        assert_eq!(line_of_tunnel(&tidegate, host)["interception"], "no_tls");
    }
    // The forms in which a server might take it for TLS.
    let long = [&[22, 3, 1, 0x40, 0, 1, 0, 0xFF, 0xFF][..], &[0; 0x4000 - 4]].concat();
    for unreadable in [&b"\x80\x2e\x01\x03\x03\x00"[..], b"\x16\x03\x01\x00\x04\x02\x00\x00\x00", &long] {
        let mut client = tunnel(&tidegate, "two.test", &silent);
        client.send(unreadable);
        assert_eq!(client.ending(), testkit::Ending::Clean, "{:?}", &unreadable[..5]);
    }
    let line = line_of_tunnel(&tidegate, "two.test");
    assert_eq!(
        (&line["fault"], &line["reason"]),
        (&"client_tls".into(), &"a handshake of TLS that cannot be read".into())
    );
}

#[test]
fn a_proxy_under_tls_looks_inside_as_well() {
    let office = Office::new();
    let (server, _) = office.server(&["a.test"]);
    let Some(mut curl) = testkit::tool("curl") else { return };
    let text = super::READING
        .replace("listeners:", "certificates: { main: { cert: '@DIR/main.pem', key: '@DIR/main.key' } }\nlisteners:")
        .replace("    role: forward", "    role: forward\n    tls: main")
        .replace("@MORE", "");
    let tidegate = office.desk.start(&text, &[]);
    let proxy = tidegate.address("web");
    let at = |file: &str| office.desk.folder.path().join(file).display().to_string();
    let output = curl
        .args(["-sS", "--max-time", "20", "-x", &format!("https://{proxy}"), "--proxy-cacert", &at("ca.pem")])
        .args(["--cacert", &at("own/ca.pem"), &format!("https://a.test:{}/deep", port(&server))])
        .output()
        .expect("a client that runs");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "/deep ", "{output:?}");
    assert_eq!(tidegate.log_of("/deep")["interception"], "intercepted");
}

#[test]
fn a_hello_that_comes_with_the_connect_is_heard() {
    let office = Office::new();
    let (server, _) = office.server(&["a.test"]);
    let tidegate = office.start("");
    // In two pieces, the second long after the first: what is here is kept.
    let mut client = Client::connect(&tidegate.address("web"));
    client.send(format!("CONNECT a.test:{0} HTTP/1.1\r\nHost: a.test:{0}\r\n\r\n\x16", port(&server)));
    assert_eq!(client.head().status, 200);
    client.send("\x03");
    // A whole one has come to no end: what is no handshake behind these bytes is none.
    client.send("GET / HTTP/1.1\r\n\r\n");
    assert_eq!(client.ending(), testkit::Ending::Clean);
    assert_eq!(line_of_tunnel(&tidegate, "a.test")["fault"], "client_tls");
}

#[test]
fn who_has_opened_a_tunnel_is_who_asks_inside() {
    let office = Office::new();
    let (server, _) = office.server(&["a.test"]);
    office.desk.folder.write("people", crate::users::PEOPLE);
    office.desk.folder.write("others", "zoe:{SHA}2PRZAyDhNDqRW2OUFwZQqPNdaSY=\n");
    let text = super::READING.replace("@MORE", "").replace(
        "    routes:",
        "    use: [{ basic_auth: { users: '@DIR/people', realm: office } }]\n    routes:\n      \
         - { match: { path: /others/* }, use: [{ basic_auth: { users: '@DIR/others', realm: x } }], to: origin }",
    );
    let tidegate = office.desk.start(&text, &[]);
    let connect = |fields: &str| format!("CONNECT a.test:{} HTTP/1.1\r\nHost: a\r\n{fields}\r\n", port(&server));
    assert_eq!(tidegate.client().ask(connect("")).status, 407);
    let open = |pair: &str| {
        let mut client = tidegate.client();
        client.send(connect(&format!("Proxy-Authorization: {}\r\n", crate::users::basic(pair))));
        assert_eq!(client.head().status, 200);
        client.begin(&office.client("a.test")).expect("a client that trusts us")
    };
    let mut bob = open("bob:bob");
    assert_eq!(bob.ask(page("a.test", "/page")).status, 200);
    assert_eq!(tidegate.log_of("/page")["user"], "bob");
    // Inside nobody can be asked: whom another list knows is not on it.
    let refused = bob.ask(page("a.test", "/others/x"));
    assert_eq!((refused.status, refused.fields.has("proxy-authenticate")), (403, false));
    assert_eq!(open("cy:sha").ask(page("a.test", "/cy")).status, 200);
    assert_eq!(tidegate.log_of("/cy")["user"], "cy");
    assert!(server.requests().iter().all(|request| !request.fields.has("proxy-authorization")));
}

#[test]
fn a_listed_name_in_tls_is_refused_though_the_tunnel_is_to_another_host() {
    let office = Office::new();
    office.desk.folder.write("listed.txt", "listed.test\n");
    let text = READING.replace("@MORE", "").replace(
        "    routes:\n",
        "    routes:\n      - { match: { host: { list: bad } }, deny: { status: 403, reason: listed } }\n",
    );
    let lists = "lists: { bad: { file: '@DIR/listed.txt', format: domains } }";
    let tidegate = office.desk.start(&format!("{lists}{text}"), &[]);
    let (server, _) = office.server(&["a.test", "listed.test"]);
    assert!(tunnel(&tidegate, "a.test", &server).begin(&office.client("listed.test")).is_err());
    let line = line_of_tunnel(&tidegate, "a.test");
    assert_eq!((&line["fault"], &line["list"], &line["sni"]), (&"denied".into(), &"bad".into(), &"listed.test".into()));
    assert!(server.requests().is_empty());
    // One that is on no list goes on.
    let mut client = office.inside(&tidegate, "a.test", &server);
    assert_eq!(client.ask(page("a.test", "/x")).text(), "/x ");
    assert_eq!(tidegate.log_of("/x")["port"], server.port());
}
