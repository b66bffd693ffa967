//! Names and values as queries and forms write them: `name=value` joined by `&`, with `%` escapes and `+` for a space.

use std::borrow::Cow;

/// The values of all parameters with this name. An escape that is none stays as it is, as browsers and most servers
/// have it.
pub fn values<'a>(text: &'a [u8], name: &[u8]) -> impl Iterator<Item = Cow<'a, [u8]>> {
    pairs(text).filter(move |(own, _)| *decoded(own) == *name).map(|(_, value)| decoded(value))
}

/// Whether every reader agrees on these parameters: no broken escape, and UTF-8 once they are decoded.
pub fn is_sound(text: &[u8]) -> bool {
    let escapes = memchr::memchr_iter(b'%', text).all(|at| escape(&text[at..]).is_some());
    escapes
        && pairs(text).all(|(name, value)| {
            std::str::from_utf8(&decoded(name)).is_ok() && std::str::from_utf8(&decoded(value)).is_ok()
        })
}

/// Names and values as they are written; what is empty is none.
pub fn pairs(text: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    let pairs = text.split(|byte| *byte == b'&').filter(|pair| !pair.is_empty());
    pairs.map(|pair| {
        let (name, value) = split(pair);
        (name, value.unwrap_or_default())
    })
}

/// The name and the value of a pair, if it has one.
pub fn split(pair: &[u8]) -> (&[u8], Option<&[u8]>) {
    match memchr::memchr(b'=', pair) {
        Some(equals) => (&pair[..equals], Some(&pair[equals + 1..])),
        None => (pair, None),
    }
}

/// A name or value as it is meant. An escape that is none stays as it is.
pub fn decoded(text: &[u8]) -> Cow<'_, [u8]> {
    if memchr::memchr2(b'%', b'+', text).is_none() {
        return Cow::Borrowed(text);
    }
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((byte, after)) = rest.split_first() {
        let (byte, after) = match *byte {
            b'+' => (b' ', after),
            b'%' => escape(rest).map_or((b'%', after), |decoded| (decoded, &rest[3..])),
            other => (other, after),
        };
        out.push(byte);
        rest = after;
    }
    Cow::Owned(out)
}

/// The byte that the escape at the beginning of a text stands for.
fn escape(text: &[u8]) -> Option<u8> {
    let [b'%', high, low, ..] = text else { return None };
    let digit = |byte: u8| char::from(byte).to_digit(16);
    Some((digit(*high)? << 4 | digit(*low)?) as u8)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str, name: &str) -> Vec<String> {
        values(text.as_bytes(), name.as_bytes()).map(|value| String::from_utf8_lossy(&value).into_owned()).collect()
    }

    #[test]
    fn escapes_are_decoded_on_both_sides() {
        assert_eq!(found("a=1&b=2&a=3", "a"), ["1", "3"]);
        assert_eq!(found("%61=x%20y+z", "a"), ["x y z"]);
        assert_eq!(found("a+b=%2B%26%3d", "a b"), ["+&="]);
        assert_eq!(found("a=1", "A"), [""; 0]);
    }

    #[test]
    fn odd_parameters_are_read_plainly() {
        assert_eq!(found("&&a&a=&=a&", "a"), ["", ""]);
        assert_eq!(found("a=b=c", "a"), ["b=c"]);
        assert_eq!(found("a=%&a=%4&a=%zz&a=%%41", "a"), ["%", "%4", "%zz", "%A"]);
        assert_eq!(found("", "a"), [""; 0]);
        assert_eq!(found("", ""), [""; 0]);
    }

    #[test]
    fn soundness_is_checked_after_decoding() {
        for sound in ["", "a=b&c", "a=%c3%a9", "a=\u{e9}", "%25=+"] {
            assert!(is_sound(sound.as_bytes()), "{sound}");
        }
        for broken in ["a=%", "a=%4", "%zz=1", "a=%ff", "a=%c3&b=%a9", "%c3%28"] {
            assert!(!is_sound(broken.as_bytes()), "{broken}");
        }
        assert!(!is_sound(b"a=\xff"));
    }
}
