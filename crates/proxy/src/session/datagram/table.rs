//! The flows of one socket: which datagram belongs to which, when each is over, and who makes room where there are too many (sans-IO).
//!
//! A flow has one entry in the heap of moments at which it is looked at. A datagram only stores when it came: when that moment comes, the
//! flow is over, or is looked at again later.

use std::cmp::Reverse;
use std::collections::hash_map::RandomState;
use std::collections::{BinaryHeap, HashMap};
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

/// What tells flows of a socket apart. The hash of it has a key that is drawn by each process: clients choose their addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Pair {
    /// The client.
    pub(super) client: SocketAddr,
    /// The address of ours that it has sent to.
    pub(super) asked: Option<IpAddr>,
}

/// A flow's number, which no later one has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Number {
    place: u32,
    generation: u32,
}

/// How long a flow lasts.
#[derive(Clone, Copy, Debug)]
pub(super) struct Lasts {
    /// Since its last datagram.
    pub(super) silent: Duration,
    /// Since its first one, if that is limited.
    pub(super) total: Option<Duration>,
}

/// Why a flow is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Over {
    /// Nothing was said for long enough.
    Silent,
    /// It has lasted as long as it may.
    Total,
}

/// The flows, each with what its owner keeps of it.
#[derive(Debug)]
pub(super) struct Table<T> {
    places: Vec<Place<T>>,
    free: Vec<u32>,
    numbers: HashMap<Pair, Number, RandomState>,
    visits: BinaryHeap<Reverse<(Instant, Number)>>,
    /// Those that no server has answered yet, the oldest first.
    unanswered: Ends,
    most_silent: Duration,
}

#[derive(Debug)]
struct Place<T> {
    generation: u32,
    flow: Option<Entry<T>>,
}

#[derive(Debug)]
struct Entry<T> {
    pair: Pair,
    value: T,
    began: Instant,
    last: Instant,
    lasts: Lasts,
    visit: Instant,
    /// Its neighbours among those that are unanswered; absent once it is answered.
    between: Option<Ends>,
}

/// The ends of a chain of places, or the neighbours in one.
#[derive(Clone, Copy, Debug, Default)]
struct Ends {
    first: Option<u32>,
    last: Option<u32>,
}

impl Number {
    /// As one word.
    pub(super) fn pack(self) -> u64 {
        u64::from(self.generation) << 32 | u64::from(self.place)
    }

    /// Back from it.
    pub(super) fn unpack(word: u64) -> Number {
        Number { place: word as u32, generation: (word >> 32) as u32 }
    }
}

impl<T> Table<T> {
    /// A table without flows.
    pub(super) fn new() -> Table<T> {
        Table {
            places: Vec::new(),
            free: Vec::new(),
            numbers: HashMap::default(),
            visits: BinaryHeap::new(),
            unanswered: Ends::default(),
            most_silent: Duration::MAX,
        }
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.numbers.len()
    }

    /// The flow that a datagram of this pair belongs to.
    pub(super) fn find(&self, pair: &Pair) -> Option<Number> {
        self.numbers.get(pair).copied()
    }

    /// Any flow.
    pub(super) fn any(&self) -> Option<Number> {
        self.numbers.values().next().copied()
    }

    /// A flow begins. There is none of this pair.
    pub(super) fn add(&mut self, pair: Pair, now: Instant, lasts: Lasts, value: T) -> Number {
        let place = self.free.pop().unwrap_or_else(|| {
            self.places.push(Place { generation: 0, flow: None });
            (self.places.len() - 1) as u32
        });
        let lasts = Lasts { silent: lasts.silent.min(self.most_silent), ..lasts };
        let number = Number { place, generation: self.places[place as usize].generation };
        let entry = Entry { pair, value, began: now, last: now, lasts, visit: now, between: None };
        let visit = entry.ends();
        self.places[place as usize].flow = Some(Entry { visit, ..entry });
        self.visits.push(Reverse((visit, number)));
        self.numbers.insert(pair, number);
        self.chain(place);
        number
    }

    /// What is kept of a flow, if it is not over.
    pub(super) fn get(&mut self, number: Number) -> Option<&mut T> {
        self.entry(number).map(|entry| &mut entry.value)
    }

    /// The pair of a flow.
    pub(super) fn pair(&mut self, number: Number) -> Option<Pair> {
        self.entry(number).map(|entry| entry.pair)
    }

    /// A datagram of a flow has come, or one of its server's.
    pub(super) fn touch(&mut self, number: Number, now: Instant) {
        if let Some(entry) = self.entry(number) {
            entry.last = now;
        }
    }

