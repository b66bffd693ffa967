//! Lists of words: one automaton for all phrases of a list, and what a text weighs by it.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use aho_corasick::automaton::{Automaton, StateID};
use aho_corasick::nfa::contiguous::NFA;
use aho_corasick::{Anchored, MatchKind};
use rustc_hash::FxHashSet;
use wire::fold::Fold;
use wire::list::Phrase;

use crate::lists::List;

/// The phrases of a list (Aho and Corasick, 1975): a text is looked through once, however many there are.
pub struct Words {
    automaton: NFA,
    start: StateID,
    phrases: Vec<Weighed>,
    /// Some speak for a text, so that nothing is known of its weight before its end.
    has_negative: bool,
}

#[derive(Debug)]
struct Weighed {
    text: Box<str>,
    weight: Option<i32>,
}

/// There are more phrases than can be looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooMany;

/// So many bytes of phrases are looked for: about a million words, in some 300 MB.
const MOST: usize = 8 << 20;

impl Words {
    /// Makes the automaton. Phrases that fold to the same count once, with the weight that decides more; those of which nothing is left
    /// are counted, too.
    ///
    /// # Errors
    /// See [`TooMany`].
    pub fn of<'a>(phrases: impl Iterator<Item = Phrase<'a>>) -> Result<(Words, usize), TooMany> {
        let (mut known, mut all, mut patterns, mut empty, mut bytes) = (HashMap::new(), Vec::new(), Vec::new(), 0, 0);
        for Phrase { text, weight } in phrases {
            let Some(folded) = Fold::phrase(text) else {
                empty += 1;
                continue;
            };
            let number = *known.entry(folded).or_insert_with_key(|folded| {
                bytes += folded.len();
                patterns.push(folded.clone());
                all.push(Weighed { text: text.into(), weight });
                all.len() - 1
            });
            let one: &mut Weighed = &mut all[number];
            // Nothing decides more than none.
            one.weight = one.weight.zip(weight).map(|(a, b)| if a.abs() >= b.abs() { a } else { b });
            if bytes > MOST {
                return Err(TooMany);
            }
        }
        let automaton =
            NFA::builder().match_kind(MatchKind::Standard).prefilter(false).build(&patterns).map_err(|_| TooMany)?;
        let start = automaton.start_state(Anchored::No).map_err(|_| TooMany)?;
        let has_negative = all.iter().any(|one| one.weight.is_some_and(|weight| weight < 0));
        Ok((Words { automaton, start, phrases: all, has_negative }, empty))
    }

    /// How many phrases there are.
    pub fn count(&self) -> usize {
        self.phrases.len()
    }

    /// The memory that they take.
    pub fn bytes(&self) -> usize {
        let texts = self.phrases.iter().map(|one| one.text.len() + size_of::<Weighed>());
        self.automaton.memory_usage() + texts.sum::<usize>()
    }
}

impl fmt::Debug for Words {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Words").field("phrases", &self.phrases.len()).finish_non_exhaustive()
    }
}

/// What a text weighs by some lists.
#[derive(Debug)]
pub(super) struct Scale {
    lists: Vec<Scan>,
    limit: i64,
    sum: i64,
}

/// How far a list has come with a text.
#[derive(Debug)]
struct Scan {
    list: Arc<List>,
    /// Between tags, and in them.
    states: [StateID; 2],
    /// Phrases that were found. Each counts once.
    found: FxHashSet<usize>,
    sum: i64,
}

/// Which list has decided over a text, and by what.
#[derive(Clone, Debug)]
pub(super) struct Verdict {
    pub(super) list: Arc<List>,
    pub(super) rule: String,
}

/// Phrases that are told of those that weigh too much together.
const TOLD: usize = 5;

