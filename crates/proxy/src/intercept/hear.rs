//! What a client says first in its tunnel. What cannot be told from the beginning of TLS is not let pass for something else: a server
//! might take it for that.

use std::future::poll_fn;
use std::task::{Poll, ready};
use std::time::Instant;

use base::{Fault, Kind};
use http::Conn;
use wire::client_hello::{self, ClientHello, Seen};

use crate::exchange::Exchange;
use crate::session::Session;
use crate::snapshot::Listener;

/// What was heard.
pub(super) enum Heard {
    /// The beginning of TLS.
    Hello(ClientHello),
    /// Something else, or the server first.
    Other,
}

/// Waits for it, as long as a request's head may take, and leaves it where it is.
pub(super) async fn hear(
    session: &mut Session,
    x: &mut Exchange,
    listener: &Listener,
    upstream: Option<&Conn>,
) -> Result<Heard, Fault> {
    let Session { worker, client, timer, .. } = session;
    let refused = |reason| {
        move |x: &mut Exchange| {
            x.notes.reason = reason;
            Err(Fault::client(Kind::ClientTls))
        }
    };
    match judge(client.carry()) {
        Judged::More => {}
        Judged::Hello(hello) => return Ok(Heard::Hello(hello)),
        Judged::Other => return Ok(Heard::Other),
        Judged::Unreadable => return refused(UNREADABLE)(x),
    }
    timer.arm(Instant::now(), listener.request_head);
    poll_fn(|cx| {
        if worker.is_cut() {
            return Poll::Ready(Err(Fault::proxy(Kind::Drained)));
        }
        loop {
            let kept = client.carry().len();
            let mut block = worker.block(kept + client_hello::MOST);
            let length = match client.poll_bytes(cx, &mut block) {
                Poll::Ready(Ok(length)) => length,
                Poll::Ready(Err(_)) => return Poll::Ready(Err(Fault::client(Kind::ClientGone))),
                Poll::Pending => break,
            };
            if length == kept {
                client.keep(&block[..length]);
                // Who has begun a handshake and ends it says nothing that a server should hear.
                let ended = if kept == 0 { Ok(Heard::Other) } else { Err(Fault::client(Kind::ClientGone)) };
                return Poll::Ready(ended);
            }
            client.keep(&block[..length]);
            match judge(&block[..length]) {
                Judged::More => {}
                Judged::Hello(hello) => return Poll::Ready(Ok(Heard::Hello(hello))),
                Judged::Other => return Poll::Ready(Ok(Heard::Other)),
                Judged::Unreadable => return Poll::Ready(refused(UNREADABLE)(x)),
            }
        }
        // Protocols in which servers speak first are none of TLS.
        if !client.has_carry() && upstream.is_some_and(|upstream| upstream.poll_peek(cx).is_ready()) {
            return Poll::Ready(Ok(Heard::Other));
        }
        ready!(timer.poll_expired(cx));
        Poll::Ready(refused("nothing was said in the tunnel in time")(x))
    })
    .await
}

const UNREADABLE: &str = "a handshake of TLS that cannot be read";

enum Judged {
    Hello(ClientHello),
    More,
    Other,
    /// It is TLS, or might be to a server.
    Unreadable,
}

fn judge(bytes: &[u8]) -> Judged {
    const HANDSHAKE: u8 = 22;
    const CLIENT_HELLO: u8 = 1;
    match bytes {
        [] => return Judged::More,
        // The form of SSL 2.0, in which some servers still hear a client of TLS (RFC 5246 appendix E.2).
        [0x80..=0xFF, rest @ ..] => {
            return match rest {
                [_, CLIENT_HELLO, ..] => Judged::Unreadable,
                [_, _, ..] => Judged::Other,
                _ => Judged::More,
            };
        }
        _ => {}
    }
    match client_hello::read(bytes) {
        Seen::Hello(hello) => Judged::Hello(hello),
        Seen::Partial => Judged::More,
        Seen::Other if matches!(bytes, [HANDSHAKE] | [HANDSHAKE, 3, ..]) => Judged::Unreadable,
        Seen::Other => Judged::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn word(bytes: &[u8]) -> &'static str {
        match judge(bytes) {
            Judged::Hello(_) => "hello",
            Judged::More => "more",
            Judged::Other => "other",
            Judged::Unreadable => "unreadable",
        }
    }

    #[test]
    fn what_a_server_might_take_for_tls_is_not_let_pass_for_something_else() {
        let long = [&[22, 3, 1, 0x40, 0, 1, 0, 0xFF, 0xFF][..], &[0; 40_000]].concat();
        let cases: [(&[u8], &str); 11] = [
            (b"", "more"),
            (b"GET / HTTP/1.1\r\n", "other"),
            (b"SSH-2.0-x\r\n", "other"),
            (&[22], "more"),
            (&[22, 3, 1, 2, 0, 1], "more"),
            (&[22, 3, 1, 0, 4, 2, 0, 0, 0], "unreadable"),
            (&long, "unreadable"),
            (&[0x80], "more"),
            (&[0x80, 0x2E], "more"),
            (&[0x80, 0x2E, 1, 3, 3], "unreadable"),
            (&[0x80, 0x2E, 9], "other"),
        ];
        for (bytes, wanted) in cases {
            assert_eq!(word(bytes), wanted, "{:?}", &bytes[..bytes.len().min(9)]);
        }
    }
}
