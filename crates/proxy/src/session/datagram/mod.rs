//! Flows of UDP: one task for each worker's socket of an address, which takes datagrams to their flows, and flows to their servers.
//!
//! - [`table`]: which datagram belongs to which flow, and when each is over
//! - [`flow`]: one flow, and its record
//! - [`find`]: how a flow finds its server, and another one
//!
//! It never answers by itself: whoever makes up the address of somebody else has them hear nothing from here but what a server says.

mod find;
mod flow;
mod table;
#[cfg(test)]
mod table_tests;

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use base::{Fault, Kind};
use net::datagram::{Arrival, Batch, Bound, LineId, Lines, Outgoing, Socket, is_verdict};
use net::timer::Timer;
use observe::stats::ConnectionStats;
use rustc_hash::FxHashMap;
use tokio::sync::mpsc::Sender;

use super::Counted;
use crate::attempt::{self, REFUSED};
use crate::finish;
use crate::snapshot::{BindId, ListenerId};
use crate::worker::{Group, Hold, Leave, SocketId, Worker};
use flow::{Flow, Standing};
use table::{Number, Over, Pair, Table};

/// The sockets of a worker, as whoever tells them what to do knows them.
#[derive(Debug, Default)]
pub(crate) struct Relays(RefCell<FxHashMap<SocketId, Rc<Asked>>>);

/// What a socket's task is asked for from outside.
#[derive(Debug, Default)]
struct Asked {
    /// How to end, once that was asked.
    leave: Cell<Option<Leave>>,
    /// The listener that has come to have it.
    at: Cell<Option<At>>,
    /// Who wants to know that nobody new is taken.
    told: RefCell<Vec<Sender<()>>>,
}

/// Where a socket listens.
#[derive(Clone, Copy, Debug)]
pub(crate) struct At {
    pub(crate) listener: ListenerId,
    pub(crate) bind: BindId,
    pub(crate) port: u16,
}

/// A worker's socket of an address, with its flows.
struct Driver {
    worker: Rc<Worker>,
    at: At,
    asked: Rc<Asked>,
    connections: Arc<ConnectionStats>,
    socket: Socket,
    /// Whether clients may have asked at any address of ours: then they are answered from there.
    is_wide: bool,
    lines: Lines,
    told: Vec<LineId>,
    batch: Batch,
    outgoing: Outgoing,
    table: Table<Flow>,
    timer: Timer,
    is_leaving: bool,
    /// Turns in which it still takes what waits, once it was asked to end.
    turns_left: u8,
    complained: Option<Instant>,
    /// Keeps the address open until no new flows are taken and the last one is over.
    hold: Option<Hold>,
    /// The sockets of the address. The last one to go: it tells that the one above is closed.
    group: Arc<Group>,
}

/// Reads of one system call's worth, and as many looks at what servers say, in one turn: then somebody else has their turn.
const ROUNDS: usize = 4;
/// Room for so many reads.
const PLACES: usize = 32;
/// How many reads of one server are tried at once where much comes.
const MANY: usize = 8;
/// By how many datagrams a server has said more than its client where much is taken to come from it.
const TALKATIVE: u64 = 8;
/// Silence that ends a flow whose listener is gone or whose process ends.
const LEAVING: Duration = Duration::from_secs(1);
/// How often the log hears that flows are too many, or that the socket fails.
const COMPLAINTS: Duration = Duration::from_secs(10);

impl Relays {
    /// Begins to receive on a socket.
    pub(crate) fn open(&self, worker: &Rc<Worker>, socket: SocketId, bound: Bound, at: At, hold: Hold) {
        let asked = Rc::default();
        match Driver::new(worker, bound, at, &asked, hold) {
            Ok(driver) => {
                let mut sockets = self.0.borrow_mut();
                sockets.retain(|_, asked| Rc::strong_count(asked) > 1);
                sockets.insert(socket, asked);
                tokio::task::spawn_local(driver.run());
            }
            Err(error) => observe::log::error(format_args!("no UDP in worker {}: {error}", worker.id.0)),
        }
    }

    /// A socket is another listener's from now on. Flows that there are stay what they were.
    pub(crate) fn rename(&self, socket: SocketId, at: At) {
        if let Some(asked) = self.0.borrow().get(&socket) {
            asked.at.set(Some(at));
        }
    }

    /// A socket takes nobody new, and ends with the last of its flows.
    pub(crate) fn leave(&self, socket: SocketId, leave: Leave, done: &Sender<()>) {
        // One that has ended would never say that it has.
        if let Some(asked) = self.0.borrow().get(&socket).filter(|asked| Rc::strong_count(asked) > 1) {
            asked.leave.set(Some(leave));
            asked.told.borrow_mut().push(done.clone());
        }
    }
}

