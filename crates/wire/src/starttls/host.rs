//! Our side of what is said before TLS, towards a client. The client is greeted, told that there is TLS, and answered what it may ask
//! before it; whatever else it wants is refused in its protocol's own words, and the conversation is over.

use super::Protocol;
use super::line::{self, LONGEST};
use crate::postgres::{self, Seen, Wish};

/// A conversation.
#[derive(Debug)]
pub struct Host {
    protocol: Protocol,
    /// Who we are, where a protocol wants that said.
    here: String,
    /// What the client has asked that was not TLS.
    asked: u8,
    /// Whether it may go on without.
    lets_plain: bool,
    /// How it has introduced itself, where that is said.
    hello: Vec<u8>,
}

/// What comes of what a client has said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// It has not finished its words.
    More,
    /// So many bytes are done with.
    Done(usize),
    /// So many bytes are done with, and TLS begins.
    Begin(usize),
    /// The client has begun TLS by itself, and has to agree on the protocol in its handshake (ALPN).
    Begun,
    /// The client goes on in plain, where it may: what it says is for a server, to which it has introduced itself so.
    Plain(Vec<u8>),
    /// It is over; why, unless the client has ended it.
    Over(Option<&'static str>),
}

/// How much of what a client says is looked at: enough for every question.
pub const LOOK: usize = LONGEST;
/// How often a client may ask for other things first.
const PATIENCE: u8 = 20;

const INJECTED: &str = "bytes in plain behind the question for TLS";

impl Host {
    /// A conversation; `here` is who we are, as a host or an address literal (RFC 5321 section 4.1.3).
    pub fn new(protocol: Protocol, here: String) -> Host {
        Host { protocol, here, asked: 0, lets_plain: false, hello: Vec::new() }
    }

    /// The same, with a client that may go on in plain or may not.
    #[must_use]
    pub fn letting_plain(self, lets_plain: bool) -> Host {
        Host { lets_plain, ..self }
    }

    /// What is said first.
    pub fn greet(&self, said: &mut Vec<u8>) {
        match self.protocol {
            Protocol::Postgres | Protocol::Mysql => {}
            Protocol::Smtp => say(said, &["220 ", &self.here, " ESMTP"]),
            Protocol::Imap => say(said, &["* OK [CAPABILITY ", self.imap_capabilities(), "] ready"]),
            Protocol::Pop3 => say(said, &["+OK ready"]),
        }
    }

    /// Looks at what the client has said and nobody has read yet, and adds what is answered to `said`. To be told everything again
    /// from the first byte that is not done with.
    pub fn hear(&mut self, seen: &[u8], said: &mut Vec<u8>) -> Step {
        let step = match self.protocol {
            Protocol::Postgres => self.postgres(seen, said),
            // Its conversation is between both sides.
            Protocol::Mysql => Step::Over(Some(UNASKED)),
            protocol => match line::first(seen) {
                Ok(None) => Step::More,
                Ok(Some((line, length))) => {
                    let answer = match protocol {
                        Protocol::Imap => self.imap(line, said),
                        Protocol::Pop3 => self.pop3(line, said),
                        _ => self.smtp(line, said),
                    };
                    match answer {
                        Answer::Go => Step::Done(length),
                        Answer::Begin => Step::Begin(length),
                        Answer::Plain => Step::Plain(std::mem::take(&mut self.hello)),
                        Answer::Over(reason) => Step::Over(reason),
                    }
                }
                Err(reason) => Step::Over(Some(reason)),
            },
        };
        match step {
            Step::Begin(length) if length < seen.len() => {
                said.clear();
                self.refuse_injected(said);
                Step::Over(Some(INJECTED))
            }
            Step::Done(_) => {
                self.asked += 1;
                if self.asked < PATIENCE { step } else { Step::Over(Some("no question for TLS among many")) }
            }
            step => step,
        }
    }

