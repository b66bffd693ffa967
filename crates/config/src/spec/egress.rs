//! Where clients may be led to.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::ops::RangeInclusive;

use ipnet::{IpNet, Ipv4Net};

use super::HostPattern;

/// The file by which browsers find the proxy.
#[derive(Clone, Debug, PartialEq)]
pub struct Pac {
    /// Hosts that do without, exact ones and wildcards.
    pub direct: Vec<HostPattern>,
    /// Networks that do without.
    pub networks: Vec<Ipv4Net>,
    /// The proxies that are named, first the first; empty is the one that was asked.
    pub proxies: Vec<PacProxy>,
}

/// A proxy that browsers are told of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PacProxy {
    /// What it speaks.
    pub speaks: PacProtocol,
    /// Its host and port.
    pub authority: String,
}

/// What browsers speak with a proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PacProtocol {
    /// HTTP in plain.
    Http,
    /// HTTP under TLS.
    Https,
    /// SOCKS 5.
    Socks5,
}

use crate::span::Span;

/// What a forward proxy may connect to.
#[derive(Clone, Debug, PartialEq)]
pub struct Egress {
    /// Networks that may be connected to although they are not public.
    pub allow: Vec<IpNet>,
    /// The ports that tunnels may go to.
    pub connect_ports: Vec<RangeInclusive<u16>>,
    /// With which of this host's addresses it connects; absent leaves that to the system.
    pub source: Option<Source>,
}

/// Addresses of this host with which connections are made: one of each family, of one at least.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// That of IPv4; without one nothing is reached there.
    pub v4: Option<Ipv4Addr>,
    /// That of IPv6; without one nothing is reached there.
    pub v6: Option<Ipv6Addr>,
    /// Where it was written.
    pub span: Span,
}
