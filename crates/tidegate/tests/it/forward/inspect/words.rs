//! What clients say first, and in which words.

use testkit::{Ending, Server, h2_server, tool};

use super::super::port;
use super::{inspecting, line_of, looking, page, saying, socks, tunnel};
use crate::support::start;

/// A server that says back what it hears, and does not speak first.
fn echo() -> Server {
    super::super::tunnels::echo()
}

#[test]
fn what_is_not_http_passes_unread() {
    let tidegate = looking();
    let first = Server::script(|peer| {
        peer.send("220 first\r\n");
        let heard = peer.rest().unwrap_or_default();
        peer.send(heard);
    });
    // Who waits for the server to speak may say anything then.
    let mut client = tunnel(&tidegate, "a.test", &first);
    assert_eq!(client.exactly(11), b"220 first\r\n");
    client.send("GET /private/x HTTP/1.1\r\n");
    client.finish();
    assert_eq!(client.exactly(25), b"GET /private/x HTTP/1.1\r\n");
    assert_eq!(line_of(&tidegate, "CONNECT", "a.test")["interception"], "no_http");
    let server = echo();
    for said in [
        &b"SSH-2.0-OpenSSH_9.9\r\n"[..],
        b"\x16\x03\x01\x00\x04\x02\x00\x00\x00",
        b"*1\r\n$4\r\nPING\r\n",
        b"NICK somebody\r\nUSER a b c d\r\n",
        b"\x00\x00\x00\x00",
        b"<?xml version='1.0'?>",
    ] {
        let mut client = socks(&tidegate, "b.test", &server);
        client.send(said);
        assert_eq!(client.exactly(said.len()), said);
        client.send("more");
        assert_eq!(client.exactly(4), b"more");
        client.finish();
        assert_eq!(client.exactly(3), b"bye");
    }
    let line = line_of(&tidegate, "SOCKS5", "b.test");
    assert_eq!((&line["interception"], &line["fault"]), (&"no_http".into(), &serde_json::Value::Null));
}

#[test]
pub(crate) fn tunnels_to_some_ports_are_read_and_others_left_alone() {
    let (server, read) = (echo(), saying());
    let ports = format!("inspect: [80, {}]", port(&read));
    let tidegate = start(&inspecting("").replace("inspect: 1024-65535", &ports), &[]);
    assert_eq!(tunnel(&tidegate, "b.test", &read).ask(page("b.test", "/private/x")).status, 403);
    let mut client = tunnel(&tidegate, "a.test", &server);
    let said = page("a.test", "/private/x");
    client.send(&said);
    assert_eq!(client.exactly(said.len()), said.as_bytes());
    client.finish();
    assert_eq!(client.exactly(3), b"bye");
    assert!(line_of(&tidegate, "CONNECT", "a.test")["interception"].is_null());
}

#[test]
fn no_form_that_a_server_might_take_for_a_request_passes_unread() {
    let server = echo();
    let tidegate = looking();
    for (said, status) in [
        ("\r\nGET /private/x HTTP/1.1\r\nHost: a.test\r\n\r\n", 403),
        ("\r\n\r\nGET /private/x HTTP/1.1\r\nHost: a.test\r\n\r\n", 400),
        (" GET /private/x HTTP/1.1\r\nHost: a.test\r\n\r\n", 400),
        ("GET\t/private/x\tHTTP/1.1\r\nHost: a.test\r\n\r\n", 400),
        ("GET /private/x\r\n", 400),
        ("get /private/x HTTP/1.1\r\nHost: a.test\r\n\r\n", 403),
        ("FETCH /private/x HTTP/1.1\r\nHost: a.test\r\n\r\n", 403),
        ("GET /private/x HTTP/1.1\nHost: a.test\n\n", 400),
        ("GET /private/x HTTP/2.0\r\nHost: a.test\r\n\r\n", 505),
        ("GET /private/x http/1.1\r\nHost: a.test\r\n\r\n", 400),
        ("(GET /private/x HTTP/1.1\r\nHost: a.test\r\n\r\n", 400),
        ("\x1cGET\x1f/private/x HTTP/1.1\r\nHost: a.test\r\n\r\n", 400),
        ("XGET /private/x\r\n", 400),
        ("\0 /private/x\r\n", 400),
    ] {
        let answer = tunnel(&tidegate, "a.test", &server).ask(said);
        assert_eq!(answer.status, status, "{said:?}: {}", answer.text());
    }
    assert!(server.requests().is_empty());
}

