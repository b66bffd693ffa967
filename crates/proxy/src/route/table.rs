//! The compiled rules and the search.

use super::captures::{Captures, Source};
use super::facts::Facts;
use super::index::Index;
use super::judge::Truth;
use super::keys::Keys;
use super::rule::{Condition, Rule};
use crate::lists::Hit;

/// The compiled rules of a listener. What it says is what trying every rule in turn would say, but the number of rules
/// that differ in host or path does not matter.
#[derive(Clone, Debug, Default)]
pub struct Table {
    index: Index,
    entries: Vec<Entry>,
    asks_lists: bool,
}

/// What the table says of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Finding {
    /// The first rule that matches.
    Rule(Found),
    /// Everything cheaper of this rule holds, and its body predicate decides. The caller reads until the body ends or
    /// more than `limit` bytes are there, and asks again with `from` set to `ordinal`. It may ask earlier, with fewer.
    ///
    /// One byte beyond the limit, or the end, is what tells a body of just that length from a longer one.
    NeedsBody {
        /// The rule's place in the order given.
        ordinal: usize,
        /// How long a body may be to be looked at, in bytes.
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

/// What is left of a rule once the index has found it.
#[derive(Clone, Debug)]
struct Entry {
    checks: Vec<Condition>,
    captures: Source,
    /// It asks lists.
    asks_lists: bool,
    /// It is about requests, of which a tunnel shows none. What the index has decided is not among the checks.
    of_requests: bool,
}

impl Table {
    /// Compiles rules; their order decides which of several wins.
    pub fn compile(rules: Vec<Rule>) -> Table {
        let mut table = Table::default();
        for (ordinal, rule) in rules.into_iter().enumerate() {
            let captures = Source::of(&rule.conditions);
            let of_requests = rule.conditions.iter().any(Condition::is_of_requests);
            let (keys, mut checks) = Keys::of(rule.conditions);
            Condition::cheapest_first(&mut checks);
            // Ordinals are half the size in the index; no configuration holds four billion rules.
            table.index.file(ordinal as u32, keys);
            let asks_lists = checks.iter().any(Condition::asks_lists);
            table.asks_lists |= asks_lists;
            table.entries.push(Entry { checks, captures, asks_lists, of_requests });
        }
        table
    }

    /// Of rules, only their hosts; none if one of them is for every host.
    pub fn of_hosts(rules: &[Rule]) -> Option<Table> {
        let hosts = |rule: &Rule| {
            let hosts = rule.conditions.iter().filter(|condition| matches!(condition, Condition::Host(_)));
            let conditions: Vec<_> = hosts.cloned().collect();
            (!conditions.is_empty()).then_some(Rule { conditions })
        };
        rules.iter().map(hosts).collect::<Option<_>>().map(Table::compile)
    }

    /// Whether a rule of a table that was made by [`Table::of_hosts`] is for this host.
    pub fn has_host(&self, host: &[u8]) -> bool {
        let holds = |check: &Condition| match check {
            Condition::Host(patterns) => patterns.iter().any(|pattern| pattern.holds(host)),
            _ => false,
        };
        let mut candidates = self.index.candidates(host, b"", 0);
        candidates.any(|ordinal| self.entries[ordinal as usize].checks.iter().all(holds))
    }

    /// The first rule at or after `from` that a request falls under.
    pub fn find(&self, facts: &Facts<'_>, from: usize) -> Finding {
        let from = u32::try_from(from).unwrap_or(u32::MAX);
        for ordinal in self.index.candidates(facts.host, facts.path, from) {
            let ordinal = ordinal as usize;
            // The index names only ordinals that it was given with an entry.
            let entry = &self.entries[ordinal];
            match entry.judge(facts) {
                Truth::True => return Finding::Rule(Found { ordinal, captures: entry.captures.take(facts) }),
                Truth::Undecided(limit) => return Finding::NeedsBody { ordinal, limit },
                Truth::TooLarge => return Finding::TooLarge { ordinal },
                Truth::False | Truth::Unknown => {}
            }
        }
        Finding::None
    }

    /// The list by which a rule matches that has been found for these facts, if it does by one.
    pub(crate) fn hit(&self, ordinal: usize, facts: &Facts<'_>) -> Option<Hit> {
        let entry = self.entries.get(ordinal).filter(|entry| entry.asks_lists)?;
        entry.checks.iter().find_map(|check| check.hit(facts))
    }

    /// Whether any rule asks lists.
    pub(crate) fn asks_lists(&self) -> bool {
        self.asks_lists
    }
}

impl Entry {
    fn judge(&self, facts: &Facts<'_>) -> Truth {
        if self.of_requests && facts.kind.is_tunnel() {
            return Truth::Unknown;
        }
        let mut truth = Truth::True;
        for check in &self.checks {
            match check.judge(facts) {
                // Whatever the other checks would say, this can no longer become a match.
                refusal @ (Truth::False | Truth::Unknown) => return refusal,
                other => truth = truth.and(other),
            }
        }
        truth
    }
}
