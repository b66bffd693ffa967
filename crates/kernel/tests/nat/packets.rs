//! Single packets: what goes in, what comes out, byte by byte, for every mode, family and protocol and in both directions.

use std::cell::RefCell;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use proptest::prelude::*;
use testkit::{Bpffs, Netns, netns};
use tidegate_kernel::{Datapath, Mode, Server, Service, Transport, Verdict};

use crate::craft::{ACK, Packet, Piece, SYN, TCP, UDP, datagram, fragment, frame, read, sum_with_addresses};

/// A balancer between two networks whose machines exist only as neighbours.
pub(crate) struct Bench {
    pub(crate) balancer: Netns,
    _outside: Netns,
    bpffs: Bpffs,
    pub(crate) datapath: Datapath,
    pub(crate) services: Vec<Service>,
    /// Index and Ethernet address of `lb0`, where clients are, and of `lb1`.
    cards: [(u32, [u8; 6]); 2],
}

/// A port of the network: that of clients, or that of servers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    Clients,
    Servers,
}

pub(crate) fn ip(is_v4: bool, net: u8, host: u8) -> IpAddr {
    match is_v4 {
        true => IpAddr::from([198, 18, net, host]),
        false => IpAddr::from([0x2001, 2, 0, u16::from(net), 0, 0, 0, u16::from(host)]),
    }
}

pub(crate) fn vip(is_v4: bool) -> SocketAddr {
    SocketAddr::new(ip(is_v4, 9, 1), 80)
}

pub(crate) fn neighbour(net: u8, host: u8) -> [u8; 6] {
    [2, 0, 0, 0, net, host]
}

/// A service of every family and protocol, over three servers at another port, two sources under full NAT.
pub(crate) fn services(mode: Mode) -> Vec<Service> {
    let service = |is_v4: bool, transport: Transport| Service {
        name: "web".into(),
        address: vip(is_v4),
        transport,
        mode,
        sources: match mode {
            Mode::Full => vec![ip(is_v4, 1, 1), ip(is_v4, 1, 2)],
            _ => Vec::new(),
        },
        servers: (11..=13)
            .map(|host| Server {
                name: format!("s{host}").into(),
                address: SocketAddr::new(ip(is_v4, 1, host), if mode == Mode::Dsr { 80 } else { 8080 }),
                weight: 1,
            })
            .collect(),
        idle: Duration::from_secs(60),
    };
    let all = [(true, Transport::Tcp), (true, Transport::Udp), (false, Transport::Tcp), (false, Transport::Udp)];
    all.map(|(is_v4, transport)| service(is_v4, transport)).into()
}

impl Bench {
    pub(crate) fn new(mode: Mode) -> Bench {
        Bench::with(&services(mode), 4096)
    }

    pub(crate) fn with(services: &[Service], entries: u32) -> Bench {
        Bench::with_ports(services, entries, "32768 60999")
    }

    /// With these ports for the kernel's own connections.
    pub(crate) fn with_ports(services: &[Service], entries: u32, local: &str) -> Bench {
        let (balancer, outside, bpffs) = (Netns::new("bench"), Netns::new("outside"), Bpffs::new());
        for (net, card) in [(0, "lb0"), (1, "lb1")] {
            balancer.wire(card, &outside, card);
            for is_v4 in [true, false] {
                balancer.address(card, &format!("{}/{}", ip(is_v4, net, 1), if is_v4 { 24 } else { 64 }));
                for host in 2..=13 {
                    let address = neighbour(net, host).map(|byte| format!("{byte:02x}")).join(":");
                    balancer.run(&format!("ip neigh add {} lladdr {address} dev {card}", ip(is_v4, net, host)));
                }
            }
        }
        balancer.sysctl("net.ipv4.ip_local_port_range", local);
        balancer.sysctl("net.ipv4.ip_forward", "1");
        balancer.sysctl("net.ipv6.conf.all.forwarding", "1");
        let cards = ["lb0", "lb1"].map(|card| (balancer.index(card), balancer.ethernet(card)));
        let pins = bpffs.path().join("tidegate");
        let mut datapath = balancer
            .enter(|| Datapath::open(&pins, &["lb0".into(), "lb1".into()], entries))
            .unwrap_or_else(|refusal| panic!("{refusal}"));
        balancer.enter(|| datapath.apply(services)).unwrap_or_else(|refusal| panic!("{refusal}"));
        Bench { balancer, _outside: outside, bpffs, datapath, services: services.to_vec(), cards }
    }

    pub(crate) fn pins(&self) -> std::path::PathBuf {
        self.bpffs.path().join("tidegate")
    }

