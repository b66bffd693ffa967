//! Lists of sites: which of a request's lists names what it asks for, and by which rule.
//!
//! - `set`: rules about hosts, of all lists in one table
//! - `patterns`: rules about more than a host, an engine for each list that has any
//! - `listed`: the condition of a route
//!
//! Lists are made by control, shared by all workers and swapped whole. Nothing here reads a file or decides what becomes of what is
//! listed. Exceptions of any list that is asked count for all lists that are asked with it, as people who use several expect.

mod listed;
mod patterns;
mod set;
#[cfg(test)]
pub(crate) mod tests;

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

use base::ids::WorkerId;
use wire::list::Format;

pub use listed::{Listed, Of};
pub use patterns::{LeftOut, Patterns};
pub use set::Set;

use crate::filter::Words;
use crate::route::Facts;
use set::ByHost;

/// All lists of a configuration.
#[derive(Debug)]
pub struct Lists {
    /// What they say of hosts. A list is known there by its place among `all`.
    pub hosts: Set,
    /// The lists.
    pub all: Vec<Arc<List>>,
}

/// One list.
#[derive(Debug)]
pub struct List {
    /// Its name.
    pub name: Arc<str>,
    /// How it is written.
    pub format: Format,
    /// Its rules about more than a host.
    pub patterns: Option<Patterns>,
    /// Its words, if it is a list of those.
    pub words: Option<Words>,
    /// What is in it.
    pub content: Content,
    /// When it was read.
    pub loaded: SystemTime,
    /// How often it has decided.
    pub hits: Arc<Hits>,
}

/// What is in a list, by lines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Content {
    /// Rules about hosts.
    pub hosts: usize,
    /// Those among them that are exceptions.
    pub exceptions: usize,
    /// Rules about more than a host.
    pub patterns: usize,
    /// Rules that a proxy can do nothing about.
    pub foreign: usize,
    /// Lines that are no rule.
    pub wrong: usize,
    /// Bytes that its rules about hosts take.
    pub bytes: usize,
}

impl Content {
    /// All rules that work.
    pub fn rules(&self) -> usize {
        self.hosts + self.patterns
    }
}

/// How often a list has decided, with a place for each worker.
#[derive(Debug)]
pub struct Hits(Box<[AtomicU64]>);

impl Hits {
    /// None yet, by so many workers.
    pub fn new(workers: usize) -> Hits {
        Hits((0..workers).map(|_| AtomicU64::new(0)).collect())
    }

    /// One more.
    pub(crate) fn count(&self, worker: WorkerId) {
        if let Some(hits) = self.0.get(worker.0) {
            hits.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// How many there are.
    pub fn read(&self) -> u64 {
        self.0.iter().map(|hits| hits.load(Ordering::Relaxed)).sum()
    }
}

/// So many lists there may be: the table tells them apart by a byte.
pub const MOST: usize = 255;

/// Some of the lists, by their places.
#[derive(Clone, Copy, Debug, Default)]
pub struct Wanted([u64; 4]);

impl Wanted {
    /// These.
    pub fn of(places: impl IntoIterator<Item = u8>) -> Wanted {
        let mut wanted = Wanted::default();
        places.into_iter().for_each(|place| wanted.0[usize::from(place / 64)] |= 1 << (place % 64));
        wanted
    }

    fn has(&self, place: u8) -> bool {
        self.0[usize::from(place / 64)] & (1 << (place % 64)) != 0
    }
}

/// The rule that has decided.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Cause {
    Host { by: ByHost, is_important: bool },
    Pattern { list: u8, rule: Box<str> },
}

/// What has decided, and by which rule, as people are told of it.
#[derive(Clone, Debug)]
pub(crate) struct Hit {
    /// The name of the list, or of the filter.
    pub(crate) name: Arc<str>,
    pub(crate) source: Source,
    pub(crate) rule: Box<str>,
}

/// What a rule stands in.
#[derive(Clone, Debug)]
pub(crate) enum Source {
    List(Arc<List>),
    Filter,
}

impl Source {
    /// What it is called.
    pub(crate) fn noun(&self) -> &'static str {
        match self {
            Source::List(_) => "list",
            Source::Filter => "filter",
        }
    }
}

impl Lists {
    /// No lists at all.
    pub fn none() -> Lists {
        Lists { hosts: Set::new(0), all: Vec::new() }
    }

    /// The place of a list.
    pub fn place(&self, name: &str) -> Option<u8> {
        self.all.iter().position(|list| *list.name == *name).and_then(|place| u8::try_from(place).ok())
    }

    fn wanted<'a>(&'a self, wanted: &'a Wanted) -> impl Iterator<Item = (u8, &'a Arc<List>)> {
        (0..=u8::MAX).zip(&self.all).filter(|(place, _)| wanted.has(*place))
    }

    /// Whether some of these lists have rules that ask for more than a host.
    fn has_patterns(&self, wanted: &Wanted) -> bool {
        self.wanted(wanted).any(|(_, list)| list.patterns.is_some())
    }

    /// The rule by which a host is listed.
    fn judge_host(&self, wanted: &Wanted, host: &[u8]) -> Option<Cause> {
        let said = self.hosts.say(host, wanted);
        let important = said.important.map(|by| Cause::Host { by, is_important: true });
        let block = said.block.filter(|_| !said.is_exception).map(|by| Cause::Host { by, is_important: false });
        important.or(block)
    }

    /// The rule by which a request is listed. Of what a tunnel hides, nothing is known and no rule holds.
    fn judge_url(&self, wanted: &Wanted, facts: &Facts<'_>) -> Option<Cause> {
        if facts.kind.is_tunnel() || !self.has_patterns(wanted) {
            return self.judge_host(wanted, facts.host);
        }
        let said = self.hosts.say(facts.host, wanted);
        if let Some(by) = said.important {
            return Some(Cause::Host { by, is_important: true });
        }
        let mut block = said.block.map(|by| Cause::Host { by, is_important: false });
        let mut is_exception = said.is_exception;
        if let Some(request) = patterns::request(facts) {
            for (list, of) in self.wanted(wanted) {
                let Some(patterns) = &of.patterns else { continue };
                let said = patterns.say(&request, block.is_some() || is_exception);
                let by_pattern = said.block.map(|rule| Cause::Pattern { list, rule });
                if said.is_important && by_pattern.is_some() {
                    return by_pattern;
                }
                is_exception |= said.is_exception;
                block = block.or(by_pattern);
            }
        }
        block.filter(|_| !is_exception)
    }

    /// The same, as people are told of it.
    fn hit(&self, cause: Cause, host: &[u8]) -> Option<Hit> {
        let (list, rule) = match cause {
            Cause::Pattern { list, rule } => (list, Cow::Owned(rule.into_string())),
            Cause::Host { by, is_important } => {
                let name = String::from_utf8_lossy(&host[by.from..]);
                let format = self.all.get(usize::from(by.list))?.format;
                (
                    by.list,
                    match format {
                        Format::Adblock if is_important => format!("||{name}^$important").into(),
                        Format::Adblock => format!("||{name}^").into(),
                        Format::Rpz if by.from > 0 => format!("*.{name}").into(),
                        Format::Hosts | Format::Domains | Format::Rpz | Format::Words => name,
                    },
                )
            }
        };
        let list = Arc::clone(self.all.get(usize::from(list))?);
        Some(Hit {
            name: Arc::clone(&list.name),
            source: Source::List(list),
            rule: rule.chars().take(LONGEST_RULE).collect(),
        })
    }
}

/// Characters of a rule that are told; some rules name a thousand sites.
const LONGEST_RULE: usize = 256;
