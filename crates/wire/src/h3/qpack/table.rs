//! The static table (RFC 9204 appendix A), the only one that we have.

use std::sync::LazyLock;

use crate::h2::field::Kind;

/// An entry.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry {
    pub(super) name: &'static [u8],
    pub(super) value: &'static [u8],
    /// What the name is; the table's own values are all good.
    pub(super) kind: Kind,
}

/// The entry of this number.
pub(super) fn entry(index: usize) -> Option<Entry> {
    static KINDS: LazyLock<[Kind; 99]> =
        LazyLock::new(|| ENTRIES.map(|(name, value)| Kind::of(name.as_bytes()).with_value(value.as_bytes())));
    let (name, value) = ENTRIES.get(index)?;
    Some(Entry { name: name.as_bytes(), value: value.as_bytes(), kind: *KINDS.get(index)? })
}

/// An entry with this name, in lower case.
pub(super) fn index_of(name: &[u8]) -> Option<usize> {
    Some(match name {
        b"age" => 2,
        b"content-disposition" => 3,
        b"content-length" => 4,
        b"cookie" => 5,
        b"date" => 6,
        b"etag" => 7,
        b"if-modified-since" => 8,
        b"if-none-match" => 9,
        b"last-modified" => 10,
        b"link" => 11,
        b"location" => 12,
        b"referer" => 13,
        b"set-cookie" => 14,
        b"accept" => 29,
        b"accept-encoding" => 31,
        b"accept-ranges" => 32,
        b"access-control-allow-headers" => 33,
        b"access-control-allow-origin" => 35,
        b"cache-control" => 36,
        b"content-encoding" => 42,
        b"content-type" => 44,
        b"range" => 55,
        b"strict-transport-security" => 56,
        b"vary" => 59,
        b"x-content-type-options" => 61,
        b"x-xss-protection" => 62,
        b"accept-language" => 72,
        b"access-control-allow-credentials" => 73,
        b"access-control-allow-methods" => 76,
        b"access-control-expose-headers" => 79,
        b"access-control-request-headers" => 80,
        b"access-control-request-method" => 81,
        b"alt-svc" => 83,
        b"authorization" => 84,
        b"content-security-policy" => 85,
        b"early-data" => 86,
        b"expect-ct" => 87,
        b"forwarded" => 88,
        b"if-range" => 89,
        b"origin" => 90,
        b"purpose" => 91,
        b"server" => 92,
        b"timing-allow-origin" => 93,
        b"upgrade-insecure-requests" => 94,
        b"user-agent" => 95,
        b"x-forwarded-for" => 96,
        b"x-frame-options" => 97,
        _ => return None,
    })
}

/// The entry that says a whole status.
pub(super) fn status(status: u16) -> Option<usize> {
    Some(match status {
        100 => 63,
        103 => 24,
        200 => 25,
        204 => 64,
        206 => 65,
        302 => 66,
        304 => 26,
        400 => 67,
        403 => 68,
        404 => 27,
        421 => 69,
        425 => 70,
        500 => 71,
        503 => 28,
        _ => return None,
    })
}

/// The entry that says a whole method.
pub(super) fn method(method: &[u8]) -> Option<usize> {
    Some(match method {
        b"CONNECT" => 15,
        b"DELETE" => 16,
        b"GET" => 17,
        b"HEAD" => 18,
        b"OPTIONS" => 19,
        b"POST" => 20,
        b"PUT" => 21,
        _ => return None,
    })
}

/// Entries with these names, and those that say a whole scheme. That of a path is the whole of the shortest, too.
pub(super) const AUTHORITY: usize = 0;
pub(super) const PATH: usize = 1;
pub(super) const METHOD: usize = 15;
pub(super) const HTTP: usize = 22;
pub(super) const HTTPS: usize = 23;
/// An entry whose name is `:status`.
pub(super) const STATUS: usize = 24;
/// The longest name that [`index_of`] knows.
pub(super) const LONGEST: usize = 32;

