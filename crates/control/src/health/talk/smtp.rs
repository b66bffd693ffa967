//! A mail server: its banner, `EHLO`, `QUIT`, as HAProxy's `smtpchk` (RFC 5321 sections 4.2 and 4.3).

use super::{Step, failed, quoted};

/// One conversation.
#[derive(Debug)]
pub(in crate::health) enum Talk {
    /// Waits for the banner.
    Banner,
    /// Waits for the answer to `EHLO`.
    Hello,
}

impl Talk {
    pub(super) fn hear(&mut self, heard: &mut Vec<u8>, said: &mut Vec<u8>) -> Step {
        while let Some(reply) = take_reply(heard) {
            match (&self, reply.get(..3)) {
                (Talk::Banner, Some(b"220")) => {
                    said.extend_from_slice(b"EHLO tidegate\r\n");
                    *self = Talk::Hello;
                }
                (Talk::Hello, Some(b"250")) => {
                    said.extend_from_slice(b"QUIT\r\n");
                    return Step::Done(Ok(()));
                }
                _ => return failed(quoted(&reply)),
            }
        }
        Step::More
    }
}

/// The last line of a reply that is whole: the one with no `-` behind its code.
fn take_reply(heard: &mut Vec<u8>) -> Option<Vec<u8>> {
    let mut from = 0;
    loop {
        let end = from + heard.get(from..)?.iter().position(|byte| *byte == b'\n')?;
        let line = &heard[from..end];
        if line.get(3) != Some(&b'-') {
            let line = line.to_vec();
            heard.drain(..=end);
            return Some(line);
        }
        from = end + 1;
    }
}

#[cfg(test)]
mod tests {
    use super::super::Talk as Any;
    use super::super::fixture::converse;
    use super::*;

    #[test]
    fn answers() {
        let talk = |answer: &str| converse(|| Any::Smtp(Talk::Banner), answer.as_bytes());
        let (outcome, said) =
            talk("220-mail.example\r\n220 ESMTP\r\n250-mail.example\r\n250-SIZE 1000\r\n250 HELP\r\n");
        assert_eq!((outcome, said.as_slice()), (Ok(()), &b"EHLO tidegate\r\nQUIT\r\n"[..]));
        assert_eq!(talk("554 No SMTP service here\r\n").0, Err("554 No SMTP service here".to_owned()));
        assert_eq!(talk("220 a\r\n502 what\r\n").0, Err("502 what".to_owned()));
        assert_eq!(talk("220 a\r\n").0, Err("connection closed".to_owned()));
    }
}
