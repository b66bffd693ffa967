//! A strict reader of JSON (RFC 8259) that finds a few places in one pass and builds no tree.

use std::borrow::Cow;

use super::json_path::{JsonPath, JsonStep};

/// What stands at a place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Value<'d> {
    /// A string's text, or a number, `true`, `false` or `null` as written.
    Scalar(Cow<'d, str>),
    /// An object or an array.
    Composite,
}

/// What stands at each of these places, or nothing at all if two readers could disagree on the document: it must be
/// strict JSON to its last byte, nest at most [`DEEPEST`] levels and name no member of an object twice.
pub(super) fn locate<'d>(document: &'d str, paths: &[&JsonPath]) -> Option<Vec<Option<Value<'d>>>> {
    let mut reader = Reader { document, at: 0, paths, found: vec![None; paths.len()] };
    let every: Vec<usize> = (0..paths.len()).collect();
    reader.skip_space();
    reader.value(0, &every)?;
    reader.skip_space();
    (reader.at == document.len()).then_some(reader.found)
}

/// How deep a document may nest: what most readers allow, and little stack.
const DEEPEST: usize = 128;

struct Reader<'d, 'p> {
    document: &'d str,
    at: usize,
    paths: &'p [&'p JsonPath],
    found: Vec<Option<Value<'d>>>,
}

