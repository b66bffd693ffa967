//! What servers say first.

use super::Protocol;
use super::line::{self, quoted};

/// The longest greeting, all lines of it.
pub const MOST: usize = 8 * 1024;

/// The length of a greeting that has come whole and welcomes us; nothing while it is incomplete.
///
/// # Errors
/// What a server has said that does not welcome us, or that is no greeting.
pub fn read(protocol: Protocol, bytes: &[u8]) -> Result<Option<usize>, String> {
    let mut length = 0;
    loop {
        let Some((line, taken)) = line::first(&bytes[length..])? else {
            return if bytes.len() < MOST { Ok(None) } else { Err("a greeting without an end".to_owned()) };
        };
        length += taken;
        let welcomes = match protocol {
            Protocol::Postgres | Protocol::Mysql => false,
            Protocol::Smtp => line.starts_with(b"220"),
            // One that has logged us in already lets nobody begin TLS: it is how somebody in between would keep us from it.
            Protocol::Imap => line.get(..5).is_some_and(|start| start.eq_ignore_ascii_case(b"* OK ")),
            Protocol::Pop3 => line.starts_with(b"+OK"),
        };
        if !welcomes {
            return Err(quoted(line));
        }
        if protocol != Protocol::Smtp || line.get(3) != Some(&b'-') {
            return Ok(Some(length));
        }
    }
}

/// Whether what does not welcome us says that we are logged in already: with that, somebody in between would keep us from TLS.
pub fn says_logged_in(said: &str) -> bool {
    said.get(..9).is_some_and(|start| start.eq_ignore_ascii_case("* PREAUTH"))
}

/// The length of the answer of a server of SMTP to how a client introduces itself, once it has come whole; nothing while it is incomplete.
///
/// # Errors
/// What it has said that is another answer.
pub fn accepted(bytes: &[u8]) -> Result<Option<usize>, String> {
    let mut length = 0;
    loop {
        let Some((line, taken)) = line::first(&bytes[length..])? else {
            return if bytes.len() < MOST { Ok(None) } else { Err("an answer without an end".to_owned()) };
        };
        length += taken;
        match line {
            [b'2', b'5', b'0', b'-', ..] => {}
            [b'2', b'5', b'0', ..] => return Ok(Some(length)),
            _ => return Err(quoted(line)),
        }
    }
}

/// A greeting of a server with which TLS has begun since, for a client that has heard none: what it says it can do was said before TLS,
/// and need not be so any more.
pub(super) fn without_capabilities(protocol: Protocol, greeting: &[u8]) -> Vec<u8> {
    const CODE: &[u8] = b"[CAPABILITY ";
    let after = greeting.get(5..).unwrap_or_default();
    let has_code = after.get(..CODE.len()).is_some_and(|start| start.eq_ignore_ascii_case(CODE));
    match memchr::memchr(b']', after) {
        Some(end) if has_code && protocol == Protocol::Imap => [b"* OK", &after[end + 1..]].concat(),
        _ => greeting.to_vec(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_welcomes_us() {
        for (protocol, greeting) in [
            (Protocol::Smtp, "220 mx.test ESMTP\r\n"),
            (Protocol::Smtp, "220-mx.test\r\n220-be kind\r\n220 ready\r\n"),
            (Protocol::Imap, "* ok [CAPABILITY IMAP4rev1] ready\r\n"),
            (Protocol::Pop3, "+OK <1.2@pop.test>\r\n"),
        ] {
            for length in 0..greeting.len() {
                assert_eq!(read(protocol, &greeting.as_bytes()[..length]), Ok(None), "{length} of {greeting}");
            }
            assert_eq!(read(protocol, greeting.as_bytes()), Ok(Some(greeting.len())));
            assert_eq!(read(protocol, format!("{greeting}more").as_bytes()), Ok(Some(greeting.len())));
        }
        for (protocol, greeting) in [
            (Protocol::Smtp, "554 no service here\r\n"),
            (Protocol::Smtp, "220-mx.test\r\n421 too busy\r\n"),
            (Protocol::Imap, "* PREAUTH ready\r\n"),
            (Protocol::Imap, "* BYE too busy\r\n"),
            (Protocol::Pop3, "-ERR too busy\r\n"),
            (Protocol::Smtp, "HTTP/1.1 400 Bad Request\r\n"),
        ] {
            assert!(read(protocol, greeting.as_bytes()).is_err(), "{greeting}");
        }
        assert!(read(Protocol::Smtp, &b"220-a\r\n".repeat(MOST / 7 + 1)).is_err());
    }

    #[test]
    fn what_was_said_of_capabilities_in_plain_is_taken_out() {
        let without = |greeting: &[u8]| without_capabilities(Protocol::Imap, greeting);
        assert_eq!(without(b"* OK [CAPABILITY IMAP4rev1 STARTTLS] hello\r\n"), b"* OK hello\r\n");
        assert_eq!(without(b"* OK hello\r\n"), b"* OK hello\r\n");
        assert_eq!(without(b"* OK [ALERT] hello\r\n"), b"* OK [ALERT] hello\r\n");
    }
}
