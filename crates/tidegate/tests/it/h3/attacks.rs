//! Those who want it to work for nothing, or to hold much for little.

use std::time::Duration;

use testkit::Server;
use testkit::h3::{Quic, frame, head};

use super::{GET, before, client};
use crate::tls::Desk;

const EXCESSIVE_LOAD: u64 = 0x107;

#[test]
fn garbage_is_dropped_and_versions_are_negotiated() {
    let (desk, server) = (Desk::new(), Server::named("here"));
    let tidegate = before(&desk, &server, "");
    let address = tidegate.address("web");
    let mut random = 7_u64;
    for length in (0..1400).step_by(7) {
        let garbage: Vec<u8> = (0..length)
            .map(|_| {
                random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                (random >> 56) as u8
            })
            .collect();
        Quic::throw(&address, &garbage);
    }
    // A version that nobody knows, in a datagram that is large enough, is answered with those that we know (RFC 9000 section 6).
    let unknown = [&[0xc0, 0xba, 0xba, 0xba, 0xba, 8][..], b"idofours", &[8], b"idofhers", &[0; 1200]].concat();
    let socket = Quic::throw(&address, &unknown);
    socket.set_read_timeout(Some(Duration::from_secs(20))).expect("a socket");
    let mut answer = [0; 2048];
    let length = socket.recv(&mut answer).expect("an answer");
    assert!(length < unknown.len() && answer[1..5] == [0; 4], "{:?}", &answer[..length]);
    assert!(answer[..length].chunks(1).count() > 8 && answer[..length].windows(4).any(|four| four == [0, 0, 0, 1]));
    assert_eq!(client(&desk, &tidegate).get("example.com", "/", &[]).expect("an answer").status, 200);
}

#[test]
fn half_open_handshakes_make_others_prove_their_address() {
    let (desk, server) = (Desk::new(), Server::named("here"));
    let tidegate = before(&desk, &server, ", limits: { handshakes: 40 }, timeouts: { tls_handshake: 30s }");
    let address = tidegate.address("web");
    let sockets = Quic::half_open(&address, &desk.tls(), 60);
    // Who comes back with a token is let in, though strangers hold a quarter of the places and would hold all of them.
    let mut client = client(&desk, &tidegate);
    assert_eq!(client.get("example.com", "/", &[]).expect("an answer").status, 200);
    let mut retries = 0;
    for socket in &sockets {
        socket.set_read_timeout(Some(Duration::from_millis(1))).expect("a socket");
        let mut answer = [0; 2048];
        while let Ok(length) = socket.recv(&mut answer) {
            // A long header of the type Retry (RFC 9000 section 17.2.5).
            retries += usize::from(length > 0 && answer[0] & 0xf0 == 0xf0);
        }
    }
    assert!(retries >= 40, "{retries}");
    let counted: f64 = tidegate.metric("tidegate_quic_retries_total", &["listener=\"web\""]).iter().sum();
    assert!(counted >= retries as f64, "{counted}");
    assert_eq!(tidegate.metric("tidegate_connections_total", &["listener=\"web\""]).iter().sum::<f64>(), 11.0);
}

#[test]
fn connections_beyond_the_cap_are_refused() {
    let (desk, server) = (Desk::new(), Server::named("here"));
    let tidegate = before(&desk, &server, ", limits: { connections: 2 }");
    let address = tidegate.address("web");
    let _two = (client(&desk, &tidegate), client(&desk, &tidegate));
    let refused = Quic::connect(&address, &desk.tls()).err().expect("no third");
    assert!(refused.1.contains("refused"), "{refused:?}");
    assert!(tidegate.metric("tidegate_connections_refused_total", &["listener=\"web\""]).iter().sum::<f64>() >= 1.0);
}

#[test]
fn heads_are_bounded_before_they_are_here() {
    let (desk, server) = (Desk::new(), Server::named("here"));
    let tidegate = before(&desk, &server, ", limits: { request_head: 16KiB }");
    let quic = super::quic(&desk, &tidegate);
    // A frame that says it is large is refused by its front.
    let mut stream = quic.open(&[1, 0xbf, 0xff, 0xff, 0xff], false).expect("a stream");
    let answer = String::from_utf8_lossy(&quic.rest(&mut stream).expect("an answer")).into_owned();
    assert!(answer.contains("431: head_too_large"), "{answer}");
    // A block that would grow is not kept: an entry of the static table again and again.
    let mut block = vec![0, 0, 0xd1, 0xd7, 0x50, 1, b'a', 0xc1];
    block.extend([0xff, 22].repeat(8000));
    let mut stream = quic.open(&frame(1, &block), true).expect("a stream");
    let answer = String::from_utf8_lossy(&quic.rest(&mut stream).expect("an answer")).into_owned();
    assert!(answer.contains("431: "), "{answer}");
    assert!(server.requests().is_empty());
}

#[test]
fn what_means_nothing_is_counted() {
    let (desk, server) = (Desk::new(), Server::named("here"));
    let tidegate = before(&desk, &server, "");
    let quic = super::quic(&desk, &tidegate);
    let flood = [head(&GET), [0x21, 0].repeat(1000)].concat();
    let mut stream = quic.open(&flood, false).expect("a stream");
    assert_eq!(quic.rest(&mut stream).expect_err("a reset").0, Some(EXCESSIVE_LOAD));
    let _control = quic.open_one_way(&[&[0, 4, 0][..], &[0x21, 0].repeat(4000)].concat()).expect("a stream");
    assert_eq!(quic.closed().0, Some(EXCESSIVE_LOAD));
}

#[test]
fn streams_without_a_head_are_given_up_in_time() {
    let (desk, server) = (Desk::new(), Server::named("here"));
    let tidegate = before(&desk, &server, ", timeouts: { request_head: 300ms }");
    let quic = super::quic(&desk, &tidegate);
    // As many as there may be: the next one has a place when these are gone on both sides.
    let streams: Vec<_> = (0..100).map(|_| quic.open(&[1], false).expect("a stream")).collect();
    for mut stream in streams {
        assert!(quic.rest(&mut stream).expect_err("a reset").0.is_some());
    }
    let mut stream = quic.open(&head(&GET), true).expect("a stream");
    assert!(!quic.rest(&mut stream).expect("an answer").is_empty());
}

#[test]
fn a_flood_of_streams_that_are_given_up_holds_nothing() {
    let server = Server::http(|_| testkit::ok("here"));
    let desk = Desk::new();
    let tidegate = before(&desk, &server, "");
    let quic = super::quic(&desk, &tidegate);
    for _ in 0..2000 {
        let mut stream = quic.open(&head(&GET), false).expect("a stream");
        stream.send.reset(0x10c_u32.into()).expect("an open stream");
        stream.hear.stop(0x10c_u32.into()).expect("an open stream");
    }
    assert_eq!(client(&desk, &tidegate).get("example.com", "/", &[]).expect("an answer").status, 200);
    assert!(server.most_open() <= 130, "{}", server.most_open());
    assert!(tidegate.rss() < 64 * 1024 * 1024, "{}", tidegate.rss());
}
