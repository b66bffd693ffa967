//! The table of connections: what is remembered, for how long, what is repaired, and what happens when there is no room. Time does not
//! pass here: entries are made older.

use std::net::SocketAddr;
use std::time::Duration;

use aya::maps::{HashMap, MapData};
use testkit::{netns, until};
use tidegate_kernel::{Mode, Server, Service, Transport};

use crate::craft::{ACK, FIN, Packet, RST, SYN, TCP, UDP, read};
use crate::packets::{Bench, Side, asked, host, ip, services};
use crate::world::total;

type Key = [u8; 40];
type Value = [u8; 64];

/// The table itself, as an operator's tool would open it.
pub(crate) struct Table(HashMap<MapData, Key, Value>);

impl Table {
    pub(crate) fn of(bench: &Bench) -> Table {
        let data = MapData::from_pin(bench.pins().join("v1/flows")).expect("a pinned table");
        Table(HashMap::try_from(aya::maps::Map::LruHashMap(data)).expect("a table"))
    }

    fn all(&self) -> Vec<(Key, Value)> {
        self.0.iter().map(|entry| entry.expect("an entry")).collect()
    }

    /// Makes every entry this much older, as if nothing had come.
    pub(crate) fn age(&mut self, by: Duration) {
        for (key, mut value) in self.all() {
            for at in [0, 8] {
                let time = u64::from_ne_bytes(*value[at..].first_chunk::<8>().expect("eight"));
                value[at..at + 8].copy_from_slice(&(time - by.as_nanos() as u64).to_ne_bytes());
            }
            self.0.insert(key, value, 0).expect("an entry");
        }
    }

    /// Forgets one half of every connection.
    fn lose(&mut self, replies: bool) {
        for (key, value) in self.all() {
            if (value[63] & 128 != 0) == replies {
                self.0.remove(&key).expect("an entry");
            }
        }
    }
}

/// One connection: what the client sends and what the server sends, and where they come out.
struct Connection {
    packet: Packet,
    server: SocketAddr,
    source: SocketAddr,
}

impl Connection {
    fn new(bench: &Bench, is_v4: bool, protocol: u8, number: u16) -> Connection {
        let packet = asked(is_v4, protocol, number);
        let (server, source) = bench.choice(&packet);
        Connection { packet, server, source }
    }

    fn client(&self, bench: &mut Bench, flags: u8) {
        let packet = self.packet.clone().flags(flags);
        let out = read(&bench.sent(Side::Clients, &packet.bytes(), (1, host(self.server)))).packet();
        // Under direct return, which alone keeps the port, the packet stays as it is.
        let is_direct = self.server.port() == self.packet.to.port();
        assert_eq!((out.from, out.to), (self.source, if is_direct { self.packet.to } else { self.server }));
    }

    fn server(&self, bench: &mut Bench, flags: u8) {
        let packet = Packet::new(self.packet.protocol, self.server, self.source).flags(flags);
        let out = read(&bench.sent(Side::Servers, &packet.bytes(), (0, host(self.packet.from)))).packet();
        assert_eq!((out.from, out.to), (self.packet.to, self.packet.from));
    }

    fn establish(&self, bench: &mut Bench) {
        self.client(bench, SYN);
        self.server(bench, SYN | ACK);
        self.client(bench, ACK);
    }
}

fn open(bench: &mut Bench) -> u64 {
    bench.datapath.sweep().expect("a look");
    total(&bench.datapath.counters().expect("counters")).open
}