impl<'d> Reader<'d, '_> {
    /// Reads the value that begins here. `alive` are the paths whose first `depth` steps led to it.
    fn value(&mut self, depth: usize, alive: &[usize]) -> Option<()> {
        let value = match self.peek()? {
            b'{' => self.object(depth, alive)?,
            b'[' => self.array(depth, alive)?,
            b'"' => Value::Scalar(self.string()?),
            b't' => Value::Scalar(self.word("true")?),
            b'f' => Value::Scalar(self.word("false")?),
            b'n' => Value::Scalar(self.word("null")?),
            _ => Value::Scalar(self.number()?),
        };
        for path in alive {
            if self.paths[*path].steps.len() == depth {
                self.found[*path] = Some(value.clone());
            }
        }
        Some(())
    }

    fn object(&mut self, depth: usize, alive: &[usize]) -> Option<Value<'d>> {
        self.enter(b'{', depth)?;
        let mut names = Vec::new();
        while !self.leaves(b'}', names.is_empty())? {
            let name = self.string()?;
            self.skip_space();
            self.expect(b':')?;
            self.skip_space();
            let on_the_way = self.following(depth, alive, |step| matches!(step, JsonStep::Member(own) if *own == name));
            self.value(depth + 1, &on_the_way)?;
            names.push(name);
        }
        // Sorting, because names come from the client and a table keyed by them would need a keyed hash.
        names.sort_unstable();
        names.is_sorted_by(|one, next| one < next).then_some(Value::Composite)
    }

    fn array(&mut self, depth: usize, alive: &[usize]) -> Option<Value<'d>> {
        self.enter(b'[', depth)?;
        let mut elements = 0;
        while !self.leaves(b']', elements == 0)? {
            let on_the_way = self.following(depth, alive, |step| *step == JsonStep::Element(elements));
            self.value(depth + 1, &on_the_way)?;
            elements += 1;
        }
        Some(Value::Composite)
    }

    /// The paths whose next step is this one.
    fn following(&self, depth: usize, alive: &[usize], is_next: impl Fn(&JsonStep) -> bool) -> Vec<usize> {
        let goes_on = |path: &usize| self.paths[*path].steps.get(depth).is_some_and(&is_next);
        alive.iter().copied().filter(goes_on).collect()
    }

    fn enter(&mut self, bracket: u8, depth: usize) -> Option<()> {
        self.expect(bracket)?;
        self.skip_space();
        (depth < DEEPEST).then_some(())
    }

    /// Whether the object or array ends here; if not, the next member or element begins here.
    fn leaves(&mut self, bracket: u8, first: bool) -> Option<bool> {
        self.skip_space();
        if self.peek()? == bracket {
            self.at += 1;
            return Some(true);
        }
        if !first {
            self.expect(b',')?;
            self.skip_space();
        }
        Some(false)
    }

    fn string(&mut self) -> Option<Cow<'d, str>> {
        self.expect(b'"')?;
        let plain = self.plain_part()?;
        if self.skips(b'"') {
            return Some(Cow::Borrowed(plain));
        }
        let mut text = plain.to_owned();
        while self.skips(b'\\') {
            text.push(self.escape()?);
            text.push_str(self.plain_part()?);
        }
        self.expect(b'"')?;
        Some(Cow::Owned(text))
    }

    /// What stands before the next quote or backslash.
    fn plain_part(&mut self) -> Option<&'d str> {
        let rest = &self.document[self.at..];
        let (part, _) = rest.split_at(rest.bytes().position(|byte| matches!(byte, b'"' | b'\\' | 0..0x20))?);
        self.at += part.len();
        Some(part)
    }

    fn escape(&mut self) -> Option<char> {
        let escaped = self.peek()?;
        self.at += 1;
        Some(match escaped {
            b'"' | b'\\' | b'/' => char::from(escaped),
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' => {
                let unit = self.unit()?;
                if !(0xd800..0xdc00).contains(&unit) {
                    return char::from_u32(unit);
                }
                self.expect(b'\\')?;
                self.expect(b'u')?;
                let low = self.unit()?.checked_sub(0xdc00).filter(|low| *low < 0x400)?;
                return char::from_u32(0x1_0000 + ((unit - 0xd800) << 10) + low);
            }
            _ => return None,
        })
    }

    /// The four digits of a UTF-16 code unit.
    fn unit(&mut self) -> Option<u32> {
        let digits = self.document.get(self.at..self.at + 4)?;
        self.at += 4;
        // `from_str_radix` would take a sign.
        digits.bytes().all(|byte| byte.is_ascii_hexdigit()).then(|| u32::from_str_radix(digits, 16).ok())?
    }

    fn word(&mut self, word: &'static str) -> Option<Cow<'d, str>> {
        if !self.document[self.at..].starts_with(word) {
            return None;
        }
        self.at += word.len();
        Some(Cow::Borrowed(word))
    }

    fn number(&mut self) -> Option<Cow<'d, str>> {
        let start = self.at;
        self.skips(b'-');
        if !self.skips(b'0') {
            self.digits()?;
        }
        if self.skips(b'.') {
            self.digits()?;
        }
        if self.skips(b'e') || self.skips(b'E') {
            let _sign = self.skips(b'+') || self.skips(b'-');
            self.digits()?;
        }
        Some(Cow::Borrowed(&self.document[start..self.at]))
    }

    fn digits(&mut self) -> Option<()> {
        let start = self.at;
        while self.peek().is_some_and(|byte| byte.is_ascii_digit()) {
            self.at += 1;
        }
        (self.at > start).then_some(())
    }

    fn skip_space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    fn expect(&mut self, byte: u8) -> Option<()> {
        self.skips(byte).then_some(())
    }

    fn skips(&mut self, byte: u8) -> bool {
        let here = self.peek() == Some(byte);
        self.at += usize::from(here);
        here
    }

    fn peek(&self) -> Option<u8> {
        self.document.as_bytes().get(self.at).copied()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Whether a document is sound, judged without a place to find.
    fn is_sound(document: &str) -> bool {
        locate(document, &[]).is_some()
    }

    #[test]
    fn several_places_are_found_in_one_pass() {
        let paths: Vec<JsonPath> =
            ["$.a[1]", "$.b", "$.a", "$.c", "$.a[1]"].iter().map(|path| path.parse().expect("a valid path")).collect();
        let found = locate(r#" {"a": [0, "x\n"], "b": -1.5e+3} "#, &paths.iter().collect::<Vec<_>>());
        let scalar = |text: &'static str| Some(Value::Scalar(text.into()));
        assert_eq!(found, Some(vec![scalar("x\n"), scalar("-1.5e+3"), Some(Value::Composite), None, scalar("x\n")]));
    }

    #[test]
    fn strings_are_decoded() {
        let root: JsonPath = "$".parse().expect("a valid path");
        for (document, text) in [
            (r#""""#, ""),
            (r#""\"\\\/\b\f\n\r\t""#, "\"\\/\u{8}\u{c}\n\r\t"),
            (r#""\u00e9\ud83d\ude00x""#, "\u{e9}\u{1f600}x"),
            ("\"\u{e9}\u{7f}\"", "\u{e9}\u{7f}"),
        ] {
            assert_eq!(locate(document, &[&root]), Some(vec![Some(Value::Scalar(text.into()))]), "{document}");
        }
    }

    #[test]
    fn sloppy_documents_are_refused() {
        for document in [
            "",
            " ",
            "nul",
            "nulll",
            "01",
            "1.",
            ".5",
            "+1",
            "-",
            "1e",
            "0x1",
            "NaN",
            "'a'",
            "\"a",
            "\"\n\"",
            "\"\\x\"",
            "\"\\u12\"",
            "\"\\u+123\"",
            "\"\\ud800\"",
            "\"\\ud800\\u0041\"",
            "\"\\udc00\"",
            "[",
            "[1",
            "[1,]",
            "[,1]",
            "[1 2]",
            "{",
            "{\"a\"}",
            "{\"a\":}",
            "{\"a\":1,}",
            "{a:1}",
            "{\"a\":1 \"b\":2}",
            "{}{}",
            "1 2",
            "\u{feff}1",
            "/**/1",
            "\u{a0}1",
        ] {
            assert!(!is_sound(document), "{document:?}");
        }
    }

    #[test]
    fn a_name_stands_once_in_each_object() {
        assert!(!is_sound(r#"{"a":1,"b":2,"a":1}"#));
        assert!(!is_sound(r#"[{"x":{"a":1,"\u0061":2}}]"#));
        assert!(is_sound(r#"{"a":{"a":{"a":1}},"b":{"a":2}}"#));
    }

    #[test]
    fn depth_is_bounded() {
        let nested = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);
        assert!(is_sound(&nested(DEEPEST)));
        assert!(!is_sound(&nested(DEEPEST + 1)));
        assert!(!is_sound(&"[".repeat(1 << 20)));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4000))]

        #[test]
        fn another_strict_reader_agrees(tokens in prop::collection::vec(token(), 0..12)) {
            let document = tokens.concat();
            // The other reader takes the last of two members of a name.
            let other = serde_json::from_str::<serde_json::Value>(&document);
            if is_sound(&document) {
                prop_assert!(other.is_ok(), "{}", document);
            } else if let Ok(value) = other {
                let members = |text: &str| text.matches(':').count();
                prop_assert!(members(&value.to_string()) < members(&document), "{}", document);
            }
        }
    }

    fn token() -> impl Strategy<Value = &'static str> {
        prop::sample::select(vec![
            "{",
            "}",
            "[",
            "]",
            ",",
            ":",
            "{\"a\":",
            ",\"b\":",
            "\"a\"",
            "\"\\u0061\"",
            "\"\\ud83d\\ude00\"",
            "\"",
            "\\",
            "0",
            "1",
            "-",
            ".5",
            "e1",
            "true",
            "null",
            " ",
            "\n",
            "\u{e9}",
            "[]",
            "{}",
            "[1,",
            "2]",
            "}",
        ])
    }
}
