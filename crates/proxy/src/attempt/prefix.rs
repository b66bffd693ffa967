//! What of a request's body is read before the request is sent.

use std::future::poll_fn;
use std::task::{Context, Poll, Waker, ready};
use std::time::Instant;

use base::{Fault, Kind};

use super::{GONE, of_client};
use crate::exchange::Exchange;
use crate::reply;
use crate::session::Session;

/// Takes what of the body came with the head: it can be sent with the head, and again.
pub(super) fn prefetch_what_is_here(session: &mut Session, x: &mut Exchange) -> Result<(), Fault> {
    if x.upload.is_read() || !session.client.has_content() {
        return Ok(());
    }
    if !session.client.has_carry() {
        return prefetch_lane(session, x);
    }
    let mut block = session.worker.block(session.client.carry().len());
    let length = session.client.unkeep(&mut block);
    let used = x.upload.prefetch(&block[..length], &mut x.prefix).map_err(|stop| of_client(x, stop))?;
    session.client.keep(&block[used..length]);
    Ok(())
}

/// The same where content is not mixed with what stands between it. No more than a head's share: the rest follows as it is taken.
fn prefetch_lane(session: &mut Session, x: &mut Exchange) -> Result<(), Fault> {
    let mut block = session.worker.block(0);
    let mut cx = Context::from_waker(Waker::noop());
    while let Poll::Ready(read) = session.client.poll_read(&mut cx, &mut block) {
        let count = read.map_err(|_| GONE)?;
        if count == 0 {
            return x.upload.finish_early(&mut session.client, &mut x.prefix).map_err(|stop| of_client(x, stop));
        }
        x.upload.prefetch(&block[..count], &mut x.prefix).map_err(|stop| of_client(x, stop))?;
        if x.prefix.len() >= block.len() {
            break;
        }
    }
    Ok(())
}

/// Reads the body until it ends or `limit` bytes of it are here, for a predicate that wants to see it.
pub(crate) async fn read_prefix(session: &mut Session, x: &mut Exchange, limit: usize) -> Result<(), Fault> {
    prefetch_what_is_here(session, x)?;
    if x.client.awaits_continue && !x.upload.is_read() {
        x.client.awaits_continue = false;
        reply::say_continue(session, x).await?;
    }
    let gap = session.listener.default.request_body;
    while !x.upload.is_read() && x.prefix.len() <= limit {
        let now = Instant::now();
        session.timer.arm(now, gap);
        poll_fn(|cx| {
            if session.timer.poll_expired(cx).is_ready() {
                return Poll::Ready(Err(Fault::client(Kind::BodyTimeout)));
            }
            let mut block = session.worker.block(session.client.carry().len() + 4096);
            let kept = session.client.carry().len();
            let length = ready!(session.client.poll_bytes(cx, &mut block)).map_err(|_| GONE)?;
            if length == kept {
                return Poll::Ready(
                    x.upload.finish_early(&mut session.client, &mut x.prefix).map_err(|stop| of_client(x, stop)),
                );
            }
            let used = x.upload.prefetch(&block[..length], &mut x.prefix).map_err(|stop| of_client(x, stop))?;
            session.client.keep(&block[used..length]);
            Poll::Ready(Ok(()))
        })
        .await?;
    }
    Ok(())
}
