//! What goes back to clients: answers of many servers to many clients, in as few system calls as the kernel lets us.

use std::io::{self, IoSlice};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd};

use nix::cmsg_space;
use nix::errno::Errno;
use nix::libc::{in_addr, in_pktinfo, in6_addr, in6_pktinfo};
use nix::sys::socket::{ControlMessage, MsgFlags, MultiHeaders, SockaddrStorage, sendmmsg, sendmsg};
use quinn_udp::{EcnCodepoint, UdpSocketState};

use super::{Arrival, Batch, Socket, is_verdict};

/// Datagrams of a batch that have found their addresses.
pub struct Outgoing {
    letters: Vec<Letter>,
    /// What the kernel is told of each, without the address that it is sent from, and with it.
    plain: MultiHeaders<SockaddrStorage>,
    pinned: MultiHeaders<SockaddrStorage>,
}

/// A place of the batch with its addresses.
#[derive(Clone, Copy, Debug)]
struct Letter {
    place: usize,
    to: SocketAddr,
    from: Option<IpAddr>,
}

/// Datagrams of one system call, all from one address of ours.
struct Run<'a> {
    from: Option<IpAddr>,
    count: usize,
    contents: [[IoSlice<'a>; 1]; AT_ONCE],
    to: [Option<SockaddrStorage>; AT_ONCE],
}

/// Datagrams that one system call sends at most.
const AT_ONCE: usize = 32;
/// Datagrams longer than this are not sent joined: the kernel refuses that where the way takes only shorter ones.
const LONGEST_JOINED: usize = 1472;

impl Outgoing {
    /// Nothing to send.
    #[expect(clippy::new_without_default, reason = "it asks for memory")]
    pub fn new() -> Outgoing {
        Outgoing {
            letters: Vec::new(),
            plain: MultiHeaders::preallocate(AT_ONCE, None),
            pinned: MultiHeaders::preallocate(AT_ONCE, Some(cmsg_space!(in6_pktinfo))),
        }
    }

    /// What came to this place of the batch goes to that client, from that address of ours; the kernel chooses one if none is said.
    pub fn push(&mut self, place: usize, to: SocketAddr, from: Option<IpAddr>) {
        self.letters.push(Letter { place, to, from });
    }

    /// Sends everything; answers how many datagrams the kernel did not take: they are lost, as datagrams may be.
    pub fn flush(&mut self, socket: &Socket, batch: &Batch) -> usize {
        let mut lost = 0;
        let letters = std::mem::take(&mut self.letters);
        let mut run = Run::new();
        for letter in &letters {
            let arrival = batch.arrival(letter.place);
            if is_special(&socket.state, &arrival) {
                // What has come first goes first.
                lost += self.send(socket, &mut run);
                lost += send_special(&socket.state, &*socket.socket, letter.to, letter.from, &arrival).0;
                continue;
            }
            for datagram in arrival.datagrams() {
                if run.count == AT_ONCE || run.from != letter.from {
                    lost += self.send(socket, &mut run);
                    run.from = letter.from;
                }
                run.contents[run.count] = [IoSlice::new(datagram)];
                run.to[run.count] = Some(letter.to.into());
                run.count += 1;
            }
        }
        lost += self.send(socket, &mut run);
        self.letters = letters;
        self.letters.clear();
        lost
    }

    /// Sends a run; answers how many of it are lost.
    fn send(&mut self, socket: &Socket, run: &mut Run<'_>) -> usize {
        let (fd, count) = (socket.socket.as_raw_fd(), std::mem::take(&mut run.count));
        let (mut at, mut lost) = (0, 0);
        while at < count {
            let (contents, to) = (&run.contents[at..count], &run.to[at..count]);
            let sent = |headers, from: &[ControlMessage<'_>]| {
                sendmmsg(fd, headers, contents, to, from, MsgFlags::MSG_DONTWAIT).map(Iterator::count)
            };
            let sent = match run.from {
                None => sent(&mut self.plain, &[]),
                Some(IpAddr::V4(ip)) => sent(&mut self.pinned, &[ControlMessage::Ipv4PacketInfo(&from_v4(ip))]),
                Some(IpAddr::V6(ip)) => sent(&mut self.pinned, &[ControlMessage::Ipv6PacketInfo(&from_v6(ip))]),
            };
            match sent {
                Ok(sent) => at += sent,
                Err(Errno::EINTR) => {}
                // There is no room for those behind it, either.
                Err(Errno::EAGAIN) => return lost + count - at,
                Err(_) => (at, lost) = (at + 1, lost + 1),
            }
        }
        lost
    }
}

impl Run<'_> {
    fn new() -> Self {
        Run { from: None, count: 0, contents: [[IoSlice::new(&[])]; AT_ONCE], to: [None; AT_ONCE] }
    }
}

