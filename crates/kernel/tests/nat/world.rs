//! A client, a balancer and three servers. With two arms the balancer stands between two networks; with one, all are in one.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use testkit::{Bpffs, Netns};
use tidegate_kernel::{Counters, Datapath, Mode, Refusal, Server, Service, Traffic, Transport};

use crate::speech::serve;

pub(crate) struct World {
    pub(crate) client: Netns,
    pub(crate) balancer: Netns,
    pub(crate) servers: Vec<Netns>,
    /// Where the networks of the servers meet.
    pub(crate) switch: Netns,
    pub(crate) bpffs: Bpffs,
    pub(crate) family: Family,
    arms: Arms,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Family {
    V4,
    V6,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Arms {
    One,
    Two,
}

pub(crate) const PORT: u16 = 8080;

impl Family {
    fn ip(self, net: u8, host: u8) -> IpAddr {
        match self {
            Family::V4 => IpAddr::from([198, 18, net, host]),
            Family::V6 => IpAddr::from([0x2001, 2, 0, u16::from(net), 0, 0, 0, u16::from(host)]),
        }
    }

    fn prefix(self) -> u8 {
        if self == Family::V4 { 24 } else { 64 }
    }
}

impl World {
    /// The machines and wires; servers answer at [`PORT`] of their own address and of the service's.
    pub(crate) fn new(family: Family, arms: Arms) -> World {
        let world = World {
            client: Netns::new("client"),
            balancer: Netns::new("balancer"),
            servers: (1..=3).map(|number| Netns::new(&format!("server{number}"))).collect(),
            switch: Netns::new("switch"),
            bpffs: Bpffs::new(),
            family,
            arms,
        };
        world.switch.run("ip link add br0 type bridge");
        world.switch.run("ip link set br0 up");
        let plug = |netns: &Netns, interface: &str, at: &str, host: u8| {
            netns.wire(interface, &world.switch, at);
            world.switch.run(&format!("ip link set {at} master br0"));
            netns.address(interface, &world.with_prefix(1, host));
        };
        match arms {
            Arms::Two => {
                world.client.wire("c0", &world.balancer, "lb0");
                world.client.address("c0", &world.with_prefix(0, 2));
                world.balancer.address("lb0", &world.with_prefix(0, 1));
                world.client.run(&format!("ip route add default via {}", family.ip(0, 1)));
                plug(&world.balancer, "lb1", "p0", 1);
            }
            Arms::One => {
                plug(&world.balancer, "lb1", "p0", 1);
                plug(&world.client, "c0", "p9", 2);
                world.client.run(&format!("ip route add {} via {}", world.vip(), family.ip(1, 1)));
            }
        }
        for (number, server) in (1..).zip(&world.servers) {
            plug(server, "s0", &format!("p{number}"), 10 + number);
            if arms == Arms::Two {
                server.run(&format!("ip route add default via {}", family.ip(1, 1)));
            }
            let host = if family == Family::V4 { 32 } else { 128 };
            server.address("lo", &format!("{}/{host}", world.vip()));
            // Datagrams are answered from the address that a socket is bound to.
            for address in [world.server_ip(number), world.vip()] {
                serve(server, SocketAddr::new(address, PORT), &format!("s{number}"));
            }
        }
        world.balancer.sysctl("net.ipv4.ip_forward", "1");
        world.balancer.sysctl("net.ipv6.conf.all.forwarding", "1");
        world
    }

    fn with_prefix(&self, net: u8, host: u8) -> String {
        format!("{}/{}", self.family.ip(net, host), self.family.prefix())
    }

    pub(crate) fn vip(&self) -> IpAddr {
        self.family.ip(9, 1)
    }

    pub(crate) fn at(&self) -> SocketAddr {
        SocketAddr::new(self.vip(), PORT)
    }

    pub(crate) fn client_ip(&self) -> IpAddr {
        self.family.ip(if self.arms == Arms::Two { 0 } else { 1 }, 2)
    }

    pub(crate) fn balancer_ip(&self) -> IpAddr {
        self.family.ip(1, 1)
    }

    pub(crate) fn server_ip(&self, number: u8) -> IpAddr {
        self.family.ip(1, 10 + number)
    }

    pub(crate) fn interfaces(&self) -> Vec<Box<str>> {
        match self.arms {
            Arms::Two => vec!["lb0".into(), "lb1".into()],
            Arms::One => vec!["lb1".into()],
        }
    }

    /// The service over all servers, with these weights.
    pub(crate) fn service(&self, mode: Mode, transport: Transport, weights: &[u32]) -> Service {
        let server = |(number, weight): (u8, &u32)| Server {
            name: format!("s{number}").into(),
            address: SocketAddr::new(self.server_ip(number), PORT),
            weight: *weight,
        };
        Service {
            name: "web".into(),
            address: self.at(),
            transport,
            mode,
            sources: if mode == Mode::Full { vec![self.balancer_ip()] } else { Vec::new() },
            servers: (1..).zip(weights).map(server).collect(),
            idle: Duration::from_secs(60),
        }
    }

    /// Both transports, over all servers.
    pub(crate) fn services(&self, mode: Mode) -> Vec<Service> {
        [Transport::Tcp, Transport::Udp].map(|transport| self.service(mode, transport, &[1, 1, 1])).into()
    }

    pub(crate) fn open(&self) -> Datapath {
        self.try_open().unwrap_or_else(|refusal| panic!("{refusal}"))
    }

    pub(crate) fn try_open(&self) -> Result<Datapath, Refusal> {
        let pins = self.bpffs.path().join("tidegate");
        self.balancer.enter(|| Datapath::open(&pins, &self.interfaces(), 4096))
    }

    pub(crate) fn apply(&self, datapath: &mut Datapath, services: &[Service]) {
        self.balancer.enter(|| datapath.apply(services)).unwrap_or_else(|refusal| panic!("{refusal}"));
    }

    pub(crate) fn with(&self, services: &[Service]) -> Datapath {
        let mut datapath = self.open();
        self.apply(&mut datapath, services);
        datapath
    }
}

/// The sum over all servers of all services.
pub(crate) fn total(counters: &Counters) -> Traffic {
    let all = counters.services.iter().flat_map(|service| &service.servers);
    all.fold(Traffic::default(), |sum, server| Traffic {
        packets_in: sum.packets_in + server.traffic.packets_in,
        bytes_in: sum.bytes_in + server.traffic.bytes_in,
        packets_out: sum.packets_out + server.traffic.packets_out,
        bytes_out: sum.bytes_out + server.traffic.bytes_out,
        opened: sum.opened + server.traffic.opened,
        open: sum.open + server.traffic.open,
    })
}

/// How many packets were dropped for a reason.
pub(crate) fn dropped(datapath: &Datapath, reason: &str) -> u64 {
    let counters = datapath.counters().expect("counters");
    let found = counters.drops.iter().find(|dropped| dropped.reason == reason);
    found.map(|dropped| dropped.packets).unwrap_or_else(|| panic!("no such reason: {reason}"))
}
