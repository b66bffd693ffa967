//! Lists of words: a word or a phrase a line, and what it weighs.

/// What a line says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Phrase<'a> {
    /// The word, or several.
    pub text: &'a str,
    /// What it weighs. One without a weight decides by itself.
    pub weight: Option<i32>,
}

/// No phrase is longer, in bytes.
pub const LONGEST_PHRASE: usize = 256;
/// No weight is larger, either way.
const HEAVIEST: i32 = 1_000_000;

/// Reads a line that is neither empty nor a comment: `word`, `two words 10`, `"room 101"`, `<phrase><10>`.
pub fn phrase(line: &str) -> Option<Phrase<'_>> {
    let line = line.trim();
    let (text, weight) = match line.as_bytes().first()? {
        b'<' => angled(line)?,
        b'"' => {
            let (text, rest) = line[1..].split_once('"')?;
            (text, rest.trim())
        }
        _ => match line.rsplit_once(char::is_whitespace) {
            Some((text, last)) if number(last).is_some() => (text, last),
            _ => (line, ""),
        },
    };
    let weight = if weight.is_empty() { None } else { Some(number(weight)?) };
    let is_one = text.len() <= LONGEST_PHRASE && text.chars().any(char::is_alphanumeric);
    is_one.then_some(Phrase { text: text.trim(), weight })
}

/// `<phrase>` or `<phrase><10>`, as the lists of DansGuardian and e2guardian are written. Those that ask for several at once
/// (`<one>,<other><10>`) are not understood.
fn angled(line: &str) -> Option<(&str, &str)> {
    let (text, rest) = line[1..].split_once('>')?;
    let rest = rest.trim();
    if rest.is_empty() {
        return Some((text, ""));
    }
    Some((text, rest.strip_prefix('<')?.strip_suffix('>')?.trim()))
}

fn number(text: &str) -> Option<i32> {
    text.parse().ok().filter(|weight: &i32| weight.abs() <= HEAVIEST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_a_phrase_and_its_weight() {
        for (line, text, weight) in [
            ("word", "word", None),
            (" two words ", "two words", None),
            ("two words 10", "two words", Some(10)),
            ("two words\t-5", "two words", Some(-5)),
            ("\"room 101\"", "room 101", None),
            ("\"room 101\" 7", "room 101", Some(7)),
            ("<word>", "word", None),
            ("< two words ><50>", "two words", Some(50)),
            ("<good><-30>", "good", Some(-30)),
            ("42", "42", None),
            ("naïve", "naïve", None),
        ] {
            assert_eq!(phrase(line), Some(Phrase { text, weight }), "{line}");
        }
    }

    #[test]
    fn what_is_no_phrase_is_none() {
        let long = "a".repeat(LONGEST_PHRASE + 1);
        for line in ["", "!!", "\"open", "<one>,<other><10>", "<open", "<a><b>", "\"a\" b", "<><10>", &long] {
            assert_eq!(phrase(line), None, "{line}");
        }
        assert_eq!(phrase("word 99999999").map(|phrase| phrase.text), Some("word 99999999"));
    }
}
