//! Whether what somebody says first is a request of HTTP in plain, where it might be anything; and whether a server that speaks first waits for one.
//!
//! Who decides by it whether requests are read wants none to go past, so it asks what some server might take for one, and not what is
//! one: empty lines before it, white space of all kinds, a method that nobody knows, a request of HTTP/0.9 without a version, a broken one. The
//! first line as a whole decides, unless it is clear before its end that it is something else. The reader of requests is the one that refuses.

use super::judge::is_token;
use crate::h2::frame::{self, Header, PREFACE, flag, kind};
use crate::head::Method;

/// What the first bytes of a connection are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seen {
    /// What some server might take for a request of HTTP/1 or older.
    Request,
    /// The first line of HTTP/2 (RFC 9113 section 3.4).
    Preface,
    /// The beginning of one of these, or of something else.
    Partial,
    /// Something else.
    Other,
}

/// So many bytes are enough to know. A first line without an end by then is a request that is too long.
pub const MOST: usize = 16 * 1024;

/// Looks at the first bytes of a connection.
pub fn read(bytes: &[u8]) -> Seen {
    let bytes = &bytes[..bytes.len().min(MOST)];
    let more = if bytes.len() < MOST { Seen::Partial } else { Seen::Request };
    let mut at = 0;
    loop {
        let Some(blanks) = bytes[at..].iter().position(|byte| !is_blank(*byte)) else { return more };
        let start = at + blanks;
        let said = &bytes[start..];
        let end = memchr::memchr(b'\n', said);
        let line = &said[..end.unwrap_or(said.len())];
        match end {
            // A line of one zero is empty to whoever ends texts by it.
            Some(end) if line[0] == 0 && line[1..].iter().all(|byte| is_blank(*byte)) => at = start + end + 1,
            Some(_) if start == 0 && line == PREFACE_LINE => return Seen::Preface,
            _ if begins_with_method(said) => return Seen::Request,
            _ if is_foreign(line) => return Seen::Other,
            None => return more,
            Some(_) if might_be_request(line) => return Seen::Request,
            Some(_) => return Seen::Other,
        }
    }
}

/// Whether a method of HTTP stands first, whatever comes behind it.
fn begins_with_method(said: &[u8]) -> bool {
    let said = said.strip_prefix(b"\0").unwrap_or(said);
    let word = said.iter().position(|byte| !is_token(*byte)).map(|end| &said[..end]);
    word.is_some_and(|word| !word.is_empty() && Method::known(&word.to_ascii_uppercase()).is_some())
}

/// Whether a line whose end may not be here yet is clearly none of HTTP: bytes that no text has, behind a first word that could be no method; or
/// the beginning of XML or JSON, which may have no end of a line at all.
fn is_foreign(line: &[u8]) -> bool {
    let (first, second) = words(line);
    if first.iter().all(|byte| is_token(*byte)) {
        return false;
    }
    if line.iter().any(|byte| is_binary(*byte)) || line.windows(2).any(|two| two == [0, 0]) {
        return true;
    }
    matches!(line[0], b'<' | b'{' | b'[' | b'"')
        && (first.len() > LONGEST_METHOD || second.is_some_and(|second| !second.may_be_target()))
}

/// Whether a line that has ended might be the first of a request: one that names the protocol, or has two words of which the second leads
/// somewhere.
fn might_be_request(line: &[u8]) -> bool {
    let leads = |second: Word<'_>| second.text.iter().any(|byte| matches!(byte, b'/' | b'\\'));
    line.windows(5).any(|word| word.eq_ignore_ascii_case(b"HTTP/")) || words(line).1.is_some_and(leads)
}

/// The second word of a line.
#[derive(Clone, Copy)]
struct Word<'a> {
    text: &'a [u8],
    /// Something stands behind it, so that it will not be longer.
    is_whole: bool,
}

/// The first two words of a line that begins with one. A zero may stand for a space, or be one of the first word's bytes.
fn words(line: &[u8]) -> (&[u8], Option<Word<'_>>) {
    let is_gap = |byte: &u8| *byte == 0 || is_blank(*byte);
    let Some(end) = line.iter().skip(1).position(is_gap) else { return (line, None) };
    let (first, rest) = line.split_at(end + 1);
    let second = rest.iter().position(|byte| !is_gap(byte)).map(|begin| {
        let rest = &rest[begin..];
        let end = rest.iter().position(is_gap);
        Word { text: &rest[..end.unwrap_or(rest.len())], is_whole: end.is_some() }
    });
    (first, second)
}

impl Word<'_> {
    /// Whether it begins like what a request asks for, as far as it is here.
    fn may_be_target(self) -> bool {
        let Word { text, is_whole } = self;
        if matches!(text, [b'/' | b'\\', ..]) {
            return true;
        }
        match text.iter().position(|byte| !byte.is_ascii_alphanumeric()) {
            None => !is_whole,
            Some(end) => {
                let rest = &text[end..];
                end > 0 && (rest.starts_with(b"://") || (!is_whole && b"://".starts_with(rest)))
            }
        }
    }
}

/// No method is longer.
const LONGEST_METHOD: usize = 64;

/// What a server has said before anybody has asked it for anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Greeting {
    /// What a server of HTTP/2 may begin with before its client has (RFC 9113 section 3.4).
    Settings,
    /// The beginning of that, or nothing.
    Partial,
    /// Something else.
    Other,
}