impl Driver {
    /// Begins to receive at an address of a listener that is in force.
    ///
    /// # Errors
    /// The runtime takes no more sockets.
    fn new(worker: &Rc<Worker>, bound: Bound, at: At, asked: &Rc<Asked>, hold: Hold) -> io::Result<Driver> {
        let snapshot = worker.pin();
        let Some(listener) = snapshot.listener(at.listener) else { return Err(io::ErrorKind::NotFound.into()) };
        let socket = bound.attach()?;
        Ok(Driver {
            worker: Rc::clone(worker),
            at,
            asked: Rc::clone(asked),
            connections: Arc::clone(&listener.connections),
            is_wide: socket.is_wide()?,
            lines: Lines::new(&socket)?,
            socket,
            told: Vec::new(),
            batch: Batch::new(PLACES),
            outgoing: Outgoing::new(),
            table: Table::new(),
            timer: worker.timers.timer(),
            is_leaving: false,
            turns_left: u8::MAX,
            complained: None,
            group: hold.group(),
            hold: Some(hold),
        })
    }

    /// Receives until the address is given up, and its last flow is over.
    async fn run(mut self) {
        poll_fn(|cx| self.turn(cx)).await;
    }

    fn turn(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let now = Instant::now();
        if let Some(at) = self.asked.at.take()
            && let Some(listener) = self.worker.pin().listener(at.listener)
        {
            (self.at, self.connections) = (at, Arc::clone(&listener.connections));
        }
        while let Some((number, over)) = self.table.over(now, |flow| flow.goes_on(now)) {
            let fault = (over == Over::Total).then_some(Fault::proxy(Kind::TotalTimeout));
            self.end(number, fault);
        }
        let more = self.receive(cx, now) | self.answer(cx, now);
        if self.leave(cx, more) {
            return Poll::Ready(());
        }
        let next = self.table.next_visit().unwrap_or(now + Duration::from_secs(3600));
        self.timer.arm(now, next.saturating_duration_since(now));
        if self.timer.poll_expired(cx).is_ready() || more {
            cx.waker().wake_by_ref();
        }
        Poll::Pending
    }

    /// Does what it was asked for; says whether nothing is left to do.
    fn leave(&mut self, cx: &mut Context<'_>, more: bool) -> bool {
        let asked = self.asked.leave.get();
        let is_at_once = self.worker.is_cut() || asked == Some(Leave::AtOnce);
        if is_at_once {
            while let Some(number) = self.table.any() {
                self.end(number, Some(Fault::proxy(Kind::Drained)));
            }
        }
        if asked.is_none() && !self.worker.is_draining() {
            return false;
        }
        // What waits was sent to somebody who was there; but it may be more every time.
        self.turns_left = self.turns_left.saturating_sub(1);
        if !self.is_leaving && (!more || self.turns_left == 0) {
            self.is_leaving = true;
            self.table.hurry(LEAVING);
        }
        if self.is_leaving {
            for done in self.asked.told.take() {
                // Whoever asked may have stopped waiting.
                let _ = done.try_send(());
            }
        }
        if self.is_leaving && self.table.len() == 0 {
            self.hold = None;
        }
        self.table.len() == 0 && (is_at_once || (self.is_leaving && self.group.poll_free(cx).is_ready()))
    }

    /// Takes what clients have sent to its flows; says whether there may be more.
    fn receive(&mut self, cx: &mut Context<'_>, now: Instant) -> bool {
        for _ in 0..ROUNDS {
            self.batch.clear();
            match self.socket.poll_receive(cx, &mut self.batch) {
                Poll::Pending => return false,
                Poll::Ready(Ok(_)) => {}
                Poll::Ready(Err(error)) => {
                    self.complain(now, || format!("receiving failed: {error}"));
                    return true;
                }
            }
            let batch = std::mem::take(&mut self.batch);
            batch.arrivals().for_each(|arrival| self.take(&arrival, now));
            self.batch = batch;
        }
        true
    }

    /// Takes datagrams of a client to their flow.
    fn take(&mut self, arrival: &Arrival<'_>, now: Instant) {
        let pair = Pair { client: arrival.from, asked: arrival.to };
        let count = arrival.count();
        self.connections.shard(self.worker.id).datagrams_in(count);
        let found = Some(pair).filter(|_| arrival.is_answerable());
        let found = found.and_then(|pair| self.table.find(&pair).or_else(|| self.welcome(pair, arrival, now)));
        let is_taken = found.is_some_and(|number| {
            self.table.touch(number, now);
            if let Some(flow) = self.table.get(number) {
                flow.come.add(arrival.bytes.len(), count);
            }
            self.pass(number, arrival, now)
        });
        if !is_taken {
            self.lost(count);
        }
    }

