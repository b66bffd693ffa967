//! Encoders on loan from a worker. A state of a megabyte is used again rather than made anew, and the process never has more of
//! them under way than it wants.

use std::cell::RefCell;
use std::ops::{Deref, DerefMut};
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use super::encoder::{Encoder, Recipe};
use crate::worker::Worker;

/// The encoders that a worker keeps for later.
#[derive(Debug, Default)]
pub(crate) struct Encoders {
    kept: RefCell<Vec<Encoder>>,
}

/// An encoder on loan; it goes home by itself.
pub(crate) struct Lent {
    /// There until it goes home.
    encoder: Option<Encoder>,
    home: Rc<Worker>,
}

/// How many are under way in the process.
#[derive(Debug, Default)]
pub(crate) struct UnderWay {
    now: AtomicUsize,
    refused: AtomicU64,
}

/// How many a worker keeps.
const KEPT: usize = 8;

impl Encoders {
    /// An encoder, unless the process has so many under way already.
    pub(crate) fn lend(home: &Rc<Worker>, recipe: Recipe, most: usize) -> Option<Lent> {
        if !home.fleet.under_way().enter(most) {
            return None;
        }
        // From here on it counts until it is dropped.
        let mut lent = Lent { encoder: None, home: Rc::clone(home) };
        lent.encoder = home.encoders.take(recipe).or_else(|| Encoder::new(recipe).ok());
        lent.encoder.is_some().then_some(lent)
    }

    fn take(&self, recipe: Recipe) -> Option<Encoder> {
        let mut kept = self.kept.borrow_mut();
        let at = kept.iter().rposition(|encoder| encoder.recipe == recipe)?;
        Some(kept.remove(at))
    }

    fn give_back(&self, encoder: Encoder) {
        let Some(encoder) = encoder.reset() else { return };
        let mut kept = self.kept.borrow_mut();
        if kept.len() == KEPT {
            // The one that was not wanted for longest, so that recipes of yesterday do not stay.
            kept.remove(0);
        }
        kept.push(encoder);
    }
}

impl UnderWay {
    fn enter(&self, most: usize) -> bool {
        if self.now.fetch_add(1, Ordering::Relaxed) < most {
            return true;
        }
        self.leave();
        self.refused.fetch_add(1, Ordering::Relaxed);
        false
    }

    fn leave(&self) {
        self.now.fetch_sub(1, Ordering::Relaxed);
    }

    pub(crate) fn now(&self) -> usize {
        self.now.load(Ordering::Relaxed)
    }

    pub(crate) fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }
}

impl Deref for Lent {
    type Target = Encoder;
    fn deref(&self) -> &Encoder {
        match &self.encoder {
            Some(encoder) => encoder,
            None => unreachable!("an encoder is there until it goes home"),
        }
    }
}

impl DerefMut for Lent {
    fn deref_mut(&mut self) -> &mut Encoder {
        match &mut self.encoder {
            Some(encoder) => encoder,
            None => unreachable!("an encoder is there until it goes home"),
        }
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        self.home.fleet.under_way().leave();
        if let Some(encoder) = self.encoder.take() {
            self.home.encoders.give_back(encoder);
        }
    }
}

impl std::fmt::Debug for Lent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Lent").field(&self.encoder).finish()
    }
}
