//! TLS of clients that know of no proxy, read by an authority that they trust.

use testkit::{Ending, Server};

use super::World;

const READING: &str = "
    intercept: { ca: { cert: '@DIR/own/ca.pem', key: '@DIR/own/ca.key' }, except: ['*.bank.test'], upstream_ca: '@DIR/ca.pem' }";

fn tls_is_read(by: &str) {
    let Some(world) = World::with_authority() else { return };
    let _pages = world.pages();
    let tidegate = world.program(by, READING);
    let read = |url: &str, address: &str, more: &[&str]| world.curl_trusting("own/ca.pem", url, address, more);
    for address in ["198.18.2.2", "[fd18:2::2]"] {
        // To the address that it was opened to, whatever the name means here, and each request by its path.
        assert_eq!(read("https://example.com/page", address, &[]), "secured 200", "{address}");
        assert_eq!(read("https://example.com/private/x", address, &[]), "403: denied\n 403", "{address}");
        assert_eq!(read("https://example.com/h1", address, &["--http1.1"]), "secured 200", "{address}");
        let line = tidegate
            .log_line("a request", |line| line["path"] == "/page" && line["address"] == format!("{address}:443"));
        let said = ["method", "host", "pool", "interception"].map(|key| line[key].as_str().expect("a text"));
        assert_eq!(said, ["GET", "example.com", "origin", "intercepted"]);
        assert_eq!(line["port"], 443);
        // Without a name it is the address itself.
        assert_eq!(read(&format!("https://{address}/bare"), address, &[]), "secured 200", "{address}");
        assert_eq!(read(&format!("https://{address}/private/x"), address, &[]), "403: denied\n 403", "{address}");
        let line = tidegate.log_line("a request", |line| line["path"] == "/bare" && line["host"] == address);
        assert_eq!(line["interception"], "intercepted");
    }
    let line = tidegate.log_line("a tunnel", |line| {
        line["path"].is_null()
            && line["sni"] == "example.com"
            && line["bytes_out"] == 7
            && line["client"] == "198.18.1.2"
    });
    assert_eq!((&line["host"], &line["interception"]), (&"example.com".into(), &"intercepted".into()));
    assert!(["method", "status", "version"].iter().all(|key| line[key].is_null()), "nobody asked for it: {line}");
    // A server that is not whom its client has asked for is not believed, and that is said.
    assert_eq!(
        read("https://other.test/x", "198.18.2.2", &[]),
        "502: server_tls: the server's certificate is for another name\n 502"
    );
    // A connection to one host is no way to another.
    let answer = read("https://example.com/x", "198.18.2.2", &["-H", "Host: other.test"]);
    assert_eq!(answer.split(' ').next_back(), Some("421"), "{answer}");
    // Routes refuse before anything is read.
    assert_eq!(read("https://blocked.example.com/", "198.18.2.2", &[]), " 000");
    // Who is excepted by name is shown the server itself.
    assert_eq!(world.curl("https://www.bank.test/private/account", "198.18.2.2", &[]), "secured 200");
    assert_eq!(read("https://www.bank.test/", "198.18.2.2", &[]), " 000");
    let line = tidegate.log_line("a tunnel", |line| line["host"] == "www.bank.test");
    assert_eq!((&line["interception"], &line["path"]), (&"excepted".into(), &serde_json::Value::Null));
    // Not so by a name that has another address.
    assert_eq!(read("https://far.bank.test/private/x", "198.18.2.2", &[]), "403: denied\n 403");
    // Who does not believe us is not led on unread.
    assert_eq!(world.curl("https://example.com/unbelieved", "198.18.2.2", &[]), " 000");
    tidegate.log_line("a tunnel", |line| line["reason"] == "the client does not believe our certificate");
    // Requests in plain are as ever, and so is what is neither; a handshake that cannot be read is none.
    assert_eq!(world.curl("http://a.test/private/x", "198.18.2.2", &[]), "403: denied\n 403");
    let echo = world.server.enter(|| {
        Server::at("198.18.2.2:4444", |peer| {
            if let Ok(heard) = peer.reader.exactly(5) {
                peer.send(heard);
            }
        })
    });
    let mut client = world.connect("198.18.2.2:4444");
    client.send("\0\x01abc");
    assert_eq!(client.exactly(5), b"\0\x01abc");
    drop(client);
    let line = tidegate.log_line("a tunnel", |line| line["port"] == 4444 && line["interception"] == "no_tls");
    assert_eq!(line["host"], "198.18.2.2");
    let mut client = world.connect("198.18.2.2:4444");
    client.send(b"\x80\x2e\x01\x03\x03\x00");
    assert!(matches!(client.ending(), Ending::Clean | Ending::Reset));
    let line = tidegate.log_line("a tunnel", |line| line["reason"] == "a handshake of TLS that cannot be read");
    assert_eq!((&line["fault"], &line["port"]), (&"client_tls".into(), &4444.into()));
    assert!(echo.requests().is_empty());
}

#[test]
fn tls_that_was_redirected_is_read() {
    tls_is_read("redirect");
}

#[test]
fn tls_that_was_diverted_is_read() {
    tls_is_read("tproxy");
}
