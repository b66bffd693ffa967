//! Where a listener listens.

use std::net::SocketAddr;
use std::path::PathBuf;

use super::{HttpVersion, ListenerTls};
use crate::span::Span;

/// One address to listen on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bind {
    /// The address.
    pub address: BindAddress,
    /// Where it does not do as the listener does.
    pub tls: BindTls,
    /// HTTP versions that are served there: at least one, each once.
    pub http: Vec<HttpVersion>,
    /// Where it was written, for an address that cannot be bound.
    pub span: Span,
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

impl std::fmt::Display for BindAddress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            BindAddress::Ip(address) => address.fmt(f),
            BindAddress::AnyFamily(port) => write!(f, ":{port}"),
            BindAddress::Unix { path, .. } => write!(f, "unix:{}", path.display()),
        }
    }
}
