//! Flows of UDP: datagrams both ways whatever their length, servers that are not there, what is recorded; limits, reloads, QUIC.

mod fragments;
pub(crate) mod limits;
mod prohibited;
pub(crate) mod quic;
mod reload;
mod shortage;

use std::net::{IpAddr, SocketAddr};

use testkit::datagram::{Answering, Asking};
use testkit::{PATIENCE, Start, Tidegate, Unheard, output_of, until};

use crate::support::{BINARY, Place, start};

/// One listener of flows in front of one pool.
const PLAIN: &str = "
listeners: { web: { bind: 127.0.0.1:0, role: udp, to: app } }
pools: { app: [@APP] }
";

/// The same with lines of its own for the listener.
fn with(listener: &str, app: &dyn Place) -> Tidegate {
    start(&PLAIN.replace("to: app", &format!("to: app, {listener}")), &[("APP", app)])
}

fn client(tidegate: &Tidegate) -> Asking {
    Asking::to(&tidegate.address("web"))
}

fn from(octet: u8, tidegate: &Tidegate) -> Asking {
    Asking::from(IpAddr::from([127, 0, 0, octet]), &tidegate.address("web"))
}

/// A server that answers only those who want it.
fn choosy(address: &str) -> Answering {
    Answering::at(address, |bytes| if bytes == b"mute" { Vec::new() } else { vec![bytes.to_vec()] })
}

/// Waits until a sum over all workers is at least this.
fn until_metric(tidegate: &Tidegate, name: &str, labels: &[&str], least: f64) {
    until(&format!("{name} of {least}"), || tidegate.metric(name, labels).iter().sum::<f64>() >= least);
}

fn sum(tidegate: &Tidegate, name: &str) -> f64 {
    tidegate.metric(name, &["listener=\"web\""]).iter().sum()
}

#[test]
fn clients_at_an_address_of_both_families_are_called_as_they_are() {
    let server = Answering::named("a");
    let text = PLAIN.replace("127.0.0.1:0", "':0'").replace("to: app", "to: app, timeouts: { flow: 100ms }");
    let tidegate = start(&text, &[("APP", &server)]);
    let bound = tidegate.address("web");
    let port = bound.rsplit(':').next().expect("a port");
    assert_eq!(Asking::to(&format!("127.0.0.1:{port}")).ask("hello"), "a hello");
    assert_eq!(tidegate.log_line("a flow", |line| line["pool"] == "app")["client"], "127.0.0.1");
}

#[test]
fn datagrams_go_both_ways_and_a_flow_is_recorded_when_it_is_over() {
    let server = Answering::named("a");
    let tidegate = with("timeouts: { flow: 100ms }", &server);
    let client = client(&tidegate);
    assert_eq!(client.ask("hello"), "a hello");
    assert_eq!(client.ask("again"), "a again");
    let line = tidegate.log_line("a flow", |line| line["pool"] == "app");
    assert_eq!((&line["bytes_in"], &line["bytes_out"]), (&10.into(), &14.into()));
    assert_eq!((&line["datagrams_in"], &line["datagrams_out"]), (&2.into(), &2.into()));
    assert_eq!((&line["listener"], &line["route"], &line["tries"]), (&"web".into(), &"0".into(), &1.into()));
    assert_eq!(line["address"], server.address());
    assert_eq!(line["peer"], client.socket.local_addr().expect("an address").to_string());
    assert!(line["total_us"].as_u64() >= line["response_us"].as_u64(), "{line}");
    for absent in ["method", "version", "status", "path", "fault", "cut", "host", "sni"] {
        assert!(line.get(absent).is_none(), "{absent}: {line}");
    }
    assert_eq!(sum(&tidegate, "tidegate_connections_total"), 1.0);
    assert_eq!(tidegate.metric("tidegate_datagrams_total", &["direction=\"in\""]).iter().sum::<f64>(), 2.0);
    assert_eq!(tidegate.metric("tidegate_datagrams_total", &["direction=\"out\""]).iter().sum::<f64>(), 2.0);
    assert_eq!(sum(&tidegate, "tidegate_datagrams_lost_total"), 0.0);
    assert_eq!(sum(&tidegate, "tidegate_connections"), 0.0);
    let seen = server.seen();
    assert_eq!(seen[0].from, seen[1].from, "one flow has one socket");
    assert_eq!(client.ask("later"), "a later");
    assert_eq!(server.until_seen(3).len(), 3, "what comes later is another flow");
    until_metric(&tidegate, "tidegate_connections_total", &[], 2.0);
}

