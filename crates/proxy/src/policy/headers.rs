//! Edits of header fields.

use wire::Head;

use super::{Template, View};
use crate::exchange::Facts;

/// Edits of both heads.
#[derive(Debug, Default)]
pub struct Headers {
    /// On the way to the server.
    pub request: Edits,
    /// On the way back.
    pub response: Edits,
}

/// Edits of one head, in this order.
#[derive(Debug, Default)]
pub struct Edits {
    /// Fields that go.
    pub remove: Box<[Box<str>]>,
    /// Fields that have exactly this one value.
    pub set: Box<[(Box<str>, Template)]>,
    /// Fields that get one more line.
    pub add: Box<[(Box<str>, Template)]>,
    /// Fields that are set if they are not there.
    pub default: Box<[(Box<str>, Template)]>,
}

impl Edits {
    /// Edits a request's head, whose own fields the templates may ask for.
    pub(crate) fn apply(&self, head: &mut Head, facts: &Facts) {
        if self.is_empty() {
            return;
        }
        // Values are those before this policy's edits, so that the order of keys in a map does not matter.
        let filled = |edits: &[(Box<str>, Template)]| -> Vec<Vec<u8>> {
            edits.iter().map(|(_, template)| template.fill(&facts.view(head))).collect()
        };
        let (set, add, default) = (filled(&self.set), filled(&self.add), filled(&self.default));
        self.edit(head, &set, &add, &default);
    }

    /// Edits a head by what another shows.
    pub(crate) fn apply_with(&self, head: &mut Head, view: &View<'_>) {
        if self.is_empty() {
            return;
        }
        let filled = |edits: &[(Box<str>, Template)]| -> Vec<Vec<u8>> {
            edits.iter().map(|(_, template)| template.fill(view)).collect()
        };
        self.edit(head, &filled(&self.set), &filled(&self.add), &filled(&self.default));
    }

    fn is_empty(&self) -> bool {
        self.remove.is_empty() && self.set.is_empty() && self.add.is_empty() && self.default.is_empty()
    }

    fn edit(&self, head: &mut Head, set: &[Vec<u8>], add: &[Vec<u8>], default: &[Vec<u8>]) {
        for name in &self.remove {
            head.remove(name.as_bytes());
        }
        for ((name, _), value) in self.set.iter().zip(set) {
            head.set(name.as_bytes(), value);
        }
        for ((name, _), value) in self.add.iter().zip(add) {
            head.add(name.as_bytes(), value);
        }
        for ((name, _), value) in self.default.iter().zip(default) {
            if head.value(name.as_bytes()).is_none() {
                head.add(name.as_bytes(), value);
            }
        }
    }
}
