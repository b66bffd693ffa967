//! Streams (RFC 9113 section 5.1): their states, and the table of those that live.

use super::StreamId;
use super::flow::{Receiving, Sending};
use super::head::Expected;
use crate::h1::Asked;

/// One stream.
#[derive(Debug)]
pub struct Stream {
    /// What the peer still has to send.
    pub receive: Half,
    /// What we still have to send.
    pub send: Half,
    /// What we may send.
    pub sending: Sending,
    /// What the peer may send.
    pub receiving: Receiving,
    /// Content that has arrived and was not handed on.
    pub held: u32,
    /// Content that the head has announced and that has not arrived.
    pub expected: Expected,
    /// What was asked: it decides whether the response has content.
    pub asked: Asked,
    /// When its turn comes.
    pub priority: Priority,
    /// When it last sent content, counted in sends of the connection.
    pub turn: u64,
    /// It has content that was not taken.
    pub hungry: bool,
}

/// One direction of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Half {
    /// The head, or the final one, is still to come.
    Head,
    /// Content may follow.
    Content,
    /// Nothing follows.
    Ended,
}

/// What RFC 9218 says of a response's place among others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Priority {
    /// 0 is the most urgent, 7 the least.
    pub urgency: u8,
    /// It is of use in parts, and shares with others; one that is not is sent whole before the next.
    pub incremental: bool,
}

impl Default for Priority {
    /// What a client means that says nothing. To the standard its responses would come one after the other; but who does not know
    /// of priorities does not mean that either, and a stream without an end (gRPC, server-sent events) must not keep all
    /// others of its connection waiting.
    fn default() -> Priority {
        Priority { urgency: 3, incremental: true }
    }
}

impl Priority {
    /// Reads a `Priority` field's value (RFC 9218 section 4). What does not parse says nothing.
    pub fn of(value: &[u8]) -> Priority {
        let mut priority = Priority { urgency: 3, incremental: false };
        let mut said = false;
        for member in value.split(|byte| *byte == b',') {
            // A parameter behind a value means nothing here.
            let known = member.split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii();
            match known {
                [b'u', b'=', digit @ b'0'..=b'7'] => priority.urgency = digit - b'0',
                b"i" | b"i=?1" => priority.incremental = true,
                b"i=?0" => priority.incremental = false,
                _ => continue,
            }
            said = true;
        }
        if said { priority } else { Priority::default() }
    }
}

/// How a stream that is no longer in the table has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Past {
    /// Both sides had said all, or the peer has reset it: nothing more may come.
    Over,
    /// We have reset it: frames that were under way are no mistake of the peer's.
    Reset,
}

/// The streams that live, and how the last of the others ended.
#[derive(Debug, Default)]
pub struct Streams {
    /// By number, ascending, with the slot of each.
    index: Vec<(u32, u32)>,
    slots: Vec<Option<Stream>>,
    free: Vec<u32>,
    over: Ring<u32>,
    /// Apart from the others: however many streams finish, late frames on these are still known for what they are.
    reset: Ring<Late>,
}

/// A stream that we have reset.
#[derive(Clone, Copy, Debug)]
struct Late {
    number: u32,
    /// What the peer could still have under way.
    window: u32,
}

/// The last of many.
#[derive(Debug)]
struct Ring<T> {
    items: Vec<T>,
    next: usize,
}

impl<T> Default for Ring<T> {
    fn default() -> Ring<T> {
        Ring { items: Vec::new(), next: 0 }
    }
}

impl<T> Ring<T> {
    fn push(&mut self, item: T) {
        if self.items.len() < MOST_PAST {
            self.items.push(item);
            return;
        }
        self.items[self.next] = item;
        self.next = (self.next + 1) % MOST_PAST;
    }
}

/// What a late frame takes at least of the window that its stream had left: a flood of the smallest is not paid by it.
const LEAST_LATE: u32 = 32;

/// A peer learns of a reset a round trip later: until then, at most as many streams as may be open end in that way.
const MOST_PAST: usize = 512;

impl Streams {
    /// The number of living streams.
    pub fn len(&self) -> usize {
        self.index.len()
    }

