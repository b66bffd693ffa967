//! What a text comes to: words in lower case, with one space between them.

/// What has been folded and not looked at.
#[derive(Debug, Default)]
pub(super) struct Track {
    pub(super) bytes: Vec<u8>,
    /// The last byte was a letter or a digit.
    in_word: bool,
    begun: bool,
}

/// What bytes are in a text, whatever its markup: a letter or a digit in lower case, a space for what parts words, and 0 for what has to
/// be looked at.
const PLAIN: [u8; 256] = {
    let mut plain = [0; 256];
    let mut byte = 1_u8;
    while byte < 0x80 {
        plain[byte as usize] = match byte {
            0x1b | b'<' | b'>' | b'&' | b'\\' => 0,
            _ if byte.is_ascii_alphanumeric() => byte.to_ascii_lowercase(),
            _ => b' ',
        };
        byte += 1;
    }
    plain
};

/// Room is made for so many bytes, of which few may be plain.
pub(super) const RUN: usize = 128;

impl Track {
    /// Puts a beginning that is plain, [`RUN`] bytes at most; answers how long that is.
    pub(super) fn put_plain(&mut self, bytes: &[u8]) -> usize {
        if bytes.first().is_none_or(|first| PLAIN[usize::from(*first)] == 0) {
            return 0;
        }
        self.begin();
        let start = self.bytes.len();
        let bytes = &bytes[..bytes.len().min(RUN)];
        self.bytes.resize(start + bytes.len(), 0);
        let (made, mut at, mut taken, mut in_word) = (&mut self.bytes[start..], 0, 0, self.in_word);
        for byte in bytes {
            let folded = PLAIN[usize::from(*byte)];
            if folded == 0 {
                break;
            }
            // Of spaces in a row the first one alone stays.
            made[at] = folded;
            let is_letter = folded != b' ';
            at += usize::from(is_letter | in_word);
            in_word = is_letter;
            taken += 1;
        }
        self.in_word = in_word;
        self.bytes.truncate(start + at);
        taken
    }

    fn begin(&mut self) {
        if !self.begun {
            self.begun = true;
            self.bytes.push(b' ');
        }
    }

    pub(super) fn put(&mut self, c: char) {
        self.begin();
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
            c if is_unseen(c) => {}
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

    pub(super) fn end(&mut self) {
        self.part();
    }
}

/// Nobody sees them: a soft hyphen, and what joins, parts or picks letters without a width (Unicode: `Default_Ignorable_Code_Point`).
fn is_unseen(c: char) -> bool {
    matches!(c, '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}'..='\u{1160}' | '\u{17b4}'..='\u{17b5}' | '\u{180b}'..='\u{180f}'
        | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}'
        | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fff8}' | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}'
        | '\u{e0000}'..='\u{e0fff}')
}

/// Han, kana and Thai with its neighbours.
fn is_by_itself(c: char) -> bool {
    matches!(c, '\u{e00}'..='\u{eff}' | '\u{1000}'..='\u{109f}' | '\u{1780}'..='\u{17ff}' | '\u{3040}'..='\u{30ff}'
        | '\u{3400}'..='\u{4dbf}' | '\u{4e00}'..='\u{9fff}' | '\u{f900}'..='\u{faff}' | '\u{20000}'..='\u{3ffff}')
        && c.is_alphanumeric()
}
