//! Which responses are refused: by what their servers say of them, and by words in texts.
//!
//! A response is judged once, by what its server has sent, before anything is changed in it or goes to the client. One whose length nobody
//! has said is cut where it becomes too long.
//!
//! - `reading`: a text that is read before its client has any of it
//! - `decode`: out of its content coding
//! - `words`: lists of words, and what a text weighs by them
//! - `place`: how many texts are held at a time, and for whom

mod decode;
mod place;
mod reading;
mod words;

pub(crate) use place::Place;
use place::Places;
pub use reading::Lookout;
pub(crate) use reading::{Known, Reading, Unread};
pub use words::{TooMany, Words};

use std::sync::Arc;

use base::ids::WorkerId;
use base::units::Size;
use wire::coding::{self, said_length};
use wire::{Framing, Head, content_type};

use crate::exchange::Exchange;
use crate::lists::{Hit, Hits, Source};
use crate::policy::MediaType;
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
    places: Places,
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
        Report { name: name.into(), refusals: By::ALL.map(|_| Hits::new(workers)), places: Places::default() }
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
    if !route.filters.is_empty() && asks_for_several(request) {
        request.remove(b"Range");
        request.remove(b"If-Range");
    }
}

/// Whether several parts may be asked for: two fields mean what one list of them would (RFC 9110 section 5.3).
fn asks_for_several(request: &Head) -> bool {
    let mut ranges = request.values(b"range");
    ranges.next().is_some_and(|range| range.contains(&b',')) || ranges.next().is_some()
}

/// Why this response is refused, if it is; `head_only` says that its content would follow another method.
pub(crate) fn judge<'a>(route: &'a Route, response: &Head, head_only: bool) -> Option<Refusal<'a>> {
    if route.filters.is_empty() || !speaks_of_content(response, head_only) {
        return None;
    }
    let length = whole_length(response);
    let named = match route.filters.iter().any(|filter| !filter.types.is_empty()) {
        true => content_type::readings(response),
        false => Vec::new(),
    };
    route.filters.iter().find_map(|filter| {
        if let Some(rule) = filter.refused_type(&named) {
            return Some(Refusal { filter, by: By::Type, rule, source: Source::Filter });
        }
        let is_over = filter.over.is_some_and(|over| length.is_some_and(|length| length > over));
        is_over.then(|| filter.too_long())
    })
}

/// How much content may come at most, and who says so.
pub(crate) fn most(route: &Route) -> Option<(u64, &Filter)> {
    let limits = route.filters.iter().filter_map(|filter| filter.over.map(|over| (over, &**filter)));
    limits.min_by_key(|(over, _)| *over)
}

impl Filter {
    /// It is longer than it may be.
    pub(crate) fn too_long(&self) -> Refusal<'_> {
        let rule = over_rule(self.over.unwrap_or_default());
        Refusal { filter: self, by: By::Size, rule, source: Source::Filter }
    }

    /// The type by which it refuses a response, of all for which somebody may take it.
    fn refused_type(&self, named: &[&[u8]]) -> Option<String> {
        if self.types.is_empty() {
            return None;
        }
        let refused = named.iter().find(|name| self.refuses(name))?;
        Some(format!("type {}", if refused.is_empty() { "none".into() } else { String::from_utf8_lossy(refused) }))
    }

    fn refuses(&self, name: &[u8]) -> bool {
        (hides_others(name) || self.types.iter().any(|pattern| pattern.holds(name)))
            && !self.except.iter().any(|pattern| pattern.holds(name))
    }
}

/// Whether its parts have types of their own, which nobody looks at.
fn hides_others(name: &[u8]) -> bool {
    name.eq_ignore_ascii_case(b"multipart/byteranges")
}

fn over_rule(over: u64) -> String {
    format!("over {}", Size(over))
}

/// Whether content follows, or would to a GET. What is not modified the client has already.
pub(crate) fn speaks_of_content(response: &Head, head_only: bool) -> bool {
    match response.status() {
        100..200 | 204 | 304 => false,
        // It should have none, and may have some all the same.
        205 => follows(response),
        _ => head_only || follows(response),
    }
}

fn follows(response: &Head) -> bool {
    !matches!(response.framing(), Framing::None | Framing::Length(0))
}

/// The length of the content; of a part that of the whole (RFC 9110 section 14.4), for a client may fetch it part by part. Where nobody says
/// how long that is, it goes as far as the part.
fn whole_length(response: &Head) -> Option<u64> {
    let number = |text: &str| text.trim().parse::<u64>().ok();
    let of_whole = response.values(b"content-range").filter_map(|range| {
        let (range, whole) = std::str::from_utf8(range).ok()?.rsplit_once('/')?;
        let last = range.rsplit_once('-').and_then(|(_, last)| number(last)?.checked_add(1));
        number(whole).max(last)
    });
    said_length(response).max(of_whole.max())
}

#[cfg(test)]
mod tests;
