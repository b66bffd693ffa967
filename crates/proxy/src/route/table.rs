//! The compiled rules and the search.

use super::captures::Captures;
use super::facts::Facts;
use super::judge::{Truth, all};
use super::rule::Rule;

/// The compiled rules of a listener.
#[derive(Clone, Debug, Default)]
pub struct Table {
    rules: Vec<Rule>,
}

/// What the table says of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Finding {
    /// The first rule that matches.
    Rule(Found),
    /// Everything cheaper of this rule holds, and its body predicate decides. The caller reads until the body ends or
    /// `limit` bytes are there, and asks again with `from` set to `ordinal`. It may ask earlier, with fewer bytes.
    ///
    /// A body that is not known to end with its first `limit` bytes is over the limit, so `complete` matters.
    NeedsBody {
        /// The rule's place in the order given.
        ordinal: usize,
        /// How many bytes of the body may be needed.
        limit: usize,
    },
    /// This rule would read the body, and refuses one as long as this (413).
    TooLarge {
        /// The rule's place in the order given.
        ordinal: usize,
    },
    /// No rule matches.
    None,
}

/// The rule that a request falls under.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// The rule's place in the order given.
    pub ordinal: usize,
    /// What its path pattern left over.
    pub captures: Captures,
}

impl Table {
    /// Compiles rules; their order decides which of several wins.
    pub fn compile(rules: Vec<Rule>) -> Table {
        Table { rules }
    }

    /// The first rule at or after `from` that a request falls under.
    pub fn find(&self, facts: &Facts<'_>, from: usize) -> Finding {
        for (ordinal, rule) in self.rules.iter().enumerate().skip(from) {
            match all(&rule.conditions, facts) {
                Truth::True => return Finding::Rule(Found { ordinal, captures: Captures::default() }),
                Truth::Undecided(limit) => return Finding::NeedsBody { ordinal, limit },
                Truth::TooLarge => return Finding::TooLarge { ordinal },
                Truth::False | Truth::Unknown => {}
            }
        }
        Finding::None
    }
}
