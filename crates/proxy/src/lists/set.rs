//! All hosts that lists name, in one table: which lists say what of a host and of those above it.
//!
//! A host is looked for label by label from its end, with one hash that grows along. A million names take about 40 MB: their bytes, a
//! list, an effect, and eight bytes of table at most three quarters full. What collides is compared, so nothing is blocked by chance.

use wire::list::{Effect, Rule};

use super::Wanted;

/// The table. It is filled by control and never changes once workers see it.
#[derive(Debug)]
pub struct Set {
    /// Draws another function for each table: those who write lists cannot choose names that collide.
    seed: u64,
    /// One behind the other: the list, what it says, the length of the name, the name.
    records: Vec<u8>,
    slots: Vec<Slot>,
    count: usize,
    /// No name has more labels.
    deepest: u8,
}

#[derive(Clone, Copy, Debug, Default)]
struct Slot {
    /// Part of the hash, so that few names are compared that are not the same.
    tag: u32,
    /// Where the record is, and one; nothing is empty.
    at: u32,
}

/// What lists say of a host, all of those that were asked taken together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Said {
    pub(super) block: Option<ByHost>,
    pub(super) important: Option<ByHost>,
    pub(super) is_exception: bool,
}

/// Which list names a host, or one above it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ByHost {
    pub(super) list: u8,
    /// Where the name that it has begins in the host.
    pub(super) from: usize,
}

/// What a record says, in one byte.
const ITSELF: u8 = 1;
const BELOW: u8 = 2;
const BLOCK: u8 = 4;
const IMPORTANT: u8 = 8;
const EXCEPT: u8 = 16;
const REVOKED: u8 = 32;
const REACH: u8 = ITSELF | BELOW;

/// The list, what it says, and the length of the name.
const FRONT: usize = 3;

impl Set {
    /// An empty table, whose hash is drawn by this seed.
    pub fn new(seed: u64) -> Set {
        Set { seed, records: Vec::new(), slots: Vec::new(), count: 0, deepest: 0 }
    }

    /// Adds what a list says of a host. Nothing is added beyond what a table can hold.
    pub fn add(&mut self, list: u8, rule: &Rule<'_>) {
        let effect = match rule.effect {
            Effect::Block => BLOCK,
            Effect::Important => IMPORTANT,
            Effect::Except => EXCEPT,
        };
        let flag = |is: bool, flag: u8| if is { flag } else { 0 };
        let says = effect | flag(rule.itself, ITSELF) | flag(rule.below, BELOW) | flag(rule.revokes, REVOKED);
        self.insert(list, says, rule.host.as_bytes());
    }

    /// Adds what other lists have said in another table: those that have a number here.
    pub fn adopt(&mut self, other: &Set, number: impl Fn(u8) -> Option<u8>) {
        let mut at = 0;
        while let Some((list, says, name)) = other.record(at) {
            if let Some(list) = number(list) {
                self.insert(list, says, name);
            }
            at += FRONT + name.len();
        }
    }

    /// Gives back what it does not need.
    pub fn shrink(&mut self) {
        self.records.shrink_to_fit();
    }

    /// How many names there are, each once for each list and effect.
    pub fn count(&self) -> usize {
        self.count
    }

    /// How much memory it takes.
    pub fn bytes(&self) -> usize {
        self.records.capacity() + self.slots.capacity() * size_of::<Slot>()
    }

    fn insert(&mut self, list: u8, says: u8, name: &[u8]) {
        let (Ok(length), true) = (u8::try_from(name.len()), self.records.len() < MOST) else { return };
        if (self.count + 1) * 4 > self.slots.len() * 3 {
            self.grow();
        }
        let hash = self.hash(name);
        let mask = self.slots.len() - 1;
        let mut place = hash as usize & mask;
        loop {
            let Slot { tag, at } = self.slots[place];
            let Some(at) = at.checked_sub(1) else { break };
            let at = at as usize;
            if tag == tag_of(hash)
                && self
                    .record(at)
                    .is_some_and(|(of, said, known)| (of, said & !REACH, known) == (list, says & !REACH, name))
            {
                self.records[at + 1] |= says;
                return;
            }
            place = (place + 1) & mask;
        }
        self.slots[place] = Slot { tag: tag_of(hash), at: self.records.len() as u32 + 1 };
        self.records.extend_from_slice(&[list, says, length]);
        self.records.extend_from_slice(name);
        self.count += 1;
        let labels = 1 + name.iter().filter(|byte| **byte == b'.').count();
        self.deepest = self.deepest.max(labels.min(255) as u8);
    }