#[test]
fn a_connection_lasts_as_long_as_its_state_says() {
    if !netns::possible() {
        return;
    }
    let mut bench = Bench::with(&lasting(services(Mode::Full), 200), 4096);
    // What both sides say, and how long it may be silent then.
    let stories: [(&[(bool, u8)], u64); 8] = [
        (&[(true, SYN)], 15),
        (&[(true, SYN), (false, SYN | ACK)], 15),
        (&[(true, ACK)], 15),
        (&[(true, SYN), (false, SYN | ACK), (true, ACK)], 200),
        (&[(true, SYN), (false, SYN | ACK), (true, ACK), (true, FIN | ACK)], 120),
        (&[(true, SYN), (false, SYN | ACK), (true, ACK), (false, FIN | ACK), (true, ACK)], 120),
        (&[(true, SYN), (false, SYN | ACK), (true, ACK), (false, FIN | ACK), (true, FIN | ACK), (false, ACK)], 60),
        (&[(true, SYN), (false, RST | ACK)], 10),
    ];
    for (number, (story, seconds)) in (0..).zip(stories) {
        let connection = Connection::new(&bench, number % 2 == 0, TCP, number);
        for (is_client, flags) in story {
            match is_client {
                true => connection.client(&mut bench, *flags),
                false => connection.server(&mut bench, *flags),
            }
        }
        assert_eq!(open(&mut bench), 1, "{story:?}");
        let mut table = Table::of(&bench);
        table.age(Duration::from_secs(seconds - 1));
        assert_eq!(open(&mut bench), 1, "{story:?}");
        table.age(Duration::from_secs(2));
        assert_eq!(bench.datapath.sweep(), Ok(2), "{story:?}");
        assert_eq!(open(&mut bench), 0, "{story:?}");
    }
}

#[test]
fn datagrams_last_as_long_as_their_service_says() {
    if !netns::possible() {
        return;
    }
    let mut bench = Bench::with(&lasting(services(Mode::Full), 20), 4096);
    let connection = Connection::new(&bench, true, UDP, 1);
    connection.client(&mut bench, ACK);
    let mut table = Table::of(&bench);
    table.age(Duration::from_secs(19));
    assert_eq!(open(&mut bench), 1);
    // One side alone keeps the whole.
    connection.client(&mut bench, ACK);
    table.age(Duration::from_secs(19));
    connection.server(&mut bench, ACK);
    table.age(Duration::from_secs(19));
    assert_eq!(bench.datapath.sweep(), Ok(0));
    table.age(Duration::from_secs(2));
    assert_eq!(bench.datapath.sweep(), Ok(2));
}

/// Nothing would end a flow of datagrams whose client goes on and whose server is gone: it is moved when it was not answered for long.
#[test]
fn datagrams_leave_a_server_that_is_gone_and_silent() {
    if !netns::possible() {
        return;
    }
    for is_removed in [false, true] {
        let mut bench = Bench::with(&lasting(services(Mode::Full), 3600), 4096);
        let connection = Connection::new(&bench, true, UDP, 1);
        connection.client(&mut bench, ACK);
        let mut fewer = services(Mode::Full);
        for service in &mut fewer {
            service
                .servers
                .iter_mut()
                .filter(|server| server.address.ip() == connection.server.ip())
                .for_each(|server| server.weight = 0);
            service.servers.retain(|server| !is_removed || server.weight > 0);
        }
        bench.apply(&fewer);
        let mut table = Table::of(&bench);
        for _ in 0..5 {
            table.age(Duration::from_secs(9));
            // It still answers, and keeps its client.
            connection.server(&mut bench, ACK);
            connection.client(&mut bench, ACK);
        }
        table.age(Duration::from_secs(9));
        connection.client(&mut bench, ACK);
        table.age(Duration::from_secs(2));
        let moved = Connection::new(&bench, true, UDP, 1);
        assert_ne!(moved.server, connection.server);
        moved.client(&mut bench, ACK);
        moved.server(&mut bench, ACK);
    }
}

/// One that says nothing, and never did, is no reason to move as long as it is named.
#[test]
fn datagrams_stay_with_a_server_that_is_there_and_silent() {
    if !netns::possible() {
        return;
    }
    let mut bench = Bench::with(&lasting(services(Mode::Full), 3600), 4096);
    let connection = Connection::new(&bench, true, UDP, 1);
    connection.client(&mut bench, ACK);
    let mut more = services(Mode::Full);
    more.iter_mut().for_each(|service| service.servers[0].weight = 7);
    bench.apply(&more);
    for _ in 0..5 {
        Table::of(&bench).age(Duration::from_secs(20));
        connection.client(&mut bench, ACK);
    }
}

