//! What a pump asks before it reads, and says of what has passed: how fast it may go, and how much is left.

use std::task::{Context, Poll};

use super::Stop;
use crate::bandwidth::{self, Pace};
use crate::exchange::Exchange;
use crate::quota::{self, Tap};
use crate::snapshot::Route;
use crate::worker::Worker;

/// For one direction.
#[derive(Debug, Default)]
pub(crate) struct Toll {
    /// What holds it back.
    pub(crate) pace: Option<Pace>,
    /// What counts it, and may end it.
    pub(crate) tap: Option<Tap>,
}

/// For both directions of a tunnel.
#[derive(Debug, Default)]
pub(crate) struct Tolls {
    pub(crate) up: Option<Box<Toll>>,
    pub(crate) down: Option<Box<Toll>>,
}

impl Toll {
    /// The one of what goes from clients (`up`), or to them, by a route.
    pub(crate) fn of(worker: &Worker, x: &Exchange, route: &Route, up: bool) -> Option<Box<Toll>> {
        let (pace, tap) = (bandwidth::pace(worker, x, route, up), quota::tap(x, up));
        (pace.is_some() || tap.is_some()).then(|| Box::new(Toll { pace, tap }))
    }

    /// How many bytes may pass; pending until some may.
    pub(crate) fn poll_room(&mut self, cx: &Context<'_>) -> Poll<usize> {
        self.pace.as_mut().map_or(Poll::Ready(usize::MAX), |pace| pace.poll_room(cx))
    }

    /// So many bytes have passed.
    ///
    /// # Errors
    /// No more may.
    pub(crate) fn took(&self, bytes: u64) -> Result<(), Stop> {
        if let Some(pace) = &self.pace {
            pace.took(bytes);
        }
        if self.tap.as_ref().is_none_or(|tap| tap.took(bytes)) { Ok(()) } else { Err(Stop::Spent) }
    }
}

impl Tolls {
    /// Those of a tunnel by a route.
    pub(crate) fn of(worker: &Worker, x: &Exchange, route: &Route) -> Tolls {
        Tolls { up: Toll::of(worker, x, route, true), down: Toll::of(worker, x, route, false) }
    }
}
