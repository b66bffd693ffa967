//! A socket that is connected to one server, for a flow whose datagrams come by other means.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::task::{Context, Poll};

use rustix::net::sockopt::{Ipv4PathMtuDiscovery, Ipv6PathMtuDiscovery, set_ip_mtu_discover, set_ipv6_mtu_discover};
use rustix::net::{SendFlags, send};
use tokio::io::ReadBuf;
use tokio::net::UdpSocket;

use super::connected;

/// The socket.
#[derive(Debug)]
pub struct Peer(UdpSocket);

impl Peer {
    /// Opens it, from an address of ours if one is said. What is too large for the way to the server is not sent: its client finds out how large that is (RFC 9298 section 7.1).
    ///
    /// # Errors
    /// There are no more descriptors or ports, or there is no way to the server.
    pub fn connect(to: SocketAddr, source: Option<IpAddr>) -> io::Result<Peer> {
        let socket = connected(to, |socket| {
            match to {
                SocketAddr::V4(_) => set_ip_mtu_discover(socket, Ipv4PathMtuDiscovery::DO)?,
                SocketAddr::V6(_) => set_ipv6_mtu_discover(socket, Ipv6PathMtuDiscovery::DO)?,
            }
            source.map_or(Ok(()), |source| socket.bind(&SocketAddr::new(source, 0).into()))
        })?;
        UdpSocket::from_std(socket).map(Peer)
    }

    /// Sends; what the socket does not take now is lost, as datagrams may be.
    ///
    /// # Errors
    /// It is lost; or what the kernel was told of one before it.
    pub fn send(&self, datagram: &[u8]) -> io::Result<()> {
        // Not by way of the runtime, which has to be told first that there is room, and would lose a flow's first one.
        Ok(send(&self.0, datagram, SendFlags::DONTWAIT).map(drop)?)
    }

    /// Receives.
    ///
    /// # Errors
    /// What the kernel was told of a datagram that we have sent.
    pub fn poll_receive(&self, cx: &mut Context<'_>, into: &mut [u8]) -> Poll<io::Result<usize>> {
        let mut room = ReadBuf::new(into);
        self.0.poll_recv(cx, &mut room).map_ok(|()| room.filled().len())
    }
}
