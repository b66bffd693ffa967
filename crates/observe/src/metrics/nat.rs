//! The families of packets that the kernel rewrites.

use super::page::{Label, Page, labels};

/// What the kernel has done, and for whom.
#[derive(Clone, Debug, Default)]
pub struct Nat<'a> {
    /// The listeners of packets, and whether the kernel rewrites theirs: if not, this process stands in for it as a proxy.
    pub listeners: Vec<(&'a str, bool)>,
    /// The servers of each of their addresses.
    pub servers: Vec<NatServer<'a>>,
    /// Packets that were dropped, by reason.
    pub drops: Vec<(&'static str, u64)>,
    /// Entries of the table of connections that are taken, and how many there are.
    pub entries: Option<(u64, u64)>,
}

/// One server behind one address of a listener.
#[derive(Clone, Copy, Debug)]
pub struct NatServer<'a> {
    /// The listener's name.
    pub listener: &'a str,
    /// The address that clients ask for, with its transport: `192.0.2.1:80/tcp`.
    pub bind: &'a str,
    /// The server's name; its address if it is no longer named and still has connections.
    pub server: &'a str,
    /// The server's address.
    pub address: &'a str,
    /// Packets from clients and from the server.
    pub packets: [u64; 2],
    /// Bytes from clients and from the server.
    pub bytes: [u64; 2],
    /// Connections that were opened.
    pub opened: u64,
    /// Connections that are open.
    pub open: u64,
}

impl NatServer<'_> {
    fn labels_and(&self, more: &[(&'static str, &str)]) -> Vec<Label> {
        let own =
            [("listener", self.listener), ("bind", self.bind), ("server", self.server), ("address", self.address)];
        labels(&[&own[..], more].concat())
    }
}

pub(super) fn write(nat: &Nat<'_>, page: &mut Page) {
    page.gauge(
        "tidegate_nat_in_kernel",
        "Whether the kernel rewrites the packets of the listener: 1 if so, 0 where this process stands in for it as a proxy.",
        nat.listeners.iter().map(|(name, is_in)| (labels(&[("listener", name)]), f64::from(*is_in))),
    );
    let both = |of: fn(&NatServer<'_>) -> [u64; 2]| {
        nat.servers.iter().flat_map(move |one| {
            let directions = ["in", "out"].into_iter().zip(of(one));
            directions.map(|(direction, count)| (one.labels_and(&[("direction", direction)]), count as f64))
        })
    };
    page.counter("tidegate_nat_packets_total", "Packets that the kernel passed on.", both(|one| one.packets));
    page.counter("tidegate_nat_bytes_total", "Bytes of them, with their heads.", both(|one| one.bytes));
    page.counter(
        "tidegate_nat_connections_total",
        "Connections that the kernel gave to the server.",
        nat.servers.iter().map(|one| (one.labels_and(&[]), one.opened as f64)),
    );
    page.gauge(
        "tidegate_nat_connections",
        "Connections to the server that the kernel knows now.",
        nat.servers.iter().map(|one| (one.labels_and(&[]), one.open as f64)),
    );
    page.counter(
        "tidegate_nat_drops_total",
        "Packets that the kernel dropped, by reason.",
        nat.drops.iter().map(|(reason, count)| (labels(&[("reason", reason)]), *count as f64)),
    );
    page.gauge(
        "tidegate_nat_entries",
        "Entries of the kernel's table of connections that are taken.",
        nat.entries.iter().map(|(taken, _)| (Vec::new(), *taken as f64)),
    );
    page.gauge(
        "tidegate_nat_entries_limit",
        "How many entries that table has; the oldest give way when it is full.",
        nat.entries.iter().map(|(_, most)| (Vec::new(), *most as f64)),
    );
}
