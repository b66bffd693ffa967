//! Whether what somebody says first is a request of HTTP in plain, where it might be anything; and whether a server that speaks first waits for one.
//!
//! Who decides by it whether requests are read wants none to go past, so it asks what some server might take for one, and not what is
//! one: empty lines before it, a request of HTTP/0.9 without a version, a broken one. The reader of requests is the one that refuses.

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
    let Some(start) = bytes.iter().position(|byte| !is_blank(*byte)) else { return more };
    let said = &bytes[start..];
    let Some(length) = said.iter().position(|byte| !is_token(*byte)) else { return more };
    let is_method = length > 0 && Method::known(&said[..length].to_ascii_uppercase()).is_some();
    if is_method {
        return Seen::Request;
    }
    // No server takes for a request what has not two words.
    if length == 0 || !is_blank(said[length]) || matches!(said[length], b'\r' | b'\n') {
        return Seen::Other;
    }
    let Some(end) = memchr::memchr(b'\n', said) else { return more };
    let line = &said[..end];
    if start == 0 && line == PREFACE_LINE {
        return Seen::Preface;
    }
    if line.windows(5).any(|word| word.eq_ignore_ascii_case(b"HTTP/")) { Seen::Request } else { Seen::Other }
}

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

/// White space, of all kinds that any server takes for a space or skips.
fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\r' | b'\n' | 0x0B | 0x0C)
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
        ] {
            assert_eq!(read(said.as_bytes()), Seen::Request, "{said:?}");
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
        for said in ["", "\r\n", "G", "GETTY", "BREW /pot HTT", "NICK a", "PRI * HTTP/2.0\r", "220"] {
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
            b"(GET / HTTP/1.1\r\n",
            b"G\0",
        ] {
            assert_eq!(read(said), Seen::Other, "{:?}", String::from_utf8_lossy(said));
        }
    }
}
