//! What is spoken with servers.

use super::Secret;

/// What a pool's servers speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// HTTP/1.1.
    H1,
    /// HTTP/2: agreed on in the handshake of TLS, by prior knowledge without.
    H2,
    /// HTTP/3, which is nothing without TLS.
    H3,
    /// That of proxies: they are asked for other servers' answers, and by CONNECT for tunnels.
    HttpProxy,
    /// SOCKS 5: they are asked for connections to other servers.
    Socks5,
}

impl Protocol {
    /// Whether the servers are proxies, which are asked for other servers.
    pub fn is_of_parents(self) -> bool {
        matches!(self, Protocol::HttpProxy | Protocol::Socks5)
    }
}

/// Who we say that we are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credentials {
    /// The name.
    pub username: String,
    /// The password.
    pub password: Secret,
}
