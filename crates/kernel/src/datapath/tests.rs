use std::net::{SocketAddr, SocketAddrV4, UdpSocket};
use std::thread;
use std::time::Duration;

use testkit::{Bpffs, Netns, PATIENCE, netns, tool};

use super::*;
use crate::tables::absent_is_fine;
use crate::{Transport, Verdict};

/// Kernels before 6.6 have no TCX. Filters of `clsact` do the same there, and here they can be tried.
#[test]
fn filters_do_what_links_do() {
    if !netns::possible() || tool("tc").is_none() {
        return;
    }
    let [client, balancer, server] = ["client", "balancer", "server"].map(Netns::new);
    client.wire("c0", &balancer, "lb0");
    server.wire("s0", &balancer, "lb1");
    for (netns, card, address) in [
        (&client, "c0", "198.18.0.2/24"),
        (&balancer, "lb0", "198.18.0.1/24"),
        (&balancer, "lb1", "198.18.1.1/24"),
        (&server, "s0", "198.18.1.11/24"),
    ] {
        netns.address(card, address);
    }
    client.run("ip route add default via 198.18.0.1");
    balancer.sysctl("net.ipv4.ip_forward", "1");
    let echo = server.enter(|| UdpSocket::bind("198.18.1.11:53")).expect("a socket");
    thread::spawn(move || {
        let mut buffer = [0; 100];
        while let Ok((length, peer)) = echo.recv_from(&mut buffer) {
            let _ = echo.send_to(&buffer[..length], peer);
        }
    });
    let (bpffs, interfaces) = (Bpffs::new(), ["lb0".into(), "lb1".into()]);
    let pins = bpffs.path().join("tidegate");
    let service = Service {
        name: "dns".into(),
        address: "198.18.9.1:53".parse().expect("an address"),
        transport: Transport::Udp,
        mode: crate::Mode::Full,
        sources: vec!["198.18.1.1".parse().expect("an address")],
        servers: vec![Server { name: "s".into(), address: "198.18.1.11:53".parse().expect("an address"), weight: 1 }],
        idle: Duration::from_secs(60),
    };
    let socket = client.enter(|| UdpSocket::bind("198.18.0.2:0")).expect("a socket");
    socket.connect("198.18.9.1:53").expect("an address");
    socket.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    let ask = || {
        socket.send(b"hello").expect("it is sent");
        assert_eq!(socket.recv(&mut [0; 100]).expect("an answer"), 5);
    };
    let filters = || balancer.run("tc filter show dev lb0 ingress").matches("direct-action").count();
    let open = || {
        balancer.enter(|| {
            let mut datapath = Datapath::open_at(Hook::Clsact, &pins, &interfaces, 1024)?;
            datapath.apply(std::slice::from_ref(&service))?;
            Ok::<_, Refusal>(datapath)
        })
    };
    drop(open().expect("a datapath"));
    ask();
    assert_eq!(filters(), 1);
    let second = open().expect("another in its place");
    ask();
    assert_eq!(filters(), 1);
    assert_eq!(second.counters().expect("counters").services[0].servers[0].traffic.packets_in, 2);
    // An interface that is no longer named has none, but not before something is in force.
    let other = balancer.enter(|| Datapath::open_at(Hook::Clsact, &pins, &["lb1".into()], 1024));
    let mut other = other.expect("another at one of them");
    ask();
    assert_eq!(filters(), 1);
    balancer.enter(|| other.apply(std::slice::from_ref(&service))).expect("it is in force");
    assert_eq!(filters(), 0);
    // A plan that is given up takes away what it has added, and no more.
    let both = balancer.enter(|| Datapath::open_at(Hook::Clsact, &pins, &interfaces, 1024)).expect("a plan for both");
    assert_eq!(filters(), 1);
    balancer.enter(|| both.withdraw()).expect("it is given up");
    let at_server = || balancer.run("tc filter show dev lb1 ingress").matches("direct-action").count();
    assert_eq!((filters(), at_server()), (0, 1));
    drop(open().expect("both again"));
    assert_eq!(filters(), 1);
    // Interfaces that are gone do not keep the others.
    balancer.run("ip link delete lb0");
    balancer.enter(|| second.release()).expect("it is released");
    assert_eq!(at_server(), 0);
}

