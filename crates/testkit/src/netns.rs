//! Network namespaces: machines of a test's own, with wires between them and no way out. They need root, and vanish with their
//! owner. Addresses are from 198.18.0.0/15 and 2001:2::/48, which exist for tests (RFC 2544, RFC 5180).

use std::fs::{self, File};
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::tools::{is_root, skip, tool};

/// A machine, as far as its network is concerned.
#[derive(Debug)]
pub struct Netns {
    name: String,
}

/// A file system of BPF, mounted in a folder of its own.
#[derive(Debug)]
pub struct Bpffs {
    folder: PathBuf,
}

/// Whether namespaces can be made here; if not, the reason is printed, and the test has nothing to do.
pub fn possible() -> bool {
    if !is_root() {
        skip("network namespaces need root");
        return false;
    }
    ["ip", "nsenter", "mount", "umount"].iter().all(|program| tool(program).is_some())
}

impl Netns {
    /// A client, a machine on the way, and a server, of both families. The one in between is 198.18.1.1 to the client, by its interface
    /// `to1`, and 198.18.2.1 to the server, by `to2`; the others are 198.18.1.2 and 198.18.2.2, by `up0`, and alike below fd18:1:: and
    /// fd18:2::.
    ///
    /// # Panics
    /// They cannot be made.
    pub fn on_the_way() -> [Netns; 3] {
        let [client, between, server] = ["client", "program", "server"].map(Netns::new);
        for (other, net) in [(&client, 1), (&server, 2)] {
            let to = format!("to{net}");
            between.wire(&to, other, "up0");
            for (at, interface, host) in [(&between, &*to, 1), (other, "up0", 2)] {
                at.address(interface, &format!("198.18.{net}.{host}/24"));
                at.address(interface, &format!("fd18:{net}::{host}/64"));
            }
            other.run(&format!("ip route add default via 198.18.{net}.1"));
            other.run(&format!("ip -6 route add default via fd18:{net}::1"));
        }
        [client, between, server]
    }

    /// A new one, with its loopback up.
    pub fn new(label: &str) -> Netns {
        let name = unique(label);
        must(Command::new("ip").args(["netns", "add", &name]));
        let netns = Netns { name };
        netns.run("ip link set lo up");
        netns
    }

    /// Runs a command in it that must succeed, its words parted by spaces.
    ///
    /// # Panics
    /// It fails; what it said is part of the message.
    pub fn run(&self, words: &str) -> String {
        let mut words = words.split_whitespace();
        let output = must(self.command(words.next().unwrap_or_default()).args(words));
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// A command that runs this program in it. The file system is the one outside, so `/sys` shows the interfaces there.
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net={}", self.path().display())).arg("--").arg(program);
        command
    }

    /// Does work in it: whatever sockets this makes are in it.
    ///
    /// # Panics
    /// The work does.
    pub fn enter<R: Send>(&self, work: impl FnOnce() -> R + Send) -> R {
        let door = File::open(self.path()).expect("the namespace is there");
        // With a thread of its own alone, which does not come back.
        let through = || {
            move_into_link_name_space(door.as_fd(), Some(LinkNameSpaceType::Network)).expect("a way in");
            work()
        };
        let entered = thread::scope(|scope| scope.spawn(through).join());
        entered.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }

    /// Connects an interface of this one to an interface of another one. Both are up, with an MTU of 1,500.
    pub fn wire(&self, interface: &str, other: &Netns, at: &str) {
        let words = format!("link add {interface} netns {} type veth peer name {at} netns {}", self.name, other.name);
        must(Command::new("ip").args(words.split(' ')));
        self.run(&format!("ip link set {interface} up"));
        other.run(&format!("ip link set {at} up"));
    }

    /// The same with another MTU, and an address at each end.
    pub fn cable(&self, other: &Netns, mtu: u32, ours: (&str, &str), theirs: (&str, &str)) {
        self.wire(ours.0, other, theirs.0);
        for (at, (interface, address)) in [(self, ours), (other, theirs)] {
            at.address(interface, address);
            at.run(&format!("ip link set {interface} mtu {mtu}"));
        }
    }

    /// How many packets an interface has received.
    pub fn received(&self, interface: &str) -> u64 {
        let shown = self.run(&format!("ip -s -j link show dev {interface}"));
        let shown: serde_json::Value = serde_json::from_str(&shown).expect("JSON");
        shown[0]["stats64"]["rx"]["packets"].as_u64().expect("a number of packets")
    }

    /// Gives an interface an address, `198.18.0.1/24` or `2001:2::1/64`, that may be used at once.
    pub fn address(&self, interface: &str, address: &str) {
        let nodad = if address.contains(':') { " nodad" } else { "" };
        self.run(&format!("ip address add {address} dev {interface}{nodad}"));
    }

    /// Sets a key of the network's configuration.
    pub fn sysctl(&self, key: &str, value: &str) {
        let path = Path::new("/proc/sys").join(key.replace('.', "/"));
        self.enter(|| fs::write(&path, value).unwrap_or_else(|error| panic!("{key}: {error}")));
    }

    /// The index of an interface.
    pub fn index(&self, interface: &str) -> u32 {
        let line = self.run(&format!("ip -o link show dev {interface}"));
        line.split(':').next().and_then(|number| number.parse().ok()).expect("an index")
    }

    /// The Ethernet address of an interface.
    pub fn ethernet(&self, interface: &str) -> [u8; 6] {
        let line = self.run(&format!("ip -o link show dev {interface}"));
        let text =
            line.split("link/ether ").nth(1).and_then(|rest| rest.split(' ').next()).expect("an Ethernet address");
        let bytes: Vec<u8> = text.split(':').filter_map(|byte| u8::from_str_radix(byte, 16).ok()).collect();
        bytes.try_into().expect("six bytes")
    }

    fn path(&self) -> PathBuf {
        Path::new("/run/netns").join(&self.name)
    }
}

impl Drop for Netns {
    fn drop(&mut self) {
        let _ = Command::new("ip").args(["netns", "delete", &self.name]).stderr(Stdio::null()).status();
    }
}

impl Bpffs {
    /// Mounts a new one.
    pub fn new() -> Bpffs {
        let folder = std::env::temp_dir().join(unique("bpf"));
        fs::create_dir(&folder).expect("a folder");
        must(Command::new("mount").args(["-t", "bpf", "bpf"]).arg(&folder));
        Bpffs { folder }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.folder
    }
}

impl Default for Bpffs {
    fn default() -> Bpffs {
        Bpffs::new()
    }
}

impl Drop for Bpffs {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(&self.folder).status();
        let _ = fs::remove_dir(&self.folder);
    }
}

/// A name that nobody else on the machine has.
fn unique(label: &str) -> String {
    static COUNT: AtomicUsize = AtomicUsize::new(0);
    format!("tidegate-{}-{}-{label}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed))
}

fn must(command: &mut Command) -> Output {
    let output = command.stdin(Stdio::null()).output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {}: {said}", output.status);
    output
}
