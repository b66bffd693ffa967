//! A datapath over its life: servers come and go, programs are replaced, processes end and others go on, and nobody notices.

use std::fs;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Instant;

use rustix::thread::{CapabilitySet, CapabilitySets, set_capabilities};
use testkit::{Bpffs, Netns, Shared, netns};
use tidegate_kernel::{Datapath, Mode, Refusal, Service, Transport};

use crate::speech::{Said, Talk, datagram, datagrams};
use crate::world::{Arms, Family, World, total};

/// Connections that are kept, each with what its server first said.
struct Kept(Vec<(Talk, Said)>);

impl Kept {
    fn new(world: &World, count: usize) -> Kept {
        let mut talks: Vec<Talk> = (0..count).map(|_| Talk::to(&world.client, world.at())).collect();
        let said: Vec<Said> = talks.iter_mut().map(|talk| talk.ask("who")).collect();
        Kept(talks.into_iter().zip(said).collect())
    }

    /// Every one still speaks with its server, which still sees the same client.
    fn ask(&mut self) {
        for (talk, said) in &mut self.0 {
            assert_eq!(&talk.ask("who"), said);
        }
    }

    fn of(&self, server: &str) -> usize {
        self.0.iter().filter(|(_, said)| said.server == server).count()
    }
}

#[test]
fn no_connection_is_broken_by_a_server_that_leaves_and_none_is_new_there() {
    if !netns::possible() {
        return;
    }
    for mode in [Mode::Full, Mode::Dnat] {
        let world = World::new(Family::V4, Arms::Two);
        let mut datapath = world.with(&[world.service(mode, Transport::Tcp, &[1, 1, 1])]);
        let mut kept = Kept::new(&world, 60);
        assert!(kept.of("s3") > 5, "{}", kept.of("s3"));
        for weights in [&[1, 1, 0][..], &[1, 1]] {
            world.apply(&mut datapath, &[world.service(mode, Transport::Tcp, weights)]);
            kept.ask();
            let new = Kept::new(&world, 100);
            assert_eq!(new.of("s3"), 0);
            assert_eq!(new.of("s1") + new.of("s2"), 100);
            kept.ask();
        }
        world.apply(&mut datapath, &[world.service(mode, Transport::Tcp, &[1, 1, 1])]);
        kept.ask();
        assert!(Kept::new(&world, 60).of("s3") > 5);
    }
}

#[test]
fn nothing_is_lost_while_programs_are_replaced_and_processes_end() {
    if !netns::possible() {
        return;
    }
    let world = World::new(Family::V4, Arms::Two);
    let services = world.services(Mode::Full);
    let datapath = Shared::new(Some(world.with(&services)));
    let mut kept = Kept::new(&world, 60);
    let socket = datagrams(&world.client, world.at());
    let first = datagram(&socket, 10);
    let (asked, over) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
    thread::scope(|scope| {
        // One that never rests: it asks without a pause, and opens a connection now and then, far fewer than the table has room
        // for.
        let busy = scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                let mut talk = Talk::to(&world.client, world.at());
                (0..500).for_each(|_| drop(talk.ask("who")));
                asked.fetch_add(1, Ordering::Relaxed);
            }
        });
        for round in 0..10 {
            let before = asked.load(Ordering::Relaxed);
            // The process is gone, and later another one is there.
            if round % 2 == 0 {
                datapath.with(|datapath| drop(datapath.take()));
                kept.ask();
                assert_eq!(datagram(&socket, 10), first);
            }
            let mut next = world.open();
            kept.ask();
            world.apply(&mut next, &services);
            datapath.with(|datapath| *datapath = Some(next));
            kept.ask();
            assert_eq!(datagram(&socket, 10), first);
            while asked.load(Ordering::Relaxed) < before + 2 && !busy.is_finished() {
                thread::yield_now();
            }
        }
        over.store(true, Ordering::Relaxed);
        busy.join().expect("every connection was answered");
    });
    datapath.with(|datapath| {
        let datapath = datapath.as_mut().expect("a datapath");
        datapath.sweep().expect("a look");
        let counters = datapath.counters().expect("counters");
        // What earlier processes counted is still there.
        assert_eq!(total(&counters).opened, 61 + asked.load(Ordering::Relaxed), "{counters:?}");
        assert!(counters.drops.iter().all(|dropped| dropped.packets == 0), "{counters:?}");
    });
}

