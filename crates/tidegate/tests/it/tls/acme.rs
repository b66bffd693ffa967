//! Certificates that an authority is asked for by ACME.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use testkit::tls::Wishes;
use testkit::{Acme, Authority, Client, ClientTls, Refusing, Tidegate, failure_of, until};

use super::{Desk, page, refusal};
use crate::support::{BINARY, start};

const TEXT: &str = "
state: '@DIR/state'
certificates: { auto: { acme: { directory: '@AT', ca: '@DIR/ca.pem', email: ops@example.com, @KEYS } } }
listeners:
  plain: { bind: 127.0.0.1:0, respond: { status: 404, body: plain } }
  web: { bind: 127.0.0.1:0, tls: auto, routes: [{ match: { host: shop.example.com }, respond: { body: here } }] }
";

fn text(desk: &Desk, directory: &str, keys: &str) -> String {
    desk.text(TEXT, &[]).replace("@AT", directory).replace("@KEYS", keys)
}

/// An authority that shows a certificate of the desk's, and signs by its own.
fn authority(desk: &Desk) -> Acme {
    Acme::new(Authority::new(), &desk.authority.issue(&["127.0.0.1"]))
}

/// Starts the program, and tells the authority where its listeners are.
fn asking(desk: &Desk, acme: &Acme, keys: &str) -> Tidegate {
    let tidegate = start(&text(desk, &acme.directory(), keys), &[]);
    acme.looks_at(&tidegate.address("plain"), &tidegate.address("web"));
    tidegate
}

fn client(acme: &Acme, tidegate: &Tidegate, name: &str) -> std::io::Result<Client> {
    Client::try_secured(&tidegate.address("web"), &ClientTls::trusting(acme.root(), name, &Wishes::default()))
}

fn serves(acme: &Acme, tidegate: &Tidegate, name: &str) -> bool {
    client(acme, tidegate, name)
        .is_ok_and(|mut client| client.ask(page("/").replace("example.com", name)).text() == "here")
}

fn certificates(tidegate: &Tidegate) -> serde_json::Value {
    serde_json::from_slice(&tidegate.admin("/api/certificates").body).expect("JSON")
}

/// Everything that is kept, and how it may be read.
fn kept(folder: &Path) -> Vec<(PathBuf, u32)> {
    let mut all = Vec::new();
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        let mode = fs::metadata(&path).expect("a file").mode() & 0o777;
        if path.is_dir() {
            assert_eq!(mode, 0o700, "{path:?}");
            all.extend(kept(&path));
        } else {
            all.push((path, mode));
        }
    }
    all
}

#[test]
pub(crate) fn a_certificate_is_asked_for_by_a_request_and_kept_over_a_restart() {
    let desk = Desk::new();
    let acme = authority(&desk);
    let tidegate = asking(&desk, &acme, "challenges: http-01");
    let refused = refusal(&tidegate.address("web"), &ClientTls::new(&desk.authority, "shop.example.com"));
    assert!(refused.contains("fatal alert"), "{refused}");
    tidegate.message("no certificate for `shop.example.com` yet");
    // What is nobody's proof goes its own way.
    let path = "/.well-known/acme-challenge/nobodys";
    assert_eq!(Client::connect(&tidegate.address("plain")).get(path).text(), "plain");
    let row = ["auto", "shop.example.com"];
    assert_eq!(tidegate.metric("tidegate_certificate_missing", &row), [1.0]);
    until("a certificate", || serves(&acme, &tidegate, "shop.example.com"));
    assert_eq!(tidegate.metric("tidegate_certificate_missing", &row), [0.0]);
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("after 1970").as_secs_f64();
    let left = tidegate.metric("tidegate_certificate_expiry_seconds", &row)[0] - now;
    assert!((89.0..90.1).contains(&(left / 86_400.0)), "{left}");
    let shown = certificates(&tidegate);
    assert_eq!((&shown[0]["name"], &shown[0]["source"]), (&"auto".into(), &"acme".into()));
    assert_eq!((&shown[0]["hosts"][0], &shown[0]["error"]), (&"shop.example.com".into(), &serde_json::Value::Null));
    assert_eq!((acme.orders(), acme.looked()), (vec!["shop.example.com".to_owned()], vec!["http-01"]));
    assert_eq!(acme.contacts(), [serde_json::json!(["mailto:ops@example.com"])]);
    let mut files = kept(&desk.folder.path().join("state"));
    files.retain(|(path, _)| path.file_name().is_some_and(|name| name != ".guard"));
    assert!(files.len() == 2 && files.iter().all(|(_, mode)| *mode == 0o600), "{files:?}");
    drop(tidegate);
    let again = asking(&desk, &acme, "challenges: http-01");
    assert!(serves(&acme, &again, "shop.example.com"));
    assert_eq!((acme.orders().len(), acme.accounts()), (1, 1));
}

#[test]
pub(crate) fn a_certificate_is_asked_for_by_a_handshake_with_domains_that_are_said() {
    let desk = Desk::new();
    let acme = authority(&desk);
    acme.spoils_nonces(2);
    let tidegate = asking(&desk, &acme, "challenges: tls-alpn-01, domains: [a.example.com, shop.example.com]");
    until("two certificates", || {
        client(&acme, &tidegate, "a.example.com").is_ok() && serves(&acme, &tidegate, "shop.example.com")
    });
    assert_eq!(acme.looked(), ["tls-alpn-01"; 2]);
    assert_eq!((acme.accounts(), acme.orders().len()), (1, 2));
    // Who asks for a proof where there is none is refused, and nothing is spoken by that protocol.
    let tls = ClientTls::of_anybody("shop.example.com", &["acme-tls/1"]);
    assert!(Client::try_secured(&tidegate.address("web"), &tls).is_err());
}

