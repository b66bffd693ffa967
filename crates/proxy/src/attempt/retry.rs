//! Whether a request is tried again: the configuration has to ask for it, and it has to be safe.

use base::{Fault, Kind, Retry};

use crate::exchange::Exchange;
use crate::snapshot::Arm;

/// Whether the configuration asks for another try on this.
pub(super) fn is_condition(arm: &Arm, kind: Kind) -> bool {
    match kind {
        Kind::Connect | Kind::ConnectTimeout => arm.retries.connect,
        Kind::Reset | Kind::BadResponse => arm.retries.reset,
        Kind::ResponseTimeout => arm.retries.timeout,
        Kind::BadStatus => true,
        _ => false,
    }
}

/// Whether another try is safe.
pub(super) fn may_repeat(x: &Exchange, fault: Fault) -> bool {
    let replayable = !x.notes.interim && x.upload.content <= x.prefix.len() as u64;
    match fault.retry {
        Retry::Always => replayable,
        Retry::Idempotent => replayable && x.request.method().is_idempotent(),
        Retry::Never => false,
    }
}

/// Whether the response that came is one that the configuration would rather not have.
pub(super) fn wants_another(x: &Exchange, arm: &Arm) -> bool {
    arm.retries.statuses.contains(&x.response.status())
        && u32::from(x.notes.tries) <= arm.retries.extra
        && may_repeat(x, Fault::server(Kind::BadStatus, Retry::Idempotent))
}

pub(super) fn again(x: &mut Exchange) {
    let framing = x.request.framing();
    x.upload.redirect(framing);
    x.response.clear();
}
