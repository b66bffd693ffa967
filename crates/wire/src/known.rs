//! The field names that the data path asks for, as ids, so that it never compares strings twice.

/// A field name that some rule of ours concerns; everything else is [`Known::Other`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Known {
    /// A name that no rule of ours concerns.
    Other,
    /// `Connection`
    Connection,
    /// `Content-Length`
    ContentLength,
    /// `Cookie`
    Cookie,
    /// `Date`
    Date,
    /// `Expect`
    Expect,
    /// `Forwarded`
    Forwarded,
    /// `Host`
    Host,
    /// `Keep-Alive`
    KeepAlive,
    /// `Proxy-Authenticate`
    ProxyAuthenticate,
    /// `Proxy-Authorization`
    ProxyAuthorization,
    /// `Proxy-Connection`
    ProxyConnection,
    /// `Referer`
    Referer,
    /// `TE`
    Te,
    /// `Trailer`
    Trailer,
    /// `Transfer-Encoding`
    TransferEncoding,
    /// `Upgrade`
    Upgrade,
    /// `User-Agent`
    UserAgent,
    /// `Via`
    Via,
    /// `X-Forwarded-For`
    XForwardedFor,
    /// `X-Forwarded-Host`, `-Port`, `-Proto` and every other `X-Forwarded-*`, and all of them with `_` for `-`
    XForwardedOther,
    /// `X-Real-IP`
    XRealIp,
    /// `Content_Length`, `Transfer_Encoding`: names that frame the message to a reader who does not tell `_` from `-`
    Misspelled,
}

impl Known {
    /// The id of a field name, letter case ignored.
    pub fn of(name: &[u8]) -> Known {
        // Length and first letter decide first: they leave one candidate, and to most of a browser's fields none.
        let Some(first) = name.first() else { return Known::Other };
        let (known, same) = match (name.len(), first | 0x20) {
            (2, b't') => (Known::Te, is(name, b"te")),
            (3, b'v') => (Known::Via, is(name, b"via")),
            (4, b'd') => (Known::Date, is(name, b"date")),
            (4, b'h') => (Known::Host, is(name, b"host")),
            (6, b'c') => (Known::Cookie, is(name, b"cookie")),
            (6, b'e') => (Known::Expect, is(name, b"expect")),
            (7, b'u') => (Known::Upgrade, is(name, b"upgrade")),
            (7, b'r') => (Known::Referer, is(name, b"referer")),
            (7, b't') => (Known::Trailer, is(name, b"trailer")),
            (9, b'f') => (Known::Forwarded, is(name, b"forwarded")),
            (10, b'c') => (Known::Connection, is(name, b"connection")),
            (10, b'u') => (Known::UserAgent, is(name, b"user-agent")),
            (10, b'k') => (Known::KeepAlive, is(name, b"keep-alive")),
            (14, b'c') if !is(name, b"content-length") => return misspelled(name),
            (14, b'c') => return Known::ContentLength,
            (15, b'x') if is(name, b"x-forwarded-for") => return Known::XForwardedFor,
            (16, b'p') => (Known::ProxyConnection, is(name, b"proxy-connection")),
            (17, b't') if !is(name, b"transfer-encoding") => return misspelled(name),
            (17, b't') => return Known::TransferEncoding,
            (18, b'p') => (Known::ProxyAuthenticate, is(name, b"proxy-authenticate")),
            (19, b'p') => (Known::ProxyAuthorization, is(name, b"proxy-authorization")),
            (_, b'x') => return of_x(name),
            _ => return Known::Other,
        };
        if same { known } else { Known::Other }
    }

    /// The id's bit in a set of ids.
    pub(crate) const fn bit(self) -> u32 {
        1 << self as u8
    }
}

fn of_x(name: &[u8]) -> Known {
    match name.len() {
        9 if is_spelled(name, b"x-real-ip") => Known::XRealIp,
        length if length > 12 && is_spelled(&name[..12], b"x-forwarded-") => Known::XForwardedOther,
        _ => Known::Other,
    }
}

/// The id of a name that is like a framing one in length and first letter, and yet another.
#[cold]
fn misspelled(name: &[u8]) -> Known {
    let framing = is_spelled(name, b"content-length") || is_spelled(name, b"transfer-encoding");
    if framing { Known::Misspelled } else { Known::Other }
}

/// Compares with a name of lower-case letters and hyphens. The length is known when this is compiled, so that it is a few
/// wide instructions; setting the bit of lower case changes no hyphen.
#[inline]
fn is<const N: usize>(name: &[u8], lower: &[u8; N]) -> bool {
    let Ok(name) = <&[u8; N]>::try_from(name) else { return false };
    name.iter().zip(lower).fold(0, |differing, (byte, lower)| differing | ((byte | 0x20) ^ lower)) == 0
}

/// Servers that hand fields on as environment variables (RFC 3875) do not tell `_` from `-`. What is dropped because a
/// stranger said it must be dropped in that spelling too.
pub fn is_spelled(name: &[u8], lower: &[u8]) -> bool {
    name.len() == lower.len()
        && name
            .iter()
            .zip(lower)
            .all(|(byte, lower)| byte.eq_ignore_ascii_case(lower) || (*byte == b'_' && *lower == b'-'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_in_any_case() {
        assert_eq!(Known::of(b"hOsT"), Known::Host);
        for (name, known) in [
            ("connection", Known::Connection),
            ("content-length", Known::ContentLength),
            ("cookie", Known::Cookie),
            ("date", Known::Date),
            ("expect", Known::Expect),
            ("forwarded", Known::Forwarded),
            ("keep-alive", Known::KeepAlive),
            ("proxy-authenticate", Known::ProxyAuthenticate),
            ("proxy-authorization", Known::ProxyAuthorization),
            ("proxy-connection", Known::ProxyConnection),
            ("referer", Known::Referer),
            ("te", Known::Te),
            ("trailer", Known::Trailer),
            ("transfer-encoding", Known::TransferEncoding),
            ("upgrade", Known::Upgrade),
            ("user-agent", Known::UserAgent),
            ("via", Known::Via),
        ] {
            assert_eq!(Known::of(name.as_bytes()), known, "{name}");
            assert_eq!(Known::of(name.to_ascii_uppercase().as_bytes()), known, "{name}");
        }
        assert_eq!(Known::of(b"X-Forwarded-Proto"), Known::XForwardedOther);
        assert_eq!(Known::of(b"x-forwarded-for"), Known::XForwardedFor);
        assert_eq!(Known::of(b"x-forwarded-"), Known::Other);
        assert_eq!(Known::of(b"X_Forwarded_For"), Known::XForwardedOther);
        assert_eq!(Known::of(b"x_real-ip"), Known::XRealIp);
        assert_eq!(Known::of(b"x-real-ip"), Known::XRealIp);
        assert_eq!(Known::of(b"Transfer_Encoding"), Known::Misspelled);
        assert_eq!(Known::of(b"content_length"), Known::Misspelled);
        assert_eq!(Known::of(b"hosts"), Known::Other);
        assert_eq!(Known::of(b"hose"), Known::Other);
        assert_eq!(Known::of(b""), Known::Other);
    }
}
