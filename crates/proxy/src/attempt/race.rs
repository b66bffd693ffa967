//! Addresses of one server are connected to in a race (RFC 8305, "Happy Eyeballs"): the next one begins where the one before fails, or
//! takes longer than a moment, and the first that stands wins. The others are closed before anything was said on them.

use std::collections::VecDeque;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use base::{Fault, Kind, Retry};
use net::dial::{Call, Dialled, dial, is_shortage};
use net::timer::Timer;

use super::checkout::{LATE, Patience, cause, connected, note, own_source, patiently, unconnected};
use super::{Busy, Upstream};
use crate::exchange::Exchange;
use crate::pool::{Lease, Server};
use crate::session::Session;
use crate::snapshot::{Arm, Route};

/// How long an address has before the next one begins, too (RFC 8305 section 5). Where a connect may take less than all of them need
/// for that, each has its part.
const STAGGER: Duration = Duration::from_millis(250);

/// Connects to whichever address is the first, beginning with the one that the lease is for.
pub(super) async fn race(
    session: &mut Session,
    x: &mut Exchange,
    route: &Route,
    arm: &Arm,
    first: Lease,
    tried: &[usize],
) -> Result<Upstream, Fault> {
    let patience = Patience::of(arm);
    let servers = &arm.pool.servers;
    let is_other =
        |number: &usize| servers[*number].slot != first.server().slot && !tried.contains(&servers[*number].slot);
    let others = || (0..servers.len()).filter(is_other);
    // Those that have failed lately come last.
    let (well, ill): (Vec<_>, Vec<_>) = others().partition(|number| servers[*number].is_usable());
    let count = (1 + well.len() + ill.len()) as u32;
    let mut race = Race {
        arm,
        waiting: well.into_iter().chain(ill).collect(),
        legs: Vec::new(),
        due: session.worker.timers.timer(),
        stagger: STAGGER.min(patience.most / count),
        failed: None,
        begun: 0,
    };
    race.begin(x.notes.server.unwrap_or_default(), first);
    let ended = patiently(session, x, route, patience, |_, cx| race.poll(cx)).await;
    // They are no retries, whatever becomes of the request.
    x.notes.tries = x.notes.tries.saturating_add(race.begun - 1);
    x.notes.free = x.notes.free.saturating_add(race.begun - 1);
    let winner = match ended {
        Ok(winner) => winner,
        Err(fault) => {
            if fault.kind == Kind::ConnectTimeout {
                race.legs.iter().for_each(|leg| leg.server.connect_failed(LATE));
            }
            return Err(Fault { retry: Retry::Never, ..fault });
        }
    };
    if let Some((leg, dialled)) = winner {
        // Whoever began before and has not come so far is slower: the next connection begins with the winner.
        race.legs.iter().filter(|other| other.began < leg.began).for_each(|other| other.server.connect_failed(LATE));
        leg.server.connect_succeeded();
        x.notes.server = Some(leg.number);
        return Ok(connected(dialled, leg.busy));
    }
    match race.failed {
        Some((number, error)) if !is_shortage(&error) => {
            x.notes.server = Some(number);
            note(x, &servers[number], &error);
            // All of them are one: what is left to try has been tried.
            Err(Fault { retry: Retry::Never, ..unconnected(&servers[number], &error) })
        }
        failed => {
            x.notes.cause = failed.map(|(_, error)| cause(&error)).unwrap_or_default();
            Err(Fault::proxy(Kind::Overload))
        }
    }
}

struct Race<'a> {
    arm: &'a Arm,
    /// Those that have not begun.
    waiting: VecDeque<usize>,
    legs: Vec<Leg>,
    /// When the next one begins.
    due: Timer,
    stagger: Duration,
    /// The last one that has failed, and how.
    failed: Option<(usize, io::Error)>,
    begun: u8,
}

/// One address.
struct Leg {
    number: usize,
    server: Arc<Server>,
    busy: Busy,
    began: Instant,
    dialling: Pin<Box<dyn Future<Output = io::Result<Dialled>>>>,
}

impl Race<'_> {
    /// Ready with the first that stands, or with nothing if none does.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<(Leg, Dialled)>> {
        loop {
            let mut at = 0;
            let mut has_failed = false;
            while let Some(leg) = self.legs.get_mut(at) {
                match leg.dialling.as_mut().poll(cx) {
                    Poll::Pending => at += 1,
                    Poll::Ready(Ok(dialled)) => return Poll::Ready(Some((self.legs.swap_remove(at), dialled))),
                    Poll::Ready(Err(error)) => {
                        let leg = self.legs.swap_remove(at);
                        if !is_shortage(&error) {
                            leg.server.connect_failed(cause(&error));
                        }
                        self.failed = Some((leg.number, error));
                        has_failed = true;
                    }
                }
            }
            if self.waiting.is_empty() {
                return if self.legs.is_empty() { Poll::Ready(None) } else { Poll::Pending };
            }
            if !has_failed && !self.legs.is_empty() && self.due.poll_expired(cx).is_pending() {
                return Poll::Pending;
            }
            let pool = &self.arm.pool;
            let next = self.waiting.pop_front();
            if let Some((number, lease)) =
                next.and_then(|number| Some((number, pool.servers[number].lease(&pool.gate)?)))
            {
                self.begin(number, lease);
            }
        }
    }

    fn begin(&mut self, number: usize, lease: Lease) {
        let server = Arc::clone(lease.server());
        let (to, source) = (Arc::clone(&server), own_source(self.arm, &server));
        let dialling = Box::pin(async move {
            let call = Call { security: to.security(), source, ..Call::default() };
            dial(&to.id.address, &call).await
        });
        let now = Instant::now();
        self.legs.push(Leg { number, server, busy: Busy::begin(lease), began: now, dialling });
        self.begun += 1;
        self.due.arm(now, self.stagger);
    }
}
