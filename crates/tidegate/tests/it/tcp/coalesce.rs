//! Small pieces that wait for others: what lets them go, and that nothing is lost or turned round.

use std::io::{Read as _, Write as _};
use std::sync::Arc;
use std::time::{Duration, Instant};

use testkit::netns::{Netns, possible};
use testkit::socket::Socket;
use testkit::{Server, Shared, Signal, Start, Tidegate, tool};

use super::{connect, rest};
use crate::support::{BINARY, config, start};
use crate::tls::Desk;

/// Longer than any test waits: what arrives was let go by something else.
const LONG: &str = "delay: 10s";

fn towards_servers(said: &str, server: &Server) -> Tidegate {
    let text = format!(
        "listeners: {{ web: {{ bind: 127.0.0.1:0, role: tcp, to: app }} }}
pools: {{ app: {{ servers: [@APP], coalesce: {{ {said} }} }} }}"
    );
    start(&text, &[("APP", server)])
}

fn towards_clients(said: &str, server: &Server) -> Tidegate {
    let text = format!(
        "listeners: {{ web: {{ bind: 127.0.0.1:0, role: tcp, coalesce: {{ {said} }}, to: app }} }}
pools: {{ app: [@APP] }}"
    );
    start(&text, &[("APP", server)])
}

/// What was read, and when.
type Noted = Arc<Shared<Vec<(Vec<u8>, Instant)>>>;

/// A server that notes when it has read so many bytes.
fn noting(count: usize) -> (Server, Noted) {
    let read = Noted::default();
    let noted = Arc::clone(&read);
    let server = Server::script(move |peer| {
        while let Ok(bytes) = peer.reader.exactly(count) {
            noted.with(|noted| noted.push((bytes, Instant::now())));
        }
    });
    (server, read)
}

#[test]
pub(crate) fn the_first_byte_waits_for_others_as_long_as_it_is_told_and_no_longer() {
    let (server, read) = noting(4);
    let tidegate = towards_servers("delay: 60ms", &server);
    let mut client = connect(&tidegate);
    server.until_connections(1);
    for word in [b"abcd", b"efgh"] {
        let sent = Instant::now();
        client.write_all(word).expect("sent");
        let (came, at) = read.until("a word", Vec::pop);
        assert_eq!(came, word);
        assert!(at - sent >= Duration::from_millis(60), "{:?}", at - sent);
    }
}

#[test]
pub(crate) fn enough_bytes_wait_for_nothing() {
    let (server, read) = noting(100);
    let tidegate = towards_servers(&format!("bytes: 100B, {LONG}"), &server);
    let mut client = connect(&tidegate);
    let begin = Instant::now();
    // Piece by piece until it is enough, and at once.
    for _ in 0..100 {
        client.write_all(b"x").expect("sent");
    }
    read.until("a hundred bytes", Vec::pop);
    client.write_all(&[b'y'; 100]).expect("sent");
    read.until("a hundred bytes", Vec::pop);
    assert!(begin.elapsed() < Duration::from_secs(10));
}

#[test]
fn an_end_waits_for_nothing() {
    let server = Server::script(|peer| {
        let heard = peer.rest().expect("an end");
        peer.send(heard);
    });
    let begin = Instant::now();
    for tidegate in [towards_servers(LONG, &server), towards_clients(LONG, &server)] {
        let mut client = connect(&tidegate);
        client.write_all(b"the last").expect("sent");
        client.shutdown(std::net::Shutdown::Write).expect("finished");
        assert_eq!(rest(&mut client).as_deref(), Ok("the last"));
    }
    assert!(begin.elapsed() < Duration::from_secs(10));
}

#[test]
fn what_comes_the_other_way_lets_go() {
    let asked = Signal::new();
    let server = Server::script({
        let asked = asked.clone();
        move |peer| {
            asked.wait();
            peer.send("well?");
            assert_eq!(peer.reader.exactly(6).expect("what was held"), b"listen");
            peer.send("heard");
            let _ = peer.rest();
        }
    });
    let tidegate = towards_servers(LONG, &server);
    let begin = Instant::now();
    let mut client = connect(&tidegate);
    client.write_all(b"listen").expect("sent");
    asked.raise();
    let mut heard = [0; 10];
    client.read_exact(&mut heard).expect("an answer");
    assert_eq!(&heard, b"well?heard");
    assert!(begin.elapsed() < Duration::from_secs(10));
}

#[test]
pub(crate) fn each_direction_is_on_its_own() {
    // What clients say is not held where only what goes to them is, and the other way round.
    let begin = Instant::now();
    let (server, read) = noting(4);
    let tidegate = towards_clients(LONG, &server);
    let mut client = connect(&tidegate);
    client.write_all(b"abcd").expect("sent");
    assert_eq!(read.until("a word", Vec::pop).0, b"abcd");
    let server = Server::script(|peer| {
        peer.send("well?");
        let _ = peer.rest();
    });
    let tidegate = towards_servers(LONG, &server);
    let mut heard = [0; 5];
    connect(&tidegate).read_exact(&mut heard).expect("a word");
    assert_eq!(&heard, b"well?");
    assert!(begin.elapsed() < Duration::from_secs(10));
    // Where they are held they are.
    let server = Server::script(|peer| {
        while let Ok(byte) = peer.reader.exactly(1) {
            peer.send(byte);
        }
    });
    let begin = Instant::now();
    let tidegate = towards_clients("delay: 20ms", &server);
    let mut client = connect(&tidegate);
    client.write_all(b"a").expect("sent");
    let mut byte = [0];
    client.read_exact(&mut byte).expect("an answer");
    assert!(begin.elapsed() >= Duration::from_millis(20), "{:?}", begin.elapsed());
}

