//! A connection, or a stream of one, that has become a tunnel: bytes both ways until one side has had enough.

use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use base::Kind;
use http::Conn;

use super::Session;
use super::closing::close;
use super::gate::Gate;
use crate::attempt::Tunnel;
use crate::exchange::Exchange;
use crate::worker::Worker;
use crate::{finish, quota, relay};

/// Serves a tunnel to its end, in a task of its own: what led to it should not stay with it.
pub(super) fn spawn(session: Session, exchange: Box<Exchange>, switched: Tunnel) {
    tokio::task::spawn_local(serve(session, exchange, switched));
}

/// It may live for days: it holds its counters, and nothing of the snapshot.
fn serve(session: Session, mut exchange: Box<Exchange>, switched: Tunnel) -> impl Future<Output = ()> {
    // Taken apart before it begins, for what is taken apart inside is kept twice.
    let Session { worker, mut client, timer, counted, listener, .. } = session;
    let Tunnel { mut upstream, idle, until, raw, coalesce, account } = switched;
    let down = listener.coalesce.filter(|_| raw);
    let limits = relay::TunnelLimits { idle, until, splice: raw && listener.splice, up: coalesce, down };
    let mut ways = relay::Ways::new(&worker, &timer, limits, std::mem::take(&mut exchange.tolls));
    let mut gate = Gate::of(&listener).filter(|_| raw);
    drop(listener);
    async move {
        // It is kept until the end.
        let _ = &counted;
        let ended = {
            // Once it has let something through, it is gone, and with it the listener as it was.
            let mut hold = |worker: &Rc<Worker>, client: &mut Conn, cx: &mut Context<'_>| match &gate {
                None => Poll::Ready(Ok(())),
                Some(closed) => {
                    let open = ready!(closed.poll(worker, client, &mut exchange, cx));
                    gate = None;
                    Poll::Ready(open)
                }
            };
            let (client, server) = (&mut client, &mut upstream.conn);
            let mut sides = relay::Sides { client, server, timer: &timer, hold: &mut hold };
            poll_fn(|cx| ways.poll(&worker, &mut sides, cx)).await
        };
        let is_denied = ended.fault.is_some_and(|fault| fault.kind == Kind::Denied);
        if raw && ended.fault.is_some() {
            upstream.conn.reset_on_close();
            if !is_denied {
                client.reset_on_close();
            }
        }
        if is_denied {
            close(&client, &timer, &worker).await;
        }
        if ended.fault.is_none() {
            close(&client, &timer, &worker).await;
            close(&upstream.conn, &timer, &worker).await;
        }
        // Something may have gone to the server before it was a tunnel.
        let before = if raw { exchange.notes.bytes_in } else { 0 };
        exchange.notes.bytes_in = before + ended.bytes_in;
        exchange.notes.bytes_out = ended.bytes_out;
        exchange.notes.fault = ended.fault;
        if ended.fault.is_some_and(|fault| fault.kind == Kind::Quota) {
            exchange.notes.fault = Some(quota::spent(&mut exchange));
        }
        exchange.notes.cut = ended.fault.is_some();
        finish::attempt(&worker, &exchange, &upstream, ended.fault);
        finish::record(&worker, &mut exchange, &account.borrowed());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn size<F: Future>(_: impl FnOnce(Session, Box<Exchange>, Tunnel) -> F) -> usize {
        size_of::<F>()
    }

    #[test]
    fn what_may_live_for_days_is_small() {
        assert!(size(serve) <= 832, "{}", size(serve));
    }
}
