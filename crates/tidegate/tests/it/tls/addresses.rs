//! Addresses of one listener that differ in TLS.

use testkit::tls::Wishes;
use testkit::{Client, ClientTls, Reloaded};

use super::{Desk, page, refusal, was_shown};

/// One listener, its addresses: as the listener says, plain, with a certificate and a floor of its own.
#[test]
pub(crate) fn an_address_may_have_its_own_tls_or_none() {
    let desk = Desk::new();
    let other = desk.issue("other", &["other.test"]);
    let text = "
certificates:
  main: { cert: '@DIR/main.pem', key: '@DIR/main.key' }
  other: { cert: '@DIR/other.pem', key: '@DIR/other.key' }
listeners:
  web:
    bind:
      - 127.0.0.1:0
      - { address: '127.0.0.1:0', tls: @PLAIN }
      - { address: '127.0.0.1:0', tls: { certificates: other, min_version: tls1.3 } }
    tls: main
    respond: { body: here }
";
    let tidegate = desk.start(&text.replace("@PLAIN", "off"), &[]);
    let addresses: Vec<String> = tidegate.ready()["listeners"]["web"]
        .as_array()
        .expect("a list")
        .iter()
        .filter_map(|address| address.as_str().map(str::to_owned))
        .collect();
    let [main, plain, own] = &addresses[..] else { panic!("{addresses:?}") };
    assert_eq!(Client::secured(main, &desk.tls()).ask(page("/")).text(), "here");
    assert_eq!(Client::connect(plain).ask(page("/")).text(), "here");
    let tls = ClientTls::new(&desk.authority, "other.test");
    let mut client = Client::secured(own, &tls);
    assert!(was_shown(&client, &other));
    assert_eq!(client.ask(page("/").replace("example.com", "other.test")).text(), "here");
    let old = Wishes { version: Some(&rustls::version::TLS12), ..Wishes::default() };
    assert_eq!(
        Client::secured(main, &ClientTls::with(&desk.authority, "example.com", &old)).ask(page("/")).status,
        200
    );
    let why = refusal(own, &ClientTls::with(&desk.authority, "other.test", &old));
    assert!(why.contains("ProtocolVersion"), "{why}");
    // An open address becomes another by a reload.
    let text = desk.text(&text.replace("@PLAIN", "other"), &[]);
    assert_eq!(tidegate.reload(&text), Reloaded::Yes);
    assert!(was_shown(&Client::secured(plain, &tls), &other));
}
