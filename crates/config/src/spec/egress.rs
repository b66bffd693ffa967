//! Where clients may be led to.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::ops::RangeInclusive;

use ipnet::IpNet;

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