/// The table is lost, as when another machine takes over: the same servers are chosen, and under full NAT the same ports.
#[test]
fn connections_survive_the_loss_of_the_table() {
    if !netns::possible() {
        return;
    }
    for mode in [Mode::Full, Mode::Dnat] {
        let world = World::new(Family::V4, Arms::Two);
        let services = world.services(mode);
        let mut kept = {
            let datapath = world.with(&services);
            let kept = Kept::new(&world, 60);
            datapath.release().expect("it is released");
            kept
        };
        assert_eq!(fs::read_dir(world.bpffs.path().join("tidegate")).map(Iterator::count).ok(), Some(0));
        let datapath = world.with(&services);
        kept.ask();
        assert_eq!(total(&datapath.counters().expect("counters")).opened, 60);
    }
}

#[test]
fn what_is_released_or_no_longer_named_rewrites_nothing() {
    if !netns::possible() {
        return;
    }
    let world = World::new(Family::V4, Arms::Two);
    let at = |world: &World| -> Vec<String> {
        let folder = world.bpffs.path().join("tidegate/v1");
        let entries = fs::read_dir(folder).into_iter().flatten().filter_map(Result::ok);
        let names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
        let mut links: Vec<String> = names.filter(|name| name.starts_with("link-")).collect();
        links.sort();
        links
    };
    drop(world.with(&world.services(Mode::Full)));
    assert_eq!(at(&world), ["link-lb0", "link-lb1"]);
    let pins = world.bpffs.path().join("tidegate");
    let open = |at: &[Box<str>]| world.balancer.enter(|| Datapath::open(&pins, at, 4096)).expect("a datapath");
    // What is opened takes nothing away, as it may not come to be in force; what is given up takes with it what it has added.
    let mut one = open(&["lb1".into()]);
    assert_eq!(at(&world), ["link-lb0", "link-lb1"]);
    Kept::new(&world, 3).ask();
    world.apply(&mut one, &world.services(Mode::Full));
    assert_eq!(at(&world), ["link-lb1"]);
    let two = open(&world.interfaces());
    assert_eq!(at(&world), ["link-lb0", "link-lb1"]);
    two.withdraw().expect("it is given up");
    assert_eq!(at(&world), ["link-lb1"]);
    drop(one);
    // An interface that was taken out and put in again has no program, whatever the pin says.
    world.balancer.run("ip link del lb0");
    world.client.wire("c0", &world.balancer, "lb0");
    world.client.address("c0", "198.18.0.2/24");
    world.client.run("ip route add default via 198.18.0.1");
    world.balancer.address("lb0", "198.18.0.1/24");
    let datapath = world.with(&world.services(Mode::Full));
    assert_eq!(at(&world), ["link-lb0", "link-lb1"]);
    Kept::new(&world, 3).ask();
    world.balancer.run("ip link del lb0");
    world.client.wire("c0", &world.balancer, "lb0");
    world.client.address("c0", "198.18.0.2/24");
    world.client.run("ip route add default via 198.18.0.1");
    world.balancer.address("lb0", "198.18.0.1/24");
    drop(datapath);
    let datapath = world.with(&world.services(Mode::Full));
    Kept::new(&world, 3).ask();
    datapath.release().expect("it is released");
    assert!(at(&world).is_empty());
}

/// A folder of another layout, as an older or newer version leaves it, is taken away once ours is in force.
#[test]
fn another_layout_makes_room() {
    if !netns::possible() {
        return;
    }
    let world = World::new(Family::V4, Arms::Two);
    drop(world.with(&world.services(Mode::Full)));
    let pins = world.bpffs.path().join("tidegate");
    fs::rename(pins.join("v1"), pins.join("v0")).expect("it is moved");
    let mut kept = Kept::new(&world, 5);
    let mut datapath = world.open();
    // Ours has no services yet, so the other's go on.
    kept.ask();
    assert!(pins.join("v0").exists());
    datapath.withdraw().expect("it is given up");
    assert!(pins.join("v0").exists() && !pins.join("v1").exists());
    kept.ask();
    datapath = world.open();
    world.apply(&mut datapath, &world.services(Mode::Full));
    assert!(!pins.join("v0").exists());
    kept.ask();
    Kept::new(&world, 5).ask();
}

/// A plan that has changed the tables and is given up: whoever goes on knows nothing of what it did.
#[test]
fn what_another_has_changed_is_put_back() {
    if !netns::possible() {
        return;
    }
    let world = World::new(Family::V4, Arms::Two);
    let service = |weights: &[u32]| [world.service(Mode::Full, Transport::Tcp, weights)];
    let mut datapath = world.with(&service(&[1, 1]));
    let mut kept = Kept::new(&world, 20);
    let mut plan = world.open();
    world.apply(&mut plan, &service(&[0, 0, 1]));
    assert_eq!(Kept::new(&world, 5).of("s3"), 5);
    plan.withdraw().expect("it is given up");
    world.balancer.enter(|| datapath.recollect()).expect("the tables are read");
    world.apply(&mut datapath, &service(&[1, 1]));
    let new = Kept::new(&world, 40);
    assert!(new.of("s1") > 0 && new.of("s2") > 0 && new.of("s3") == 0);
    kept.ask();
}