#[test]
pub(crate) fn an_authority_may_want_to_know_its_customers() {
    let desk = Desk::new();
    let acme = authority(&desk);
    acme.knows_customer("customer-7", b"a secret that was agreed on");
    desk.folder.write("eab.key", "YSBzZWNyZXQgdGhhdCB3YXMgYWdyZWVkIG9u");
    let nobody = asking(&desk, &acme, "");
    nobody.message("who are you? (externalAccountRequired)");
    drop(nobody);
    let key = format!("${{file.{}}}", desk.folder.path().join("eab.key").display());
    let tidegate = asking(&desk, &acme, &format!("eab: {{ id: customer-7, key: '{key}' }}"));
    until("a certificate", || serves(&acme, &tidegate, "shop.example.com"));
    let shown = tidegate.admin("/api/config").text() + &tidegate.messages();
    assert!(!shown.contains("YSBzZWNyZXQ"), "{shown}");
}

#[test]
fn what_an_authority_refuses_is_said_and_not_asked_again_at_once() {
    let desk = Desk::new();
    let acme = authority(&desk);
    acme.doubts(true);
    let tidegate = asking(&desk, &acme, "");
    let said = tidegate.message("no certificate for `shop.example.com`: by http-01");
    assert!(said.contains("we doubt it (unauthorized)") && said.contains("the next try in 15 s"), "{said}");
    assert_eq!(acme.orders().len(), 1);
    assert!(client(&acme, &tidegate, "shop.example.com").is_err());
    let shown = certificates(&tidegate);
    assert!(shown[0]["error"].as_str().is_some_and(|why| why.contains("we doubt it")), "{shown}");
}

/// The start does not wait for it, and what is not there now may come.
#[test]
pub(crate) fn an_authority_that_is_away_at_the_start_is_asked_again() {
    let desk = Desk::new();
    let away = Refusing::new();
    let directory = format!("https://{}/directory", away.address());
    let tidegate = start(&text(&desk, &directory, ""), &[]);
    let said = tidegate.message("no certificate for `shop.example.com`: ");
    assert!(said.contains("refused") && said.contains("the next try in 2 s"), "{said}");
    // It is who it should be, or it is not asked.
    let acme = Acme::revive(away, Authority::new(), &desk.authority.issue(&["127.0.0.1"]));
    acme.looks_at(&tidegate.address("plain"), &tidegate.address("web"));
    until("a certificate", || serves(&acme, &tidegate, "shop.example.com"));
    let stranger = Acme::new(Authority::new(), &Authority::new().issue(&["127.0.0.1"]));
    let other = start(&text(&desk, &stranger.directory(), ""), &[]);
    other.message("invalid peer certificate");
    assert_eq!(stranger.accounts(), 0);
}

/// The authority asks the one of two nodes that has not ordered: both know the answer, and both have the certificate.
#[test]
fn nodes_that_share_the_folder_order_once_and_answer_for_each_other() {
    for challenge in ["http-01", "tls-alpn-01"] {
        let desk = Desk::new();
        let acme = authority(&desk);
        let keys = format!("challenges: {challenge}");
        let nodes: Vec<Tidegate> = (0..2).map(|_| start(&text(&desk, &acme.directory(), &keys), &[])).collect();
        let orderer = usize::from(!desk.folder.path().join("state").exists());
        acme.looks_at(&nodes[1 - orderer].address("plain"), &nodes[1 - orderer].address("web"));
        for node in &nodes {
            until("a certificate", || serves(&acme, node, "shop.example.com"));
        }
        assert_eq!((acme.orders().len(), acme.accounts(), acme.looked()), (1, 1, vec![challenge]));
    }
}

#[test]
fn a_certificate_is_renewed_when_a_third_of_its_time_is_left_and_none_is_dropped() {
    let desk = Desk::new();
    let acme = authority(&desk);
    // Of 93 seconds a third is left in two.
    acme.dates(Duration::from_secs(60), Duration::from_secs(33));
    let tidegate = asking(&desk, &acme, "");
    // One worker may have it before the other has.
    let mut had = None;
    until("a certificate", || {
        had = client(&acme, &tidegate, "shop.example.com").ok();
        had.is_some()
    });
    let mut old = had.expect("a session");
    let first = old.agreed().shown;
    until("another one", || {
        client(&acme, &tidegate, "shop.example.com").is_ok_and(|client| client.agreed().shown != first)
    });
    assert_eq!(acme.orders().len(), 2);
    assert_eq!(old.ask(page("/").replace("example.com", "shop.example.com")).text(), "here");
}

/// `auto` needs no entry; what could never be had for it is a mistake before anybody is asked.
#[test]
fn auto_stands_for_certificates_by_acme() {
    let text = "listeners: { web: { bind: 127.0.0.1:0, tls: auto, respond: 200 } }";
    let (code, said) = failure_of(BINARY, text);
    assert!(code == Some(2) && said.contains("certificate `auto` is for nobody: no route has a host"), "{said}");
    let text = text.replace("respond: 200", "routes: [{ match: { host: [a.test, '*.b.test'] }, respond: 200 }]");
    let file = testkit::Folder::new();
    let file = file.write("tidegate.yaml", &text).display().to_string();
    let output = testkit::output_of(BINARY, &["check", &file]);
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("certificate `auto` cannot be had for `*.b.test`"), "{said}");
}
