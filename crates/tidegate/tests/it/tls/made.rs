//! Certificates that are made here, by an authority of this machine's own.

use std::fs;
use std::os::unix::fs::MetadataExt as _;

use testkit::tls::Wishes;
use testkit::{Client, ClientTls, Tidegate, output_of};

use super::{Desk, page, refusal};
use crate::support::BINARY;

const INTERNAL: &str = "
state: '@DIR/state'
listeners:
  web:
    bind: 127.0.0.1:0
    tls: internal
    routes:
      - match: { host: [shop.example.com, '*.wild.test', '[::1]'] }
        respond: { body: here }
      - match: { any: [{ host: blog.example.com, path: /a }, { not: { host: not.example.com } }] }
        respond: { body: there }
";

/// A client that trusts the authority that was made.
fn trusting(desk: &Desk, name: &str) -> ClientTls {
    let root = fs::read_to_string(desk.folder.path().join("state/internal/ca.pem")).expect("an authority");
    ClientTls::trusting(&root, name, &Wishes::default())
}

fn ask(desk: &Desk, tidegate: &Tidegate, name: &str) -> u16 {
    let mut client = Client::secured(&tidegate.address("web"), &trusting(desk, name));
    client.ask(page("/").replace("example.com", name)).status
}

#[test]
pub(crate) fn a_certificate_is_made_for_the_hosts_of_the_routes_and_this_machine() {
    let desk = Desk::new();
    let tidegate = desk.start(INTERNAL, &[]);
    let said = tidegate.message("internal authority");
    assert!(said.contains("state/internal/ca.pem") && said.contains("--cacert"), "{said}");
    for name in ["shop.example.com", "a.wild.test", "blog.example.com", "localhost", "127.0.0.1"] {
        assert_eq!(ask(&desk, &tidegate, name), 200, "{name}");
    }
    for name in ["not.example.com", "wild.test"] {
        let why = refusal(&tidegate.address("web"), &trusting(&desk, name));
        assert!(why.contains("not valid for name"), "{name}: {why}");
    }
    let key = desk.folder.path().join("state/internal/ca.key");
    assert_eq!(fs::metadata(&key).expect("a key").mode() & 0o777, 0o600);
    // Another start, and a reload with another host: whoever trusts the authority goes on trusting.
    let root = fs::read(desk.folder.path().join("state/internal/ca.pem")).expect("an authority");
    drop(tidegate);
    let tidegate = desk.start(INTERNAL, &[]);
    let client = Client::secured(&tidegate.address("web"), &trusting(&desk, "localhost"));
    tidegate.reload(&desk.text(&INTERNAL.replace("blog.example.com", "new.example.com"), &[]));
    assert_eq!(ask(&desk, &tidegate, "new.example.com"), 200);
    drop(client);
    assert_eq!(fs::read(desk.folder.path().join("state/internal/ca.pem")).expect("an authority"), root);
}

/// An entry of its own says whom it is for, and a site's hosts count as those of routes do.
#[test]
pub(crate) fn hosts_of_a_made_certificate_may_be_said_and_come_from_sites() {
    let desk = Desk::new();
    let text = "
state: '@DIR/state'
certificates: { dev: { internal: { hosts: [said.example.com, '*.said.test', 192.0.2.7] } } }
listeners:
  web: { bind: 127.0.0.1:0, tls: dev }
  other: { bind: 127.0.0.1:0, tls: internal }
sites: { shop: { hosts: [site.example.com, default], listeners: [web, other], respond: { body: here } } }
";
    let tidegate = desk.start(text, &[]);
    for (listener, name, is_for) in [
        ("web", "said.example.com", true),
        ("web", "x.said.test", true),
        ("web", "192.0.2.7", true),
        ("web", "site.example.com", false),
        ("other", "site.example.com", true),
        ("other", "said.example.com", false),
    ] {
        let client = Client::try_secured(&tidegate.address(listener), &trusting(&desk, name));
        assert_eq!(client.is_ok(), is_for, "{listener} {name}: {client:?}");
    }
}

#[test]
fn a_check_makes_nothing_and_a_state_folder_that_cannot_be_written_refuses_the_start() {
    let desk = Desk::new();
    let file = desk.folder.write("tidegate.yaml", &desk.text(INTERNAL, &[]));
    assert!(output_of(BINARY, &["check", &file.display().to_string()]).status.success());
    assert!(!desk.folder.path().join("state").exists());
    desk.folder.write("state", "a file");
    let (code, said) = testkit::failure_of(BINARY, &desk.text(INTERNAL, &[]));
    assert!(code == Some(2) && said.contains("cannot keep the internal authority"), "{said}");
}
