//! Whether a request is tried again: the configuration has to ask for it, it has to be safe, and there has to be time, and the pool's
//! limits have to leave room.

use std::borrow::Cow;
use std::time::{Duration, Instant};

use base::{Fault, Kind, Retry};

use super::time_left;
use crate::exchange::Exchange;
use crate::pool::{Entry, Limit};
use crate::session::Session;
use crate::snapshot::{Arm, Route};

/// What follows a try that failed.
pub(super) enum Next {
    /// Another one, after this wait.
    Try(Duration),
    /// None: what came of this one is the answer.
    Stop,
}

/// Counts the request among those of its pool, where that is asked for, and refuses it if there are too many.
pub(super) fn count(x: &mut Exchange, arm: &Arm) -> Result<(), Fault> {
    let gate = &arm.pool.gate;
    if arm.retries.budget.is_some() {
        gate.budget.request(x.notes.began);
    }
    if let Some(most) = arm.pool.breaker.requests {
        x.entry = gate.requests.enter(most);
        if x.entry.is_none() {
            meet(x, arm, Limit::Requests);
            return Err(Fault::proxy(Kind::CircuitBreaker));
        }
    }
    if let Some(bounds) = arm.pool.concurrency {
        x.permit = gate.concurrency.enter(bounds);
        if x.permit.is_none() {
            meet(x, arm, Limit::Concurrency);
            return Err(Fault::proxy(Kind::CircuitBreaker));
        }
    }
    x.notes.counted = true;
    Ok(())
}

/// Whether a try has ended before there was a server that it was for.
pub(super) fn is_idle(fault: Fault) -> bool {
    matches!(fault.kind, Kind::NoServer | Kind::QueueFull | Kind::QueueTimeout)
}

/// Decides what follows a try that ended with this fault. A further try is counted for as long as `retrying` lives.
pub(super) fn next(
    session: &Session,
    x: &mut Exchange,
    route: &Route,
    arm: &Arm,
    fault: Fault,
    retrying: &mut Option<Entry>,
) -> Next {
    let retries = u32::from(x.notes.tries.saturating_sub(x.notes.hedges).saturating_sub(x.notes.free));
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
    match afford(arm, retrying, Instant::now()) {
        Ok(()) => Next::Try(wait),
        Err(limit) => {
            meet(x, arm, limit);
            Next::Stop
        }
    }
}

/// Whether the pool's limits leave room for one more try, which is counted at this moment.
pub(super) fn afford(arm: &Arm, retrying: &mut Option<Entry>, now: Instant) -> Result<(), Limit> {
    let gate = &arm.pool.gate;
    if let Some(most) = arm.pool.breaker.retries
        && retrying.is_none()
    {
        *retrying = Some(gate.retries.enter(most).ok_or(Limit::Retries)?);
    }
    match arm.retries.budget {
        Some(share) if !gate.budget.retry(now, share) => Err(Limit::RetryBudget),
        _ => Ok(()),
    }
}

pub(super) fn meet(x: &mut Exchange, arm: &Arm, limit: Limit) {
    x.notes.limit = Some(limit);
    arm.pool.gate.met.count(limit);
}

/// Whether the configuration asks for another try on this.
fn is_condition(arm: &Arm, kind: Kind) -> bool {
    match kind {
        Kind::Connect | Kind::Unwelcome | Kind::ServerTls | Kind::ConnectTimeout => arm.retries.connect,
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
pub(crate) fn again(x: &mut Exchange) {
    x.upload.redirect();
    x.response.clear();
    x.notes.response = None;
    x.notes.call = None;
    x.notes.waited = None;
    x.notes.reason = "";
    x.notes.cause = Cow::Borrowed("");
}
