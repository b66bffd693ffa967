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
}

impl Known {
    /// The id of a field name, letter case ignored.
    pub fn of(name: &[u8]) -> Known {
        // The length decides first: most fields of a browser differ from all of ours in it.
        match name.len() {
            2 if is(name, b"te") => Known::Te,
            3 if is(name, b"via") => Known::Via,
            4 if is(name, b"host") => Known::Host,
            4 if is(name, b"date") => Known::Date,
            6 if is(name, b"cookie") => Known::Cookie,
            6 if is(name, b"expect") => Known::Expect,
            7 if is(name, b"upgrade") => Known::Upgrade,
            7 if is(name, b"referer") => Known::Referer,
            7 if is(name, b"trailer") => Known::Trailer,
            9 if is(name, b"forwarded") => Known::Forwarded,
            9 if is(name, b"x-real-ip") => Known::XRealIp,
            10 if is(name, b"connection") => Known::Connection,
            10 if is(name, b"user-agent") => Known::UserAgent,
            10 if is(name, b"keep-alive") => Known::KeepAlive,
            14 if is(name, b"content-length") => Known::ContentLength,
            15 if is(name, b"x-forwarded-for") => Known::XForwardedFor,
            16 if is(name, b"proxy-connection") => Known::ProxyConnection,
            17 if is(name, b"transfer-encoding") => Known::TransferEncoding,
            18 if is(name, b"proxy-authenticate") => Known::ProxyAuthenticate,
            19 if is(name, b"proxy-authorization") => Known::ProxyAuthorization,
            9 if is_spelled(name, b"x-real-ip") => Known::XRealIp,
            length if length > 12 && is_spelled(&name[..12], b"x-forwarded-") => Known::XForwardedOther,
            _ => Known::Other,
        }
    }

    /// The id's bit in a set of ids.
    pub(crate) const fn bit(self) -> u32 {
        1 << self as u8
    }
}

fn is(name: &[u8], lower: &[u8]) -> bool {
    name.eq_ignore_ascii_case(lower)
}

/// Servers that hand fields on as environment variables (RFC 3875) do not tell `_` from `-`. What is dropped because a
/// stranger said it must be dropped in that spelling too.
fn is_spelled(name: &[u8], lower: &[u8]) -> bool {
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
        assert_eq!(Known::of(b"X-Forwarded-Proto"), Known::XForwardedOther);
        assert_eq!(Known::of(b"x-forwarded-for"), Known::XForwardedFor);
        assert_eq!(Known::of(b"x-forwarded-"), Known::Other);
        assert_eq!(Known::of(b"X_Forwarded_For"), Known::XForwardedOther);
        assert_eq!(Known::of(b"x_real-ip"), Known::XRealIp);
        assert_eq!(Known::of(b"hosts"), Known::Other);
        assert_eq!(Known::of(b""), Known::Other);
    }
}
