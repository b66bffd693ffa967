//! Lists of sites: read away from workers and from whoever administers, watched, and swapped whole.
//!
//! What lists say of hosts stands in one table. When one of them changes, the table is made anew, with what it had of the others.

mod read;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

use config::Mistake;
use config::spec::{List as Said, Spec};
use proxy::lists::{Content, Hits, List, Lists, Patterns, Set};
use wire::list::Format;

use crate::discovery::Look;
use crate::watch::{Seen, Watch};
use read::Raw;

/// The lists that are in force, and the files that they come from.
#[derive(Clone, Debug)]
pub struct Library {
    /// What workers see.
    pub lists: Arc<Lists>,
    /// In the same order.
    sources: Vec<Source>,
}

#[derive(Clone, Debug)]
struct Source {
    files: Vec<PathBuf>,
    seen: Seen,
    /// Why the last look has changed nothing, if it should have.
    error: Option<String>,
}

impl Default for Library {
    fn default() -> Library {
        Library { lists: Arc::new(Lists::none()), sources: Vec::new() }
    }
}

/// What becomes of a list when the table is made anew.
#[derive(Clone, Debug)]
enum Plan {
    Read,
    /// It is as it was at this place.
    Keep(u8),
}

impl Library {
    /// The same lists as they are now, and those that are new; and whether workers have to be told.
    ///
    /// # Errors
    /// At a reload, all that cannot be read. Else what cannot be read stays as it was.
    pub async fn refresh(&self, said: &[Said], look: Look, workers: usize) -> Result<(Library, bool), Vec<Mistake>> {
        let (plans, sources) = self.plan(said, look);
        let same_order = said.len() == self.lists.all.len()
            && plans.iter().zip(0..).all(|(plan, at)| matches!(plan, Plan::Keep(place) if *place == at));
        if same_order {
            return Ok((Library { lists: Arc::clone(&self.lists), sources }, false));
        }
        let (old, said) = (Arc::clone(&self.lists), said.to_vec());
        let made = tokio::task::spawn_blocking(move || make(&old, &said, plans, look, workers)).await;
        match made {
            Ok(Ok((lists, errors))) => {
                let mut sources = sources;
                for (source, error) in sources.iter_mut().zip(errors) {
                    source.error = error;
                }
                Ok((Library { lists: Arc::new(lists), sources }, true))
            }
            Ok(Err(mistakes)) => Err(mistakes),
            // The process is about to end.
            Err(_) => Ok((self.clone(), false)),
        }
    }

    /// Which lists have to be read.
    fn plan(&self, said: &[Said], look: Look) -> (Vec<Plan>, Vec<Source>) {
        let plan = |list: &Said| {
            let files: Vec<PathBuf> = list.files.iter().map(|file| file.path.clone()).collect();
            let known = self.lists.place(&list.name).map(usize::from);
            let known =
                known.filter(|at| self.sources[*at].files == files && self.lists.all[*at].format == list.format);
            let mut source = match known {
                Some(at) => self.sources[at].clone(),
                None => Source { files, seen: Seen::default(), error: None },
            };
            let now = Watch::of(&source.files);
            let is_new = match look {
                Look::Due => source.seen.is_new(now, look),
                // What was not taken as it is says so to whoever reloads.
                Look::Reload => (source.seen.is_other(&now) && source.seen.is_new(now, look)) || source.error.is_some(),
            };
            match known.and_then(|at| u8::try_from(at).ok()) {
                Some(at) if !is_new => (Plan::Keep(at), source),
                _ => (Plan::Read, source),
            }
        };
        said.iter().map(plan).unzip()
    }

    /// Each list, the files that it comes from, and what was wrong with them lately.
    pub fn shown(&self) -> impl Iterator<Item = (&List, &[PathBuf], Option<&str>)> {
        let sources = self.sources.iter();
        self.lists.all.iter().zip(sources).map(|(list, source)| (&**list, &*source.files, source.error.as_deref()))
    }
}

/// Reads all lists as a start does, and forgets them.
///
/// # Errors
/// Those that a start would not take, with their places.
pub fn read_all(spec: &Spec) -> Result<(), Vec<Mistake>> {
    let (nothing, plans) = (Lists::none(), spec.lists.iter().map(|_| Plan::Read).collect());
    make(&nothing, &spec.lists, plans, Look::Reload, 1).map(drop)
}

/// Looks whether the files of all lists are there, without reading them.
///
/// # Errors
/// Those that are not, with their places.
pub fn check(spec: &Spec) -> Result<(), Vec<Mistake>> {
    let files = spec.lists.iter().flat_map(|list| list.files.iter().map(move |file| (list, file)));
    let mistakes: Vec<_> = files
        .filter_map(|(list, file)| {
            let error = read::open(&file.path).err()?;
            let message = format!("cannot read list `{}`: {}: {error}", list.name, file.path.display());
            Some(Mistake::new(file.span.clone(), message))
        })
        .collect();
    if mistakes.is_empty() { Ok(()) } else { Err(mistakes) }
}