    pub(crate) fn apply(&mut self, services: &[Service]) {
        let datapath = &mut self.datapath;
        self.balancer.enter(|| datapath.apply(services)).unwrap_or_else(|refusal| panic!("{refusal}"));
        self.services = services.to_vec();
    }

    /// Frames as they arrive.
    pub(crate) fn frame(&self, side: Side, packet: &[u8]) -> Vec<u8> {
        let (net, (_, card)) = (side as u8, self.cards[side as usize]);
        frame(card, neighbour(net, 2), packet)
    }

    pub(crate) fn raw(&mut self, side: Side, frame: &[u8]) -> (Verdict, Vec<u8>) {
        let (datapath, index) = (&mut self.datapath, self.cards[side as usize].0);
        self.balancer.enter(|| datapath.rehearse(index, frame)).unwrap_or_else(|refusal| panic!("{refusal}"))
    }

    /// What comes out, without its Ethernet header, which must be right: from our card to the neighbour of this host.
    pub(crate) fn sent(&mut self, from: Side, packet: &[u8], to: (u8, u8)) -> Vec<u8> {
        let frame = self.frame(from, packet);
        let (verdict, out) = self.raw(from, &frame);
        assert_eq!(verdict, Verdict::Sent);
        assert_eq!(out[..6], neighbour(to.0, to.1));
        assert_eq!(out[6..12], self.cards[usize::from(to.0)].1);
        assert_eq!(out[12..14], frame[12..14]);
        out[14..].to_vec()
    }

    pub(crate) fn dropped(&mut self, from: Side, packet: &[u8], reason: &str) {
        let before = crate::world::dropped(&self.datapath, reason);
        let frame = self.frame(from, packet);
        assert_eq!(self.raw(from, &frame).0, Verdict::Dropped);
        assert_eq!(crate::world::dropped(&self.datapath, reason), before + 1, "{reason}");
    }

    pub(crate) fn passed(&mut self, from: Side, packet: &[u8]) {
        let frame = self.frame(from, packet);
        assert_eq!(self.raw(from, &frame), (Verdict::Passed, frame));
    }

    /// The server and the source that a client's packet must come to while no port is taken: computed here from the packet
    /// and the list of servers alone, as another node would.
    pub(crate) fn choice(&self, packet: &Packet) -> (SocketAddr, SocketAddr) {
        let service = self.services.iter().find(|service| {
            service.address == packet.to && (service.transport == Transport::Tcp) == (packet.protocol == TCP)
        });
        let service = service.expect("a service");
        let octets = |ip: IpAddr| match ip {
            IpAddr::V4(ip) => ip.to_ipv6_mapped().octets(),
            IpAddr::V6(ip) => ip.octets(),
        };
        let key = [
            &octets(packet.from.ip())[..],
            &octets(packet.to.ip()),
            &packet.from.port().to_be_bytes(),
            &packet.to.port().to_be_bytes(),
            &[packet.protocol, 0, 0, 0],
        ];
        let hash = base::xxh64::hash(0, &key.concat());
        let names: Vec<_> =
            service.servers.iter().map(|server| base::maglev::identity(&server.name, &server.address)).collect();
        let weights = service.servers.iter().map(|server| server.weight);
        let places = base::maglev::places(names.iter().map(|name| &**name).zip(weights));
        let place = ((hash >> 32) * places.len() as u64) >> 32;
        let server = service.servers[usize::from(places[place as usize])].address;
        let source = match service.mode {
            Mode::Full => {
                let (ports, sources) = (31_744, service.sources.len() as u32);
                let candidate = hash as u32 % (ports * sources);
                SocketAddr::new(service.sources[(candidate / ports) as usize], 1024 + (candidate % ports) as u16)
            }
            _ => packet.from,
        };
        (server, source)
    }
}

pub(crate) fn host(address: SocketAddr) -> u8 {
    match address.ip() {
        IpAddr::V4(ip) => ip.octets()[3],
        IpAddr::V6(ip) => ip.octets()[15],
    }
}

/// A client's packet, by a number.
pub(crate) fn asked(is_v4: bool, protocol: u8, number: u16) -> Packet {
    let from = SocketAddr::new(ip(is_v4, 0, 2 + (number % 8) as u8), 40_000 + number);
    Packet::new(protocol, from, vip(is_v4)).flags(if protocol == TCP { SYN } else { ACK })
}

const KINDS: [(bool, u8); 4] = [(true, TCP), (true, UDP), (false, TCP), (false, UDP)];

