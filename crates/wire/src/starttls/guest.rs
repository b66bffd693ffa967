//! Our side of what is said before TLS, towards a server.

use super::line::{self, quoted};
use super::{Protocol, greeting};
use crate::postgres;

/// A conversation.
#[derive(Debug)]
pub struct Guest {
    protocol: Protocol,
    state: State,
    greeting: Vec<u8>,
    /// Whether it may come to nothing, and has.
    lets_plain: bool,
    is_plain: bool,
}

#[derive(Debug)]
enum State {
    /// Waits for the server's greeting.
    Greeting,
    /// Waits for what it says it can do.
    Hello { has_tls: bool },
    /// Waits for its leave to begin TLS.
    Leave,
}

/// The most that is kept of what a server says.
pub const MOST: usize = 2 * greeting::MOST;

/// The tag of our only command of IMAP.
const TAG: &[u8] = b"TLS1";

impl Guest {
    /// A conversation.
    pub fn new(protocol: Protocol) -> Guest {
        let state = if protocol.greets() { State::Greeting } else { State::Leave };
        Guest { protocol, state, greeting: Vec::new(), lets_plain: false, is_plain: false }
    }

    /// The same with a server that may have no TLS, or has to have it.
    #[must_use]
    pub fn letting_plain(self, lets_plain: bool) -> Guest {
        Guest { lets_plain, ..self }
    }

    /// Whether the server has no TLS, and need not have any: it goes on in plain.
    pub fn is_plain(&self) -> bool {
        self.is_plain
    }

    /// Whether nothing of a greeting is awaited any more.
    pub fn is_greeted(&self) -> bool {
        !matches!(self.state, State::Greeting)
    }

    /// What is said first.
    pub fn open(&self, said: &mut Vec<u8>) {
        if self.protocol == Protocol::Postgres {
            said.extend_from_slice(&postgres::SSL_REQUEST);
        }
    }

    /// Hears what has come, takes what it has understood out of it, and adds what is said next to `said`. Answers whether TLS begins, or
    /// nothing does ([`is_plain`](Guest::is_plain)).
    ///
    /// # Errors
    /// The server does not want to, or speaks before it is its turn.
    pub fn hear(&mut self, heard: &mut Vec<u8>, said: &mut Vec<u8>) -> Result<bool, String> {
        while !heard.is_empty() {
            if self.protocol == Protocol::Postgres {
                return match heard[..] {
                    [postgres::WILLING] => Ok(true),
                    [postgres::WILLING, ..] => Err(INJECTED.to_owned()),
                    [postgres::UNWILLING] if self.goes_plain() => Ok(true),
                    [postgres::UNWILLING, ..] => Err(UNWILLING.to_owned()),
                    _ => Err("no answer of PostgreSQL to SSLRequest".to_owned()),
                };
            }
            if matches!(self.state, State::Greeting) {
                let Some(length) = greeting::read(self.protocol, heard)? else { return Ok(false) };
                let rest = heard.split_off(length);
                self.greeting = std::mem::replace(heard, rest);
                self.state = match self.protocol {
                    Protocol::Smtp => {
                        said.extend_from_slice(b"EHLO tidegate\r\n");
                        State::Hello { has_tls: false }
                    }
                    Protocol::Imap => {
                        said.extend_from_slice(&[TAG, b" STARTTLS\r\n"].concat());
                        State::Leave
                    }
                    _ => {
                        said.extend_from_slice(b"STLS\r\n");
                        State::Leave
                    }
                };
                continue;
            }
            let Some((line, length)) = line::first(heard)? else { return Ok(false) };
            let begins = self.line(line, said)?;
            heard.drain(..length);
            if begins {
                return if heard.is_empty() { Ok(true) } else { Err(INJECTED.to_owned()) };
            }
        }
        Ok(false)
    }

    /// What a client is told that has not been greeted yet, once TLS has begun with the server, or nothing has.
    pub fn greeting(&self) -> Vec<u8> {
        if self.is_plain {
            return self.greeting.clone();
        }
        greeting::without_capabilities(self.protocol, &self.greeting)
    }

    /// What comes of a server that has no TLS.
    fn goes_plain(&mut self) -> bool {
        self.is_plain = self.lets_plain;
        self.is_plain
    }

