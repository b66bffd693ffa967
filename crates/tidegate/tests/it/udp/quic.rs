//! QUIC through flows of UDP: clients whose port changes behind their backs, and clients that move. Everything is end to end: nobody here
//! has a key.

use std::collections::HashSet;

use testkit::datagram::Translator;
use testkit::h3::{Client, Method, request};
use testkit::h3_server::{Backend, Manner, ok};
use testkit::{ServerTls, Tidegate, until};

use super::sum;
use crate::support::start;
use crate::tls::Desk;

/// So many that chance does not lead a client back to its server: to four of them by turns, whoever comes.
const FOUR: &str = "
workers: 4
listeners: { web: { bind: 127.0.0.1:0, role: udp, to: app } }
pools: { app: { servers: { a: { address: @A1 @IDA }, b: { address: @B1 @IDB }, c: { address: @C1 @IDC }, d: { address: @D1 @IDD } },
  balance: round_robin @QUIC } }
";

fn four(desk: &Desk, encoded: bool) -> [Backend; 4] {
    let tls = ServerTls::new(&desk.issue("server", &["example.com"]));
    ["a", "b", "c", "d"].map(|name| {
        let id = encoded.then(|| name.as_bytes()[0]);
        Backend::start(&tls, Manner { id, ..Manner::default() }, move |_| ok(name))
    })
}

fn before(servers: &[Backend; 4], quic: &str, has_ids: bool) -> Tidegate {
    let mut text = FOUR.replace("@QUIC", quic);
    for name in ["A", "B", "C", "D"] {
        let id =
            if has_ids { format!(", quic_id: '{:02x}'", name.to_lowercase().as_bytes()[0]) } else { String::new() };
        text = text.replace(&format!(" @ID{name}"), &id);
    }
    start(&text, &[("A1", &servers[0]), ("B1", &servers[1]), ("C1", &servers[2]), ("D1", &servers[3])])
}

fn ask(client: &mut Client) -> String {
    let whole = client.get("example.com", "/", &[]).expect("an answer");
    String::from_utf8(whole.body).expect("a name")
}

/// Begins a request that nobody answers, until there are so many flows.
fn lose(client: &mut Client, tidegate: &Tidegate, flows: f64) {
    let _exchange = client.begin(request(Method::GET, "example.com", "/", &[])).expect("a stream");
    client.quic().meanwhile(|| until("another flow", || sum(tidegate, "tidegate_connections_total") >= flows));
}

#[test]
pub(crate) fn a_client_whose_port_changes_behind_its_back_keeps_its_server() {
    let desk = Desk::new();
    let servers = four(&desk, false);
    let tidegate = before(&servers, ", quic: learn", false);
    let translator = Translator::to(&tidegate.address("web"));
    let mut client = Client::connect(translator.address(), &desk.tls()).expect("a connection");
    let name = ask(&mut client);
    let mut ports = HashSet::from([translator.port()]);
    for _ in 0..8 {
        translator.forget();
        ports.insert(translator.port());
        assert_eq!(ask(&mut client), name);
    }
    assert!(ports.len() > 4);
    assert_eq!(sum(&tidegate, "tidegate_connections_total"), ports.len() as f64, "each was a flow of its own");
    let workers = tidegate.metric("tidegate_connections", &["listener=\"web\""]);
    assert!(workers.iter().filter(|flows| **flows > 0.0).count() > 1, "on another worker, most often: {workers:?}");
    let asked = servers.iter().filter(|server| !server.asked().is_empty()).count();
    assert_eq!(asked, 1, "nobody else has seen a request");
}

#[test]
fn ids_outlive_a_reload() {
    let desk = Desk::new();
    let servers = four(&desk, false);
    let tidegate = before(&servers, ", quic: { ids: learn, max: 1000 }", false);
    let translator = Translator::to(&tidegate.address("web"));
    let mut client = Client::connect(translator.address(), &desk.tls()).expect("a connection");
    let name = ask(&mut client);
    let text = std::fs::read_to_string(tidegate.folder.path().join("tidegate.yaml")).expect("a file");
    tidegate.reload(&text.replace("max: 1000", "max: 100000"));
    translator.forget();
    assert_eq!(ask(&mut client), name);
}

/// With room for one id, that of the second client takes the place of the first one's.
#[test]
pub(crate) fn only_so_many_ids_are_remembered() {
    let desk = Desk::new();
    let servers = four(&desk, false);
    let tidegate = before(&servers, ", quic: { ids: learn, max: 1 }", false);
    let translators = [0, 1].map(|_| Translator::to(&tidegate.address("web")));
    let mut clients =
        translators.each_ref().map(|at| Client::connect(at.address(), &desk.tls()).expect("a connection"));
    let names = clients.each_mut().map(ask);
    translators[1].forget();
    assert_eq!(ask(&mut clients[1]), names[1]);
    translators[0].forget();
    lose(&mut clients[0], &tidegate, 4.0);
    assert_eq!(servers.iter().map(|server| server.asked().len()).sum::<usize>(), 3, "the last request was lost");
}

/// This shows that the tests above can fail: by turns, a client that comes from another port is another server's.
#[test]
fn without_ids_such_a_client_is_lost() {
    let desk = Desk::new();
    let servers = four(&desk, false);
    let tidegate = before(&servers, "", false);
    let translator = Translator::to(&tidegate.address("web"));
    let mut client = Client::connect(translator.address(), &desk.tls()).expect("a connection");
    ask(&mut client);
    translator.forget();
    // Its server never hears of it again: whoever gets its datagrams knows nothing of its connection.
    lose(&mut client, &tidegate, 2.0);
    let used = tidegate.metric("tidegate_server_in_flight", &["pool=\"app\""]);
    assert_eq!(used.iter().filter(|flows| **flows > 0.0).count(), 2, "two servers have a flow: {used:?}");
}

#[test]
pub(crate) fn a_client_may_move_by_itself_where_servers_write_who_they_are_into_their_ids() {
    let desk = Desk::new();
    let servers = four(&desk, true);
    let tidegate = before(&servers, ", quic: { ids: encoded, offset: 1, length: 1 }", true);
    let mut client = Client::connect(&tidegate.address("web"), &desk.tls()).expect("a connection");
    let name = ask(&mut client);
    for _ in 0..6 {
        // It takes another id of its server's for its new place, which nobody on the way has ever seen (RFC 9000 section 9.5).
        client.quic().rebind();
        assert_eq!(ask(&mut client), name);
    }
    assert!(sum(&tidegate, "tidegate_connections_total") > 4.0);
}
