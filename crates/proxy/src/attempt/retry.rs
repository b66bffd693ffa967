//! Whether a request is tried again: the configuration has to ask for it, it has to be safe, and there has to be time.

use std::time::Duration;

use base::{Fault, Kind, Retry};

use super::time_left;
use crate::exchange::Exchange;
use crate::session::Session;
use crate::snapshot::{Arm, Route};

/// What follows a try that failed.
pub(super) enum Next {
    /// Another one, after this wait.
    Try(Duration),
    /// None: what came of this one is the answer.
    Stop,
}

/// Decides what follows a try that ended with this fault.
pub(super) fn next(session: &Session, x: &Exchange, route: &Route, arm: &Arm, fault: Fault) -> Next {
    let retries = u32::from(x.notes.tries);
    if retries > arm.retries.extra || !is_condition(arm, fault.kind) || !may_repeat(x, fault) {
        return Next::Stop;
    }
    let wait = match arm.retries.backoff {
        None => Duration::ZERO,
        Some(backoff) => backoff.wait(retries, session.worker.random.borrow_mut().f64()),
    };
    // Nobody is helped by a try that begins when the request's time is over.
    if time_left(x, route).is_some_and(|left| left <= wait) {
        return Next::Stop;
    }
    Next::Try(wait)
}

/// Whether the configuration asks for another try on this.
fn is_condition(arm: &Arm, kind: Kind) -> bool {
    match kind {
        Kind::Connect | Kind::ConnectTimeout => arm.retries.connect,
        Kind::Reset | Kind::BadResponse => arm.retries.reset,
        Kind::ResponseTimeout => arm.retries.timeout,
        Kind::BadStatus => true,
        _ => false,
    }
}

/// Whether another try is safe: nothing was sent, or the method is idempotent (RFC 9110 section 9.2.2); everything that was
/// sent is still here; and the client has seen nothing of an answer.
pub(super) fn may_repeat(x: &Exchange, fault: Fault) -> bool {
    let replayable = !x.notes.interim && x.upload.content <= x.prefix.len() as u64;
    match fault.retry {
        Retry::Always => replayable,
        Retry::Idempotent => replayable && x.request.method().is_idempotent(),
        Retry::Never => false,
    }
}

/// Makes the exchange ready for another try.
pub(super) fn again(x: &mut Exchange) {
    let framing = x.request.framing();
    x.upload.redirect(framing);
    x.response.clear();
    x.notes.response = None;
    x.notes.reason = "";
}
