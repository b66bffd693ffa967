//! The owner's authority: made by the program, read at the start, and changed while it runs.

use std::fs;
use std::os::unix::fs::MetadataExt as _;

use testkit::{Reloaded, program, until};

use super::{Office, READING, page, stranger, tunnel};
use crate::support::BINARY;

#[test]
fn an_authority_is_made_once() {
    let office = Office::new();
    let folder = office.desk.folder.path().join("own");
    let key = fs::read(folder.join("ca.key")).expect("a key");
    assert_eq!(fs::metadata(folder.join("ca.key")).expect("a key").mode() & 0o777, 0o600);
    let again = program::output_of(BINARY, &["ca", "--out", &folder.display().to_string()]);
    let said = String::from_utf8_lossy(&again.stderr).into_owned();
    assert!(again.status.code() == Some(2) && said.contains("there is one already"), "{said}");
    assert!(said.trim_end().ends_with("ca.key"), "{said}");
    assert_eq!(fs::read(folder.join("ca.key")).expect("a key"), key);
    let third = office.desk.folder.path().join("third").display().to_string();
    let named = program::output_of(BINARY, &["ca", "--out", &third, "--name", "Example Inc. inspection"]);
    assert!(String::from_utf8_lossy(&named.stdout).contains("--cacert"), "{named:?}");
    let Some(mut openssl) = testkit::tool("openssl") else { return };
    let output = openssl
        .args(["x509", "-noout", "-subject", "-ext", "basicConstraints,keyUsage", "-in", &format!("{third}/ca.pem")])
        .output();
    let said = String::from_utf8_lossy(&output.expect("a tool").stdout).into_owned();
    assert!(
        said.contains("Example Inc. inspection")
            && said.contains("CA:TRUE, pathlen:0")
            && said.contains("Certificate Sign"),
        "{said}"
    );
    let long = program::output_of(BINARY, &["ca", "--out", "/nowhere", "--name", &"x".repeat(65)]);
    assert_eq!(long.status.code(), Some(2));
}

#[test]
fn what_is_no_authority_is_said_with_its_place() {
    let office = Office::new();
    office.desk.issue("leaf", &["a.test"]);
    stranger().issue(&["b.test"]).write(&office.desk.folder, "other");
    let dir = office.desk.folder.path().display().to_string();
    let wrong = |from: &str, to: &str| {
        let text = office.desk.text(&READING.replace("@MORE", "").replace(from, to), &[]);
        let (code, said) = program::failure_of(BINARY, &text);
        assert_eq!(code, Some(2), "{said}");
        said.replace(&dir, "DIR")
    };
    let said = wrong("own/ca.pem", "leaf.pem");
    assert!(
        said.contains("no usable private key") || said.contains("the key is not the certificate's: DIR/own/ca.key"),
        "{said}"
    );
    let said = wrong("cert: '@DIR/own/ca.pem', key: '@DIR/own/ca.key'", "cert: '@DIR/leaf.pem', key: '@DIR/leaf.key'");
    assert!(
        said.contains("no usable certificate: it is no authority, make one by `tidegate ca`: DIR/leaf.pem"),
        "{said}"
    );
    let said = wrong("own/ca.key", "other.key");
    assert!(said.contains("the key is not the certificate's: DIR/other.key"), "{said}");
    let said = wrong("own/ca.key", "none.key");
    assert!(said.contains("cannot read the file: there is no such file: DIR/none.key"), "{said}");
    let said = wrong("@DIR/ca.pem", "@DIR/own/ca.key");
    assert!(said.contains("no usable authorities: there is none in it: DIR/own/ca.key"), "{said}");
}

#[test]
fn another_authority_takes_its_place_while_we_run() {
    let office = Office::new();
    office.own("next");
    let (server, _) = office.server(&["a.test"]);
    let text = |folder: &str| office.desk.text(&READING.replace("@MORE", "").replace("own/", folder), &[]);
    let tidegate = crate::support::start(&text("own/"), &[]);
    let mut before = office.inside(&tidegate, "a.test", &server);
    assert_eq!(before.ask(page("a.test", "/")).status, 200);
    assert_eq!(tidegate.reload(&text("next/")), Reloaded::Yes);
    let new = office.trusting("next", "a.test");
    until("the new authority signs", || tunnel(&tidegate, "a.test", &server).begin(&new).is_ok());
    assert!(tunnel(&tidegate, "a.test", &server).begin(&office.client("a.test")).is_err());
    // Who was inside stays there.
    assert_eq!(before.ask(page("a.test", "/private/x")).status, 403);
}

#[test]
fn who_is_inside_is_not_led_on_in_plain_when_tunnels_are_not_read_any_more() {
    let office = Office::new();
    let (server, _) = office.server(&["a.test"]);
    let text = office.desk.text(&READING.replace("@MORE", ""), &[]);
    let tidegate = crate::support::start(&text, &[]);
    let mut client = office.inside(&tidegate, "a.test", &server);
    assert_eq!(client.ask(page("a.test", "/one")).status, 200);
    let without: String =
        text.lines().filter(|line| !line.contains("intercept:")).map(|line| format!("{line}\n")).collect();
    assert_eq!(tidegate.reload(&without), Reloaded::Yes);
    assert_eq!(client.ask(page("a.test", "/two")).status, 421);
    assert_eq!(server.requests().len(), 1);
}