#[test]
fn a_reset_that_nobody_believes_is_forgotten() {
    if !netns::possible() {
        return;
    }
    let mut bench = Bench::with(&lasting(services(Mode::Full), 3600), 4096);
    let connection = Connection::new(&bench, true, TCP, 1);
    connection.establish(&mut bench);
    connection.client(&mut bench, RST);
    connection.server(&mut bench, ACK);
    Table::of(&bench).age(Duration::from_secs(60));
    assert_eq!(open(&mut bench), 1);
}

/// The kernel makes room by forgetting either half. The other one brings it back, with the same server and the same port.
#[test]
fn a_half_that_was_forgotten_comes_back() {
    if !netns::possible() {
        return;
    }
    for mode in [Mode::Full, Mode::Dnat] {
        let mut bench = Bench::new(mode);
        for (is_v4, protocol) in [(true, TCP), (false, UDP)] {
            let connection = Connection::new(&bench, is_v4, protocol, 1);
            connection.establish(&mut bench);
            let mut table = Table::of(&bench);
            for replies in [true, false] {
                table.lose(replies);
                // The other half is looked after once a second.
                table.age(Duration::from_secs(1));
                match replies {
                    true => connection.client(&mut bench, ACK),
                    false => connection.server(&mut bench, ACK),
                }
                assert_eq!(table.all().len(), 2, "{mode:?} {replies}");
                connection.client(&mut bench, ACK);
                connection.server(&mut bench, ACK);
            }
            table.lose(true);
            table.lose(false);
            // As another node would that takes over: from the addresses and ports alone.
            connection.client(&mut bench, ACK);
            connection.server(&mut bench, ACK);
            table.lose(true);
            table.lose(false);
        }
    }
}

/// What is known of a connection comes back with the half that was forgotten: neither is half open for that.
#[test]
fn what_is_known_of_a_connection_is_not_forgotten_with_one_half() {
    if !netns::possible() {
        return;
    }
    for mode in [Mode::Full, Mode::Dnat] {
        let mut bench = Bench::with(&lasting(services(mode), 200), 4096);
        let connection = Connection::new(&bench, true, TCP, 1);
        connection.establish(&mut bench);
        let mut table = Table::of(&bench);
        table.lose(false);
        connection.client(&mut bench, ACK);
        table.age(Duration::from_secs(20));
        assert_eq!(bench.datapath.sweep(), Ok(0), "{mode:?}");
        connection.server(&mut bench, ACK);
    }
}

/// Two services, one server, one client with one port: under DNAT the server could not tell the two apart.
#[test]
fn two_connections_that_would_look_alike_to_a_server_do_not() {
    if !netns::possible() {
        return;
    }
    let mut both = services(Mode::Dnat);
    both.retain(|service| service.address.is_ipv4());
    both.iter_mut().for_each(|service| service.servers.truncate(1));
    let others: Vec<Service> = both
        .iter()
        .map(|service| Service { address: SocketAddr::new(ip(true, 9, 2), 80), ..service.clone() })
        .collect();
    both.extend(others);
    let mut bench = Bench::with(&both, 4096);
    for protocol in [TCP, UDP] {
        let first = Connection::new(&bench, true, protocol, 1);
        first.establish(&mut bench);
        let second = Packet { to: SocketAddr::new(ip(true, 9, 2), 80), ..first.packet.clone() };
        let out = read(&bench.sent(Side::Clients, &second.bytes(), (1, host(first.server)))).packet();
        assert_eq!((out.from.ip(), out.to), (second.from.ip(), first.server));
        assert_ne!(out.from.port(), second.from.port());
        let answer = Packet::new(protocol, first.server, out.from);
        let back = read(&bench.sent(Side::Servers, &answer.bytes(), (0, host(second.from)))).packet();
        assert_eq!((back.from, back.to), (second.to, second.from));
        first.server(&mut bench, ACK);
    }
}

