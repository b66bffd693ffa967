//! A connection by SOCKS 5 (RFC 1928), with a name and a password where there are any (RFC 1929). The server is told by its name,
//! if it has one: the proxy resolves it.

use std::net::IpAddr;

use super::{Credentials, Refusal, Step};

/// Who is asked for, and who asks.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// A name of at most [`LONGEST`] bytes, or an address, that of IPv6 without brackets.
    pub host: &'a str,
    /// The port.
    pub port: u16,
    /// Who we say that we are.
    pub credentials: Option<Credentials<'a>>,
}

/// The longest name that can be asked for.
pub const LONGEST: usize = 255;

/// A conversation.
#[derive(Debug)]
pub struct Talk<'a> {
    asked: Asked<'a>,
    state: State,
}

#[derive(Debug)]
enum State {
    /// Waits for the way in which we shall say who we are.
    Method,
    /// Waits for whether that is believed.
    Status,
    /// Waits for what has come of it.
    Reply,
}

const VERSION: u8 = 5;
const NO_AUTHENTICATION: u8 = 0;
const USERNAME_PASSWORD: u8 = 2;
/// The version of the negotiation of RFC 1929.
const NEGOTIATION: u8 = 1;
const CONNECT: u8 = 1;
const IPV4: u8 = 1;
const NAME: u8 = 3;
const IPV6: u8 = 4;

