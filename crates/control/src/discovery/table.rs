//! What sources of one kind say for now, and until when that is believed.

use std::collections::HashMap;
use std::rc::Rc;
use std::time::{Duration, Instant};

use net::dns::Answer;

/// Sources by their names, and the list that each of them keeps.
#[derive(Clone, Debug)]
pub(super) struct Table<T> {
    known: HashMap<String, Known<T>>,
}

#[derive(Clone, Debug)]
struct Known<T> {
    /// What it said last; nothing while it has never said anything. Whoever asks the sources works on a copy of the table.
    found: Option<Rc<[T]>>,
    until: Instant,
    /// Why it cannot be asked now.
    failure: Option<String>,
}

/// No source is asked more often than this, whatever its time to live.
const SHORTEST: Duration = Duration::from_secs(1);
/// A source without answer is asked again after this.
const AFTER_FAILURE: Duration = Duration::from_secs(2);

impl<T> Default for Table<T> {
    fn default() -> Table<T> {
        Table { known: HashMap::new() }
    }
}

impl<T: PartialEq> Table<T> {
    /// What a source said last.
    pub(super) fn found(&self, name: &str) -> &[T] {
        self.known.get(name).and_then(|known| known.found.as_deref()).unwrap_or_default()
    }

    /// Every source, and whether it has answered when it was asked last.
    pub(super) fn states(&self) -> impl Iterator<Item = (&str, bool)> {
        self.known.iter().map(|(name, known)| (name.as_str(), known.failure.is_none()))
    }

    /// When the first of them must be asked again.
    pub(super) fn next(&self) -> Option<Instant> {
        self.known.values().map(|known| known.until).min()
    }

    /// Forgets all but these; answers each of these once.
    pub(super) fn keep(&mut self, mut wanted: Vec<String>) -> Vec<String> {
        wanted.sort_unstable();
        wanted.dedup();
        self.known.retain(|name, _| wanted.binary_search(name).is_ok());
        wanted
    }

    /// Whether a source is unknown, or no longer believed.
    pub(super) fn is_due(&self, name: &str, now: Instant) -> bool {
        self.known.get(name).is_none_or(|known| known.until <= now)
    }

    /// Believes a known source until then.
    pub(super) fn believe(&mut self, name: &str, until: Instant) {
        if let Some(known) = self.known.get_mut(name) {
            known.until = until;
        }
    }

    /// Takes what a source says, and tells the log what is new about it; `show` writes one of its elements. Answers whether
    /// the list is another than before. A source that cannot be asked keeps its list.
    pub(super) fn learn(
        &mut self,
        name: &str,
        answer: Result<Answer<T>, String>,
        now: Instant,
        show: fn(&T) -> String,
    ) -> bool {
        let before = self.known.remove(name).unwrap_or(Known { found: None, until: now, failure: None });
        match answer {
            Ok(Answer { found, ttl }) => {
                let changed = before.found.as_deref() != Some(&found[..]);
                if changed && (before.found.is_some() || before.failure.is_some()) {
                    let list: Vec<String> = found.iter().map(show).collect();
                    observe::log::info(format_args!("`{name}` is now [{}]", list.join(", ")));
                } else if before.failure.is_some() {
                    observe::log::info(format_args!("`{name}` answers again, with the servers that it had"));
                }
                let until = now + ttl.max(SHORTEST);
                self.known.insert(name.to_owned(), Known { found: Some(found.into()), until, failure: None });
                changed
            }
            Err(failure) => {
                if before.failure.as_ref() != Some(&failure) {
                    let rest = match before.found.as_deref() {
                        Some([_, ..]) => "its last servers are kept",
                        _ => "it has no servers for now",
                    };
                    observe::log::warn(format_args!("`{name}` cannot be resolved, {rest}: {failure}"));
                }
                let until = now + AFTER_FAILURE;
                self.known.insert(name.to_owned(), Known { found: before.found, until, failure: Some(failure) });
                false
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(found: &[u32], ttl: u64) -> Result<Answer<u32>, String> {
        Ok(Answer { found: found.to_vec(), ttl: Duration::from_secs(ttl) })
    }

    #[test]
    fn an_answer_is_believed_as_long_as_it_says() {
        let (mut table, now) = (Table::default(), Instant::now());
        assert!(table.is_due("a", now));
        assert!(table.learn("a", answer(&[1], 30), now, u32::to_string));
        assert_eq!((table.found("a"), table.next()), (&[1][..], Some(now + Duration::from_secs(30))));
        assert!(!table.is_due("a", now + Duration::from_secs(29)) && table.is_due("a", now + Duration::from_secs(30)));
        assert!(!table.learn("a", answer(&[1], 0), now, u32::to_string), "nothing new");
        assert_eq!(table.next(), Some(now + SHORTEST));
        assert!(table.learn("a", answer(&[], 5), now, u32::to_string), "none is an answer");
        assert!(table.found("a").is_empty());
    }

    #[test]
    fn a_failure_keeps_what_was_found() {
        let (mut table, now) = (Table::default(), Instant::now());
        assert!(!table.learn("a", Err("down".to_owned()), now, u32::to_string));
        assert!(table.found("a").is_empty());
        assert!(table.learn("a", answer(&[1, 2], 30), now, u32::to_string));
        assert!(!table.learn("a", Err("down".to_owned()), now, u32::to_string));
        assert_eq!((table.found("a"), table.next()), (&[1, 2][..], Some(now + AFTER_FAILURE)));
    }

    #[test]
    fn what_nobody_wants_is_forgotten() {
        let (mut table, now) = (Table::default(), Instant::now());
        table.learn("a", answer(&[1], 30), now, u32::to_string);
        table.learn("b", answer(&[2], 30), now, u32::to_string);
        assert_eq!(table.keep(vec!["b".to_owned(), "c".to_owned(), "b".to_owned()]), ["b", "c"]);
        assert!(table.found("a").is_empty() && table.is_due("c", now));
        assert_eq!(table.found("b"), [2]);
    }
}