#[test]
fn a_client_that_uses_its_port_again_may_come_to_another_server() {
    if !netns::possible() {
        return;
    }
    for mode in [Mode::Full, Mode::Dnat, Mode::Dsr] {
        let mut bench = Bench::new(mode);
        let connection = Connection::new(&bench, true, TCP, 1);
        connection.client(&mut bench, SYN);
        let mut fewer = services(mode);
        fewer
            .iter_mut()
            .for_each(|service| service.servers.retain(|server| server.address.ip() != connection.server.ip()));
        if mode != Mode::Dsr {
            // Answered, and so kept, although its server is no longer named: even when the client sends SYN again.
            connection.server(&mut bench, SYN | ACK);
            bench.apply(&fewer);
            connection.client(&mut bench, SYN);
            connection.client(&mut bench, ACK);
            connection.server(&mut bench, FIN | ACK);
        } else {
            connection.client(&mut bench, ACK);
            bench.apply(&fewer);
            connection.client(&mut bench, SYN);
        }
        connection.client(&mut bench, FIN | ACK);
        connection.client(&mut bench, ACK);
        let again = Connection::new(&bench, true, TCP, 1);
        assert_ne!(again.server, connection.server);
        let out = bench.sent(Side::Clients, &again.packet.bytes(), (1, host(again.server)));
        assert_eq!(read(&out).packet().to.port(), again.server.port());
    }
}

#[test]
fn a_client_that_was_never_answered_is_moved_when_its_server_goes() {
    if !netns::possible() {
        return;
    }
    let mut bench = Bench::new(Mode::Full);
    let connection = Connection::new(&bench, true, TCP, 1);
    connection.client(&mut bench, SYN);
    let mut fewer = services(Mode::Full);
    for server in fewer.iter_mut().flat_map(|service| &mut service.servers) {
        server.weight = u32::from(server.address.ip() != connection.server.ip());
    }
    bench.apply(&fewer);
    let moved = Connection::new(&bench, true, TCP, 1);
    assert_ne!(moved.server, connection.server);
    moved.client(&mut bench, SYN);
    moved.server(&mut bench, SYN | ACK);
}

/// Far more SYN than there is room for: each is let through, since forgetting is all that it costs, and connections that go on stay
/// with their servers.
#[test]
fn a_flood_takes_no_connection_with_it() {
    if !netns::possible() {
        return;
    }
    let mut bench = Bench::with(&services(Mode::Full), 1024);
    let kept: Vec<Connection> = (0..20).map(|number| Connection::new(&bench, true, TCP, number)).collect();
    kept.iter().for_each(|connection| connection.establish(&mut bench));
    for round in 0..20 {
        for number in 0..300_u32 {
            let mut packet = asked(true, TCP, 0);
            let number = round * 300 + number;
            packet.from = SocketAddr::new([198, 19, (number >> 8) as u8, number as u8].into(), 1234);
            let frame = bench.frame(Side::Clients, &packet.bytes());
            assert_eq!(bench.raw(Side::Clients, &frame).0, tidegate_kernel::Verdict::Sent);
        }
        kept.iter().for_each(|connection| connection.client(&mut bench, ACK));
        kept.iter().for_each(|connection| connection.server(&mut bench, ACK));
    }
    let counters = bench.datapath.counters().expect("counters");
    assert!(counters.drops.iter().all(|dropped| dropped.packets == 0), "{counters:?}");
    assert_eq!(counters.entries.1, 1024);
    // Nobody answered to the flood: it is gone as soon as half-open connections are.
    for connection in &kept {
        connection.client(&mut bench, ACK);
    }
    Table::of(&bench).age(Duration::from_secs(16));
    kept.iter().for_each(|connection| connection.client(&mut bench, ACK));
    let left = open(&mut bench);
    assert!(left <= 20, "{left}");
}

/// One source address, one server, few ports: they are nearly all given out before any connection is refused, and that is counted.
#[test]
fn ports_run_out_late_and_are_given_back() {
    if !netns::possible() {
        return;
    }
    let mut all = services(Mode::Full);
    all.retain(|service| service.address.is_ipv4());
    for service in &mut all {
        service.sources.truncate(1);
        service.servers.truncate(1);
    }
    let mut bench = Bench::with_ports(&all, 16_384, "2048 65535");
    let mut given = 0_u64;
    for number in 0..2000_u16 {
        let mut packet = asked(true, TCP, 0);
        packet.from = SocketAddr::new(ip(true, 0, 2), 10_000 + number);
        let frame = bench.frame(Side::Clients, &packet.bytes());
        given += u64::from(bench.raw(Side::Clients, &frame).0 == tidegate_kernel::Verdict::Sent);
    }
    assert!((973..=1024).contains(&given), "{given} of 1024 ports");
    assert_eq!(crate::world::dropped(&bench.datapath, "no_port"), 2000 - given);
    assert_eq!(open(&mut bench), given);
    Table::of(&bench).age(Duration::from_secs(16));
    assert_eq!(open(&mut bench), 0);
    let packet = asked(true, TCP, 9);
    let frame = bench.frame(Side::Clients, &packet.bytes());
    assert_eq!(bench.raw(Side::Clients, &frame).0, tidegate_kernel::Verdict::Sent);
}

