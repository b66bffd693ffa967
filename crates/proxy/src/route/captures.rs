//! What the path pattern that matched left over: `*` and `$1` of a redirect's or rewrite's template.

use regex::bytes::Regex;

use super::facts::Facts;
use super::judge::{Truth, all};
use super::rule::{Condition, PathPattern};

/// What the path pattern that matched left over. Offsets into the path that was matched, so readers are given it again.
///
/// Of several path conditions the innermost counts, of a condition's patterns the first that holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Captures(Left);

#[derive(Clone, Debug, Default, PartialEq, Eq)]
enum Left {
    /// No path pattern, or an exact one.
    #[default]
    Nothing,
    /// What follows a prefix and its slash begins here, maybe beyond the path's end.
    Star(usize),
    /// The groups of a regular expression, the whole match first.
    Groups(Box<[Option<(usize, usize)>]>),
}

impl Captures {
    /// What the pattern's `*` stands for: what follows the prefix and its slash. Empty for other patterns.
    pub fn star<'p>(&self, path: &'p [u8]) -> &'p [u8] {
        match self.0 {
            Left::Star(start) => path.get(start..).unwrap_or_default(),
            _ => b"",
        }
    }

    /// A group of the regular expression by its number, 0 for the whole match. Empty if it took no part.
    pub fn group<'p>(&self, number: usize, path: &'p [u8]) -> &'p [u8] {
        let Left::Groups(groups) = &self.0 else { return b"" };
        let range = groups.get(number).copied().flatten();
        range.and_then(|(start, end)| path.get(start..end)).unwrap_or_default()
    }

    fn after(prefix: &str) -> Captures {
        Captures(Left::Star(prefix.len() + 1))
    }

    fn of(regex: &Regex, path: &[u8]) -> Option<Captures> {
        let captures = regex.captures(path)?;
        let groups = captures.iter().map(|group| group.map(|group| (group.start(), group.end()))).collect();
        Some(Captures(Left::Groups(groups)))
    }
}

/// Where the captures of a rule come from once it has matched.
#[derive(Clone, Debug)]
pub(super) enum Source {
    /// Always these.
    Fixed(Captures),
    /// The first of these conditions that has any; the innermost comes first.
    Conditions(Vec<Condition>),
}

impl Source {
    pub(super) fn of(conditions: &[Condition]) -> Source {
        let about_path: Vec<&Condition> = conditions.iter().rev().filter(|condition| condition.asks_path()).collect();
        match about_path.first() {
            None => Source::Fixed(Captures::default()),
            Some(Condition::Path(patterns)) => match patterns.as_slice() {
                [PathPattern::Exact(_)] => Source::Fixed(Captures::default()),
                [PathPattern::Prefix(prefix)] => Source::Fixed(Captures::after(prefix)),
                _ => Source::Conditions(about_path.into_iter().take(1).cloned().collect()),
            },
            Some(_) => Source::Conditions(about_path.into_iter().cloned().collect()),
        }
    }

    /// The captures of a request that the rule matched.
    pub(super) fn take(&self, facts: &Facts<'_>) -> Captures {
        match self {
            Source::Fixed(captures) => captures.clone(),
            Source::Conditions(conditions) => {
                conditions.iter().find_map(|condition| condition.captures(facts)).unwrap_or_default()
            }
        }
    }
}

impl Condition {
    /// Whether a pattern of paths may be what makes it hold.
    fn asks_path(&self) -> bool {
        match self {
            Condition::Path(_) => true,
            Condition::Any(lists) => lists.iter().flatten().any(Condition::asks_path),
            _ => false,
        }
    }

    pub(super) fn captures(&self, facts: &Facts<'_>) -> Option<Captures> {
        match self {
            Condition::Path(patterns) => patterns.iter().find_map(|pattern| pattern.captures(facts.path)),
            Condition::Any(lists) => lists.iter().find_map(|list| {
                let captures = list.iter().rev().find_map(|condition| condition.captures(facts))?;
                (all(list, facts) == Truth::True).then_some(captures)
            }),
            _ => None,
        }
    }
}

impl PathPattern {
    fn captures(&self, path: &[u8]) -> Option<Captures> {
        match self {
            PathPattern::Regex(regex) => Captures::of(regex, path),
            PathPattern::Prefix(prefix) => self.holds(path).then(|| Captures::after(prefix)),
            PathPattern::Exact(_) | PathPattern::Text(_) => self.holds(path).then(Captures::default),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_is_what_follows_the_slash() {
        let captures = Captures::after("/a");
        assert_eq!(captures.star(b"/a/b/c"), b"b/c");
        assert_eq!(captures.star(b"/a/"), b"");
        assert_eq!(captures.star(b"/a"), b"");
        assert_eq!(Captures::after("").star(b"/a/b"), b"a/b");
        assert_eq!(captures.group(0, b"/a/b"), b"");
    }

    #[test]
    fn groups_are_numbered_from_one() {
        let regex = Regex::new("^/(x)?u/([0-9]+)$").expect("a valid pattern");
        let captures = Captures::of(&regex, b"/u/42").expect("it matches");
        assert_eq!(captures.group(0, b"/u/42"), b"/u/42");
        assert_eq!(captures.group(1, b"/u/42"), b"");
        assert_eq!(captures.group(2, b"/u/42"), b"42");
        assert_eq!(captures.group(3, b"/u/42"), b"");
        assert_eq!(captures.star(b"/u/42"), b"");
        assert_eq!(Captures::of(&regex, b"/u/x"), None);
    }

    #[test]
    fn nothing_is_left_over_by_default() {
        assert_eq!(Captures::default().star(b"/a"), b"");
        assert_eq!(Captures::default().group(1, b"/a"), b"");
    }
}
