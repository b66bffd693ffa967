//! One server in control's care: what is known of it, since when, and why.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::SystemTime;

use proxy::pool::{Gate, Server};

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
    down: Option<Note>,
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
}

impl Transition {
    /// All of them, in order.
    pub const ALL: [Transition; 2] = [Transition::Up, Transition::Down];

    /// Its name in metrics.
    pub fn name(self) -> &'static str {
        match self {
            Transition::Up => "up",
            Transition::Down => "down",
        }
    }
}

impl Ward {
    pub(super) fn new(server: &Arc<Server>, care: &Care) -> Rc<Ward> {
        Rc::new(Ward { server: Arc::clone(server), gate: Arc::clone(&care.pool.gate), notes: RefCell::default() })
    }

    /// How often each transition has happened.
    pub fn transitions(&self) -> impl Iterator<Item = (&'static str, u64)> + use<> {
        let counts = self.notes.borrow().transitions;
        Transition::ALL.map(Transition::name).into_iter().zip(counts)
    }

    /// Why it is out, and since when, if checks or requests say so.
    pub fn trouble(&self) -> Option<Note> {
        self.notes.borrow().down.clone()
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
            self.note(Transition::Down, "down", why);
            self.notes.borrow_mut().down = Some(Note { since: SystemTime::now(), why: why.to_owned() });
            // Whoever waits for it alone waits in vain.
            self.gate.stir();
        }
    }

    /// Active checks pass again.
    pub(super) fn checked_up(&self, why: &str) {
        self.notes.borrow_mut().down = None;
        if self.server.set_checked_down(false) {
            self.note(Transition::Up, "up", why);
            self.gate.stir();
        }
    }

    fn note(&self, transition: Transition, what: &str, why: &str) {
        self.notes.borrow_mut().transitions[transition as usize] += 1;
        let id = &self.server.id;
        let message = format_args!("server `{}` of pool `{}` at {} is {what}: {why}", id.name, id.pool, id.address);
        if transition == Transition::Up {
            observe::log::info(message);
        } else {
            observe::log::warn(message);
        }
    }
}
