//! Credentials and challenges of HTTP authentication (RFC 9110 section 11): Basic (RFC 7617) and Bearer (RFC 6750).
//!
//! It never judges whether credentials are right, and keeps nothing of them.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// What a client says of who it is.
#[derive(Clone, PartialEq, Eq)]
pub enum Credentials {
    /// A name and a password.
    Basic {
        /// The name; it holds no colon.
        name: Vec<u8>,
        /// The password.
        password: Vec<u8>,
    },
    /// A token that is good for whoever has it.
    Bearer(Vec<u8>),
}

/// No password or token is longer: what is done with them costs time for each byte.
pub const LONGEST: usize = 1024;

impl Credentials {
    /// Reads the value of `Authorization` or `Proxy-Authorization`; nothing if it is of another scheme or broken.
    pub fn read(value: &[u8]) -> Option<Credentials> {
        let value = value.trim_ascii();
        let space = value.iter().position(|byte| *byte == b' ')?;
        let (scheme, token) = (&value[..space], value[space..].trim_ascii_start());
        if token.is_empty() || token.len() > LONGEST * 2 {
            return None;
        }
        if scheme.eq_ignore_ascii_case(b"bearer") {
            let is_good = token.len() <= LONGEST && token.iter().all(|byte| is_of_token68(*byte));
            return is_good.then(|| Credentials::Bearer(token.to_vec()));
        }
        if !scheme.eq_ignore_ascii_case(b"basic") {
            return None;
        }
        let pair = STANDARD.decode(token).ok()?;
        // RFC 7617 section 2: neither holds control characters, and the name ends with the first colon.
        let colon = pair.iter().position(|byte| *byte == b':')?;
        let (name, password) = (&pair[..colon], &pair[colon + 1..]);
        if pair.iter().any(u8::is_ascii_control) || name.len() > LONGEST || password.len() > LONGEST {
            return None;
        }
        Some(Credentials::Basic { name: name.to_vec(), password: password.to_vec() })
    }
}

/// Nobody prints a password by mistake.
impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Credentials::Basic { .. } => "Basic …",
            Credentials::Bearer(_) => "Bearer …",
        })
    }
}

/// `Basic realm="…", charset="UTF-8"`: what is asked of a client (RFC 7617 section 2.1).
pub fn basic_challenge(realm: &str) -> String {
    format!("Basic realm={}, charset=\"UTF-8\"", quoted(realm))
}

/// `Bearer realm="…"`; `was_wrong` if the client has shown a token that is nobody's (RFC 6750 section 3.1).
pub fn bearer_challenge(realm: &str, was_wrong: bool) -> String {
    let error = if was_wrong { ", error=\"invalid_token\"" } else { "" };
    format!("Bearer realm={}{error}", quoted(realm))
}

/// RFC 9110 section 5.6.4.
fn quoted(text: &str) -> String {
    let mut out = String::from('"');
    for c in text.chars() {
        if matches!(c, '"' | '\\') {
            out.push('\\');
        }
        out.push(c);
    }
    out.push('"');
    out
}

/// RFC 9110 section 11.2.
fn is_of_token68(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~+/=".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn basic(pair: &str) -> Option<Credentials> {
        Credentials::read(format!("Basic {}", STANDARD.encode(pair)).as_bytes())
    }

    fn pair(name: &str, password: &str) -> Option<Credentials> {
        Some(Credentials::Basic { name: name.into(), password: password.into() })
    }

    #[test]
    fn a_name_and_a_password_are_read() {
        // RFC 7617 section 2.
        assert_eq!(Credentials::read(b"Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="), pair("Aladdin", "open sesame"));
        assert_eq!(Credentials::read(b"bAsIc   QWxhZGRpbjpvcGVuIHNlc2FtZQ== "), pair("Aladdin", "open sesame"));
        assert_eq!(basic("a:b:c"), pair("a", "b:c"));
        assert_eq!(basic(":"), pair("", ""));
        assert_eq!(basic("ä:€"), pair("ä", "€"));
    }

    #[test]
    fn what_is_broken_is_nobody() {
        let values: [&[u8]; 9] = [
            b"",
            b"Basic",
            b"Basic ",
            b"Basic a b",
            b"Basic QQ",
            b"Basic QQ=",
            b"Digest x",
            b"Bearer a b",
            b"Bearer \xff",
        ];
        for value in values {
            assert_eq!(Credentials::read(value), None, "{value:?}");
        }
        assert_eq!(basic("nocolon"), None);
        assert_eq!(basic("a:b\0"), None);
        assert_eq!(basic("a\r\nb:c"), None);
        assert_eq!(basic(&format!("a:{}", "x".repeat(LONGEST + 1))), None);
        assert_eq!(basic(&"x".repeat(3 * LONGEST)), None);
        assert_eq!(Credentials::read(&[b"Bearer ", &[b'x'; LONGEST + 1][..]].concat()), None);
    }

    #[test]
    fn a_token_is_read_and_nothing_is_printed() {
        let token = Credentials::read(b"Bearer mF_9.B5f-4.1JqM");
        assert_eq!(token, Some(Credentials::Bearer(b"mF_9.B5f-4.1JqM".to_vec())));
        assert_eq!(format!("{token:?} {:?}", basic("a:secret")), "Some(Bearer …) Some(Basic …)");
    }

    #[test]
    fn a_realm_cannot_leave_its_quotes() {
        assert_eq!(basic_challenge("a\"b\\"), "Basic realm=\"a\\\"b\\\\\", charset=\"UTF-8\"");
        assert_eq!(bearer_challenge("x", true), "Bearer realm=\"x\", error=\"invalid_token\"");
    }
}