const ENTRIES: [(&str, &str); 99] = [
    (":authority", ""),
    (":path", "/"),
    ("age", "0"),
    ("content-disposition", ""),
    ("content-length", "0"),
    ("cookie", ""),
    ("date", ""),
    ("etag", ""),
    ("if-modified-since", ""),
    ("if-none-match", ""),
    ("last-modified", ""),
    ("link", ""),
    ("location", ""),
    ("referer", ""),
    ("set-cookie", ""),
    (":method", "CONNECT"),
    (":method", "DELETE"),
    (":method", "GET"),
    (":method", "HEAD"),
    (":method", "OPTIONS"),
    (":method", "POST"),
    (":method", "PUT"),
    (":scheme", "http"),
    (":scheme", "https"),
    (":status", "103"),
    (":status", "200"),
    (":status", "304"),
    (":status", "404"),
    (":status", "503"),
    ("accept", "*/*"),
    ("accept", "application/dns-message"),
    ("accept-encoding", "gzip, deflate, br"),
    ("accept-ranges", "bytes"),
    ("access-control-allow-headers", "cache-control"),
    ("access-control-allow-headers", "content-type"),
    ("access-control-allow-origin", "*"),
    ("cache-control", "max-age=0"),
    ("cache-control", "max-age=2592000"),
    ("cache-control", "max-age=604800"),
    ("cache-control", "no-cache"),
    ("cache-control", "no-store"),
    ("cache-control", "public, max-age=31536000"),
    ("content-encoding", "br"),
    ("content-encoding", "gzip"),
    ("content-type", "application/dns-message"),
    ("content-type", "application/javascript"),
    ("content-type", "application/json"),
    ("content-type", "application/x-www-form-urlencoded"),
    ("content-type", "image/gif"),
    ("content-type", "image/jpeg"),
    ("content-type", "image/png"),
    ("content-type", "text/css"),
    ("content-type", "text/html; charset=utf-8"),
    ("content-type", "text/plain"),
    ("content-type", "text/plain;charset=utf-8"),
    ("range", "bytes=0-"),
    ("strict-transport-security", "max-age=31536000"),
    ("strict-transport-security", "max-age=31536000; includesubdomains"),
    ("strict-transport-security", "max-age=31536000; includesubdomains; preload"),
    ("vary", "accept-encoding"),
    ("vary", "origin"),
    ("x-content-type-options", "nosniff"),
    ("x-xss-protection", "1; mode=block"),
    (":status", "100"),
    (":status", "204"),
    (":status", "206"),
    (":status", "302"),
    (":status", "400"),
    (":status", "403"),
    (":status", "421"),
    (":status", "425"),
    (":status", "500"),
    ("accept-language", ""),
    ("access-control-allow-credentials", "FALSE"),
    ("access-control-allow-credentials", "TRUE"),
    ("access-control-allow-headers", "*"),
    ("access-control-allow-methods", "get"),
    ("access-control-allow-methods", "get, post, options"),
    ("access-control-allow-methods", "options"),
    ("access-control-expose-headers", "content-length"),
    ("access-control-request-headers", "content-type"),
    ("access-control-request-method", "get"),
    ("access-control-request-method", "post"),
    ("alt-svc", "clear"),
    ("authorization", ""),
    ("content-security-policy", "script-src 'none'; object-src 'none'; base-uri 'none'"),
    ("early-data", "1"),
    ("expect-ct", ""),
    ("forwarded", ""),
    ("if-range", ""),
    ("origin", ""),
    ("purpose", "prefetch"),
    ("server", ""),
    ("timing-allow-origin", "*"),
    ("upgrade-insecure-requests", "1"),
    ("user-agent", ""),
    ("x-forwarded-for", ""),
    ("x-frame-options", "deny"),
    ("x-frame-options", "sameorigin"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_we_write_is_in_the_table() {
        for (name, _) in ENTRIES.iter().filter(|(name, _)| !name.starts_with(':')) {
            if let Some(index) = index_of(name.as_bytes()) {
                assert_eq!(ENTRIES[index].0, *name);
                assert!(name.len() <= LONGEST);
            }
        }
        for code in 100..600 {
            if let Some(index) = status(code) {
                assert_eq!(ENTRIES[index], (":status", code.to_string().as_str()));
            }
        }
        assert_eq!(ENTRIES[STATUS].0, ":status");
        for name in ["CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "POST", "PUT"] {
            assert_eq!(ENTRIES[method(name.as_bytes()).expect("an entry")], (":method", name));
        }
        assert_eq!([AUTHORITY, METHOD].map(|index| ENTRIES[index].0), [":authority", ":method"]);
        let whole = [ENTRIES[PATH], ENTRIES[HTTP], ENTRIES[HTTPS]];
        assert_eq!(whole, [(":path", "/"), (":scheme", "http"), (":scheme", "https")]);
    }

    #[test]
    fn every_entry_may_be_used() {
        for index in 0..99 {
            assert!(!matches!(entry(index).expect("an entry").kind, Kind::Refused(_)), "{index}");
        }
        assert!(entry(99).is_none());
    }
}