#[test]
fn who_says_half_of_it_is_not_waited_for_longer_than_for_a_request() {
    let server = saying();
    let tidegate = start(&inspecting("\n    timeouts: { request_head: 300ms }"), &[]);
    // Half a request is one, and answered.
    let mut client = tunnel(&tidegate, "a.test", &server);
    client.send("GET /slow HTTP/1.1\r\nHost: a.");
    assert_eq!(client.response().status, 408);
    // Half a word may become anything, and nothing.
    for half in ["GE", "BREW /pot HT", "\r\n", ""] {
        let mut client = tunnel(&tidegate, "b.test", &server);
        client.send(half);
        assert!(matches!(client.ending(), Ending::Clean | Ending::Reset), "{half:?}");
    }
    let line = line_of(&tidegate, "CONNECT", "b.test");
    assert_eq!(
        (&line["fault"], &line["reason"]),
        (&"head_timeout".into(), &"nothing was said in the tunnel in time".into())
    );
    // Whoever goes on is heard.
    let mut client = tunnel(&tidegate, "a.test", &server);
    for piece in ["\r\n", "G", "ET /pieces HTTP/1.1\r\nHost: a", ".test\r\n\r\n"] {
        client.send(piece);
    }
    assert_eq!(client.response().text(), "/pieces ");
    // And whoever does not wait for an answer to CONNECT.
    let mut client = tidegate.client();
    client.send(format!("CONNECT a.test:{0} HTTP/1.1\r\nHost: a\r\n\r\n{1}", server.port(), page("a.test", "/early")));
    assert_eq!(client.head().status, 200);
    assert_eq!(client.response().text(), "/early ");
    // One who begins and ends has said nothing that a server should hear.
    let mut client = tunnel(&tidegate, "two.test", &server);
    client.send("GE");
    client.finish();
    assert!(matches!(client.ending(), Ending::Clean | Ending::Reset));
    assert_eq!(line_of(&tidegate, "CONNECT", "two.test")["fault"], "client_gone");
    assert_eq!(server.requests().len(), 2);
}

#[test]
fn heads_have_their_limits_inside_as_well() {
    let server = saying();
    let tidegate = looking();
    let asks = |request: String| tunnel(&tidegate, "a.test", &server).ask(request).status;
    assert_eq!(asks(page("a.test", &format!("/{}", "x".repeat(20_000)))), 414);
    let field = format!("X-Large: {}\r\n", "y".repeat(70_000));
    assert_eq!(asks(format!("GET / HTTP/1.1\r\nHost: a.test\r\n{field}\r\n")), 431);
    assert_eq!(asks(format!("FETCH /{} HTTP/1.1\r\n", "x".repeat(20_000))), 414, "a line without an end in sight");
    assert!(server.requests().is_empty());
}

#[test]
fn http_2_by_prior_knowledge_is_read_and_spoken_with_the_server() {
    if tool("curl").is_none() {
        return;
    }
    let server = h2_server::Backend::named("two");
    let tidegate = looking();
    for (path, wanted) in [("/one", "two 200 2"), ("/private/two", "403: not for you\n 403 2")] {
        let output = tool("curl")
            .expect("the same")
            .args(["-sS", "--max-time", "20", "-w", " %{http_code} %{http_version}", "--http2-prior-knowledge"])
            .args(["--socks5-hostname", &tidegate.address("web"), &format!("http://a.test:{}{path}", port(&server))])
            .output()
            .expect("a client that runs");
        assert_eq!(String::from_utf8_lossy(&output.stdout), wanted, "{output:?}");
    }
    assert_eq!(tidegate.log_of("/one")["address"], server.address());
    let line = tidegate.log_of("/private/two");
    assert_eq!((&line["interception"], &line["version"]), (&"inspected".into(), &"2".into()));
    assert_eq!(line_of(&tidegate, "SOCKS5", "a.test")["interception"], "inspected");
    // A server of HTTP/2 may speak first, which its client may have waited for.
    let server = Server::script(|peer| {
        peer.send(b"\0\0\0\x04\0\0\0\0\0");
        let _ = peer.rest();
    });
    let mut client = socks(&tidegate, "two.test", &server);
    server.until_connections(1);
    client.send(page("two.test", "/private/x"));
    assert_eq!(client.response().status, 403);
    // What begins like it and is not is nothing that a server should hear.
    let mut client = socks(&tidegate, "b.test", &saying());
    client.send("PRI * HTTP/2.0\r\n\r\nXX\r\n\r\nGET /private/x HTTP/1.1\r\nHost: b.test\r\n\r\n");
    assert!(!matches!(client.ending(), Ending::Bytes(bytes) if bytes.starts_with(b"HTTP/1.1 2")));
}
