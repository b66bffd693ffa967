//! The connection ids that we issue: which worker of which process a connection belongs to, for nobody else to read.
//!
//! An id is one block of AES: the generation, the worker, zeros and a number that never comes again, sealed with a key that only
//! this address knows. To an observer two ids of one connection have nothing in common (RFC 9000 section 5.1), and whoever makes
//! one up meets the generation and the zeros once in 2⁵⁶ tries. It is the single-pass form of the load balancers' draft.
//!
//! The kernel, which cannot open a seal, finds the worker all the same: of the numbers that come next, the first is taken whose sealed
//! block begins with two bytes that are the worker's by their remainder. Nothing else of the block is chosen.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::cipher::{AES_128, DecryptingKey, DecryptionContext, EncryptingKey, UnboundCipherKey};
use aws_lc_rs::error::Unspecified;
use quinn_proto::{ConnectionId, ConnectionIdGenerator, InvalidCid};

/// The length of every id that we issue.
pub const LENGTH: usize = 16;

/// Seals and opens the ids of one address.
pub struct Seal {
    sealing: EncryptingKey,
    opening: DecryptingKey,
    generation: u32,
}

/// Makes one worker's ids.
#[derive(Debug)]
pub(super) struct Ids {
    seal: Arc<Seal>,
    worker: u16,
    workers: u16,
    next: u64,
}

/// Numbers that are tried for an id which the kernel, too, takes to its worker. For all workers that one machine has, that none is
/// found is a matter of centuries; an id of then would be handed over by us.
const TRIES: u32 = 64;

/// Where the kernel takes a datagram with this destination; see [`steering`](super::steering). An id that a client has made up is
/// spread by it over all workers, and so is each that we would not have issued.
pub(super) fn steered(id: &[u8], workers: u16) -> u16 {
    id.first_chunk().map_or(0, |first: &[u8; 2]| u16::from_be_bytes(*first) % workers.max(1))
}

impl Seal {
    /// With a key and a generation that were drawn at random.
    ///
    /// # Errors
    /// The library has no memory for a key.
    pub fn new(key: &[u8; 16], generation: u32) -> Result<Seal, Unspecified> {
        Ok(Seal {
            sealing: EncryptingKey::ecb(UnboundCipherKey::new(&AES_128, key)?)?,
            opening: DecryptingKey::ecb(UnboundCipherKey::new(&AES_128, key)?)?,
            generation,
        })
    }

    /// The worker that an id belongs to; absent if it is none of ours.
    pub fn open(&self, id: &[u8]) -> Option<u16> {
        let mut block: [u8; LENGTH] = id.try_into().ok()?;
        self.opening.decrypt(&mut block, DecryptionContext::None).ok()?;
        let (claim, number) = block.split_at(8);
        let (generation, rest) = claim.split_at(4);
        let (worker, zeros) = rest.split_at(2);
        let ours = generation == self.generation.to_be_bytes() && zeros == [0; 2] && number.first() == Some(&0);
        ours.then(|| u16::from_be_bytes([worker[0], worker[1]]))
    }

    fn seal(&self, worker: u16, number: u64) -> [u8; LENGTH] {
        let mut block = [0; LENGTH];
        block[..4].copy_from_slice(&self.generation.to_be_bytes());
        block[4..6].copy_from_slice(&worker.to_be_bytes());
        block[8..].copy_from_slice(&number.to_be_bytes());
        // One whole block needs no padding, which is all that could go wrong.
        let sealed = self.sealing.encrypt(&mut block);
        debug_assert!(sealed.is_ok(), "a block has a block's length");
        block
    }
}

impl fmt::Debug for Seal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Seal").field("generation", &self.generation).finish_non_exhaustive()
    }
}

impl Ids {
    /// One of `workers` on its address.
    pub(super) fn new(seal: Arc<Seal>, worker: u16, workers: u16) -> Ids {
        Ids { seal, worker, workers, next: 0 }
    }

    fn draw(&mut self) -> [u8; LENGTH] {
        let number = self.next;
        // Seven bytes of it are used: at a thousand millions a second they last for two years.
        self.next = (number + 1) & (u64::MAX >> 8);
        self.seal.seal(self.worker, number)
    }
}

