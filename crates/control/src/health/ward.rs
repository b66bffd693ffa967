//! One server in control's care: what is known of it, since when, and why; what ends an ejection and what lets it start slowly.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use base::civil::Civil;
use base::units::print_duration;
use config::spec;
use observe::stats::Requests;
use proxy::balance::outlier::{Record, Terms};
use proxy::balance::slow_start;
use proxy::pool::{Errors, Gate, Server, WHOLE};

use crate::compile::Care;

/// A server in control's care.
#[derive(Debug)]
pub struct Ward {
    server: Arc<Server>,
    gate: Arc<Gate>,
    notes: RefCell<Notes>,
}

#[derive(Debug, Default)]
struct Notes {
    /// How long ejections last; none are made without.
    terms: Option<Terms>,
    slow_start: Option<Duration>,
    /// Since when it gets more and more, until it gets its whole share.
    ramp_since: Option<Instant>,
    wanted: bool,
    down: Option<Note>,
    ejected: Option<(Note, Instant)>,
    paused: Option<Note>,
    is_paused: bool,
    record: Record,
    pauses: u64,
    transitions: [u64; Transition::ALL.len()],
}

/// Something that is so since then, for this reason.
#[derive(Clone, Debug)]
pub struct Note {
    /// Since when.
    pub since: SystemTime,
    /// Why.
    pub why: String,
}

/// What may happen to a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transition {
    /// Active checks passed again.
    Up,
    /// Active checks failed.
    Down,
    /// It answered badly.
    Ejected,
    /// Its ejection is over.
    Returned,
    /// A connect failed.
    Paused,
}

impl Transition {
    /// All of them, in order.
    pub const ALL: [Transition; 5] =
        [Transition::Up, Transition::Down, Transition::Ejected, Transition::Returned, Transition::Paused];

    /// Its name in metrics.
    pub fn name(self) -> &'static str {
        match self {
            Transition::Up => "up",
            Transition::Down => "down",
            Transition::Ejected => "ejected",
            Transition::Returned => "returned",
            Transition::Paused => "paused",
        }
    }
}

impl Ward {
    pub(super) fn new(server: &Arc<Server>, care: &Care) -> Rc<Ward> {
        let notes = Notes { wanted: server.is_wanted(), pauses: server.pauses(), ..Notes::default() };
        Rc::new(Ward { server: Arc::clone(server), gate: Arc::clone(&care.pool.gate), notes: RefCell::new(notes) })
    }

    /// The same, of a server that has come back after it had left.
    pub(super) fn again(server: &Arc<Server>, care: &Care, before: &Ward) -> Rc<Ward> {
        let ward = Ward::new(server, care);
        {
            let (mut notes, before) = (ward.notes.borrow_mut(), before.notes.borrow());
            notes.record = before.record;
            notes.transitions = before.transitions;
        }
        ward
    }

    /// How often each transition has happened.
    pub fn transitions(&self) -> impl Iterator<Item = (&'static str, u64)> + use<> {
        let counts = self.notes.borrow().transitions;
        Transition::ALL.map(Transition::name).into_iter().zip(counts)
    }

    /// Why it is out, and since when, if checks or requests say so.
    pub fn trouble(&self) -> Option<Note> {
        // What a worker has done a moment ago has no note yet.
        self.look(Instant::now());
        let notes = self.notes.borrow();
        match () {
            () if self.server.is_checked_down() => notes.down.clone(),
            () if self.server.is_ejected() => notes.ejected.as_ref().map(|(note, _)| note.clone()),
            () if self.server.is_paused() => notes.paused.clone(),
            () => None,
        }
    }

    /// Takes over what the configuration says.
    pub(super) fn adopt(&self, care: &Care) {
        let mut notes = self.notes.borrow_mut();
        notes.terms = care.outlier.as_ref().map(terms);
        notes.slow_start = care.slow_start;
        if notes.slow_start.is_none() {
            notes.ramp_since = None;
            self.server.set_ramp(WHOLE);
        }
        self.server.set_most_errors(care.outlier.as_ref().map_or(0, |outlier| outlier.consecutive_errors));
    }

    /// No configuration names it any more. What it did before is remembered, should it come back.
    pub(super) fn release(&self, now: Instant) {
        let mut notes = self.notes.borrow_mut();
        if notes.ejected.take().is_some() {
            notes.record.come_back(now);
        }
        notes.down = None;
        self.server.set_most_errors(0);
        self.server.pardon();
        self.server.set_checked_down(false);
    }

    /// It has just come into the configuration of a process that serves already.
    pub(super) fn joined(&self, now: Instant) {
        self.start_slowly(&mut self.notes.borrow_mut(), now);
    }

    /// No check speaks against it, or none any more.
    pub(super) fn unchecked(&self) {
        self.notes.borrow_mut().down = None;
        if self.server.set_checked_down(false) {
            self.gate.stir();
        }
    }

    /// Active checks have failed.
    pub(super) fn checked_down(&self, why: &str) {
        if self.server.set_checked_down(true) {
            let mut notes = self.notes.borrow_mut();
            self.note(&mut notes, Transition::Down, format_args!("is down: {why}"));
            notes.down = Some(Note { since: SystemTime::now(), why: why.to_owned() });
            // Whoever waits for it alone waits in vain.
            self.gate.stir();
        }
    }

