//! UDP: sockets of one address, one a worker, and sockets that speak with one server alone; many datagrams a system call.
//!
//! - [`Batch`]: room for what a few system calls bring
//! - [`Socket`]: a worker's socket of an address, where anybody may send something
//! - [`alone`]: the same for one owner, who writes to whomever it likes
//! - [`Outgoing`]: what goes back to clients, many of them at once
//! - [`Lines`]: sockets that are connected to servers, watched all together: none has a task or a waker of its own
//! - [`Peer`]: one that is connected to a server by itself
//!
//! The kernel joins datagrams of one sender that have one size, and takes them joined (GRO and GSO): so they come and go here, too.

mod batch;
mod lines;
mod outgoing;
mod peer;
mod socket;

use std::io;
use std::net::{IpAddr, SocketAddr};

use rustix::net::sockopt::{Ipv4PathMtuDiscovery, Ipv6PathMtuDiscovery, set_ip_mtu_discover, set_ipv6_mtu_discover};
use socket2::{Domain, Protocol, Socket as Raw, Type};

use crate::listen::{Terms, prepare};

pub(crate) use batch::receive;
pub use batch::{Arrival, Batch};
pub use lines::{Line, LineId, Lines, is_verdict};
pub use outgoing::Outgoing;
pub use peer::Peer;
pub use socket::Socket;

/// One worker's socket of an address, which belongs to no runtime yet.
#[derive(Debug)]
pub struct Bound(pub(crate) std::net::UdpSocket);

/// What we ask the kernel to hold for us: a burst of all clients between two turns of a worker.
const BUFFERED: usize = 4 * 1024 * 1024;

/// Binds a socket for each of `count` workers to one address. Port 0 becomes one port for all of them; the answer names it. The kernel
/// chooses the socket by the addresses of both ends: as long as these sockets are there and no others, a client has one worker.
///
/// # Errors
/// What the kernel says; nothing stays bound then.
pub fn bind(address: SocketAddr, terms: Terms, count: usize) -> io::Result<(SocketAddr, Vec<Bound>)> {
    let mut bound = vec![Bound(shared(address, terms)?)];
    let actual = bound[0].0.local_addr()?;
    for _ in 1..count {
        bound.push(Bound(shared(actual, terms)?));
    }
    Ok((actual, bound))
}

/// A socket at an address of ours, of the thread that calls, on a port that no other socket shares. What is sent on it may be cut on the
/// way.
///
/// # Errors
/// There are no more descriptors or ports, or the address is not ours.
pub fn alone(ip: IpAddr) -> io::Result<Socket> {
    let address = SocketAddr::new(ip, 0);
    let socket = raw(address)?;
    if ip.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.bind(&address.into())?;
    Bound(socket.into()).attach()
}

/// Whether nobody receives at an address yet; see [`listen::probe`](crate::listen::probe).
///
/// # Errors
/// Somebody does, or the address is not ours to bind.
pub fn probe(address: SocketAddr, terms: Terms) -> io::Result<()> {
    let socket = raw(address)?;
    prepare(&socket, address, terms)?;
    socket.bind(&address.into())
}

/// A socket that shares its address with others.
pub(crate) fn shared(address: SocketAddr, terms: Terms) -> io::Result<std::net::UdpSocket> {
    let socket = raw(address)?;
    prepare(&socket, address, terms)?;
    socket.set_reuse_port(true)?;
    buffer(&socket);
    socket.bind(&address.into())?;
    Ok(socket.into())
}

/// A socket that speaks with one peer alone: the kernel gives it nothing of anybody else's, and tells it what it learns of the way
/// there.
pub(crate) fn connected(
    to: SocketAddr,
    prepare: impl FnOnce(&Raw) -> io::Result<()>,
) -> io::Result<std::net::UdpSocket> {
    let socket = raw(to)?;
    prepare(&socket)?;
    socket.connect(&to.into()).map_err(|error| match error.kind() {
        // So says the kernel when there is no port left.
        io::ErrorKind::WouldBlock => rustix::io::Errno::ADDRNOTAVAIL.into(),
        _ => error,
    })?;
    Ok(socket.into())
}

/// The kernel gives as much of it as its own limits (`net.core.rmem_max`) let it.
pub(crate) fn buffer(socket: &Raw) {
    let _ = socket.set_recv_buffer_size(BUFFERED);
    let _ = socket.set_send_buffer_size(BUFFERED);
}

/// Lets the kernel cut what is larger than the way takes, here and farther on: who has sent it has not asked us to find out how
/// large that is.
fn fragment(socket: &impl std::os::fd::AsFd, is_ipv4: bool) -> io::Result<()> {
    // Also of IPv6 sockets: through them goes what is for IPv4, too.
    set_ip_mtu_discover(socket, Ipv4PathMtuDiscovery::DONT)?;
    if !is_ipv4 {
        set_ipv6_mtu_discover(socket, Ipv6PathMtuDiscovery::DONT)?;
        nix::sys::socket::setsockopt(socket, nix::sys::socket::sockopt::Ipv6DontFrag, &false)?;
    }
    Ok(())
}

fn raw(address: SocketAddr) -> io::Result<Raw> {
    Raw::new(Domain::for_address(address), Type::DGRAM.nonblocking(), Some(Protocol::UDP))
}

#[cfg(test)]
mod tests;
