//! MQTT: routes and servers by the identifier that a client gives itself.

mod real;

use testkit::{Server, Talk, Tidegate};

use crate::support::start;
use crate::tls::Desk;

/// CONNECT, of 3.1.1 or 5.
fn connect(level: u8, id: &str) -> Vec<u8> {
    let properties: &[u8] = if level == 5 { &[5, 0x11, 0, 0, 0, 60] } else { &[] };
    let body = [b"\0\x04MQTT", &[level, 2, 0, 60][..], properties, &[0, id.len() as u8], id.as_bytes()].concat();
    [&[0x10, body.len() as u8][..], &body].concat()
}

/// A server that says its name and how much it has heard of a packet.
fn named(name: &'static str) -> Server {
    Server::script(move |peer| {
        let mut talk = Talk::of(peer);
        let head = talk.exactly(2);
        let rest = talk.exactly(usize::from(head.get(1).copied().unwrap_or_default()));
        talk.say(format!("{name} {}\n", String::from_utf8_lossy(&rest[rest.len().saturating_sub(8)..])));
        talk.finish();
    })
}

fn ask(tidegate: &Tidegate, said: &[u8]) -> String {
    let mut talk = Talk::with(&tidegate.address("web"));
    for piece in said.chunks(3) {
        talk.say(piece);
    }
    talk.line()
}

const ROUTES: &str = "
listeners:
  web:
    bind: 127.0.0.1:0
    role: tcp
    routes:
      - { match: { mqtt: { client_id: { prefix: evil, case: ignore } } }, deny: close }
      - { match: { mqtt: { client_id: [sensor-1, ~^meter-] } }, to: @METERS }
      - { match: { not: { mqtt: { client_id: x } } }, to: @OTHERS }
      - to: @REST
";

#[test]
pub(crate) fn identifiers_choose_the_way() {
    let servers = ["meters", "others", "rest"].map(named);
    let tidegate = start(ROUTES, &[("METERS", &servers[0]), ("OTHERS", &servers[1]), ("REST", &servers[2])]);
    for level in [4, 5] {
        assert_eq!(ask(&tidegate, &connect(level, "sensor-1")), "meters sensor-1");
        assert_eq!(ask(&tidegate, &connect(level, "meter-77")), "meters meter-77");
        assert_eq!(ask(&tidegate, &connect(level, "sensor-2")), "others sensor-2");
        assert_eq!(ask(&tidegate, &connect(level, "EVIL0001")), "");
    }
    assert!(ask(&tidegate, &connect(3, "sensor-1")).starts_with("rest"), "no version that is known");
    assert_eq!(tidegate.log_line("a flow", |line| line["fault"] == "denied")["listener"], "web");
}

#[test]
fn inside_of_tls_identifiers_choose_the_way_too() {
    let (desk, one, two) = (Desk::new(), named("one"), named("two"));
    let text = "
certificates: { main: { cert: '@DIR/main.pem', key: '@DIR/main.key' } }
listeners:
  web:
    bind: 127.0.0.1:0
    role: tcp
    tls: main
    routes: [{ match: { mqtt: { client_id: sensor-1 }, sni: example.com }, to: @ONE }, { to: @TWO }]
";
    let tidegate = desk.start(text, &[("ONE", &one), ("TWO", &two)]);
    for (id, answer) in [("sensor-1", "one sensor-1"), ("sensor-2", "two sensor-2")] {
        let mut client = Talk::with(&tidegate.address("web"));
        client.begin(&desk.tls()).expect("a handshake").say(connect(5, id));
        assert_eq!(client.line(), answer);
    }
}

#[test]
fn a_client_stays_with_its_server_by_its_identifier() {
    let servers = ["a", "b"].map(named);
    let text = "
listeners: { web: { bind: 127.0.0.1:0, role: tcp, to: app } }
pools: { app: { servers: [@A1, @B1], balance: round_robin, sticky: { by: mqtt.client_id, for: 1m } } }
";
    let tidegate = start(text, &[("A1", &servers[0]), ("B1", &servers[1])]);
    let first: Vec<_> = (0..6).map(|number| ask(&tidegate, &connect(4, &format!("sensor-{number}")))).collect();
    let again: Vec<_> = (0..6).map(|number| ask(&tidegate, &connect(4, &format!("sensor-{number}")))).collect();
    assert_eq!(first, again);
    assert!(["a", "b"].iter().all(|name| first.iter().any(|said| said.starts_with(name))), "{first:?}");
}
