//! MySQL and MariaDB: the greeting, and a login by a user that need not exist, as HAProxy's `mysql-check` with a user (MySQL's manual,
//! "Connection Phase"). A check that left after the greeting would count against our address until the server blocks it.

use super::{Step, failed, quoted};

/// One conversation.
#[derive(Debug)]
pub(in crate::health) enum Talk {
    /// Waits for the greeting.
    Greeting,
    /// Waits for the answer to the login.
    Login,
}

const ERROR: u8 = 0xff;
const OK: u8 = 0;
const AUTH_SWITCH: u8 = 0xfe;
const MORE_AUTH: u8 = 1;
/// Errors of a server that is there but does not know us, or wants TLS first.
const ALIVE: [u16; 4] = [1044, 1045, 1698, 3159];
/// CLIENT_PROTOCOL_41, CLIENT_SECURE_CONNECTION and CLIENT_PLUGIN_AUTH.
const CAPABILITIES: u32 = 0x0000_0200 | 0x0000_8000 | 0x0008_0000;
const QUIT: &[u8] = &[1, 0, 0, 0, 1];
/// Neither a greeting nor an error is longer.
const LONGEST: usize = 4096;

impl Talk {
    pub(super) fn hear(&mut self, heard: &mut Vec<u8>, said: &mut Vec<u8>) -> Step {
        loop {
            let packet = match take_packet(heard) {
                Ok(Some(packet)) => packet,
                Ok(None) => return Step::More,
                Err(()) => return failed("no answer of MySQL"),
            };
            match (&self, packet.first()) {
                (Talk::Greeting, Some(9 | 10)) => {
                    said.extend_from_slice(&login());
                    *self = Talk::Login;
                }
                (Talk::Login, Some(&OK)) => {
                    said.extend_from_slice(QUIT);
                    return Step::Done(Ok(()));
                }
                (Talk::Login, Some(&(AUTH_SWITCH | MORE_AUTH))) => return Step::Done(Ok(())),
                (_, Some(&ERROR)) => return self.error(&packet),
                _ => return failed("no answer of MySQL"),
            }
        }
    }

    fn error(&self, packet: &[u8]) -> Step {
        let Some([low, high]) = packet.get(1..3) else { return failed("no answer of MySQL") };
        let code = u16::from_le_bytes([*low, *high]);
        if matches!(self, Talk::Login) && ALIVE.contains(&code) {
            return Step::Done(Ok(()));
        }
        let text = packet.get(3..).unwrap_or_default();
        // Behind the code stands `#` and an SQL state of five letters, once a login has begun.
        let text = if text.first() == Some(&b'#') { text.get(6..).unwrap_or_default() } else { text };
        failed(format!("error {code}: {}", quoted(text)))
    }
}

/// The payload of a packet that is whole.
fn take_packet(heard: &mut Vec<u8>) -> Result<Option<Vec<u8>>, ()> {
    let Some(&[one, two, three, _]) = heard.first_chunk::<4>() else { return Ok(None) };
    let length = u32::from_le_bytes([one, two, three, 0]) as usize;
    if length > LONGEST {
        return Err(());
    }
    let Some(payload) = heard.get(4..4 + length) else { return Ok(None) };
    let payload = payload.to_vec();
    heard.drain(..4 + length);
    Ok(Some(payload))
}

/// HandshakeResponse41 by the user `tidegate`, without a password.
fn login() -> Vec<u8> {
    let mut body = Vec::new();
    body.extend_from_slice(&CAPABILITIES.to_le_bytes());
    body.extend_from_slice(&0x0100_0000_u32.to_le_bytes());
    body.push(33);
    body.extend_from_slice(&[0; 23]);
    body.extend_from_slice(b"tidegate\0\0mysql_native_password\0");
    let mut packet = vec![body.len() as u8, 0, 0, 1];
    packet.extend_from_slice(&body);
    packet
}

#[cfg(test)]
mod tests {
    use super::super::Talk as Any;
    use super::super::fixture::converse;
    use super::*;

    fn packet(number: u8, body: &[u8]) -> Vec<u8> {
        [&[body.len() as u8, 0, 0, number][..], body].concat()
    }

    #[test]
    fn answers() {
        let greeting = packet(0, b"\x0a8.0.36\0\x01\0\0\0abcdefgh\0\xff\xff");
        let talk = |second: &[u8]| converse(|| Any::Mysql(Talk::Greeting), &[&greeting, second].concat());
        let denied = packet(2, b"\xff\x15\x04#28000Access denied for user");
        assert_eq!(talk(&denied).0, Ok(()));
        assert_eq!(talk(&packet(2, b"\xfemysql_native_password\0")).0, Ok(()));
        assert!(talk(&packet(2, b"\0\0\0\x02\0\0\0")).1.ends_with(QUIT));
        assert_eq!(talk(b"").0, Err("connection closed".to_owned()));
        let alone = |answer: &[u8]| converse(|| Any::Mysql(Talk::Greeting), answer).0;
        let full = packet(0, b"\xff\x10\x04Too many connections");
        assert_eq!(alone(&full), Err("error 1040: Too many connections".to_owned()));
        assert_eq!(alone(b"HTTP/1.1 400 Bad Request\r\n"), Err("no answer of MySQL".to_owned()));
        assert_eq!(login().len(), usize::from(login()[0]) + 4);
    }
}
