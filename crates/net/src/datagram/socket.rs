//! A worker's socket of an address, where anybody may send something.

use std::io;
use std::net::SocketAddr;
use std::ops::Range;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use nix::sys::socket::{setsockopt, sockopt};
use quinn_udp::{Transmit, UdpSocketState};
use rustix::net::{SendFlags, sendto};
use tokio::io::Interest;
use tokio::net::UdpSocket;

use super::{Batch, Bound, fragment};

/// A socket of the runtime.
#[derive(Debug)]
pub struct Socket {
    pub(crate) socket: Rc<UdpSocket>,
    pub(crate) state: Rc<UdpSocketState>,
}

impl Bound {
    /// Registers the socket with the runtime of the thread that calls. What is sent on it may be cut on the way.
    ///
    /// # Errors
    /// The runtime does not take it, or the kernel does not know what is asked of it.
    pub fn attach(self) -> io::Result<Socket> {
        let socket = Socket::of(self.0)?;
        let is_ipv4 = socket.socket.local_addr()?.is_ipv4();
        fragment(&*socket.socket, is_ipv4)?;
        if !socket.is_wide()? {
            // To which address something was sent need not be told where there is one alone.
            match is_ipv4 {
                true => setsockopt(&*socket.socket, sockopt::Ipv4PacketInfo, &false)?,
                false => setsockopt(&*socket.socket, sockopt::Ipv6RecvPacketInfo, &false)?,
            }
        }
        Ok(socket)
    }
}

impl Socket {
    /// Registers a socket with the runtime of the thread that calls. What is sent on it is never cut.
    pub(crate) fn of(socket: std::net::UdpSocket) -> io::Result<Socket> {
        let socket = UdpSocket::from_std(socket)?;
        let state = UdpSocketState::new((&socket).into())?;
        Ok(Socket { socket: Rc::new(socket), state: Rc::new(state) })
    }

    /// Whether it receives at more than one address of ours.
    ///
    /// # Errors
    /// The kernel does not say.
    pub fn is_wide(&self) -> io::Result<bool> {
        Ok(self.socket.local_addr()?.ip().is_unspecified())
    }

    /// Its address and port.
    ///
    /// # Errors
    /// The kernel does not say.
    pub fn local(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// Sends one datagram.
    ///
    /// # Errors
    /// It is lost: the kernel has no room for it, or knows no way there.
    pub fn send(&self, to: SocketAddr, datagram: &[u8]) -> io::Result<()> {
        // Whether there is room the kernel knows at once: it is not waited for.
        sendto(&*self.socket, datagram, SendFlags::empty(), &to)?;
        Ok(())
    }

    /// Receives what is there, one system call's worth; answers which places of the batch that has filled. It is called again until it
    /// is pending.
    ///
    /// # Errors
    /// What the kernel has to say of the socket, or was told of a datagram that we have sent.
    pub fn poll_receive(&self, cx: &mut Context<'_>, batch: &mut Batch) -> Poll<io::Result<Range<usize>>> {
        let most = batch.at_once();
        self.poll_read(cx, |socket| {
            let places = batch.receive(socket.into(), &self.state, most)?;
            let is_all = places.len() < most;
            Ok((places, is_all))
        })
    }

    /// Waits until something can be read, and reads; the reader says whether that was all.
    pub(crate) fn poll_read<T>(
        &self,
        cx: &mut Context<'_>,
        mut read: impl FnMut(&UdpSocket) -> io::Result<(T, bool)>,
    ) -> Poll<io::Result<T>> {
        loop {
            ready!(self.socket.poll_recv_ready(cx))?;
            match self.socket.try_io(Interest::READABLE, || read(&self.socket)) {
                Ok((done, is_all)) => {
                    if is_all {
                        // The kernel has looked for more and found none: it need not be asked once more to know that.
                        let _: io::Result<()> =
                            self.socket.try_io(Interest::READABLE, || Err(io::ErrorKind::WouldBlock.into()));
                    }
                    return Poll::Ready(Ok(done));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }

    /// Sends; pending if the socket takes nothing now. What cannot be sent at all is lost, as datagrams may be.
    ///
    /// # Errors
    /// Why it is lost; or what the kernel was told of a datagram before it.
    pub(crate) fn poll_send(&self, cx: &mut Context<'_>, transmit: &Transmit<'_>) -> Poll<io::Result<()>> {
        loop {
            let sent = self.socket.try_io(Interest::WRITABLE, || self.state.try_send((&*self.socket).into(), transmit));
            match sent {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => ready!(self.socket.poll_send_ready(cx))?,
                sent => return Poll::Ready(sent),
            }
        }
    }
}
