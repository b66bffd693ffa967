//! Frames, written and read by code that shares nothing with the program: what it gets wrong is not got wrong here alike.

use std::net::{IpAddr, SocketAddr};

pub(crate) const TCP: u8 = 6;
pub(crate) const UDP: u8 = 17;
pub(crate) const ICMP: u8 = 1;
pub(crate) const ICMPV6: u8 = 58;

pub(crate) const SYN: u8 = 2;
pub(crate) const ACK: u8 = 16;
pub(crate) const FIN: u8 = 1;
pub(crate) const RST: u8 = 4;

/// The piece of a packet that a fragment is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Piece {
    pub(crate) id: u32,
    /// In bytes.
    pub(crate) offset: usize,
    pub(crate) more: bool,
}

/// A packet without its Ethernet header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Packet {
    pub(crate) from: SocketAddr,
    pub(crate) to: SocketAddr,
    pub(crate) protocol: u8,
    pub(crate) flags: u8,
    pub(crate) hops: u8,
    pub(crate) payload: Vec<u8>,
}

impl Packet {
    pub(crate) fn new(protocol: u8, from: SocketAddr, to: SocketAddr) -> Packet {
        Packet { from, to, protocol, flags: ACK, hops: 64, payload: b"what is carried".to_vec() }
    }

    pub(crate) fn flags(mut self, flags: u8) -> Packet {
        self.flags = flags;
        self
    }

    /// The packet's header of TCP or UDP and what it carries, with the right sum.
    pub(crate) fn body(&self) -> Vec<u8> {
        let mut body = [self.from.port().to_be_bytes(), self.to.port().to_be_bytes()].concat();
        let sum_at = match self.protocol {
            TCP => {
                body.extend([0, 0, 0, 1, 0, 0, 0, 2, 0x50, self.flags, 0x20, 0, 0, 0, 0, 0]);
                16
            }
            UDP => {
                body.extend((8 + self.payload.len() as u16).to_be_bytes());
                body.extend([0, 0]);
                6
            }
            other => panic!("{other}"),
        };
        body.extend(&self.payload);
        let sum = sum_with_addresses(self.from.ip(), self.to.ip(), self.protocol, &body);
        body[sum_at..sum_at + 2].copy_from_slice(&sum.to_be_bytes());
        body
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        datagram(self.from.ip(), self.to.ip(), self.protocol, self.hops, &self.body())
    }
}

/// A packet of IP around a body.
pub(crate) fn datagram(from: IpAddr, to: IpAddr, protocol: u8, hops: u8, body: &[u8]) -> Vec<u8> {
    fragment(from, to, protocol, hops, body, None)
}

/// The same, a piece of a larger one.
pub(crate) fn fragment(from: IpAddr, to: IpAddr, protocol: u8, hops: u8, body: &[u8], piece: Option<Piece>) -> Vec<u8> {
    let mut bytes = Vec::new();
    match (from, to) {
        (IpAddr::V4(from), IpAddr::V4(to)) => {
            bytes.extend([0x45, 0]);
            bytes.extend((20 + body.len() as u16).to_be_bytes());
            let (id, field) = piece.map_or((7, 0x4000), |piece| {
                (piece.id as u16, (piece.offset / 8) as u16 | if piece.more { 0x2000 } else { 0 })
            });
            bytes.extend(id.to_be_bytes());
            bytes.extend(field.to_be_bytes());
            bytes.extend([hops, protocol, 0, 0]);
            bytes.extend(from.octets());
            bytes.extend(to.octets());
            let sum = sum(&[&bytes]);
            bytes[10..12].copy_from_slice(&sum.to_be_bytes());
        }
        (IpAddr::V6(from), IpAddr::V6(to)) => {
            let extra = if piece.is_some() { 8 } else { 0 };
            bytes.extend([0x60, 0, 0, 0]);
            bytes.extend((body.len() as u16 + extra).to_be_bytes());
            bytes.extend([if piece.is_some() { 44 } else { protocol }, hops]);
            bytes.extend(from.octets());
            bytes.extend(to.octets());
            if let Some(piece) = piece {
                bytes.extend([protocol, 0]);
                bytes.extend((piece.offset as u16 | u16::from(piece.more)).to_be_bytes());
                bytes.extend(piece.id.to_be_bytes());
            }
        }
        _ => panic!("{from} {to}"),
    }
    bytes.extend(body);
    bytes
}