    /// Whether no stream lives.
    pub fn is_empty(&self) -> bool {
        self.index.is_empty()
    }

    /// Adds a stream with a number above all others of its side.
    pub fn add(&mut self, id: StreamId, stream: Stream) -> &mut Stream {
        let slot = match self.free.pop() {
            Some(slot) => slot,
            None => {
                self.slots.push(None);
                self.slots.len() as u32 - 1
            }
        };
        let at = self.index.partition_point(|(number, _)| *number < id.number());
        self.index.insert(at, (id.number(), slot));
        self.slots[slot as usize].insert(stream)
    }

    /// A living stream.
    #[inline]
    pub fn of(&self, id: StreamId) -> Option<&Stream> {
        let at = self.find(id)?;
        self.slots[self.index[at].1 as usize].as_ref()
    }

    /// A living stream.
    #[inline]
    pub fn of_mut(&mut self, id: StreamId) -> Option<&mut Stream> {
        let at = self.find(id)?;
        self.slots[self.index[at].1 as usize].as_mut()
    }

    /// Takes a stream out.
    pub fn remove(&mut self, id: StreamId, past: Past) -> Option<Stream> {
        let at = self.find(id)?;
        let (number, slot) = self.index.remove(at);
        self.free.push(slot);
        let stream = self.slots[slot as usize].take()?;
        match past {
            Past::Over => self.over.push(number),
            Past::Reset if stream.receive == Half::Ended => self.remember_reset(number, 0),
            Past::Reset => self.remember_reset(number, stream.receiving.left()),
        }
        Some(stream)
    }

    /// Notes that we have reset a stream, on which the peer may have so much content under way.
    pub fn remember_reset(&mut self, number: u32, window: u32) {
        self.reset.push(Late { number, window });
    }

    /// Whether content on a stream that we have reset was within the window that it had left: it was sent in good faith.
    pub fn late(&mut self, number: u32, length: u32) -> bool {
        let Some(late) = self.reset.items.iter_mut().find(|late| late.number == number) else { return false };
        let left = late.window.checked_sub(length.max(LEAST_LATE));
        late.window = left.unwrap_or(0);
        left.is_some()
    }

    /// How a stream ended, if that was not long ago.
    pub fn past(&self, number: u32) -> Option<Past> {
        if self.reset.items.iter().any(|late| late.number == number) {
            return Some(Past::Reset);
        }
        self.over.items.contains(&number).then_some(Past::Over)
    }

    /// All living streams.
    pub fn iter(&self) -> impl Iterator<Item = (StreamId, &Stream)> {
        self.index
            .iter()
            .filter_map(|(number, slot)| Some((StreamId::new(*number)?, self.slots[*slot as usize].as_ref()?)))
    }

    /// All living streams.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut Stream> {
        self.slots.iter_mut().flatten()
    }

    /// Bytes of memory that the table holds.
    pub fn capacity(&self) -> usize {
        let index = self.index.capacity() * size_of::<(u32, u32)>() + self.free.capacity() * size_of::<u32>();
        let past = self.over.items.capacity() * size_of::<u32>() + self.reset.items.capacity() * size_of::<Late>();
        index + self.slots.capacity() * size_of::<Option<Stream>>() + past
    }

    #[inline]
    fn find(&self, id: StreamId) -> Option<usize> {
        self.index.binary_search_by_key(&id.number(), |(number, _)| *number).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn priorities_are_read() {
        for (value, urgency, incremental) in [
            ("u=0", 0, false),
            ("u=7, i", 7, true),
            ("i, u=1", 1, true),
            ("u=1,i=?0", 1, false),
            ("i=?1;x", 3, true),
            ("i", 3, true),
            ("u=5;x", 5, false),
            ("u=1, u=2", 2, false),
            // What says nothing.
            ("", 3, true),
            ("u=8", 3, true),
            ("u=10", 3, true),
            ("u", 3, true),
            ("x=1", 3, true),
        ] {
            assert_eq!(Priority::of(value.as_bytes()), Priority { urgency, incremental }, "{value}");
        }
    }
}
