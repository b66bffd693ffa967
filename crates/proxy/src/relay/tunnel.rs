//! A tunnel: after an upgrade both sides say what they like, until both have finished or all is silent.

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

/// The two sides of a tunnel, and what it is awaited with.
pub(crate) struct Sides<'a, 'h> {
    pub(crate) client: &'a mut Conn,
    pub(crate) server: &'a mut Conn,
    pub(crate) timer: &'a Timer,
    pub(crate) hold: &'a mut Hold<'h>,
}

/// Both ways through a tunnel.
#[derive(Debug)]
pub(crate) struct Ways {
    up: Pump,
    down: Pump,
    idle: Duration,
    until: Option<Instant>,
    up_open: bool,
    down_open: bool,
    is_held: bool,
}

impl Ways {
    /// Nothing has gone through yet. Its time begins.
    pub(crate) fn new(worker: &Rc<Worker>, timer: &Timer, limits: TunnelLimits, tolls: Tolls) -> Ways {
        let pump = |gather: Option<Coalesce>, toll| {
            let mut pump = Pump::new(BodyReader::UntilClose, BodyWriter::Plain, limits.splice);
            pump.toll = toll;
            if let Some(said) = gather {
                pump.gather(worker, said);
            }
            pump
        };
        let (up, down) = (pump(limits.up, tolls.up), pump(limits.down, tolls.down));
        let TunnelLimits { idle, until, .. } = limits;
        let ways = Ways { up, down, idle, until, up_open: true, down_open: true, is_held: true };
        ways.arm(timer);
        ways
    }

    /// Relays both ways. What the client says waits as long as `hold` is not ready. One side's end is passed on; the other may still speak.
    pub(crate) fn poll(&mut self, worker: &Rc<Worker>, sides: &mut Sides<'_, '_>, cx: &mut Context<'_>) -> Poll<Ended> {
        self.relay(worker, sides, cx).map(|fault| Ended {
            bytes_in: self.up.content,
            bytes_out: self.down.content,
            fault,
        })
    }

    fn relay(&mut self, worker: &Rc<Worker>, sides: &mut Sides<'_, '_>, cx: &mut Context<'_>) -> Poll<Option<Fault>> {
        let Sides { client, server, timer, hold } = sides;
        if worker.is_cut() {
            return Poll::Ready(Some(Fault::proxy(Kind::Drained)));
        }
        let before = (self.up.content, self.down.content);
        if self.is_held
            && let Poll::Ready(open) = hold(worker, client, cx)
        {
            if let Err(fault) = open {
                return Poll::Ready(Some(fault));
            }
            self.is_held = false;
        }
        if self.up_open
            && !self.is_held
            && let Poll::Ready(ended) = self.up.poll(cx, worker, client, server)
        {
            match ended {
                Ok(()) => end(server, !self.down_open),
                Err(Stop::Spent) => return Poll::Ready(Some(SPENT)),
                Err(Stop::Source(_)) => return Poll::Ready(Some(Fault::client(Kind::ClientGone))),
                Err(_) => return Poll::Ready(Some(Fault::server(Kind::Truncated, Retry::Never))),
            }
            self.up_open = false;
        }
        if self.down_open
            && let Poll::Ready(ended) = self.down.poll(cx, worker, server, client)
        {
            match ended {
                Ok(()) => end(client, !self.up_open),
                Err(Stop::Spent) => return Poll::Ready(Some(SPENT)),
                Err(Stop::Source(_)) => return Poll::Ready(Some(Fault::server(Kind::Truncated, Retry::Never))),
                Err(_) => return Poll::Ready(Some(Fault::client(Kind::ClientGone))),
            }
            self.down_open = false;
        }
        // Whoever answers has been waiting, or is waited for.
        if self.up_open && self.down.content > before.1 && self.up.hurry(cx, server).is_err() {
            return Poll::Ready(Some(Fault::server(Kind::Truncated, Retry::Never)));
        }
        if self.down_open && self.up.content > before.0 && self.down.hurry(cx, client).is_err() {
            return Poll::Ready(Some(Fault::client(Kind::ClientGone)));
        }
        if !self.up_open && !self.down_open {
            return Poll::Ready(None);
        }
        if std::mem::take(&mut self.up.moved) | std::mem::take(&mut self.down.moved) {
            self.arm(timer);
        }
        timer.poll_expired(cx).map(|()| {
            let is_over = self.until.is_some_and(|until| Instant::now() >= until);
            Some(Fault::proxy(if is_over { Kind::TotalTimeout } else { Kind::TunnelTimeout }))
        })
    }

    fn arm(&self, timer: &Timer) {
        let now = Instant::now();
        let most = self.until.map(|until| until.saturating_duration_since(now));
        timer.arm(now, most.map_or(self.idle, |most| self.idle.min(most)));
    }
}

/// Passes on the end of what was said to one side. If both sides have ended, a plain connection is closed next, which says the same.
fn end(to: &mut Conn, is_over: bool) {
    if !is_over || to.plain().is_none() {
        to.shutdown_write();
    }
}

const SPENT: Fault = Fault::client(Kind::Quota);
