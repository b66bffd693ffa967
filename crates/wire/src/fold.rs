//! Text as words are looked for in it: lower case, and a space wherever something else stands than letters and digits.
//!
//! Phrases of lists and texts of servers become the same in this way, so that a phrase is found by comparing bytes, with a space before it
//! and one behind it. What stands in tags of HTML is told apart from what is between them: either may hold words.

/// How a text is marked up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Markup {
    /// Not at all.
    Plain,
    /// HTML, XML and their kin: tags and character references.
    Tags,
    /// Escapes of JSON.
    Escapes,
}

/// How characters stand in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Charset {
    /// UTF-8, and whatever is none counts as Windows-1252, which holds Latin-1: what a text says of itself need not be believed.
    Lenient,
    Utf16 {
        big: bool,
    },
}

/// A text that comes piece by piece.
#[derive(Debug)]
pub struct Fold {
    charset: Option<Charset>,
    said_utf16: Option<bool>,
    /// Bytes of a character that is not whole.
    cut: Vec<u8>,
    markup: Markup,
    place: Place,
    /// What may become a character reference, or an escape.
    held: String,
    text: Track,
    tags: Track,
}

/// Where the text is at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Text,
    /// Behind a `<` that may begin a tag.
    Angle,
    Tag,
    /// Inside of `&…;`, and whether that is in a tag.
    Reference {
        in_tag: bool,
    },
    /// Behind a `\`.
    Escape,
    /// Inside of `\uXXXX`.
    Hex,
}

/// What has been folded and not looked at.
#[derive(Debug, Default)]
struct Track {
    bytes: Vec<u8>,
    /// The last byte was a letter or a digit.
    in_word: bool,
    begun: bool,
}

/// No reference is longer.
const LONGEST_REFERENCE: usize = 10;

impl Fold {
    /// A text that is marked up so, and whose type says this charset.
    pub fn new(markup: Markup, charset: Option<&[u8]>) -> Fold {
        let said = |name: &str| charset.is_some_and(|said| said.eq_ignore_ascii_case(name.as_bytes()));
        let said_utf16 = match () {
            () if said("utf-16") || said("utf-16le") => Some(false),
            () if said("utf-16be") => Some(true),
            () => None,
        };
        Fold {
            charset: None,
            said_utf16,
            cut: Vec::new(),
            markup,
            place: Place::Text,
            held: String::new(),
            text: Track::default(),
            tags: Track::default(),
        }
    }

    /// A phrase as it is looked for; nothing if nothing of it would be.
    pub fn phrase(text: &str) -> Option<Vec<u8>> {
        let mut track = Track::default();
        text.chars().for_each(|c| track.put(c));
        track.end();
        (track.bytes.len() > 2).then_some(track.bytes)
    }

    /// Takes more of the text in.
    pub fn feed(&mut self, bytes: &[u8]) {
        if self.cut.is_empty() && self.charset.is_some() {
            return self.decode(bytes);
        }
        let mut joined = std::mem::take(&mut self.cut);
        joined.extend_from_slice(bytes);
        if self.charset.is_none() {
            // A mark at the beginning says more than whatever was said before.
            if joined.len() < 2 {
                self.cut = joined;
                return;
            }
            self.charset = Some(match joined[..2] {
                [0xff, 0xfe] => Charset::Utf16 { big: false },
                [0xfe, 0xff] => Charset::Utf16 { big: true },
                _ => self.said_utf16.map_or(Charset::Lenient, |big| Charset::Utf16 { big }),
            });
        }
        self.decode(&joined);
    }

    /// Nothing more comes.
    pub fn end(&mut self) {
        let cut = std::mem::take(&mut self.cut);
        cut.iter().for_each(|byte| self.take(windows_1252(*byte)));
        self.flush_held();
        self.text.end();
        self.tags.end();
    }

    /// What has been folded since it was taken last: between tags, and in them.
    pub fn tracks(&mut self) -> [&mut Vec<u8>; 2] {
        [&mut self.text.bytes, &mut self.tags.bytes]
    }

    fn decode(&mut self, bytes: &[u8]) {
        match self.charset {
            Some(Charset::Utf16 { big }) => {
                let pairs = bytes.chunks_exact(2);
                self.cut = pairs.remainder().to_vec();
                for pair in pairs {
                    let pair = [pair[0], pair[1]];
                    let unit = if big { u16::from_be_bytes(pair) } else { u16::from_le_bytes(pair) };
                    // What takes two units is no letter that anybody lists.
                    self.take(char::from_u32(u32::from(unit)).unwrap_or(' '));
                }
            }
            _ => {
                let mut chunks = bytes.utf8_chunks().peekable();
                while let Some(chunk) = chunks.next() {
                    chunk.valid().chars().for_each(|c| self.take(c));
                    let wrong = chunk.invalid();
                    let may_go_on = chunks.peek().is_none()
                        && std::str::from_utf8(wrong).is_err_and(|error| error.error_len().is_none());
                    if may_go_on {
                        self.cut = wrong.to_vec();
                    } else {
                        wrong.iter().for_each(|byte| self.take(windows_1252(*byte)));
                    }
                }
            }
        }
    }

