//! Text as words are looked for in it: lower case, and a space wherever something else stands than letters and digits.
//!
//! Phrases of lists and texts of servers become the same in this way, so that a phrase is found by comparing bytes, with a space before it
//! and one behind it. What stands in tags of HTML is told apart from what is between them: either may hold words.

mod reference;
mod track;

use reference::Number;
use track::Track;

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
    /// The first of two units of UTF-16 that are a character together.
    high: Option<u16>,
    shift: Shift,
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
    /// Inside of `&#…;`.
    Number {
        in_tag: bool,
        number: Number,
    },
    /// Behind a `\`.
    Escape,
    /// Inside of `\uXXXX`.
    Hex,
}

/// Inside of what changes the characters of ISO 2022 (RFC 1468): where a text is read by that, nobody sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shift {
    No,
    /// Behind the escape.
    Begun,
    /// Behind the `(` or `$` that follows it.
    Into(char),
}

/// No name of a reference is longer.
const LONGEST_REFERENCE: usize = 19;

/// Whether words may be hidden in texts that are said to be in this charset.
pub fn may_hide(charset: &[u8]) -> bool {
    is_called(charset, &["iso-2022-jp", "csiso2022jp"])
}

/// The Encoding Standard's "get an encoding".
fn is_called(charset: &[u8], labels: &[&str]) -> bool {
    labels.iter().any(|label| charset.trim_ascii().eq_ignore_ascii_case(label.as_bytes()))
}

impl Fold {
    /// A text that is marked up so, and whose type says this charset.
    pub fn new(markup: Markup, charset: Option<&[u8]>) -> Fold {
        let said = |labels: &[&str]| charset.is_some_and(|said| is_called(said, labels));
        let said_utf16 = match () {
            () if said(&UTF_16LE) => Some(false),
            () if said(&UTF_16BE) => Some(true),
            () => None,
        };
        Fold {
            charset: None,
            said_utf16,
            cut: Vec::new(),
            markup,
            place: Place::Text,
            held: String::new(),
            high: None,
            shift: Shift::No,
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
            self.charset = Some(match joined[..] {
                [] | [0xef | 0xfe | 0xff] | [0xef, 0xbb] => {
                    self.cut = joined;
                    return;
                }
                [0xff, 0xfe, ..] => Charset::Utf16 { big: false },
                [0xfe, 0xff, ..] => Charset::Utf16 { big: true },
                [0xef, 0xbb, 0xbf, ..] => Charset::Lenient,
                _ => self.said_utf16.map_or(Charset::Lenient, |big| Charset::Utf16 { big }),
            });
        }
        self.decode(&joined);
    }

