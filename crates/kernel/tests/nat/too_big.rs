//! Packets that are larger than the way on: whoever sent them is told, as a router would tell.

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use testkit::{Bpffs, Netns, netns, until};
use tidegate_kernel::{Datapath, Mode, Server, Service, Transport, Verdict};

use crate::craft::{ACK, Packet, Piece, TCP, UDP, error, fragment, read};
use crate::packets::{Bench, Side, asked, host, ip, vip};
use crate::speech::{Talk, datagram, datagrams, serve};
use crate::world::dropped;

const KINDS: [(bool, u8); 4] = [(true, TCP), (true, UDP), (false, TCP), (false, UDP)];

/// Too much for an interface that takes 1,500 bytes.
fn large(packet: Packet) -> Packet {
    Packet { payload: (0..1700_u16).map(|at| (at * 7) as u8).collect(), ..packet }
}

/// The error that comes of a packet, to the host that has sent it.
fn told(bench: &mut Bench, side: Side, packet: &[u8], to: (u8, u8)) -> Vec<u8> {
    let before = dropped(&bench.datapath, "too_big");
    let out = bench.sent(side, packet, to);
    assert_eq!(dropped(&bench.datapath, "too_big"), before + 1);
    out
}

/// It is an error about this packet, from whom it was sent to, with the MTU of the way and the head of the packet as it came.
fn is_about(out: &[u8], packet: &Packet, sent: &[u8]) {
    let is_v4 = packet.from.is_ipv4();
    let error = read(out);
    assert_eq!((error.from, error.to, error.hops), (packet.to.ip(), packet.from.ip(), 64));
    assert_eq!(out.len(), if is_v4 { 576 } else { 1280 });
    let kind: &[u8] = if is_v4 { &[3, 4] } else { &[2, 0] };
    assert_eq!((&error.body[..2], &error.body[4..8]), (kind, &1500_u32.to_be_bytes()[..]));
    assert_eq!(error.error(), &sent[..error.body.len() - 8]);
}

#[test]
fn whoever_sends_what_is_too_big_is_told() {
    if !netns::possible() {
        return;
    }
    for mode in [Mode::Full, Mode::Dnat, Mode::Dsr] {
        let mut bench = Bench::new(mode);
        for (number, (is_v4, protocol)) in (0..).zip(KINDS) {
            let small = asked(is_v4, protocol, number);
            let (server, source) = bench.choice(&small);
            bench.sent(Side::Clients, &small.bytes(), (1, host(server)));
            let packet = large(small.flags(ACK));
            let out = told(&mut bench, Side::Clients, &packet.bytes(), (0, host(packet.from)));
            is_about(&out, &packet, &packet.bytes());
            if mode != Mode::Dsr {
                let answer = large(Packet::new(protocol, server, source));
                let out = told(&mut bench, Side::Servers, &answer.bytes(), (1, host(server)));
                is_about(&out, &answer, &answer.bytes());
            }
        }
    }
}

/// What is exactly as large as the way goes on, and one byte more does not. The first packet of a connection counts as any other.
#[test]
fn the_last_byte_decides() {
    if !netns::possible() {
        return;
    }
    let mut bench = Bench::new(Mode::Full);
    for (number, (is_v4, protocol)) in (0..).zip(KINDS) {
        let mut packet = asked(is_v4, protocol, number);
        packet.payload = vec![1; 1500 - (packet.bytes().len() - packet.payload.len())];
        let server = bench.choice(&packet).0;
        bench.sent(Side::Clients, &packet.bytes(), (1, host(server)));
        packet.payload.push(1);
        let out = told(&mut bench, Side::Clients, &packet.bytes(), (0, host(packet.from)));
        is_about(&out, &packet, &packet.bytes());
    }
}

