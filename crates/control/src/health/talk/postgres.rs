//! PostgreSQL: a StartupMessage and the request for authentication that answers it, as HAProxy's `pgsql-check` (PostgreSQL's manual,
//! "Message Formats").

use super::{Step, failed, quoted};

/// Protocol 3.0, user `tidegate`, database `postgres`. Neither has to exist.
pub(super) const STARTUP: &[u8] = b"\0\0\0\x29\0\x03\0\0user\0tidegate\0database\0postgres\0\0";
const TERMINATE: &[u8] = b"X\0\0\0\x04";

/// A server that asks for a password, or that knows no such user or database, is there. One that starts up, shuts down or has
/// no room says so with another error.
pub(super) fn hear(heard: &[u8], said: &mut Vec<u8>) -> Step {
    let Some((head, rest)) = heard.split_first_chunk::<5>() else { return Step::More };
    let [kind, length @ ..] = *head;
    let length = u32::from_be_bytes(length) as usize;
    if !matches!(kind, b'R' | b'E' | b'v') || !(4..LONGEST).contains(&length) {
        return failed("no answer of PostgreSQL");
    }
    let Some(body) = rest.get(..length - 4) else { return Step::More };
    if kind != b'E' {
        if body.starts_with(&[0, 0, 0, 0]) && kind == b'R' {
            said.extend_from_slice(TERMINATE);
        }
        return Step::Done(Ok(()));
    }
    let field = |name: u8| body.split(|byte| *byte == 0).find_map(|field| field.strip_prefix(&[name]));
    let code = field(b'C').unwrap_or_default();
    if [&b"28"[..], b"3D"].iter().any(|class| code.starts_with(class)) {
        return Step::Done(Ok(()));
    }
    failed(format!("error {}: {}", quoted(code), quoted(field(b'M').unwrap_or_default())))
}

/// An error's message is shorter than this.
const LONGEST: usize = 32 * 1024;

#[cfg(test)]
mod tests {
    use super::super::{Talk, fixture::converse};
    use super::*;

    fn message(kind: u8, body: &[u8]) -> Vec<u8> {
        [&[kind][..], &(body.len() as u32 + 4).to_be_bytes(), body].concat()
    }

    #[test]
    fn answers() {
        let talk = |answer: &[u8]| converse(|| Talk::Postgres, answer);
        assert_eq!(STARTUP.len(), usize::from(STARTUP[3]));
        assert_eq!(talk(&message(b'R', &[0, 0, 0, 10])).0, Ok(()));
        assert!(talk(&message(b'R', &[0, 0, 0, 0])).1.ends_with(TERMINATE));
        let error = |code: &str| message(b'E', format!("SFATAL\0C{code}\0Mnot now\0\0").as_bytes());
        assert_eq!(talk(&error("28000")).0, Ok(()));
        assert_eq!(talk(&error("3D000")).0, Ok(()));
        assert_eq!(talk(&error("57P03")).0, Err("error 57P03: not now".to_owned()));
        assert_eq!(talk(b"HTTP/1.1 400 Bad Request\r\n\r\n").0, Err("no answer of PostgreSQL".to_owned()));
    }
}
