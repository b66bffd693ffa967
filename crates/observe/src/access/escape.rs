//! Bytes of the wire made safe for a line: the clean ones, which are nearly all, are found eight at a time and copied.

/// Appends the inside of a JSON string (RFC 8259 section 7).
pub(crate) fn json(text: &[u8], out: &mut Vec<u8>) {
    let clean = clean_prefix(text);
    out.extend_from_slice(&text[..clean]);
    if clean < text.len() {
        json_rest(&text[clean..], out);
    }
}

/// Appends the inside of a quoted string, as Apache escapes its log items.
pub(super) fn combined(text: &[u8], out: &mut Vec<u8>) {
    let clean = clean_prefix(text);
    out.extend_from_slice(&text[..clean]);
    for &byte in &text[clean..] {
        match byte {
            b'"' | b'\\' => out.extend_from_slice(&[b'\\', byte]),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            b' '..=b'~' => out.push(byte),
            _ => out.extend_from_slice(&[b'\\', b'x', hex(byte >> 4), hex(byte)]),
        }
    }
}

#[cold]
fn json_rest(text: &[u8], out: &mut Vec<u8>) {
    for chunk in text.utf8_chunks() {
        for symbol in chunk.valid().chars() {
            match symbol {
                '"' => out.extend_from_slice(b"\\\""),
                '\\' => out.extend_from_slice(b"\\\\"),
                '\n' => out.extend_from_slice(b"\\n"),
                '\r' => out.extend_from_slice(b"\\r"),
                '\t' => out.extend_from_slice(b"\\t"),
                // All control characters are below U+0100: C0, DEL and C1.
                symbol if symbol.is_control() => json_byte(symbol as u8, out),
                symbol => out.extend_from_slice(symbol.encode_utf8(&mut [0; 4]).as_bytes()),
            }
        }
        for &byte in chunk.invalid() {
            json_byte(byte, out);
        }
    }
}

fn json_byte(byte: u8, out: &mut Vec<u8>) {
    out.extend_from_slice(&[b'\\', b'u', b'0', b'0', hex(byte >> 4), hex(byte)]);
}

fn hex(nibble: u8) -> u8 {
    b"0123456789abcdef"[usize::from(nibble & 15)]
}

/// How many bytes at the beginning are printable ASCII other than the quote and the backslash. It looks at words of
/// eight bytes, so it may stop up to seven bytes early; the careful loop copes.
fn clean_prefix(text: &[u8]) -> usize {
    let (words, rest) = text.as_chunks::<8>();
    for (index, word) in words.iter().enumerate() {
        if !is_clean(u64::from_ne_bytes(*word)) {
            return index * 8;
        }
    }
    // The last eight bytes overlap with what was looked at already: that is cheaper than to copy the rest of them.
    let clean = match text.last_chunk::<8>() {
        Some(last) => is_clean(u64::from_ne_bytes(*last)),
        None => rest.iter().all(|byte| is_clean(ONES * u64::from(*byte))),
    };
    if clean { text.len() } else { words.len() * 8 }
}

/// A one in each of eight bytes.
const ONES: u64 = 0x0101_0101_0101_0101;

/// Whether eight bytes at once are clean. Each test sets the high bit of a byte that fails it; a carry from a lower byte
/// happens only behind one that failed (the tricks are those of "Bit Twiddling Hacks", "determine if a word has a byte
/// less than n" and "… a zero byte").
fn is_clean(word: u64) -> bool {
    const HIGH: u64 = 0x8080_8080_8080_8080;
    let zero = |value: u64| value.wrapping_sub(ONES) & !value;
    let control = word.wrapping_sub(ONES * 0x20) & !word;
    let quote = zero(word ^ (ONES * u64::from(b'"')));
    let backslash = zero(word ^ (ONES * u64::from(b'\\')));
    let delete = zero(word ^ (ONES * 0x7f));
    (word | control | quote | backslash | delete) & HIGH == 0
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn escaped(escape: fn(&[u8], &mut Vec<u8>), text: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        escape(text, &mut out);
        out
    }

    #[test]
    fn every_byte_at_every_place() {
        for byte in 0..=255u8 {
            for place in 0..17 {
                let mut text = [b'a'; 17];
                text[place] = byte;
                let clean = (b' '..=b'~').contains(&byte) && byte != b'"' && byte != b'\\';
                for escape in [json as fn(&[u8], &mut Vec<u8>), combined] {
                    let out = escaped(escape, &text);
                    assert_eq!(out == text, clean, "byte {byte:#x} at {place}");
                    assert!(out.iter().all(|byte| (b' '..=b'~').contains(byte)));
                }
            }
        }
    }

    #[test]
    fn json_by_example() {
        assert_eq!(escaped(json, b"/a\"b\\c\r\n\t\x00\x1b\x7f"), br#"/a\"b\\c\r\n\t\u0000\u001b\u007f"#);
        assert_eq!(escaped(json, "/grüße/\u{85}€".as_bytes()), "/grüße/\\u0085€".as_bytes());
        assert_eq!(escaped(json, b"caf\xe9 \xf0\x9f"), br"caf\u00e9 \u00f0\u009f");
    }

    #[test]
    fn combined_by_example() {
        assert_eq!(escaped(combined, b"a\"b\\c\r\n\t\x00\x7f"), br#"a\"b\\c\r\n\t\x00\x7f"#);
        assert_eq!(escaped(combined, "é".as_bytes()), br"\xc3\xa9");
    }

    proptest! {
        #[test]
        fn json_reads_back(text in any::<String>()) {
            let quoted = [b"\"".as_slice(), &escaped(json, text.as_bytes()), b"\""].concat();
            prop_assert_eq!(serde_json::from_slice::<String>(&quoted).expect("a JSON string"), text);
        }

        #[test]
        fn no_control_byte_gets_through(text in any::<Vec<u8>>()) {
            let out = escaped(json, &text);
            prop_assert!(String::from_utf8(out).expect("UTF-8").chars().all(|symbol| !symbol.is_control()));
            prop_assert!(escaped(combined, &text).iter().all(|byte| (b' '..=b'~').contains(byte)));
        }
    }
}