    fn line(&mut self, line: &[u8], said: &mut Vec<u8>) -> Result<bool, String> {
        let is_last = line.get(3) != Some(&b'-');
        if matches!(self.state, State::Leave) && self.declines(line) && self.goes_plain() {
            return Ok(true);
        }
        let lets_plain = self.lets_plain;
        match (self.protocol, &mut self.state) {
            (Protocol::Smtp, State::Hello { has_tls }) => {
                if !line.starts_with(b"250") {
                    return Err(quoted(line));
                }
                *has_tls |= line.get(4..).is_some_and(|word| word.eq_ignore_ascii_case(b"STARTTLS"));
                match (is_last, *has_tls) {
                    (false, _) => {}
                    (true, false) if lets_plain => {
                        self.is_plain = true;
                        return Ok(true);
                    }
                    (true, false) => return Err(UNWILLING.to_owned()),
                    (true, true) => {
                        said.extend_from_slice(b"STARTTLS\r\n");
                        self.state = State::Leave;
                    }
                }
                Ok(false)
            }
            (Protocol::Smtp, _) if line.starts_with(b"220") => Ok(is_last),
            // What is not tagged is about other things.
            (Protocol::Imap, _) if line.starts_with(b"* ") => Ok(false),
            (Protocol::Imap, _) => match line.strip_prefix(TAG).and_then(|rest| rest.get(..4)) {
                Some(word) if word.eq_ignore_ascii_case(b" OK ") => Ok(true),
                _ => Err(quoted(line)),
            },
            (Protocol::Pop3, _) if line.starts_with(b"+OK") => Ok(true),
            _ => Err(quoted(line)),
        }
    }

    /// Whether this is how a server says no to the question for TLS.
    fn declines(&self, line: &[u8]) -> bool {
        match self.protocol {
            Protocol::Smtp => matches!(line, [b'4' | b'5', _, _, b' ', ..] | [b'4' | b'5', _, _]),
            Protocol::Imap => {
                let word = line.strip_prefix(TAG).and_then(|rest| rest.split(|byte| *byte == b' ').nth(1));
                word.is_some_and(|word| word.eq_ignore_ascii_case(b"NO") || word.eq_ignore_ascii_case(b"BAD"))
            }
            Protocol::Pop3 => line.starts_with(b"-ERR"),
            Protocol::Postgres | Protocol::Mysql => false,
        }
    }
}

