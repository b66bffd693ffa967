//! Redis, and what speaks like it: `PING` and `+PONG`, as HAProxy's `redis-check` (Redis's "Serialization protocol
//! specification").

use super::{Step, failed, quoted};

/// `PING` as an array of one.
pub(super) const PING: &[u8] = b"*1\r\n$4\r\nPING\r\n";

/// A server that wants a password first, or that grants us nothing, is there all the same. One that still loads its data, or has
/// lost its master, is not.
pub(super) fn hear(heard: &[u8]) -> Step {
    let Some(end) = heard.windows(2).position(|pair| pair == b"\r\n") else { return Step::More };
    let line = &heard[..end];
    if line == b"+PONG" || [&b"-NOAUTH"[..], b"-NOPERM"].iter().any(|alive| line.starts_with(alive)) {
        return Step::Done(Ok(()));
    }
    match line.split_first() {
        Some((b'-', error)) => failed(quoted(error)),
        _ => failed("no answer of Redis"),
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Talk, fixture::converse};

    #[test]
    fn answers() {
        let outcome = |answer: &str| converse(|| Talk::Redis, answer.as_bytes()).0;
        assert_eq!(outcome("+PONG\r\n"), Ok(()));
        assert_eq!(outcome("-NOAUTH Authentication required.\r\n"), Ok(()));
        assert_eq!(outcome("-LOADING Redis is loading\r\n"), Err("LOADING Redis is loading".to_owned()));
        assert_eq!(outcome("HTTP/1.1 400 Bad Request\r\n"), Err("no answer of Redis".to_owned()));
        assert_eq!(outcome("+PON"), Err("connection closed".to_owned()));
    }
}
