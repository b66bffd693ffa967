//! A text that is read before its client has any of it: out of its coding, folded, and weighed by every filter that looks for words.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use wire::Head;
use wire::fold::{Fold, Markup};

use super::decode::Decoder;
use super::words::{Scale, Verdict};
use super::{By, Filter, Refusal};
use crate::lists::{List, Source};
use crate::policy::{MediaType, essence};
use crate::relay::PIECE;
use crate::snapshot::Route;

/// What texts are refused for.
#[derive(Debug)]
pub struct Lookout {
    /// The lists of words.
    pub lists: Box<[Arc<List>]>,
    /// What a text weighs that is too heavy.
    pub score: i64,
    /// What a text is.
    pub types: Box<[MediaType]>,
    /// So much of it is held until it is judged.
    pub hold: usize,
    /// For so long.
    pub wait: Duration,
    /// Whether what cannot be judged is refused.
    pub refuses_unread: bool,
    /// Texts that the process holds at a time.
    pub at_once: usize,
}

/// Why a text cannot be judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unread {
    /// It is longer than may be held, or becomes so out of its coding.
    Long,
    /// It takes longer than is waited for.
    Slow,
    /// It is in a coding that nobody here knows, or in none that it says.
    Coding,
    /// A part of it comes, which may begin and end inside of words.
    Part,
    /// So many others are held.
    Crowd,
}

impl Unread {
    fn told(self) -> &'static str {
        match self {
            Unread::Long => "unread: longer than is held",
            Unread::Slow => "unread: slower than is waited for",
            Unread::Coding => "unread: its content coding",
            Unread::Part => "unread: a part",
            Unread::Crowd => "unread: too many at once",
        }
    }

    /// The same in a word, of one that has passed.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Unread::Long => "long",
            Unread::Slow => "slow",
            Unread::Coding => "coding",
            Unread::Part => "part",
            Unread::Crowd => "crowd",
        }
    }
}

/// A text that is being read.
#[derive(Debug)]
pub(crate) struct Reading<'a> {
    decoder: Decoder,
    fold: Fold,
    watches: Vec<Watch<'a>>,
    /// Why some filter has not judged it, and lets it pass.
    passed: Option<Unread>,
    decoded: usize,
    room: Box<[u8]>,
}

/// A filter that has not judged it yet.
#[derive(Debug)]
struct Watch<'a> {
    filter: &'a Filter,
    lookout: &'a Lookout,
    scale: Scale,
    until: Instant,
    _place: Place<'a>,
}

/// One of the texts that are held, for as long as this lives.
#[derive(Debug)]
struct Place<'a>(&'a AtomicUsize);

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What is known of a text.
#[derive(Debug)]
pub(crate) enum Known<'a> {
    /// It goes on; maybe because it could not be read.
    Passes(Option<Unread>),
    Refused(Refusal<'a>),
}

/// A text may become so much longer out of its coding. What stands for more is made for no reader.
const EXPANSION: usize = 16;

impl<'a> Reading<'a> {
    /// Begins with a response that has content, if any filter looks for words in it.
    ///
    /// # Errors
    /// What is known of it without reading.
    pub(crate) fn of(route: &'a Route, response: &Head, now: Instant) -> Result<Reading<'a>, Known<'a>> {
        let named = response.values(b"content-type").last();
        let kind = named.map(essence).unwrap_or_default();
        let lookouts = || route.filters.iter().filter_map(|filter| Some((&**filter, filter.words.as_ref()?)));
        if !lookouts().any(|(_, lookout)| lookout.is_text(kind)) {
            return Err(Known::Passes(None));
        }
        let (decoder, mut watches, mut passed) = (Decoder::of(response), Vec::new(), None);
        let unread = match decoder {
            None => Some(Unread::Coding),
            Some(_) => is_part(response).then_some(Unread::Part),
        };
        for (filter, lookout) in lookouts().filter(|(_, lookout)| lookout.is_text(kind)) {
            let others = filter.report.held.fetch_add(1, Ordering::Relaxed);
            let place = Place(&filter.report.held);
            let crowd = (others >= lookout.at_once).then_some(Unread::Crowd);
            match unread.or(crowd) {
                None => watches.push(Watch {
                    filter,
                    lookout,
                    scale: Scale::new(lookout.lists.iter(), lookout.score),
                    until: now + lookout.wait,
                    _place: place,
                }),
                Some(why) if lookout.refuses_unread => return Err(Known::Refused(filter.unread(why))),
                Some(why) => passed = Some(why),
            }
        }
        let Some(decoder) = decoder.filter(|_| !watches.is_empty()) else { return Err(Known::Passes(passed)) };
        let fold = Fold::new(markup(kind), named.and_then(charset));
        Ok(Reading { decoder, fold, watches, passed, decoded: 0, room: vec![0; PIECE].into() })
    }

    /// Until when more of it is waited for.
    pub(crate) fn until(&self) -> Option<Instant> {
        self.watches.iter().map(|watch| watch.until).min()
    }

