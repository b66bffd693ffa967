//! The same of forward proxies: 407, for requests and tunnels.

use testkit::{Server, Tidegate, h2, tool};

use super::{Files, basic};
use crate::forward::{OPEN, port};

const ASKS: &str = "use: [{ basic_auth: { users: '@DIR/people', realm: office } }]\n    http: [h1, h2]\n    to: origin";

fn proxy(files: &Files) -> Tidegate {
    files.start(&OPEN.replace("@MORE", ASKS), &[])
}

#[test]
fn requests_and_tunnels_are_asked_and_servers_see_nothing_of_it() {
    let (files, server) = (Files::new(), Server::named("one"));
    let tidegate = proxy(&files);
    let target = format!("http://a.test:{}/", port(&server));
    let request = |fields: &str| format!("GET {target} HTTP/1.1\r\nHost: a\r\n{fields}\r\n");
    let shown = format!("Proxy-Authorization: {}\r\n", basic("ann:sesame"));
    let mut client = tidegate.client();
    let asked = client.ask(request(""));
    assert_eq!((asked.status, asked.fields.has("www-authenticate")), (407, false));
    assert_eq!(asked.fields.values("proxy-authenticate"), ["Basic realm=\"office\", charset=\"UTF-8\""]);
    // What is meant for the server is none of ours.
    let theirs = format!("Authorization: {}\r\n", basic("ann:sesame"));
    assert_eq!(client.ask(request(&theirs)).status, 407);
    assert_eq!(client.ask(request(&(shown.clone() + "Authorization: Basic x\r\n"))).text(), "one");
    let seen = server.request();
    assert_eq!((seen.fields.has("proxy-authorization"), seen.fields.value("authorization")), (false, Some("Basic x")));
    assert_eq!(tidegate.log_line("ann", |line| line["user"] == "ann")["status"], 200);

    let connect = |fields: &str| format!("CONNECT a.test:{} HTTP/1.1\r\nHost: a\r\n{fields}\r\n", port(&server));
    let asked = tidegate.client().ask(connect(""));
    assert_eq!((asked.status, asked.fields.has("proxy-authenticate")), (407, true));
    assert_eq!(tidegate.client().ask(connect(&format!("Proxy-Authorization: {}\r\n", basic("ann:x")))).status, 407);
    let mut client = tidegate.client();
    client.send(connect(&shown));
    assert_eq!(client.head().status, 200);
    client.send("GET /inside HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    assert_eq!(client.response().text(), "one");
    drop(client);
    let line = tidegate.log_line("a tunnel", |line| line["method"] == "CONNECT" && line["status"] == 200);
    assert_eq!(line["user"], "ann");
}

#[test]
fn a_tunnel_by_http_2_is_asked_for_the_same() {
    let (files, server) = (Files::new(), Server::named("one"));
    let tidegate = proxy(&files);
    let mut client = h2::Client::connect(tidegate.address("web").parse().expect("an address"));
    let connect = |fields: &[(&str, &str)]| {
        let mut request = h2::request(h2::Method::CONNECT, "a", "/", fields);
        *request.uri_mut() = format!("a.test:{}", port(&server)).parse().expect("an authority");
        request
    };
    let exchange = client.begin(connect(&[]), false).expect("a stream");
    let asked = client.answer(exchange).expect("an answer");
    assert_eq!(asked.head.status, 407);
    assert_eq!(asked.head.headers["proxy-authenticate"], "Basic realm=\"office\", charset=\"UTF-8\"");
    let exchange = client.begin(connect(&[("proxy-authorization", &basic("bob:bob"))]), false).expect("a stream");
    let let_in = client.answer(exchange).expect("an answer");
    assert_eq!(let_in.head.status, 200);
}

#[test]
fn curl_is_let_in_by_its_user() {
    let (files, server) = (Files::new(), Server::named("one"));
    let tidegate = proxy(&files);
    let by = format!("http://{}", tidegate.address("web"));
    let url = format!("http://a.test:{}/", port(&server));
    let ways: [(&[&str], &str); 6] = [
        (&["--proxy-user", "ann:sesame"], "one200"),
        (&["--proxy-user", "ann:sesame", "--proxy-anyauth"], "one200"),
        (&["--proxy-user", "ann:sesame", "--proxytunnel"], "one200"),
        (&["--proxy-user", "ann:sesame", "--proxytunnel", "--proxy-anyauth"], "one200"),
        (&["--proxy-user", "ann:wrong"], "407"),
        (&[], "407"),
    ];
    for (options, wanted) in ways {
        let Some(mut curl) = tool("curl") else { return };
        curl.args(["-s", "--max-time", "20", "-w", "%{http_code}", "-x", &by]).args(options).arg(&url);
        let output = curl.output().expect("a client that runs");
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(said.ends_with(wanted), "{options:?}: {said}");
    }
}