/// A route may be narrower than its interface, as a router's may.
#[test]
fn a_route_has_an_mtu_of_its_own() {
    if !netns::possible() {
        return;
    }
    let mut bench = Bench::new(Mode::Full);
    for (number, (is_v4, protocol)) in (0..).zip(KINDS) {
        let mut packet = asked(is_v4, protocol, number);
        packet.payload = vec![1; 1400];
        let server = bench.choice(&packet).0;
        bench.sent(Side::Clients, &packet.bytes(), (1, host(server)));
        bench.balancer.run(&format!("ip route add {} dev lb1 mtu lock 1300", server.ip()));
        let out = told(&mut bench, Side::Clients, &packet.bytes(), (0, host(packet.from)));
        assert_eq!(read(&out).body[4..8], 1300_u32.to_be_bytes());
        bench.balancer.run(&format!("ip route del {} dev lb1 mtu lock 1300", server.ip()));
    }
}

/// The first piece of a datagram is answered, also if routers may cut it further: here nobody cuts. Later ones never are.
#[test]
fn pieces_are_answered_once() {
    if !netns::possible() {
        return;
    }
    let mut bench = Bench::new(Mode::Full);
    for is_v4 in [true, false] {
        let packet = large(asked(is_v4, UDP, 1));
        let body = packet.body();
        let piece = |offset: usize, bytes: &[u8], more: bool| {
            let piece = Piece { id: 77, offset, more };
            fragment(packet.from.ip(), packet.to.ip(), UDP, 64, bytes, Some(piece))
        };
        let first = piece(0, &body[..1600], true);
        let out = told(&mut bench, Side::Clients, &first, (0, host(packet.from)));
        is_about(&out, &packet, &first);
        // It is the first one that says whose the others are.
        let server = bench.choice(&packet).0;
        bench.sent(Side::Clients, &piece(0, &body[..800], true), (1, host(server)));
        bench.dropped(Side::Clients, &piece(800, &vec![1; 1600], true), "too_big");
        bench.sent(Side::Clients, &piece(2400, &[1; 800], false), (1, host(server)));
    }
}

#[test]
fn nobody_is_told_who_may_not_be() {
    if !netns::possible() {
        return;
    }
    let mut bench = Bench::new(Mode::Dnat);
    // Of nobody, of this machine, of many machines: their packets come by routes of their own, as far as they are answered.
    for from in ["0.1.2.3", "127.0.0.9", "224.0.0.9", "255.255.255.255", "::"] {
        let from: IpAddr = from.parse().expect("an address");
        let is_v4 = from.is_ipv4();
        for route in ["0.0.0.0/0 via 198.18.0.2", "::/0 via 2001:2:0:0::2"] {
            bench.balancer.run(&format!("ip route replace {route}"));
        }
        let packet = large(Packet::new(UDP, SocketAddr::new(from, 4000), vip(is_v4)));
        bench.dropped(Side::Clients, &packet.bytes(), "too_big");
    }
    // No way leads back to it.
    bench.balancer.run("ip route add unreachable 198.18.0.3");
    let packet = large(asked(true, UDP, 1));
    assert_eq!(host(packet.from), 3);
    bench.dropped(Side::Clients, &packet.bytes(), "too_big");
    // Errors are never answered by errors.
    for (is_v4, protocol) in KINDS {
        let packet = asked(is_v4, protocol, 2);
        let (server, source) = bench.choice(&packet);
        bench.sent(Side::Clients, &packet.bytes(), (1, host(server)));
        let seen = large(Packet { from: source, to: server, ..packet.clone() });
        let (kind, code) = if is_v4 { (3, 3) } else { (1, 4) };
        let about = error(ip(is_v4, 1, 5), source.ip(), kind, code, 0, &seen.bytes());
        bench.dropped(Side::Servers, &about, "too_big");
    }
}

/// A flood of what is too big makes few errors, for each of those who send it.
#[test]
fn nobody_is_told_without_a_pause() {
    if !netns::possible() {
        return;
    }
    let mut bench = Bench::new(Mode::Full);
    let packet = large(asked(true, UDP, 1)).bytes();
    let frame = bench.frame(Side::Clients, &packet);
    let began = Instant::now();
    let verdicts: Vec<Verdict> = (0..2000).map(|_| bench.raw(Side::Clients, &frame).0).collect();
    let told = verdicts.iter().filter(|verdict| **verdict == Verdict::Sent).count();
    // Ten at once and fifty a second, as each processor counts them.
    let most = 11 + began.elapsed().as_millis() as usize / 20;
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    assert!(told >= 10 && told <= most * processors, "{told} in {:?}", began.elapsed());
    // Another one is told all the same.
    let other = large(asked(true, UDP, 2));
    told_to(&mut bench, &other);
}