    fn grow(&mut self) {
        let length = (self.slots.len() * 2).max(16);
        self.slots = Vec::new();
        self.slots.resize(length, Slot::default());
        let mut at = 0;
        while let Some((_, _, name)) = self.record(at) {
            let (hash, next) = (self.hash(name), at + FRONT + name.len());
            let mut place = hash as usize & (length - 1);
            while self.slots[place].at != 0 {
                place = (place + 1) & (length - 1);
            }
            self.slots[place] = Slot { tag: tag_of(hash), at: at as u32 + 1 };
            at = next;
        }
    }

    fn record(&self, at: usize) -> Option<(u8, u8, &[u8])> {
        let front = self.records.get(at..at + FRONT)?;
        let from = at + FRONT;
        Some((front[0], front[1], self.records.get(from..from + usize::from(front[2]))?))
    }

    fn hash(&self, name: &[u8]) -> u64 {
        finished(name.iter().rev().fold(self.seed, |hash, byte| grown(hash, *byte)))
    }

    /// What these lists say of a host.
    pub(super) fn say(&self, host: &[u8], wanted: &Wanted) -> Said {
        let mut said = Said::default();
        if self.slots.is_empty() || host.is_empty() {
            return said;
        }
        // Below an address there is nothing, whatever its spelling looks like.
        let is_address = host.starts_with(b"[")
            || host.rsplit(|byte| *byte == b'.').next().is_some_and(|label| label.iter().all(u8::is_ascii_digit));
        let (mut hash, mut labels) = (self.seed, 1);
        for from in (0..host.len()).rev() {
            hash = grown(hash, host[from]);
            let is_whole = from == 0;
            if !is_whole {
                if host[from - 1] != b'.' {
                    continue;
                }
                labels += 1;
            }
            if is_whole || !is_address {
                self.say_of(finished(hash), host, from, wanted, &mut said);
            }
            if labels > usize::from(self.deepest) {
                break;
            }
        }
        said
    }

    /// What they say of one name, which is the host's end from here on.
    fn say_of(&self, hash: u64, host: &[u8], from: usize, wanted: &Wanted, said: &mut Said) {
        let (tag, mask, reach) = (tag_of(hash), self.slots.len() - 1, if from == 0 { ITSELF } else { BELOW });
        let mut place = hash as usize & mask;
        let (mut block, mut important, mut effects, mut revoked) = (None, None, 0, 0);
        while self.slots[place].at != 0 {
            let slot = self.slots[place];
            place = (place + 1) & mask;
            if slot.tag != tag {
                continue;
            }
            let Some((list, says, name)) = self.record(slot.at as usize - 1) else { continue };
            if says & reach == 0 || !wanted.has(list) || name != &host[from..] {
                continue;
            }
            if says & REVOKED != 0 {
                revoked |= says;
                continue;
            }
            effects |= says;
            if says & BLOCK != 0 {
                block = block.or(Some(ByHost { list, from }));
            }
            if says & IMPORTANT != 0 {
                important = important.or(Some(ByHost { list, from }));
            }
        }
        let counts = |effect: u8| effects & effect != 0 && revoked & effect == 0;
        // The name that is nearest to the host speaks for the list; it is looked for last.
        if counts(BLOCK) {
            said.block = block;
        }
        if counts(IMPORTANT) {
            said.important = important;
        }
        said.is_exception |= counts(EXCEPT);
    }
}

/// Beyond this a record's place would not fit into its slot.
const MOST: usize = u32::MAX as usize - 512;

/// FNV-1a (Fowler, Noll, Vo), of the bytes from the last to the first.
fn grown(hash: u64, byte: u8) -> u64 {
    (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
}

/// Spreads it: FNV's low bits depend on little.
fn finished(hash: u64) -> u64 {
    let hash = (hash ^ (hash >> 32)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    hash ^ (hash >> 29)
}

fn tag_of(hash: u64) -> u32 {
    (hash >> 32) as u32
}
