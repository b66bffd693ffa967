//! The same users behind SOCKS.

use testkit::tls::Wishes;
use testkit::{Authority, Client, ClientTls, Server};

use super::{Files, PEOPLE};
use crate::forward::{OPEN, port};
use crate::tls::Desk;

/// What SOCKS5 answers to a request for this server, once a client is let in.
fn connect(client: &mut Client, host: &str, port: &str) -> u8 {
    let port: u16 = port.parse().expect("a port");
    client.send([&[5, 1, 0, 3, host.len() as u8], host.as_bytes(), &port.to_be_bytes()].concat());
    client.exactly(10)[1]
}

#[test]
fn tunnels_are_routed_by_the_groups_of_who_asks() {
    let (files, server) = (Files::new(), Server::named("one"));
    let more = "use: [{ basic_auth: { users: '@DIR/people', groups: '@DIR/groups' } }]\n    \
                routes: [{ match: { kind: socks, not: { group: admins } }, deny: 403 }, { to: origin }]";
    let tidegate = files.start(&OPEN.replace("@MORE", more), &[]);
    for (name, password, reply) in [("ann", "sesame", 0), ("bob", "bob", 2)] {
        let mut client = tidegate.client();
        client.send([5, 1, 2]);
        assert_eq!(client.exactly(2), [5, 2]);
        let said = [&[1, name.len() as u8], name.as_bytes(), &[password.len() as u8], password.as_bytes()].concat();
        client.send(said);
        assert_eq!(client.exactly(2), [1, 0]);
        assert_eq!(connect(&mut client, "a.test", port(&server)), reply, "{name}");
        drop(client);
        assert_eq!(tidegate.log_line(name, |line| line["user"] == name)["host"], "a.test");
    }
}

#[test]
fn a_certificate_is_enough_for_clients_that_offer_nothing() {
    let (desk, people, server) = (Desk::new(), Authority::new(), Server::named("one"));
    desk.folder.write("people.pem", people.pem());
    desk.folder.write("people", PEOPLE);
    let ann = people.issue_to("Ann Lee");
    let more = "tls: { certificates: main, client_cert: { ca: '@DIR/people.pem', mode: optional } }\n    \
                use: [{ cert_auth: {} }, { basic_auth: { users: '@DIR/people' } }]\n    to: origin";
    let text = "certificates: { main: { cert: '@DIR/main.pem', key: '@DIR/main.key' } }\n".to_owned();
    let tidegate = desk.start(&(text + &OPEN.replace("@MORE", more)), &[]);
    let come = |shows| {
        let tls = ClientTls::with(&desk.authority, "example.com", &Wishes { shows, ..Wishes::default() });
        let mut client = Client::secured(&tidegate.address("web"), &tls);
        client.send([5, 1, 0]);
        let method = client.exactly(2)[1];
        (client, method)
    };
    let (mut client, method) = come(Some(&ann));
    assert_eq!((method, connect(&mut client, "a.test", port(&server))), (0, 0));
    drop(client);
    assert_eq!(tidegate.log_line("Ann", |line| line["user"] == "Ann Lee")["host"], "a.test");
    assert_eq!(come(None).1, 255, "who shows none has to offer a password");
}
