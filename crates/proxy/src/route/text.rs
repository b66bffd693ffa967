//! Tests of one text: a host, a header's value, a member of a JSON document.

use memchr::memmem;
use regex::bytes::Regex;

/// A test of a text that may be absent. Where there are several occurrences, one of them is enough.
#[derive(Clone, Debug)]
pub enum Text {
    /// It is this.
    Exact {
        /// The whole text.
        text: String,
        /// Whether ASCII case is ignored.
        ignore_case: bool,
    },
    /// It begins so.
    Prefix {
        /// Its beginning.
        text: String,
        /// Whether ASCII case is ignored.
        ignore_case: bool,
    },
    /// It ends so.
    Suffix {
        /// Its end.
        text: String,
        /// Whether ASCII case is ignored.
        ignore_case: bool,
    },
    /// This is in it.
    Contains {
        /// The part.
        text: String,
        /// Whether ASCII case is ignored.
        ignore_case: bool,
    },
    /// It satisfies this unanchored regular expression, whose flags stand in its pattern.
    Regex(Regex),
    /// All of these hold for the same occurrence; never for none.
    All(Vec<Text>),
    /// There is one, whatever it is.
    Present,
    /// There is none.
    Absent,
}

impl Text {
    /// An exact, case-sensitive text.
    pub fn exact(text: impl Into<String>) -> Text {
        Text::Exact { text: text.into(), ignore_case: false }
    }

    /// Whether it holds for this occurrence.
    pub fn holds(&self, value: &[u8]) -> bool {
        match self {
            Text::Exact { text, ignore_case } => same(value, text.as_bytes(), *ignore_case),
            Text::Prefix { text, ignore_case } => {
                value.get(..text.len()).is_some_and(|start| same(start, text.as_bytes(), *ignore_case))
            }
            Text::Suffix { text, ignore_case } => {
                let start = value.len().checked_sub(text.len());
                start.is_some_and(|start| same(&value[start..], text.as_bytes(), *ignore_case))
            }
            Text::Contains { text, ignore_case: false } => memmem::find(value, text.as_bytes()).is_some(),
            Text::Contains { text, ignore_case: true } => {
                text.is_empty() || value.windows(text.len()).any(|part| part.eq_ignore_ascii_case(text.as_bytes()))
            }
            Text::Regex(regex) => regex.is_match(value),
            Text::All(texts) => !texts.is_empty() && texts.iter().all(|text| text.holds(value)),
            Text::Present => true,
            Text::Absent => false,
        }
    }

    /// Whether it holds where there is no occurrence.
    fn holds_for_none(&self) -> bool {
        match self {
            Text::Absent => true,
            Text::All(texts) => !texts.is_empty() && texts.iter().all(Text::holds_for_none),
            _ => false,
        }
    }
}

/// Whether one of the tests holds for this text.
pub(super) fn one_holds(tests: &[Text], value: &[u8]) -> bool {
    tests.iter().any(|test| test.holds(value))
}

/// Whether one of the tests holds for one of the occurrences, or for there being none.
pub(super) fn any_holds(tests: &[Text], occurrences: impl IntoIterator<Item = impl AsRef<[u8]>>) -> bool {
    let mut none = true;
    for value in occurrences {
        none = false;
        if one_holds(tests, value.as_ref()) {
            return true;
        }
    }
    none && tests.iter().any(Text::holds_for_none)
}

fn same(value: &[u8], text: &[u8], ignore_case: bool) -> bool {
    if ignore_case { value.eq_ignore_ascii_case(text) } else { value == text }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NO_VALUES: [&[u8]; 0] = [];

    fn tests_of(text: &str, ignore_case: bool) -> [Text; 4] {
        let text = text.to_owned();
        [
            Text::Exact { text: text.clone(), ignore_case },
            Text::Prefix { text: text.clone(), ignore_case },
            Text::Suffix { text: text.clone(), ignore_case },
            Text::Contains { text, ignore_case },
        ]
    }

    fn answers(text: &str, ignore_case: bool, value: &str) -> [bool; 4] {
        tests_of(text, ignore_case).map(|test| test.holds(value.as_bytes()))
    }

    #[test]
    fn each_form_asks_its_own_question() {
        assert_eq!(answers("ab", false, "ab"), [true, true, true, true]);
        assert_eq!(answers("ab", false, "abc"), [false, true, false, true]);
        assert_eq!(answers("ab", false, "cab"), [false, false, true, true]);
        assert_eq!(answers("ab", false, "cabc"), [false, false, false, true]);
        assert_eq!(answers("ab", false, "a"), [false; 4]);
        assert_eq!(answers("ab", false, "AB"), [false; 4]);
        assert_eq!(answers("ab", true, "AB"), [true, true, true, true]);
        assert_eq!(answers("ab", true, "xAbx"), [false, false, false, true]);
        assert_eq!(answers("ab", true, "a"), [false; 4]);
    }

    #[test]
    fn a_regex_is_not_anchored_and_sees_bytes() {
        let regex = Text::Regex(Regex::new("b+").expect("a valid pattern"));
        assert!(regex.holds(b"abc"));
        assert!(regex.holds(b"\xffb\xff"));
        assert!(!regex.holds(b"ac"));
    }

    #[test]
    fn one_occurrence_is_enough() {
        assert!(any_holds(&[Text::exact("b")], [b"a", b"b"]));
        assert!(any_holds(&[Text::exact("x"), Text::exact("b")], [b"a", b"b"]));
        assert!(!any_holds(&[], [b"a"]));
    }

    #[test]
    fn all_asks_the_same_occurrence() {
        let both = || {
            vec![
                Text::Prefix { text: "a".into(), ignore_case: false },
                Text::Suffix { text: "z".into(), ignore_case: false },
            ]
        };
        assert!(any_holds(&[Text::All(both())], ["az"]));
        assert!(!any_holds(&[Text::All(both())], ["ab", "yz"]));
        assert!(!any_holds(&[Text::All(both())], NO_VALUES));
        assert!(!any_holds(&[Text::All(Vec::new())], ["az"]));
    }

    #[test]
    fn a_missing_value_satisfies_absent_alone() {
        assert!(any_holds(&[Text::Absent], NO_VALUES));
        assert!(any_holds(&[Text::exact("a"), Text::Absent], NO_VALUES));
        assert!(!any_holds(&[Text::Absent], ["a"]));
        assert!(any_holds(&[Text::Present], [""]));
        for test in tests_of("", true) {
            assert!(!any_holds(&[test], NO_VALUES));
        }
        assert!(!any_holds(&[Text::Regex(Regex::new("").expect("a valid pattern")), Text::Present], NO_VALUES));
    }
}