    fn smtp(&mut self, line: &[u8], said: &mut Vec<u8>) -> Answer {
        let here = self.here.as_str();
        let (word, rest) = line::word(line);
        if matches!(&word[..], b"EHLO" | b"HELO") {
            self.hello = [line, b"\r\n"].concat();
        }
        match &word[..] {
            b"EHLO" => say(said, &["250-", here, "\r\n250 STARTTLS"]),
            b"HELO" => say(said, &["250 ", here]),
            b"NOOP" | b"RSET" => say(said, &["250 2.0.0 fine"]),
            b"STARTTLS" if rest.is_empty() => {
                say(said, &["220 2.0.0 ready to start TLS"]);
                return Answer::Begin;
            }
            b"STARTTLS" => say(said, &["501 5.5.4 no parameters allowed"]),
            b"QUIT" => {
                say(said, &["221 2.0.0 ", here, " closing"]);
                return Answer::Over(None);
            }
            _ if self.lets_plain => return Answer::Plain,
            // RFC 3207 section 4.
            _ => {
                say(said, &["530 5.7.0 must issue a STARTTLS command first"]);
                return Answer::Over(Some(UNASKED));
            }
        }
        Answer::Go
    }

    fn imap(&self, line: &[u8], said: &mut Vec<u8>) -> Answer {
        let (tag, rest) = match memchr::memchr(b' ', line) {
            Some(end) if is_tag(&line[..end]) => (String::from_utf8_lossy(&line[..end]).into_owned(), &line[end + 1..]),
            _ => {
                say(said, &["* BAD no tag"]);
                return Answer::Over(Some("a command of IMAP without a tag"));
            }
        };
        let (word, rest) = line::word(rest);
        match &word[..] {
            b"CAPABILITY" => say(said, &["* CAPABILITY ", self.imap_capabilities(), "\r\n", &tag, " OK done"]),
            b"NOOP" => say(said, &[&tag, " OK done"]),
            b"STARTTLS" if rest.is_empty() => {
                say(said, &[&tag, " OK begin TLS negotiation now"]);
                return Answer::Begin;
            }
            b"LOGOUT" => {
                say(said, &["* BYE logging out\r\n", &tag, " OK done"]);
                return Answer::Over(None);
            }
            _ if self.lets_plain => return Answer::Plain,
            b"LOGIN" | b"AUTHENTICATE" => {
                // RFC 5530 section 3.
                say(said, &[&tag, " NO [PRIVACYREQUIRED] STARTTLS comes first\r\n* BYE STARTTLS comes first"]);
                return Answer::Over(Some(UNASKED));
            }
            // What follows would be a literal, and is not to be read as a command.
            _ if line.ends_with(b"}") => {
                say(said, &[&tag, " BAD no literals before STARTTLS"]);
                return Answer::Over(Some(UNASKED));
            }
            _ => say(said, &[&tag, " BAD not before STARTTLS"]),
        }
        Answer::Go
    }

    fn postgres(&self, seen: &[u8], said: &mut Vec<u8>) -> Step {
        /// The first byte of a handshake, with which no message of PostgreSQL begins.
        const HANDSHAKE: u8 = 22;
        /// What a client says that wants to cancel what another connection does.
        const CANCEL: [u8; 8] = [0, 0, 0, 16, 4, 210, 22, 46];
        if seen.first() == Some(&HANDSHAKE) {
            return Step::Begun;
        }
        let first = &seen[..seen.len().min(8)];
        match postgres::read(first) {
            Seen::Asks(Wish::Tls) => {
                said.push(postgres::WILLING);
                Step::Begin(8)
            }
            Seen::Asks(Wish::Gss) => {
                said.push(postgres::UNWILLING);
                Step::Done(8)
            }
            Seen::Partial if first.len() < 8 => Step::More,
            Seen::Startup(_) | Seen::Partial if self.lets_plain => Step::Plain(Vec::new()),
            Seen::Other if first == CANCEL && self.lets_plain => Step::Plain(Vec::new()),
            Seen::Startup(_) | Seen::Partial => {
                postgres::refusal("28000", "connections need TLS here: sslmode=require, or more", said);
                Step::Over(Some(UNASKED))
            }
            Seen::Other if first == CANCEL => Step::Over(Some("a cancel request without TLS")),
            Seen::Other => Step::Over(Some("neither TLS nor PostgreSQL")),
        }
    }