impl ConnectionIdGenerator for Ids {
    fn generate_cid(&mut self) -> ConnectionId {
        let mut id = self.draw();
        for _ in 1..TRIES * u32::from(self.workers) {
            if steered(&id, self.workers) == self.worker {
                break;
            }
            id = self.draw();
        }
        ConnectionId::new(&id)
    }

    fn validate(&self, id: &ConnectionId) -> Result<(), InvalidCid> {
        if self.seal.open(id) == Some(self.worker) { Ok(()) } else { Err(InvalidCid) }
    }

    fn cid_len(&self) -> usize {
        LENGTH
    }

    fn cid_lifetime(&self) -> Option<Duration> {
        None
    }
}

/// The destination's id of a datagram's first packet, if it has the length of ours (RFC 9000 section 17, RFC 8999 section 5).
pub(super) fn destination(datagram: &[u8]) -> Option<&[u8]> {
    const LONG: u8 = 0x80;
    match datagram.first()? & LONG {
        0 => datagram.get(1..1 + LENGTH),
        _ if usize::from(*datagram.get(5)?) == LENGTH => datagram.get(6..6 + LENGTH),
        _ => None,
    }
}

/// Whether the datagram begins with a packet of a connection that exists already: its id was issued, not made up by a client.
pub(super) fn is_short(datagram: &[u8]) -> bool {
    datagram.first().is_some_and(|first| first & 0x80 == 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seal(key: u8, generation: u32) -> Arc<Seal> {
        Arc::new(Seal::new(&[key; 16], generation).expect("a key"))
    }

    #[test]
    fn an_id_names_its_worker_and_only_to_us() {
        let ours = seal(7, 3);
        let mut ids = Ids::new(Arc::clone(&ours), 300, 301);
        let (one, two) = (ids.generate_cid(), ids.generate_cid());
        assert_ne!(one, two);
        assert_eq!(ours.open(&one), Some(300));
        assert_eq!(ours.open(&two), Some(300));
        assert!(ids.validate(&one).is_ok());
        assert_eq!(seal(8, 3).open(&one), None, "another address's key");
        assert_eq!(seal(7, 4).open(&one), None, "another process");
        assert!(Ids::new(ours, 1, 301).validate(&one).is_err(), "another worker");
    }

    #[test]
    fn two_ids_have_nothing_in_common() {
        let mut ids = Ids::new(seal(9, 1), 2, 4);
        let (one, two) = (ids.generate_cid(), ids.generate_cid());
        let alike = one.iter().zip(two.iter()).filter(|(a, b)| a == b).count();
        assert!(alike < 6, "{alike} of 16 bytes are the same");
    }

    #[test]
    fn ids_are_steered_to_their_worker() {
        for workers in [1, 2, 3, 4, 64] {
            for worker in 0..workers {
                let mut ids = Ids::new(seal(3, 1), worker, workers);
                assert!((0..50).all(|_| steered(&ids.generate_cid(), workers) == worker));
            }
        }
    }

    #[test]
    fn a_changed_id_is_none() {
        let ours = seal(5, 1);
        let id = Ids::new(Arc::clone(&ours), 2, 4).generate_cid();
        for bit in 0..LENGTH * 8 {
            let mut bytes: Vec<u8> = id.to_vec();
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(ours.open(&bytes), None, "bit {bit}");
        }
        assert_eq!(ours.open(&id[..15]), None);
    }

    #[test]
    fn destinations_are_found_in_both_headers() {
        let mut short = vec![0x40];
        short.extend(1..=20);
        assert_eq!(destination(&short), Some(&(1..=16).collect::<Vec<u8>>()[..]));
        let mut long = vec![0xc0, 0, 0, 0, 1, 16];
        long.extend(1..=16);
        assert_eq!(destination(&long), Some(&(1..=16).collect::<Vec<u8>>()[..]));
        long[5] = 8;
        assert_eq!(destination(&long), None, "a client's own id has another length");
        for length in 0..17 {
            assert_eq!(destination(&short[..length]), None);
        }
        assert!(is_short(&short) && !is_short(&long));
    }
}
