//! Quotas of tunnels that are read.

use serde_json::{Value, json};

use super::{Office, line_of_tunnel, page};

#[test]
fn what_is_asked_for_inside_counts_once_and_the_tunnel_does_not() {
    let office = Office::new();
    let (server, _issued) = office.server(&["a.test"]);
    let text = super::READING
        .replace("@MORE", "")
        .replace("    routes:", "    use: [{ quota: { bytes: 1MiB, requests: 3, per: 30d } }]\n    routes:");
    let tidegate = office.desk.start(&text, &[]);
    let mut client = office.inside(&tidegate, "a.test", &server);
    let (one, two) = (client.ask(page("a.test", "/one")), client.ask(page("a.test", "/two")));
    let used = one.body.len() + two.body.len();
    let shown: Value = serde_json::from_slice(&tidegate.admin("/api/quotas/web%2Fquota").body).expect("JSON");
    assert_eq!(shown["subjects"][0]["requests"], json!({ "used": 2, "left": 1 }));
    assert_eq!(shown["subjects"][0]["bytes"]["used"], used);
    assert_eq!(client.ask(page("a.test", "/private/three")).status, 403, "what is denied does not count");
    assert_eq!(client.ask(page("a.test", "/four")).status, 200);
    assert_eq!(client.ask(page("a.test", "/five")).status, 429);
    drop(client);
    assert_eq!(line_of_tunnel(&tidegate, "a.test")["interception"], "intercepted");
    // What is used up opens no tunnel.
    let mut client = tidegate.client();
    client.send("CONNECT a.test:443 HTTP/1.1\r\nHost: a.test:443\r\n\r\n");
    assert_eq!(client.head().status, 429);
}