#[test]
fn addresses_ports_and_sums_are_right_both_ways_in_every_mode() {
    if !netns::possible() {
        return;
    }
    for mode in [Mode::Full, Mode::Dnat] {
        let mut bench = Bench::new(mode);
        for (number, (is_v4, protocol)) in (0..).zip(KINDS.iter().cycle().take(80)) {
            let packet = asked(*is_v4, *protocol, number);
            let (server, source) = bench.choice(&packet);
            let out = read(&bench.sent(Side::Clients, &packet.bytes(), (1, host(server)))).packet();
            assert_eq!(out, Packet { from: source, to: server, hops: 63, ..packet.clone() });
            let answer = Packet::new(*protocol, server, source);
            let back = read(&bench.sent(Side::Servers, &answer.bytes(), (0, host(packet.from)))).packet();
            assert_eq!(back, Packet { from: packet.to, to: packet.from, hops: 63, ..answer });
            // Nothing depends on what the packet carries, nor on a header of IP with options.
            let odd = Packet { payload: vec![0xab; 333], hops: 2, ..packet.clone().flags(ACK) };
            let out = read(&bench.sent(Side::Clients, &odd.bytes(), (1, host(server)))).packet();
            assert_eq!(out, Packet { from: source, to: server, hops: 1, ..odd });
        }
        let total = crate::world::total(&bench.datapath.counters().expect("counters"));
        assert_eq!((total.opened, total.packets_in, total.packets_out), (80, 160, 80));
    }
}

#[test]
fn direct_return_changes_ethernet_addresses_and_hops_alone() {
    if !netns::possible() {
        return;
    }
    let mut bench = Bench::new(Mode::Dsr);
    for (number, (is_v4, protocol)) in (0..).zip(KINDS.iter().cycle().take(40)) {
        let packet = asked(*is_v4, *protocol, number);
        let (server, _) = bench.choice(&packet);
        let out = bench.sent(Side::Clients, &packet.bytes(), (1, host(server)));
        assert_eq!(read(&out).packet(), Packet { hops: 63, ..packet.clone() });
        assert_eq!(out, Packet { hops: 63, ..packet }.bytes());
    }
}

#[test]
fn a_datagram_without_a_sum_stays_without_and_none_becomes_zero() {
    if !netns::possible() {
        return;
    }
    let mut bench = Bench::new(Mode::Full);
    let packet = asked(true, UDP, 1);
    let (server, source) = bench.choice(&packet);
    let mut body = packet.body();
    body[6..8].fill(0);
    let bytes = datagram(packet.from.ip(), packet.to.ip(), UDP, 64, &body);
    let out = read(&bench.sent(Side::Clients, &bytes, (1, host(server))));
    assert_eq!(
        (out.body[..4].to_vec(), &out.body[6..8]),
        ([source.port(), server.port()].map(u16::to_be_bytes).concat(), &[0, 0][..])
    );
    // A payload whose sum comes out as zero after the change must be sent as all ones (RFC 768).
    let mut tuned = Packet { payload: vec![0, 0], ..packet };
    let target = Packet { from: source, to: server, ..tuned.clone() };
    let sum = u16::from_be_bytes([target.body()[6], target.body()[7]]);
    tuned.payload = sum.to_be_bytes().to_vec();
    let out = read(&bench.sent(Side::Clients, &tuned.bytes(), (1, host(server))));
    assert_eq!(out.body[6..8], [0xff, 0xff]);
    assert_eq!(sum_with_addresses(out.from, out.to, UDP, &out.body), 0);
}

#[test]
fn fragments_follow_their_first_one() {
    if !netns::possible() {
        return;
    }
    let mut bench = Bench::new(Mode::Full);
    for is_v4 in [true, false] {
        let mut packet = asked(is_v4, UDP, 5);
        packet.payload = (0..1000).map(|at| at as u8).collect();
        let (server, source) = bench.choice(&packet);
        let (body, whole) = (packet.body(), Packet { from: source, to: server, ..packet.clone() });
        let piece = |offset: usize, more: bool| Some(Piece { id: 99, offset, more });
        let cut = |from: usize, to: usize, more: bool| {
            fragment(packet.from.ip(), packet.to.ip(), UDP, 64, &body[from..to], piece(from, more))
        };
        bench.dropped(Side::Clients, &cut(800, 1008, false), "fragment");
        let mut joined = Vec::new();
        for (from, to, more) in [(0, 400, true), (800, 1008, false), (400, 800, true)] {
            let out = bench.sent(Side::Clients, &cut(from, to, more), (1, host(server)));
            let wanted = fragment(source.ip(), server.ip(), UDP, 63, &whole.body()[from..to], piece(from, more));
            assert_eq!(out, wanted, "{from}");
            joined.push(out);
        }
        assert_eq!(joined.len(), 3);
        // Of another packet, whose first one was never seen.
        let other = Some(Piece { id: 100, offset: 400, more: false });
        let bytes = fragment(packet.from.ip(), packet.to.ip(), UDP, 64, &body[400..800], other);
        bench.dropped(Side::Clients, &bytes, "fragment");
        // And one that is for somebody else.
        let bytes = fragment(packet.from.ip(), ip(is_v4, 1, 11), UDP, 64, &body[400..800], other);
        bench.passed(Side::Clients, &bytes);
    }
}

