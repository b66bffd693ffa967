//! Which responses are refused: by what their servers say of them, and by words in texts.
//!
//! A response is judged once, by what its server has sent, before anything is changed in it or goes to the client. One whose length nobody
//! has said is cut where it becomes too long.
//!
//! - `reading`: a text that is read before its client has any of it
//! - `decode`: out of its content coding
//! - `words`: lists of words, and what a text weighs by them

mod decode;
mod reading;
mod words;

pub use reading::Lookout;
pub(crate) use reading::{Known, Reading, Unread};
pub use words::{TooMany, Words};

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use base::ids::WorkerId;
use base::units::Size;
use wire::coding::{self, said_length};
use wire::{Framing, Head, hop};

use crate::exchange::Exchange;
use crate::lists::{Hit, Hits, Source};
use crate::policy::{MediaType, essence};
use crate::snapshot::{Deny, Route};

/// Which responses are refused.
#[derive(Debug)]
pub struct Filter {
    /// Those of these types.
    pub types: Box<[MediaType]>,
    /// But not those of these.
    pub except: Box<[MediaType]>,
    /// Those that are longer.
    pub over: Option<u64>,
    /// Texts with these words.
    pub words: Option<Lookout>,
    /// What clients get instead.
    pub deny: Deny,
    /// What it has refused.
    pub report: Arc<Report>,
}

/// What a filter has refused.
#[derive(Debug)]
pub struct Report {
    /// The filter's name.
    pub name: Arc<str>,
    refusals: [Hits; By::ALL.len()],
    /// Texts that it holds.
    held: AtomicUsize,
}

/// What a filter looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum By {
    Type,
    Size,
    Words,
}

impl By {
    const ALL: [By; 3] = [By::Type, By::Size, By::Words];

    fn name(self) -> &'static str {
        match self {
            By::Type => "type",
            By::Size => "size",
            By::Words => "words",
        }
    }
}

impl Report {
    /// Nothing yet, by so many workers.
    pub fn new(name: &str, workers: usize) -> Report {
        Report { name: name.into(), refusals: By::ALL.map(|_| Hits::new(workers)), held: AtomicUsize::new(0) }
    }

    /// How many there are, by what was looked at.
    pub fn refusals(&self) -> Vec<(&'static str, u64)> {
        By::ALL.iter().zip(&self.refusals).map(|(by, hits)| (by.name(), hits.read())).collect()
    }
}

/// Why a response is refused.
#[derive(Clone, Debug)]
pub(crate) struct Refusal<'a> {
    pub(crate) filter: &'a Filter,
    by: By,
    rule: String,
    /// What the rule stands in.
    source: Source,
}

impl Refusal<'_> {
    /// Notes and counts it.
    pub(crate) fn note(&self, x: &mut Exchange, worker: WorkerId) {
        self.filter.report.refusals[self.by as usize].count(worker);
        let name = match &self.source {
            Source::List(list) => &list.name,
            Source::Filter => &self.filter.report.name,
        };
        x.notes.hit =
            Some(Hit { name: Arc::clone(name), source: self.source.clone(), rule: self.rule.as_str().into() });
    }
}

/// What servers are asked for where responses are judged: several parts at once would come in one type that hides theirs. A server may
/// always answer as if there were no `Range` (RFC 9110 section 14.2). And texts that are read have to be in a coding that is known here.
pub(crate) fn forwards(route: &Route, request: &mut Head) {
    if route.filters.iter().any(|filter| filter.words.is_some()) {
        coding::accept_what_is_read(request);
    }
    if !route.filters.is_empty() && request.values(b"range").any(|range| range.contains(&b',')) {
        request.remove(b"Range");
        request.remove(b"If-Range");
    }
}

/// Why this response is refused, if it is; `head_only` says that its content would follow another method.
pub(crate) fn judge<'a>(route: &'a Route, response: &Head, head_only: bool) -> Option<Refusal<'a>> {
    if route.filters.is_empty() || !speaks_of_content(response, head_only) {
        return None;
    }
    let length = whole_length(response);
    route.filters.iter().find_map(|filter| {
        let refusal = |by, rule| Refusal { filter, by, rule, source: Source::Filter };
        if let Some(named) = filter.refused_type(response) {
            return Some(refusal(By::Type, named));
        }
        let over = filter.over.filter(|over| length.is_some_and(|length| length > *over))?;
        Some(refusal(By::Size, over_rule(over)))
    })
}

/// How much content may come at most, and why no more.
pub(crate) fn most(route: &Route) -> Option<(u64, Refusal<'_>)> {
    let limits = route.filters.iter().filter_map(|filter| filter.over.map(|over| (over, filter)));
    let (over, filter) = limits.min_by_key(|(over, _)| *over)?;
    Some((over, Refusal { filter, by: By::Size, rule: over_rule(over), source: Source::Filter }))
}

impl Filter {
    /// The type by which it refuses a response. Of several that are said a client may believe any.
    fn refused_type(&self, response: &Head) -> Option<String> {
        if self.types.is_empty() {
            return None;
        }
        let named = response.values(b"content-type").flat_map(hop::options).map(essence);
        let mut named = named.filter(|name| name.contains(&b'/')).peekable();
        let none: &[u8] = b"";
        let nothing = named.peek().is_none().then_some(none);
        let refused = named.chain(nothing).find(|name| self.refuses(name))?;
        Some(format!("type {}", if refused.is_empty() { "none".into() } else { String::from_utf8_lossy(refused) }))
    }

    fn refuses(&self, name: &[u8]) -> bool {
        // Its parts have types of their own, which nobody looks at.
        let hides_others = name.eq_ignore_ascii_case(b"multipart/byteranges");
        (hides_others || self.types.iter().any(|pattern| pattern.holds(name)))
            && !self.except.iter().any(|pattern| pattern.holds(name))
    }
}

fn over_rule(over: u64) -> String {
    format!("over {}", Size(over))
}

/// Whether content follows, or would to a GET. What is not modified the client has already.
pub(crate) fn speaks_of_content(response: &Head, head_only: bool) -> bool {
    let has_content = head_only || !matches!(response.framing(), Framing::None | Framing::Length(0));
    has_content && !matches!(response.status(), 100..200 | 204 | 205 | 304)
}

/// The length of the content; of a part that of the whole (RFC 9110 section 14.4), for a client may fetch it part by part.
fn whole_length(response: &Head) -> Option<u64> {
    let of_whole = response.value(b"content-range").and_then(|range| {
        let at = range.iter().rposition(|byte| *byte == b'/')?;
        std::str::from_utf8(range[at + 1..].trim_ascii()).ok()?.parse().ok()
    });
    said_length(response).max(of_whole)
}

#[cfg(test)]
mod tests;
