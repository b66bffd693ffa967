//! A tunnel by CONNECT: what a proxy answers.

use super::{Refusal, Step};
use crate::Head;
use crate::h1::{self, Asked, Limits, Progress};

/// What a proxy may say before a tunnel stands.
pub const LIMITS: Limits = Limits { head: 32 * 1024, line: 8 * 1024, fields: 100 };

/// Interim responses beyond this many are an attack.
const MOST_INTERIM: u32 = 32;

/// A conversation whose request has been sent.
#[derive(Debug, Default)]
pub struct Talk {
    interim: u32,
}

impl Talk {
    /// Hears what has come.
    pub fn hear(&mut self, heard: &mut Vec<u8>) -> Step {
        let mut head = Head::default();
        loop {
            let used = match h1::response(heard, Asked::Connect, &LIMITS, &mut head) {
                Ok(Progress::Partial) => return Step::More,
                Ok(Progress::Complete(used)) => used,
                Err(reject) => return Step::Bad(reject.reason()),
            };
            heard.drain(..used);
            match head.status() {
                101 => return Step::Bad("it switched to a protocol that nobody asked for"),
                100..200 if self.interim < MOST_INTERIM => self.interim += 1,
                100..200 => return Step::Bad("too many interim responses"),
                // RFC 9110 section 9.3.6: any of them, and what follows is the tunnel's.
                200..300 => return Step::Connected,
                status => return Step::Refused(Refusal::Status(status)),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Gives an answer whole and byte by byte, which must come to the same; says to what, and what is left.
    fn heard(answer: &[u8]) -> (Step, Vec<u8>) {
        let (mut whole, mut left) = (Talk::default(), answer.to_vec());
        let at_once = whole.hear(&mut left);
        let (mut talk, mut heard, mut step) = (Talk::default(), Vec::new(), Step::More);
        for byte in answer {
            heard.push(*byte);
            if step == Step::More {
                step = talk.hear(&mut heard);
            }
        }
        assert_eq!((step, &heard), (at_once, &left));
        (at_once, left)
    }

    #[test]
    fn a_tunnel_begins_behind_the_head() {
        assert_eq!(heard(b"HTTP/1.1 200 Fine\r\nVia: x\r\n\r\nSSH-2.0"), (Step::Connected, b"SSH-2.0".to_vec()));
        assert_eq!(heard(b"HTTP/1.0 299 \r\nContent-Length: 9\r\n\r\n").0, Step::Connected);
        assert_eq!(heard(b"HTTP/1.1 103 \r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\n\r\nx").1, b"x");
        assert_eq!(heard(b"HTTP/1.1 200 Fi").0, Step::More);
    }

    #[test]
    fn everything_else_is_none() {
        for status in [302, 403, 407, 502] {
            let answer = format!("HTTP/1.1 {status} X\r\nContent-Length: 3\r\n\r\nno\n");
            assert_eq!(heard(answer.as_bytes()).0, Step::Refused(Refusal::Status(status)));
        }
        let broken =
            [&b"\r\nHTTP/1.1 200 OK\r\n\r\n"[..], b"SSH-2.0-x\r\n", b"HTTP/1.1 101 X\r\n\r\n", b"HTTP/2 200\r\n\r\n"];
        for answer in broken {
            assert!(matches!(heard(answer).0, Step::Bad(_)), "{answer:?}");
        }
        let endless = b"HTTP/1.1 100 \r\n\r\n".repeat(MOST_INTERIM as usize + 1);
        assert!(matches!(heard(&endless).0, Step::Bad(_)));
        let long = format!("HTTP/1.1 200 OK\r\nX: {}", "x".repeat(LIMITS.head));
        assert!(matches!(Talk::default().hear(&mut long.into_bytes()), Step::Bad(_)));
    }
}
