//! Packets that the kernel rewrites.

use std::net::IpAddr;
use std::time::Duration;

/// How the packets of a listener are rewritten.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Nat {
    /// What of them is.
    pub mode: NatMode,
    /// What servers see as the client, in [`NatMode::Full`]: at least one of the family of each address of the listener.
    pub sources: Vec<IpAddr>,
    /// The interfaces at which they come and go: at least one.
    pub interfaces: Vec<String>,
    /// Who may do it.
    pub engine: Engine,
}

/// What of a packet is rewritten.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NatMode {
    /// Both addresses: servers see one of ours, so that answers come back by themselves.
    Full,
    /// The destination: servers see the client, and answers have to be routed through us.
    Dnat,
    /// No address: packets are sent to the server as they are, and it answers by itself.
    Dsr,
}

impl NatMode {
    /// The word for it.
    pub fn word(self) -> &'static str {
        match self {
            NatMode::Full => "full",
            NatMode::Dnat => "dnat",
            NatMode::Dsr => "dsr",
        }
    }
}

/// Who passes the packets of a listener on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Engine {
    /// The kernel, or the start fails.
    Kernel,
    /// The kernel, or this process as a proxy where the kernel cannot.
    Auto,
}

/// What stands above IP at an address.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Transport {
    /// TCP.
    #[default]
    Tcp,
    /// UDP.
    Udp,
}

impl Transport {
    /// The word for it, as the suffix of an address.
    pub fn word(self) -> &'static str {
        match self {
            Transport::Tcp => "tcp",
            Transport::Udp => "udp",
        }
    }

    /// How long a flow may be silent where nothing is said: a connection of TCP may be kept for later, one of UDP has no end.
    pub fn idle(self) -> Duration {
        match self {
            Transport::Tcp => Duration::from_secs(3600),
            Transport::Udp => Duration::from_secs(60),
        }
    }

    /// The same as a configuration says it.
    pub(crate) fn idle_word(self) -> &'static str {
        match self {
            Transport::Tcp => "1h",
            Transport::Udp => "60s",
        }
    }
}