/// Looks at the first bytes of a server.
pub fn of_server(bytes: &[u8]) -> Greeting {
    match Header::read(bytes) {
        Some(Header { length, kind: kind::SETTINGS, flags, stream: 0 })
            if length <= frame::PAYLOAD && length % 6 == 0 && flags & flag::ACK == 0 =>
        {
            Greeting::Settings
        }
        Some(_) => Greeting::Other,
        // No length of ours needs the first byte.
        None if bytes.first().is_none_or(|first| *first == 0)
            && bytes.get(3).is_none_or(|at| *at == kind::SETTINGS) =>
        {
            Greeting::Partial
        }
        None => Greeting::Other,
    }
}

const PREFACE_LINE: &[u8] = b"PRI * HTTP/2.0\r";
const _: () = assert!(PREFACE_LINE.len() < PREFACE.len());

/// White space, of all kinds that any server takes for a space or skips: those of C, and those of Latin-1 and of separators, which some languages
/// split lines at.
fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\r' | b'\n' | 0x0B | 0x0C | 0x1C..=0x1F | 0x85 | 0xA0)
}

/// What stands in no text, and is no white space to anybody. One zero alone is for [`words`].
fn is_binary(byte: u8) -> bool {
    matches!(byte, 0x01..=0x08 | 0x0E..=0x1B | 0x7F)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_server_might_take_for_a_request_is_one() {
        for said in [
            "GET / HTTP/1.1\r\n",
            "GET ",
            "POST /x HTTP/1.0\r\n",
            "\r\nGET /\r\n",
            "\n\n \tget /private\n",
            "GET\t/private\tHTTP/1.1\r\n",
            "GET\r\n",
            "GET\0/ HTTP/1.1",
            "DELETE /x\r\n",
            "BREW /pot HTTP/1.1\r\n",
            "brew /pot http/1.0\n",
            "!#$ \\private HTTP/9.9\r\n",
            "CONNECT a.test:443 HTTP/1.1\r\n",
            " PRI * HTTP/2.0\r\n",
            "(GET /private HTTP/1.1\r\n",
            "<GET /private HTTP/1.1\r\n",
            "\u{feff}GET /private HTTP/1.1\r\n",
            "XGET /private\n",
            "XGET /private and more\r\n",
            "XGET http://a.test\r\n",
            "XGET\\private HTTP/1.1\r\n",
            "XGET/private HTTP/1.1\r\n",
            "XGET\0/private\n",
            "\0 /private\n",
            "\0GET /private\n",
            "\0\r\nGET /private\n",
            "BREW /pot?\x01 HTTP/1.1\r\n",
        ] {
            assert_eq!(read(said.as_bytes()), Seen::Request, "{said:?}");
        }
        for blank in [b"\x0B", b"\x0C", b"\x1C", b"\x1D", b"\x1E", b"\x1F", b"\x85", b"\xA0"] {
            let before = [&blank[..], b"GET /private HTTP/1.1\r\n"].concat();
            let between = [b"XGET", &blank[..], b"/private", &blank[..], b"FTP/1.1\n"].concat();
            assert_eq!([read(&before), read(&between)], [Seen::Request; 2], "{blank:?}");
        }
        assert_eq!(read(PREFACE), Seen::Preface);
        assert_eq!(read(&PREFACE[..16]), Seen::Preface);
        assert_eq!(read(&[b'A'; MOST]), Seen::Request, "a line that never ends");
        assert_eq!(read(&[b'\n'; MOST]), Seen::Request);
    }

    #[test]
    fn a_server_of_http_2_may_speak_first() {
        for settings in [&b"\0\0\0\x04\0\0\0\0\0"[..], b"\0\0\x06\x04\0\0\0\0\0\0\x03\0\0\0\x64"] {
            assert_eq!(of_server(settings), Greeting::Settings);
            for length in 0..9 {
                assert_eq!(of_server(&settings[..length]), Greeting::Partial);
            }
        }
        for other in [
            &b"220 mail.test\r\n"[..],
            b"\x4a\0\0\0\x0a8.0",
            b"\0\0\0\x05",
            b"\0\0\0\x04\x01\0\0\0\0",
            b"\0\0\x05\x04\0\0\0\0\0",
            b"\0\0\0\x04\0\0\0\0\x01",
        ] {
            assert_eq!(of_server(other), Greeting::Other, "{other:?}");
        }
    }

    #[test]
    fn what_may_become_one_is_waited_for_and_everything_else_is_something_else() {
        for said in
            ["", "\r\n", "G", "GETTY", "BREW /pot HTT", "NICK a", "PRI * HTTP/2.0\r", "220", "G\0", "(GET", "\0"]
        {
            assert_eq!(read(said.as_bytes()), Seen::Partial, "{said:?}");
        }
        for said in [
            &b"\x16\x03\x01"[..],
            b"SSH-2.0-OpenSSH_9\r\n",
            b"NICK somebody\r\nUSER a b c d\r\n",
            b"220 mail.test\r\n",
            b"*1\r\n$4\r\nPING\r\n",
            b"PING\r\n",
            b"\x13BitTorrent protocol",
            b"\x05\x01\x00",
            b"\r\n\x16\x03",
            b"{\"a\": 1}\n",
            b"<?xml version='1.0'?>",
            b"<stream:stream xmlns='http://a.test' ",
            b"(GET\n",
            b"XGET\r\n",
            b"\x01GET / HTTP/1.1\r\n",
            b"\0\0\0\0",
            b"\x00\x1d\x12\x34\x01",
            b"\xff\xfd\x18",
        ] {
            assert_eq!(read(said), Seen::Other, "{:?}", String::from_utf8_lossy(said));
        }
    }
}
