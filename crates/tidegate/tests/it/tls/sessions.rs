//! Sessions that are taken up again.

use testkit::tls::Wishes;
use testkit::{Authority, Client, ClientTls, Reloaded};

use super::{ALONE, Desk, page, refusal};

/// By tickets (RFC 8446 section 2.2, RFC 5077), whose keys outlive a reload.
#[test]
fn sessions_are_resumed_also_after_a_reload() {
    let desk = Desk::new();
    let tidegate = desk.start(ALONE, &[]);
    for (version, name) in [(&rustls::version::TLS12, "old"), (&rustls::version::TLS13, "new")] {
        let tls =
            ClientTls::with(&desk.authority, "example.com", &Wishes { version: Some(version), ..Wishes::default() });
        let ask = |path: &str| {
            let mut client = Client::secured(&tidegate.address("web"), &tls);
            assert_eq!(client.ask(page(path)).status, 200);
            (client.agreed().resumed, tidegate.log_of(path)["tls_resumed"].clone())
        };
        assert_eq!(ask(&format!("/{name}/1")), (false, serde_json::Value::Null));
        assert_eq!(ask(&format!("/{name}/2")), (true, true.into()));
        let text = desk.text(&ALONE.replace("body: here", &format!("body: {name}")), &[]);
        assert_eq!(tidegate.reload(&text), Reloaded::Yes);
        assert_eq!(ask(&format!("/{name}/3")), (true, true.into()));
    }
}

/// A session shows its certificate once. One from where none was asked for must not be taken up where one is required.
#[test]
fn a_session_opens_no_door_that_asks_for_other_certificates() {
    let desk = Desk::new();
    let (people, others) = (Authority::new(), Authority::new());
    desk.folder.write("people.pem", people.pem());
    desk.folder.write("others.pem", others.pem());
    let text = "
certificates: { main: { cert: '@DIR/main.pem', key: '@DIR/main.key' } }
listeners:
  web: { bind: 127.0.0.1:0, tls: main, respond: 200 }
  people: { bind: 127.0.0.1:0, tls: { certificates: main, client_cert: { ca: '@DIR/people.pem' } }, respond: 200 }
  others: { bind: 127.0.0.1:0, tls: { certificates: main, client_cert: { ca: '@DIR/others.pem' } }, respond: 200 }
";
    let tidegate = desk.start(text, &[]);
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let wishes = Wishes { version: Some(version), ..Wishes::default() };
        let nobody = ClientTls::with(&desk.authority, "example.com", &wishes);
        for _ in 0..2 {
            assert_eq!(Client::secured(&tidegate.address("web"), &nobody).ask(page("/")).status, 200);
        }
        let why = refusal(&tidegate.address("people"), &nobody);
        assert!(why.contains("fatal alert"), "{version:?}: {why}");
        // Nor is who was known to the one known to the other.
        let ada = people.issue(&["ada.test"]);
        let ada = ClientTls::with(&desk.authority, "example.com", &Wishes { shows: Some(&ada), ..wishes });
        for _ in 0..2 {
            assert_eq!(Client::secured(&tidegate.address("people"), &ada).ask(page("/")).status, 200);
        }
        let why = refusal(&tidegate.address("others"), &ada);
        assert!(why.contains("fatal alert"), "{version:?}: {why}");
    }
}
