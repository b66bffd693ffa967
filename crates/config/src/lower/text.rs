//! Tests of a text: the value forms of `match`.

use regex::RegexBuilder;

use super::Lower;
use crate::shape::{Map, Shape, Value};
use crate::spec::{TextMatch, TextTest, ValueMatch};

impl Lower<'_, '_> {
    /// Values of something that may be absent.
    pub(super) fn values(&mut self, values: &[Value]) -> Vec<ValueMatch> {
        values.iter().filter_map(|value| self.value(value)).collect()
    }

    /// Values of something that is always there.
    pub(super) fn texts(&mut self, values: &[Value], of: &str) -> Vec<(TextMatch, Value)> {
        let mut texts = Vec::new();
        for value in values {
            match self.value(value) {
                Some(ValueMatch::Text(text)) => texts.push((text, value.clone())),
                Some(ValueMatch::Present | ValueMatch::Absent) => {
                    self.note(value, format!("a request always has a {of}, `present` and `absent` test nothing here"));
                }
                None => {}
            }
        }
        texts
    }

    fn value(&mut self, value: &Value) -> Option<ValueMatch> {
        match &value.data {
            Shape::Scalar(..) => {
                let text = value.fixed()?;
                let test = match text.strip_prefix('~') {
                    Some(pattern) => TextTest::Regex(self.regex(value, pattern, false)?),
                    None => TextTest::Exact(text.to_owned()),
                };
                Some(ValueMatch::Text(TextMatch { tests: vec![test], ignore_case: false }))
            }
            Shape::Map(map) => self.tests(map),
            Shape::Faulty | Shape::List(_) => None,
        }
    }

    fn tests(&mut self, map: &Map) -> Option<ValueMatch> {
        let ignore_case = map.has("case");
        let mut tests = Vec::new();
        let mut presence = None;
        for item in &map.items {
            let text = || item.value.fixed().map(str::to_owned);
            match item.key.as_str() {
                "exact" => tests.extend(text().map(TextTest::Exact)),
                "prefix" => tests.extend(text().map(TextTest::Prefix)),
                "suffix" => tests.extend(text().map(TextTest::Suffix)),
                "contains" => tests.extend(text().map(TextTest::Contains)),
                "regex" => {
                    let pattern = text().and_then(|text| self.regex(&item.value, &text, ignore_case))?;
                    tests.push(TextTest::Regex(pattern));
                }
                "list" => {
                    self.note(&item.value, "`list` works in `host`, `sni` and `url` alone, remove it");
                    return None;
                }
                "present" => presence = map.boolean("present"),
                "absent" => presence = map.boolean("absent").map(|absent| !absent),
                _ => {}
            }
        }
        match presence {
            Some(_) if map.items.len() > 1 => {
                let message =
                    format!("`present` and `absent` stand alone in {}, another test needs a value anyway", map.label);
                self.mistakes.note(&map.span, message);
                None
            }
            Some(true) => Some(ValueMatch::Present),
            Some(false) => Some(ValueMatch::Absent),
            None if map.has_faulty() => None,
            None if tests.is_empty() => {
                self.mistakes
                    .note(&map.span, format!("{} tests nothing, give it `exact`, `prefix` or another test", map.label));
                None
            }
            None => Some(ValueMatch::Text(TextMatch { tests, ignore_case })),
        }
    }

    /// A regular expression that compiles within its bound.
    pub(super) fn regex(&mut self, value: &Value, pattern: &str, ignore_case: bool) -> Option<String> {
        let pattern = if ignore_case { format!("(?i){pattern}") } else { pattern.to_owned() };
        if pattern.is_empty() {
            self.note(value, "`~` alone is an empty regular expression, which matches everything");
            return None;
        }
        match RegexBuilder::new(&pattern).size_limit(LARGEST_REGEX).build() {
            Ok(_) => Some(pattern),
            Err(error) => {
                let why = error.to_string();
                let last = why.lines().last().unwrap_or_default().trim_start_matches("error: ");
                self.note(value, format!("the regular expression `{pattern}` is not valid: {last}"));
                None
            }
        }
    }
}

/// Bytes of a compiled expression.
const LARGEST_REGEX: usize = 1 << 20;