    /// Nothing more comes.
    pub fn end(&mut self) {
        let cut = std::mem::take(&mut self.cut);
        cut.iter().for_each(|byte| self.hear(windows_1252(*byte)));
        self.flush_held(None);
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
                    if let Some(c) = self.unit(unit) {
                        self.take(c);
                    }
                }
            }
            _ => {
                let mut rest = bytes;
                while let Some(first) = rest.first() {
                    let taken = match first {
                        0x80.. => {
                            let others = rest.iter().take_while(|byte| !byte.is_ascii()).count();
                            self.decode_others(&rest[..others], others == rest.len());
                            others
                        }
                        first => match self.take_plain(rest) {
                            0 => {
                                self.hear(char::from(*first));
                                1
                            }
                            taken => taken,
                        },
                    };
                    rest = &rest[taken..];
                }
            }
        }
    }

    /// Takes a beginning that is nothing but letters, digits and what parts them, which most of every text is; answers how long that is.
    fn take_plain(&mut self, bytes: &[u8]) -> usize {
        match self.place {
            _ if self.shift != Shift::No => 0,
            Place::Text => self.text.put_plain(bytes),
            Place::Tag => self.tags.put_plain(bytes),
            _ => 0,
        }
    }

    /// Takes what is not in ASCII: no character, be it broken, goes on behind it, unless more is to come.
    fn decode_others(&mut self, bytes: &[u8], may_more_come: bool) {
        let mut chunks = bytes.utf8_chunks().peekable();
        while let Some(chunk) = chunks.next() {
            chunk.valid().chars().for_each(|c| self.hear(c));
            let wrong = chunk.invalid();
            let may_go_on = may_more_come
                && chunks.peek().is_none()
                && std::str::from_utf8(wrong).is_err_and(|error| error.error_len().is_none());
            if may_go_on {
                self.cut = wrong.to_vec();
            } else {
                wrong.iter().for_each(|byte| self.hear(windows_1252(*byte)));
            }
        }
    }

    /// The character that ends with this unit of UTF-16, be it none.
    fn unit(&mut self, unit: u16) -> Option<char> {
        let high = self.high.take();
        match (high, unit) {
            (_, 0xd800..=0xdbff) => {
                self.high = Some(unit);
                None
            }
            (Some(high), 0xdc00..=0xdfff) => char::decode_utf16([high, unit]).next()?.ok(),
            _ => Some(char::from_u32(u32::from(unit)).unwrap_or(' ')),
        }
    }

    /// Takes what is no change of characters.
    fn hear(&mut self, c: char) {
        match (std::mem::replace(&mut self.shift, Shift::No), c) {
            (Shift::No, '\u{1b}') => self.shift = Shift::Begun,
            (Shift::Begun, '(' | '$') => self.shift = Shift::Into(c),
            (Shift::No, c) => self.take(c),
            (Shift::Into('('), 'B' | 'I' | 'J') | (Shift::Into('$'), '@' | 'B') => {}
            (Shift::Begun | Shift::Into(_), c) => {
                self.take(' ');
                self.hear(c);
            }
        }
    }

    fn take(&mut self, c: char) {
        match (self.place, c) {
            // Browsers leave it out.
            (_, '\0') => {}
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
            (Place::Reference { in_tag }, '#') if self.held.is_empty() => {
                self.place = Place::Number { in_tag, number: Number::default() };
            }
            (Place::Reference { in_tag }, ';') => {
                let c = reference::named(&self.held).unwrap_or(' ');
                self.held.clear();
                self.refer(in_tag, c);
            }
            (Place::Reference { .. }, c) if self.held.len() < LONGEST_REFERENCE && c.is_ascii_alphanumeric() => {
                self.held.push(c);
            }
            (Place::Number { in_tag, mut number }, c) => match number.take(c) {
                true => self.place = Place::Number { in_tag, number },
                false => {
                    self.refer_to(in_tag, number);
                    if c != ';' || number.is_none() {
                        self.take(c);
                    }
                }
            },
            (Place::Reference { .. }, c) => {
                self.flush_held(Some(c));
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
                    let unit = u16::from_str_radix(&self.held, 16).ok();
                    self.held.clear();
                    self.place = Place::Text;
                    if let Some(c) = unit.and_then(|unit| self.unit(unit)).filter(|c| *c != '\0') {
                        self.text.put(c);
                    }
                }
            }
            (Place::Hex, c) => {
                self.flush_held(Some(c));
                self.take(c);
            }
        }
    }

    /// A reference stands for this.
    fn refer(&mut self, in_tag: bool, c: char) {
        self.place = if in_tag { Place::Tag } else { Place::Text };
        if in_tag { self.tags.put(c) } else { self.text.put(c) }
    }

    fn refer_to(&mut self, in_tag: bool, number: Number) {
        self.refer(in_tag, number.character());
        if number.is_none() {
            self.refer(in_tag, 'x');
        }
    }

    /// It has become no escape, and no reference that ends as it should, before this: browsers read some all the same (HTML, section 13.2.5.73).
    fn flush_held(&mut self, before: Option<char>) {
        let held = std::mem::take(&mut self.held);
        match self.place {
            Place::Reference { in_tag } => {
                let (c, length) = reference::begun(&held)
                    .filter(|(_, length)| !in_tag || (*length == held.len() && before != Some('=')))
                    .unwrap_or((' ', 0));
                self.refer(in_tag, c);
                let track = if in_tag { &mut self.tags } else { &mut self.text };
                held[length..].chars().for_each(|c| track.put(c));
            }
            Place::Number { in_tag, number } => self.refer_to(in_tag, number),
            Place::Hex => {
                self.text.put(' ');
                held.chars().for_each(|c| self.text.put(c));
                self.place = Place::Text;
            }
            Place::Text | Place::Angle | Place::Tag | Place::Escape => {}
        }
    }
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

