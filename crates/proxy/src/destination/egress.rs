//! Where clients may be led to. What is private to us, or to nobody, is refused unless the operator allows it; and whatever the
//! operator allows, no way leads back to this process itself.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use net::listen::is_delivered;
use wire::forwarded::Net;

/// What a listener allows.
#[derive(Debug)]
pub struct Egress {
    /// Networks that may be connected to although they are not public.
    pub allow: Box<[Net]>,
    /// The ports that tunnels may go to.
    pub connect_ports: Box<[RangeInclusive<u16>]>,
    /// Where this process listens.
    pub own: Arc<Own>,
}

/// Where this process listens, by TCP or UDP, the operator's address among it. Looked at when a server's addresses are found out, and not for
/// each request.
#[derive(Debug, Default)]
pub struct Own(Mutex<Listening>);

#[derive(Debug, Default)]
struct Listening {
    listeners: Vec<SocketAddr>,
    admin: Option<SocketAddr>,
}

/// Why nothing may be connected to there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// It is no address of one machine in public.
    NotPublic,
    /// It is this process.
    Ourselves,
}

impl Refused {
    /// The same for a log.
    pub fn reason(self) -> &'static str {
        match self {
            Refused::NotPublic => "an address that is not public and not in egress.allow",
            Refused::Ourselves => "an address on which this process listens",
        }
    }
}

impl Egress {
    /// Whether tunnels may go to a port.
    pub fn lets_connect_to(&self, port: u16) -> bool {
        self.connect_ports.iter().any(|ports| ports.contains(&port))
    }

    /// Whether requests may be sent to a port. Below 1024 other services listen, which take a request's lines for their own.
    pub fn lets_ask(&self, port: u16) -> bool {
        matches!(port, 80 | 443 | 1024..) || self.lets_connect_to(port)
    }

    /// The address to dial, in its canonical form.
    ///
    /// # Errors
    /// It may not be connected to.
    pub fn judge(&self, address: SocketAddr) -> Result<SocketAddr, Refused> {
        let ip = address.ip().to_canonical();
        // To connect to it is to connect to ourselves, by every system in another way.
        if ip.is_unspecified() {
            return Err(Refused::NotPublic);
        }
        if !is_public(ip) && !self.allow.iter().any(|net| net.contains(ip)) {
            return Err(Refused::NotPublic);
        }
        let address = SocketAddr::new(ip, address.port());
        if self.own.has(address) { Err(Refused::Ourselves) } else { Ok(address) }
    }
}

impl Own {
    /// Listeners are at these addresses from now on.
    pub fn listen(&self, listeners: impl Iterator<Item = SocketAddr>) {
        self.lock().listeners = listeners.collect();
    }

    /// The operator is served at this one.
    pub fn administer(&self, admin: SocketAddr) {
        self.lock().admin = Some(admin);
    }

    fn has(&self, address: SocketAddr) -> bool {
        let listening = self.lock();
        listening.listeners.iter().chain(&listening.admin).any(|own| {
            let ip = own.ip().to_canonical();
            own.port() == address.port() && (ip == address.ip() || (ip.is_unspecified() && is_here(address.ip())))
        })
    }

    /// A panic elsewhere leaves whole addresses.
    fn lock(&self) -> MutexGuard<'_, Listening> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether an address is one of this machine's. Where that cannot be found out it is taken for one.
fn is_here(ip: IpAddr) -> bool {
    ip.is_loopback() || is_delivered(ip).unwrap_or(true)
}

/// Whether an address is one that everybody may connect to: none of IANA's special-purpose registries (RFC 6890), no group, and of
/// those that carry an address of IPv4 none that carries such a one.
fn is_public(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => is_public_v4(ip),
        IpAddr::V6(ip) => is_public_v6(ip),
    }
}

fn is_public_v4(ip: Ipv4Addr) -> bool {
    let [a, b, c, _] = ip.octets();
    !(a == 0
        || ip.is_private()
        || ip.is_loopback()
        || ip.is_link_local()
        || ip.is_documentation()
        // 224.0.0.0/4 and all above: groups, reserved, broadcast.
        || a >= 224
        || (a == 100 && b & 0xC0 == 64)
        || (a == 192 && b == 0 && c == 0)
        || (a == 192 && b == 88 && c == 99)
        || (a == 198 && b & 0xFE == 18))
}

