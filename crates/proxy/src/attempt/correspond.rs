//! A server for a flow of datagrams: chosen, and written to at once, for there is nothing to wait for.

use std::borrow::Cow;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use base::{Fault, Kind, Retry};
use net::Address;
use net::datagram::Line;
use net::dial::is_shortage;

use super::Busy;
use super::checkout::cause;
use super::choose::{Choice, choose_new};
use super::retry::{afford, count, meet};
use crate::exchange::Exchange;
use crate::finish;
use crate::pool::{Entry, Server};
use crate::snapshot::Arm;
use crate::sticky;
use crate::worker::Worker;

/// A server and the way to it. The server counts a request in flight, and a connection, for as long as this lives.
pub(crate) struct Correspondent<L = Line> {
    /// The way.
    pub(crate) line: L,
    busy: Busy,
}

/// What speaks of a server that cannot be written to.
pub(crate) const REFUSED: Fault = Fault::server(Kind::Connect, Retry::Always);

/// Finds a server that was not tried yet, if there is one, and opens a way to it. `known` is the one whose connection the datagram is
/// of, if that can be told. A further try is counted for as long as `retrying` lives.
///
/// # Errors
/// There is none that may be used, or none to which there is a way.
pub(crate) fn correspond<L>(
    worker: &Worker,
    x: &mut Exchange,
    arm: &Arm,
    known: Option<usize>,
    tried: &mut Vec<usize>,
    retrying: &mut Option<Entry>,
    mut open: impl FnMut(SocketAddr) -> io::Result<L>,
) -> Result<Correspondent<L>, Fault> {
    let pool = &arm.pool;
    if !x.notes.counted {
        count(x, arm)?;
    }
    let is_usable = |number: &usize| pool.servers[*number].is_usable_for_its_own();
    // The table is asked in any case: it is told below who serves the client.
    let stuck = sticky::own(x, pool);
    let own = known.filter(is_usable).or(stuck).filter(|number| arm.roster().members[*number]);
    let wish = arm.roster().wish(|| x.facts.view(&x.request));
    loop {
        let (number, lease) = match choose_new(worker, arm, wish, own.filter(|_| tried.is_empty()), tried) {
            Choice::Lease(number, lease) => (number, lease),
            // Nobody waits with a datagram in the hand.
            Choice::Saturated => return Err(Fault::proxy(Kind::QueueFull)),
            _ => return Err(Fault::proxy(Kind::NoServer)),
        };
        x.notes.tries = x.notes.tries.saturating_add(1);
        x.notes.server = Some(number);
        let server = Arc::clone(lease.server());
        let Address::Tcp(to) = server.id.address else { return Err(Fault::proxy(Kind::NoServer)) };
        match open(to) {
            Ok(line) => {
                sticky::tell(x, pool);
                return Ok(Correspondent { line, busy: Busy::begin(lease) });
            }
            Err(error) if is_shortage(&error) => {
                x.notes.cause = cause(&error);
                return Err(Fault::proxy(Kind::Overload));
            }
            Err(error) => x.notes.cause = cause(&error),
        }
        server.connect_failed(x.notes.cause.clone());
        finish::unconnected(worker, x, arm, REFUSED);
        if !may_try_another(x, arm, retrying) {
            return Err(REFUSED);
        }
        tried.push(server.slot);
        x.notes.cause = Cow::Borrowed("");
    }
}

/// Whether what a server has refused goes to another one, which counts for as long as `retrying` lives.
pub(crate) fn may_try_another(x: &mut Exchange, arm: &Arm, retrying: &mut Option<Entry>) -> bool {
    if u32::from(x.notes.tries) > arm.retries.extra || !arm.retries.connect {
        return false;
    }
    let afforded = afford(arm, retrying, Instant::now());
    afforded.map_err(|limit| meet(x, arm, limit)).is_ok()
}

impl<L> Correspondent<L> {
    /// The server.
    pub(crate) fn server(&self) -> Option<&Arc<Server>> {
        self.busy.server()
    }
}