#[test]
fn whatever_its_length_a_datagram_comes_and_goes_whole() {
    let server = Answering::echo();
    let tidegate = with("timeouts: { flow: 200ms }", &server);
    let client = client(&tidegate);
    let lengths = [0, 1, 512, 1472, 1473, 4096, 9000, 65_507];
    for length in lengths {
        let bytes: Vec<u8> = (0..length).map(|at: usize| (at % 253) as u8).collect();
        client.say(&bytes);
        assert!(client.hear() == bytes, "{length} bytes");
    }
    let line = tidegate.log_line("a flow", |line| line["pool"] == "app");
    let all = lengths.iter().sum::<usize>();
    assert_eq!((&line["bytes_in"], &line["bytes_out"]), (&all.into(), &all.into()));
    assert_eq!((&line["datagrams_in"], &line["datagrams_out"]), (&lengths.len().into(), &lengths.len().into()));
}

#[test]
fn many_clients_at_once_hear_their_own_answers_alone() {
    let (one, two) = (Answering::echo(), Answering::echo());
    let text = format!("workers: 4\n{}", PLAIN.replace("[@APP]", "[@ONE, @TWO]"));
    let tidegate = start(&text, &[("ONE", &one), ("TWO", &two)]);
    let clients: Vec<_> = (0..200).map(|number| (number, client(&tidegate))).collect();
    std::thread::scope(|scope| {
        for some in clients.chunks(25) {
            scope.spawn(move || {
                for round in 0..20 {
                    for (number, client) in some {
                        client.say(format!("{number} {round}"));
                    }
                    for (number, client) in some {
                        assert_eq!(client.hear_text(), format!("{number} {round}"));
                    }
                }
                assert!(some.iter().all(|(_, client)| !client.has_heard()));
            });
        }
    });
    assert_eq!(one.seen().len() + two.seen().len(), 8 * 25 * 20);
    let workers = tidegate.metric("tidegate_connections", &["listener=\"web\""]);
    assert_eq!(workers.iter().sum::<f64>(), 200.0);
    assert!(workers.len() == 4 && workers.iter().all(|flows| *flows > 0.0), "all workers have some: {workers:?}");
}

#[test]
fn what_comes_in_bursts_comes_whole_and_in_order() {
    let server = Answering::start(|bytes| {
        let count = usize::from(bytes[0]);
        (0..count).map(|number| vec![number as u8; 1200]).collect()
    });
    let tidegate = start(PLAIN, &[("APP", &server)]);
    let client = client(&tidegate);
    for _ in 0..10 {
        client.say([60]);
        for number in 0..60 {
            assert_eq!(client.hear(), [number; 1200]);
        }
    }
    assert_eq!(sum(&tidegate, "tidegate_datagrams_lost_total"), 0.0);
}

#[test]
fn answers_come_from_the_address_that_was_asked() {
    let server = Answering::named("a");
    let text = PLAIN.replace("127.0.0.1:0", "'0.0.0.0:0'");
    let tidegate = start(&text, &[("APP", &server)]);
    let port = tidegate.address("web").rsplit_once(':').expect("a port").1.to_owned();
    for host in ["127.0.0.1", "127.0.0.2", "127.3.2.1"] {
        // A socket that is connected hears nobody else.
        assert_eq!(Asking::to(&format!("{host}:{port}")).ask(host), format!("a {host}"));
    }
    // One client that asks at two addresses has two flows.
    let socket = std::net::UdpSocket::bind("127.0.0.1:0").expect("a port");
    socket.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    for host in ["127.0.0.4", "127.0.0.5"] {
        let asked: SocketAddr = format!("{host}:{port}").parse().expect("an address");
        socket.send_to(b"x", asked).expect("sent");
        assert_eq!(socket.recv_from(&mut [0; 9]).expect("an answer"), (3, asked));
    }
    assert_eq!(sum(&tidegate, "tidegate_connections"), 5.0);
}

