//! A flow of UDP whose client speaks it inside of HTTP (RFC 9298): what comes in capsules, or in datagrams of QUIC, goes on as datagrams, and the
//! other way.
//!
//! Nothing is kept for a side that is slow: what the server's socket does not take is lost, as on any way, and what the client does not read
//! waits in the kernel until that has no more room.

use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Instant;

use base::{Fault, Kind, Retry};
use http::{Backlog, Conn};
use net::datagram::{Peer, is_verdict};
use net::quic::Unsent;
use wire::masque::{self, Capsules};

use super::Session;
use super::closing::close;
use crate::attempt::{Correspondent, Datagrams};
use crate::exchange::Exchange;
use crate::finish;
use crate::quota::{self, Meter};

/// Serves a flow to its end, in a task of its own: what led to it should not stay with it.
pub(super) fn spawn(session: Session, mut x: Box<Exchange>, flow: Box<Datagrams>) {
    let Session { worker, mut client, timer, counted, .. } = session;
    tokio::task::spawn_local(async move {
        let _counted = counted;
        let Datagrams { by, idle, until, account } = *flow;
        let mut relay =
            Relay { by, capsules: Capsules::default(), backlog: Backlog::default(), up: (0, 0), down: (0, 0) };
        let arm = || {
            let now = Instant::now();
            timer.arm(now, until.map_or(idle, |until| idle.min(until.saturating_duration_since(now))));
        };
        client.expect_datagrams();
        arm();
        let fault = poll_fn(|cx| {
            if worker.is_cut() {
                return Poll::Ready(Some(Fault::proxy(Kind::Drained)));
            }
            let before = (relay.up, relay.down);
            let mut block = worker.block(masque::MOST);
            let polled = relay.poll(cx, &mut client, &mut block);
            let (come, gone) = (relay.up.0 - before.0.0, relay.down.0 - before.1.0);
            let took = |meter: &Rc<Meter>| meter.took(true, come) & meter.took(false, gone);
            if !x.meter.as_ref().is_none_or(took) {
                return Poll::Ready(Some(quota::spent(&mut x)));
            }
            if polled.is_ready() {
                return polled;
            }
            if before != (relay.up, relay.down) {
                arm();
            }
            timer.poll_expired(cx).map(|()| {
                let is_over = until.is_some_and(|until| Instant::now() >= until);
                Some(Fault::proxy(if is_over { Kind::TotalTimeout } else { Kind::TunnelTimeout }))
            })
        })
        .await;
        let Relay { by, up, down, .. } = relay;
        match fault {
            None => {
                client.shutdown_write();
                close(&client, &timer, &worker).await;
            }
            Some(_) => client.reset_on_close(),
        }
        if let Some(server) = by.server() {
            finish::corresponded(&worker, server, (up.0, down.0), None);
        }
        (x.notes.bytes_in, x.notes.bytes_out) = (up.0, down.0);
        x.notes.datagrams = Some((up.1, down.1));
        x.notes.fault = fault;
        if fault == Some(REFUSED) {
            x.notes.cause = "connection refused".into();
        }
        x.notes.cut = fault.is_some();
        finish::record(&worker, &mut x, &account.borrowed());
    });
}

struct Relay {
    by: Correspondent<Peer>,
    capsules: Capsules,
    /// What the client has not read of its last datagram.
    backlog: Backlog,
    /// Bytes and datagrams from the client, and to it.
    up: (u64, u64),
    down: (u64, u64),
}

/// What a side's turn has come to.
enum Turn {
    /// There is nothing for now.
    Waits,
    /// Others have their turn first.
    GoesOn,
    /// The client has ended it.
    Over,
}

/// How often each side is looked at before others have their turn.
const ROUNDS: usize = 32;
/// QUIC inside counts on it that datagrams of this length get through (RFC 9000 section 14): what is too long for the path to the client, and is not
/// longer than this, goes in a capsule.
const SURE: usize = 1200;

const GONE: Fault = Fault::client(Kind::ClientGone);
const REFUSED: Fault = Fault::server(Kind::Connect, Retry::Never);