fn told_to(bench: &mut Bench, packet: &Packet) {
    let out = told(bench, Side::Clients, &packet.bytes(), (0, host(packet.from)));
    is_about(&out, packet, &packet.bytes());
}

/// Which network of two has a way of 1,500 bytes in the midst of 9,000.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Narrow {
    Clients,
    Servers,
}

/// Client and server have cards of 9,000, and so has the balancer on one side; on the other it has one of 1,500, and a router is behind it.
/// Under direct return the server has two cards, and answers by the wide one.
struct Ways {
    client: Netns,
    balancer: Netns,
    _router: Netns,
    server: Netns,
    bpffs: Bpffs,
    is_v4: bool,
    /// The balancer's address in the network that leads to servers.
    source: IpAddr,
}

const PORT: u16 = 8080;

impl Ways {
    fn new(is_v4: bool, narrow: Narrow, mode: Mode) -> Ways {
        let [client, balancer, router, server] = ["client", "balancer", "router", "server"].map(Netns::new);
        let at = |net: u8, host: u8| format!("{}/{}", ip(is_v4, net, host), if is_v4 { 24 } else { 64 });
        let cable = |one: &Netns, card: &str, other: &Netns, far: &str, net: u8, hosts: (u8, u8), mtu: u32| {
            one.cable(other, mtu, (card, &at(net, hosts.0)), (far, &at(net, hosts.1)));
        };
        // Networks: 0 has the client, 1 the server, 2 is between router and balancer.
        let source = match narrow {
            Narrow::Clients => {
                cable(&client, "c0", &router, "r0", 0, (2, 1), 9000);
                cable(&router, "r1", &balancer, "lb0", 2, (2, 1), 1500);
                cable(&balancer, "lb1", &server, "s0", 1, (1, 11), 9000);
                ip(is_v4, 1, 1)
            }
            Narrow::Servers if mode == Mode::Dsr => {
                cable(&client, "c0", &balancer, "lb0", 0, (2, 1), 9000);
                cable(&balancer, "lb1", &server, "s0", 1, (1, 11), 1500);
                cable(&server, "s1", &client, "c1", 2, (2, 1), 9000);
                server.run(&format!("ip route add {} via {}", ip(is_v4, 0, 2), ip(is_v4, 2, 1)));
                ip(is_v4, 1, 1)
            }
            Narrow::Servers => {
                cable(&client, "c0", &balancer, "lb0", 0, (2, 1), 9000);
                cable(&balancer, "lb1", &router, "r0", 2, (1, 2), 1500);
                cable(&router, "r1", &server, "s0", 1, (1, 11), 9000);
                ip(is_v4, 2, 1)
            }
        };
        for machine in [&balancer, &router] {
            machine.sysctl("net.ipv4.ip_forward", "1");
            machine.sysctl("net.ipv6.conf.all.forwarding", "1");
        }
        client.run(&format!("ip route add default via {}", ip(is_v4, 0, 1)));
        match narrow {
            Narrow::Clients => {
                router.run(&format!("ip route add default via {}", ip(is_v4, 2, 1)));
                balancer.run(&format!("ip route add {} via {}", at(0, 0), ip(is_v4, 2, 2)));
                server.run(&format!("ip route add default via {source}"));
            }
            Narrow::Servers if mode == Mode::Dsr => {}
            Narrow::Servers => {
                router.run(&format!("ip route add default via {source}"));
                balancer.run(&format!("ip route add {} via {}", at(1, 0), ip(is_v4, 2, 2)));
                server.run(&format!("ip route add default via {}", ip(is_v4, 1, 1)));
            }
        }
        server.address("lo", &format!("{}/{}", vip(is_v4).ip(), if is_v4 { 32 } else { 128 }));
        for address in [ip(is_v4, 1, 11), vip(is_v4).ip()] {
            serve(&server, SocketAddr::new(address, PORT), "s");
        }
        Ways { client, balancer, _router: router, server, bpffs: Bpffs::new(), is_v4, source }
    }