/// Whether an arrival goes out by a system call of its own: joined as it came, or with what the way has said of its load.
pub(super) fn is_special(state: &UdpSocketState, arrival: &Arrival<'_>) -> bool {
    arrival.ecn.is_some() || is_joined(state, arrival)
}

fn is_joined(state: &UdpSocketState, arrival: &Arrival<'_>) -> bool {
    let count = arrival.count();
    count > 1 && arrival.each <= LONGEST_JOINED && count <= state.max_gso_segments()
}

/// Sends such an arrival; answers how many of its datagrams are lost, and why the last one is. What one destination does not take is
/// nothing that others should suffer from: nothing is remembered of it.
pub(super) fn send_special(
    state: &UdpSocketState,
    socket: &impl AsFd,
    to: SocketAddr,
    from: Option<IpAddr>,
    arrival: &Arrival<'_>,
) -> (usize, Option<io::Error>) {
    let letter = Special {
        socket: socket.as_fd(),
        to: to.into(),
        is_ipv4: to.ip().to_canonical().is_ipv4(),
        from,
        ecn: arrival.ecn,
    };
    let count = arrival.count();
    // What the kernel does not want joined goes alone.
    if is_joined(state, arrival) {
        match letter.send(arrival.bytes, u16::try_from(arrival.each).ok()) {
            Ok(()) => return (0, None),
            Err(Errno::EINVAL | Errno::EIO | Errno::EMSGSIZE | Errno::EOPNOTSUPP | Errno::ENOPROTOOPT) => {}
            Err(error) => return (count, Some(error.into())),
        }
    }
    let mut lost = (0, None);
    for (number, datagram) in arrival.datagrams().enumerate() {
        let Err(error) = letter.send(datagram, None).map_err(io::Error::from) else { continue };
        // It is told once: those behind it would go to nobody.
        if is_verdict(&error) {
            return (lost.0 + count - number, Some(error));
        }
        lost = (lost.0 + 1, Some(error));
    }
    lost
}

/// Where an arrival goes by a system call of its own, and what is said beside it.
struct Special<'a> {
    socket: BorrowedFd<'a>,
    to: SockaddrStorage,
    is_ipv4: bool,
    from: Option<IpAddr>,
    ecn: Option<EcnCodepoint>,
}

impl Special<'_> {
    /// Sends bytes as one datagram, or as many of this size.
    fn send(&self, bytes: &[u8], each: Option<u16>) -> Result<(), Errno> {
        let (tos, class) = (self.ecn.map(|ecn| ecn as u8), self.ecn.map(|ecn| ecn as i32));
        let (v4, v6) = match self.from {
            Some(IpAddr::V4(ip)) => (Some(from_v4(ip)), None),
            Some(IpAddr::V6(ip)) => (None, Some(from_v6(ip))),
            None => (None, None),
        };
        let said = [
            tos.as_ref().filter(|_| self.is_ipv4).map(ControlMessage::Ipv4Tos),
            class.as_ref().filter(|_| !self.is_ipv4).map(ControlMessage::Ipv6TClass),
            v4.as_ref().map(ControlMessage::Ipv4PacketInfo),
            v6.as_ref().map(ControlMessage::Ipv6PacketInfo),
            each.as_ref().map(ControlMessage::UdpGsoSegments),
        ];
        let said: Vec<_> = said.into_iter().flatten().collect();
        let (fd, contents) = (self.socket.as_raw_fd(), [IoSlice::new(bytes)]);
        loop {
            match sendmsg(fd, &contents, &said, MsgFlags::MSG_DONTWAIT, Some(&self.to)) {
                Ok(_) => return Ok(()),
                Err(Errno::EINTR) => {}
                Err(error) => return Err(error),
            }
        }
    }
}

fn from_v4(ip: Ipv4Addr) -> in_pktinfo {
    let (ipi_spec_dst, ipi_addr) = (in_addr { s_addr: u32::from_ne_bytes(ip.octets()) }, in_addr { s_addr: 0 });
    in_pktinfo { ipi_ifindex: 0, ipi_spec_dst, ipi_addr }
}

fn from_v6(ip: Ipv6Addr) -> in6_pktinfo {
    in6_pktinfo { ipi6_addr: in6_addr { s6_addr: ip.octets() }, ipi6_ifindex: 0 }
}
