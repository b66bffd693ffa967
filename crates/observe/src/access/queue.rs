//! What sinks and writer share: a bounded queue of filled buffers, and the empty ones that come back.
//!
//! The lock is held to move a pointer, or to copy a few lines behind others; never while anything is written. A worker
//! takes it once per buffer or tick, not once per line.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// A buffer of at least this many bytes is handed over at once.
pub(super) const FULL: usize = 32 * 1024;

/// So many filled buffers may wait: 4 MiB, some seconds of what a busy machine logs.
const WAITING: usize = 128;

/// So many empty buffers are kept for the next lines.
const SPARE: usize = 16;

/// What a new buffer holds before it must grow: the lines up to [`FULL`], and the one that passes it.
const ROOM: usize = FULL + 4 * 1024;

/// The queue between the workers and the writer.
#[derive(Debug, Default)]
pub(super) struct Queue {
    state: Mutex<State>,
    /// There is something to do for the writer.
    work: Condvar,
    /// The writer has ended.
    ended: Condvar,
    dropped: AtomicU64,
}

#[derive(Debug, Default)]
struct State {
    filled: VecDeque<Vec<u8>>,
    spare: Vec<Vec<u8>>,
    sinks: usize,
    reopen: bool,
    phase: Phase,
}

/// Where the log stands in its life.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Phase {
    /// Takes lines.
    #[default]
    Open,
    /// Its owner is gone: takes lines until the last sink is gone too.
    Orphaned,
    /// Was told to end: writes what is there, takes no more.
    Closing,
    /// Nobody waits for the writer any more: it ends as soon as it can.
    Abandoned,
    /// The writer is gone.
    Ended,
}

/// What the writer does next.
pub(super) enum Next {
    /// Writes these lines.
    Lines(Vec<u8>),
    /// Opens the file anew.
    Reopen,
    /// Ends: nothing waits and nothing will come.
    End,
}

impl Queue {
    /// Hands lines to the writer and leaves an empty buffer; says no, and leaves the lines, if too much waits already.
    /// A log that has ended drops them.
    pub(super) fn hand_over(&self, lines: &mut Vec<u8>) -> bool {
        self.push(lines, WAITING)
    }

    /// Hands over the last lines of a sink, room or not: there are no more of them than there are sinks.
    pub(super) fn hand_over_last(&self, lines: &mut Vec<u8>) {
        self.push(lines, usize::MAX);
    }

    fn push(&self, lines: &mut Vec<u8>, room: usize) -> bool {
        let mut state = self.lock();
        if !matches!(state.phase, Phase::Open | Phase::Orphaned) {
            self.drop_lines(lines);
            lines.clear();
            return true;
        }
        let waiting = state.filled.len();
        match state.filled.back_mut() {
            Some(last) if last.len() + lines.len() <= FULL => {
                last.extend_from_slice(lines);
                lines.clear();
            }
            _ if waiting >= room => return false,
            _ => {
                let empty = state.spare.pop().unwrap_or_else(|| Vec::with_capacity(ROOM));
                let filled = std::mem::replace(lines, empty);
                state.filled.push_back(filled);
            }
        }
        drop(state);
        self.work.notify_one();
        true
    }

    /// Waits for something to do. Lines that were handed over before the file was rotated may go to the new one.
    pub(super) fn next(&self) -> Next {
        let mut state = self.lock();
        loop {
            if std::mem::take(&mut state.reopen) {
                return Next::Reopen;
            }
            if let Some(lines) = state.filled.pop_front() {
                return Next::Lines(lines);
            }
            match state.phase {
                Phase::Orphaned if state.sinks == 0 => return Next::End,
                Phase::Closing | Phase::Abandoned | Phase::Ended => return Next::End,
                Phase::Open | Phase::Orphaned => {}
            }
            state = self.work.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Takes a written buffer back, unless one long line has made it too large to keep.
    pub(super) fn give_back(&self, mut buffer: Vec<u8>) {
        buffer.clear();
        let mut state = self.lock();
        if state.spare.len() < SPARE && buffer.capacity() <= 2 * ROOM {
            state.spare.push(buffer);
        }
    }

    pub(super) fn reopen(&self) {
        self.lock().reopen = true;
        self.work.notify_one();
    }

    pub(super) fn sink_born(&self) {
        self.lock().sinks += 1;
    }

    pub(super) fn sink_gone(&self) {
        self.lock().sinks -= 1;
        self.work.notify_one();
    }

    /// The log's owner is gone.
    pub(super) fn orphan(&self) {
        let mut state = self.lock();
        if state.phase == Phase::Open {
            state.phase = Phase::Orphaned;
        }
        self.work.notify_one();
    }

    /// Takes no more lines and waits until those that are there are written, or drops them when the time is over.
    pub(super) fn close(&self, within: Duration) -> bool {
        let mut state = self.lock();
        if matches!(state.phase, Phase::Open | Phase::Orphaned) {
            state.phase = Phase::Closing;
        }
        self.work.notify_one();
        let waited = self.ended.wait_timeout_while(state, within, |state| state.phase != Phase::Ended);
        let (mut state, timeout) = waited.unwrap_or_else(PoisonError::into_inner);
        if timeout.timed_out() {
            state.phase = Phase::Abandoned;
            for lines in state.filled.drain(..) {
                self.drop_lines(&lines);
            }
        }
        !timeout.timed_out()
    }

    /// Whether the writer should give up on what it is writing.
    pub(super) fn is_abandoned(&self) -> bool {
        self.lock().phase == Phase::Abandoned
    }

    /// The writer says that it has ended.
    pub(super) fn end(&self) {
        self.lock().phase = Phase::Ended;
        self.ended.notify_all();
    }

    /// Counts the lines of a buffer that nobody will write.
    pub(super) fn drop_lines(&self, lines: &[u8]) {
        self.drop_count(memchr::memchr_iter(b'\n', lines).count() as u64);
    }

    pub(super) fn drop_count(&self, lines: u64) {
        self.dropped.fetch_add(lines, Ordering::Relaxed);
    }

    pub(super) fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // The state is whole whenever the lock is free, also after a panic elsewhere.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
