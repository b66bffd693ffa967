//! A look at the whole table of connections: what is over is taken away, and what is left is counted.

use std::collections::HashMap;
use std::time::Duration;

use aya::maps::{HashMap as Table, MapData};
use rustix::time::{ClockId, clock_gettime};

use crate::Refusal;
use crate::layout::{Flow, FlowKey, FlowValue};
use crate::tables::absent_is_fine;

/// The last look.
#[derive(Debug, Default)]
pub(crate) struct Survey {
    last: Seen,
    /// When to look again, by the monotonic clock.
    due: Duration,
}

/// What a look has seen.
#[derive(Clone, Debug, Default)]
pub(crate) struct Seen {
    /// Connections and entries, by the server's number.
    numbers: HashMap<u16, (u64, u64)>,
    /// Entries that were over.
    pub(crate) taken: u64,
}

/// A look at a full table of 262,144 entries takes some tenths of a second of this thread: then so much more time passes before the
/// next one. One that takes less than [`SHORT`] may follow at once.
const SHARE: u32 = 50;
const SHORT: Duration = Duration::from_millis(20);

/// The clock that the program reads.
pub(crate) fn now() -> Duration {
    let time = clock_gettime(ClockId::Monotonic);
    Duration::new(u64::try_from(time.tv_sec).unwrap_or(0), u32::try_from(time.tv_nsec).unwrap_or(0))
}

impl Survey {
    /// Looks, unless the last look took so long that it is too early.
    pub(crate) fn look(
        &mut self,
        flows: &mut Table<MapData, FlowKey, FlowValue>,
        began: Duration,
    ) -> Result<Option<&Seen>, Refusal> {
        if began < self.due {
            return Ok(None);
        }
        let mut seen = Seen::default();
        let mut over = Vec::new();
        // The kernel begins anew when the entry that it was at has gone: no more is looked at than there can be.
        let most = flows_bound(flows)?;
        for key in flows.keys().take(most) {
            let key = key.map_err(|error| Refusal::of("read the table of connections", &error))?;
            let Ok(value) = flows.get(&key, 0) else { continue };
            let flow = Flow::read(&key, &value);
            if flow.is_over(began) {
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
        let ended = now();
        let took = ended.saturating_sub(began);
        self.due = if took < SHORT { ended } else { ended + took * SHARE };
        self.last = seen;
        Ok(Some(&self.last))
    }

    /// Connections of a server.
    pub(crate) fn open(&self, number: u32) -> u64 {
        self.last.of(number).0
    }

    /// Entries that are in use.
    pub(crate) fn entries(&self) -> u64 {
        self.last.numbers.values().map(|(_, entries)| entries).sum()
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

fn flows_bound(flows: &Table<MapData, FlowKey, FlowValue>) -> Result<usize, Refusal> {
    let map: &MapData = aya::maps::IterableMap::map(flows);
    let info = map.info().map_err(|error| Refusal::of("describe the table of connections", &error))?;
    Ok(info.max_entries() as usize)
}