/// The kernel follows at most a million instructions of a program, and its next version may follow more for the same.
#[test]
fn the_kernel_has_patience_for_the_program() {
    if !netns::possible() {
        return;
    }
    let (balancer, bpffs) = (Netns::new("balancer"), Bpffs::new());
    let pins = bpffs.path().join("tidegate");
    let mut datapath = balancer.enter(|| Datapath::open(&pins, &["lo".into()], 1024)).expect("a datapath");
    let info = program(&mut datapath.ebpf)
        .and_then(|program| program.info().map_err(|error| Refusal::of("say what it has seen", &error)));
    let looked = info.expect("the program").verified_instruction_count();
    println!("verified: {looked:?} instructions");
    assert!(looked.is_none_or(|count| count < 800_000), "{looked:?}");
}

/// A datagram of four bytes in its frame.
fn datagram(from: SocketAddrV4, to: SocketAddrV4) -> Vec<u8> {
    // To the address that `lo` has.
    const ETHERNET: [u8; 14] = [0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 2, 8, 0];
    let header = [0x45, 0, 0, 32, 0, 0, 0x40, 0, 64, 17, 0, 0];
    let ports = [from.port().to_be_bytes(), to.port().to_be_bytes()].concat();
    [&ETHERNET[..], &header, &from.ip().octets(), &to.ip().octets(), &ports, &[0, 12, 0, 0], b"word"].concat()
}

/// Between the two copies of a table that comes into the place of another, packets find what has not been copied.
#[test]
fn connections_are_found_in_the_former_table() {
    if !netns::possible() {
        return;
    }
    let (balancer, bpffs) = (Netns::new("balancer"), Bpffs::new());
    balancer.sysctl("net.ipv4.ip_forward", "1");
    let open = |pins: &str, entries| {
        balancer.enter(|| Datapath::open(&bpffs.path().join(pins), &["lo".into()], entries)).expect("a datapath")
    };
    let (mut datapath, other) = (open("one", 1024), open("other", 2048));
    let [client, service, server] =
        ["198.18.0.2:999", "198.18.9.1:53", "198.18.1.11:53"].map(|text| text.parse().expect("an address"));
    let dns = Service {
        name: "dns".into(),
        address: SocketAddr::V4(service),
        transport: Transport::Udp,
        mode: crate::Mode::Dnat,
        sources: Vec::new(),
        servers: vec![Server { name: "s".into(), address: SocketAddr::V4(server), weight: 1 }],
        idle: Duration::from_secs(60),
    };
    balancer.enter(|| datapath.apply(&[dns])).expect("it is in force");
    // No route leads on from here, so that what is known is dropped, and nothing else is.
    let rehearse = |datapath: &mut Datapath, from, to| {
        balancer.enter(|| datapath.rehearse(1, &datagram(from, to))).expect("a verdict").0
    };
    assert_eq!(rehearse(&mut datapath, server, client), Verdict::Passed);
    assert_eq!(rehearse(&mut datapath, client, service), Verdict::Dropped);
    let (mut there, ours) = (other.tables.flows, |datapath: &Datapath| {
        datapath.tables.flows.iter().collect::<Result<Vec<_>, _>>().expect("entries")
    });
    let known = ours(&datapath);
    assert_eq!(known.len(), 2);
    let forget = |datapath: &mut Datapath| {
        for (key, _) in &known {
            absent_is_fine(datapath.tables.flows.remove(key)).expect("it is gone");
        }
    };
    for (key, value) in &known {
        there.insert(key, value, 0).expect("it is there");
    }
    forget(&mut datapath);
    assert_eq!(rehearse(&mut datapath, server, client), Verdict::Passed);
    datapath.tables.look_in(&there).expect("it looks there");
    assert_eq!(rehearse(&mut datapath, server, client), Verdict::Dropped);
    assert_eq!(ours(&datapath).len(), 1, "it was taken from there");
    forget(&mut datapath);
    datapath.tables.forget_former().expect("it looks there no more");
    assert_eq!(rehearse(&mut datapath, server, client), Verdict::Passed);
}
