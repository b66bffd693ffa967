//! Character references of HTML (section 13.5): all numbers, and names of letters and of what nobody sees.

/// What stands behind `&#`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Number {
    code: u32,
    is_hex: bool,
    /// Some digits were there.
    begun: bool,
}

impl Number {
    /// Whether this is more of it.
    pub(super) fn take(&mut self, c: char) -> bool {
        if matches!(c, 'x' | 'X') && !self.is_hex && !self.begun {
            self.is_hex = true;
            return true;
        }
        let radix = if self.is_hex { 16 } else { 10 };
        let Some(digit) = c.to_digit(radix) else { return false };
        self.begun = true;
        self.code = self.code.saturating_mul(radix).saturating_add(digit);
        true
    }

    /// It was `&#x` without a digit, whose letter is one.
    pub(super) fn is_none(self) -> bool {
        self.is_hex && !self.begun
    }

    /// What it stands for: a space, if nothing else.
    pub(super) fn character(self) -> char {
        match self.code {
            code @ 0x80..=0x9f => super::windows_1252(code as u8),
            0 => ' ',
            code => char::from_u32(code).unwrap_or(' '),
        }
    }
}

/// What a name stands for, in lower case or not.
pub(super) fn named(name: &str) -> Option<char> {
    let of = |table: &[(&str, char)]| table.iter().find(|(known, _)| name.eq_ignore_ascii_case(known)).map(|(_, c)| *c);
    of(&LETTERS).or_else(|| of(&UNSEEN))
}

/// What the beginning of a name stands for that has no end, and how long that is: names of Latin-1 need none.
pub(super) fn begun(name: &str) -> Option<(char, usize)> {
    let begins = |known: &str| name.get(..known.len()).is_some_and(|start| start.eq_ignore_ascii_case(known));
    let letters = LETTERS.into_iter().chain([("shy", '\u{ad}')]);
    let all = letters.chain(SIGNS.into_iter().map(|sign| (sign, ' ')));
    let known = all.filter(|(known, _)| begins(known)).max_by_key(|(known, _)| known.len());
    known.map(|(known, c)| (c, known.len()))
}

/// Letters of Latin-1 by their names.
const LETTERS: [(&str, char); 32] = [
    ("agrave", 'à'),
    ("aacute", 'á'),
    ("acirc", 'â'),
    ("atilde", 'ã'),
    ("auml", 'ä'),
    ("aring", 'å'),
    ("aelig", 'æ'),
    ("ccedil", 'ç'),
    ("egrave", 'è'),
    ("eacute", 'é'),
    ("ecirc", 'ê'),
    ("euml", 'ë'),
    ("igrave", 'ì'),
    ("iacute", 'í'),
    ("icirc", 'î'),
    ("iuml", 'ï'),
    ("eth", 'ð'),
    ("ntilde", 'ñ'),
    ("ograve", 'ò'),
    ("oacute", 'ó'),
    ("ocirc", 'ô'),
    ("otilde", 'õ'),
    ("ouml", 'ö'),
    ("oslash", 'ø'),
    ("ugrave", 'ù'),
    ("uacute", 'ú'),
    ("ucirc", 'û'),
    ("uuml", 'ü'),
    ("yacute", 'ý'),
    ("thorn", 'þ'),
    ("yuml", 'ÿ'),
    ("szlig", 'ß'),
];

/// What is not seen.
const UNSEEN: [(&str, char); 15] = [
    ("shy", '\u{ad}'),
    ("zwj", '\u{200d}'),
    ("zwnj", '\u{200c}'),
    ("lrm", '\u{200e}'),
    ("rlm", '\u{200f}'),
    ("zerowidthspace", '\u{200b}'),
    ("negativethinspace", '\u{200b}'),
    ("negativemediumspace", '\u{200b}'),
    ("nobreak", '\u{2060}'),
    ("af", '\u{2061}'),
    ("applyfunction", '\u{2061}'),
    ("it", '\u{2062}'),
    ("invisibletimes", '\u{2062}'),
    ("ic", '\u{2063}'),
    ("invisiblecomma", '\u{2063}'),
];

/// Other signs of Latin-1 and ASCII, which part words.
const SIGNS: [&str; 37] = [
    "nbsp", "iexcl", "cent", "pound", "curren", "yen", "brvbar", "sect", "uml", "copy", "ordf", "laquo", "not", "reg",
    "macr", "deg", "plusmn", "sup1", "sup2", "sup3", "acute", "micro", "para", "middot", "cedil", "ordm", "raquo",
    "frac14", "frac12", "frac34", "iquest", "times", "divide", "lt", "gt", "amp", "quot",
];
