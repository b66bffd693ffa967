//! Errors about packets that were rewritten reach whoever sent them, about the packet that he sent.

use std::cell::RefCell;
use std::net::{IpAddr, SocketAddr};
use std::panic::catch_unwind;
use std::time::Duration;

use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use testkit::{Netns, netns};
use tidegate_kernel::{Mode, Transport, Verdict};

use crate::craft::{ACK, Packet, TCP, UDP, datagram, error, read};
use crate::packets::{Bench, Side, asked, host, ip, vip};
use crate::speech::{Talk, datagrams};
use crate::world::{Arms, Family, PORT, World};

const KINDS: [(bool, u8); 4] = [(true, TCP), (true, UDP), (false, TCP), (false, UDP)];

/// Too large for the way, with this MTU.
fn too_large(from: IpAddr, to: IpAddr, quoted: &[u8]) -> Vec<u8> {
    let (kind, code) = if from.is_ipv4() { (3, 4) } else { (2, 0) };
    error(from, to, kind, code, 1400, quoted)
}

#[test]
fn an_error_about_a_packet_to_the_server_reaches_the_client() {
    if !netns::possible() {
        return;
    }
    for mode in [Mode::Full, Mode::Dnat] {
        let mut bench = Bench::new(mode);
        for (number, (is_v4, protocol)) in (0..).zip(KINDS) {
            let packet = asked(is_v4, protocol, number).flags(ACK);
            let (server, source) = bench.choice(&packet);
            bench.sent(Side::Clients, &packet.bytes(), (1, host(server)));
            let router = ip(is_v4, 1, 5);
            let seen = Packet { from: source, to: server, hops: 63, ..packet.clone() }.bytes();
            let head = if is_v4 { 20 } else { 40 };
            for quoted in [&seen[..head + 8], &seen[..head + 18], &seen[..seen.len()]] {
                let bytes = too_large(router, source.ip(), quoted);
                let out = read(&bench.sent(Side::Servers, &bytes, (0, host(packet.from))));
                assert_eq!((out.from, out.to, out.hops), (packet.to.ip(), packet.from.ip(), 63));
                assert_eq!(out.body[4..8], 1400_u32.to_be_bytes());
                let inner = read(out.error());
                let told = inner.quoted();
                assert_eq!((told.from, told.to, told.hops), (packet.from, packet.to, 63));
                if quoted.len() == seen.len() {
                    assert_eq!(inner.packet(), Packet { hops: 63, ..packet.clone() });
                }
            }
        }
    }
}

#[test]
fn an_error_about_an_answer_reaches_the_server() {
    if !netns::possible() {
        return;
    }
    for mode in [Mode::Full, Mode::Dnat] {
        let mut bench = Bench::new(mode);
        for (number, (is_v4, protocol)) in (0..).zip(KINDS) {
            let packet = asked(is_v4, protocol, number);
            let (server, source) = bench.choice(&packet);
            bench.sent(Side::Clients, &packet.bytes(), (1, host(server)));
            let router = ip(is_v4, 0, 9);
            let answer = Packet::new(protocol, packet.to, packet.from);
            let out = read(&bench.sent(
                Side::Clients,
                &too_large(router, packet.to.ip(), &answer.bytes()),
                (1, host(server)),
            ));
            let from = if mode == Mode::Full { source.ip() } else { router };
            assert_eq!((out.from, out.to, out.hops), (from, server.ip(), 63));
            assert_eq!(read(out.error()).packet(), Packet { from: server, to: source, ..answer });
        }
    }
}

#[test]
fn under_direct_return_an_error_goes_on_to_the_server_as_it_is() {
    if !netns::possible() {
        return;
    }
    let mut bench = Bench::new(Mode::Dsr);
    for (number, (is_v4, protocol)) in (0..).zip(KINDS) {
        let packet = asked(is_v4, protocol, number);
        let (server, _) = bench.choice(&packet);
        bench.sent(Side::Clients, &packet.bytes(), (1, host(server)));
        let bytes = too_large(ip(is_v4, 0, 9), packet.to.ip(), &Packet::new(protocol, packet.to, packet.from).bytes());
        let out = bench.sent(Side::Clients, &bytes, (1, host(server)));
        let (before, after) = (read(&bytes), read(&out));
        assert_eq!((after.hops, after.error()), (63, before.error()));
    }
}

#[test]
fn errors_that_are_not_about_packets_of_ours_pass() {
    if !netns::possible() {
        return;
    }
    let mut bench = Bench::new(Mode::Full);
    for (is_v4, protocol) in KINDS {
        let packet = asked(is_v4, protocol, 1);
        let (server, source) = bench.choice(&packet);
        bench.sent(Side::Clients, &packet.bytes(), (1, host(server)));
        let router = ip(is_v4, 1, 5);
        let seen = Packet { from: source, to: server, ..packet.clone() };
        // Another port, too little, and one that is not for whoever sent the packet.
        let other = Packet { from: SocketAddr::new(source.ip(), source.port() ^ 1), ..seen.clone() };
        bench.passed(Side::Servers, &too_large(router, source.ip(), &other.bytes()));
        let head = if is_v4 { 20 } else { 40 };
        bench.passed(Side::Servers, &too_large(router, source.ip(), &seen.bytes()[..head + 7]));
        bench.passed(Side::Servers, &too_large(router, vip(is_v4).ip(), &seen.bytes()));
        // An echo that happens to carry the packet.
        let mut echo = vec![if is_v4 { 8 } else { 128 }, 0, 0, 0, 0, 0, 0, 0];
        echo.extend(seen.bytes());
        bench.passed(Side::Servers, &datagram(router, source.ip(), if is_v4 { 1 } else { 58 }, 64, &echo));
        let bytes = too_large(router, source.ip(), &seen.bytes());
        let mut last_hop = bytes.clone();
        last_hop[if is_v4 { 8 } else { 7 }] = 1;
        bench.dropped(Side::Servers, &last_hop, "ttl");
    }
}

