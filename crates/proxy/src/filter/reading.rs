//! A text that is read before its client has any of it: out of its coding, folded, and weighed by every filter that looks for words.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use wire::fold::{self, Fold, Markup};
use wire::{Head, content_type};

use super::decode::{Broken, Decoder};
use super::words::{Scale, Verdict};
use super::{By, Filter, Place, Refusal, hides_others};
use crate::lists::{List, Source};
use crate::policy::MediaType;
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
    /// In a charset that may hide words.
    Charset,
    /// A part of it comes, which may begin and end inside of words.
    Part,
    /// So many others are held, or so many of its client.
    Crowd,
}

impl Unread {
    fn told(self) -> &'static str {
        match self {
            Unread::Long => "unread: longer than is held",
            Unread::Slow => "unread: slower than is waited for",
            Unread::Coding => "unread: its content coding",
            Unread::Charset => "unread: its charset",
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
            Unread::Charset => "charset",
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
    /// Begins with a response that has content, if any filter looks for words in it. The places are to be kept for as long as what is held.
    ///
    /// # Errors
    /// What is known of it without reading.
    pub(crate) fn of(
        route: &'a Route,
        response: &Head,
        client: IpAddr,
        now: Instant,
    ) -> Result<(Reading<'a>, Vec<Place>), Known<'a>> {
        let kinds = content_type::readings(response);
        let wanted = route.filters.iter().filter_map(|filter| Some((&**filter, filter.words.as_ref()?)));
        let wanted: Vec<_> = wanted.filter(|(_, lookout)| lookout.first_text(&kinds).is_some()).collect();
        let Some(kind) = wanted.iter().find_map(|(_, lookout)| lookout.first_text(&kinds)) else {
            return Err(Known::Passes(None));
        };
        let charset = content_type::extract(response).and_then(|said| said.charset);
        let (decoder, unread) = (Decoder::of(response), unread(response, &kinds, charset.as_deref()));
        let (mut watches, mut places, mut passed) = (Vec::new(), Vec::new(), None);
        for (filter, lookout) in wanted {
            let unread = if decoder.is_none() { Some(Unread::Coding) } else { unread };
            // What will not be known whole has no use for a place where it is refused for that.
            let hopeless = unread.filter(|why| *why == Unread::Coding || lookout.refuses_unread);
            let place = || Place::take(&filter.report, client, lookout.at_once).ok_or(Unread::Crowd);
            match hopeless.map_or_else(place, Err) {
                Ok(place) => {
                    places.push(place);
                    passed = passed.or(unread);
                    let scale = Scale::new(lookout.lists.iter(), lookout.score);
                    watches.push(Watch { filter, lookout, scale, until: now + lookout.wait });
                }
                Err(why) if lookout.refuses_unread => return Err(Known::Refused(filter.unread(why))),
                Err(why) => passed = Some(why),
            }
        }
        let Some(decoder) = decoder.filter(|_| !watches.is_empty()) else { return Err(Known::Passes(passed)) };
        let fold = Fold::new(markup(kind), charset.as_deref());
        Ok((Reading { decoder, fold, watches, passed, decoded: 0, room: vec![0; PIECE].into() }, places))
    }

    /// Its server may wait for the rest of the request, which is still on its way: the time begins anew.
    pub(crate) fn put_off(&mut self, now: Instant) {
        self.watches.iter_mut().for_each(|watch| watch.until = now + watch.lookout.wait);
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
        let made = match self.decoder.step(content, &mut self.room) {
            Ok(made) => made,
            Err(Broken(made)) => {
                self.fold.feed(&self.room[..made]);
                self.end_here()?;
                self.give_up(Unread::Coding, |_| true)?;
                return Ok(false);
            }
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
        let mut judge = || {
            self.end_here()?;
            if !self.decoder.is_whole() {
                self.give_up(Unread::Coding, |_| true)?;
            }
            self.watches.iter().try_for_each(Watch::weigh)
        };
        judge().err().unwrap_or(Known::Passes(self.passed))
    }

    /// Nothing more can be read: the last word ends.
    fn end_here(&mut self) -> Result<(), Known<'a>> {
        self.fold.end();
        self.look()
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

    /// These filters will not know what it is, and judge by what they have seen. Nothing is left to be read for if all others have let it
    /// pass.
    fn give_up(&mut self, why: Unread, which: impl Fn(&Watch<'a>) -> bool) -> Result<(), Known<'a>> {
        for watch in self.watches.iter().filter(|watch| which(watch)) {
            watch.weigh()?;
            if watch.lookout.refuses_unread {
                return Err(Known::Refused(watch.filter.unread(why)));
            }
        }
        let before = self.watches.len();
        self.watches.retain(|watch| !which(watch));
        if self.watches.len() < before {
            self.passed.get_or_insert(why);
        }
        if self.watches.is_empty() { Err(Known::Passes(self.passed)) } else { Ok(()) }
    }
}

impl<'a> Watch<'a> {
    /// What follows from all that it has seen.
    fn weigh(&self) -> Result<(), Known<'a>> {
        self.scale.end().map_or(Ok(()), |verdict| Err(Known::Refused(self.filter.heavy(verdict))))
    }
}

impl Lookout {
    /// The first type in which words are looked for. An empty one is none: a browser finds out by itself what that is.
    fn first_text<'k>(&self, kinds: &[&'k [u8]]) -> Option<&'k [u8]> {
        let is_text = |kind: &[u8]| {
            let named = || self.types.iter().any(|pattern| pattern.holds_of_what_ends(kind));
            kind.is_empty() || hides_others(kind) || named()
        };
        kinds.iter().copied().find(|kind| is_text(kind))
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

/// Why a text will not be known whole, however much of it is read.
fn unread(response: &Head, kinds: &[&[u8]], charset: Option<&[u8]>) -> Option<Unread> {
    if is_part(response) || kinds.iter().any(|kind| hides_others(kind)) {
        return Some(Unread::Part);
    }
    charset.is_some_and(fold::may_hide).then_some(Unread::Charset)
}

/// Whether less than the whole comes (RFC 9110 section 14.4).
fn is_part(response: &Head) -> bool {
    let is_whole = |range: &[u8]| {
        let range = std::str::from_utf8(range).ok()?.strip_prefix("bytes 0-")?;
        let (last, length) = range.split_once('/')?;
        Some(last.parse::<u64>().ok()?.checked_add(1)? == length.parse::<u64>().ok()?)
    };
    response.status() == 206 && !response.values(b"content-range").all(|range| is_whole(range) == Some(true))
}

fn markup(kind: &[u8]) -> Markup {
    let is = |name: &str| kind.eq_ignore_ascii_case(name.as_bytes());
    let ends =
        |end: &str| kind.len() >= end.len() && kind[kind.len() - end.len()..].eq_ignore_ascii_case(end.as_bytes());
    match () {
        () if ends("json") => Markup::Escapes,
        () if is("") || hides_others(kind) || is("text/html") || ends("xml") => Markup::Tags,
        () => Markup::Plain,
    }
}
