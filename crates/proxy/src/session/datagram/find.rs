//! How a flow finds its server: by routes, like everything else, and another one where that fails.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Instant;

use base::{Fault, Kind};
use net::datagram::{Arrival, LineId};
use net::dial::is_shortage;

use super::Driver;
use super::flow::{Flow, Served, Standing};
use super::table::{Lasts, Number, Pair, Table};
use crate::attempt::{self, correspond};
use crate::exchange::{self, Exchange};
use crate::finish::Account;
use crate::pool::Entry;
use crate::session::{Origin, way};
use crate::snapshot::{Arm, Ending, Listener, Role, Route};
use crate::worker::Worker;

/// The first datagram of a flow is kept until its server has answered, if it is not longer than this.
const KEPT: usize = 2048;

impl Driver {
    /// A flow begins, if there is room for it.
    pub(super) fn welcome(&mut self, pair: Pair, arrival: &Arrival<'_>, now: Instant) -> Option<Number> {
        if self.is_leaving {
            return None;
        }
        let snapshot = self.worker.pin();
        let listener = snapshot.listener(self.at.listener).filter(|listener| listener.role == Role::Udp)?;
        let counters = listener.connections.shard(self.worker.id);
        counters.accepted();
        if listener.active() >= listener.max_connections && !self.make_room() {
            counters.refused();
            let most = listener.max_connections;
            self.complain(now, || format!("there are {most} flows: new ones are refused"));
            return None;
        }
        let mut x = self.worker.exchange();
        x.began(None);
        x.client.is_flow = true;
        let origin = Origin {
            listener: self.at.listener,
            bind: self.at.bind,
            peer: Some(pair.client),
            port: self.at.port,
            early: false,
            led: false,
        };
        x.came(&self.worker, &origin, None);
        let (route, arm) = self.route(&mut x, listener);
        let account = Account::of(listener, route, &x.notes).owned();
        let flow = Flow::new(&x, account, self.counted());
        let number = self.table.add(pair, now, lasts(route, arm), flow);
        self.serve(number, &mut x, (listener, route, arm), Vec::new(), first_of(arrival), now);
        self.worker.recycle(x);
        Some(number)
    }

    /// The oldest flow that no server has answered gives its place to a new one, if there is any.
    fn make_room(&mut self) -> bool {
        let oldest = self.table.unanswered();
        oldest.inspect(|number| self.end(*number, Some(Fault::proxy(Kind::Overload)))).is_some()
    }

    /// Looks for a server again, by the configuration as it is now: not one that has just refused, if there is another.
    pub(super) fn find_again(&mut self, number: Number, arrival: &Arrival<'_>, now: Instant) {
        self.look_again(number, first_of(arrival), now, |_, _, _| true);
    }

    /// Sends to another server what the first one has refused, if that is asked for: the client has seen nothing of it.
    pub(super) fn send_elsewhere(&mut self, number: Number, now: Instant) {
        let Some(first) = self.table.get(number).and_then(Flow::served).and_then(|served| served.first.take()) else {
            return;
        };
        let Some(pair) = self.table.pair(number) else { return };
        if self.look_again(number, &first, now, attempt::may_try_another) {
            let arrival =
                Arrival { from: pair.client, to: pair.asked, ecn: None, bytes: &first, each: first.len().max(1) };
            if !self.pass(number, &arrival, now) {
                self.lost(1);
            }
        }
    }

    /// Says whether it was looked.
    fn look_again(
        &mut self,
        number: Number,
        datagram: &[u8],
        now: Instant,
        may: impl FnOnce(&mut Exchange, &Arm, &mut Option<Entry>) -> bool,
    ) -> bool {
        let snapshot = self.worker.pin();
        let Some(pair) = self.table.pair(number) else { return false };
        let Some(listener) = snapshot.listener(self.at.listener).filter(|listener| listener.role == Role::Udp) else {
            return false;
        };
        let mut x = self.worker.exchange();
        let Some(flow) = self.table.get(number) else { return false };
        flow.recall(&mut x, pair.client);
        let refused = flow.served().filter(|served| served.refuses).and_then(|served| served.by.server());
        let tried: Vec<usize> = refused.map(|server| server.slot).into_iter().collect();
        let (route, arm) = self.route(&mut x, listener);
        let mut retrying = None;
        let looks = arm.is_none_or(|arm| may(&mut x, arm, &mut retrying));
        if looks {
            if let Some(flow) = self.table.get(number) {
                flow.retrying = retrying;
            }
            self.table.set_lasts(number, lasts(route, arm));
            self.serve(number, &mut x, (listener, route, arm), tried, datagram, now);
        }
        self.worker.recycle(x);
        looks
    }

