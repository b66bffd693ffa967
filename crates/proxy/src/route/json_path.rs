//! Places in a JSON document.

use std::fmt;
use std::str::FromStr;

/// A place in a JSON document, from its root.
///
/// ```text
/// path   = "$" *step
/// step   = "." name | "[" digits "]" | "[" quoted "]"
/// name   = 1*( any character but . [ ] ' " and white space )
/// quoted = "'" text "'" | '"' text '"'      a backslash takes the next character as it is
/// ```
///
/// `$.customer.tier`, `$.items[0].sku`, `$['a b']`. Each path names one place: there are no wildcards or slices.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct JsonPath {
    /// The way there.
    pub steps: Vec<JsonStep>,
}

/// One step into a JSON document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JsonStep {
    /// The member of that name of an object.
    Member(String),
    /// The element of that number of an array, from 0.
    Element(usize),
}

/// Why a text is no JSON path, and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadJsonPath {
    /// The character at which it goes wrong, from 1.
    pub column: usize,
    /// What is wrong there.
    pub reason: &'static str,
}

impl FromStr for JsonPath {
    type Err = BadJsonPath;

    fn from_str(text: &str) -> Result<JsonPath, BadJsonPath> {
        let mut reader = Reader { text, rest: text };
        if !reader.skips('$') {
            return Err(reader.fault("a JSON path begins with `$`"));
        }
        let mut steps = Vec::new();
        while !reader.rest.is_empty() {
            steps.push(reader.step()?);
        }
        Ok(JsonPath { steps })
    }
}

impl fmt::Display for BadJsonPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (column {})", self.reason, self.column)
    }
}

impl std::error::Error for BadJsonPath {}

struct Reader<'a> {
    text: &'a str,
    rest: &'a str,
}

impl Reader<'_> {
    fn step(&mut self) -> Result<JsonStep, BadJsonPath> {
        if self.skips('.') {
            return self.name();
        }
        if !self.skips('[') {
            return Err(self.fault("expected `.` or `[`"));
        }
        let step = match self.rest.chars().next() {
            Some(quote @ ('\'' | '"')) => self.quoted(quote)?,
            _ => self.element()?,
        };
        if !self.skips(']') {
            return Err(self.fault("expected `]`"));
        }
        Ok(step)
    }

    fn name(&mut self) -> Result<JsonStep, BadJsonPath> {
        let ends = |character: char| character.is_whitespace() || matches!(character, '.' | '[' | ']' | '\'' | '"');
        let (name, rest) = self.rest.split_at(self.rest.find(ends).unwrap_or(self.rest.len()));
        if name.is_empty() {
            return Err(self.fault("expected a member's name; other names are written `['a b']`"));
        }
        self.rest = rest;
        Ok(JsonStep::Member(name.to_owned()))
    }

    fn quoted(&mut self, quote: char) -> Result<JsonStep, BadJsonPath> {
        let mut name = String::new();
        let mut characters = self.rest.char_indices().skip(1);
        while let Some((at, character)) = characters.next() {
            match character {
                '\\' => name.extend(characters.next().map(|(_, escaped)| escaped)),
                _ if character == quote => {
                    self.rest = &self.rest[at + quote.len_utf8()..];
                    return Ok(JsonStep::Member(name));
                }
                _ => name.push(character),
            }
        }
        Err(self.fault("this quote is never closed"))
    }

    fn element(&mut self) -> Result<JsonStep, BadJsonPath> {
        let end = self.rest.find(|character: char| !character.is_ascii_digit()).unwrap_or(self.rest.len());
        let (digits, rest) = self.rest.split_at(end);
        let number = digits.parse().map_err(|_| self.fault("expected an element's number or a quoted name"))?;
        self.rest = rest;
        Ok(JsonStep::Element(number))
    }

    fn skips(&mut self, character: char) -> bool {
        let rest = self.rest.strip_prefix(character);
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }

    fn fault(&self, reason: &'static str) -> BadJsonPath {
        let read = &self.text[..self.text.len() - self.rest.len()];
        BadJsonPath { column: read.chars().count() + 1, reason }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(name: &str) -> JsonStep {
        JsonStep::Member(name.to_owned())
    }

    #[test]
    fn paths_are_read() {
        for (text, steps) in [
            ("$", vec![]),
            ("$.a.b", vec![member("a"), member("b")]),
            ("$.a[0].b", vec![member("a"), JsonStep::Element(0), member("b")]),
            ("$['a b']", vec![member("a b")]),
            (r#"$["a.]"][12]"#, vec![member("a.]"), JsonStep::Element(12)]),
            (r"$['it\'s \\']", vec![member(r"it's \")]),
            ("$['']", vec![member("")]),
            ("$.a-b.\u{e9}", vec![member("a-b"), member("\u{e9}")]),
        ] {
            assert_eq!(text.parse(), Ok(JsonPath { steps }), "{text}");
        }
    }

    #[test]
    fn faults_name_their_column() {
        for (text, column) in [
            ("", 1),
            ("a", 1),
            ("$a", 2),
            ("$.", 3),
            ("$..a", 3),
            ("$.a b", 4),
            ("$.\u{e9} ", 4),
            ("$[", 3),
            ("$[*]", 3),
            ("$[-1]", 3),
            ("$[1", 4),
            ("$['a", 3),
            ("$['a'", 6),
            (r"$['a\'", 3),
            ("$[99999999999999999999999]", 3),
        ] {
            let fault = text.parse::<JsonPath>().expect_err(text);
            assert_eq!(fault.column, column, "{text}: {fault}");
        }
    }
}