/// The host itself answers what is not of a service, large datagrams too.
#[test]
fn fragments_for_the_host_itself_pass_beside_a_service() {
    if !netns::possible() {
        return;
    }
    let mut bench = Bench::new(Mode::Full);
    for is_v4 in [true, false] {
        let mut packet = asked(is_v4, UDP, 5);
        packet.to.set_port(4500);
        packet.payload = vec![7; 1000];
        let body = packet.body();
        let cut = |id: u32, from: usize, to: usize, more: bool| {
            let piece = Some(Piece { id, offset: from, more });
            fragment(packet.from.ip(), packet.to.ip(), UDP, 64, &body[from..to], piece)
        };
        for (from, to, more) in [(0, 400, true), (800, 1008, false), (400, 800, true)] {
            bench.passed(Side::Clients, &cut(99, from, to, more));
        }
        // Nobody knows whose these are.
        bench.dropped(Side::Clients, &cut(100, 400, 800, true), "fragment");
    }
}

#[test]
fn what_is_not_ours_passes_untouched() {
    if !netns::possible() {
        return;
    }
    let mut bench = Bench::new(Mode::Full);
    for (is_v4, protocol) in KINDS {
        let packet = asked(is_v4, protocol, 3);
        // Another port, another address, and a server that speaks to whom it likes.
        bench.passed(Side::Clients, &Packet { to: SocketAddr::new(packet.to.ip(), 81), ..packet.clone() }.bytes());
        bench.passed(Side::Clients, &Packet { to: SocketAddr::new(ip(is_v4, 1, 11), 80), ..packet.clone() }.bytes());
        let server = SocketAddr::new(ip(is_v4, 1, 11), 8080);
        bench.passed(Side::Servers, &Packet::new(protocol, server, packet.from).bytes());
        // Our own connections to servers, such as checks: the kernel takes their ports from another range.
        let own = SocketAddr::new(ip(is_v4, 1, 1), 40_000);
        bench.passed(Side::Servers, &Packet::new(protocol, server, own).bytes());
        let forgotten = SocketAddr::new(ip(is_v4, 1, 1), 2000);
        bench.dropped(Side::Servers, &Packet::new(protocol, server, forgotten).bytes(), "stray");
        let stranger = SocketAddr::new(ip(is_v4, 1, 11), 22);
        bench.passed(Side::Servers, &Packet::new(protocol, stranger, forgotten).bytes());
        // Another protocol, and an echo.
        let body = packet.body();
        bench.passed(Side::Clients, &datagram(packet.from.ip(), packet.to.ip(), 47, 64, &body));
        let echo = if is_v4 { (1, [8, 0, 0, 0, 0, 1, 0, 1]) } else { (58, [128, 0, 0, 0, 0, 1, 0, 1]) };
        bench.passed(Side::Clients, &datagram(packet.from.ip(), packet.to.ip(), echo.0, 64, &echo.1));
        // One that is overheard.
        let mut frame = bench.frame(Side::Clients, &packet.bytes());
        frame[..6].copy_from_slice(&[2, 9, 9, 9, 9, 9]);
        assert_eq!(bench.raw(Side::Clients, &frame), (Verdict::Passed, frame));
    }
    // A tag says that it is for another interface.
    let mut tagged = bench.frame(Side::Clients, &asked(true, TCP, 1).bytes());
    tagged.splice(12..12, [0x81, 0, 0, 5]);
    assert_eq!(bench.raw(Side::Clients, &tagged), (Verdict::Passed, tagged));
    let arp = [&[0xff; 6][..], &neighbour(0, 2), &[8, 6], &[0; 28]].concat();
    assert_eq!(bench.raw(Side::Clients, &arp), (Verdict::Passed, arp));
    assert_eq!(crate::world::total(&bench.datapath.counters().expect("counters")).opened, 0);
}