    /// Finds the route, and the pool that it leads to, if it does.
    fn route<'a>(&self, x: &mut Exchange, listener: &'a Listener) -> (&'a Arc<Route>, Option<&'a Arm>) {
        let route = way::find(listener, x, self.at.port, &[]);
        let arm = match &route.ending {
            Ending::Pools(arms) => Some(exchange::choose(&self.worker, x, arms)),
            // Others end requests.
            _ => None,
        };
        (route, arm)
    }

    /// Gives a flow its server, or notes why it has none.
    fn serve(
        &mut self,
        number: Number,
        x: &mut Exchange,
        (listener, route, arm): (&Listener, &Route, Option<&Arm>),
        mut tried: Vec<usize>,
        datagram: &[u8],
        now: Instant,
    ) {
        let mut retrying = self.table.get(number).and_then(|flow| flow.retrying.take());
        let mut shortage = None;
        let found = match (arm, &route.ending) {
            (None, Ending::Close { .. }) => Err(Fault::client(Kind::Denied)),
            (None, _) => Err(Fault::client(Kind::NoRoute)),
            (Some(arm), _) => {
                // A client that begins anew, at another address, may be in the middle of something.
                let known = arm.pool.quic.as_ref().filter(|_| tried.is_empty());
                let known = known.and_then(|quic| quic.find(&arm.pool.servers, datagram, now));
                let (worker, lines, table) = (&self.worker, &self.lines, &mut self.table);
                let open = |to| {
                    let opened = lines.open(to, LineId(number.pack()));
                    let Err(error) = opened.as_ref() else { return opened };
                    if !is_shortage(error) {
                        return opened;
                    }
                    shortage = Some(error.to_string());
                    if give_way(worker, table, number) { lines.open(to, LineId(number.pack())) } else { opened }
                };
                correspond(worker, x, arm, known, &mut tried, &mut retrying, open).map(|by| (by, arm))
            }
        };
        if let Some(error) = shortage {
            self.complain(now, || format!("no descriptor or port is left for another flow: {error}"));
        }
        let generation = self.worker.pin().generation;
        let Some(flow) = self.table.get(number) else { return };
        flow.account = Account::of(listener, route, &x.notes).owned();
        (flow.tries, flow.counted) = (x.notes.tries, x.notes.counted);
        flow.cause = if found.is_err() { std::mem::take(&mut x.notes.cause) } else { Cow::Borrowed("") };
        flow.entry = x.entry.take().or(flow.entry.take());
        (flow.fault, flow.standing) = match found {
            Ok((by, arm)) => {
                let may_repeat = arm.retries.extra > 0 && arm.retries.connect && arm.pool.servers.len() > 1;
                let first = Some(datagram).filter(|first| may_repeat && first.len() <= KEPT);
                let ids = arm.pool.quic.as_ref().and_then(|quic| quic.learns());
                flow.retrying = retrying;
                (None, Standing::Served(Served::new(by, first, ids, lasts(route, Some(arm)))))
            }
            Err(fault) if matches!(fault.kind, Kind::Denied | Kind::NoRoute) => {
                (Some(fault), Standing::Denied(generation))
            }
            Err(fault) => (Some(fault), Standing::Unserved),
        };
    }
}

/// The oldest flow that has a server which has not answered gives up its descriptor and its port to this one, if there is any. Whoever
/// stands before it in the line has neither and will get neither.
fn give_way(worker: &Worker, table: &mut Table<Flow>, to: Number) -> bool {
    while let Some(oldest) = table.unanswered().filter(|oldest| *oldest != to) {
        let Some((pair, last, mut flow)) = table.remove(oldest) else { return false };
        let is_served = flow.served().is_some();
        flow.end(worker, pair.client, last, Some(Fault::proxy(Kind::Overload)));
        if is_served {
            return true;
        }
    }
    false
}

/// How long a flow on this way lasts.
fn lasts(route: &Route, arm: Option<&Arm>) -> Lasts {
    Lasts { silent: arm.map_or(route.flow, |arm| arm.timeouts.flow), total: route.total }
}

fn first_of<'a>(arrival: &Arrival<'a>) -> &'a [u8] {
    arrival.datagrams().next().unwrap_or_default()
}
