//! Every mode of NAT, end to end: connections and datagrams, small and in bulk, and who is seen by whom.

use std::collections::BTreeSet;

use testkit::netns;
use tidegate_kernel::{Datapath, Mode};

use crate::speech::{Talk, datagram, datagrams};
use crate::world::{Arms, Family, World, total};

/// Forty connections and datagram flows reach all servers, stay with theirs, and carry whatever is sent.
fn speaks(world: &World, mode: Mode) -> Datapath {
    let mut datapath = world.with(&world.services(mode));
    let mut seen = BTreeSet::new();
    let mut talks: Vec<Talk> = (0..20).map(|_| Talk::to(&world.client, world.at())).collect();
    let sockets: Vec<_> = (0..20).map(|_| datagrams(&world.client, world.at())).collect();
    let source = if mode == Mode::Full { world.balancer_ip() } else { world.client_ip() };
    for talk in &mut talks {
        let first = talk.ask("who");
        assert_eq!(first.peer.ip(), source);
        assert_eq!(talk.ask("who"), first);
        if mode != Mode::Full {
            assert_eq!(first.peer, talk.local());
        }
        seen.insert(first.server);
    }
    assert_eq!(seen.len(), 3, "{seen:?}");
    seen.clear();
    for (size, socket) in sockets.iter().enumerate() {
        let first = datagram(socket, size);
        assert_eq!(first.peer.ip(), source);
        // Too large for one packet, so that it comes in pieces.
        for length in [1000, 1471, 4000, 20_000] {
            let said = datagram(socket, length);
            assert_eq!((said.server, said.peer), (first.server.clone(), first.peer));
        }
        seen.insert(first.server);
    }
    assert_eq!(seen.len(), 3, "{seen:?}");
    for talk in &mut talks[..3] {
        talk.bulk(3_000_001);
    }
    datapath.sweep().expect("a look");
    let counters = datapath.counters().expect("counters");
    let total = total(&counters);
    assert_eq!((total.opened, total.open), (40, 40), "{counters:?}");
    assert!(total.bytes_in > 9_000_000 && total.packets_in > 6000, "{total:?}");
    assert_eq!(total.bytes_out > 9_000_000, mode != Mode::Dsr, "{total:?}");
    assert!(counters.drops.iter().all(|dropped| dropped.packets == 0), "{counters:?}");
    datapath
}

/// What the balancer's network card would do, it does itself: sums that are wrong are seen by whoever receives them.
fn without_offload(world: &World) {
    if testkit::tool("ethtool").is_none() {
        return;
    }
    for interface in world.interfaces() {
        world.balancer.run(&format!("ethtool -K {interface} tx off"));
    }
}

#[test]
fn full_nat_between_two_networks() {
    if netns::possible() {
        speaks(&World::new(Family::V4, Arms::Two), Mode::Full);
    }
}

#[test]
fn full_nat_between_two_networks_with_sums_in_software() {
    if netns::possible() {
        let world = World::new(Family::V4, Arms::Two);
        without_offload(&world);
        speaks(&world, Mode::Full);
    }
}

#[test]
fn full_nat_within_one_network() {
    if netns::possible() {
        speaks(&World::new(Family::V4, Arms::One), Mode::Full);
    }
}

#[test]
fn the_destination_alone_between_two_networks() {
    if netns::possible() {
        let world = World::new(Family::V4, Arms::Two);
        without_offload(&world);
        speaks(&world, Mode::Dnat);
    }
}

#[test]
fn direct_return_within_one_network() {
    if netns::possible() {
        speaks(&World::new(Family::V4, Arms::One), Mode::Dsr);
    }
}

#[test]
fn full_nat_of_ipv6() {
    if netns::possible() {
        speaks(&World::new(Family::V6, Arms::Two), Mode::Full);
    }
}

#[test]
fn full_nat_of_ipv6_with_sums_in_software() {
    if netns::possible() {
        let world = World::new(Family::V6, Arms::One);
        without_offload(&world);
        speaks(&world, Mode::Full);
    }
}

#[test]
fn the_destination_alone_of_ipv6() {
    if netns::possible() {
        speaks(&World::new(Family::V6, Arms::Two), Mode::Dnat);
    }
}

#[test]
fn direct_return_of_ipv6() {
    if netns::possible() {
        speaks(&World::new(Family::V6, Arms::One), Mode::Dsr);
    }
}
