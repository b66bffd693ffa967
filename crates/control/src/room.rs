//! How much the system lets this process have at a time.

use std::fs;

use config::spec::{Role, Spec};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// What connections and flows are bounded by where the configuration says nothing.
#[derive(Clone, Copy, Debug)]
pub struct Room {
    /// Connections.
    pub connections: usize,
    /// Ports that the kernel gives to sockets which ask for none: each flow of UDP has one, and all programs of the host share them.
    pub ports: usize,
}

/// Descriptors that are neither a client's nor a server's: logs, listeners, pipes, timers.
const RESERVED: u64 = 64;
/// Where the kernel keeps the first and the last port that it gives, for both families.
const PORTS: &str = "/proc/sys/net/ipv4/ip_local_port_range";
/// What it gives where nobody has changed that.
const USUAL: usize = 28_232;

impl Room {
    /// Takes all the descriptors that we are allowed: each connection may need two.
    pub fn take() -> Room {
        let limit = getrlimit(Resource::Nofile);
        let wanted = Rlimit { current: limit.maximum, maximum: limit.maximum };
        let limit = if setrlimit(Resource::Nofile, wanted).is_ok() { wanted } else { limit };
        let most = limit.current.unwrap_or(1 << 20);
        let connections = usize::try_from(most.saturating_sub(RESERVED) / 2).unwrap_or(usize::MAX).max(1);
        let ports = fs::read_to_string(PORTS).ok().and_then(|text| ports(&text)).unwrap_or(USUAL);
        Room { connections, ports }
    }

    /// How many flows a listener of UDP has that does not say it: such listeners have half of the ports together, so that a flood leaves
    /// some for the servers of others, and for other programs.
    pub fn flows(self, spec: &Spec) -> usize {
        let silent =
            spec.listeners.iter().filter(|listener| listener.role == Role::Udp && listener.head.connections.is_none());
        self.connections.min(self.ports / 2 / silent.count().max(1)).max(1)
    }
}

fn ports(range: &str) -> Option<usize> {
    let mut ends = range.split_whitespace().map(|end| end.parse::<usize>().ok());
    let (first, last) = (ends.next()??, ends.next()??);
    (last + 1).checked_sub(first)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_range_of_ports_is_read() {
        assert_eq!(ports("32768\t60999\n"), Some(USUAL));
        assert_eq!(
            [ports("40000 40199"), ports("1 0"), ports("5 3"), ports("x"), ports("")],
            [Some(200), Some(0), None, None, None]
        );
    }
}