    fn pop3(&self, line: &[u8], said: &mut Vec<u8>) -> Answer {
        let (word, rest) = line::word(line);
        match &word[..] {
            b"CAPA" if self.lets_plain => say(said, &["+OK\r\nSTLS\r\nUSER\r\n."]),
            b"CAPA" => say(said, &["+OK\r\nSTLS\r\n."]),
            b"STLS" if rest.is_empty() => {
                say(said, &["+OK begin TLS negotiation"]);
                return Answer::Begin;
            }
            b"QUIT" => {
                say(said, &["+OK"]);
                return Answer::Over(None);
            }
            _ if self.lets_plain => return Answer::Plain,
            b"USER" | b"PASS" | b"APOP" | b"AUTH" => {
                say(said, &["-ERR STLS comes first"]);
                return Answer::Over(Some(UNASKED));
            }
            _ => say(said, &["-ERR not before STLS"]),
        }
        Answer::Go
    }

    /// Who may go on in plain may log in there.
    fn imap_capabilities(&self) -> &'static str {
        if self.lets_plain { "IMAP4rev1 STARTTLS" } else { "IMAP4rev1 STARTTLS LOGINDISABLED" }
    }

    /// Where the words of a protocol allow it.
    fn refuse_injected(&self, said: &mut Vec<u8>) {
        match self.protocol {
            Protocol::Postgres => postgres::refusal("08P01", "nothing may follow SSLRequest before TLS", said),
            Protocol::Smtp => say(said, &["554 5.5.1 nothing may follow STARTTLS before TLS"]),
            Protocol::Imap => say(said, &["* BYE nothing may follow STARTTLS before TLS"]),
            Protocol::Pop3 => say(said, &["-ERR nothing may follow STLS before TLS"]),
            Protocol::Mysql => {}
        }
    }
}

const UNASKED: &str = "a client that does not begin TLS";

