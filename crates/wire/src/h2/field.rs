//! What a field is, judged once: when it comes out of a block as a literal. An entry of a table keeps the judgement.

use crate::h1::is_token;
use crate::known::Known;

/// What a field is by its name, or why no message may hold it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A pseudo-header field; its value is judged where it is used.
    Pseudo(Pseudo),
    /// A field whose name and value may be passed on.
    Field(Known),
    /// A field that makes its message malformed.
    Refused(Wrong),
}

/// The pseudo-header fields (RFC 9113 section 8.3, RFC 8441 section 4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the variants are the names")]
pub enum Pseudo {
    Method,
    Scheme,
    Authority,
    Path,
    Protocol,
    Status,
}

/// What is wrong with a field (RFC 9113 section 8.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wrong {
    /// A byte that no name may hold, or no byte at all.
    Name,
    /// A letter in upper case.
    UpperCase,
    /// A pseudo-header field that nobody has defined.
    UnknownPseudo,
    /// CR, LF, NUL or another control character in a value, or white space around it.
    Value,
    /// A field that belongs to a connection of HTTP/1.
    OfConnection,
}

impl Kind {
    /// What a name says.
    pub fn of(name: &[u8]) -> Kind {
        if name.first() == Some(&b':') {
            return match name {
                b":method" => Kind::Pseudo(Pseudo::Method),
                b":scheme" => Kind::Pseudo(Pseudo::Scheme),
                b":authority" => Kind::Pseudo(Pseudo::Authority),
                b":path" => Kind::Pseudo(Pseudo::Path),
                b":protocol" => Kind::Pseudo(Pseudo::Protocol),
                b":status" => Kind::Pseudo(Pseudo::Status),
                _ => Kind::Refused(Wrong::UnknownPseudo),
            };
        }
        if name.is_empty() || !name.iter().all(|byte| NAME[*byte as usize]) {
            let upper = name.iter().any(u8::is_ascii_uppercase);
            return Kind::Refused(if upper { Wrong::UpperCase } else { Wrong::Name });
        }
        match Known::of(name) {
            Known::Connection
            | Known::KeepAlive
            | Known::ProxyConnection
            | Known::TransferEncoding
            | Known::Upgrade => Kind::Refused(Wrong::OfConnection),
            known => Kind::Field(known),
        }
    }

    /// What this value makes of a field of this kind.
    #[inline]
    pub fn with_value(self, value: &[u8]) -> Kind {
        match self {
            Kind::Field(Known::Te) if value != b"trailers" => Kind::Refused(Wrong::OfConnection),
            Kind::Field(_) if !is_value(value) => Kind::Refused(Wrong::Value),
            kind => kind,
        }
    }
}

impl Wrong {
    /// What was wrong, in words for a log.
    pub fn reason(self) -> &'static str {
        match self {
            Wrong::Name => "invalid field name",
            Wrong::UpperCase => "field name in upper case",
            Wrong::UnknownPseudo => "unknown pseudo-header field",
            Wrong::Value => "invalid field value",
            Wrong::OfConnection => "a field of the connection",
        }
    }
}

/// Whether a value holds only what HTTP/1's reader takes too, and no white space around it (RFC 9113 section 8.2.1).
fn is_value(value: &[u8]) -> bool {
    let blank = |byte: Option<&u8>| matches!(byte, Some(b' ' | b'\t'));
    // A fold and no early end, so that many bytes are looked at together.
    let bad = value.iter().fold(false, |bad, byte| bad | ((*byte < b' ') & (*byte != b'\t')) | (*byte == 0x7f));
    !bad && !blank(value.first()) && !blank(value.last())
}

/// Bytes of a token without upper case (RFC 9113 section 8.2.1, RFC 9110 section 5.6.2).
static NAME: [bool; 256] = {
    let mut name = [false; 256];
    let mut byte = 0;
    while byte < 256 {
        name[byte] = is_token(byte as u8) && !(byte as u8).is_ascii_uppercase();
        byte += 1;
    }
    name
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_judged() {
        assert_eq!(Kind::of(b"host"), Kind::Field(Known::Host));
        assert_eq!(Kind::of(b"x-a"), Kind::Field(Known::Other));
        assert_eq!(Kind::of(b":path"), Kind::Pseudo(Pseudo::Path));
        for (name, wrong) in [
            (&b""[..], Wrong::Name),
            (b"a b", Wrong::Name),
            (b"a:b", Wrong::Name),
            (b"a\0", Wrong::Name),
            (b"\xe9", Wrong::Name),
            (b"Host", Wrong::UpperCase),
            (b":", Wrong::UnknownPseudo),
            (b":Path", Wrong::UnknownPseudo),
            (b"connection", Wrong::OfConnection),
            (b"keep-alive", Wrong::OfConnection),
            (b"proxy-connection", Wrong::OfConnection),
            (b"transfer-encoding", Wrong::OfConnection),
            (b"upgrade", Wrong::OfConnection),
        ] {
            assert_eq!(Kind::of(name), Kind::Refused(wrong), "{}", name.escape_ascii());
        }
    }

    #[test]
    fn values_are_judged() {
        let field = Kind::Field(Known::Other);
        for good in [&b""[..], b"a", b"a b\tc", b"\x80\xff"] {
            assert_eq!(field.with_value(good), field);
        }
        for bad in [&b" a"[..], b"a ", b"\ta", b"a\r\nb: c", b"a\0", b"a\nb", b"\x7f", b"\x1b"] {
            assert_eq!(field.with_value(bad), Kind::Refused(Wrong::Value), "{}", bad.escape_ascii());
        }
        assert_eq!(Kind::of(b"te").with_value(b"trailers"), Kind::Field(Known::Te));
        assert_eq!(Kind::of(b"te").with_value(b"gzip"), Kind::Refused(Wrong::OfConnection));
    }
}
