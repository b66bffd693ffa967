//! Three machines: a client, a balancer between two networks, and one that has all servers. Its addresses are those of the example.

use std::collections::BTreeMap;
use std::net::{TcpStream, UdpSocket};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use testkit::{Bpffs, Client, Folder, Netns, PATIENCE, Server, Start, Tidegate, netns, until};

use crate::support::BINARY;

/// What a process needs that has packets rewritten.
pub(crate) const CAPABILITIES: &str = "bpf,perfmon,net_admin,sys_admin";

pub(crate) struct Lab {
    pub(crate) client: Netns,
    pub(crate) balancer: Netns,
    pub(crate) servers: Netns,
    pub(crate) pins: Bpffs,
    /// For the operator's address, which is reached from any machine.
    folder: Folder,
}

impl Lab {
    /// None, with the reason printed, where machines cannot be made.
    pub(crate) fn new() -> Option<Lab> {
        let tools = ["unshare", "setpriv", "timeout"];
        if !netns::possible() || tools.iter().any(|program| testkit::tool(program).is_none()) {
            return None;
        }
        let (client, balancer, servers) = (Netns::new("client"), Netns::new("balancer"), Netns::new("servers"));
        balancer.wire("lb1", &servers, "eth0");
        for address in ["10.78.0.2/24", "2001:2:0:78::2/64"] {
            balancer.address("lb1", address);
        }
        for address in ["10.78.0.11/24", "10.78.0.12/24", "2001:2:0:78::11/64", "2001:2:0:78::12/64"] {
            servers.address("eth0", address);
        }
        // Servers that see the client answer through the balancer.
        servers.run("ip route add 10.77.0.0/24 via 10.78.0.2");
        balancer.sysctl("net.ipv4.ip_forward", "1");
        balancer.sysctl("net.ipv6.conf.all.forwarding", "1");
        let lab = Lab { client, balancer, servers, pins: Bpffs::new(), folder: Folder::new() };
        lab.connect_client();
        Some(lab)
    }

    /// The wire between the balancer and its client, which may have been cut.
    pub(crate) fn connect_client(&self) {
        self.balancer.wire("lb0", &self.client, "eth0");
        for address in ["10.77.0.1/24", "2001:2:0:77::1/64"] {
            self.balancer.address("lb0", address);
        }
        for address in ["10.77.0.9/24", "2001:2:0:77::9/64"] {
            self.client.address("eth0", address);
        }
    }

    pub(crate) fn start(&self) -> Start<'static> {
        Start::of(BINARY).on(&self.balancer, &self.pins)
    }

    /// A start that fails, and what it says.
    pub(crate) fn refused(&self, start: Start<'_>, config: &str) -> String {
        let folder = Folder::new();
        let file = folder.write("tidegate.yaml", &self.whole(config));
        let (code, said) = start.refused(&["run", &file.display().to_string()]);
        assert_eq!(code, Some(2), "{said}");
        said
    }

    /// The program with a configuration, and an operator's address in its folder.
    pub(crate) fn run(&self, config: &str) -> Tidegate {
        self.start().text(&self.whole(config))
    }

    /// A configuration with what every test needs around it.
    pub(crate) fn whole(&self, config: &str) -> String {
        let admin = self.folder.path().join("admin.sock");
        format!("admin: unix:{}\nworkers: 1\naccess_log: stdout\n{config}", admin.display())
    }

    /// A server of HTTP that answers with its name.
    pub(crate) fn serve(&self, address: &str, name: &'static str) -> Server {
        self.servers.enter(|| {
            Server::at(address, move |peer| {
                while peer.request().is_some() {
                    peer.send(testkit::ok(name));
                }
            })
        })
    }

    /// A client's connection.
    pub(crate) fn connect(&self, address: &str) -> Client {
        self.client.enter(|| Client::connect(address))
    }

    /// Whether anybody answers a client soon.
    pub(crate) fn answers(&self, address: &str) -> bool {
        let address = address.parse().expect("an address");
        self.client.enter(|| TcpStream::connect_timeout(&address, Duration::from_millis(500)).is_ok())
    }

    /// Waits until nobody answers a client any more: the kernel takes a program away a moment after it was told to.
    pub(crate) fn until_silent(&self, address: &str) {
        until(&format!("nobody answers at {address}"), || !self.answers(address));
    }

    /// Connections of clients that stay open, each with the name of its server.
    pub(crate) fn keep(&self, address: &str, count: usize) -> Kept {
        let connection = |_| {
            let mut client = self.connect(address);
            let name = client.get("/").text();
            (client, name)
        };
        Kept((0..count).map(connection).collect())
    }

    /// How many of so many new connections each server gets.
    pub(crate) fn spread(&self, address: &str, count: usize) -> BTreeMap<String, usize> {
        self.keep(address, count).by_server()
    }
}

/// Connections that stay open.
pub(crate) struct Kept(Vec<(Client, String)>);

impl Kept {
    /// Each is asked again, and its server must be the one that it had.
    pub(crate) fn are_all_where_they_were(&mut self) {
        for (number, (client, name)) in self.0.iter_mut().enumerate() {
            assert_eq!(client.get("/").text(), *name, "connection {number}");
        }
    }

    pub(crate) fn by_server(&self) -> BTreeMap<String, usize> {
        let mut counts = BTreeMap::new();
        self.0.iter().for_each(|(_, name)| *counts.entry(name.clone()).or_default() += 1);
        counts
    }
}

/// A server of datagrams that answers with its name and with whom it sees.
pub(crate) struct Datagrams {
    is_over: Arc<AtomicBool>,
    serves: Option<JoinHandle<()>>,
}

impl Datagrams {
    pub(crate) fn serve(lab: &Lab, address: &'static str, name: &'static str) -> Datagrams {
        let is_over = Arc::new(AtomicBool::new(false));
        let ended = Arc::clone(&is_over);
        let socket = lab.servers.enter(|| UdpSocket::bind(address).expect("an address"));
        socket.set_read_timeout(Some(Duration::from_millis(50))).expect("a timeout");
        let serves = std::thread::spawn(move || {
            let mut block = [0; 2048];
            while !ended.load(Ordering::Relaxed) {
                if let Ok((size, from)) = socket.recv_from(&mut block) {
                    let said = String::from_utf8_lossy(&block[..size]);
                    let _ = socket.send_to(format!("{name} heard {said} of {}", from.ip()).as_bytes(), from);
                }
            }
        });
        Datagrams { is_over, serves: Some(serves) }
    }

    /// What comes back for a datagram of a client that nobody has seen before.
    pub(crate) fn ask(lab: &Lab, address: &str, said: &str) -> String {
        lab.client.enter(|| {
            let any = if address.starts_with('[') { "[::]:0" } else { "0.0.0.0:0" };
            let socket = UdpSocket::bind(any).expect("a socket");
            socket.connect(address).expect("a route");
            socket.set_read_timeout(Some(PATIENCE)).expect("a timeout");
            socket.send(said.as_bytes()).expect("a way");
            let mut block = [0; 2048];
            let size = socket.recv(&mut block).expect("an answer from the address that was asked");
            String::from_utf8_lossy(&block[..size]).into_owned()
        })
    }
}

impl Drop for Datagrams {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
        let ended = self.serves.take().map(JoinHandle::join);
        assert!(ended.is_none_or(|ended| ended.is_ok()), "a server of datagrams has failed");
    }
}

pub(crate) fn example() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../examples/nat.yaml")
}