/// A look at a table that is full takes long, but not of the caller's time.
#[test]
fn a_look_that_takes_long_happens_beside() {
    if !netns::possible() {
        return;
    }
    let mut bench = Bench::with(&services(Mode::Full), 262_144);
    let connection = Connection::new(&bench, true, UDP, 1);
    connection.client(&mut bench, ACK);
    let mut table = Table::of(&bench);
    let (mut key, mut value) = table.all()[0];
    table.age(Duration::from_secs(61));
    // As old as the clock itself, with an address that no packet has.
    value[..8].fill(0);
    for number in 0..200_000_u32 {
        key[..4].copy_from_slice(&number.to_be_bytes());
        key[4..8].fill(0xee);
        table.0.insert(key, value, 0).expect("an entry");
    }
    assert_eq!(bench.datapath.sweep(), Ok(0));
    let mut taken = 0;
    until("something is taken", || {
        taken = bench.datapath.sweep().expect("a look");
        taken > 0
    });
    // Each CPU keeps some places for itself, so that a few entries may have been forgotten before.
    assert!((190_000..=200_002).contains(&taken), "{taken}");
    assert_eq!(bench.datapath.counters().expect("counters").entries, (0, 262_144));
}

#[test]
fn a_server_that_left_is_counted_until_its_last_connection_ends() {
    if !netns::possible() {
        return;
    }
    let mut all = services(Mode::Full);
    all.truncate(1);
    let mut bench = Bench::with(&all, 4096);
    let connection = Connection::new(&bench, true, TCP, 1);
    connection.establish(&mut bench);
    let gone = all[0].servers.iter().position(|server| server.address == connection.server).expect("its server");
    all[0].servers.remove(gone);
    bench.apply(&all);
    connection.server(&mut bench, ACK);
    assert_eq!(open(&mut bench), 1);
    let leaving = |bench: &Bench| {
        let counters = bench.datapath.counters().expect("counters");
        counters.services[0].servers.iter().filter(|server| server.leaving).cloned().collect::<Vec<_>>()
    };
    assert_eq!((leaving(&bench)[0].address, leaving(&bench)[0].traffic.packets_out), (connection.server, 2));
    Table::of(&bench).age(Duration::from_secs(61));
    assert_eq!(bench.datapath.sweep(), Ok(2));
    // One look may have missed a connection.
    assert_eq!((bench.datapath.sweep(), leaving(&bench).is_empty()), (Ok(0), true));
    // Its number and its counters start anew with another server.
    all[0].servers.push(Server { name: "new".into(), address: SocketAddr::new(ip(true, 1, 10), 8080), weight: 1 });
    bench.apply(&all);
    let counters = bench.datapath.counters().expect("counters");
    assert_eq!(
        counters.services[0].servers.last().map(|server| server.traffic),
        Some(tidegate_kernel::Traffic::default())
    );
}

#[test]
fn a_service_that_is_gone_keeps_its_connections_and_gets_no_new_ones() {
    if !netns::possible() {
        return;
    }
    let mut bench = Bench::new(Mode::Full);
    let connection = Connection::new(&bench, true, TCP, 1);
    connection.establish(&mut bench);
    let rest: Vec<Service> =
        services(Mode::Full).into_iter().filter(|service| service.transport == Transport::Udp).collect();
    bench.apply(&rest);
    connection.client(&mut bench, ACK);
    connection.server(&mut bench, ACK);
    bench.passed(Side::Clients, &asked(true, TCP, 2).bytes());
}

fn lasting(mut services: Vec<Service>, seconds: u64) -> Vec<Service> {
    services.iter_mut().for_each(|service| service.idle = Duration::from_secs(seconds));
    services
}
