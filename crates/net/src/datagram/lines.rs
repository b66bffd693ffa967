//! Sockets that are connected to servers, one a flow, watched all together: the kernel says which of them have something to tell, and
//! none of them has a task, a waker or an allocation of its own.

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::ops::Range;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use nix::sys::socket::{setsockopt, sockopt};
use quinn_udp::UdpSocketState;
use rustix::event::{Timespec, epoll};
use rustix::io::Errno;
use rustix::net::{SendFlags, send};
use socket2::Socket as Raw;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::outgoing::{is_special, send_special};
use super::{Arrival, Batch, Socket, connected, fragment};

/// The sockets of one owner.
pub struct Lines {
    watched: AsyncFd<OwnedFd>,
    events: Vec<epoll::Event>,
    state: Rc<UdpSocketState>,
}

/// A socket that is connected to a server. It is watched until it is dropped.
#[derive(Debug)]
pub struct Line {
    socket: UdpSocket,
    to: SocketAddr,
}

/// What its owner knows a line by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LineId(pub u64);

/// Lines that one system call tells of at most.
const AT_ONCE: usize = 64;

impl Lines {
    /// None yet, beside a socket towards clients.
    ///
    /// # Errors
    /// The kernel, or the runtime of the thread that calls, takes no more.
    pub fn new(beside: &Socket) -> io::Result<Lines> {
        let set = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        #[expect(
            deprecated,
            reason = "its successor is for descriptors that may be closed by others, and unsafe; this one is ours"
        )]
        let watched = AsyncFd::with_interest(set, Interest::READABLE)?;
        let nothing = epoll::Event { flags: epoll::EventFlags::empty(), data: epoll::EventData::new_u64(0) };
        Ok(Lines { watched, events: vec![nothing; AT_ONCE], state: Rc::clone(&beside.state) })
    }

    /// Opens a line to a server. What is sent on it may be cut on the way.
    ///
    /// # Errors
    /// There are no more descriptors or ports, or there is no way to the server.
    pub fn open(&self, to: SocketAddr, id: LineId) -> io::Result<Line> {
        let socket = connected(to, |socket: &Raw| fragment(socket, to.is_ipv4()))?;
        // It is told as long as there is something to hear: so one read after the other is enough, and none has to find nothing.
        let data = epoll::EventData::new_u64(id.0);
        epoll::add(self.watched.get_ref(), &socket, data, epoll::EventFlags::IN)?;
        Ok(Line { socket, to })
    }

    /// Finds lines on which something has come, or that have heard of an error. It is called again until it is pending: a line is told
    /// until it was read to its end.
    ///
    /// # Errors
    /// The runtime is no more.
    pub fn poll_told(&mut self, cx: &mut Context<'_>, told: &mut Vec<LineId>) -> Poll<io::Result<()>> {
        const NO_WAIT: Timespec = Timespec { tv_sec: 0, tv_nsec: 0 };
        loop {
            let mut guard = ready!(self.watched.poll_read_ready(cx))?;
            let count = match epoll::wait(self.watched.get_ref(), &mut self.events[..], Some(&NO_WAIT)) {
                Ok(count) => count,
                Err(Errno::INTR) => continue,
                Err(error) => return Poll::Ready(Err(error.into())),
            };
            if count > 0 {
                told.extend(self.events[..count].iter().map(|event| LineId(event.data.u64())));
                return Poll::Ready(Ok(()));
            }
            // The set itself is told once.
            guard.clear_ready();
        }
    }
}

impl Line {
    /// Has the kernel join what comes, and tell what the way says of its load: worth it where much comes.
    ///
    /// # Errors
    /// The kernel knows no such thing.
    pub fn join(&self) -> io::Result<()> {
        setsockopt(&self.socket, sockopt::UdpGroSegment, &true)?;
        match self.to {
            SocketAddr::V4(_) => setsockopt(&self.socket, sockopt::IpRecvTos, &true)?,
            SocketAddr::V6(_) => setsockopt(&self.socket, sockopt::Ipv6RecvTClass, &true)?,
        }
        Ok(())
    }

    /// Reads one datagram, by the cheapest of system calls. Not for a line that [joins](Line::join).
    ///
    /// # Errors
    /// Nothing is there; or what the kernel was told of something that was sent.
    pub fn receive_one(&self, batch: &mut Batch) -> io::Result<Range<usize>> {
        batch.receive_one(&self.socket, self.to)
    }

    /// Reads at most so many times in one system call.
    ///
    /// # Errors
    /// Nothing is there; or what the kernel was told of something that was sent.
    pub fn receive(&self, lines: &Lines, batch: &mut Batch, most: usize) -> io::Result<Range<usize>> {
        batch.receive((&self.socket).into(), &lines.state, most)
    }

    /// Sends.
    ///
    /// # Errors
    /// Some of it is lost, or all. If the reason is a [verdict](is_verdict), it is about something that was sent before.
    pub fn send(&self, lines: &Lines, arrival: &Arrival<'_>) -> io::Result<()> {
        if is_special(&lines.state, arrival) {
            return send_special(&lines.state, &self.socket, self.to, None, arrival).1.map_or(Ok(()), Err);
        }
        // Past the C library, whose calls can be cancelled, at a price.
        let sent = |datagram| send(&self.socket, datagram, SendFlags::empty()).map(|_| ());
        Ok(arrival.datagrams().try_for_each(sent)?)
    }
}

/// Whether an error says that the server cannot be reached at its port, rather than that a datagram could not be sent: so it was told to
/// the kernel (ICMP), or the kernel knows it.
pub fn is_verdict(error: &io::Error) -> bool {
    let known = [
        Errno::CONNREFUSED,
        Errno::HOSTUNREACH,
        Errno::NETUNREACH,
        Errno::HOSTDOWN,
        Errno::NOPROTOOPT,
        Errno::NONET,
        // A firewall, a prohibited route and an unknown header, in the words of IPv6 (RFC 4443 sections 3.1 and 3.4).
        Errno::ACCESS,
        Errno::PROTO,
    ];
    error.raw_os_error().is_some_and(|code| known.iter().any(|errno| errno.raw_os_error() == code))
}

impl std::fmt::Debug for Lines {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Lines").finish_non_exhaustive()
    }
}
