//! Hosts and paths in their one normal form, so that no spelling of a guarded path reaches a server by another route.

use std::borrow::Cow;

/// A path that is refused instead of being normalized.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadPath {
    /// `%` without two hexadecimal digits.
    Escape,
    /// NUL, as itself or escaped.
    Nul,
    /// A backslash, which some servers take for a slash.
    Backslash,
    /// `#`, which no request target may hold.
    Fragment,
    /// A byte that no path may hold unescaped.
    Byte,
    /// `..` above the root.
    AboveRoot,
    /// `.` or `..` with a parameter (`..;x`), which some servers take for the bare segment.
    DotParameter,
    /// It does not begin with a slash.
    Relative,
}

impl BadPath {
    /// What was wrong, in words for a log.
    pub fn reason(self) -> &'static str {
        match self {
            BadPath::Escape => "invalid escape in the path",
            BadPath::Nul => "NUL in the path",
            BadPath::Backslash => "backslash in the path",
            BadPath::Fragment => "fragment in the request target",
            BadPath::Byte => "invalid byte in the path",
            BadPath::AboveRoot => "path climbs above the root",
            BadPath::DotParameter => "dot segment with a parameter",
            BadPath::Relative => "path without a leading slash",
        }
    }
}

/// The normal form of a path: escapes of unreserved characters decoded, the digits of other escapes in upper case
/// (RFC 3986 section 6.2.2), dot segments removed (section 5.2.4). `%2F`, `%5C` and empty segments stay.
///
/// # Errors
/// See [`BadPath`].
pub fn normalize(path: &[u8]) -> Result<Cow<'_, [u8]>, BadPath> {
    if path.first() != Some(&b'/') {
        return Err(BadPath::Relative);
    }
    let mut plain = true;
    let mut before = 0;
    for byte in path {
        match CLASS[*byte as usize] {
            PLAIN => {}
            DOT => plain &= before != b'/',
            PERCENT => plain = false,
            _ => return Err(refusal(*byte)),
        }
        before = *byte;
    }
    if plain {
        return Ok(Cow::Borrowed(path));
    }
    remove_dot_segments(&decode_unreserved(path)?).map(Cow::Owned)
}

/// A host in its normal form: lower case, without port and trailing dot. The brackets of an IPv6 address stay.
pub fn host(authority: &[u8]) -> Cow<'_, [u8]> {
    let (host, _) = split_port(authority);
    let host = if host.len() > 1 { host.strip_suffix(b".").unwrap_or(host) } else { host };
    if host.iter().any(u8::is_ascii_uppercase) {
        return Cow::Owned(host.to_ascii_lowercase());
    }
    Cow::Borrowed(host)
}

/// The port that an authority names.
pub fn port(authority: &[u8]) -> Option<u16> {
    let (_, port) = split_port(authority);
    // The digits are checked because `parse` forgives a plus sign.
    let digits = port.filter(|port| port.iter().all(u8::is_ascii_digit))?;
    std::str::from_utf8(digits).ok()?.parse().ok()
}

/// Whether a text is `host` or `host:port` as RFC 3986 section 3.2 has it, without user information.
pub fn is_authority(text: &[u8]) -> bool {
    let (host, port) = split_port(text);
    if port.is_some_and(|port| port.len() > 5 || !port.iter().all(u8::is_ascii_digit)) {
        return false;
    }
    if port.is_some_and(|port| !port.is_empty()) && self::port(text).is_none() {
        return false;
    }
    if let Some(inner) = host.strip_prefix(b"[") {
        let Some(inner) = inner.strip_suffix(b"]") else { return false };
        return std::str::from_utf8(inner).is_ok_and(|inner| inner.parse::<std::net::Ipv6Addr>().is_ok());
    }
    // An empty label would leave hosts that end in two dots a second form.
    let mut before = b'.';
    !host.is_empty()
        && host.iter().all(|byte| {
            let fits = is_name_byte(*byte) && !(before == b'.' && *byte == b'.');
            before = *byte;
            fits
        })
}

/// Whether a byte may stand in a request target at all: a character of RFC 3986, or one that browsers send unescaped.
pub fn is_target_byte(byte: u8) -> bool {
    CLASS[byte as usize] < REFUSED
}

const PLAIN: u8 = 0;
const DOT: u8 = 1;
const PERCENT: u8 = 2;
const QUERY: u8 = 3;
const REFUSED: u8 = 4;

/// The class of each byte in a path, or, where `?` begins the query, in a target.
static CLASS: [u8; 256] = {
    let mut class = [REFUSED; 256];
    let mut byte = b'!' as usize;
    while byte <= b'~' as usize {
        class[byte] = match byte as u8 {
            b'.' => DOT,
            b'%' => PERCENT,
            b'?' => QUERY,
            b'#' | b'\\' | b'<' | b'>' | b'"' => REFUSED,
            _ => PLAIN,
        };
        byte += 1;
    }
    class
};

fn refusal(byte: u8) -> BadPath {
    match byte {
        0 => BadPath::Nul,
        b'\\' => BadPath::Backslash,
        b'#' => BadPath::Fragment,
        _ => BadPath::Byte,
    }
}

