//! Copies of requests to servers whose answers nobody sees, and what came of them beside the real ones.
//!
//! A copy is made while the request goes its way and sent once that has been answered: so it can neither hold it up nor
//! change it. What a copy costs is bounded: its body by `limit`, the number of copies by `at_once`, its time by the
//! mirror's. What is beyond that is dropped and counted. An answer to a copy is read and forgotten; its status and its time
//! are put beside those of the real one ([`Report`]).
//!
//! A copy is an exchange like any other, with [`attempt`](crate::attempt) and all that this respects, in a task of its own.

mod report;
mod run;

pub use report::{Comparison, Difference, Dropped, Report};
pub(crate) use run::release;

use std::sync::Arc;

use wire::{Framing, Head, Known};

use crate::exchange::Exchange;
use crate::policy::Policy;
use crate::session::Session;
use crate::snapshot::Route;
use report::Slot;

/// Where copies go.
#[derive(Debug)]
pub struct Mirror {
    /// The way there: one pool, and how long a copy may take. Its name marks copies in the access log.
    pub route: Route,
    /// How many requests are copied, in hundredths of a percent.
    pub share: u32,
    /// Bytes of a body; what has more is not copied.
    pub limit: usize,
    /// Copies that the process holds at a time.
    pub at_once: u32,
    /// What came of them.
    pub report: Arc<Report>,
}

/// A request that is being copied.
#[derive(Debug)]
pub(crate) struct Copies {
    /// Its head, as the servers of its own pool would see it.
    head: Head,
    /// Where to, and the largest body that each of them takes.
    to: Vec<(Arc<Mirror>, Slot)>,
}

/// Decides whether the request is copied, and begins with its head. A protocol switch cannot be.
pub(crate) fn begin(session: &Session, x: &mut Exchange, route: &Route) {
    let mut to: Vec<(Arc<Mirror>, Slot)> = Vec::new();
    for policy in &route.policies {
        let Policy::Mirror(mirror) = &**policy else { continue };
        let drawn = session.worker.random.borrow_mut().u32(0..10_000) < mirror.share;
        if !drawn || x.facts.websocket {
            continue;
        }
        if matches!(x.request.framing(), Framing::Length(length) if length > mirror.limit as u64) {
            mirror.report.dropped(Dropped::TooLarge);
        } else if let Some(slot) = Slot::take(&mirror.report, mirror.at_once) {
            to.push((Arc::clone(mirror), slot));
        } else {
            mirror.report.dropped(Dropped::TooMany);
        }
    }
    let Some(most) = to.iter().map(|(mirror, _)| mirror.limit).max() else { return };
    let mut head = x.request.clone();
    // The copy goes out whole: there is nobody to be told to go on.
    head.remove_known(Known::Expect);
    if !x.upload.is_read() {
        x.upload.copy_up_to(most.saturating_sub(x.prefix.len()));
    }
    x.copies = Some(Box::new(Copies { head, to }));
}