    fn take(&mut self, c: char) {
        match (self.place, c) {
            (Place::Text, '<') if self.markup == Markup::Tags => self.place = Place::Angle,
            (Place::Text | Place::Tag, '&') if self.markup == Markup::Tags => {
                self.place = Place::Reference { in_tag: self.place == Place::Tag };
            }
            (Place::Text, '\\') if self.markup == Markup::Escapes => self.place = Place::Escape,
            (Place::Text, c) => self.text.put(c),
            (Place::Angle, 'a'..='z' | 'A'..='Z' | '/' | '!' | '?') => {
                self.text.put(' ');
                self.tags.put(' ');
                self.tags.put(c);
                self.place = Place::Tag;
            }
            (Place::Angle, c) => {
                self.place = Place::Text;
                self.text.put(' ');
                self.take(c);
            }
            (Place::Tag, '>') => {
                self.tags.put(' ');
                self.place = Place::Text;
            }
            (Place::Tag, c) => self.tags.put(c),
            (Place::Reference { in_tag }, ';') => {
                let c = reference(&self.held).unwrap_or(' ');
                self.held.clear();
                self.place = if in_tag { Place::Tag } else { Place::Text };
                if in_tag { self.tags.put(c) } else { self.text.put(c) }
            }
            (Place::Reference { .. }, c)
                if self.held.len() < LONGEST_REFERENCE && (c.is_ascii_alphanumeric() || c == '#') =>
            {
                self.held.push(c);
            }
            (Place::Reference { .. }, c) => {
                self.flush_held();
                self.take(c);
            }
            (Place::Escape, 'u') => self.place = Place::Hex,
            (Place::Escape, _) => {
                self.text.put(' ');
                self.place = Place::Text;
            }
            (Place::Hex, c) if c.is_ascii_hexdigit() => {
                self.held.push(c);
                if self.held.len() == 4 {
                    let c = u32::from_str_radix(&self.held, 16).ok().and_then(char::from_u32);
                    self.held.clear();
                    self.place = Place::Text;
                    self.text.put(c.unwrap_or(' '));
                }
            }
            (Place::Hex, c) => {
                self.flush_held();
                self.take(c);
            }
        }
    }

    /// It has become no reference and no escape: it is text.
    fn flush_held(&mut self) {
        let held = std::mem::take(&mut self.held);
        match self.place {
            Place::Reference { in_tag: true } => {
                self.tags.put(' ');
                held.chars().for_each(|c| self.tags.put(c));
                self.place = Place::Tag;
            }
            Place::Reference { in_tag: false } | Place::Hex => {
                self.text.put(' ');
                held.chars().for_each(|c| self.text.put(c));
                self.place = Place::Text;
            }
            Place::Text | Place::Angle | Place::Tag | Place::Escape => {}
        }
    }
}

impl Track {
    fn put(&mut self, c: char) {
        if !self.begun {
            self.begun = true;
            self.bytes.push(b' ');
        }
        if c.is_ascii_alphanumeric() {
            self.bytes.push(c.to_ascii_lowercase() as u8);
            self.in_word = true;
        } else if c.is_ascii() {
            self.part();
        } else {
            self.put_other(c);
        }
    }

    fn put_other(&mut self, c: char) {
        match c {
            // Nobody sees them: a soft hyphen, and what joins or parts letters without a width.
            '\u{ad}' | '\u{200b}'..='\u{200d}' | '\u{2060}' | '\u{feff}' => {}
            // Where words are not parted every character stands by itself.
            c if is_by_itself(c) => {
                self.part();
                self.bytes.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
                self.in_word = true;
                self.part();
            }
            // A letter, or an accent of the letter before.
            c if c.is_alphanumeric() || ('\u{300}'..='\u{36f}').contains(&c) => {
                let c = if c == 'ς' { 'σ' } else { c };
                for lower in c.to_lowercase() {
                    self.bytes.extend_from_slice(lower.encode_utf8(&mut [0; 4]).as_bytes());
                }
                self.in_word = true;
            }
            _ => self.part(),
        }
    }

    fn part(&mut self) {
        if std::mem::take(&mut self.in_word) {
            self.bytes.push(b' ');
        }
    }

    fn end(&mut self) {
        self.part();
    }
}

