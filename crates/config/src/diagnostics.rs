//! What is wrong with a configuration, in the words that its operator reads.

use std::fmt;

use crate::span::Span;

/// One mistake: what is wrong, why, and the way out.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mistake {
    /// Where.
    pub span: Span,
    /// In lower case, names in backticks, no full stop.
    pub message: String,
}

impl Mistake {
    /// A mistake at a place.
    pub fn new(span: Span, message: impl Into<String>) -> Self {
        Self { span, message: on_one_line(message.into()) }
    }
}

/// What a text has of control characters shows as it would be written: a line of a document is a line of what is said of it.
fn on_one_line(message: String) -> String {
    if !message.contains(char::is_control) {
        return message;
    }
    message.chars().flat_map(|c| if c.is_control() { c.escape_default().collect() } else { vec![c] }).collect()
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.message, self.span)
    }
}

/// Every mistake of a configuration, in order of file, line and column; never empty when it is an error.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mistakes(pub Vec<Mistake>);

impl Mistakes {
    /// Notes one and goes on; beyond a bound nobody reads them, and hostile input could make them by the million.
    pub(crate) fn note(&mut self, span: &Span, message: impl Into<String>) {
        if !self.is_full() {
            self.0.push(Mistake::new(span.clone(), message));
        }
    }

    /// Whether further ones would not be kept, so that finding their words is not worth the time.
    pub(crate) fn is_full(&self) -> bool {
        self.0.len() >= MOST_MISTAKES
    }

    /// In reading order, each once.
    pub(crate) fn sorted(mut self) -> Self {
        self.0.sort();
        self.0.dedup();
        self
    }
}

impl fmt::Display for Mistakes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, mistake) in self.0.iter().enumerate() {
            if n > 0 {
                f.write_str("\n")?;
            }
            mistake.fmt(f)?;
        }
        Ok(())
    }
}

impl std::error::Error for Mistakes {}

/// `, did you mean …?` with the nearest of the known names, or nothing if none is near.
pub(crate) fn did_you_mean<'a>(wrong: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    match nearest(wrong, known) {
        Some(name) => format!(", did you mean `{name}`?"),
        None => String::new(),
    }
}

/// The nearest of the known names, if it is near enough to be meant: one edit for each three letters.
fn nearest<'a>(wrong: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    const LONGEST: usize = 64;
    if wrong.len() > LONGEST {
        return None;
    }
    let allowed = (wrong.chars().count() / 3).max(1);
    let as_known = wrong.to_lowercase().replace('-', "_");
    known
        .into_iter()
        .filter(|name| name.len() <= LONGEST && name.len().abs_diff(wrong.len()) <= allowed + 3)
        .map(|name| (edits(&as_known, &name.to_lowercase().replace('-', "_")), name))
        .filter(|(distance, _)| *distance <= allowed)
        .min()
        .map(|(_, name)| name)
}

/// The number of letters to add, drop, change or swap with their neighbour (optimal string alignment).
fn edits(from: &str, to: &str) -> usize {
    let from: Vec<char> = from.chars().collect();
    let to: Vec<char> = to.chars().collect();
    let mut before_last: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=to.len()).collect();
    for (i, a) in from.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, b) in to.iter().enumerate() {
            let change = last[j] + usize::from(a != b);
            let mut best = change.min(last[j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && *a == to[j - 1] && from[i - 1] == *b {
                best = best.min(before_last[j - 1] + 1);
            }
            row.push(best);
        }
        before_last = std::mem::replace(&mut last, row);
    }
    last[to.len()]
}

const MOST_MISTAKES: usize = 1_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_names_are_suggested_and_far_ones_are_not() {
        let known = ["retries", "timeouts", "servers", "balance"];
        assert_eq!(did_you_mean("retrys", known), ", did you mean `retries`?");
        assert_eq!(did_you_mean("sevrers", known), ", did you mean `servers`?");
        assert_eq!(did_you_mean("Balance", known), ", did you mean `balance`?");
        assert_eq!(did_you_mean("quux", known), "");
        assert_eq!(edits("abc", ""), 3);
    }
}
