//! A response that nobody wants: read to its end, so that its connection can be used again.

use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use base::{Fault, Kind, Retry};
use http::{BodyReader, Conn};

use super::deliver::server_keeps_open;
use super::{Upstream, bounded, expired};
use crate::exchange::Exchange;
use crate::finish;
use crate::session::Session;
use crate::snapshot::{Arm, Route};
use crate::worker::Worker;

/// Reads the rest of the response and forgets it.
pub(crate) async fn discard(
    session: &Session,
    x: &mut Exchange,
    route: &Route,
    arm: &Arm,
    mut upstream: Upstream,
) -> Result<(), Fault> {
    x.notes.status = x.response.status();
    let reusable = x.response.status() != 101 && server_keeps_open(&x.response);
    if let Some((block, range)) = upstream.surplus.take() {
        upstream.conn.keep(&block[range]);
    }
    let mut rest =
        Rest { reader: upstream.conn.body_reader(x.response.framing()), starved: false, content: 0, moved: true };
    let result = poll_fn(|cx| {
        if let Poll::Ready(ended) = rest.poll(cx, &session.worker, &mut upstream.conn) {
            return Poll::Ready(ended);
        }
        if std::mem::take(&mut rest.moved) {
            session.timer.arm(Instant::now(), bounded(x, route, arm.timeouts.stream));
        }
        ready!(session.timer.poll_expired(cx));
        Poll::Ready(Err(expired(x, route, Fault::proxy(Kind::StreamTimeout))))
    })
    .await;
    x.notes.bytes_out = rest.content;
    finish::attempt(&session.worker, x, &upstream, result.err());
    result?;
    if reusable && x.upload.is_done() && !upstream.conn.has_carry() {
        finish::park(session, x, arm, upstream);
    }
    Ok(())
}

/// What is left of a response.
struct Rest {
    reader: BodyReader,
    /// What the reader could not use must be read again with more behind it.
    starved: bool,
    content: u64,
    /// Something has come since the caller looked last.
    moved: bool,
}

impl Rest {
    fn poll(&mut self, cx: &mut Context<'_>, worker: &Rc<Worker>, conn: &mut Conn) -> Poll<Result<(), Fault>> {
        const BROKEN: Fault = Fault::server(Kind::Truncated, Retry::Never);
        while !self.reader.is_done() {
            let mut block = worker.block(conn.carry().len() + 4096);
            let length = if conn.has_carry() && !self.starved {
                conn.unkeep(&mut block)
            } else {
                let kept = conn.carry().len();
                let length = ready!(conn.poll_bytes(cx, &mut block)).map_err(|_| BROKEN)?;
                if length == kept && !self.reader.ended(conn.take_trailers()) {
                    return Poll::Ready(Err(BROKEN));
                }
                length
            };
            self.moved = true;
            let content = &mut self.content;
            let used = self.reader.take(&block[..length], |part| *content += part.len() as u64).map_err(|_| BROKEN)?;
            self.starved = used < length && !self.reader.is_done();
            if used < length {
                conn.keep(&block[used..length]);
            }
        }
        Poll::Ready(Ok(()))
    }
}
