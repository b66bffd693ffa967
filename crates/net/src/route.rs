//! By which interface an address is reached, as the kernel's routing table has it for now (rtnetlink(7)). It is asked about packets
//! that are not of our sockets: those go wherever the kernel sends them.

use std::io;
use std::net::IpAddr;

use nix::ifaddrs::getifaddrs;
use nix::net::if_::InterfaceFlags;
use rustix::fd::OwnedFd;
use rustix::net::netdevice::index_to_name;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recv, send, socket_with};

/// How packets for an address leave.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Way {
    /// They do not: they are for this host itself.
    Here,
    /// By this interface.
    By(Box<str>),
}

/// The routing table of the network that the thread is in.
#[derive(Debug)]
pub struct Routes {
    netlink: OwnedFd,
    names: OwnedFd,
    /// Addresses of this host that its neighbours ask for, and where.
    asked: Vec<(IpAddr, String)>,
}

impl Routes {
    /// Opens it. It takes no right.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn open() -> io::Result<Routes> {
        let of = |family, kind| socket_with(family, kind, SocketFlags::CLOEXEC, None);
        Ok(Routes {
            netlink: of(AddressFamily::NETLINK, SocketType::RAW)?,
            names: of(AddressFamily::UNIX, SocketType::DGRAM)?,
            asked: asked(),
        })
    }

    /// How packets for an address leave now; nothing if there is no way.
    pub fn towards(&self, ip: IpAddr) -> Option<Way> {
        send(&self.netlink, &question(ip), SendFlags::empty()).ok()?;
        // The kernel has answered before the question returns.
        let mut block = [0; 4096];
        let (_, size) = recv(&self.netlink, &mut block[..], RecvFlags::DONTWAIT).ok()?;
        match answer(block.get(..size)?)? {
            (RTN_LOCAL, _) => Some(Way::Here),
            (RTN_UNICAST, Some(index)) => Some(Way::By(index_to_name(&self.names, index).ok()?.into())),
            _ => None,
        }
    }

    /// The interface whose neighbours ask for an address; none where no such interface has it.
    pub fn interface_of(&self, ip: IpAddr) -> Option<&str> {
        self.asked.iter().find(|(known, _)| *known == ip).map(|(_, interface)| interface.as_str())
    }
}

/// The interfaces whose neighbours ask for an address: a dummy's has none, nor has loopback.
fn asked() -> Vec<(IpAddr, String)> {
    let all = getifaddrs().into_iter().flatten();
    let asked = all.filter(|one| !one.flags.intersects(InterfaceFlags::IFF_LOOPBACK | InterfaceFlags::IFF_NOARP));
    let with_address = asked.filter_map(|one| {
        let address = one.address?;
        let v4 = address.as_sockaddr_in().map(|address| IpAddr::V4(address.ip()));
        let ip = v4.or_else(|| address.as_sockaddr_in6().map(|address| IpAddr::V6(address.ip())))?;
        Some((ip, one.interface_name))
    });
    with_address.collect()
}

const RTM_NEWROUTE: u16 = 24;
const RTM_GETROUTE: u16 = 26;
const NLM_F_REQUEST: u16 = 1;
const RTA_DST: u16 = 1;
const RTA_OIF: u16 = 4;
const RTN_UNICAST: u8 = 1;
const RTN_LOCAL: u8 = 2;
/// `struct nlmsghdr`, `struct rtmsg` and `struct rtattr`.
const HEAD: usize = 16;
const ROUTE: usize = 12;
const ATTRIBUTE: usize = 4;

/// `RTM_GETROUTE` with the address as `RTA_DST`.
fn question(ip: IpAddr) -> Vec<u8> {
    let (family, bytes) = match ip {
        IpAddr::V4(ip) => (AddressFamily::INET, ip.octets().to_vec()),
        IpAddr::V6(ip) => (AddressFamily::INET6, ip.octets().to_vec()),
    };
    let length = HEAD + ROUTE + ATTRIBUTE + bytes.len();
    let mut asked = Vec::with_capacity(length);
    asked.extend((length as u32).to_ne_bytes());
    asked.extend(RTM_GETROUTE.to_ne_bytes());
    asked.extend(NLM_F_REQUEST.to_ne_bytes());
    // No sequence, and from whoever this socket is.
    asked.extend([0; 8]);
    asked.extend([family.as_raw() as u8, 8 * bytes.len() as u8]);
    asked.extend([0; ROUTE - 2]);
    asked.extend(((ATTRIBUTE + bytes.len()) as u16).to_ne_bytes());
    asked.extend(RTA_DST.to_ne_bytes());
    asked.extend(bytes);
    asked
}

/// The kind of a route, and the number of the interface that it leads to.
fn answer(said: &[u8]) -> Option<(u8, Option<u32>)> {
    let short = |at: usize| Some(u16::from_ne_bytes(said.get(at..at + 2)?.try_into().ok()?));
    if short(4)? != RTM_NEWROUTE {
        return None;
    }
    let kind = *said.get(HEAD + 7)?;
    let mut at = HEAD + ROUTE;
    while let (Some(length), Some(name)) = (short(at), short(at + 2)) {
        let length = usize::from(length);
        if length < ATTRIBUTE {
            break;
        }
        if name == RTA_OIF {
            let index = said.get(at + ATTRIBUTE..at + ATTRIBUTE + 4)?.try_into().ok()?;
            return Some((kind, Some(u32::from_ne_bytes(index))));
        }
        at += length.next_multiple_of(4);
    }
    Some((kind, None))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_host_is_here() {
        let routes = Routes::open().expect("a table of routes");
        for _ in 0..3 {
            assert_eq!(routes.towards([127, 0, 0, 1].into()), Some(Way::Here));
        }
        assert_eq!(routes.interface_of([127, 0, 0, 1].into()), None);
    }

    #[test]
    fn what_is_cut_short_is_no_answer() {
        let mut said = question([192, 0, 2, 1].into());
        assert_eq!(answer(&said), None);
        said[4..6].copy_from_slice(&RTM_NEWROUTE.to_ne_bytes());
        said[HEAD + ROUTE + 2..HEAD + ROUTE + 4].copy_from_slice(&RTA_OIF.to_ne_bytes());
        assert!(matches!(answer(&said), Some((0, Some(_)))));
        (0..said.len()).for_each(|length| assert!(!matches!(answer(&said[..length]), Some((_, Some(_))))));
        said[HEAD + ROUTE..HEAD + ROUTE + 2].fill(0);
        assert_eq!(answer(&said), Some((0, None)));
    }
}
