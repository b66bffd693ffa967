//! What clients keep for us: a value in a cookie that they can neither make nor change.
//!
//! HMAC-SHA-256 (RFC 2104, FIPS 180-4), cut to 128 bits. A purpose goes into each tag, so that a cookie of one kind
//! never passes for one of another.

use base::hex;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

/// The secret of the process, and what is done with it.
pub struct Seal {
    keyed: Hmac<Sha256>,
}

/// How much of a tag is kept.
const TAG: usize = 16;

impl Seal {
    /// The seal of a secret.
    pub fn new(secret: &[u8]) -> Seal {
        // A key of any length is a key of HMAC.
        let Ok(keyed) = Hmac::new_from_slice(secret) else { unreachable!("HMAC takes keys of any length") };
        Seal { keyed }
    }

    /// A name for a value that says nothing of it and that nobody else can make.
    pub fn tag(&self, purpose: &str, value: &[u8]) -> [u8; TAG] {
        let mut tag = [0; TAG];
        tag.copy_from_slice(&self.over(purpose, value).finalize().into_bytes()[..TAG]);
        tag
    }

    /// The value with its tag, as the value of a cookie.
    pub fn seal(&self, purpose: &str, value: &[u8]) -> String {
        let mut out = String::with_capacity(2 * (value.len() + TAG));
        for byte in value.iter().chain(&self.tag(purpose, value)) {
            out.extend(hex::pair(*byte).map(char::from));
        }
        out
    }

    /// The value that was sealed for this purpose, if it is one.
    pub fn open(&self, purpose: &str, sealed: &[u8]) -> Option<Vec<u8>> {
        let (pairs, rest) = sealed.as_chunks::<2>();
        if !rest.is_empty() || pairs.len() < TAG {
            return None;
        }
        let digit = |byte: u8| hex::DIGITS.iter().position(|digit| *digit == byte);
        let byte = |[high, low]: &[u8; 2]| Some((digit(*high)? * 16 + digit(*low)?) as u8);
        let mut value: Vec<u8> = pairs.iter().map(byte).collect::<Option<_>>()?;
        let tag = value.split_off(value.len() - TAG);
        self.over(purpose, &value).verify_truncated_left(&tag).ok()?;
        Some(value)
    }

    fn over(&self, purpose: &str, value: &[u8]) -> Hmac<Sha256> {
        let mut keyed = self.keyed.clone();
        keyed.update(&[purpose.len() as u8]);
        keyed.update(purpose.as_bytes());
        keyed.update(value);
        keyed
    }
}

impl std::fmt::Debug for Seal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Seal")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_sealed_opens_for_its_purpose_alone() {
        let seal = Seal::new(b"secret");
        let sealed = seal.seal("cohort", &[1, 2, 3, 255]);
        assert_eq!(seal.open("cohort", sealed.as_bytes()), Some(vec![1, 2, 3, 255]));
        assert_eq!(seal.open("sticky", sealed.as_bytes()), None);
        assert_eq!(Seal::new(b"other").open("cohort", sealed.as_bytes()), None);
    }

    #[test]
    fn what_was_changed_does_not_open() {
        let seal = Seal::new(b"secret");
        let sealed = seal.seal("cohort", &[7; 4]).into_bytes();
        for at in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[at] = if changed[at] == b'0' { b'1' } else { b'0' };
            assert_eq!(seal.open("cohort", &changed), None, "changed at {at}");
        }
        for bad in [&b""[..], b"0", b"zz", &sealed[1..], &sealed[2..], &sealed[..sealed.len() - 2]] {
            assert_eq!(seal.open("cohort", bad), None);
        }
    }

    /// As another implementation computes it over the purpose's length, the purpose and the value.
    #[test]
    fn a_tag_never_changes() {
        let hex: String = Seal::new(b"secret").tag("p", b"value").iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, "96bfe1c1c4ca9f9f0f896c18a9b4bf5b");
    }
}