/// Whatever is done to an error's headers and to what it quotes, it passes as it is, or is dropped, or leaves with its length and with sums that are
/// right if they were right before, and wrong if they were wrong.
#[test]
fn no_error_makes_the_program_harm_a_packet() {
    if !netns::possible() {
        return;
    }
    let bench = RefCell::new(Bench::new(Mode::Full));
    let sent: Vec<(Packet, SocketAddr, SocketAddr)> = (0..)
        .zip(KINDS)
        .map(|(number, (is_v4, protocol))| {
            let packet = asked(is_v4, protocol, number);
            let (server, source) = bench.borrow().choice(&packet);
            bench.borrow_mut().sent(Side::Clients, &packet.bytes(), (1, host(server)));
            (packet, server, source)
        })
        .collect();
    let strategy = (0..4_usize, 0..70_usize, prop::collection::vec((14..120_usize, any::<u8>()), 0..3));
    let config = ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(600) };
    let ran = TestRunner::new(config).run(&strategy, |(kind, cut, changes)| {
        let (packet, server, source) = &sent[kind];
        let quoted = Packet { from: *source, to: *server, ..packet.clone() }.bytes();
        let router = ip(packet.from.is_ipv4(), 1, 5);
        let bytes = too_large(router, source.ip(), &quoted[..quoted.len().min(cut)]);
        let mut bench = bench.borrow_mut();
        let mut frame = bench.frame(Side::Servers, &bytes);
        for (at, byte) in changes {
            if let Some(place) = frame.get_mut(at) {
                *place = byte;
            }
        }
        let (verdict, out) = bench.raw(Side::Servers, &frame);
        match verdict {
            Verdict::Passed => prop_assert_eq!(out, frame),
            Verdict::Dropped => {}
            Verdict::Sent => {
                prop_assert_eq!(out.len(), frame.len());
                let is_sound = |frame: &[u8]| catch_unwind(|| drop(read(&frame[14..]).error().to_vec())).is_ok();
                prop_assert_eq!(is_sound(&out), is_sound(&frame));
            }
        }
        Ok(())
    });
    if let Err(error) = ran {
        panic!("{error}");
    }
}

/// A server without anybody at the port says so, and the client's socket hears it.
#[test]
fn a_client_hears_that_nobody_is_at_the_port() {
    if !netns::possible() {
        return;
    }
    for (family, mode) in [(Family::V4, Mode::Full), (Family::V6, Mode::Full), (Family::V4, Mode::Dnat)] {
        let world = World::new(family, Arms::Two);
        let mut service = world.service(mode, Transport::Udp, &[1]);
        service.servers[0].address.set_port(PORT + 1);
        let _datapath = world.with(&[service]);
        let socket = datagrams(&world.client, world.at());
        socket.send(b"is anybody there").expect("it is sent");
        let error = socket.recv(&mut [0; 100]).expect_err("nobody is there");
        assert_eq!(error.kind(), std::io::ErrorKind::ConnectionRefused, "{family:?} {mode:?}");
    }
}

/// A router on the client's side whose way is narrower than both ends': the server learns of it, or the transfer never ends.
#[test]
fn a_server_learns_of_a_narrow_way() {
    if !netns::possible() {
        return;
    }
    for (family, mode) in [(Family::V4, Mode::Full), (Family::V6, Mode::Full), (Family::V4, Mode::Dnat)] {
        let world = World::new(family, Arms::Two);
        let _datapath = world.with(&[world.service(mode, Transport::Tcp, &[1])]);
        let far = Netns::new("far");
        let (is_v4, prefix) = (family == Family::V4, if family == Family::V4 { 24 } else { 64 });
        let (near, there) = (ip(is_v4, 5, 1), ip(is_v4, 5, 2));
        far.wire("f0", &world.client, "r0");
        far.address("f0", &format!("{there}/{prefix}"));
        far.run(&format!("ip route add default via {near}"));
        world.client.address("r0", &format!("{near}/{prefix}"));
        world.client.run("ip link set r0 mtu 1300");
        world.client.sysctl("net.ipv4.ip_forward", "1");
        world.client.sysctl("net.ipv6.conf.all.forwarding", "1");
        world.client.run(&format!("ip route replace {} via {}", world.vip(), ip(is_v4, 0, 1)));
        world.balancer.run(&format!("ip route add {there} via {}", world.client_ip()));
        let mut talk = Talk::try_to(&far, world.at(), Duration::from_secs(5)).expect("a connection");
        talk.bulk(300_000);
    }
}
