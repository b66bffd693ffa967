//! Folders of certificates.

use testkit::{Client, ClientTls, Issued, Reloaded, Tidegate, failure_of, until};

use super::{Desk, page, was_shown};
use crate::support::BINARY;

const FOLDER: &str = "
certificates: { all: { folder: '@DIR/all' } }
listeners: { web: { bind: 127.0.0.1:0, tls: all, respond: { body: here } } }
";

fn desk() -> Desk {
    let desk = Desk::new();
    std::fs::create_dir(desk.folder.path().join("all")).expect("a folder");
    desk
}

fn shows(desk: &Desk, tidegate: &Tidegate, name: &str, issued: &Issued) -> bool {
    let client = Client::try_secured(&tidegate.address("web"), &ClientTls::new(&desk.authority, name));
    client.is_ok_and(|client| was_shown(&client, issued))
}

#[test]
pub(crate) fn every_pair_of_a_folder_is_shown_and_pairs_may_come_change_and_go() {
    let desk = desk();
    let one = desk.issue("all/one", &["one.test"]);
    let two = desk.authority.issue(&["two.test"]);
    desk.folder.write("all/two.crt", &two.cert);
    desk.folder.write("all/two.key", &two.key);
    let three = desk.authority.issue(&["three.test", "127.0.0.1"]);
    desk.folder.write("all/three.pem", &format!("{}{}", three.key, three.cert));
    desk.folder.write("all/README", "what is not a certificate's is left alone");
    desk.folder.write("all/.hidden.pem", "neither");
    let tidegate = desk.start(FOLDER, &[]);
    for (name, issued) in [("one.test", &one), ("two.test", &two), ("three.test", &three)] {
        assert!(shows(&desk, &tidegate, name, issued), "{name}");
    }
    let mut old = Client::secured(&tidegate.address("web"), &ClientTls::new(&desk.authority, "one.test"));
    let four = desk.issue("all/four", &["four.test"]);
    until("a pair that has come", || shows(&desk, &tidegate, "four.test", &four));
    let newer = desk.authority.issue(&["three.test"]);
    desk.folder.replace("all/three.pem", &format!("{}{}", newer.cert, newer.key));
    until("a pair that has changed", || shows(&desk, &tidegate, "three.test", &newer));
    std::fs::remove_file(desk.folder.path().join("all/two.key")).expect("a file");
    std::fs::remove_file(desk.folder.path().join("all/two.crt")).expect("a file");
    until("a pair that has gone", || !shows(&desk, &tidegate, "two.test", &two));
    assert_eq!(old.ask(page("/").replace("example.com", "one.test")).text(), "here");
}

#[test]
fn one_bad_pair_refuses_the_start_and_at_a_reload_the_old_set_stays() {
    let desk = desk();
    let one = desk.issue("all/one", &["one.test"]);
    let text = desk.text(FOLDER, &[]);
    let tidegate = desk.start(FOLDER, &[]);
    desk.folder.write("all/bad.pem", "nothing of the kind");
    desk.folder.write("all/lonely.key", &one.key);
    desk.folder.write("all/keyless.crt", &one.cert);
    let mixed = desk.issue("all/mixed", &["mixed.test"]);
    desk.folder.write("all/mixed.key", &one.key);
    for (file, why) in [
        ("bad.pem", "no usable certificate: there is none in it"),
        ("lonely.key", "a key without a certificate beside it"),
        ("keyless.crt", "no usable private key: there is none in it, and no `.key` beside it"),
        ("mixed.key", "the key is not the certificate's"),
    ] {
        let (code, said) = failure_of(BINARY, &text);
        assert_eq!(code, Some(2), "{said}");
        assert!(
            said.lines().any(|line| line.contains(file) && line.contains(why) && line.contains("tidegate.yaml:")),
            "{said}"
        );
    }
    assert!(matches!(tidegate.reload(&text), Reloaded::No(_)));
    assert!(shows(&desk, &tidegate, "one.test", &one));
    // A file that is put right where it stands is enough.
    for file in ["all/bad.pem", "all/lonely.key", "all/keyless.crt"] {
        std::fs::remove_file(desk.folder.path().join(file)).expect("a file");
    }
    desk.folder.write("all/mixed.key", &mixed.key);
    until("the folder that is well again", || shows(&desk, &tidegate, "mixed.test", &mixed));
}

#[test]
fn a_folder_that_is_not_there_is_a_mistake() {
    let desk = Desk::new();
    let (code, said) = failure_of(BINARY, &desk.text(FOLDER, &[]));
    assert!(code == Some(2) && said.contains("cannot read the folder: there is no such folder"), "{said}");
}