const UNWILLING: &str = "the server has no TLS";
const INJECTED: &str = "bytes in plain where TLS should begin";

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Gives an answer whole, then byte by byte, which comes to the same unless somebody speaks out of turn.
    fn converse(protocol: Protocol, answer: &[u8]) -> (Result<bool, String>, String) {
        let (mut whole, mut said) = (Guest::new(protocol), Vec::new());
        whole.open(&mut said);
        let at_once = whole.hear(&mut answer.to_vec(), &mut said);
        let (mut guest, mut heard, mut piecemeal) = (Guest::new(protocol), Vec::new(), Vec::new());
        guest.open(&mut piecemeal);
        let mut outcome = Ok(false);
        for byte in answer {
            heard.push(*byte);
            outcome = guest.hear(&mut heard, &mut piecemeal);
            if outcome != Ok(false) {
                break;
            }
        }
        if at_once != Err(INJECTED.to_owned()) {
            assert_eq!(outcome, at_once);
            assert_eq!(piecemeal, said);
        }
        (at_once, String::from_utf8_lossy(&said).into_owned())
    }

    fn ends(protocol: Protocol, answer: &str) -> Result<bool, String> {
        converse(protocol, answer.as_bytes()).0
    }

    #[test]
    fn servers_let_us_begin() {
        assert_eq!(converse(Protocol::Postgres, b"S").0, Ok(true));
        let (outcome, said) =
            converse(Protocol::Smtp, b"220 mx.test\r\n250-mx.test\r\n250-starttls\r\n250 SIZE\r\n220 go on\r\n");
        assert_eq!((outcome, said.as_str()), (Ok(true), "EHLO tidegate\r\nSTARTTLS\r\n"));
        let (outcome, said) = converse(Protocol::Imap, b"* OK ready\r\n* CAPABILITY a\r\nTLS1 OK begin\r\n");
        assert_eq!((outcome, said.as_str()), (Ok(true), "TLS1 STARTTLS\r\n"));
        let (outcome, said) = converse(Protocol::Pop3, b"+OK ready\r\n+OK begin\r\n");
        assert_eq!((outcome, said.as_str()), (Ok(true), "STLS\r\n"));
    }

    #[test]
    fn servers_that_do_not() {
        assert_eq!(ends(Protocol::Postgres, "N"), Err(UNWILLING.to_owned()));
        assert!(ends(Protocol::Postgres, "E").is_err());
        assert_eq!(ends(Protocol::Smtp, "220 a\r\n250 a\r\n"), Err(UNWILLING.to_owned()));
        assert_eq!(ends(Protocol::Smtp, "554 no\r\n"), Err("554 no".to_owned()));
        assert_eq!(ends(Protocol::Smtp, "220 a\r\n250 STARTTLS\r\n454 not now\r\n"), Err("454 not now".to_owned()));
        assert_eq!(ends(Protocol::Imap, "* PREAUTH a\r\n"), Err("* PREAUTH a".to_owned()));
        assert_eq!(ends(Protocol::Imap, "* OK a\r\nTLS1 NO a\r\n"), Err("TLS1 NO a".to_owned()));
        assert_eq!(ends(Protocol::Pop3, "+OK a\r\n-ERR a\r\n"), Err("-ERR a".to_owned()));
    }

    #[test]
    fn nobody_speaks_between_leave_and_beginning() {
        let injected = Err(INJECTED.to_owned());
        assert_eq!(ends(Protocol::Postgres, "SR\0\0\0\u{8}\0\0\0\0"), injected);
        assert_eq!(ends(Protocol::Smtp, "220 a\r\n250 STARTTLS\r\n220 go\r\n250 a\r\n"), injected);
        assert_eq!(ends(Protocol::Imap, "* OK a\r\nTLS1 OK go\r\n* PREAUTH a\r\n"), injected);
        assert_eq!(ends(Protocol::Pop3, "+OK a\r\n+OK go\r\n+OK\r\n"), injected);
    }

    #[test]
    fn servers_that_need_not_have_it() {
        let goes = |protocol: Protocol, answer: &str| {
            let mut guest = Guest::new(protocol).letting_plain(true);
            let ended = guest.hear(&mut answer.as_bytes().to_vec(), &mut Vec::new());
            (ended, guest.is_plain(), String::from_utf8_lossy(&guest.greeting()).into_owned())
        };
        assert_eq!(goes(Protocol::Postgres, "N"), (Ok(true), true, String::new()));
        assert_eq!(goes(Protocol::Smtp, "220 a\r\n250-a\r\n250 SIZE\r\n"), (Ok(true), true, "220 a\r\n".to_owned()));
        let answer = "220 a\r\n250 STARTTLS\r\n454 not now\r\n";
        assert_eq!(goes(Protocol::Smtp, answer), (Ok(true), true, "220 a\r\n".to_owned()));
        let greeting = "* OK [CAPABILITY IMAP4rev1] a\r\n";
        let answer = format!("{greeting}* CAPABILITY a\r\nTLS1 BAD what\r\n");
        assert_eq!(goes(Protocol::Imap, &answer), (Ok(true), true, greeting.to_owned()));
        assert_eq!(goes(Protocol::Pop3, "+OK a\r\n-ERR no\r\n"), (Ok(true), true, "+OK a\r\n".to_owned()));
        // Who has it begins it, and who says more than that it has none is believed nothing.
        assert!(!goes(Protocol::Postgres, "S").1);
        assert!(goes(Protocol::Postgres, "NR").0.is_err());
        assert!(goes(Protocol::Smtp, "220 a\r\n250 a\r\n250 b\r\n").0.is_err());
        assert!(goes(Protocol::Imap, "* PREAUTH a\r\n").0.is_err());
        assert!(goes(Protocol::Smtp, "554 no\r\n").0.is_err());
    }

    proptest! {
        #[test]
        fn any_answer_is_survived(answer in prop::collection::vec(any::<u8>(), 0..200), kind in 0..4_usize) {
            let protocol = [Protocol::Postgres, Protocol::Smtp, Protocol::Imap, Protocol::Pop3][kind];
            // The function compares.
            let _ = converse(protocol, &answer);
        }
    }
}