/// Whoever applies has other things to do, ten times a second.
#[test]
fn what_has_not_changed_costs_nothing() {
    if !netns::possible() {
        return;
    }
    let world = World::new(Family::V4, Arms::Two);
    let service = |port: u16| {
        let service = world.service(Mode::Full, Transport::Tcp, &[1, 1, u32::from(port)]);
        Service { address: SocketAddr::new(world.vip(), port), ..service }
    };
    let mut services: Vec<Service> = (1..=60).map(service).collect();
    let mut datapath = world.open();
    let mut took = |services: &[Service]| {
        let began = Instant::now();
        world.apply(&mut datapath, services);
        began.elapsed()
    };
    let all = took(&services);
    let mut of_one = |number: usize| {
        services[number].servers[0].weight = 7;
        took(&services)
    };
    // Whatever else the machine does: once in three times it does not do it just then.
    let one = (0..3).map(&mut of_one).min().expect("three of them");
    assert!(one * 5 < all, "{one:?} of {all:?}");
}

#[test]
fn what_is_missing_is_named() {
    if !netns::possible() {
        return;
    }
    let (netns, bpffs) = (Netns::new("refused"), Bpffs::new());
    let pins = bpffs.path().join("tidegate");
    let open = |pins: &std::path::Path, interface: &str| {
        let opened = netns.enter(|| Datapath::open(pins, &[interface.into()], 1024).map(drop));
        opened.expect_err("a refusal")
    };
    assert_eq!(open(&pins, "eth77"), Refusal::NoInterface("eth77".into()));
    let nowhere = std::env::temp_dir().join("no-such-folder/tidegate");
    assert_eq!(open(&nowhere, "lo"), Refusal::NoBpffs(nowhere.clone()));
    assert_eq!(netns.enter(|| Datapath::open(&pins, &[], 1024).map(drop)), Err(Refusal::NoInterfaces));
    let said = netns.enter(|| {
        hold(CapabilitySet::NET_ADMIN);
        Datapath::open(&pins, &["lo".into()], 1024).map(drop)
    });
    assert_eq!(said, Err(Refusal::Capabilities(vec!["CAP_BPF", "CAP_PERFMON"])));
    // A start that fails leaves nothing behind.
    let too_many = netns.enter(|| Datapath::open(&pins, &["lo".into()], u32::MAX).map(drop));
    assert!(
        matches!(&too_many, Err(Refusal::Kernel { what, .. }) if what.starts_with("take the tables")),
        "{too_many:?}"
    );
    assert_eq!(fs::read_dir(&pins).map(Iterator::count).ok(), Some(0));
    let world = World::new(Family::V4, Arms::Two);
    let mut datapath = world.open();
    let services = world.services(Mode::Full);
    let mut apply = || world.balancer.enter(|| datapath.apply(&services));
    world.balancer.sysctl("net.ipv4.ip_forward", "0");
    assert_eq!(apply(), Err(Refusal::NotForwarding("net.ipv4.ip_forward".into())));
    world.balancer.sysctl("net.ipv4.ip_forward", "1");
    world.balancer.sysctl("net.ipv4.conf.lb1.forwarding", "0");
    assert_eq!(apply(), Err(Refusal::NotForwarding("net/ipv4/conf/lb1/forwarding".into())));
    world.balancer.sysctl("net.ipv4.conf.lb1.forwarding", "1");
    assert_eq!(apply(), Ok(()));
}

/// Three capabilities are enough, for all of its life.
#[test]
fn three_capabilities_are_enough() {
    if !netns::possible() {
        return;
    }
    let world = World::new(Family::V4, Arms::Two);
    let pins = world.bpffs.path().join("tidegate");
    let (interfaces, services) = (world.interfaces(), world.services(Mode::Full));
    let work = || -> Result<(), Refusal> {
        hold(CapabilitySet::BPF | CapabilitySet::NET_ADMIN | CapabilitySet::PERFMON);
        for _ in 0..2 {
            let mut datapath = Datapath::open(&pins, &interfaces, 1024)?;
            datapath.apply(&services)?;
            datapath.sweep()?;
            datapath.counters()?;
        }
        Datapath::open(&pins, &interfaces, 1024)?.release()
    };
    assert_eq!(world.balancer.enter(work), Ok(()));
}

/// Leaves this thread nothing but these.
fn hold(capabilities: CapabilitySet) {
    let sets = CapabilitySets { effective: capabilities, permitted: capabilities, inheritable: CapabilitySet::empty() };
    set_capabilities(None, sets).expect("capabilities can be given up");
}
