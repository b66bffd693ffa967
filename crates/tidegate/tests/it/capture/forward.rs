//! What archives tell of a forward proxy: tunnels and datagrams, and what it refuses before it knows where to.

use serde_json::json;
use testkit::{Server, ok, until};

use super::{check, entries, file, header, now};
use crate::forward::{self, asked, port};
use crate::support::get;

#[test]
fn a_forward_proxy_tells_of_requests_and_tunnels() {
    let server = Server::script(|peer| {
        if let Some(request) = peer.request() {
            peer.send(ok(request.target));
        }
        peer.hang();
    });
    let tidegate = forward::proxy("use: [{ capture: { har: a.har, bodies: 1KiB } }]\n    to: origin");
    let place = format!("a.test:{}", port(&server));
    let mut client = tidegate.client();
    client.send(
        asked(&format!("http://{place}/x")).replace("\r\n\r\n", "\r\nProxy-Authorization: Basic c2VjcmV0\r\n\r\n"),
    );
    assert_eq!(client.response().text(), "/x");
    let entry = entries(&tidegate, "a.har", 1).remove(0);
    assert_eq!(entry["request"]["url"], format!("http://{place}/x"));
    assert_eq!(header(&entry["request"], "proxy-authorization"), Some("Basic [redacted]"));
    assert!(!entry.to_string().contains("c2VjcmV0"));
    let mut client = tidegate.client();
    client.send(format!("CONNECT {place} HTTP/1.1\r\nHost: {place}\r\n\r\n"));
    assert_eq!(client.head().status, 200);
    let said = get("/secret", "");
    client.send(&said);
    assert_eq!(client.response().text(), "/secret");
    assert_eq!(now(&file(&tidegate, "a.har")).len(), 1, "it is written when it has ended");
    client.reset();
    let entry = entries(&tidegate, "a.har", 2).remove(1);
    assert_eq!(
        (&entry["request"]["method"], &entry["request"]["url"]),
        (&json!("CONNECT"), &json!(format!("tunnel://{place}")))
    );
    assert_eq!(entry["request"]["bodySize"], said.len());
    assert!(entry["response"]["bodySize"].as_u64().is_some_and(|size| size > 7));
    assert!(!entry.to_string().contains("/secret"), "nobody reads what is in it");
    assert_eq!(entry["serverIPAddress"], "127.0.0.1");
}

#[test]
fn a_tunnel_by_socks_is_told_as_one() {
    let server = Server::echo();
    let tidegate = forward::proxy("use: [{ capture: { har: a.har, bodies: 1KiB } }]\n    to: origin");
    let mut client = tidegate.client();
    client.send([5, 1, 0]);
    assert_eq!(client.exactly(2), [5, 0]);
    client.send([&[5, 1, 0, 3, 6][..], b"a.test", &server.port().to_be_bytes()].concat());
    assert_eq!(client.exactly(10)[1], 0);
    client.send(get("/", ""));
    assert_eq!(client.response().status, 200);
    drop(client);
    let entry = entries(&tidegate, "a.har", 1).remove(0);
    let request = &entry["request"];
    let url = format!("tunnel://a.test:{}", server.port());
    assert_eq!(
        (&request["method"], &request["url"], &request["httpVersion"]),
        (&json!("SOCKS5"), &json!(url), &json!(""))
    );
    assert!(entry["response"]["bodySize"].as_u64().is_some_and(|size| size > 0));
}

#[test]
fn what_is_refused_before_a_route_is_found_is_told_by_the_listeners_capture() {
    let files = crate::users::Files::new();
    let more = "use: [{ capture: { har: '@DIR/all.har', bodies: 1KiB } }, { basic_auth: { users: '@DIR/people' } }]\n    \
                routes: [{ match: { host: a.test }, to: origin }]";
    let tidegate = files.start(&format!("workers: 1\n{}", forward::OPEN.replace("@MORE", more)), &[]);
    assert_eq!(tidegate.client().ask(asked("http://a.test:1024/unknown")).status, 407);
    let known = |target: &str| {
        let who = crate::users::basic("ann:sesame");
        format!("POST {target} HTTP/1.1\r\nHost: a\r\nProxy-Authorization: {who}\r\nContent-Length: 2\r\n\r\nhi")
    };
    assert_eq!(tidegate.client().ask(known("http://b.test:1024/nowhere")).status, 403);
    assert_eq!(tidegate.client().ask(known("https://a.test:1024/secured")).status, 501);
    let path = files.0.path().join("all.har");
    until("they are written", || tidegate.metric("tidegate_capture_entries_total", &[]) == [3.0]);
    let told: Vec<_> = now(&path)
        .iter()
        .map(|entry| {
            check(entry);
            let url = entry["request"]["url"].as_str().expect("a URL").to_owned();
            let path = url.rsplit('/').next().expect("a path").to_owned();
            (entry["response"]["status"].as_u64(), path, entry["response"]["content"]["text"].clone())
        })
        .collect();
    assert_eq!(told[0], (Some(407), "unknown".to_owned(), json!("407: proxy_unauthenticated\n")));
    assert_eq!(told[1], (Some(403), "nowhere".to_owned(), json!("403: denied\n")));
    assert_eq!((told[2].0, told[2].1.as_str()), (Some(501), "secured"));
}

#[test]
fn datagrams_by_socks_are_told_as_tunnels() {
    let server = testkit::datagram::Answering::named("udp");
    let tidegate = forward::proxy("use: [{ capture: traffic.har }]\n    to: origin");
    let port: u16 = port(&server).parse().expect("a port");
    forward::associations::exchange(&tidegate, port);
    let entries = entries(&tidegate, "traffic.har", 1);
    assert_eq!(
        (&entries[0]["request"]["method"], &entries[0]["request"]["url"]),
        (&json!("SOCKS5"), &json!(format!("tunnel://a.test:{port}")))
    );
    assert_eq!((&entries[0]["request"]["bodySize"], &entries[0]["response"]["bodySize"]), (&json!(5), &json!(9)));
}
