//! A table of connections in the place of one of another size: the kernel makes none larger or smaller. What is in the old one is copied
//! twice, before the program runs by the new one and after, for what was opened between. Until that is done the program looks for what it does
//! not find in the old one, too: under `dnat` a server's packet without its connection would pass untouched, and its client would reset
//! what it does not know.

use std::fs;
use std::path::Path;

use crate::Refusal;
use crate::layout::{Flow, FlowKey, FlowValue};
use crate::survey::{self, Flows};
use crate::tables::next_flows;

/// What has come from one table into another.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Copied {
    /// Entries that were.
    pub entries: u64,
    /// Entries for which the new table had no room: those that were silent for longest.
    pub left_out: u64,
}

/// Copies what is not over, unless something newer is there.
pub(crate) fn copy(from: &Flows, to: &mut Flows) -> Result<Copied, Refusal> {
    /// For those that the new table has already.
    const NOEXIST: u64 = 1;
    let (most, now) = (survey::size_of(to)?, survey::now());
    // Keys that go away while this looks make it begin anew.
    let looked = from.iter().take(ROUNDS * survey::size_of(from)?).filter_map(Result::ok);
    let is_open = |(key, value): &(FlowKey, FlowValue)| !Flow::read(key, value).is_over(now);
    let mut open: Vec<(FlowKey, FlowValue)> = looked.filter(is_open).collect();
    open.sort_unstable_by_key(|(key, value)| (seen(value), *key));
    open.dedup_by_key(|(key, _)| *key);
    // The table gives places up before it is quite full, for each processor by itself.
    let left_out = open.len().saturating_sub(most);
    for (key, value) in &open[left_out..] {
        if to.insert(key, value, NOEXIST).is_err() && to.get(key, 0).is_ok_and(|there| seen(&there) < seen(value)) {
            // One that nobody has room for is no reason to stop.
            let _ = to.insert(key, value, 0);
        }
    }
    Ok(Copied { entries: (open.len() - left_out) as u64, left_out: left_out as u64 })
}

/// From now on whoever opens the table by its pin finds the new one.
pub(crate) fn take_its_place(folder: &Path) -> Result<(), Refusal> {
    let renamed = fs::rename(next_flows(folder), folder.join("flows"));
    renamed.map_err(|error| Refusal::of("pin the table of connections", &error))
}

/// A look gives up after so many times what the table has room for.
const ROUNDS: usize = 4;

/// When its last packet came.
fn seen(value: &FlowValue) -> u64 {
    value.first_chunk::<8>().map_or(0, |bytes| u64::from_ne_bytes(*bytes))
}