#[test]
fn large_amounts_and_small_ones_keep_their_order_in_both_directions() {
    let server = Server::script(|peer| {
        while let Ok(1..) = peer.reader.fill() {
            let heard = peer.reader.surplus().to_vec();
            peer.reader.exactly(heard.len()).expect("what is here");
            peer.send(heard);
        }
    });
    let text = "
certificates: { main: { cert: '@DIR/main.pem', key: '@DIR/main.key' } }
listeners:
  web: { bind: 127.0.0.1:0, role: tcp, coalesce: { bytes: 3KiB, delay: 300us }, to: app }
  secured: { bind: 127.0.0.1:0, role: tcp, coalesce: { bytes: 3KiB, delay: 300us }, tls: { certificates: main }, to: app }
pools: { app: { servers: [@APP], coalesce: { bytes: 64KiB, delay: 200us } } }";
    let desk = Desk::new();
    let tidegate = desk.start(text, &[("APP", &server)]);
    let pieces: Vec<Vec<u8>> = (0..600_usize)
        .map(|piece| {
            let length = if piece % 50 == 49 { 300_000 } else { piece * 37 % 180 };
            (0..length).map(|byte| ((byte + piece) % 251) as u8).collect()
        })
        .collect();
    let socket = connect(&tidegate);
    let mut writer = socket.try_clone().expect("a handle");
    let sent = std::thread::spawn({
        let pieces = pieces.clone();
        move || {
            for piece in &pieces {
                writer.write_all(piece).expect("sent");
            }
            writer.shutdown(std::net::Shutdown::Write).expect("finished");
        }
    });
    let (mut heard, all) = (Vec::new(), pieces.concat());
    { socket }.read_to_end(&mut heard).expect("an end");
    sent.join().expect("all was sent");
    assert!(heard == all, "{} of {}", heard.len(), all.len());
    // Under TLS one question at a time.
    let socket = Socket::connect(&tidegate.address("secured")).expect("a connection");
    let mut secured = socket.secure(&desk.tls()).expect("a handshake");
    for piece in &pieces[..100] {
        let mut heard = vec![0; piece.len()];
        secured.write_all(piece).and_then(|()| secured.read_exact(&mut heard)).expect("an answer");
        assert!(heard == *piece);
    }
}

#[test]
fn a_server_behind_a_wider_link_gets_a_twentieth_of_the_packets_or_less() {
    const WRITES: usize = 20_000;
    const PIECE: usize = 64;
    if !possible() || tool("ethtool").is_none() {
        return;
    }
    let [clients, between, servers] = ["clients", "between", "servers"].map(Netns::new);
    clients.cable(&between, 1500, ("narrow", "198.18.0.1/24"), ("front", "198.18.0.2/24"));
    between.cable(&servers, 9000, ("back", "198.18.1.2/24"), ("wide", "198.18.1.1/24"));
    // So that a packet is what would be on a wire.
    for (at, interface) in [(&clients, "narrow"), (&between, "front"), (&between, "back"), (&servers, "wide")] {
        at.run(&format!("ethtool -K {interface} tso off gso off gro off"));
    }
    let server = servers.enter(|| {
        Server::at("198.18.1.1:7000", |peer| {
            let heard = peer.rest().expect("an end");
            peer.send(format!("{} {}", heard.len(), heard.iter().map(|byte| u64::from(*byte)).sum::<u64>()));
        })
    });
    let text = "
listeners: { web: { bind: '198.18.0.2:7000', role: tcp, to: app } }
pools: { app: { servers: ['198.18.1.1:7000'], coalesce: { bytes: 8KiB, delay: 200us } } }";
    let tidegate = Start::of(BINARY).inside(&between).text(&config(text, &[]));
    let before = servers.received("wide");
    let heard = clients.enter(|| {
        let mut client = connect(&tidegate);
        client.set_nodelay(true).expect("an option");
        for write in 0..WRITES {
            client.write_all(&[(write % 251) as u8; PIECE]).expect("sent");
        }
        client.shutdown(std::net::Shutdown::Write).expect("finished");
        rest(&mut client).expect("an answer")
    });
    let sum: usize = (0..WRITES).map(|write| write % 251 * PIECE).sum();
    assert_eq!(heard, format!("{} {sum}", WRITES * PIECE));
    let packets = servers.received("wide") - before;
    assert!(packets * 20 <= WRITES as u64, "{packets} packets for {WRITES} writes");
    drop(server);
}
