//! Where a listener listens.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;

use super::{HttpVersion, ListenerTls, Transport};
use crate::span::Span;

/// One address to listen on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bind {
    /// The address.
    pub address: BindAddress,
    /// What stands above IP there: as the address says with a listener of packets, UDP with one of UDP, TCP with all others, whatever
    /// HTTP/3 has beside it.
    pub transport: Transport,
    /// Where it does not do as the listener does.
    pub tls: BindTls,
    /// HTTP versions that are served there, each once: at least one of a listener of HTTP.
    pub http: Vec<HttpVersion>,
    /// Peers that say first for whom they come.
    pub accept_proxy: Vec<IpNet>,
    /// How connections come there that were meant for others, if they do.
    pub transparent: Option<Transparent>,
    /// Where it was written, for an address that cannot be bound.
    pub span: Span,
}

/// How the system's rules for packets lead connections here that were meant for others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transparent {
    /// By another address in the place of the one that they were opened to.
    Redirect,
    /// As they are.
    Tproxy,
}

/// TLS at one address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BindTls {
    /// As the listener says.
    Inherited,
    /// None, whatever the listener says.
    Off,
    /// Its own.
    Own(Box<ListenerTls>),
}

/// An address to listen on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BindAddress {
    /// One IP address and port; port 0 is one port, chosen once, for all workers.
    Ip(SocketAddr),
    /// `:PORT`: every address of both families.
    AnyFamily(u16),
    /// A Unix socket.
    Unix {
        /// Where the socket file is made; a relative path is in the state folder.
        path: PathBuf,
        /// Its permission bits; absent leaves them to the umask.
        mode: Option<u32>,
    },
}

impl BindAddress {
    /// Its port, if it has one.
    pub fn port(&self) -> Option<u16> {
        match self {
            BindAddress::Ip(address) => Some(address.port()),
            BindAddress::AnyFamily(port) => Some(*port),
            BindAddress::Unix { .. } => None,
        }
    }

    /// Whether the port is left to the kernel.
    pub fn is_any_port(&self) -> bool {
        match self {
            BindAddress::Ip(address) => address.port() == 0,
            BindAddress::AnyFamily(port) => *port == 0,
            BindAddress::Unix { .. } => false,
        }
    }
}

impl std::fmt::Display for BindAddress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            BindAddress::Ip(address) => address.fmt(f),
            BindAddress::AnyFamily(port) => write!(f, ":{port}"),
            BindAddress::Unix { path, .. } => write!(f, "unix:{}", path.display()),
        }
    }
}

/// What clients are told of HTTP/3, and let do by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Http3 {
    /// What responses by TCP say of it, if they do.
    pub advert: Option<Advert>,
    /// Whether requests may come before the handshake is done.
    pub early_data: bool,
}

impl Http3 {
    /// What holds where nothing is said.
    pub const UNSAID: Http3 =
        Http3 { advert: Some(Advert { port: None, max_age: Duration::from_secs(24 * 3600) }), early_data: false };
}

/// What `Alt-Svc` says (RFC 7838).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Advert {
    /// The port; that of the connection if absent.
    pub port: Option<u16>,
    /// How long it may be remembered.
    pub max_age: Duration,
}
