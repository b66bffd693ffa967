//! Handshakes that do not come to their end.

use testkit::{Client, Ending, Tidegate, until};

use super::{ALONE, Desk, page};

fn failed(tidegate: &Tidegate) -> f64 {
    tidegate.metric("tidegate_tls_handshakes_failed_total", &["web"]).iter().sum()
}

#[test]
pub(crate) fn a_handshake_that_takes_too_long_is_broken_off() {
    let desk = Desk::new();
    let text = ALONE.replace("respond:", "timeouts: { tls_handshake: 500ms }, respond:");
    let tidegate = desk.start(&text, &[]);
    let mut silent = Client::connect(&tidegate.address("web"));
    assert_eq!(silent.ending(), Ending::Clean);
    until("it is counted", || failed(&tidegate) == 1.0);
    assert_eq!(desk.client(&tidegate).ask(page("/")).status, 200);
    assert_eq!(tidegate.metric("tidegate_tls_handshakes_total", &["web"]).iter().sum::<f64>(), 1.0);
}

#[test]
pub(crate) fn handshakes_beyond_their_number_are_refused() {
    let desk = Desk::new();
    let tidegate = desk.start(&ALONE.replace("respond:", "limits: { handshakes: 2 }, respond:"), &[]);
    let address = tidegate.address("web");
    let mut open = desk.client(&tidegate);
    // A client is through before the server is: an answer says that both are.
    assert_eq!(open.ask(page("/")).status, 200);
    let silent = [Client::connect(&address), Client::connect(&address)];
    until("both are there", || tidegate.metric("tidegate_connections", &["web"]).iter().sum::<f64>() == 3.0);
    assert!(Client::try_secured(&address, &desk.tls()).is_err());
    // Whoever is through is not concerned.
    assert_eq!(open.ask(page("/")).status, 200);
    drop(silent);
    until("there is room again", || Client::try_secured(&address, &desk.tls()).is_ok());
}

/// It gets an alert that it cannot read, and neither an answer nor a word of a page.
#[test]
fn plain_http_at_a_port_of_tls_is_refused_with_an_alert() {
    let desk = Desk::new();
    let tidegate = desk.start(ALONE, &[]);
    let mut client = Client::connect(&tidegate.address("web"));
    client.send(page("/"));
    let Ending::Bytes(alert) = client.ending() else { panic!("no alert") };
    // RFC 8446 section 6: content type 21, and 2 for fatal.
    assert!(alert.len() == 7 && alert[0] == 21 && alert[5] == 2, "{alert:?}");
    until("it is counted", || failed(&tidegate) == 1.0);
}

#[test]
fn a_connection_beyond_the_cap_gets_no_plain_answer() {
    let desk = Desk::new();
    let tidegate = desk.start(&ALONE.replace("respond:", "limits: { connections: 1 }, respond:"), &[]);
    let mut open = desk.client(&tidegate);
    assert_eq!(Client::connect(&tidegate.address("web")).ending(), Ending::Clean);
    assert_eq!(open.ask(page("/")).status, 200);
}
