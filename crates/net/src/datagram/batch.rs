//! Room for what a few system calls bring: one place for each read, each large enough for whatever may come.

use std::io::{self, IoSliceMut};
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::ops::Range;

use quinn_udp::{EcnCodepoint, RecvMeta, UdpSockRef, UdpSocketState};
use rustix::net::{RecvFlags, recv};

/// Datagrams as they came, each read of the kernel's in a place of its own.
#[derive(Debug, Default)]
pub struct Batch {
    room: Vec<u8>,
    metas: Vec<RecvMeta>,
    filled: usize,
}

/// What one read has brought: datagrams of one sender, all as long as the first, but for the last.
#[derive(Clone, Copy, Debug)]
pub struct Arrival<'a> {
    /// Who has sent them.
    pub from: SocketAddr,
    /// The address of ours that they were sent to, where the kernel says it.
    pub to: Option<IpAddr>,
    /// What the way has to say of its load (RFC 3168).
    pub ecn: Option<EcnCodepoint>,
    /// All of them, one behind the other.
    pub bytes: &'a [u8],
    /// How long each is.
    pub each: usize,
}

/// The longest datagram, and as much as the kernel joins.
const LONGEST: usize = 64 * 1024;
/// Places lie so far apart that what is read into several of them is not in the same lines of the processor's cache.
const APART: usize = LONGEST + 1024;
/// Reads that one system call does at most.
const AT_ONCE: usize = quinn_udp::BATCH_SIZE;

impl Batch {
    /// Room for so many reads. Memory is taken from the system only where something is read into it.
    pub fn new(places: usize) -> Batch {
        Batch { room: vec![0; places * APART], metas: vec![RecvMeta::default(); places], filled: 0 }
    }

    /// Forgets what is in it.
    pub fn clear(&mut self) {
        self.filled = 0;
    }

    /// How many more reads it has room for.
    pub fn free(&self) -> usize {
        self.metas.len() - self.filled
    }

    /// How many reads one system call does for it.
    pub(super) fn at_once(&self) -> usize {
        self.free().min(AT_ONCE)
    }

    /// What a read has brought.
    ///
    /// # Panics
    /// There are not so many.
    pub fn arrival(&self, number: usize) -> Arrival<'_> {
        assert!(number < self.filled, "{number} of {}", self.filled);
        let (meta, from) = (&self.metas[number], number * APART);
        Arrival {
            from: meta.addr,
            to: meta.dst_ip,
            ecn: meta.ecn,
            bytes: &self.room[from..from + meta.len],
            each: meta.stride.max(1),
        }
    }

    /// Everything that is in it.
    pub fn arrivals(&self) -> impl Iterator<Item = Arrival<'_>> {
        (0..self.filled).map(|number| self.arrival(number))
    }

    /// Reads one datagram of the peer that a socket is connected to, behind what is there.
    pub(super) fn receive_one(&mut self, socket: &UdpSocket, from: SocketAddr) -> io::Result<Range<usize>> {
        let at = self.filled;
        // Past the C library, whose calls can be cancelled, at a price.
        let (length, _) = recv(socket, &mut self.room[at * APART..][..LONGEST], RecvFlags::empty())?;
        self.metas[at] = RecvMeta { addr: from, len: length, stride: length, ..RecvMeta::default() };
        self.filled += 1;
        Ok(at..self.filled)
    }

    /// Reads at most so many times in one system call, behind what is there.
    pub(super) fn receive(
        &mut self,
        socket: UdpSockRef<'_>,
        state: &UdpSocketState,
        most: usize,
    ) -> io::Result<Range<usize>> {
        let (begin, most) = (self.filled, most.min(self.free()));
        let room = &mut self.room[begin * APART..];
        self.filled += receive(socket, state, (room, APART), &mut self.metas[begin..begin + most])?;
        Ok(begin..self.filled)
    }
}

/// Reads in one system call, once for each of `metas`, into places of one size.
pub(crate) fn receive(
    socket: UdpSockRef<'_>,
    state: &UdpSocketState,
    (room, place): (&mut [u8], usize),
    metas: &mut [RecvMeta],
) -> io::Result<usize> {
    let count = metas.len().min(AT_ONCE);
    let mut places = room.chunks_mut(place).take(count);
    let mut slices: [IoSliceMut<'_>; AT_ONCE] =
        std::array::from_fn(|_| IoSliceMut::new(places.next().unwrap_or_default()));
    state.recv(socket, &mut slices[..count], metas)
}

impl<'a> Arrival<'a> {
    /// How many there are. One of no length is one.
    pub fn count(&self) -> usize {
        self.bytes.len().div_ceil(self.each).max(1)
    }

    /// Whether an answer would find its way: nobody has port 0, and from an address of many nobody answers.
    pub fn is_answerable(&self) -> bool {
        let is_of_many = |ip: IpAddr| match ip.to_canonical() {
            IpAddr::V4(v4) => v4.is_broadcast() || v4.is_multicast(),
            IpAddr::V6(v6) => v6.is_multicast(),
        };
        self.from.port() != 0 && !self.to.is_some_and(is_of_many)
    }

    /// One after the other.
    pub fn datagrams(&self) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        let (bytes, each) = (self.bytes, self.each);
        (0..self.count()).map(move |number| &bytes[number * each..bytes.len().min((number + 1) * each)])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(bytes: &[u8], each: usize) -> Vec<Vec<u8>> {
        let from = ([127, 0, 0, 1], 1).into();
        let arrival = Arrival { from, to: None, ecn: None, bytes, each };
        assert_eq!(arrival.count(), arrival.datagrams().count());
        arrival.datagrams().map(<[u8]>::to_vec).collect()
    }

    #[test]
    fn nobody_answers_from_an_address_of_many_or_to_port_0() {
        let is = |from: &str, to: Option<&str>| {
            let (from, to) = (from.parse().expect("an address"), to.map(|to| to.parse().expect("an address")));
            Arrival { from, to, ecn: None, bytes: b"x", each: 1 }.is_answerable()
        };
        assert!(is("10.0.0.1:1", None) && is("10.0.0.1:1", Some("10.0.0.2")) && is("[::1]:9", Some("::1")));
        for (from, to) in [
            ("10.0.0.1:0", Some("10.0.0.2")),
            ("10.0.0.1:1", Some("255.255.255.255")),
            ("10.0.0.1:1", Some("224.0.0.251")),
            ("[::ffff:10.0.0.1]:1", Some("::ffff:224.0.0.251")),
            ("[fe80::1]:1", Some("ff02::fb")),
        ] {
            assert!(!is(from, to), "{from} to {to:?}");
        }
    }

    #[test]
    fn joined_datagrams_come_apart_as_they_were() {
        assert_eq!(of(b"aabbc", 2), [b"aa".to_vec(), b"bb".to_vec(), b"c".to_vec()]);
        assert_eq!(of(b"aabb", 2), [b"aa", b"bb"]);
        assert_eq!(of(b"ab", 2), [b"ab"]);
        assert_eq!(of(b"", 1), [b""]);
    }
}