fn decode_unreserved(path: &[u8]) -> Result<Vec<u8>, BadPath> {
    let mut out = Vec::with_capacity(path.len());
    let mut rest = path;
    while let Some((byte, after)) = rest.split_first() {
        rest = after;
        if *byte != b'%' {
            out.push(*byte);
            continue;
        }
        let [high, low, after @ ..] = after else { return Err(BadPath::Escape) };
        let (Some(high_value), Some(low_value)) = (hex(*high), hex(*low)) else { return Err(BadPath::Escape) };
        match high_value << 4 | low_value {
            0 => return Err(BadPath::Nul),
            decoded if is_unreserved(decoded) => out.push(decoded),
            _ => out.extend_from_slice(&[b'%', high.to_ascii_uppercase(), low.to_ascii_uppercase()]),
        }
        rest = after;
    }
    Ok(out)
}

fn remove_dot_segments(path: &[u8]) -> Result<Vec<u8>, BadPath> {
    let mut out: Vec<u8> = Vec::with_capacity(path.len());
    let mut segments = path[1..].split(|byte| *byte == b'/').peekable();
    while let Some(segment) = segments.next() {
        let last = segments.peek().is_none();
        match segment {
            b"." if last => out.push(b'/'),
            b"." => {}
            b".." => {
                let cut = out.iter().rposition(|byte| *byte == b'/').ok_or(BadPath::AboveRoot)?;
                out.truncate(cut);
                if last {
                    out.push(b'/');
                }
            }
            [b'.', b';', ..] | [b'.', b'.', b';', ..] => return Err(BadPath::DotParameter),
            _ => {
                out.push(b'/');
                out.extend_from_slice(segment);
            }
        }
    }
    if out.is_empty() {
        out.push(b'/');
    }
    Ok(out)
}

fn split_port(authority: &[u8]) -> (&[u8], Option<&[u8]>) {
    let searched = match authority.first() {
        Some(b'[') => authority.iter().position(|byte| *byte == b']').unwrap_or(0),
        _ => 0,
    };
    match authority[searched..].iter().position(|byte| *byte == b':') {
        Some(colon) => (&authority[..searched + colon], Some(&authority[searched + colon + 1..])),
        None => (authority, None),
    }
}

fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

/// Names as they are used: letters, digits, and what DNS labels and container networks hold.
fn is_name_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

fn hex(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16).map(|digit| digit as u8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_have_one_form() {
        for (path, normal) in [
            ("/", "/"),
            ("/a/b", "/a/b"),
            ("/%61dmin", "/admin"),
            ("/a/./b/../c", "/a/c"),
            ("/a/%2e%2E/b", "/b"),
            ("/a/..", "/"),
            ("/a/b/.", "/a/b/"),
            ("/a//b", "/a//b"),
            ("/a//../b", "/a/b"),
            ("/a%2fb%5cc", "/a%2Fb%5Cc"),
            ("/.hidden/..x", "/.hidden/..x"),
            ("/%25%7e", "/%25~"),
            ("/..%2f", "/..%2F"),
        ] {
            assert_eq!(normalize(path.as_bytes()).map(Cow::into_owned), Ok(normal.as_bytes().to_vec()), "{path}");
        }
    }

    #[test]
    fn hopeless_paths_are_refused() {
        for (path, error) in [
            ("/..", BadPath::AboveRoot),
            ("/a/../..", BadPath::AboveRoot),
            ("/%2e%2e/a", BadPath::AboveRoot),
            ("/%", BadPath::Escape),
            ("/%4", BadPath::Escape),
            ("/%zz", BadPath::Escape),
            ("/%00", BadPath::Nul),
            ("/a\\b", BadPath::Backslash),
            ("/a/..;/b", BadPath::DotParameter),
            ("/a/%2e;x=y/b", BadPath::DotParameter),
            ("/a#b", BadPath::Fragment),
            ("/a b", BadPath::Byte),
            ("/\u{e9}", BadPath::Byte),
            ("a", BadPath::Relative),
            ("", BadPath::Relative),
        ] {
            assert_eq!(normalize(path.as_bytes()), Err(error), "{path}");
        }
    }

    #[test]
    fn hosts_have_one_form() {
        assert_eq!(&*host(b"Example.COM:80"), b"example.com");
        assert_eq!(&*host(b"example.com."), b"example.com");
        assert_eq!(&*host(b"[::1]:8080"), b"[::1]");
        assert_eq!(port(b"[::1]:8080"), Some(8080));
        assert_eq!(port(b"a"), None);
    }

    #[test]
    fn authorities_are_checked() {
        for good in ["a", "a:80", "a.b-c_d", "127.0.0.1:1", "a.", "[::1]", "[::1]:80", "a:"] {
            assert!(is_authority(good.as_bytes()), "{good}");
        }
        for bad in [
            "", ":80", "a b", "a@b", "a/b", "a:x", "a:70000", "[::1", "[x]", "a,b", "a:1:2", "a:+1", ".", ".a", "a..b",
            "a..", "\u{e9}",
        ] {
            assert!(!is_authority(bad.as_bytes()), "{bad}");
        }
    }
}
