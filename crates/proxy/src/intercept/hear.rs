//! What a client says first in its tunnel. What cannot be told from the beginning of TLS, or of a request in plain, is not let pass for something
//! else where that is read: a server might take it for that.

use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use base::{Fault, Kind};
use http::Conn;
use wire::client_hello::{self, ClientHello, Seen};
use wire::h1::opening;

use super::Reads;

use crate::exchange::Exchange;
use crate::session::{Session, UNREADABLE};
use crate::snapshot::Listener;
use crate::worker::Worker;

/// What was heard.
pub(super) enum Heard {
    /// The beginning of TLS.
    Hello(ClientHello),
    /// Requests in plain, perhaps in the words of HTTP/2.
    Requests { h2: bool },
    /// Something else, or the server first.
    Other,
}

/// Waits for it, as long as a request's head may take, and leaves it where it is.
pub(super) async fn hear(
    session: &mut Session,
    x: &mut Exchange,
    listener: &Listener,
    mut upstream: Option<&mut Conn>,
    reads: Reads<'_>,
) -> Result<Heard, Fault> {
    let Session { worker, client, timer, .. } = session;
    let refused = |reason| {
        move |x: &mut Exchange| {
            x.notes.reason = reason;
            Err(Fault::client(Kind::ClientTls))
        }
    };
    match judge(client.carry(), reads) {
        Judged::More => {}
        Judged::Heard(heard) => return Ok(heard),
        Judged::Unreadable => return refused(UNREADABLE)(x),
    }
    timer.arm(Instant::now(), listener.request_head);
    poll_fn(|cx| {
        if worker.is_cut() {
            return Poll::Ready(Err(Fault::proxy(Kind::Drained)));
        }
        loop {
            let kept = client.carry().len();
            let mut block = worker.block(kept + MOST);
            let length = match client.poll_bytes(cx, &mut block) {
                Poll::Ready(Ok(length)) => length,
                Poll::Ready(Err(_)) => return Poll::Ready(Err(Fault::client(Kind::ClientGone))),
                Poll::Pending => break,
            };
            if length == kept {
                client.keep(&block[..length]);
                // Who has begun a handshake or a request and ends it says nothing that a server should hear.
                let ended = if kept == 0 { Ok(Heard::Other) } else { Err(Fault::client(Kind::ClientGone)) };
                return Poll::Ready(ended);
            }
            client.keep(&block[..length]);
            match judge(&block[..length], reads) {
                Judged::More => {}
                Judged::Heard(heard) => return Poll::Ready(Ok(heard)),
                Judged::Unreadable => return Poll::Ready(refused(UNREADABLE)(x)),
            }
        }
        // Protocols in which servers speak first are neither.
        if !client.has_carry()
            && let Some(server) = upstream.as_deref_mut()
            && speaks_first(worker, server, reads, cx)
        {
            return Poll::Ready(Ok(Heard::Other));
        }
        ready!(timer.poll_expired(cx));
        x.notes.reason = "nothing was said in the tunnel in time";
        Poll::Ready(Err(Fault::client(if reads.tls.is_some() { Kind::ClientTls } else { Kind::HeadTimeout })))
    })
    .await
}

/// Whether the server has said something before the client, or has ended, so that nobody waits for a handshake or a request. It is kept for
/// the client.
fn speaks_first(worker: &Rc<Worker>, server: &mut Conn, reads: Reads<'_>, cx: &mut Context<'_>) -> bool {
    if !reads.plain {
        return server.has_carry() || server.poll_peek(cx).is_ready();
    }
    loop {
        match opening::of_server(server.carry()) {
            opening::Greeting::Settings => return false,
            opening::Greeting::Other => return true,
            opening::Greeting::Partial => {}
        }
        let kept = server.carry().len();
        let mut block = worker.block(kept + MOST);
        let Poll::Ready(read) = server.poll_bytes(cx, &mut block[..kept + MOST]) else { return false };
        let length = read.unwrap_or(kept);
        if length > kept || server.carry().is_empty() {
            server.keep(&block[..length]);
        }
        if length == kept {
            return true;
        }
    }
}

/// More than this is listened to by nobody.
const MOST: usize = client_hello::MOST;
const _: () = assert!(MOST >= opening::MOST);

enum Judged {
    Heard(Heard),
    More,
    /// It is TLS, or might be to a server.
    Unreadable,
}

fn judge(bytes: &[u8], reads: Reads<'_>) -> Judged {
    if reads.tls.is_some() {
        match judge_tls(bytes) {
            Judged::Heard(Heard::Other) => {}
            judged => return judged,
        }
    }
    match opening::read(bytes) {
        _ if !reads.plain => Judged::Heard(Heard::Other),
        opening::Seen::Request => Judged::Heard(Heard::Requests { h2: false }),
        opening::Seen::Preface => Judged::Heard(Heard::Requests { h2: true }),
        opening::Seen::Partial => Judged::More,
        opening::Seen::Other => Judged::Heard(Heard::Other),
    }
}

fn judge_tls(bytes: &[u8]) -> Judged {
    const CLIENT_HELLO: u8 = 1;
    match bytes {
        [] => return Judged::More,
        // The form of SSL 2.0, in which some servers still hear a client of TLS (RFC 5246 appendix E.2).
        [0x80..=0xFF, rest @ ..] => {
            return match rest {
                [_, CLIENT_HELLO, ..] => Judged::Unreadable,
                [_, _, ..] => Judged::Heard(Heard::Other),
                _ => Judged::More,
            };
        }
        _ => {}
    }
    match client_hello::read(bytes) {
        Seen::Hello(hello) => Judged::Heard(Heard::Hello(hello)),
        Seen::Partial => Judged::More,
        Seen::Unreadable => Judged::Unreadable,
        Seen::Other => Judged::Heard(Heard::Other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn word(bytes: &[u8]) -> &'static str {
        match judge_tls(bytes) {
            Judged::Heard(Heard::Hello(_)) => "hello",
            Judged::Heard(_) => "other",
            Judged::More => "more",
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
