//! The listener as it was when an exchange began.

use std::ops::Deref;
use std::rc::Rc;
use std::sync::Arc;

use crate::session::Session;
use crate::snapshot::{Listener, Snapshot};

/// The listener that an exchange runs by, whatever is reloaded meanwhile.
pub(crate) enum Pinned {
    #[expect(clippy::redundant_allocation, reason = "see the worker's field")]
    Current(Rc<Arc<Snapshot>>, usize),
    Removed(Arc<Listener>),
}

/// Takes hold of it, and tells the session if a reload has made it anew.
pub(crate) fn pin(session: &mut Session) -> Pinned {
    let snapshot = session.worker.pin();
    match snapshot.successor(&session.listener) {
        None => Pinned::Removed(Arc::clone(&session.listener)),
        Some(listener) => {
            if !Arc::ptr_eq(listener, &session.listener) {
                session.adopt(Arc::clone(listener));
            }
            let slot = listener.id.0 as usize;
            Pinned::Current(snapshot, slot)
        }
    }
}

impl Deref for Pinned {
    type Target = Listener;
    fn deref(&self) -> &Listener {
        match self {
            Pinned::Removed(listener) => listener,
            // The slot was full when it was pinned, and a snapshot never changes.
            Pinned::Current(snapshot, slot) => match &snapshot.listeners[*slot] {
                Some(listener) => listener,
                None => unreachable!("a pinned listener is in its snapshot"),
            },
        }
    }
}