impl<'a> Talk<'a> {
    /// A conversation about this server.
    pub fn new(asked: Asked<'a>) -> Talk<'a> {
        Talk { asked, state: State::Method }
    }

    /// What is said first.
    pub fn open(&self, said: &mut Vec<u8>) {
        match self.asked.credentials {
            None => said.extend_from_slice(&[VERSION, 1, NO_AUTHENTICATION]),
            Some(_) => said.extend_from_slice(&[VERSION, 2, NO_AUTHENTICATION, USERNAME_PASSWORD]),
        }
    }

    /// Hears what has come, and adds what is said next to `said`.
    pub fn hear(&mut self, heard: &mut Vec<u8>, said: &mut Vec<u8>) -> Step {
        loop {
            let step = match self.state {
                State::Method => self.method(heard, said),
                State::Status => self.status(heard, said),
                State::Reply => return reply(heard),
            };
            if let Some(step) = step {
                return step;
            }
        }
    }

    fn method(&mut self, heard: &mut Vec<u8>, said: &mut Vec<u8>) -> Option<Step> {
        match (heard.as_slice(), self.asked.credentials) {
            ([] | [VERSION], _) => return Some(Step::More),
            ([VERSION, NO_AUTHENTICATION, ..], _) => self.request(said),
            ([VERSION, USERNAME_PASSWORD, ..], Some(credentials)) => {
                said.push(NEGOTIATION);
                counted(credentials.username.as_bytes(), said);
                counted(credentials.password.as_bytes(), said);
                self.state = State::Status;
            }
            ([VERSION, 0xFF, ..], _) => return Some(Step::Refused(Refusal::NoWay)),
            ([VERSION, ..], _) => return Some(Step::Bad("a way to authenticate that was not offered")),
            _ => return Some(Step::Bad("no answer of SOCKS 5")),
        }
        heard.drain(..2);
        None
    }

    fn status(&mut self, heard: &mut Vec<u8>, said: &mut Vec<u8>) -> Option<Step> {
        match heard.as_slice() {
            [] | [NEGOTIATION] => return Some(Step::More),
            [NEGOTIATION, 0, ..] => self.request(said),
            [NEGOTIATION, ..] => return Some(Step::Refused(Refusal::Credentials)),
            _ => return Some(Step::Bad("no answer to a name and a password")),
        }
        heard.drain(..2);
        None
    }

    fn request(&mut self, said: &mut Vec<u8>) {
        said.extend_from_slice(&[VERSION, CONNECT, 0]);
        match self.asked.host.parse() {
            Ok(IpAddr::V4(ip)) => {
                said.push(IPV4);
                said.extend_from_slice(&ip.octets());
            }
            Ok(IpAddr::V6(ip)) => {
                said.push(IPV6);
                said.extend_from_slice(&ip.octets());
            }
            Err(_) => {
                said.push(NAME);
                counted(self.asked.host.as_bytes(), said);
            }
        }
        said.extend_from_slice(&self.asked.port.to_be_bytes());
        self.state = State::Reply;
    }
}

/// Text behind its length. Whoever asks has seen to it that it is not longer than one byte can say.
fn counted(text: &[u8], said: &mut Vec<u8>) {
    let text = &text[..text.len().min(LONGEST)];
    said.push(text.len() as u8);
    said.extend_from_slice(text);
}

/// A reply is followed by an address that means nothing to us.
fn reply(heard: &mut Vec<u8>) -> Step {
    let address = match heard.as_slice() {
        [VERSION] | [VERSION, 0] | [] => return Step::More,
        [VERSION, 0, _] | [VERSION, 0, _, NAME] => return Step::More,
        [VERSION, 0, _, IPV4, ..] => 4,
        [VERSION, 0, _, IPV6, ..] => 16,
        [VERSION, 0, _, NAME, length, ..] => 1 + usize::from(*length),
        [VERSION, 0, ..] => return Step::Bad("a reply with an address of no kind"),
        // Some close the connection behind it, whatever else belongs to it.
        [VERSION, reply, ..] => return Step::Refused(Refusal::Reply(*reply)),
        _ => return Step::Bad("no reply of SOCKS 5"),
    };
    let whole = 4 + address + 2;
    if heard.len() < whole {
        return Step::More;
    }
    heard.drain(..whole);
    Step::Connected
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANYBODY: Asked<'static> = Asked { host: "a.test", port: 258, credentials: None };
    const SOMEBODY: Asked<'static> =
        Asked { credentials: Some(Credentials { username: "me", password: "pass" }), ..ANYBODY };

    /// Gives what a proxy says whole and byte by byte, which must come to the same; with what was said and what is left.
    fn heard(asked: Asked<'_>, answer: &[u8]) -> (Step, Vec<u8>, Vec<u8>) {
        let (mut talk, mut left, mut said) = (Talk::new(asked), answer.to_vec(), Vec::new());
        talk.open(&mut said);
        let at_once = talk.hear(&mut left, &mut said);
        let (mut talk, mut heard, mut piecemeal, mut step) = (Talk::new(asked), Vec::new(), Vec::new(), Step::More);
        talk.open(&mut piecemeal);
        for byte in answer {
            heard.push(*byte);
            if step == Step::More {
                step = talk.hear(&mut heard, &mut piecemeal);
            }
        }
        assert_eq!((step, &piecemeal, &heard), (at_once, &said, &left));
        (at_once, said, left)
    }

    #[test]
    fn a_connection_is_asked_for_by_name() {
        let (step, said, left) = heard(ANYBODY, b"\x05\x00\x05\x00\x00\x01\x7f\x00\x00\x01\x00\x50220 hi");
        assert_eq!((step, left.as_slice()), (Step::Connected, &b"220 hi"[..]));
        assert_eq!(said, b"\x05\x01\x00\x05\x01\x00\x03\x06a.test\x01\x02");
        let named = b"\x05\x00\x05\x00\x00\x03\x03abc\x00\x50";
        assert_eq!(heard(ANYBODY, named).0, Step::Connected);
        assert_eq!(heard(ANYBODY, &named[..named.len() - 1]).0, Step::More);
        let (_, said, _) = heard(Asked { host: "127.0.0.1", ..ANYBODY }, b"\x05\x00");
        assert!(said.ends_with(b"\x05\x01\x00\x01\x7f\x00\x00\x01\x01\x02"));
        let (step, said, _) =
            heard(Asked { host: "::1", ..ANYBODY }, &[&b"\x05\x00\x05\x00\x00\x04"[..], &[0; 18]].concat());
        assert_eq!((step, said.len()), (Step::Connected, 3 + 22));
    }

    #[test]
    fn who_has_credentials_says_them_where_they_are_wanted() {
        let (step, said, _) = heard(SOMEBODY, b"\x05\x02\x01\x00");
        assert_eq!(step, Step::More);
        assert_eq!(said, b"\x05\x02\x00\x02\x01\x02me\x04pass\x05\x01\x00\x03\x06a.test\x01\x02");
        let (_, said, _) = heard(SOMEBODY, b"\x05\x00");
        assert!(!said.windows(4).any(|part| part == b"pass"), "nobody wanted to know");
        assert_eq!(heard(SOMEBODY, b"\x05\x02\x01\x01").0, Step::Refused(Refusal::Credentials));
        assert_eq!(format!("{SOMEBODY:?}").find("pass"), None);
    }

    #[test]
    fn refusals_and_nonsense_are_told_apart() {
        assert_eq!(heard(SOMEBODY, b"\x05\xff").0, Step::Refused(Refusal::NoWay));
        for reply in 1..=8 {
            assert_eq!(heard(ANYBODY, &[5, 0, 5, reply]).0, Step::Refused(Refusal::Reply(reply)));
        }
        let bad = [&b"\x05\x02"[..], b"\x04\x00", b"HTTP/1.1 400", b"\x05\x00\x04\x00", b"\x05\x00\x05\x00\x00\x02"];
        for answer in bad {
            assert!(matches!(heard(ANYBODY, answer).0, Step::Bad(_)), "{answer:?}");
        }
        assert!(matches!(heard(SOMEBODY, b"\x05\x02\x05\x00").0, Step::Bad(_)));
    }

    proptest::proptest! {
        /// Whatever a proxy says, a conversation neither panics nor depends on the portions.
        #[test]
        fn any_answer_is_survived(answer in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..300)) {
            heard(SOMEBODY, &answer);
            heard(SOMEBODY, &[&b"\x05\x02\x01\x00\x05\x00\x00"[..], &answer].concat());
        }
    }
}