impl Scale {
    /// Nothing was seen yet. A text is too heavy from this limit on.
    pub(super) fn new<'a>(lists: impl Iterator<Item = &'a Arc<List>>, limit: i64) -> Scale {
        let scan = |list: &Arc<List>| {
            let start = list.words.as_ref()?.start;
            Some(Scan { list: Arc::clone(list), states: [start; 2], found: FxHashSet::default(), sum: 0 })
        };
        Scale { lists: lists.filter_map(scan).collect(), limit, sum: 0 }
    }

    /// Looks through more of one of a text's tracks; answers the verdict if there is one already.
    pub(super) fn look(&mut self, track: usize, folded: &[u8]) -> Option<Verdict> {
        let (mut heavy, mut sum, mut may_lighten) = (None, self.sum, false);
        for scan in &mut self.lists {
            let Some(words) = &scan.list.words else { continue };
            may_lighten |= words.has_negative;
            let mut state = scan.states[track];
            for byte in folded {
                state = words.automaton.next_state(Anchored::No, state, *byte);
                if !words.automaton.is_special(state) || !words.automaton.is_match(state) {
                    continue;
                }
                for at in 0..words.automaton.match_len(state) {
                    let number = words.automaton.match_pattern(state, at).as_usize();
                    if !scan.found.insert(number) {
                        continue;
                    }
                    let Some(one) = words.phrases.get(number) else { continue };
                    match one.weight {
                        None => {
                            let rule = one.text.as_ref().to_owned();
                            return Some(Verdict { list: Arc::clone(&scan.list), rule });
                        }
                        Some(weight) => {
                            scan.sum += i64::from(weight);
                            sum += i64::from(weight);
                        }
                    }
                }
            }
            scan.states[track] = state;
        }
        self.sum = sum;
        if !may_lighten && self.sum >= self.limit {
            heavy = self.end();
        }
        heavy
    }

    /// The verdict over a text that was seen whole.
    pub(super) fn end(&self) -> Option<Verdict> {
        if self.sum < self.limit {
            return None;
        }
        // The list that has added most is named.
        let scan = self.lists.iter().max_by_key(|scan| scan.sum)?;
        let words = scan.list.words.as_ref()?;
        let mut found: Vec<&Weighed> = scan.found.iter().filter_map(|number| words.phrases.get(*number)).collect();
        found.sort_by(|a, b| b.weight.cmp(&a.weight).then_with(|| a.text.cmp(&b.text)));
        let told: Vec<&str> = found.iter().take(TOLD).map(|one| &*one.text).collect();
        let rule = format!("score {}: {}", self.sum, told.join(", "));
        Some(Verdict { list: Arc::clone(&scan.list), rule })
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use wire::fold::Markup;

    use crate::lists::tests::of_words;

    /// What a text is refused for, cut into pieces.
    fn verdict(lists: &[&[&str]], limit: i64, text: &str, cut: usize) -> Option<String> {
        let lists: Vec<Arc<List>> =
            lists.iter().enumerate().map(|(at, lines)| of_words(&format!("l{at}"), lines)).collect();
        let (mut scale, mut fold) = (Scale::new(lists.iter(), limit), Fold::new(Markup::Tags, None));
        let mut look = |fold: &mut Fold| {
            let mut verdict = None;
            for (number, track) in fold.tracks().into_iter().enumerate() {
                verdict = verdict.take().or(scale.look(number, track));
                track.clear();
            }
            verdict
        };
        let mut early = None;
        for piece in text.as_bytes().chunks(cut) {
            fold.feed(piece);
            early = early.or(look(&mut fold));
        }
        fold.end();
        let early = early.or(look(&mut fold));
        early.or(scale.end()).map(|verdict| format!("{} {}", verdict.list.name, verdict.rule))
    }

    #[test]
    fn whole_words_and_phrases_are_found_wherever_the_text_is_cut() {
        for cut in [1, 3, 1000] {
            let of = |text: &str| verdict(&[&["bad", "very bad thing", "Ärger"]], 100, text, cut);
            assert_eq!(of("this is BAD.").as_deref(), Some("l0 bad"));
            assert_eq!(of("bad").as_deref(), Some("l0 bad"), "at both ends");
            assert_eq!(of("<p>VERY\n bad,<b>thing</b>").as_deref(), Some("l0 bad"));
            assert_eq!(of("viel &Auml;rger").as_deref(), Some("l0 Ärger"));
            assert_eq!(of("<img alt='bad'>").as_deref(), Some("l0 bad"), "in a tag");
            for free in ["badly", "a badge", "ba d", "not_bad2", "", "very thing"] {
                assert_eq!(of(free), None, "{free}");
            }
        }
    }

    #[test]
    fn weights_add_up_once_each_and_over_lists() {
        let lists: &[&[&str]] = &[&["one 40", "two 40", "good -50"], &["three 30"]];
        let of = |text: &str| verdict(lists, 100, text, 5);
        assert_eq!(of("one two one two one"), None);
        assert_eq!(of("one two three").as_deref(), Some("l0 score 110: one, two"));
        assert_eq!(of("one two three good"), None, "what speaks for it may come last");
        assert_eq!(verdict(&[&["one 60", "two 60"]], 100, "one two", 3).as_deref(), Some("l0 score 120: one, two"));
        assert_eq!(verdict(&[&["one 60", "ONE"]], 100, "one", 3).as_deref(), Some("l0 one"), "what decides wins");
    }

    #[test]
    fn phrases_share_words_and_spaces() {
        let of = |text: &str| verdict(&[&["a b 50", "b c 50", "c 1"]], 101, text, 2);
        assert_eq!(of("a b c").as_deref(), Some("l0 score 101: a b, b c, c"));
    }

    #[test]
    fn there_may_be_so_many() {
        let long = "word ".repeat(51);
        let texts: Vec<String> = (0..MOST / 255 + 2).map(|number| format!("{number} {long}")).collect();
        let phrases = texts.iter().map(|text| Phrase { text: &text[..text.len().min(255)], weight: None });
        assert_eq!(Words::of(phrases).err(), Some(TooMany));
    }
}
