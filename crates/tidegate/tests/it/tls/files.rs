//! Certificates in files: what is wrong with them is said, and what changes is taken over.

use testkit::{Authority, Client, failure_of, output_of, until};

use super::{ALONE, Desk, page, was_shown};
use crate::support::BINARY;

#[test]
pub(crate) fn a_certificate_that_changes_is_shown_to_new_connections_and_none_is_dropped() {
    let desk = Desk::new();
    let tidegate = desk.start(ALONE, &[]);
    let mut old = desk.client(&tidegate);
    assert_eq!(old.ask(page("/")).text(), "here");
    let new = desk.authority.issue(&["example.com"]);
    desk.folder.replace("main.key", &new.key);
    desk.folder.replace("main.pem", &new.cert);
    until("the new certificate", || was_shown(&desk.client(&tidegate), &new));
    assert_eq!(old.ask(page("/")).text(), "here");
}

#[test]
fn a_broken_new_certificate_leaves_the_old_one_and_says_why() {
    let desk = Desk::new();
    let tidegate = desk.start(ALONE, &[]);
    desk.folder.replace("main.pem", "nothing of the kind");
    let said = tidegate.message("no usable certificate");
    assert!(said.contains("main.pem") && said.contains("tidegate.yaml:"), "{said}");
    assert_eq!(desk.client(&tidegate).ask(page("/")).text(), "here");
    // What is well again is taken.
    let new = desk.issue("main", &["example.com"]);
    until("the new certificate", || was_shown(&desk.client(&tidegate), &new));
}

/// A key and a certificate that do not belong together, files that are none or are not there: all at once, at the start.
#[test]
pub(crate) fn mistakes_in_files_refuse_the_start_with_their_places() {
    let desk = Desk::new();
    desk.issue("other", &["other.test"]);
    desk.folder.write("noise.pem", "noise");
    let text = desk.text(
        "
certificates:
  gone: { cert: '@DIR/gone.pem', key: '@DIR/main.key' }
  mixed: { cert: '@DIR/main.pem', key: '@DIR/other.key' }
  noise: { cert: '@DIR/noise.pem', key: '@DIR/main.key' }
  keyless: { cert: '@DIR/main.pem', key: '@DIR/noise.pem' }
listeners:
  web: { bind: 127.0.0.1:0, tls: { certificates: [gone, mixed], client_cert: '@DIR/noise.pem' }, to: app }
pools: { app: { servers: ['h:1'], tls: { ca: '@DIR/noise.pem' } } }
",
        &[],
    );
    let (code, said) = failure_of(BINARY, &text);
    assert_eq!(code, Some(2), "{said}");
    let line = |start: &str| text.lines().position(|line| line.trim_start().starts_with(start)).expect("a line") + 1;
    for (place, why, file) in [
        ("gone:", "there is no such file", "gone.pem"),
        ("mixed:", "the key is not the certificate's", "other.key"),
        ("noise:", "no usable certificate: there is none in it", "noise.pem"),
        ("keyless:", "no usable private key: there is none in it", "noise.pem"),
        ("web:", "no usable authorities: there is none in it", "noise.pem"),
        ("pools:", "no usable authorities: there is none in it", "noise.pem"),
    ] {
        let place = format!("tidegate.yaml:{}:", line(place));
        let found = said.lines().any(|line| line.contains(&place) && line.contains(why) && line.contains(file));
        assert!(found, "{place} {why}: {said}");
    }
}

#[test]
fn check_reads_certificates_and_shows_nothing_of_them() {
    let desk = Desk::new();
    let file = desk.folder.write("tidegate.yaml", &desk.text(ALONE, &[]));
    let file = file.display().to_string();
    assert!(output_of(BINARY, &["check", &file]).status.success());
    let key = std::fs::read_to_string(desk.folder.path().join("main.key")).expect("a key");
    let secret = key.lines().nth(1).expect("a line of the key");
    let effective = output_of(BINARY, &["config", "--effective", &file]);
    let shown = String::from_utf8_lossy(&effective.stdout).into_owned();
    assert!(effective.status.success() && shown.contains("main.key"), "{shown}");
    let tidegate = desk.start(ALONE, &[]);
    for shown in [shown, tidegate.admin("/api/config").text(), tidegate.messages()] {
        assert!(!shown.contains("PRIVATE KEY") && !shown.contains(secret), "{shown}");
    }
    desk.folder.write("main.key", &Authority::new().issue(&["example.com"]).key);
    let output = output_of(BINARY, &["check", &file]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout);
    assert!(!output.status.success() && said.contains("the key is not the certificate's"), "{said}");
}

/// Old private keys stand in files of another form; they are read all the same.
#[test]
fn a_chain_is_shown_whole() {
    let desk = Desk::new();
    let chain = [desk.authority.issue(&["example.com"])].map(|issued| {
        desk.folder.write("main.key", &issued.key);
        format!("{}{}", issued.cert, desk.authority.pem())
    });
    desk.folder.write("main.pem", &chain[0]);
    let tidegate = desk.start(ALONE, &[]);
    let mut client = Client::secured(&tidegate.address("web"), &desk.tls());
    assert_eq!(client.ask(page("/")).text(), "here");
}

#[test]
pub(crate) fn what_an_authority_says_is_stapled_to_the_certificate_and_follows_its_file() {
    let desk = Desk::new();
    let (first, second) = ("0 what the authority says", "0 what it says later");
    desk.folder.write("main.ocsp", first);
    let text = ALONE.replace("main.key' }", "main.key', ocsp: '@DIR/main.ocsp' }");
    let tidegate = desk.start(&text, &[]);
    let said = || {
        let tls = desk.tls();
        drop(Client::secured(&tidegate.address("web"), &tls));
        String::from_utf8_lossy(&tls.stapled()).into_owned()
    };
    assert_eq!(said(), first);
    desk.folder.replace("main.ocsp", second);
    until("what it says later", || said() == second);
    desk.folder.write("main.ocsp", "nothing");
    let (code, why) = failure_of(BINARY, &desk.text(&text, &[]));
    assert!(code == Some(2) && why.contains("no OCSP response in DER") && why.contains("main.ocsp"), "{why}");
}
