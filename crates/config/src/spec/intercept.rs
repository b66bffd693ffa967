//! Tunnels whose TLS ends here.

use std::time::Duration;

use super::{HostPattern, NamedFile};

/// How a forward proxy reads what clients say in tunnels.
#[derive(Clone, Debug, PartialEq)]
pub struct Intercept {
    /// The certificate of the authority that signs what clients are shown.
    pub cert: NamedFile,
    /// Its key.
    pub key: NamedFile,
    /// Hosts whose tunnels nobody reads.
    pub except: Vec<HostPattern>,
    /// Authorities of servers beside those of the system.
    pub upstream_ca: Option<NamedFile>,
    /// How long a client is left alone with a host for which it has not believed us; absent if it is not.
    pub bypass: Option<Duration>,
    /// From a client's first byte in its tunnel to the end of its handshake.
    pub handshake_timeout: Duration,
    /// Handshakes under way at a time in the process.
    pub handshakes: u32,
}