    /// Reads on in `content`, one piece: others have their turn between two. Says whether there is more to do before more content is of
    /// use.
    ///
    /// # Errors
    /// What is known of the text by now.
    pub(crate) fn step(&mut self, content: &mut &[u8]) -> Result<bool, Known<'a>> {
        let Ok(made) = self.decoder.step(content, &mut self.room) else {
            self.give_up(Unread::Coding, |_| true)?;
            return Ok(false);
        };
        self.decoded += made;
        self.fold.feed(&self.room[..made]);
        self.look()?;
        let decoded = self.decoded;
        self.give_up(Unread::Long, |watch| decoded > watch.lookout.hold.saturating_mul(EXPANSION))?;
        Ok(made == self.room.len() || !content.is_empty())
    }

    /// So much of it is held, and it is so late.
    ///
    /// # Errors
    /// What is known of the text by now.
    pub(crate) fn held(&mut self, held: usize, now: Instant) -> Result<(), Known<'a>> {
        self.give_up(Unread::Long, |watch| held > watch.lookout.hold)?;
        self.give_up(Unread::Slow, |watch| watch.until <= now)
    }

    /// It has been read whole.
    pub(crate) fn end(mut self) -> Known<'a> {
        if !self.decoder.is_whole()
            && let Err(known) = self.give_up(Unread::Coding, |_| true)
        {
            return known;
        }
        self.fold.end();
        if let Err(known) = self.look() {
            return known;
        }
        let verdict = |watch: &Watch<'a>| Some(watch.filter.heavy(watch.scale.end()?));
        self.watches.iter().find_map(verdict).map_or(Known::Passes(self.passed), Known::Refused)
    }

    /// Weighs what has been folded.
    fn look(&mut self) -> Result<(), Known<'a>> {
        for (number, track) in self.fold.tracks().into_iter().enumerate() {
            for watch in &mut self.watches {
                if let Some(verdict) = watch.scale.look(number, track) {
                    return Err(Known::Refused(watch.filter.heavy(verdict)));
                }
            }
            track.clear();
        }
        Ok(())
    }

    /// These filters will not know what it is. Nothing is left to be read for if all others have let it pass.
    fn give_up(&mut self, why: Unread, which: impl Fn(&Watch<'a>) -> bool) -> Result<(), Known<'a>> {
        if let Some(watch) = self.watches.iter().find(|watch| which(watch) && watch.lookout.refuses_unread) {
            return Err(Known::Refused(watch.filter.unread(why)));
        }
        let before = self.watches.len();
        self.watches.retain(|watch| !which(watch));
        if self.watches.len() < before {
            self.passed = Some(why);
        }
        if self.watches.is_empty() { Err(Known::Passes(self.passed)) } else { Ok(()) }
    }
}

impl Lookout {
    /// Whether words are looked for in what has this type, or none: a browser finds out by itself what that is.
    fn is_text(&self, kind: &[u8]) -> bool {
        kind.is_empty() || self.types.iter().any(|pattern| pattern.holds_of_what_ends(kind))
    }
}

impl Filter {
    fn heavy(&self, verdict: Verdict) -> Refusal<'_> {
        Refusal { filter: self, by: By::Words, rule: verdict.rule, source: Source::List(verdict.list) }
    }

    fn unread(&self, why: Unread) -> Refusal<'_> {
        Refusal { filter: self, by: By::Words, rule: why.told().to_owned(), source: Source::Filter }
    }
}

/// Whether less than the whole comes (RFC 9110 section 14.4).
fn is_part(response: &Head) -> bool {
    let is_whole = |range: &[u8]| {
        let range = std::str::from_utf8(range).ok()?.strip_prefix("bytes 0-")?;
        let (last, length) = range.split_once('/')?;
        Some(last.parse::<u64>().ok()?.checked_add(1)? == length.parse::<u64>().ok()?)
    };
    response.status() == 206 && response.value(b"content-range").and_then(is_whole) != Some(true)
}

fn markup(kind: &[u8]) -> Markup {
    let is = |name: &str| kind.eq_ignore_ascii_case(name.as_bytes());
    let ends =
        |end: &str| kind.len() >= end.len() && kind[kind.len() - end.len()..].eq_ignore_ascii_case(end.as_bytes());
    match () {
        () if ends("json") => Markup::Escapes,
        () if is("") || is("text/html") || ends("xml") => Markup::Tags,
        () => Markup::Plain,
    }
}

/// The charset that a `Content-Type` says.
fn charset(content_type: &[u8]) -> Option<&[u8]> {
    let mut parameters = content_type.split(|byte| *byte == b';').skip(1).map(<[u8]>::trim_ascii);
    let value = parameters.find_map(|parameter| {
        let (name, value) = parameter.split_at_checked(8)?;
        name.eq_ignore_ascii_case(b"charset=").then_some(value)
    })?;
    Some(value.strip_prefix(b"\"").and_then(|value| value.strip_suffix(b"\"")).unwrap_or(value))
}