impl Relay {
    /// Ready when it is over, with what has ended it before its client has.
    fn poll(&mut self, cx: &mut Context<'_>, client: &mut Conn, block: &mut [u8]) -> Poll<Option<Fault>> {
        // All three are looked at, so that each can wake us.
        let mut goes_on = false;
        for turn in [Relay::capsules, Relay::datagrams, Relay::answers] {
            match turn(self, cx, client, block) {
                Ok(Turn::Waits) => {}
                Ok(Turn::GoesOn) => goes_on = true,
                Ok(Turn::Over) => return Poll::Ready(None),
                Err(fault) => return Poll::Ready(Some(fault)),
            }
        }
        if goes_on {
            cx.waker().wake_by_ref();
        }
        Poll::Pending
    }

    /// What the client has said on its stream.
    fn capsules(&mut self, cx: &mut Context<'_>, client: &mut Conn, block: &mut [u8]) -> Result<Turn, Fault> {
        for _ in 0..ROUNDS {
            let read =
                if client.has_carry() { Poll::Ready(Ok(client.unkeep(block))) } else { client.poll_read(cx, block) };
            let length = match read {
                Poll::Pending => return Ok(Turn::Waits),
                Poll::Ready(Ok(0)) if self.capsules.is_inside() => return Err(GONE),
                Poll::Ready(Ok(0)) => return Ok(Turn::Over),
                Poll::Ready(Ok(length)) => length,
                Poll::Ready(Err(_)) => return Err(GONE),
            };
            let (line, up) = (&self.by.line, &mut self.up);
            let mut sent = Ok(());
            let read = self.capsules.read(&block[..length], |datagram| {
                let last = send(line, up, datagram);
                sent = sent.and(last);
            });
            sent?;
            read.map_err(|_| Fault::client(Kind::Malformed))?;
        }
        Ok(Turn::GoesOn)
    }

    /// What the client has sent beside its stream.
    fn datagrams(&mut self, cx: &mut Context<'_>, client: &mut Conn, block: &mut [u8]) -> Result<Turn, Fault> {
        for _ in 0..ROUNDS {
            let Poll::Ready(length) = client.poll_datagram(cx, block) else { return Ok(Turn::Waits) };
            if let Some(datagram) = masque::of_udp(&block[..length]) {
                send(&self.by.line, &mut self.up, datagram)?;
            }
        }
        Ok(Turn::GoesOn)
    }

    /// What the server has sent.
    fn answers(&mut self, cx: &mut Context<'_>, client: &mut Conn, block: &mut [u8]) -> Result<Turn, Fault> {
        let mut capsule = Vec::new();
        for _ in 0..ROUNDS {
            match self.backlog.poll_flush(cx, client) {
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(_)) => return Err(GONE),
                Poll::Pending => return Ok(Turn::Waits),
            }
            let length = match self.by.line.poll_receive(cx, block) {
                Poll::Pending => return Ok(Turn::Waits),
                Poll::Ready(Ok(length)) => length,
                Poll::Ready(Err(error)) if is_verdict(&error) => return Err(REFUSED),
                // It was told of a datagram that is lost; there may be others.
                Poll::Ready(Err(_)) => continue,
            };
            self.down = (self.down.0 + length as u64, self.down.1 + 1);
            let datagram = &block[..length];
            match client.send_datagram(&[masque::FRONT, datagram]) {
                Ok(()) => {}
                // Whoever looks for what the way carries has found out.
                Err(Unsent::TooLong) if length > SURE => {}
                Err(Unsent::TooLong | Unsent::Unwanted) => {
                    capsule.clear();
                    masque::write(datagram, &mut capsule);
                    self.backlog.push(cx, client, &capsule).map_err(|_| GONE)?;
                }
            }
        }
        Ok(Turn::GoesOn)
    }
}

fn send(line: &Peer, up: &mut (u64, u64), datagram: &[u8]) -> Result<(), Fault> {
    (up.0, up.1) = (up.0 + datagram.len() as u64, up.1 + 1);
    match line.send(datagram) {
        Err(error) if is_verdict(&error) => Err(REFUSED),
        _ => Ok(()),
    }
}
