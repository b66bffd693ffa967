//! The memory that everything captured for one file may hold, from its first byte until it is written.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// How much that may be.
const MOST: usize = 64 * 1024 * 1024;
/// What an entry holds besides heads and bodies, roughly.
const ENTRY: usize = 1024;

/// What is held of it.
#[derive(Debug, Default)]
pub(super) struct Budget(AtomicUsize);

impl Budget {
    fn take(&self, bytes: usize) -> bool {
        // It is counted first, so that a race lets one too few through, never one too many.
        let before = self.0.fetch_add(bytes, Ordering::Relaxed);
        let fits = before + bytes <= MOST;
        if !fits {
            self.release(bytes);
        }
        fits
    }

    fn release(&self, bytes: usize) {
        self.0.fetch_sub(bytes, Ordering::Relaxed);
    }

    #[cfg(test)]
    pub(super) fn held(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

/// The right of one entry to the memory of its heads.
#[derive(Debug)]
pub struct Place {
    budget: Arc<Budget>,
    bytes: usize,
}

impl Place {
    pub(super) fn take(budget: &Arc<Budget>) -> Option<Place> {
        budget.take(ENTRY).then(|| Place { budget: Arc::clone(budget), bytes: ENTRY })
    }

    /// Asks for so many bytes more.
    pub fn grow(&mut self, bytes: usize) -> bool {
        let fits = self.budget.take(bytes);
        self.bytes += if fits { bytes } else { 0 };
        fits
    }

    /// Room for the beginning of a body, which is up to this long.
    pub fn body(&self, most: usize) -> Kept {
        Kept { bytes: Vec::new(), most, budget: Arc::clone(&self.budget) }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.budget.release(self.bytes);
    }
}

/// The beginning of a body.
#[derive(Debug)]
pub struct Kept {
    bytes: Vec<u8>,
    most: usize,
    budget: Arc<Budget>,
}

impl Kept {
    /// Takes what it has room for.
    pub fn add(&mut self, content: &[u8]) {
        let piece = &content[..content.len().min(self.most - self.bytes.len())];
        if self.budget.take(piece.len()) {
            self.bytes.extend_from_slice(piece);
        } else {
            self.most = self.bytes.len();
        }
    }

    /// Whether it takes no more.
    pub fn is_full(&self) -> bool {
        self.bytes.len() >= self.most
    }

    /// What is here of it.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        self.budget.release(self.bytes.len());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_held_is_counted_and_given_back() {
        let budget = Arc::new(Budget::default());
        let mut place = Place::take(&budget).expect("room");
        assert!(place.grow(100) && !place.grow(MOST));
        let mut body = place.body(5);
        body.add(b"123");
        assert!(!body.is_full());
        body.add(b"4567");
        assert!(body.is_full());
        assert_eq!((body.bytes(), budget.held()), (&b"12345"[..], ENTRY + 105));
        drop((place, body));
        assert_eq!(budget.held(), 0);
    }

    #[test]
    fn a_body_ends_where_the_memory_does() {
        let budget = Arc::new(Budget::default());
        let mut place = Place::take(&budget).expect("room");
        let mut body = place.body(100);
        body.add(b"begun");
        assert!(place.grow(MOST - ENTRY - 5));
        assert!(Place::take(&budget).is_none());
        body.add(b"more");
        assert!(body.is_full());
        drop(place);
        body.add(b"later");
        assert_eq!(body.bytes(), b"begun");
    }
}