    /// Active checks pass again: what it did before it went down is forgiven, for it is likely another process.
    pub(super) fn checked_up(&self, why: &str) {
        let mut notes = self.notes.borrow_mut();
        notes.down = None;
        if self.server.is_checked_down() {
            self.start_slowly(&mut notes, Instant::now());
            self.server.connect_succeeded();
            if notes.ejected.take().is_some() {
                notes.record.come_back(Instant::now());
            }
            self.server.pardon();
            self.server.set_checked_down(false);
            self.note(&mut notes, Transition::Up, format_args!("is up: {why}"));
            self.gate.stir();
        }
    }

    /// Its slot, and what it has counted.
    pub(super) fn reading(&self) -> (usize, Requests) {
        (self.server.slot, self.server.stats.read())
    }

    /// It differs from the other servers of its pool: it is ejected, if the pool can spare it.
    pub(super) fn differs(&self, why: String, now: Instant) {
        let mut notes = self.notes.borrow_mut();
        let notes = &mut *notes;
        if let Some(terms) = notes.terms
            && self.server.eject()
        {
            self.ejected(notes, &terms, why, now);
        }
    }

    /// Looks at what workers and operators have done since, and at what time has brought.
    pub(super) fn look(&self, now: Instant) {
        let mut notes = self.notes.borrow_mut();
        let notes = &mut *notes;
        self.look_at_pauses(notes);
        self.look_at_ejection(notes, now);
        let wanted = self.server.is_wanted();
        if wanted && !notes.wanted {
            self.start_slowly(notes, now);
        }
        notes.wanted = wanted;
        if let (Some(since), Some(window)) = (notes.ramp_since, notes.slow_start) {
            let ramp = slow_start::ramp(now.saturating_duration_since(since), window);
            self.server.set_ramp(ramp);
            notes.ramp_since = (ramp < WHOLE).then_some(since);
        }
    }

    fn look_at_pauses(&self, notes: &mut Notes) {
        // Pauses begin in workers and end by themselves: whoever waits may have another choice then.
        let is_paused = self.server.is_paused();
        if std::mem::replace(&mut notes.is_paused, is_paused) != is_paused {
            self.gate.stir();
        }
        let pauses = self.server.pauses();
        if pauses == notes.pauses {
            return;
        }
        notes.pauses = pauses;
        let why = format!("failed ×{}: {}", self.server.connect_failures().max(1), self.server.last_failure());
        self.note(notes, Transition::Paused, format_args!("is passed over, {why}"));
        notes.paused = Some(Note { since: SystemTime::now(), why });
    }

    fn look_at_ejection(&self, notes: &mut Notes, now: Instant) {
        let Some(terms) = notes.terms else {
            notes.ejected = None;
            if self.server.is_ejected() {
                self.server.pardon();
            }
            return;
        };
        match &notes.ejected {
            None if self.server.is_ejected() => {
                let why = errors(&self.server.errors(), SystemTime::now());
                self.ejected(notes, &terms, why, now);
            }
            None => notes.record.forgive(&terms, now),
            Some((_, until)) if *until <= now => {
                notes.ejected = None;
                notes.record.come_back(now);
                self.start_slowly(notes, now);
                self.server.pardon();
                self.note(notes, Transition::Returned, format_args!("is back: its ejection is over"));
                self.gate.stir();
            }
            Some(_) => {}
        }
    }

    fn ejected(&self, notes: &mut Notes, terms: &Terms, why: String, now: Instant) {
        let term = notes.record.eject(terms);
        self.note(notes, Transition::Ejected, format_args!("is ejected for {}: {why}", print_duration(term)));
        notes.ejected = Some((Note { since: SystemTime::now(), why }, now + term));
        self.gate.stir();
    }

    /// Must come before the server is usable again, or it would be given its whole share for a moment.
    fn start_slowly(&self, notes: &mut Notes, now: Instant) {
        if let Some(window) = notes.slow_start {
            notes.ramp_since = Some(now);
            self.server.set_ramp(slow_start::ramp(Duration::ZERO, window));
        }
    }

    fn note(&self, notes: &mut Notes, transition: Transition, what: std::fmt::Arguments<'_>) {
        notes.transitions[transition as usize] += 1;
        let id = &self.server.id;
        let message = format_args!("server `{}` of pool `{}` at {} {what}", id.name, id.pool, id.address);
        match transition {
            Transition::Up | Transition::Returned => observe::log::info(message),
            Transition::Down | Transition::Ejected | Transition::Paused => observe::log::warn(message),
        }
    }
}

fn terms(outlier: &spec::Outlier) -> Terms {
    Terms { eject_for: outlier.eject_for, eject_for_max: outlier.eject_for_max }
}

/// `502 ×5 since 10:31:04`, in UTC like the log.
fn errors(errors: &Errors, now: SystemTime) -> String {
    let since = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let Civil { hour, minute, second, .. } = Civil::of(since.as_secs().saturating_sub(errors.age / 1000));
    format!("{} ×{} since {hour:02}:{minute:02}:{second:02}", errors.last, errors.count)
}
