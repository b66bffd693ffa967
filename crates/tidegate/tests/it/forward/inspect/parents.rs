//! Requests inside of tunnels that are led on by other proxies.

use testkit::{Client, Server, Tidegate, ok};

use super::super::{OPEN, port};
use super::{inspecting, page, saying, tunnel};
use crate::support::start;

/// The same as ever, by way of the pool `up`.
fn by(parent: &Tidegate, protocol: &str) -> Tidegate {
    let text = inspecting("").replace("to: origin", "to: up");
    start(&format!("{text}pools: {{ up: {{ servers: ['{}'], protocol: {protocol} }} }}\n", parent.address("web")), &[])
}

fn parent() -> Tidegate {
    start(&OPEN.replace("@MORE", "to: origin"), &[])
}

#[test]
fn a_parent_by_http_is_asked_for_answers() {
    let (parent, server) = (parent(), saying());
    let tidegate = by(&parent, "http_proxy");
    let mut client = tunnel(&tidegate, "a.test", &server);
    let host = format!("a.test:{}", port(&server));
    assert_eq!(client.ask(page(&host, "/one")).text(), "/one ");
    assert_eq!(client.ask(page(&host, "/private/x")).status, 403);
    let line = parent.log_of("/one");
    assert_eq!((&line["method"], &line["host"]), (&"GET".into(), &"a.test".into()));
    assert_eq!(tidegate.log_of("/one")["pool"], "up");
}

#[test]
fn a_parent_by_http_is_led_nowhere_but_to_where_the_tunnel_leads() {
    let (parent, server, other) = (parent(), saying(), Server::named("other"));
    let tidegate = by(&parent, "http_proxy");
    // The host that is named decides rules, and would decide where the parent goes.
    let mut client = tunnel(&tidegate, "127.0.0.1", &server);
    assert_eq!(client.ask(page("localhost", "/address")).text(), "/address ");
    assert_eq!(client.ask(page("two.test", "/again")).text(), "/again ");
    // Without a port it would go to another one.
    let mut client = tunnel(&tidegate, "a.test", &server);
    assert_eq!(client.ask(page("a.test", "/portless")).text(), "/portless ");
    assert!(parent.log().iter().all(|line| line["method"] == "CONNECT"));
    drop(client);
    for host in ["127.0.0.1", "a.test"] {
        parent.log_line("it was asked for a tunnel", |line| line["method"] == "CONNECT" && line["host"] == host);
    }
    assert_eq!((server.requests().len(), other.connections()), (3, 0));
}

#[test]
fn a_request_that_names_no_host_is_led_on_to_that_of_the_tunnel() {
    let (parent, server) = (parent(), saying());
    for protocol in ["http_proxy", "socks5"] {
        let tidegate = by(&parent, protocol);
        let mut client = tunnel(&tidegate, "a.test", &server);
        assert_eq!(client.ask(format!("GET /{protocol} HTTP/1.0\r\n\r\n")).text(), format!("/{protocol} "));
    }
    // At the usual port nothing else would say whom the parent is asked for.
    let asked = Server::script(|peer| {
        while let Some(request) = peer.request() {
            peer.send(match request.method.as_str() {
                "CONNECT" => b"HTTP/1.1 200 OK\r\n\r\n".to_vec(),
                _ => ok(format!("{} {}", request.target, request.fields.values("host").concat())),
            });
        }
    });
    let text = inspecting("").replace("to: origin", "to: up").replace("1024-65535", "1-65535")
        + "pools: { up: { servers: [@UP], protocol: http_proxy } }\n";
    let tidegate = start(&text, &[("UP", &asked)]);
    for request in ["GET /x HTTP/1.0\r\n\r\n", "GET /x HTTP/1.1\r\nHost:\r\n\r\n"] {
        let mut client = Client::through(&tidegate.address("web"), "a.test:80");
        assert_eq!(client.ask(request).text(), "http://a.test/x a.test");
    }
}

#[test]
fn a_tunnel_takes_no_place_that_its_requests_need() {
    let (parent, server) = (parent(), saying());
    let text = inspecting("").replace("to: origin", "to: up");
    let up = format!(
        "pools: {{ up: {{ servers: ['{}'], protocol: socks5, circuit_breaker: {{ requests: 1 }} }} }}\n",
        parent.address("web")
    );
    let tidegate = start(&(text + &up), &[]);
    let mut clients = Vec::new();
    for _ in 0..3 {
        let mut client = tunnel(&tidegate, "a.test", &server);
        assert_eq!(client.ask(page("a.test", "/one")).text(), "/one ");
        clients.push(client);
    }
    assert_eq!(clients[0].ask(page("a.test", "/again")).text(), "/again ");
}

#[test]
fn what_a_tunnel_was_opened_with_is_one_of_its_servers_connections() {
    let (parent, server) = (parent(), saying());
    let text = inspecting("").replace("to: origin", "to: up");
    let up = format!(
        "pools: {{ up: {{ servers: [{{ address: '{}', max_connections: 1 }}], queue: {{ length: 1, timeout: 100ms }}, protocol: socks5 }} }}\n",
        parent.address("web")
    );
    let tidegate = start(&(text + &up), &[]);
    // Once its first request has begun it is a connection that waits for that.
    let connect = |host: &str| format!("CONNECT {host}:{0} HTTP/1.1\r\nHost: {host}:{0}\r\n\r\n", port(&server));
    let mut client = tidegate.client();
    client.send(connect("a.test") + "GET /one HTTP/1.1\r\n");
    assert_eq!(client.head().status, 200);
    let connections = || tidegate.metric("tidegate_server_connections", &["pool=\"up\""]);
    assert_eq!(connections(), [1.0]);
    assert_eq!(tidegate.client().ask(connect("b.test")).status, 503, "there is no other place");
    assert_eq!(client.ask("Host: a.test\r\n\r\n").text(), "/one ");
    assert_eq!((connections(), server.connections()), (vec![1.0], 1));
}

#[test]
fn a_parent_by_socks_leads_on() {
    let (parent, server) = (parent(), saying());
    let tidegate = by(&parent, "socks5");
    for _ in 0..2 {
        let mut client = tunnel(&tidegate, "a.test", &server);
        assert_eq!(client.ask(page("a.test", "/one")).text(), "/one ");
        assert_eq!(client.ask(page("a.test", "/private/x")).status, 403);
        assert_eq!(client.ask(page("a.test", "/two")).text(), "/two ");
    }
    assert_eq!(server.requests().len(), 4);
    assert_eq!(server.requests()[0].connection, server.requests()[1].connection, "that of the tunnel");
}

#[test]
fn a_parent_that_answers_in_another_way_is_asked_again() {
    // It lets a tunnel stand, and then asks who is there.
    let parent = Server::script(|peer| {
        while let Some(request) = peer.request() {
            peer.send(match request.method.as_str() {
                "CONNECT" => b"HTTP/1.1 200 OK\r\n\r\n".to_vec(),
                _ => ok(request.target),
            });
        }
    });
    let text =
        inspecting("").replace("to: origin", "to: up") + "pools: { up: { servers: [@UP], protocol: http_proxy } }\n";
    let tidegate = start(&text, &[("UP", &parent)]);
    let server = saying();
    let mut client = tunnel(&tidegate, "a.test", &server);
    let host = format!("a.test:{}", port(&server));
    assert_eq!(client.ask(page(&host, "/x")).text(), format!("http://{host}/x"));
}
