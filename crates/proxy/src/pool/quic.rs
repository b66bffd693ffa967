//! Servers by the ids of QUIC: for clients whose address has changed, and who are known by nothing else.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use rustc_hash::FxHashMap;
use wire::quic::{self, Header, LONGEST_ID};

use super::Server;
use crate::sticky::Table;
use base::xxh64::hash;

/// How the servers of a pool are found.
#[derive(Clone, Debug)]
pub enum Quic {
    /// By ids that they were seen to choose.
    Learned(Arc<Ids>),
    /// By what they write into them.
    Encoded {
        /// Where in an id it stands.
        offset: usize,
        /// How long it is.
        length: usize,
        /// Whose it is, by their places in the pool.
        servers: FxHashMap<Box<[u8]>, usize>,
    },
}

/// Ids that servers have chosen, for all workers: a client that moves comes to another worker, most often.
#[derive(Debug)]
pub struct Ids {
    table: Table,
    /// Ids are hashed with a key that nobody outside knows.
    key: u64,
    /// How long ids are: a bit for each length. A short header does not say where its id ends.
    lengths: AtomicU32,
}

impl Quic {
    /// The server, as its place in the pool, whose connection a client's datagram is of.
    pub(crate) fn find(&self, servers: &[Arc<Server>], datagram: &[u8], now: Instant) -> Option<usize> {
        let header = quic::read(datagram)?;
        match self {
            Quic::Learned(ids) => {
                let slot = ids.find(&header, now)?;
                servers.iter().position(|server| server.slot == slot)
            }
            Quic::Encoded { offset, length, servers } => servers.get(header.part(*offset, *length)?).copied(),
        }
    }

    /// Where ids are learned.
    pub(crate) fn learns(&self) -> Option<&Arc<Ids>> {
        match self {
            Quic::Learned(ids) => Some(ids),
            Quic::Encoded { .. } => None,
        }
    }
}

impl Ids {
    /// None yet, with room for about so many, never more.
    pub fn new(most: usize) -> Ids {
        Ids { table: Table::new(most), key: fastrand::Rng::new().u64(..), lengths: AtomicU32::new(0) }
    }

    /// For how many ids there is room.
    pub fn most(&self) -> usize {
        self.table.most()
    }

    /// As many as there is room for of those that others hold.
    #[must_use]
    pub fn resized(&self, most: usize, now: Instant) -> Ids {
        let lengths = AtomicU32::new(self.lengths.load(Ordering::Relaxed));
        let table = Table::new(most);
        table.adopt(&self.table, now);
        Ids { table, key: self.key, lengths }
    }

    /// Notes the id that a server's datagram is the first to say, if it is one; answers by what it is kept up.
    pub(crate) fn learn(&self, datagram: &[u8], slot: usize, now: Instant, lasts: Duration) -> Option<u64> {
        let id = quic::read(datagram)?.chosen().filter(|id| id.len() <= LONGEST_ID)?;
        self.lengths.fetch_or(1 << id.len(), Ordering::Relaxed);
        let id = hash(self.key, id);
        self.table.put(id, slot, now, lasts);
        Some(id)
    }

    /// Remembers an id for as long as this from now on.
    pub(crate) fn keep(&self, id: u64, slot: usize, now: Instant, lasts: Duration) {
        self.table.put(id, slot, now, lasts);
    }

    fn find(&self, header: &Header<'_>, now: Instant) -> Option<usize> {
        let known = |id: &[u8]| self.table.find(hash(self.key, id), now);
        match header {
            Header::Long { destination, .. } => known(destination),
            Header::Short { rest } => {
                let lengths = self.lengths.load(Ordering::Relaxed);
                // A long id may begin like a short one, but hardly the other way round.
                let is_known = |length: &usize| lengths & (1 << length) != 0;
                (1..=LONGEST_ID).rev().filter(is_known).find_map(|length| known(rest.get(..length)?))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::balance::fixture::servers;

    const FOR: Duration = Duration::from_secs(60);

    fn answer(id: &[u8]) -> Vec<u8> {
        [&[0xe0, 0, 0, 0, 1, 2, 7, 7, id.len() as u8][..], id, b"sealed"].concat()
    }

    fn short(id: &[u8]) -> Vec<u8> {
        [&[0x41], id, b"sealed"].concat()
    }

    #[test]
    fn who_has_an_id_of_a_server_is_led_there_until_it_is_forgotten() {
        let (servers, ids, now) = (servers(&[1, 1, 1]), Arc::new(Ids::new(10_000)), Instant::now());
        let quic = Quic::Learned(Arc::clone(&ids));
        let find = |datagram: &[u8], after| quic.find(&servers, datagram, now + after);
        assert_eq!(find(&short(b"12345678"), Duration::ZERO), None);
        ids.learn(&answer(b"12345678"), servers[2].slot, now, FOR);
        ids.learn(&answer(b"1234"), servers[1].slot, now, FOR).expect("an id");
        let other = ids.learn(&answer(b"abcdefgh"), servers[1].slot, now, FOR).expect("an id");
        assert_eq!(find(&short(b"12345678"), Duration::ZERO), Some(2));
        assert_eq!(find(&short(b"1234xxxx"), Duration::ZERO), Some(1));
        let handshake = [&[0xe0, 0, 0, 0, 1, 8][..], b"abcdefgh", &[0]].concat();
        assert_eq!(find(&handshake, Duration::ZERO), Some(1));
        assert_eq!(find(&short(b"123"), Duration::ZERO), None, "cut");
        ids.keep(other, servers[1].slot, now + FOR / 2, FOR);
        assert_eq!((find(&short(b"12345678"), FOR), find(&short(b"abcdefgh"), FOR)), (None, Some(1)));
        let larger = Quic::Learned(Arc::new(ids.resized(100_000, now + FOR)));
        assert_eq!(larger.find(&servers, &short(b"abcdefgh"), now + FOR), Some(1));
    }

    #[test]
    fn what_is_no_choice_of_a_server_is_not_learned() {
        let (ids, now) = (Ids::new(100), Instant::now());
        let versions = [&[0x80, 0, 0, 0, 0, 0, 4][..], b"mine", &[0, 0, 0, 1]].concat();
        for datagram in [&short(b"12345678")[..], &answer(b""), &answer(&[1; 21]), &versions, b"\xc0\0\0", b""] {
            assert_eq!(ids.learn(datagram, 1, now, FOR), None, "{datagram:?}");
        }
    }

    #[test]
    fn what_servers_write_into_ids_is_read_in_both_headers() {
        let names = [(b"aa".to_vec().into(), 0), (b"bb".to_vec().into(), 1)];
        let quic = Quic::Encoded { offset: 1, length: 2, servers: names.into_iter().collect() };
        let find = |datagram: &[u8]| quic.find(&[], datagram, Instant::now());
        assert_eq!(find(&short(b"xbbyyyyy")), Some(1));
        assert_eq!(find(&[&[0xc0, 0, 0, 0, 1, 8][..], b"xaayyyyy", &[0]].concat()), Some(0));
        assert_eq!(find(&[&[0xc0, 0, 0, 0, 1, 2][..], b"xa", &[0]].concat()), None);
        assert_eq!(find(&short(b"xccyyyyy")), None);
    }
}