/// Labels of the Encoding Standard.
const UTF_16LE: [&str; 7] = ["utf-16", "utf-16le", "unicode", "ucs-2", "iso-10646-ucs-2", "csunicode", "unicodefeff"];
const UTF_16BE: [&str; 2] = ["utf-16be", "unicodefffe"];

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::track::RUN;
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
        let long = "a long, LONG  text & ".repeat(2 * RUN);
        assert_eq!(text(Markup::Tags, long.as_bytes()), format!(" {}", "a long long text ".repeat(2 * RUN)));
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
    fn references_need_no_end() {
        let of = |page: &[u8]| folded(Markup::Tags, None, &[page]);
        let [text, tags] = of(b"<a title='&#112lan &aumlrger' href='?a&auml=b&eth'>&#0000000000000112lan &#X70;lan &#x000000070lan na&iumlve");
        assert_eq!(text, " plan plan plan naïve ");
        assert_eq!(tags, " a title plan aumlrger href a auml bð ", "as attributes are read");
        assert_eq!(
            of(b"a&nbspplan&lt9 b&shy;ad b&ZeroWidthSpace;ad b&#8203ad b&#x;c d&#e")[0],
            " a plan 9 bad bad bad b x c d e "
        );
        assert_eq!(of(b"&#0;&#99999999999999999999;a&#xd800;b &#150;")[0], " a b ");
        assert_eq!(of(b"&#154")[0], " š ");
    }

    #[test]
    fn what_nobody_sees_hides_nothing() {
        for unseen in ["\0", "\u{34f}", "\u{180e}", "\u{2063}", "\u{fe0f}", "\u{e0001}", "\u{1b}(B", "\u{1b}$B\u{1b}(J"]
        {
            for markup in [Markup::Plain, Markup::Tags, Markup::Escapes] {
                assert_eq!(text(markup, format!("pl{unseen}an 9").as_bytes()), " plan 9 ", "{unseen:?}");
            }
            let utf16: Vec<u8> = format!("pl{unseen}an").encode_utf16().flat_map(u16::to_be_bytes).collect();
            if !unseen.contains('\u{1b}') {
                assert_eq!(folded(Markup::Plain, Some("utf-16be"), &[&utf16])[0], " plan ", "{unseen:?}");
            }
        }
        assert_eq!(text(Markup::Escapes, br"pl\udb40\udc01an b\u0000ad a\ud800b"), " plan bad ab ");
        assert_eq!(text(Markup::Plain, b"a\x1bb c\x1b(d \x1b"), " a b c d ");
    }

    #[test]
    fn charsets_have_other_names_and_marks_say_more() {
        for label in ["utf-16", "UCS-2", " unicode ", "utf-16le", "csUnicode"] {
            assert_eq!(folded(Markup::Plain, Some(label), &[b"a", b"\0b\0"])[0], " ab ", "{label}");
        }
        assert_eq!(folded(Markup::Plain, Some("unicodefffe"), &[b"\0a\0b"])[0], " ab ");
        assert_eq!(folded(Markup::Plain, Some("utf-16"), &[b"\xef", b"\xbb", b"\xbfab"])[0], " ab ");
        assert_eq!(text(Markup::Plain, b"\xef"), " ï ");
        assert!(may_hide(b" ISO-2022-JP") && !may_hide(b"utf-8"));
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
                "[a-zA-Zäß東<>&;#x=/\"\\\\u0-9 \u{0}\u{1b}($-]{0,60}".prop_map(String::into_bytes),
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
