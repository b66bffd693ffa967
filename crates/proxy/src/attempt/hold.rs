//! A text that is held back until it has been read, or as much of it as may be.

use std::future::poll_fn;
use std::task::{Poll, ready};
use std::time::Instant;

use base::{Fault, Kind};
use tokio::task::yield_now;

use super::deliver::of_response;
use super::send::is_client_gone;
use super::{GONE, Upstream, bounded, expired};
use crate::exchange::Exchange;
use crate::filter::{self, Known, Reading, Refusal, Unread};
use crate::quota;
use crate::relay::{PIECE, Pump, Stop};
use crate::session::Session;
use crate::snapshot::{Arm, Route};

/// What has been read of a response whose client has nothing of it yet.
#[derive(Debug, Default)]
pub(super) struct Held {
    pub(super) content: Vec<u8>,
    /// No more than this may come.
    pub(super) most: Option<u64>,
}

impl Held {
    /// Reads the response until all filters know what it is. Answers why it is refused, if it is.
    ///
    /// # Errors
    /// It did not come, or its client has left.
    pub(super) async fn read<'a>(
        &mut self,
        session: &mut Session,
        x: &mut Exchange,
        route: &'a Route,
        arm: &Arm,
        upstream: &mut Upstream,
        down: &mut Pump,
    ) -> Result<Option<Refusal<'a>>, Fault> {
        let mut reading = match Reading::of(route, &x.response, x.facts.client, Instant::now()) {
            Ok((reading, places)) => {
                x.places = places;
                reading
            }
            Err(known) => return Ok(settled(x, known)),
        };
        if let Some((block, range)) = upstream.surplus.take() {
            upstream.conn.keep(&block[range]);
        }
        let mut judged = 0;
        loop {
            match self.judge(&mut reading, judged).await {
                Ok(()) => judged = self.content.len(),
                Err(known) => return Ok(settled(x, known)),
            }
            if self.most.is_some_and(|most| self.content.len() as u64 > most) {
                return Ok(filter::most(route).map(|(_, filter)| filter.too_long()));
            }
            if down.is_read() {
                return Ok(settled(x, reading.end()));
            }
            if let Err(known) = reading.held(self.content.len(), Instant::now()) {
                return Ok(settled(x, known));
            }
            self.hear(session, x, route, arm, upstream, down, &mut reading).await?;
        }
    }

    /// Reads on in what is held.
    async fn judge<'a>(&self, reading: &mut Reading<'a>, from: usize) -> Result<(), Known<'a>> {
        for mut piece in self.content[from..].chunks(PIECE) {
            while reading.step(&mut piece)? {
                yield_now().await;
            }
            yield_now().await;
        }
        Ok(())
    }

    /// Waits for more content, and no longer than it is waited for. The rest of the request goes on meanwhile: as long as it moves, the
    /// server may have to wait for it.
    #[expect(clippy::too_many_arguments, reason = "both sides of an exchange, and who says until when")]
    async fn hear(
        &mut self,
        session: &mut Session,
        x: &mut Exchange,
        route: &Route,
        arm: &Arm,
        upstream: &mut Upstream,
        down: &mut Pump,
        reading: &mut Reading<'_>,
    ) -> Result<(), Fault> {
        let mut until = wait(session, x, route, arm, reading);
        let mut broken = x.upload.is_done();
        poll_fn(|cx| {
            if session.worker.is_cut() {
                return Poll::Ready(Err(Fault::proxy(Kind::Drained)));
            }
            if !broken
                && let Poll::Ready(ended) = x.upload.poll(cx, &session.worker, &mut session.client, &mut upstream.conn)
            {
                broken = true;
                x.client.keep_alive &= ended.is_ok();
                if ended == Err(Stop::Spent) {
                    return Poll::Ready(Err(quota::spent(x)));
                }
            }
            match down.poll_into(cx, &session.worker, &mut upstream.conn, &mut self.content) {
                Poll::Ready(Ok(())) => return Poll::Ready(Ok(())),
                Poll::Ready(Err(stop)) => return Poll::Ready(Err(of_response(x, stop))),
                Poll::Pending => {}
            }
            if session.client.is_taken_back(cx) || (x.upload.is_done() && is_client_gone(session, cx)) {
                return Poll::Ready(Err(GONE));
            }
            if std::mem::take(&mut x.upload.moved) {
                reading.put_off(Instant::now());
                until = wait(session, x, route, arm, reading);
            }
            ready!(session.timer.poll_expired(cx));
            if Instant::now() >= until {
                return Poll::Ready(Ok(()));
            }
            Poll::Ready(Err(expired(x, route, Fault::proxy(Kind::StreamTimeout))))
        })
        .await
    }
}

/// Sets the timer, and answers when the text has been waited for.
fn wait(session: &mut Session, x: &Exchange, route: &Route, arm: &Arm, reading: &Reading<'_>) -> Instant {
    let now = Instant::now();
    let until = reading.until().unwrap_or(now);
    session.timer.arm(now, bounded(x, route, arm.timeouts.stream).min(until.saturating_duration_since(now)));
    until
}

/// What follows from what is known.
fn settled<'a>(x: &mut Exchange, known: Known<'a>) -> Option<Refusal<'a>> {
    match known {
        Known::Refused(refusal) => Some(refusal),
        Known::Passes(unread) => {
            x.notes.unread = unread.map_or("", Unread::word);
            None
        }
    }
}

/// What is held, as it becomes on its way.
///
/// # Errors
/// There is no memory.
pub(super) async fn changed(down: &mut Pump, content: Vec<u8>) -> Result<Vec<u8>, Stop> {
    let mut made = Vec::new();
    for piece in content.chunks(PIECE) {
        down.change(piece, &mut made)?;
        yield_now().await;
    }
    Ok(made)
}
