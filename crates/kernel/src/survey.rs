//! A look at the whole table of connections: what is over is taken away, and what is left is counted. A look that takes long happens
//! on a thread of its own, so that whoever asks for it never waits.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use aya::maps::{HashMap as Table, Map, MapData, MapError};
use rustix::time::{ClockId, clock_gettime};

use crate::Refusal;
use crate::layout::{Flow, FlowKey, FlowValue};
use crate::tables::absent_is_fine;

/// The table of connections.
pub(crate) type Flows = Table<MapData, FlowKey, FlowValue>;

/// The last look, and the one under way.
#[derive(Debug)]
pub(crate) struct Survey {
    /// Where the table is pinned, for the thread.
    pin: PathBuf,
    last: Seen,
    /// When to look again, by the monotonic clock.
    due: Duration,
    beside: Option<JoinHandle<Result<Seen, Refusal>>>,
}

/// What a look has seen.
#[derive(Clone, Debug, Default)]
pub(crate) struct Seen {
    /// Connections and entries, by the server's number.
    numbers: HashMap<u16, (u64, u64)>,
    /// Entries that were over.
    pub(crate) taken: u64,
    /// When it began, by the monotonic clock.
    pub(crate) began: Duration,
    took: Duration,
}

/// What a look may take of the caller's time. One that takes longer, some tenths of a second for a full table of 262,144 entries, is begun
/// again beside.
const SHORT: Duration = Duration::from_millis(20);
/// A look that took longer than that is followed by a pause of so many times what it took.
const PAUSE: u32 = 20;

/// The clock that the program reads.
pub(crate) fn now() -> Duration {
    let time = clock_gettime(ClockId::Monotonic);
    Duration::new(u64::try_from(time.tv_sec).unwrap_or(0), u32::try_from(time.tv_nsec).unwrap_or(0))
}

impl Survey {
    /// Before the first look.
    pub(crate) fn new(pin: &Path) -> Survey {
        Survey { pin: pin.to_owned(), last: Seen::default(), due: Duration::ZERO, beside: None }
    }

    /// What a look has seen that has ended since the last call, or in this one.
    pub(crate) fn look(&mut self, flows: &mut Flows) -> Result<Option<&Seen>, Refusal> {
        if let Some(beside) = self.beside.take() {
            if !beside.is_finished() {
                self.beside = Some(beside);
                return Ok(None);
            }
            let ended = beside.join().map_err(|_| refused("look through the table of connections", "the thread ended"));
            return Ok(Some(self.note(ended??)));
        }
        if now() < self.due {
            return Ok(None);
        }
        if self.last.took < SHORT
            && let Some(seen) = round(flows, Some(SHORT))?
        {
            return Ok(Some(self.note(seen)));
        }
        let pin = self.pin.clone();
        let whole = move || round(&mut open(&pin)?, None).map(Option::unwrap_or_default);
        let thread = thread::Builder::new().name("packets".to_owned()).spawn(whole);
        self.beside = Some(thread.map_err(|error| Refusal::of("start a thread", &error))?);
        Ok(None)
    }

    /// Connections of a server.
    pub(crate) fn open(&self, number: u32) -> u64 {
        self.last.of(number).0
    }

    /// Entries that are in use.
    pub(crate) fn entries(&self) -> u64 {
        self.last.numbers.values().map(|(_, entries)| entries).sum()
    }

    fn note(&mut self, seen: Seen) -> &Seen {
        self.due = if seen.took < SHORT { Duration::ZERO } else { now() + seen.took * PAUSE };
        self.last = seen;
        &self.last
    }
}

impl Drop for Survey {
    fn drop(&mut self) {
        if let Some(beside) = self.beside.take() {
            // It ends by itself; what it has seen is nobody's any more.
            let _ = beside.join();
        }
    }
}

impl Seen {
    /// Whether a connection has this server.
    pub(crate) fn is_used(&self, number: u32) -> bool {
        self.of(number).1 > 0
    }

    fn of(&self, number: u32) -> (u64, u64) {
        u16::try_from(number).ok().and_then(|number| self.numbers.get(&number)).copied().unwrap_or_default()
    }

    fn note(&mut self, flow: &Flow) {
        let (connections, entries) = self.numbers.entry(flow.backend).or_default();
        *connections += u64::from(!flow.is_reply);
        *entries += 1;
    }
}

/// Looks at every entry; none if that takes longer than it may.
fn round(flows: &mut Flows, most: Option<Duration>) -> Result<Option<Seen>, Refusal> {
    let mut seen = Seen { began: now(), ..Seen::default() };
    let mut over = Vec::new();
    // The kernel begins anew when the entry that it was at has gone: no more is looked at than there can be.
    for (number, key) in flows.keys().take(size_of(flows)?).enumerate() {
        let key = key.map_err(|error| Refusal::of("read the table of connections", &error))?;
        if number % 256 == 255 && most.is_some_and(|most| now().saturating_sub(seen.began) > most) {
            return Ok(None);
        }
        let Ok(value) = flows.get(&key, 0) else { continue };
        let flow = Flow::read(&key, &value);
        if flow.is_over(seen.began) {
            over.push(key);
        } else {
            seen.note(&flow);
        }
    }
    for key in over {
        let removed = absent_is_fine(flows.remove(&key));
        removed.map_err(|error| Refusal::of("forget a connection", &error))?;
        seen.taken += 1;
    }
    seen.took = now().saturating_sub(seen.began);
    Ok(Some(seen))
}

fn open(pin: &Path) -> Result<Flows, Refusal> {
    let opened = MapData::from_pin(pin).and_then(|data| Flows::try_from(Map::LruHashMap(data)));
    opened.map_err(|error: MapError| Refusal::of("open the table of connections", &error))
}

/// How many entries the table has room for.
pub(crate) fn size_of(flows: &Flows) -> Result<usize, Refusal> {
    let map: &MapData = aya::maps::IterableMap::map(flows);
    let info = map.info().map_err(|error| Refusal::of("describe the table of connections", &error))?;
    Ok(info.max_entries() as usize)
}

fn refused(what: &str, said: &str) -> Refusal {
    Refusal::Kernel { what: what.to_owned(), said: said.to_owned() }
}