fn is_public_v6(ip: Ipv6Addr) -> bool {
    let segments = ip.segments();
    let carried = |high: u16, low: u16| {
        let [a, b] = high.to_be_bytes();
        let [c, d] = low.to_be_bytes();
        is_public_v4(Ipv4Addr::new(a, b, c, d))
    };
    match segments {
        // Translated by NAT64 (RFC 6052).
        [0x64, 0xFF9B, 0, 0, 0, 0, high, low] => carried(high, low),
        // 6to4 (RFC 3056).
        [0x2002, high, low, ..] => carried(high, low),
        // Teredo, benchmarks, identifiers, documentation (RFC 9637 the last).
        [0x2001, 0..=0x01FF, ..] | [0x2001, 0x0DB8, ..] | [0x3FFF, 0..=0x0FFF, ..] => false,
        // All that was ever given out; the rest is local, reserved, or for groups.
        [first, ..] => first & 0xE000 == 0x2000,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn egress(allow: &[&str], own: &[&str]) -> Egress {
        let known = Own::default();
        known.listen(own.iter().map(|own| own.parse().expect("an address")));
        let net = |net: &&str| {
            let (address, prefix) = net.split_once('/').expect("a prefix");
            Net { address: address.parse().expect("an address"), prefix: prefix.parse().expect("a length") }
        };
        Egress {
            allow: allow.iter().map(net).collect(),
            connect_ports: [443..=443, 8000..=8100].into(),
            own: Arc::new(known),
        }
    }

    fn judge(egress: &Egress, address: &str) -> Result<String, Refused> {
        egress.judge(address.parse().expect("an address")).map(|address| address.to_string())
    }

    #[test]
    fn what_is_public_is_let_through() {
        let egress = egress(&[], &[]);
        for address in [
            "1.1.1.1:80",
            "100.63.255.255:80",
            "100.128.0.1:80",
            "172.15.0.1:80",
            "198.17.0.1:80",
            "223.255.255.254:80",
            "192.0.1.1:80",
        ] {
            assert_eq!(judge(&egress, address).as_deref(), Ok(address));
        }
        for address in
            ["[2606:4700::1]:443", "[2001:4860:4860::8888]:443", "[64:ff9b::1.1.1.1]:80", "[2002:101:101::1]:80"]
        {
            assert!(judge(&egress, address).is_ok(), "{address}");
        }
        assert_eq!(judge(&egress, "[::ffff:1.1.1.1]:80").as_deref(), Ok("1.1.1.1:80"));
    }

    #[test]
    fn what_is_not_is_refused_in_every_form() {
        let egress = egress(&[], &[]);
        for address in [
            "0.0.0.0:80",
            "0.1.2.3:80",
            "10.0.0.1:80",
            "100.64.0.1:80",
            "127.0.0.1:80",
            "127.255.255.254:80",
            "169.254.169.254:80",
            "172.16.0.1:80",
            "172.31.255.255:80",
            "192.0.0.1:80",
            "192.0.2.1:80",
            "192.168.1.1:80",
            "192.88.99.1:80",
            "198.18.0.1:80",
            "198.19.255.255:80",
            "198.51.100.1:80",
            "203.0.113.1:80",
            "224.0.0.1:80",
            "239.255.255.255:80",
            "240.0.0.1:80",
            "255.255.255.255:80",
            "[::]:80",
            "[::1]:80",
            "[::ffff:127.0.0.1]:80",
            "[::ffff:10.0.0.1]:80",
            "[::127.0.0.1]:80",
            "[64:ff9b::10.0.0.1]:80",
            "[64:ff9b:1::1]:80",
            "[100::1]:80",
            "[2001::1]:80",
            "[2001:2::1]:80",
            "[2001:db8::1]:80",
            "[2002:7f00:1::1]:80",
            "[2002:a00:1::1]:80",
            "[3fff::1]:80",
            "[fc00::1]:80",
            "[fd12::1]:80",
            "[fe80::1]:80",
            "[fec0::1]:80",
            "[ff02::1]:80",
        ] {
            assert_eq!(judge(&egress, address), Err(Refused::NotPublic), "{address}");
        }
    }

    #[test]
    fn what_is_allowed_may_be_connected_to_but_never_ourselves() {
        let egress = egress(&["127.0.0.0/8", "::1/128", "0.0.0.0/8"], &["127.0.0.1:3128", "[::]:9900"]);
        assert!(judge(&egress, "127.0.0.1:80").is_ok());
        assert!(judge(&egress, "10.0.0.1:80").is_err());
        assert_eq!(judge(&egress, "0.0.0.0:80"), Err(Refused::NotPublic), "it is the same as 127.0.0.1");
        for address in ["127.0.0.1:3128", "[::ffff:127.0.0.1]:3128", "127.0.0.1:9900", "127.0.0.2:9900", "[::1]:9900"] {
            assert_eq!(judge(&egress, address), Err(Refused::Ourselves), "{address}");
        }
        assert!(judge(&egress, "127.0.0.2:3128").is_ok());
    }

    #[test]
    fn tunnels_go_to_some_ports() {
        let egress = egress(&[], &[]);
        let lets = [443, 8000, 8100, 80, 22, 8101].map(|port| egress.lets_connect_to(port));
        assert_eq!(lets, [true, true, true, false, false, false]);
    }
}
