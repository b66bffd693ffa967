//! Two versions of a service behind one route: which of them a request sees.
//!
//! A client has a number, the same each time ([`Cohorts`]). It sees the candidate while its number is below the
//! candidate's share: a share that grows takes clients in and never lets one out. The share is one atomic that control
//! moves, so that a step needs no new snapshot and takes effect with the next request.
//!
//! A choice never fails: a side without a server that may be used leaves the request to the other one, unless that is a
//! candidate that an operator has taken everything from. Nothing here
//! judges how a side does; it counts, and control compares.

mod cohort;
mod state;

pub use cohort::{Cohorts, CookieRule};
pub use state::State;

use std::sync::Arc;

use crate::exchange::Exchange;
use crate::policy::Selector;
use crate::session::Session;
use crate::snapshot::{Arm, Ending};

/// Two versions of a service.
#[derive(Debug)]
pub struct Canary {
    /// The way to the stable version, and to the candidate.
    pub arms: [Arm; 2],
    /// What gives a client its number.
    pub cohorts: Cohorts,
    /// Requests that choose for themselves.
    pub force: Option<Force>,
    /// What control and all workers share of it.
    pub state: Arc<State>,
}

/// One of the two versions; as a number its place among a canary's arms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Variant {
    /// The one that is known to work.
    Stable,
    /// The new one.
    Candidate,
}

/// Requests that choose for themselves, by the value of something that they carry.
#[derive(Debug)]
pub struct Force {
    /// What is compared.
    pub by: Selector,
    /// The value that chooses the candidate.
    pub candidate: Option<Box<str>>,
    /// The value that chooses the stable version.
    pub stable: Option<Box<str>>,
}

/// Chooses the version for a request, and notes the number that its client should keep.
pub(crate) fn choose<'a>(session: &Session, x: &mut Exchange, canary: &'a Canary) -> &'a Arm {
    let kept = canary.cohorts.take(x);
    let forced = canary.force.as_ref().and_then(|force| force.wish(x));
    let forced = forced.filter(|wish| *wish == Variant::Stable || !canary.state.is_closed());
    x.notes.forced = forced.is_some();
    let wanted = forced.unwrap_or_else(|| {
        let number = kept.unwrap_or_else(|| {
            let draw = || session.worker.random.borrow_mut().u32(0..cohort::NUMBERS);
            let Cohorts::Cookie(rule) = &canary.cohorts else { return draw() };
            let number = rule.first(&x.request, x.facts.client, x.notes.time).unwrap_or_else(draw);
            x.notes.cohort = Some(number);
            number
        });
        if number < canary.state.share() { Variant::Candidate } else { Variant::Stable }
    });
    let other = wanted.other();
    // Better the other one than nobody, and be it a candidate that was rolled back; but an operator who aborts means it.
    let may_divert = other == Variant::Stable || !canary.state.is_closed();
    let serving = match canary.arm(wanted).has_server() || !may_divert || !canary.arm(other).has_server() {
        true => wanted,
        false => {
            canary.state.diverted_from(wanted);
            other
        }
    };
    x.notes.arm = Some(serving as usize);
    canary.arm(serving)
}

/// Notes that a request without a body, which waits for nobody else, has asked a version; it settles when the wait is over.
pub(crate) fn ask<'a>(ending: &'a Ending, x: &Exchange) -> Option<(&'a State, Variant)> {
    let Ending::Canary(canary) = ending else { return None };
    let variant = *Variant::ALL.get(x.notes.arm?)?;
    if x.notes.forced || !x.upload.is_read() {
        return None;
    }
    canary.state.asks(variant);
    Some((&canary.state, variant))
}

/// Tells a client that has none yet the number that it should keep.
pub(crate) fn tell(ending: &Ending, x: &mut Exchange) {
    if let Some(number) = x.notes.cohort.take()
        && let Ending::Canary(canary) = ending
        && let Cohorts::Cookie(rule) = &canary.cohorts
    {
        x.response.add(b"Set-Cookie", rule.set(number).as_bytes());
    }
}

impl Canary {
    fn arm(&self, variant: Variant) -> &Arm {
        let [stable, candidate] = &self.arms;
        match variant {
            Variant::Stable => stable,
            Variant::Candidate => candidate,
        }
    }
}

impl Variant {
    /// Both, in the order of a canary's arms.
    pub const ALL: [Variant; 2] = [Variant::Stable, Variant::Candidate];

    /// The other one.
    pub fn other(self) -> Variant {
        match self {
            Variant::Stable => Variant::Candidate,
            Variant::Candidate => Variant::Stable,
        }
    }

    /// The name, as logs and metrics say it.
    pub const fn name(self) -> &'static str {
        match self {
            Variant::Stable => "stable",
            Variant::Candidate => "candidate",
        }
    }
}

impl Force {
    fn wish(&self, x: &Exchange) -> Option<Variant> {
        let mut value = Vec::new();
        self.by.show(&x.facts.view(&x.request), &mut value);
        let is = |text: &Option<Box<str>>| text.as_ref().is_some_and(|text| text.as_bytes() == value);
        match () {
            () if is(&self.candidate) => Some(Variant::Candidate),
            () if is(&self.stable) => Some(Variant::Stable),
            () => None,
        }
    }
}
