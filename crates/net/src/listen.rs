//! Listening sockets: one a worker on one address, so that the kernel spreads connections and no lock is shared.

use std::fs;
use std::io::{self, ErrorKind};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixListener as StdUnixListener;
use std::path::Path;
use std::task::{Context, Poll};

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpListener, UnixListener};

use crate::Address;
use crate::stream::Stream;

/// A listening socket that belongs to no runtime yet.
#[derive(Debug)]
pub enum Bound {
    /// TCP.
    Tcp(std::net::TcpListener),
    /// A Unix stream socket.
    Unix(StdUnixListener),
}

/// A listening socket of a worker.
#[derive(Debug)]
pub enum Listening {
    /// TCP.
    Tcp(TcpListener),
    /// A Unix stream socket.
    Unix(UnixListener),
}

/// Pending connections that the kernel keeps for one socket.
const BACKLOG: i32 = 4096;

/// How an address is bound.
#[derive(Clone, Copy, Debug, Default)]
pub struct Terms {
    /// Permission bits of a Unix socket; absent leaves them to the umask.
    pub mode: Option<u32>,
    /// Whether no interface needs to have the address (`IP_FREEBIND`): a route may deliver it all the same.
    pub free: bool,
    /// Whether connections to any address may be led here (`IP_TRANSPARENT`).
    pub transparent: bool,
}

/// Binds `count` sockets to one address. Port 0 becomes one port for all of them; the answer names it.
///
/// # Errors
/// What the kernel says; nothing stays bound then.
pub fn bind(address: &Address, terms: Terms, count: usize) -> io::Result<(Address, Vec<Bound>)> {
    let mode = terms.mode;
    match address {
        Address::Tcp(wanted) => {
            let mut sockets = vec![tcp(*wanted, terms)?];
            let actual = sockets[0].local_addr()?;
            for _ in 1..count {
                sockets.push(tcp(actual, terms)?);
            }
            Ok((Address::Tcp(actual), sockets.into_iter().map(Bound::Tcp).collect()))
        }
        Address::Unix(path) => {
            let first = unix(path, mode)?;
            let mut sockets = Vec::with_capacity(count);
            for _ in 1..count {
                sockets.push(Bound::Unix(first.try_clone()?));
            }
            sockets.push(Bound::Unix(first));
            Ok((address.clone(), sockets))
        }
    }
}

