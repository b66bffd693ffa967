//! Small pieces that wait for others, to leave in fewer and fuller segments (`coalesce`).

use std::fmt;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use net::alarm::Alarm;

use crate::worker::{Out, Worker};

/// How much may be gathered before it goes on, and how long that may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Coalesce {
    /// So many bytes wait for no others.
    pub bytes: usize,
    /// How long the first byte waits for others at most.
    pub delay: Duration,
}

/// What waits in one direction of a flow.
pub(super) struct Gather {
    said: Coalesce,
    alarm: Alarm,
    /// A flow that is silent owns no buffer.
    held: Option<Out>,
}

impl fmt::Debug for Gather {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let held = self.held.as_ref().map_or(0, |held| held.len());
        f.debug_struct("Gather").field("said", &self.said).field("held", &held).finish_non_exhaustive()
    }
}

impl Gather {
    /// Nothing waits yet. Without a clock nothing ever does.
    pub(super) fn new(worker: &Rc<Worker>, said: Coalesce) -> Option<Gather> {
        Some(Gather { said, alarm: worker.alarm().ok()?, held: None })
    }

    /// Adds what has come; answers all that goes on now, if enough is here.
    pub(super) fn add(&mut self, worker: &Rc<Worker>, bytes: &[u8]) -> Option<Out> {
        let held = self.held.get_or_insert_with(|| {
            self.alarm.set(Instant::now(), self.said.delay);
            worker.out()
        });
        held.extend_from_slice(bytes);
        if held.len() < self.said.bytes { None } else { self.take() }
    }

    /// Whether so many bytes wait for nothing: enough of them, and none before them.
    pub(super) fn passes(&self, bytes: usize) -> bool {
        self.held.is_none() && bytes >= self.said.bytes
    }

    /// Whether nothing waits.
    pub(super) fn is_empty(&self) -> bool {
        self.held.is_none()
    }

    /// What waits, because nothing else is waited for.
    pub(super) fn take(&mut self) -> Option<Out> {
        self.alarm.unset();
        self.held.take()
    }

    /// What has waited for long enough; pending while something still may wait, nothing if nothing does.
    pub(super) fn poll_late(&mut self, cx: &Context<'_>) -> Poll<Option<Out>> {
        match &self.held {
            None => Poll::Ready(None),
            Some(_) => self.alarm.poll_due(cx).map(|()| self.take()),
        }
    }
}