#[test]
fn what_must_not_go_on_is_dropped_and_counted() {
    if !netns::possible() {
        return;
    }
    let mut bench = Bench::new(Mode::Full);
    for (is_v4, protocol) in KINDS {
        let packet = asked(is_v4, protocol, 3);
        bench.dropped(Side::Clients, &Packet { hops: 1, ..packet.clone() }.bytes(), "ttl");
        let mut services = services(Mode::Full);
        services.iter_mut().flat_map(|service| &mut service.servers).for_each(|server| server.weight = 0);
        bench.apply(&services);
        bench.dropped(Side::Clients, &asked(is_v4, protocol, 4).bytes(), "no_server");
        bench.apply(&crate::packets::services(Mode::Full));
        bench.sent(Side::Clients, &asked(is_v4, protocol, 4).bytes(), {
            let (server, _) = bench.choice(&asked(is_v4, protocol, 4));
            (1, host(server))
        });
    }
    for (net, gone) in [("198.18.1.0/24", true), ("2001:2:0:1::/64", false)] {
        bench.balancer.run(&format!("ip {} route del {net} dev lb1", if gone { "-4" } else { "-6" }));
        bench.dropped(Side::Clients, &asked(gone, TCP, 9).bytes(), "unroutable");
    }
}

#[test]
fn what_is_cut_short_passes_as_it_came() {
    if !netns::possible() {
        return;
    }
    let mut bench = Bench::new(Mode::Full);
    for (is_v4, protocol) in KINDS {
        let packet = asked(is_v4, protocol, 7);
        let whole = bench.frame(Side::Clients, &packet.bytes());
        // The kernel itself takes nothing that is shorter for a packet of IP.
        for length in 14 + if is_v4 { 20 } else { 40 }..whole.len() {
            let cut = &whole[..length];
            assert_eq!(bench.raw(Side::Clients, cut), (Verdict::Passed, cut.to_vec()), "{length}");
        }
        // Headers that end within what IP says is there.
        for length in 0..if protocol == TCP { 20 } else { 8 } {
            let body = &packet.body()[..length];
            bench.passed(Side::Clients, &datagram(packet.from.ip(), packet.to.ip(), protocol, 64, body));
        }
    }
    assert_eq!(crate::world::total(&bench.datapath.counters().expect("counters")).opened, 0);
}

/// Whatever is done to a packet's headers, it passes as it is, or is dropped, or leaves with its length, its payload and the sums that
/// it came with: right if they were right, wrong if they were wrong.
#[test]
fn no_header_makes_the_program_harm_a_packet() {
    if !netns::possible() {
        return;
    }
    for mode in [Mode::Full, Mode::Dnat, Mode::Dsr] {
        let bench = RefCell::new(Bench::new(mode));
        let strategy = (0..4_usize, 0..50_u16, prop::collection::vec((14..74_usize, any::<u8>()), 0..4));
        let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig {
            failure_persistence: None,
            ..ProptestConfig::with_cases(400)
        });
        let ran = runner.run(&strategy, |(kind, number, changes)| {
            let (is_v4, protocol) = KINDS[kind];
            let packet = asked(is_v4, protocol, number);
            let mut bench = bench.borrow_mut();
            let mut frame = bench.frame(Side::Clients, &packet.bytes());
            for (at, byte) in changes {
                if let Some(place) = frame.get_mut(at) {
                    *place = byte;
                }
            }
            // A packet that says to be of another protocol has its sum elsewhere, in what was the payload of this one.
            let names = |frame: &[u8]| frame[if is_v4 { 23 } else { 20 }];
            let is_another = names(&frame) != names(&bench.frame(Side::Clients, &packet.bytes()));
            let (verdict, out) = bench.raw(Side::Clients, &frame);
            match verdict {
                Verdict::Passed => prop_assert_eq!(out, frame),
                Verdict::Dropped => {}
                Verdict::Sent => {
                    prop_assert_eq!(out.len(), frame.len());
                    prop_assert!(is_another || out[out.len() - 15..] == frame[frame.len() - 15..]);
                    prop_assert_eq!(is_sound(&out[14..]), is_sound(&frame[14..]));
                }
            }
            Ok(())
        });
        if let Err(error) = ran {
            panic!("{mode:?}: {error}");
        }
    }
}

/// Whether all sums of a packet are right, for those without extensions.
fn is_sound(bytes: &[u8]) -> Option<bool> {
    std::panic::catch_unwind(|| {
        let read = read(bytes);
        sum_with_addresses(read.from, read.to, read.protocol, &read.body) == 0
    })
    .ok()
}