    /// A flow lasts as long as its new server has it.
    pub(super) fn set_lasts(&mut self, number: Number, lasts: Lasts) {
        let most = self.most_silent;
        let Some(entry) = self.entry(number) else { return };
        entry.lasts = Lasts { silent: lasts.silent.min(most), ..lasts };
        let ends = entry.ends();
        if ends < entry.visit {
            entry.visit = ends;
            self.visits.push(Reverse((ends, number)));
        }
    }

    /// From now on flows are over when they have been silent for as long as this.
    pub(super) fn hurry(&mut self, silent: Duration) {
        self.most_silent = silent;
        let all: Vec<Number> = self.numbers.values().copied().collect();
        for number in all {
            if let Some(lasts) = self.entry(number).map(|entry| entry.lasts) {
                self.set_lasts(number, lasts);
            }
        }
    }

    /// Its server has answered: it does not make room for others any more.
    pub(super) fn answered(&mut self, number: Number) {
        if self.entry(number).is_some() {
            self.unchain(number.place);
        }
    }

    /// Who makes room for others: the oldest of those that no server has answered.
    pub(super) fn unanswered(&self) -> Option<Number> {
        let place = self.unanswered.first?;
        Some(Number { place, generation: self.places[place as usize].generation })
    }

    /// The next flow that is over now, and why; those that are looked at and go on are shown to `goes_on`.
    pub(super) fn over(&mut self, now: Instant, mut goes_on: impl FnMut(&mut T)) -> Option<(Number, Over)> {
        loop {
            let Reverse((moment, number)) = *self.visits.peek()?;
            if moment > now {
                return None;
            }
            self.visits.pop();
            let Some(entry) = self.entry(number).filter(|entry| entry.visit == moment) else { continue };
            let ends = entry.ends();
            if ends <= now {
                let is_old = entry.lasts.total.is_some_and(|total| later(entry.began, total) <= now);
                return Some((number, if is_old { Over::Total } else { Over::Silent }));
            }
            goes_on(&mut entry.value);
            entry.visit = ends;
            self.visits.push(Reverse((ends, number)));
        }
    }

    /// When somebody is to be looked at next.
    pub(super) fn next_visit(&self) -> Option<Instant> {
        self.visits.peek().map(|Reverse((moment, _))| *moment)
    }

    /// A flow is over: what was kept of it, its pair, and when its last datagram came.
    pub(super) fn remove(&mut self, number: Number) -> Option<(Pair, Instant, T)> {
        self.entry(number)?;
        self.unchain(number.place);
        let place = &mut self.places[number.place as usize];
        let entry = place.flow.take()?;
        place.generation = place.generation.wrapping_add(1);
        self.free.push(number.place);
        self.numbers.remove(&entry.pair);
        Some((entry.pair, entry.last, entry.value))
    }

    fn entry(&mut self, number: Number) -> Option<&mut Entry<T>> {
        let place = self.places.get_mut(number.place as usize)?;
        if place.generation == number.generation { place.flow.as_mut() } else { None }
    }

    fn between(&mut self, place: u32) -> Option<&mut Ends> {
        self.places[place as usize].flow.as_mut()?.between.as_mut()
    }

    /// Puts a new flow behind those that are unanswered.
    fn chain(&mut self, place: u32) {
        let before = self.unanswered.last.replace(place);
        match before {
            Some(before) => {
                if let Some(ends) = self.between(before) {
                    ends.last = Some(place);
                }
            }
            None => self.unanswered.first = Some(place),
        }
        if let Some(entry) = &mut self.places[place as usize].flow {
            entry.between = Some(Ends { first: before, last: None });
        }
    }

    /// Takes a flow out of those that are unanswered, if it is one of them.
    fn unchain(&mut self, place: u32) {
        let Some(Ends { first, last }) =
            self.places[place as usize].flow.as_mut().and_then(|entry| entry.between.take())
        else {
            return;
        };
        match first {
            Some(before) => {
                if let Some(ends) = self.between(before) {
                    ends.last = last;
                }
            }
            None => self.unanswered.first = last,
        }
        match last {
            Some(after) => {
                if let Some(ends) = self.between(after) {
                    ends.first = first;
                }
            }
            None => self.unanswered.last = first,
        }
    }
}

impl<T> Entry<T> {
    fn ends(&self) -> Instant {
        let silent = later(self.last, self.lasts.silent);
        self.lasts.total.map_or(silent, |total| silent.min(later(self.began, total)))
    }
}

/// A moment that cannot be told is so far away that it never comes.
fn later(moment: Instant, by: Duration) -> Instant {
    const FAR: Duration = Duration::from_secs(u32::MAX as u64);
    moment + by.min(FAR)
}