    /// Passes datagrams on to the server of their flow, another one if it has none that takes them; says whether that was done.
    fn pass(&mut self, number: Number, arrival: &Arrival<'_>, now: Instant) -> bool {
        // A server that is not there is found out by the datagram behind the first: that one goes elsewhere.
        for _ in 0..2 {
            if self.needs_another(number) {
                self.find_again(number, arrival, now);
            }
            let Some(served) = self.table.get(number).and_then(Flow::served) else { return false };
            match served.by.line.send(&self.lines, arrival) {
                Ok(()) => return true,
                Err(error) if is_verdict(&error) => self.refused(number, &error),
                Err(_) => return false,
            }
        }
        false
    }

    /// Its server has said that nobody listens, or others have found out that it is not there.
    fn refused(&mut self, number: Number, error: &io::Error) {
        let Some(flow) = self.table.get(number) else { return };
        (flow.fault, flow.cause) = (Some(REFUSED), attempt::cause(error));
        flow.retrying = None;
        let Some(served) = flow.served() else { return };
        served.refuses = true;
        if let Some(server) = served.by.server() {
            server.connect_failed(attempt::cause(error));
            finish::refused(&self.worker, server, REFUSED);
        }
    }

    fn needs_another(&mut self, number: Number) -> bool {
        let worker = &self.worker;
        self.table.get(number).is_some_and(|flow| match &flow.standing {
            Standing::Served(served) => served.is_out(),
            Standing::Unserved => true,
            Standing::Denied(by) => *by != worker.pin().generation,
        })
    }

    /// Takes what servers have said to their clients; says whether there may be more.
    fn answer(&mut self, cx: &mut Context<'_>, now: Instant) -> bool {
        self.batch.clear();
        for _ in 0..ROUNDS {
            let mut told = std::mem::take(&mut self.told);
            let polled = self.lines.poll_told(cx, &mut told);
            told.drain(..).for_each(|id| self.hear(Number::unpack(id.0), now));
            self.told = told;
            match polled {
                Poll::Pending => return false,
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(error)) => {
                    self.complain(now, || format!("servers cannot be heard: {error}"));
                    return false;
                }
            }
            self.flush();
        }
        true
    }

    /// Reads what the server of a flow has said; if it has more to say, it is told again.
    fn hear(&mut self, number: Number, now: Instant) {
        if self.batch.free() < MANY {
            self.flush();
        }
        let Some(pair) = self.table.pair(number) else { return };
        let Some(flow) = self.table.get(number) else { return };
        let says_more = flow.gone.datagrams > flow.come.datagrams + TALKATIVE;
        let Some(served) = flow.served() else { return };
        if says_more && !served.is_busy {
            served.is_busy = true;
            // Where the kernel joins nothing, all goes as it comes.
            let _ = served.by.line.join();
        }
        let read = match served.is_busy {
            true => served.by.line.receive(&self.lines, &mut self.batch, MANY),
            false => served.by.line.receive_one(&mut self.batch),
        };
        let places = match read {
            Ok(places) => places,
            Err(error) if is_verdict(&error) => {
                self.refused(number, &error);
                return self.send_elsewhere(number, now);
            }
            Err(_) => return,
        };
        let mut sum = (0, 0);
        for place in places {
            let arrival = self.batch.arrival(place);
            served.learn(arrival.bytes, now);
            sum = (sum.0 + arrival.bytes.len(), sum.1 + arrival.count());
            self.outgoing.push(place, pair.client, pair.asked.filter(|_| self.is_wide));
        }
        flow.gone.add(sum.0, sum.1);
        let is_first = flow.is_answered(now);
        self.table.touch(number, now);
        if is_first {
            self.table.answered(number);
        }
        self.connections.shard(self.worker.id).datagrams_out(sum.1);
    }

    /// Sends what has found its client.
    fn flush(&mut self) {
        let lost = self.outgoing.flush(&self.socket, &self.batch);
        if lost > 0 {
            self.lost(lost);
        }
        self.batch.clear();
    }

    fn end(&mut self, number: Number, fault: Option<Fault>) {
        if let Some((pair, last, flow)) = self.table.remove(number) {
            flow.end(&self.worker, pair.client, last, fault);
        }
    }

    fn lost(&self, count: usize) {
        self.connections.shard(self.worker.id).datagrams_lost(count);
    }

    /// Tells the log, but not too often.
    fn complain(&mut self, now: Instant, what: impl FnOnce() -> String) {
        if self.complained.is_none_or(|last| now.saturating_duration_since(last) > COMPLAINTS) {
            self.complained = Some(now);
            let snapshot = self.worker.pin();
            let name = snapshot.listener(self.at.listener).map_or("", |listener| &*listener.name);
            observe::log::warn(format_args!("listener `{name}`: {}", what()));
        }
    }

    /// A flow counts as a connection of its listener and its worker.
    fn counted(&self) -> Counted {
        self.worker.fleet.connection_began(self.worker.id);
        Counted::of(&self.worker, &self.connections)
    }
}
