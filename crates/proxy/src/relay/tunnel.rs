//! A tunnel: after an upgrade both sides say what they like, until both have finished or all is silent.

use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use base::{Fault, Kind, Retry};
use http::{BodyReader, BodyWriter, Conn};
use net::timer::Timer;

use super::{Coalesce, Pump, Stop, Tolls};
use crate::worker::Worker;

/// What went through a tunnel, and how it ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) bytes_in: u64,
    pub(crate) bytes_out: u64,
    pub(crate) fault: Option<Fault>,
}

/// How long a tunnel may be silent, when it ends whatever is said, and whether large amounts go through pipes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TunnelLimits {
    pub(crate) idle: Duration,
    pub(crate) until: Option<Instant>,
    pub(crate) splice: bool,
    /// Which small pieces wait for others, on the way to the server and on the way to the client.
    pub(crate) up: Option<Coalesce>,
    pub(crate) down: Option<Coalesce>,
}

/// Whether what a client says may go on; asked until it may.
pub(crate) type Hold<'a> = dyn FnMut(&Rc<Worker>, &mut Conn, &mut Context<'_>) -> Poll<Result<(), Fault>> + 'a;

/// Relays both ways. What the client says waits as long as `hold` is not ready. One side's end is passed on; the other may still speak.
pub(crate) fn tunnel<'a>(
    worker: &'a Rc<Worker>,
    client: &'a mut Conn,
    server: &'a mut Conn,
    timer: &'a Timer,
    limits: TunnelLimits,
    hold: &'a mut Hold<'_>,
    tolls: Tolls,
) -> impl Future<Output = Ended> + 'a {
    // Taken apart before it begins, for what is taken apart inside is kept for as long as it lives.
    let TunnelLimits { idle, until, splice, .. } = limits;
    let mut up = Pump::new(BodyReader::UntilClose, BodyWriter::Plain, splice);
    let mut down = Pump::new(BodyReader::UntilClose, BodyWriter::Plain, splice);
    (up.toll, down.toll) = (tolls.up, tolls.down);
    if let Some(said) = limits.up {
        up.gather(worker, said);
    }
    if let Some(said) = limits.down {
        down.gather(worker, said);
    }
    async move {
        let (mut up_open, mut down_open, mut is_held) = (true, true, true);
        let arm = || {
            let now = Instant::now();
            timer.arm(now, until.map_or(idle, |until| idle.min(until.saturating_duration_since(now))));
        };
        arm();
        let fault = poll_fn(|cx| {
            if worker.is_cut() {
                return Poll::Ready(Some(Fault::proxy(Kind::Drained)));
            }
            let before = (up.content, down.content);
            if is_held && let Poll::Ready(open) = hold(worker, client, cx) {
                if let Err(fault) = open {
                    return Poll::Ready(Some(fault));
                }
                is_held = false;
            }
            if up_open
                && !is_held
                && let Poll::Ready(ended) = up.poll(cx, worker, client, server)
            {
                match ended {
                    Ok(()) => end(server, !down_open),
                    Err(Stop::Spent) => return Poll::Ready(Some(SPENT)),
                    Err(Stop::Source(_)) => return Poll::Ready(Some(Fault::client(Kind::ClientGone))),
                    Err(_) => return Poll::Ready(Some(Fault::server(Kind::Truncated, Retry::Never))),
                }
                up_open = false;
            }
            if down_open && let Poll::Ready(ended) = down.poll(cx, worker, server, client) {
                match ended {
                    Ok(()) => end(client, !up_open),
                    Err(Stop::Spent) => return Poll::Ready(Some(SPENT)),
                    Err(Stop::Source(_)) => return Poll::Ready(Some(Fault::server(Kind::Truncated, Retry::Never))),
                    Err(_) => return Poll::Ready(Some(Fault::client(Kind::ClientGone))),
                }
                down_open = false;
            }
            // Whoever answers has been waiting, or is waited for.
            if up_open && down.content > before.1 && up.hurry(cx, server).is_err() {
                return Poll::Ready(Some(Fault::server(Kind::Truncated, Retry::Never)));
            }
            if down_open && up.content > before.0 && down.hurry(cx, client).is_err() {
                return Poll::Ready(Some(Fault::client(Kind::ClientGone)));
            }
            if !up_open && !down_open {
                return Poll::Ready(None);
            }
            if std::mem::take(&mut up.moved) | std::mem::take(&mut down.moved) {
                arm();
            }
            timer.poll_expired(cx).map(|()| {
                let is_over = until.is_some_and(|until| Instant::now() >= until);
                Some(Fault::proxy(if is_over { Kind::TotalTimeout } else { Kind::TunnelTimeout }))
            })
        })
        .await;
        Ended { bytes_in: up.content, bytes_out: down.content, fault }
    }
}

/// Passes on the end of what was said to one side. If both sides have ended, a plain connection is closed next, which says the same.
fn end(to: &mut Conn, is_over: bool) {
    if !is_over || to.plain().is_none() {
        to.shutdown_write();
    }
}

const SPENT: Fault = Fault::client(Kind::Quota);