type Made = (Lists, Vec<Option<String>>);

/// Makes the table. What cannot be read is an error at a reload; else it is kept as it was, and the table is made once more.
fn make(old: &Lists, said: &[Said], mut plans: Vec<Plan>, look: Look, workers: usize) -> Result<Made, Vec<Mistake>> {
    let mut errors = vec![None; said.len()];
    loop {
        let mut hosts = Set::new(fastrand::u64(..));
        let places: Vec<_> =
            plans.iter().map(|plan| if let Plan::Keep(at) = plan { Some(*at) } else { None }).collect();
        hosts.adopt(&old.hosts, |before| {
            let now = places.iter().position(|at| *at == Some(before))?;
            u8::try_from(now).ok()
        });
        let (mut all, mut wrong, mut no_rules) = (Vec::new(), Vec::new(), Vec::new());
        for (at, (list, plan)) in said.iter().zip(&plans).enumerate() {
            let made = match plan {
                Plan::Keep(place) => Ok((Arc::clone(&old.all[usize::from(*place)]), Vec::new())),
                Plan::Read => {
                    // There are no more than a byte tells apart.
                    let read = read::list(list, at as u8, &mut hosts);
                    read.and_then(|raw| still_holds(old, list, raw, look)).map(|mut raw| {
                        let no_rules = std::mem::take(&mut raw.wrong);
                        (Arc::new(self::made(old, list, raw, workers)), no_rules)
                    })
                }
            };
            match made {
                Ok((list, places)) => {
                    all.push(list);
                    no_rules.push(places);
                }
                Err((file, error)) => wrong.push((at, file, error)),
            }
        }
        if wrong.is_empty() {
            hosts.shrink();
            for ((list, _), wrong) in
                all.iter().zip(&plans).zip(&no_rules).filter(|((_, plan), _)| matches!(plan, Plan::Read))
            {
                tell(list, wrong);
            }
            return Ok((Lists { hosts, all }, errors));
        }
        let place_of = |at: usize| old.place(&said[at].name);
        if look == Look::Reload || wrong.iter().any(|(at, ..)| place_of(*at).is_none()) {
            let mistake = |(at, file, error): (usize, usize, String)| {
                Mistake::new(said[at].files[file].span.clone(), format!("list `{}`: {error}", said[at].name))
            };
            return Err(wrong.into_iter().map(mistake).collect());
        }
        for (at, _, error) in wrong {
            observe::log::error(format_args!("list `{}` stays as it was: {error}", said[at].name));
            errors[at] = Some(error);
            plans[at] = place_of(at).map_or(Plan::Read, Plan::Keep);
        }
    }
}

/// A file that is about to be written anew is empty for a moment, and whoever empties one by mistake would let everything pass.
fn still_holds(old: &Lists, said: &Said, raw: Raw, look: Look) -> Result<Raw, (usize, String)> {
    let had_rules = old.all.iter().any(|list| *list.name == *said.name && list.content.rules() > 0);
    if look == Look::Due && had_rules && raw.content.rules() == 0 {
        return Err((0, "nothing is in it any more; if that is meant, reload".to_owned()));
    }
    Ok(raw)
}

fn made(old: &Lists, said: &Said, raw: Raw, workers: usize) -> List {
    let before = old.all.iter().find(|list| *list.name == *said.name);
    List {
        name: said.name.as_str().into(),
        format: said.format,
        patterns: raw.patterns,
        words: raw.words,
        content: raw.content,
        loaded: SystemTime::now(),
        hits: before.map_or_else(|| Arc::new(Hits::new(workers)), |list| Arc::clone(&list.hits)),
    }
}

/// Each takes some 0.2 µs of a request.
const MANY_EVERYWHERE: usize = 500;

/// What is in a list, and where the first lines are that are no rule, once a load: those from the web are never clean.
fn tell(list: &List, no_rules: &[String]) {
    let Content { hosts, patterns, exceptions, foreign, wrong, .. } = list.content;
    observe::log::info(format_args!(
        "list `{}`: {hosts} hosts, {exceptions} exceptions among them, {patterns} patterns",
        list.name
    ));
    let everywhere = list.patterns.as_ref().map_or(0, Patterns::everywhere);
    if everywhere > MANY_EVERYWHERE {
        observe::log::warn(format_args!(
            "list `{}`: every request is tried on {everywhere} regular expressions, which is what a rule between two slashes is; write `/ads/*` for a \
             part of a path",
            list.name
        ));
    }
    if foreign > 0 && list.format != Format::Adblock {
        observe::log::info(format_args!("list `{}`: {foreign} rules are about what a proxy does not do", list.name));
    }
    if wrong > 0 {
        let more = if wrong > no_rules.len() { " and others" } else { "" };
        observe::log::warn(format_args!(
            "list `{}`: {wrong} lines are no rule of `format: {}`: {}{more}",
            list.name,
            list.format.name(),
            no_rules.join(", ")
        ));
    }
}