#[test]
fn all_addresses_of_both_families_may_be_asked() {
    let server = Answering::named("a");
    let tidegate = start(&PLAIN.replace("127.0.0.1:0", "':0'"), &[("APP", &server)]);
    let port = tidegate.address("web").rsplit_once(':').expect("a port").1.to_owned();
    assert_eq!(Asking::to(&format!("127.0.0.3:{port}")).ask("x"), "a x");
    let v6 = Asking::from(IpAddr::from([0, 0, 0, 0, 0, 0, 0, 1]), &format!("[::1]:{port}"));
    assert_eq!(v6.ask("y"), "a y");
}

#[test]
fn another_server_is_asked_where_nobody_listens_and_the_client_sees_nothing_of_it() {
    let (dead, server) = (Unheard::new(), Answering::named("b"));
    let pool = "{ servers: { a: { address: @DEAD }, b: { address: @APP } }, balance: first }";
    let text = PLAIN.replace("[@APP]", pool).replace("to: app", "to: app, timeouts: { flow: 300ms }");
    let tidegate = start(&text, &[("DEAD", &dead), ("APP", &server)]);
    let client = client(&tidegate);
    assert_eq!(client.ask("x"), "b x");
    assert_eq!(client.ask("y"), "b y");
    let line = tidegate.log_line("a flow", |line| line["pool"] == "app");
    assert_eq!((&line["tries"], &line["server"]), (&2.into(), &"b".into()));
    assert!(line.get("fault").is_none(), "{line}");
    let failed = tidegate.metric("tidegate_server_faults_total", &["server=\"a\"", "code=\"connect\""]);
    assert_eq!(failed.iter().sum::<f64>(), 1.0);
    // The listener goes on, and so does the pool without the one.
    assert_eq!(self::client(&tidegate).ask("z"), "b z");
}

#[test]
fn without_another_server_the_one_is_asked_again_when_it_is_back() {
    let server = Answering::named("a");
    let address = server.address().to_owned();
    let tidegate = start(PLAIN, &[("APP", &server)]);
    let client = client(&tidegate);
    assert_eq!(client.ask("x"), "a x");
    server.kill();
    let refused = || tidegate.metric("tidegate_server_faults_total", &["code=\"connect\""]).iter().sum::<f64>();
    until("the kernel says that nobody is there", || {
        client.say("is anybody there");
        refused() >= 2.0
    });
    let _back = Answering::at(&address, |bytes| vec![[b"back ", bytes].concat()]);
    assert_eq!(client.ask("y"), "back y");
    assert_eq!(sum(&tidegate, "tidegate_connections_total"), 1.0, "it is the same flow");
}

#[test]
fn a_flow_leaves_a_server_that_goes_away() {
    let (one, two) = (Answering::named("one"), Answering::named("two"));
    let pool = "{ servers: { one: { address: @ONE }, two: { address: @TWO } }, balance: first }";
    let tidegate = start(&PLAIN.replace("[@APP]", pool), &[("ONE", &one), ("TWO", &two)]);
    let client = client(&tidegate);
    assert_eq!(client.ask("x"), "one x");
    one.kill();
    // What is lost is lost: it was not the first that was said.
    client.say("lost");
    until_metric(&tidegate, "tidegate_server_faults_total", &["server=\"one\"", "code=\"connect\""], 1.0);
    assert_eq!(client.ask("y"), "two y");
}

#[test]
fn it_needs_no_file() {
    let server = Answering::named("a");
    let tidegate = Start::of(BINARY).command(&["udp", "--bind", "127.0.0.1:0", "--to", server.address()]);
    assert_eq!(client(&tidegate).ask("hello"), "a hello");
    let help = String::from_utf8(output_of(BINARY, &["udp", "--help"]).stdout).expect("a text");
    assert!(help.contains("layer-4") && help.contains("UDP"), "{help}");
}