/// What comes of a line.
enum Answer {
    Go,
    Begin,
    Plain,
    Over(Option<&'static str>),
}

/// A tag that may be said back (RFC 9051 section 9).
fn is_tag(text: &[u8]) -> bool {
    let fits = |byte: &u8| byte.is_ascii_graphic() && !b"(){%*\"\\+]".contains(byte);
    !text.is_empty() && text.len() <= 64 && text.iter().all(fits)
}

fn say(said: &mut Vec<u8>, parts: &[&str]) {
    parts.iter().for_each(|part| said.extend_from_slice(part.as_bytes()));
    said.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is said to a client that says all of this at once, piece by piece as it is done with, and how it ends.
    fn talk(protocol: Protocol, mut bytes: &[u8]) -> (String, Step) {
        let (mut host, mut said) = (Host::new(protocol, "mx.test".to_owned()), Vec::new());
        host.greet(&mut said);
        loop {
            match host.hear(bytes, &mut said) {
                Step::Done(length) => bytes = &bytes[length..],
                step => return (String::from_utf8_lossy(&said).into_owned(), step),
            }
        }
    }

    #[test]
    fn mail_is_greeted_and_upgraded() {
        let (said, step) = talk(Protocol::Smtp, b"EHLO a.test\r\nSTARTTLS\r\n");
        assert_eq!(said, "220 mx.test ESMTP\r\n250-mx.test\r\n250 STARTTLS\r\n220 2.0.0 ready to start TLS\r\n");
        assert_eq!(step, Step::Begin(10));
        let (said, step) = talk(Protocol::Imap, b"a1 capability\r\na2 STARTTLS\r\n");
        assert!(
            said.starts_with("* OK [CAPABILITY IMAP4rev1 STARTTLS LOGINDISABLED] ready\r\n* CAPABILITY "),
            "{said}"
        );
        assert!(said.ends_with("a1 OK done\r\na2 OK begin TLS negotiation now\r\n"), "{said}");
        assert_eq!(step, Step::Begin(13));
        let (said, step) = talk(Protocol::Pop3, b"CAPA\r\nSTLS\r\n");
        assert_eq!(said, "+OK ready\r\n+OK\r\nSTLS\r\n.\r\n+OK begin TLS negotiation\r\n");
        assert_eq!(step, Step::Begin(6));
    }

    #[test]
    fn postgres_is_upgraded() {
        assert_eq!(talk(Protocol::Postgres, &postgres::SSL_REQUEST), ("S".to_owned(), Step::Begin(8)));
        let both = [postgres::GSS_REQUEST, postgres::SSL_REQUEST].concat();
        assert_eq!(talk(Protocol::Postgres, &both), ("NS".to_owned(), Step::Begin(8)));
        assert_eq!(talk(Protocol::Postgres, b"\x16\x03\x01"), (String::new(), Step::Begun));
        for length in 0..8 {
            assert_eq!(talk(Protocol::Postgres, &postgres::SSL_REQUEST[..length]).1, Step::More);
        }
    }

    #[test]
    fn what_stands_behind_the_question_is_no_part_of_anything() {
        for (protocol, bytes, answer) in [
            (Protocol::Smtp, &b"STARTTLS\r\nMAIL FROM:<a@a.test>\r\n"[..], "554"),
            (Protocol::Smtp, b"EHLO a\r\nSTARTTLS\r\n\r", "554"),
            (Protocol::Imap, b"a STARTTLS\r\nb LOGIN a b\r\n", "* BYE"),
            (Protocol::Pop3, b"STLS\r\nUSER a\r\n", "-ERR"),
            (Protocol::Postgres, &[&postgres::SSL_REQUEST[..], b"\0\0\0\x08"].concat(), "E"),
            (Protocol::Postgres, &[&postgres::SSL_REQUEST[..], b"\x16\x03\x01"].concat(), "E"),
        ] {
            let (said, step) = talk(protocol, bytes);
            assert_eq!(step, Step::Over(Some(INJECTED)), "{said}");
            let last = said.trim_end().lines().last().unwrap_or_default();
            assert!(last.starts_with(answer), "{said}");
        }
    }

    #[test]
    fn who_goes_on_in_plain_is_told_so() {
        for (protocol, bytes, answer) in [
            (
                Protocol::Smtp,
                &b"EHLO a\r\nMAIL FROM:<a@a.test>\r\n"[..],
                "530 5.7.0 must issue a STARTTLS command first",
            ),
            (Protocol::Smtp, b"AUTH PLAIN AGEAYg==\r\n", "530 5.7.0 must issue a STARTTLS command first"),
            (Protocol::Imap, b"a LOGIN anna secret\r\n", "* BYE STARTTLS comes first"),
            (Protocol::Imap, b"a LOGIN {4}\r\n", "* BYE STARTTLS comes first"),
            (Protocol::Imap, b"a ID {4}\r\n", "a BAD no literals before STARTTLS"),
            (Protocol::Pop3, b"USER anna\r\n", "-ERR STLS comes first"),
            (
                Protocol::Postgres,
                b"\0\0\0\x13\0\x03\0\0user\0anna\0\0",
                "E\0\0\0\u{4f}SFATAL\0VFATAL\0C28000\0Mconnections need TLS here: sslmode=require, or more\0\0",
            ),
        ] {
            let (said, step) = talk(protocol, bytes);
            assert_eq!(step, Step::Over(Some(UNASKED)), "{said}");
            assert_eq!(said.trim_end().lines().last(), Some(answer));
        }
        assert_eq!(
            talk(Protocol::Postgres, &[0, 0, 0, 16, 4, 210, 22, 46]).1,
            Step::Over(Some("a cancel request without TLS"))
        );
        assert!(matches!(talk(Protocol::Postgres, b"GET / HT"), (said, Step::Over(Some(_))) if said.is_empty()));
    }

    /// The first words that are for a server, and what was said before them.
    fn plain(protocol: Protocol, mut bytes: &[u8]) -> (String, String, Step) {
        let (mut host, mut said) = (Host::new(protocol, "mx.test".to_owned()).letting_plain(true), Vec::new());
        loop {
            match host.hear(bytes, &mut said) {
                Step::Done(length) => bytes = &bytes[length..],
                step => {
                    let left = String::from_utf8_lossy(bytes).into_owned();
                    return (String::from_utf8_lossy(&said).into_owned(), left, step);
                }
            }
        }
    }

    #[test]
    fn who_may_go_on_in_plain_does() {
        let (said, left, step) = plain(Protocol::Smtp, b"HELO b\r\nEHLO a\r\nNOOP\r\nMAIL FROM:<a@a.test>\r\nQUIT\r\n");
        assert_eq!(step, Step::Plain(b"EHLO a\r\n".to_vec()));
        assert!(said.ends_with("250 2.0.0 fine\r\n") && left.starts_with("MAIL"), "{said} {left}");
        let (said, left, step) = plain(Protocol::Imap, b"a CAPABILITY\r\nb LOGIN {4}\r\n");
        assert_eq!(
            (said.as_str(), left.as_str()),
            ("* CAPABILITY IMAP4rev1 STARTTLS\r\na OK done\r\n", "b LOGIN {4}\r\n")
        );
        assert_eq!(step, Step::Plain(Vec::new()));
        let (said, _, step) = plain(Protocol::Pop3, b"CAPA\r\nUSER anna\r\n");
        assert_eq!((said.as_str(), step), ("+OK\r\nSTLS\r\nUSER\r\n.\r\n", Step::Plain(Vec::new())));
        let startup = b"\0\0\0\x13\0\x03\0\0user\0anna\0\0";
        assert_eq!(
            plain(Protocol::Postgres, &[&postgres::GSS_REQUEST[..], startup].concat()).2,
            Step::Plain(Vec::new())
        );
        assert_eq!(plain(Protocol::Postgres, &[0, 0, 0, 16, 4, 210, 22, 46]).2, Step::Plain(Vec::new()));
        // The question for TLS is what it is.
        assert_eq!(plain(Protocol::Smtp, b"EHLO a\r\nSTARTTLS\r\n").2, Step::Begin(10));
        assert_eq!(plain(Protocol::Imap, b"a STARTTLS\r\nb LOGIN a b\r\n").2, Step::Over(Some(INJECTED)));
        assert_eq!(plain(Protocol::Postgres, b"GET / HT").2, Step::Over(Some("neither TLS nor PostgreSQL")));
    }

    #[test]
    fn odd_lines_and_endless_talk_end_it() {
        assert!(matches!(talk(Protocol::Smtp, b"EHLO a\nSTARTTLS\r\n").1, Step::Over(Some(_))));
        assert!(matches!(talk(Protocol::Smtp, b"EHLO a\rSTARTTLS\r\n").1, Step::Over(Some(_))));
        assert!(matches!(talk(Protocol::Smtp, &b"NOOP\r\n".repeat(99)).1, Step::Over(Some(_))));
        assert!(matches!(talk(Protocol::Imap, b"+ NOOP\r\n").1, Step::Over(Some(_))));
        assert_eq!(talk(Protocol::Smtp, &[b'a'; LONGEST - 1]).1, Step::More);
        assert!(matches!(talk(Protocol::Smtp, &[b'a'; LONGEST]).1, Step::Over(Some(_))));
        assert_eq!(talk(Protocol::Smtp, b"QUIT\r\n").1, Step::Over(None));
    }
}
