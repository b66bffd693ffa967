//! What a file keeps of a password, in the forms of Apache's htpasswd.

use std::hint::black_box;

use md5::Digest as _;
use sha1::Sha1;
use sha2::Sha256;

use super::apr1;

/// What is kept of a password.
#[derive(Clone, PartialEq, Eq)]
pub enum Secret {
    /// `$2y$`, `$2a$`, `$2b$`: bcrypt, slow on purpose. It is of that form.
    Bcrypt(Box<str>),
    /// `$apr1$`: a thousand rounds of MD5.
    Apr1 {
        /// Its salt.
        salt: Box<[u8]>,
        /// What the password came to.
        digest: [u8; 16],
    },
    /// `{SHA}`: SHA-1, without a salt.
    Sha([u8; 20]),
}

/// The cost of bcrypt that is taken at most: one more doubles the time, which is more than a second here.
const DEAREST: u32 = 15;
/// The least that there is.
const CHEAPEST: u32 = 4;

impl Secret {
    /// Reads bcrypt's form.
    ///
    /// # Errors
    /// Why it is none.
    pub fn bcrypt(text: &str) -> Result<Secret, String> {
        // `$2x$` marks hashes of an implementation that was wrong.
        let is_right = ["$2y$", "$2a$", "$2b$"].iter().any(|start| text.starts_with(start));
        let parts: Option<bcrypt::HashParts> = text.parse().ok().filter(|_| is_right);
        match parts.map(|parts| parts.get_cost()) {
            Some(cost) if cost > DEAREST => {
                Err(format!("bcrypt with a cost of more than {DEAREST} takes seconds: {cost}"))
            }
            Some(CHEAPEST..) => Ok(Secret::Bcrypt(text.into())),
            _ => Err("it is no hash of bcrypt".to_owned()),
        }
    }

    /// Reads what stands behind `$apr1$`.
    pub fn apr1(text: &str) -> Option<Secret> {
        let (salt, digest) = text.split_once('$')?;
        // More of a salt is not looked at by others.
        let is_salt = !salt.is_empty() && salt.len() <= 8;
        Some(Secret::Apr1 { salt: salt.as_bytes().into(), digest: apr1::read(digest.as_bytes())? }).filter(|_| is_salt)
    }

    /// Whether finding out takes so long that no worker may.
    pub(super) fn is_slow(&self) -> bool {
        !matches!(self, Secret::Sha(_))
    }

    /// Its bytes, by which it is told apart from others.
    pub(super) fn bytes(&self) -> &[u8] {
        match self {
            Secret::Bcrypt(text) => text.as_bytes(),
            Secret::Apr1 { digest, .. } => digest,
            Secret::Sha(digest) => digest,
        }
    }

    /// Whether this is the password.
    pub(super) fn is_of(&self, password: &[u8]) -> bool {
        match self {
            // What stands behind byte 72 never counted in bcrypt, and passwords were made by that rule.
            Secret::Bcrypt(text) => bcrypt::verify(password, text).unwrap_or(false),
            Secret::Apr1 { salt, digest } => are_same(&apr1::digest(password, salt), digest),
            Secret::Sha(digest) => are_same(&Sha1::digest(password), digest),
        }
    }
}

/// Nobody prints it by mistake.
impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Secret::Bcrypt(_) => "bcrypt …",
            Secret::Apr1 { .. } => "apr1 …",
            Secret::Sha(_) => "SHA …",
        })
    }
}

/// SHA-256 of a token: who knows enough of chance needs no slow hash.
pub(super) fn of_token(token: &[u8]) -> [u8; 32] {
    Sha256::digest(token).into()
}

/// Compares in a time that does not tell where two differ.
pub(super) fn are_same(one: &[u8], other: &[u8]) -> bool {
    let differing = one.iter().zip(other).fold(0, |sum, (one, other)| black_box(sum | (one ^ other)));
    one.len() == other.len() && black_box(differing) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_form_knows_its_password() {
        // Those of bcrypt are by libxcrypt; that of SHA-1 is `htpasswd -s`'s.
        let bcrypt = |text: &str| Secret::bcrypt(text).expect("a hash");
        let empty = bcrypt("$2a$06$DCq7YPn5Rq63x1Lad4cll.TV4S6ytwfsfvkgY8jIucDrjc8deX1s.");
        let abc = bcrypt("$2y$06$If6bvum7DFjUnE9p2uDeDu0YHzrHM6tf.iqN8.yx.jNN1ILEf7h0i");
        let long = bcrypt("$2b$05$If6bvum7DFjUnE9p2uDeDuaMMaJfgu1QFTXAzQmyQA/N52zp.Rzeu");
        assert!(long.is_of(&[b'x'; 72]) && long.is_of(&[b'x'; 80]) && !long.is_of(&[b'x'; 71]));
        assert!(empty.is_of(b"") && !empty.is_of(b"a"));
        assert!(abc.is_of(b"abc") && !abc.is_of(b"abd"));
        let secret = Secret::Sha([
            0xe5, 0xe9, 0xfa, 0x1b, 0xa3, 0x1e, 0xcd, 0x1a, 0xe8, 0x4f, 0x75, 0xca, 0xaa, 0x47, 0x4f, 0x3a, 0x66, 0x3f,
            0x05, 0xf4,
        ]);
        assert!(secret.is_of(b"secret") && !secret.is_of(b"Secret"));
        let apr1 = Secret::apr1("saltsalt$HIDXe7D36X22w1CH4M1cQ.").expect("a hash");
        assert!(apr1.is_of(b"open sesame") && !apr1.is_of(b"open"));
        assert_eq!(format!("{empty:?} {secret:?} {apr1:?}"), "bcrypt … SHA … apr1 …");
    }

    #[test]
    fn what_is_no_hash_is_refused() {
        for text in ["", "$2y$", "$2y$10$short", "$2y$03$DCq7YPn5Rq63x1Lad4cll.TV4S6ytwfsfvkgY8jIucDrjc8deX1s."] {
            assert!(Secret::bcrypt(text).is_err(), "{text}");
        }
        assert!(
            Secret::bcrypt("$2y$16$DCq7YPn5Rq63x1Lad4cll.TV4S6ytwfsfvkgY8jIucDrjc8deX1s.")
                .is_err_and(|why| why.ends_with(": 16"))
        );
        assert!(Secret::apr1("toolongsalt$HIDXe7D36X22w1CH4M1cQ.").is_none());
        assert!(Secret::apr1("$HIDXe7D36X22w1CH4M1cQ.").is_none() && Secret::apr1("salt").is_none());
    }
}