    fn service(&self, mode: Mode, transport: Transport) -> Service {
        let address = SocketAddr::new(vip(self.is_v4).ip(), PORT);
        let server = SocketAddr::new(ip(self.is_v4, 1, 11), PORT);
        Service {
            name: "web".into(),
            address,
            transport,
            mode,
            sources: if mode == Mode::Full { vec![self.source] } else { Vec::new() },
            servers: vec![Server { name: "s".into(), address: server, weight: 1 }],
            idle: Duration::from_secs(60),
        }
    }

    fn with(&self, mode: Mode) -> Datapath {
        let services = [Transport::Tcp, Transport::Udp].map(|transport| self.service(mode, transport));
        let pins = self.bpffs.path().join("tidegate");
        let opened = self.balancer.enter(|| {
            let mut datapath = Datapath::open(&pins, &["lb0".into(), "lb1".into()], 4096)?;
            datapath.apply(&services)?;
            Ok::<_, tidegate_kernel::Refusal>(datapath)
        });
        opened.unwrap_or_else(|refusal| panic!("{refusal}"))
    }

    fn at(&self) -> SocketAddr {
        SocketAddr::new(vip(self.is_v4).ip(), PORT)
    }
}

/// Whether a machine knows that its way to an address is narrow.
fn knows(machine: &Netns, to: IpAddr) -> bool {
    machine.run(&format!("ip route get {to}")).contains("mtu 1500")
}

/// A transfer that would wait for ever, were nobody told: both ends believe in 9,000 bytes. With sums and segments made by the cards, as far
/// as there are any, and by the machines themselves.
#[test]
fn a_transfer_over_a_narrow_way_goes_on() {
    if !netns::possible() {
        return;
    }
    for (mode, narrow) in [
        (Mode::Full, Narrow::Servers),
        (Mode::Full, Narrow::Clients),
        (Mode::Dnat, Narrow::Servers),
        (Mode::Dnat, Narrow::Clients),
        (Mode::Dsr, Narrow::Servers),
    ] {
        for (is_v4, in_software) in [(true, false), (true, true), (false, false), (false, true)] {
            let ways = Ways::new(is_v4, narrow, mode);
            if in_software && testkit::tool("ethtool").is_some() {
                for (machine, card) in [(&ways.client, "c0"), (&ways.server, "s0")] {
                    machine.run(&format!("ethtool -K {card} tso off gso off"));
                }
                for card in ["lb0", "lb1"] {
                    ways.balancer.run(&format!("ethtool -K {card} tx off"));
                }
            }
            let datapath = ways.with(mode);
            let mut talk = Talk::to(&ways.client, ways.at());
            talk.bulk(300_000);
            let context = format!("{mode:?} {narrow:?} {is_v4} {in_software}");
            assert!(dropped(&datapath, "too_big") > 0, "{context}");
            match narrow {
                Narrow::Servers => assert!(knows(&ways.client, ways.at().ip()), "{context}"),
                Narrow::Clients => {
                    let seen = talk.ask("who").peer.ip();
                    assert!(knows(&ways.server, seen), "{context}");
                }
            }
        }
    }
}

/// A datagram is lost, and the next one leaves in pieces that fit.
#[test]
fn datagrams_are_cut_by_whoever_sends_them() {
    if !netns::possible() {
        return;
    }
    for is_v4 in [true, false] {
        let ways = Ways::new(is_v4, Narrow::Servers, Mode::Full);
        let datapath = ways.with(Mode::Full);
        let socket = datagrams(&ways.client, ways.at());
        datagram(&socket, 100);
        socket.send(&[0; 4000]).expect("it is sent");
        until("the client knows", || knows(&ways.client, ways.at().ip()));
        // The socket says so once, under IPv6.
        socket.take_error().expect("a socket");
        assert_eq!(datagram(&socket, 4000).server, "s");
        assert_eq!(dropped(&datapath, "too_big"), 1);
    }
}