/// Han, kana and Thai with its neighbours.
fn is_by_itself(c: char) -> bool {
    matches!(c, '\u{e00}'..='\u{eff}' | '\u{1000}'..='\u{109f}' | '\u{1780}'..='\u{17ff}' | '\u{3040}'..='\u{30ff}'
        | '\u{3400}'..='\u{4dbf}' | '\u{4e00}'..='\u{9fff}' | '\u{f900}'..='\u{faff}' | '\u{20000}'..='\u{3ffff}')
        && c.is_alphanumeric()
}

fn windows_1252(byte: u8) -> char {
    match byte {
        0x8a => 'š',
        0x8c => 'œ',
        0x8e => 'ž',
        0x9a => 'š',
        0x9c => 'œ',
        0x9e => 'ž',
        0x9f => 'ÿ',
        0x80..=0x9f => ' ',
        other => char::from(other),
    }
}

/// The letter that a character reference stands for, in lower case or not.
fn reference(name: &str) -> Option<char> {
    if let Some(number) = name.strip_prefix('#') {
        let code = match number.strip_prefix(['x', 'X']) {
            Some(hex) => u32::from_str_radix(hex, 16).ok()?,
            None => number.parse().ok()?,
        };
        return char::from_u32(code);
    }
    LETTERS.iter().find(|(known, _)| name.eq_ignore_ascii_case(known)).map(|(_, letter)| *letter)
}

/// Letters of Latin-1 by their names in HTML, and what is not seen.
const LETTERS: [(&str, char); 33] = [
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
    ("shy", '\u{ad}'),
];

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn folded(markup: Markup, charset: Option<&str>, pieces: &[&[u8]]) -> [String; 2] {
        let mut fold = Fold::new(markup, charset.map(str::as_bytes));
        pieces.iter().for_each(|piece| fold.feed(piece));
        fold.end();
        fold.tracks().map(|track| String::from_utf8(std::mem::take(track)).expect("text"))
    }

    fn text(markup: Markup, bytes: &[u8]) -> String {
        folded(markup, None, &[bytes])[0].clone()
    }

    #[test]
    fn words_are_lower_case_with_a_space_around() {
        assert_eq!(text(Markup::Plain, b"Two,  WORDS!"), " two words ");
        assert_eq!(text(Markup::Plain, "STRAẞE Ärger ΟΔΟΣ".as_bytes()), " straße ärger οδοσ ");
        assert_eq!(text(Markup::Plain, b"\xc4rger na\xefve"), " ärger naïve ", "Latin-1");
        assert_eq!(
            text(Markup::Plain, "so\u{ad}ft zero\u{200b}width 東京 ไทย".as_bytes()),
            " soft zerowidth 東 京 ไ ท ย "
        );
        assert_eq!(text(Markup::Plain, b""), "");
        assert_eq!(text(Markup::Plain, b"\xff\xfeA\0b\0 \0c\0"), " ab c ");
        assert_eq!(folded(Markup::Plain, Some("UTF-16BE"), &[b"\0A", b"\0", b"b"])[0], " ab ");
    }

    #[test]
    fn tags_are_told_apart_and_references_read() {
        let page = b"<p class=\"big\">F&uuml;r &#83;ie&nbsp;a&amp;b 1 < 2<br>next<!-- hidden --><a title='M&#x4d;'>x</a>&broken &unknown;end";
        let [text, tags] = folded(Markup::Tags, None, &[page]);
        assert_eq!(text, " für sie a b 1 2 next x broken end ");
        assert_eq!(tags, " p class big br hidden a title mm a ");
        assert_eq!(self::text(Markup::Plain, b"a<b>c"), " a b c ");
    }

    #[test]
    fn escapes_are_read() {
        assert_eq!(text(Markup::Escapes, br#"{"a\nb":"\u00c4rger \u12"}"#), " a b ärger 12 ");
        assert_eq!(text(Markup::Plain, br"a\nb"), " a nb ");
    }

    #[test]
    fn a_phrase_without_letters_is_none() {
        assert_eq!(Fold::phrase("Two  words!").as_deref(), Some(&b" two words "[..]));
        assert_eq!(Fold::phrase("--"), None);
        assert_eq!(Fold::phrase(""), None);
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        /// Wherever a text is cut, it is the same; and nothing in it is ever more than a space and a letter for each byte.
        #[test]
        fn cuts_change_nothing(
            bytes in prop_oneof![
                prop::collection::vec(any::<u8>(), 0..80),
                "[a-zA-Zäß東<>&;#x/\"\\\\u0-9 -]{0,60}".prop_map(String::into_bytes),
            ],
            cut in 1..7_usize,
            markup in prop_oneof![Just(Markup::Plain), Just(Markup::Tags), Just(Markup::Escapes)],
        ) {
            let pieces: Vec<&[u8]> = bytes.chunks(cut).collect();
            let whole = folded(markup, None, &[&bytes]);
            prop_assert_eq!(&folded(markup, None, &pieces), &whole);
            for track in whole {
                prop_assert!(!track.contains("  "), "{track:?}");
            }
        }
    }
}
