//! TLS: a ClientHello and the ServerHello that answers it, as HAProxy's `ssl-hello-chk`. No key is agreed on and no certificate is
//! looked at: a server of TLS 1.3 is asked to choose a group first (RFC 8446 section 4.2.8), which it does with a ServerHello, too.

use super::{Step, failed};

const HANDSHAKE: u8 = 22;
const ALERT: u8 = 21;
const SERVER_HELLO: u8 = 2;

/// A ClientHello in its record. Its random part is none: nothing will be kept secret by it.
pub(super) fn client_hello(host: &str) -> Vec<u8> {
    let mut hello = Vec::new();
    hello.extend_from_slice(&[3, 3]);
    hello.extend_from_slice(b"TIDEGATE HEALTH CHECK, NO SECRET");
    with_length(&mut hello, 1, |session| session.extend_from_slice(b"TIDEGATE HEALTH CHECK, NO SECRET"));
    with_length(&mut hello, 2, |suites| SUITES.iter().for_each(|suite| suites.extend_from_slice(&suite.to_be_bytes())));
    with_length(&mut hello, 1, |compressions| compressions.push(0));
    with_length(&mut hello, 2, |extensions| {
        if !host.is_empty() {
            extension(extensions, 0, |name| {
                with_length(name, 2, |list| {
                    list.push(0);
                    with_length(list, 2, |name| name.extend_from_slice(host.as_bytes()));
                });
            });
        }
        extension(extensions, 10, |groups| {
            with_length(groups, 2, |list| list.extend_from_slice(&[0, 29, 0, 23, 0, 24]));
        });
        extension(extensions, 11, |formats| with_length(formats, 1, |list| list.push(0)));
        extension(extensions, 13, |algorithms| with_length(algorithms, 2, |list| list.extend_from_slice(SIGNATURES)));
        extension(extensions, 43, |versions| with_length(versions, 1, |list| list.extend_from_slice(&[3, 4, 3, 3])));
        extension(extensions, 45, |modes| with_length(modes, 1, |list| list.push(1)));
        extension(extensions, 51, |shares| with_length(shares, 2, |_| {}));
    });
    let mut record = vec![HANDSHAKE, 3, 1];
    with_length(&mut record, 2, |record| {
        record.push(1);
        with_length(record, 3, |body| body.extend_from_slice(&hello));
    });
    record
}

/// Suites of TLS 1.3, and of 1.2 from the best to those that old servers know.
const SUITES: [u16; 15] = [
    0x1301, 0x1302, 0x1303, 0xc02b, 0xc02f, 0xc02c, 0xc030, 0xcca9, 0xcca8, 0xc013, 0xc014, 0x009c, 0x009d, 0x002f,
    0x0035,
];
/// ECDSA, RSA-PSS, Ed25519 and RSA with PKCS #1.
const SIGNATURES: &[u8] = &[4, 3, 5, 3, 6, 3, 8, 4, 8, 5, 8, 6, 8, 7, 4, 1, 5, 1, 6, 1];

pub(super) fn hear(heard: &[u8]) -> Step {
    let no_tls = || failed("no answer of TLS");
    match heard {
        [HANDSHAKE, 3, _, _, _, SERVER_HELLO, ..] => Step::Done(Ok(())),
        [HANDSHAKE, 3, _, _, _, _, ..] => no_tls(),
        [ALERT, 3, _, _, _, _, description, ..] => failed(format!("TLS alert {description}")),
        [HANDSHAKE | ALERT, 3, ..] | [HANDSHAKE | ALERT] | [] => Step::More,
        _ => no_tls(),
    }
}

fn extension(out: &mut Vec<u8>, kind: u8, content: impl FnOnce(&mut Vec<u8>)) {
    out.extend_from_slice(&[0, kind]);
    with_length(out, 2, content);
}

/// Appends content with its length in so many bytes before it.
fn with_length(out: &mut Vec<u8>, bytes: usize, content: impl FnOnce(&mut Vec<u8>)) {
    let mut inner = Vec::new();
    content(&mut inner);
    let length = (inner.len() as u32).to_be_bytes();
    out.extend_from_slice(&length[4 - bytes..]);
    out.extend_from_slice(&inner);
}

#[cfg(test)]
mod tests {
    use super::super::Talk;
    use super::super::fixture::converse;
    use super::*;

    #[test]
    fn lengths_are_those_of_their_content() {
        let hello = client_hello("a.example");
        let length = |at: usize| usize::from(u16::from_be_bytes([hello[at], hello[at + 1]]));
        assert_eq!((hello[0], length(3)), (HANDSHAKE, hello.len() - 5));
        assert_eq!((hello[5], length(7)), (1, hello.len() - 9));
        let extensions = 9 + 2 + 32 + 1 + 32 + 2 + 2 * SUITES.len() + 2;
        assert_eq!(length(extensions), hello.len() - extensions - 2);
        assert!(hello.windows(9).any(|part| part == b"a.example"));
    }

    #[test]
    fn answers() {
        let outcome = |answer: &[u8]| converse(|| Talk::Tls(b"hello"), answer).0;
        assert_eq!(outcome(&[22, 3, 3, 0, 80, 2, 0, 0, 76]), Ok(()));
        assert_eq!(outcome(&[21, 3, 3, 0, 2, 2, 112]), Err("TLS alert 112".to_owned()));
        assert_eq!(outcome(b"HTTP/1.1 400 Bad Request\r\n"), Err("no answer of TLS".to_owned()));
        assert_eq!(outcome(&[22, 3, 3]), Err("connection closed".to_owned()));
    }
}
