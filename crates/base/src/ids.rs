//! Newtypes for what must never be mixed up in one signature.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use crate::hex;

/// The address of the other end of an accepted connection, as the kernel (or a PROXY header) gave it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PeerAddr(pub SocketAddr);

/// The client's address after `Forwarded` and `X-Forwarded-For` of trusted proxies were considered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ClientIp(pub IpAddr);

/// The number of a worker thread, from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct WorkerId(pub usize);

/// A request's id in the logs: unique in the process, hard to guess for no reason but uniqueness across processes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RequestId {
    /// Drawn once a worker and process.
    pub origin: u64,
    /// Counts the worker's requests.
    pub sequence: u64,
}

impl RequestId {
    /// Writes the id as 24 hexadecimal digits: 64 bits of origin, 32 of sequence.
    pub fn hex(self) -> [u8; 24] {
        let mut out = [0; 24];
        let value = (u128::from(self.origin) << 32) | u128::from(self.sequence & 0xffff_ffff);
        let mut rest = value;
        for slot in out.iter_mut().rev() {
            *slot = hex::DIGITS[(rest & 15) as usize];
            rest >>= 4;
        }
        out
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}{:08x}", self.origin, self.sequence & 0xffff_ffff)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn request_id_prints_alike_in_both_forms() {
        let id = RequestId { origin: 0x0123_4567_89ab_cdef, sequence: 42 };
        assert_eq!(id.to_string().as_bytes(), id.hex());
        assert_eq!(id.to_string(), "0123456789abcdef0000002a");
    }
}