/// An error of ICMP about a packet, of which so much is quoted.
pub(crate) fn error(from: IpAddr, to: IpAddr, kind: u8, code: u8, rest: u32, quoted: &[u8]) -> Vec<u8> {
    let mut body = vec![kind, code, 0, 0];
    body.extend(rest.to_be_bytes());
    body.extend(quoted);
    let sum = if from.is_ipv4() { sum(&[&body]) } else { sum_with_addresses(from, to, ICMPV6, &body) };
    body[2..4].copy_from_slice(&sum.to_be_bytes());
    datagram(from, to, if from.is_ipv4() { ICMP } else { ICMPV6 }, 64, &body)
}

pub(crate) fn frame(to: [u8; 6], from: [u8; 6], packet: &[u8]) -> Vec<u8> {
    let kind: [u8; 2] = if packet[0] >> 4 == 4 { [8, 0] } else { [0x86, 0xdd] };
    [&to[..], &from, &kind, packet].concat()
}

/// What is read of a packet of IP: its sums are right, or the test fails.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Datagram {
    pub(crate) from: IpAddr,
    pub(crate) to: IpAddr,
    pub(crate) protocol: u8,
    pub(crate) hops: u8,
    pub(crate) body: Vec<u8>,
}

pub(crate) fn read(bytes: &[u8]) -> Datagram {
    if bytes[0] >> 4 == 4 {
        assert_eq!(sum(&[&bytes[..20]]), 0, "the header's sum");
        let length = usize::from(u16::from_be_bytes([bytes[2], bytes[3]]));
        let address = |at: usize| IpAddr::from(*bytes[at..].first_chunk::<4>().expect("four"));
        let body = bytes[20..length.min(bytes.len())].to_vec();
        return Datagram { from: address(12), to: address(16), protocol: bytes[9], hops: bytes[8], body };
    }
    let address = |at: usize| IpAddr::from(*bytes[at..].first_chunk::<16>().expect("sixteen"));
    Datagram { from: address(8), to: address(24), protocol: bytes[6], hops: bytes[7], body: bytes[40..].to_vec() }
}

impl Datagram {
    /// As a packet of TCP or UDP, whole and with the right sum.
    pub(crate) fn packet(&self) -> Packet {
        assert_eq!(sum_with_addresses(self.from, self.to, self.protocol, &self.body), 0, "the sum of what is carried");
        self.quoted()
    }

    /// The same, without its sum: the body may be cut short.
    pub(crate) fn quoted(&self) -> Packet {
        let port = |at: usize| u16::from_be_bytes([self.body[at], self.body[at + 1]]);
        let (flags, from) = if self.protocol == TCP { (self.body.get(13), 20) } else { (None, 8) };
        Packet {
            from: SocketAddr::new(self.from, port(0)),
            to: SocketAddr::new(self.to, port(2)),
            protocol: self.protocol,
            flags: flags.copied().unwrap_or(ACK),
            hops: self.hops,
            payload: self.body.get(from..).unwrap_or_default().to_vec(),
        }
    }

    /// What an error quotes, after its own sum was found right.
    pub(crate) fn error(&self) -> &[u8] {
        match self.protocol {
            ICMP => assert_eq!(sum(&[&self.body]), 0, "the sum of the error"),
            _ => assert_eq!(sum_with_addresses(self.from, self.to, ICMPV6, &self.body), 0, "the sum of the error"),
        }
        &self.body[8..]
    }
}

/// RFC 1071, over pieces that are even but for the last; 0 for what holds its own sum.
fn sum(pieces: &[&[u8]]) -> u16 {
    let mut total = 0_u32;
    for piece in pieces {
        for pair in piece.chunks(2) {
            total += u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0));
        }
    }
    while total > 0xffff {
        total = (total & 0xffff) + (total >> 16);
    }
    !(total as u16)
}

pub(crate) fn sum_with_addresses(from: IpAddr, to: IpAddr, protocol: u8, body: &[u8]) -> u16 {
    let octets = |ip: IpAddr| match ip {
        IpAddr::V4(ip) => ip.octets().to_vec(),
        IpAddr::V6(ip) => ip.octets().to_vec(),
    };
    let tail = [&(body.len() as u32).to_be_bytes()[..], &[0, 0, 0, protocol]].concat();
    sum(&[&octets(from), &octets(to), &tail, body])
}
