//! Requests inside of tunnels that are led on by other proxies.

use testkit::{Server, Tidegate, ok};

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
