//! What goes back to clients: answers of many servers to many clients, in as few system calls as the kernel lets us.

use std::io::{self, IoSlice};
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, AsRawFd as _};

use nix::cmsg_space;
use nix::errno::Errno;
use nix::libc::{in_addr, in_pktinfo, in6_addr, in6_pktinfo};
use nix::sys::socket::{ControlMessage, MsgFlags, MultiHeaders, SockaddrStorage, sendmmsg};
use quinn_udp::{Transmit, UdpSocketState};

use super::{Arrival, Batch, Socket};

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
                Some(IpAddr::V4(ip)) => sent(
                    &mut self.pinned,
                    &[ControlMessage::Ipv4PacketInfo(&in_pktinfo {
                        ipi_ifindex: 0,
                        ipi_spec_dst: in_addr { s_addr: u32::from_ne_bytes(ip.octets()) },
                        ipi_addr: in_addr { s_addr: 0 },
                    })],
                ),
                Some(IpAddr::V6(ip)) => sent(
                    &mut self.pinned,
                    &[ControlMessage::Ipv6PacketInfo(&in6_pktinfo {
                        ipi6_addr: in6_addr { s6_addr: ip.octets() },
                        ipi6_ifindex: 0,
                    })],
                ),
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

/// Sends such an arrival; answers how many of its datagrams are lost, and why the last one is.
pub(super) fn send_special(
    state: &UdpSocketState,
    socket: &impl AsFd,
    to: SocketAddr,
    from: Option<IpAddr>,
    arrival: &Arrival<'_>,
) -> (usize, Option<io::Error>) {
    let send = |contents, segment_size| {
        let transmit = Transmit { destination: to, ecn: arrival.ecn, contents, segment_size, src_ip: from };
        state.try_send(socket.into(), &transmit)
    };
    // What the kernel does not want joined goes alone.
    if is_joined(state, arrival) && send(arrival.bytes, Some(arrival.each)).is_ok() {
        return (0, None);
    }
    let failed = arrival.datagrams().filter_map(|datagram| send(datagram, None).err());
    failed.fold((0, None), |(lost, _), error| (lost + 1, Some(error)))
}
