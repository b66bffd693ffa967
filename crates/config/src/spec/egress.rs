//! Where clients may be led to.

use std::ops::RangeInclusive;

use ipnet::IpNet;

/// What a forward proxy may connect to.
#[derive(Clone, Debug, PartialEq)]
pub struct Egress {
    /// Networks that may be connected to although they are not public.
    pub allow: Vec<IpNet>,
    /// The ports that tunnels may go to.
    pub connect_ports: Vec<RangeInclusive<u16>>,
}
