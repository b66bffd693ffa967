//! A look at the whole table of connections: what is over is taken away, and what is left is counted. A look that takes long happens
//! on a thread of its own, so that whoever asks for it never waits.

use std::collections::{HashMap, HashSet};
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

/// The last looks, and the one under way.
#[derive(Debug)]
pub(crate) struct Survey {
    /// Where the table is pinned, for the thread.
    pin: PathBuf,
    /// The last one that saw the whole table, and the one before it.
    last: Seen,
    before: Seen,
    /// What the last one took, whatever it saw.
    took: Duration,
    /// When to look again, by the monotonic clock.
    due: Duration,
    beside: Option<JoinHandle<Result<Seen, Refusal>>>,
}

/// What a look has seen.
#[derive(Clone, Debug, Default)]
struct Seen {
    /// Connections and entries, by the server's number.
    numbers: HashMap<u16, (u64, u64)>,
    /// Numbers of all that came up, what was counted anew included.
    used: HashSet<u16>,
    /// Whether it came to the end of the table.
    is_whole: bool,
    /// Entries that were over.
    taken: u64,
    /// When it began, by the monotonic clock.
    began: Duration,
    took: Duration,
}

/// What a look may take of the caller's time. One that takes longer, some tenths of a second for a full table of 262,144 entries, is begun
/// again beside.
const SHORT: Duration = Duration::from_millis(20);
/// A look that took longer than that is followed by a pause of so many times what it took, and no longer than [`MOST_PAUSE`].
const PAUSE: u32 = 100;
const MOST_PAUSE: Duration = Duration::from_secs(120);
/// So many of the first keys are remembered by a look: to meet one again tells that the kernel has begun anew.
const HEAD: usize = 64;
/// A look gives up after so many times what the table has room for.
const ROUNDS: usize = 4;

/// The clock that the program reads.
pub(crate) fn now() -> Duration {
    let time = clock_gettime(ClockId::Monotonic);
    Duration::new(u64::try_from(time.tv_sec).unwrap_or(0), u32::try_from(time.tv_nsec).unwrap_or(0))
}

impl Survey {
    /// Before the first look.
    pub(crate) fn new(pin: &Path) -> Survey {
        let (last, before) = (Seen::default(), Seen::default());
        Survey { pin: pin.to_owned(), last, before, took: Duration::ZERO, due: Duration::ZERO, beside: None }
    }

    /// How many entries were over, if a look has ended since the last call, or in this one.
    pub(crate) fn look(&mut self, flows: &mut Flows) -> Result<Option<u64>, Refusal> {
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
        if self.took < SHORT
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

    /// Whether no connection has this server: neither of the last two looks that saw the whole table met one, and both began after this
    /// time. One is not enough: an entry that is written anew while a look passes by may move to where the look has been.
    pub(crate) fn is_idle(&self, number: u32, since: Duration) -> bool {
        [&self.last, &self.before].into_iter().all(|seen| {
            let is_used = u16::try_from(number).is_ok_and(|number| seen.used.contains(&number));
            seen.is_whole && seen.began > since && !is_used
        })
    }

    fn note(&mut self, seen: Seen) -> u64 {
        self.took = seen.took;
        self.due = if seen.took < SHORT { Duration::ZERO } else { now() + (seen.took * PAUSE).min(MOST_PAUSE) };
        let taken = seen.taken;
        // Numbers of a part of the table are worse than those of a while ago.
        if seen.is_whole {
            self.before = std::mem::replace(&mut self.last, seen);
        }
        taken
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
    fn of(&self, number: u32) -> (u64, u64) {
        u16::try_from(number).ok().and_then(|number| self.numbers.get(&number)).copied().unwrap_or_default()
    }

    fn note(&mut self, flow: &Flow) {
        let (connections, entries) = self.numbers.entry(flow.backend).or_default();
        *connections += u64::from(!flow.is_reply);
        *entries += 1;
        self.used.insert(flow.backend);
    }
}

/// Looks at every entry; none if that takes longer than it may.
fn round(flows: &mut Flows, most: Option<Duration>) -> Result<Option<Seen>, Refusal> {
    let read = |key: &FlowKey| Some(Flow::read(key, &flows.get(key, 0).ok()?));
    let Some((mut seen, over)) = walk(flows.keys(), read, size_of(flows)?, now(), most)? else { return Ok(None) };
    for key in over {
        let removed = absent_is_fine(flows.remove(&key));
        removed.map_err(|error| Refusal::of("forget a connection", &error))?;
        seen.taken += 1;
    }
    seen.took = now().saturating_sub(seen.began);
    Ok(Some(seen))
}

/// What is in the table, and the keys of what is over. When the entry that a walk is at has gone, the kernel goes on with the first
/// one: everything is counted anew then, and a walk that comes to no end among a table's churn has not seen the whole of it.
fn walk(
    keys: impl Iterator<Item = Result<FlowKey, MapError>>,
    read: impl Fn(&FlowKey) -> Option<Flow>,
    size: usize,
    began: Duration,
    most: Option<Duration>,
) -> Result<Option<(Seen, Vec<FlowKey>)>, Refusal> {
    let mut seen = Seen { began, ..Seen::default() };
    let (mut over, mut head, mut met) = (Vec::new(), HashSet::with_capacity(HEAD), 0_usize);
    // A walk of the kernel that has ended begins again when it is asked on.
    let mut keys = keys.enumerate().fuse();
    for (number, key) in keys.by_ref().take(ROUNDS.saturating_mul(size)) {
        let key = key.map_err(|error| Refusal::of("read the table of connections", &error))?;
        if number % 256 == 255 && most.is_some_and(|most| now().saturating_sub(seen.began) > most) {
            return Ok(None);
        }
        if head.contains(&key) {
            over.clear();
            head.clear();
            seen.numbers.clear();
            met = 0;
        }
        if head.len() < HEAD {
            head.insert(key);
        }
        met += 1;
        let Some(flow) = read(&key) else { continue };
        if flow.is_over(seen.began) {
            over.push(key);
        } else {
            seen.note(&flow);
        }
    }
    // More than there can be were counted twice.
    seen.is_whole = keys.next().is_none() && met <= size;
    Ok(Some((seen, over)))
}

pub(crate) fn open(pin: &Path) -> Result<Flows, Refusal> {
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

#[cfg(test)]
mod tests;
