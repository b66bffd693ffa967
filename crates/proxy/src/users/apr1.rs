//! `$apr1$`: a thousand rounds of MD5, as Apache's htpasswd has them.

use md5::{Digest as _, Md5};

/// What a password comes to with a salt.
pub(super) fn digest(password: &[u8], salt: &[u8]) -> [u8; 16] {
    let twice = Md5::new().chain_update(password).chain_update(salt).chain_update(password).finalize();
    let mut first = Md5::new().chain_update(password).chain_update(b"$apr1$").chain_update(salt);
    for at in (0..password.len()).step_by(twice.len()) {
        first.update(&twice[..twice.len().min(password.len() - at)]);
    }
    let mut length = password.len();
    while length > 0 {
        // An odd bit takes a zero byte, an even one the first of the password: the original's slip, which all have kept.
        first.update(if length & 1 == 1 { &[0][..] } else { &password[..1] });
        length >>= 1;
    }
    let mut sum = first.finalize();
    for round in 0..ROUNDS {
        let mut next = Md5::new();
        next.update(if round % 2 == 1 { password } else { &sum[..] });
        if round % 3 != 0 {
            next.update(salt);
        }
        if round % 7 != 0 {
            next.update(password);
        }
        next.update(if round % 2 == 1 { &sum[..] } else { password });
        sum = next.finalize();
    }
    sum.into()
}

/// The digest of its text, 22 digits of an alphabet of its own; nothing if it is none.
pub(super) fn read(text: &[u8]) -> Option<[u8; 16]> {
    let digits: &[u8; 22] = text.try_into().ok()?;
    let mut digest = [0; 16];
    for (group, places) in ORDER.iter().enumerate() {
        let value = number(&digits[4 * group..4 * group + 4])?;
        for (shift, place) in [16, 8, 0].iter().zip(places) {
            digest[*place] = (value >> shift) as u8;
        }
    }
    let last = number(&digits[20..])?;
    digest[11] = u8::try_from(last).ok()?;
    Some(digest)
}

/// The lowest digit stands first.
fn number(digits: &[u8]) -> Option<u32> {
    let value = |digit: &u8| ALPHABET.iter().position(|known| known == digit);
    digits.iter().rev().try_fold(0, |sum, digit| Some(sum << 6 | value(digit)? as u32))
}

const ROUNDS: usize = 1000;
const ALPHABET: &[u8; 64] = b"./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
/// Which bytes of the digest stand in each group of four digits.
const ORDER: [[usize; 3]; 5] = [[0, 6, 12], [1, 7, 13], [2, 8, 14], [3, 9, 15], [4, 10, 5]];

#[cfg(test)]
mod tests {
    use super::*;

    /// `openssl passwd -apr1 -salt SALT PASSWORD`.
    const KNOWN: [(&str, &str, &str); 4] = [
        ("open sesame", "saltsalt", "HIDXe7D36X22w1CH4M1cQ."),
        ("a", "x", "16j9.5e7KiXmuYFAYpPJM/"),
        ("", "12345678", "sHuPAw7VA9xjRbJz7zKV7/"),
        ("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaäß", "./AZaz09", "4qW2mSN6Ojy5EvecwWKHD0"),
    ];

    #[test]
    fn it_is_what_others_make_of_a_password() {
        for (password, salt, text) in KNOWN {
            assert_eq!(Some(digest(password.as_bytes(), salt.as_bytes())), read(text.as_bytes()), "{password}");
        }
        assert_ne!(digest(b"a", b"salt"), digest(b"b", b"salt"));
    }

    #[test]
    fn what_is_no_digest_is_not_read() {
        for text in ["", "x", "!IqqxTYvC2jwkVQ7wYWp0/", "zzzzzzzzzzzzzzzzzzzzzz"] {
            assert_eq!(read(text.as_bytes()), None, "{text}");
        }
    }
}