/// Whether nobody listens at an address yet. Our own sockets share an address with one another, and would share it with
/// those of another process as well, which is never what its operator meant.
///
/// # Errors
/// Somebody does, or the address is not ours to bind.
pub fn probe(address: &Address, terms: Terms) -> io::Result<()> {
    let Address::Tcp(address) = address else { return Ok(()) };
    let socket = Socket::new(Domain::for_address(*address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    prepare(&socket, *address, terms)?;
    socket.bind(&(*address).into())
}

/// Whether packets for an address end at this host: an interface has it, or a route of type `local` says so.
///
/// # Errors
/// It cannot be found out.
pub fn is_delivered(ip: IpAddr) -> io::Result<bool> {
    match ip {
        // The source of what a host sends to itself is the address itself, unless a route of type `local` says another.
        IpAddr::V4(_) => {
            let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
            match socket.connect((ip, 9)).and_then(|()| socket.local_addr()) {
                Ok(source) => Ok(source.ip() == ip),
                Err(error) if matches!(error.kind(), ErrorKind::NetworkUnreachable | ErrorKind::HostUnreachable) => {
                    Ok(false)
                }
                Err(error) => Err(error),
            }
        }
        IpAddr::V6(ip) => match fs::read_to_string("/proc/net/ipv6_route") {
            Ok(routes) => Ok(is_local_by(&routes, ip)),
            // A host without IPv6.
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        },
    }
}

/// Whether a route of type `local` leads to an address, by the kernel's own list of them.
fn is_local_by(routes: &str, ip: Ipv6Addr) -> bool {
    routes.lines().any(|route| {
        let mut words = route.split_ascii_whitespace();
        let to = words.next().and_then(|word| u128::from_str_radix(word, 16).ok());
        let bits = words.next().and_then(|word| u32::from_str_radix(word, 16).ok());
        let flags = words.nth(6).and_then(|word| u32::from_str_radix(word, 16).ok());
        let (Some(to), Some(bits @ 0..=128), Some(flags)) = (to, bits, flags) else { return false };
        let mask = u128::MAX.checked_shl(128 - bits).unwrap_or(0);
        flags & RTF_LOCAL != 0 && to & mask == ip.to_bits() & mask
    })
}

/// A route to ourselves, as `linux/ipv6_route.h` has it.
const RTF_LOCAL: u32 = 0x8000_0000;

/// Lets a socket have an address that no interface has, if the terms say so. `:PORT` means both families; an address that was
/// written out means itself.
pub(crate) fn prepare(socket: &Socket, address: SocketAddr, terms: Terms) -> io::Result<()> {
    match address {
        SocketAddr::V4(_) if terms.free => socket.set_freebind_v4(true)?,
        SocketAddr::V6(_) if terms.free => socket.set_freebind_v6(true)?,
        _ => {}
    }
    if terms.transparent {
        // One flag serves both families.
        socket.set_ip_transparent_v4(true)?;
    }
    match address {
        SocketAddr::V4(_) => Ok(()),
        SocketAddr::V6(v6) => socket.set_only_v6(!v6.ip().is_unspecified()),
    }
}

fn tcp(address: SocketAddr, terms: Terms) -> io::Result<std::net::TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    prepare(&socket, address, terms)?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(true)?;
    socket.set_nonblocking(true)?;
    // Accepted sockets inherit it: one system call fewer for each connection.
    socket.set_tcp_nodelay(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

fn unix(path: &Path, mode: Option<u32>) -> io::Result<StdUnixListener> {
    if std::os::unix::net::UnixStream::connect(path).is_ok() {
        return Err(io::Error::new(io::ErrorKind::AddrInUse, "another process listens there"));
    }
    // What is left there is a socket that nobody serves; anything else is not ours to remove.
    if fs::symlink_metadata(path).is_ok_and(|there| {
        use std::os::unix::fs::FileTypeExt as _;
        there.file_type().is_socket()
    }) {
        fs::remove_file(path)?;
    }
    let listener = StdUnixListener::bind(path)?;
    if let Some(mode) = mode {
        fs::set_permissions(path, fs::Permissions::from_mode(mode))?;
    }
    listener.set_nonblocking(true)?;
    Ok(listener)
}

impl Bound {
    /// Registers the socket with the runtime of the thread that calls.
    ///
    /// # Errors
    /// The runtime could not register it.
    pub fn attach(self) -> io::Result<Listening> {
        Ok(match self {
            Bound::Tcp(listener) => Listening::Tcp(TcpListener::from_std(listener)?),
            Bound::Unix(listener) => Listening::Unix(UnixListener::from_std(listener)?),
        })
    }

    /// Another handle of the same socket.
    ///
    /// # Errors
    /// We are out of descriptors.
    pub fn try_clone(&self) -> io::Result<Bound> {
        Ok(match self {
            Bound::Tcp(listener) => Bound::Tcp(listener.try_clone()?),
            Bound::Unix(listener) => Bound::Unix(listener.try_clone()?),
        })
    }
}

impl Listening {
    /// Accepts one connection; the peer's address is absent for Unix sockets.
    ///
    /// # Errors
    /// What the kernel says, `EMFILE` among it.
    pub fn poll_accept(&self, cx: &mut Context<'_>) -> Poll<io::Result<(Stream, Option<SocketAddr>)>> {
        match self {
            Listening::Tcp(listener) => {
                listener.poll_accept(cx).map_ok(|(stream, peer)| (Stream::Tcp(stream), Some(peer)))
            }
            Listening::Unix(listener) => listener.poll_accept(cx).map_ok(|(stream, _)| (Stream::Unix(stream), None)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_ends_here_is_known() {
        assert!(is_delivered([127, 0, 0, 1].into()).expect("an answer"));
        assert!(!is_delivered([192, 0, 2, 7].into()).expect("an answer"));
        let routes = "\
            00000000000000000000000000000001 80 00000000000000000000000000000000 00 00000000000000000000000000000000 00000000 00000003 00000000 80200001       lo\n\
            20010db8000000000000000000000000 40 00000000000000000000000000000000 00 00000000000000000000000000000000 00000400 00000001 00000000 80200001       lo\n\
            20010db8000100000000000000000000 40 00000000000000000000000000000000 00 00000000000000000000000000000000 00000100 00000001 00000000 00000001     eth0\n\
            00000000000000000000000000000000 00 00000000000000000000000000000000 00 00000000000000000000000000000000 ffffffff 00000001 00000000 00200200       lo\n";
        for (ip, is_local) in [("::1", true), ("2001:db8::7", true), ("2001:db8:1::7", false), ("2001:db9::1", false)] {
            assert_eq!(is_local_by(routes, ip.parse().expect("an address")), is_local, "{ip}");
        }
    }

    #[test]
    fn an_address_that_nobody_has_is_bound_freely() {
        let address = Address::Tcp(([192, 0, 2, 7], 0).into());
        assert!(bind(&address, Terms::default(), 1).is_err());
        let (actual, bound) = bind(&address, Terms { free: true, ..Terms::default() }, 2).expect("two sockets");
        assert!(bound.len() == 2 && actual != address);
    }
}
