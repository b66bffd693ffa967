//! Connections to servers that many requests share, of HTTP/2 and HTTP/3. Each worker has its own, so that taking a lane costs no
//! lock.
//!
//! A worker opens one connection to a server at a time, and whoever needs one meanwhile waits for that: a burst of requests is
//! not a burst of connections. The next is opened when all lanes of those before are taken, as long as the server's limits
//! leave room. A connection holds its lease until it ends, and is driven by a task of its own.

use std::borrow::Cow;
use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use base::{Fault, Kind, Retry};
use http::Conn;
use http::shared::{Client, Driver, Protocol};
use net::Stream;
use net::dial::is_shortage;
use net::timer::Timer;
use rustc_hash::FxHashMap;

use super::{Gate, LOCAL, Lease, Pool, Server};
use crate::attempt;
use crate::worker::Worker;

/// The connections of one worker.
#[derive(Debug, Default)]
pub(crate) struct Trunks {
    stations: RefCell<Stations>,
}

/// Where they lead, by [`Server::slot`].
#[derive(Debug, Default)]
struct Stations {
    by_slot: Vec<Station>,
    /// The same for servers that this worker has found by itself, which come and go.
    local: FxHashMap<usize, Station>,
}

/// What leads to one server.
#[derive(Debug, Default)]
struct Station {
    /// The oldest first: it is filled first, so that those that are not needed become idle.
    trunks: Vec<Rc<Trunk>>,
    /// A connection is being opened.
    opening: bool,
    /// Connects that have failed, and how the last one did.
    failures: u64,
    failed: Option<Failed>,
    /// Who waits for a connection, and how often they were told to look again.
    waiting: Vec<Waker>,
    rounds: u64,
}

/// One connection.
#[derive(Debug)]
struct Trunk {
    lanes: Client,
    server: Arc<Server>,
    /// Ends with the connection.
    lease: RefCell<Lease>,
    /// It counts as idle.
    idle: Cell<bool>,
    /// Somebody has found no room on it.
    full: Cell<bool>,
    /// No more requests go to it.
    leaving: Cell<bool>,
    began: Instant,
}

/// How a wait for a connection ends.
pub(crate) enum Joined {
    /// With a lane.
    Lane(Conn),
    /// The connect failed that was waited for.
    Failed(Failed),
    /// There is no lane, and no connection is being opened: look again.
    Again,
}

/// How a connect has failed.
#[derive(Clone, Debug)]
pub(crate) struct Failed {
    pub(crate) fault: Fault,
    /// What is wrong with the server, where that is for whoever has asked for it.
    pub(crate) wrong: Option<&'static str>,
    /// The same for whoever runs us.
    pub(crate) cause: Cow<'static, str>,
}

/// A wait for a connection that is being opened.
#[derive(Debug)]
pub(crate) struct Joining {
    slot: usize,
    /// Connects that had failed when it began.
    failures: u64,
    /// It stands among those who wait since this round.
    waits: Cell<Option<u64>>,
}

/// Without a word from a server for so long while it owes answers, it is asked for a sign of life, and has as long to give it.
const SILENCE: Duration = Duration::from_secs(10);

/// The least age of a connection that is given up, although it is busy, because others wait for its place.
const LEAST_AGE: Duration = Duration::from_secs(1);

impl Trunks {
    /// A lane to this server, if one of the connections has room.
    pub(crate) fn lane(&self, server: &Server) -> Option<Conn> {
        let all = self.stations.borrow();
        all.at(server)?.trunks.iter().find_map(|trunk| trunk.lane())
    }

    /// Whether there is a connection to this server with room, or one that is being opened.
    pub(crate) fn has(&self, server: &Server) -> bool {
        let all = self.stations.borrow();
        all.at(server).is_some_and(|station| station.opening || station.trunks.iter().any(|trunk| trunk.has_room()))
    }

    /// How many connections there are to this server.
    pub(crate) fn count(&self, server: &Server) -> u32 {
        self.stations.borrow().at(server).map_or(0, |station| station.trunks.len() as u32)
    }

    /// Whether a connection to this server is being opened.
    pub(crate) fn is_opening(&self, server: &Server) -> bool {
        self.stations.borrow().at(server).is_some_and(|station| station.opening)
    }

    /// Begins to wait for a connection to this server.
    pub(crate) fn join(&self, server: &Server) -> Joining {
        let failures = self.with(server.slot, |station| station.failures);
        Joining { slot: server.slot, failures, waits: Cell::new(None) }
    }

    /// Waits for a lane.
    pub(crate) fn poll_joined(&self, joining: &Joining, cx: &mut Context<'_>) -> Poll<Joined> {
        self.with(joining.slot, |station| {
            if let Some(conn) = station.trunks.iter().find_map(|trunk| trunk.lane()) {
                return Poll::Ready(Joined::Lane(conn));
            }
            if station.failures != joining.failures {
                return Poll::Ready(Joined::Failed(station.failed.clone().unwrap_or(UNREACHABLE.into())));
            }
            if !station.opening {
                return Poll::Ready(Joined::Again);
            }
            if joining.waits.replace(Some(station.rounds)) != Some(station.rounds) {
                station.waiting.push(cx.waker().clone());
            }
            Poll::Pending
        })
    }

    /// Gives up connections that are idle and lead to a server that is retired, drained or down, and those whose place is
    /// waited for by others who cannot share them.
    pub(crate) fn sweep(&self, now: Instant, shared: bool) {
        let mut all = self.stations.borrow_mut();
        all.local.retain(|_, station| station.opening || !station.trunks.is_empty() || !station.waiting.is_empty());
        for station in all.by_slot.iter().chain(all.local.values()) {
            for trunk in station.trunks.iter().filter(|trunk| !trunk.leaving.get()) {
                let server = &trunk.server;
                let wanted = !server.is_retired() && !server.is_drained() && !server.is_checked_down();
                let is_kept = wanted && (!trunk.idle.get() || trunk.lease.borrow_mut().is_within_limit());
                let waited_for = shared && now - trunk.began > LEAST_AGE && trunk.lease.borrow().is_waited_for();
                if !is_kept || waited_for {
                    trunk.leave();
                }
            }
        }
    }

    /// Gives up an idle connection to this server.
    pub(crate) fn relinquish(&self, server: &Server) {
        let all = self.stations.borrow();
        let Some(station) = all.at(server) else { return };
        // One without room has just become idle, and its server has not said yet that it may have requests again.
        if let Some(trunk) = station.trunks.iter().find(|trunk| trunk.idle.get() && trunk.has_room()) {
            trunk.leave();
        }
    }

    fn with<R>(&self, slot: usize, work: impl FnOnce(&mut Station) -> R) -> R {
        let mut all = self.stations.borrow_mut();
        if slot >= LOCAL {
            return work(all.local.entry(slot).or_default());
        }
        if all.by_slot.len() <= slot {
            all.by_slot.resize_with(slot + 1, Station::default);
        }
        work(&mut all.by_slot[slot])
    }

    /// A connect has ended: those who wait look again.
    fn opened(&self, slot: usize, outcome: Result<Rc<Trunk>, Failed>) {
        let waiting = self.with(slot, |station| {
            station.opening = false;
            match outcome {
                Ok(trunk) => station.trunks.push(trunk),
                Err(failed) => {
                    station.failures += 1;
                    station.failed = Some(failed);
                }
            }
            station.rounds += 1;
            std::mem::take(&mut station.waiting)
        });
        waiting.into_iter().for_each(Waker::wake);
    }
}

impl Stations {
    fn at(&self, server: &Server) -> Option<&Station> {
        if server.slot < LOCAL { self.by_slot.get(server.slot) } else { self.local.get(&server.slot) }
    }
}

/// Opens a connection, in a task of its own: whoever asked for it may leave, and others wait for it, too.
pub(crate) fn open(worker: &Rc<Worker>, pool: &Arc<Pool>, protocol: Protocol, lease: Lease) {
    begin(worker, pool, protocol, lease, None);
}

/// Takes a stream on which it was agreed with this server to speak HTTP/2.
pub(crate) fn adopt(worker: &Rc<Worker>, pool: &Arc<Pool>, lease: Lease, stream: Stream) {
    begin(worker, pool, Protocol::H2, lease, Some(stream));
}

fn begin(worker: &Rc<Worker>, pool: &Arc<Pool>, protocol: Protocol, lease: Lease, stream: Option<Stream>) {
    worker.trunks.with(lease.server().slot, |station| station.opening = true);
    tokio::task::spawn_local(run(Rc::clone(worker), Arc::clone(pool), protocol, lease, stream));
}

async fn run(worker: Rc<Worker>, pool: Arc<Pool>, protocol: Protocol, lease: Lease, stream: Option<Stream>) {
    let server = Arc::clone(lease.server());
    let slot = server.slot;
    let connected = tokio::time::timeout(pool.connect, connect(&worker, protocol, &server, stream)).await;
    let driver = match connected.unwrap_or_else(|_| {
        let late = Failed::from(Fault::server(Kind::ConnectTimeout, Retry::Always));
        Err(Failed { cause: attempt::LATE, ..late })
    }) {
        Ok(driver) => driver,
        Err(failed) => {
            if failed.fault.side == base::Side::Server {
                server.connect_failed(failed.cause.clone());
            }
            // Others may have the place that the lease held before they look again.
            drop(lease);
            return worker.trunks.opened(slot, Err(failed));
        }
    };
    server.connect_succeeded();
    let now = Instant::now();
    server.parked();
    let trunk = Rc::new(Trunk {
        lanes: driver.lanes(),
        server,
        lease: RefCell::new(lease),
        idle: Cell::new(true),
        full: Cell::new(false),
        leaving: Cell::new(false),
        began: now,
    });
    worker.trunks.opened(slot, Ok(Rc::clone(&trunk)));
    // Those who wait for it come first: it may be one that ends as soon as it has nothing to do.
    Worker::give_way().await;
    let timer = worker.timers.timer();
    let mut drive = Drive {
        worker: Rc::clone(&worker),
        trunk,
        driver,
        timer,
        pooled: pool.pooled,
        gate: pool.limited.then(|| Arc::clone(&pool.gate)),
        idle_since: now,
        busy_since: None,
        asked: None,
    };
    poll_fn(|cx| drive.poll(cx)).await;
    let Drive { trunk, .. } = drive;
    worker.trunks.with(slot, |station| station.trunks.retain(|other| !Rc::ptr_eq(other, &trunk)));
    trunk.set_idle(false);
}

/// Dials, and waits until the server has said that it speaks the protocol and what it takes.
async fn connect(
    worker: &Rc<Worker>,
    protocol: Protocol,
    server: &Arc<Server>,
    stream: Option<Stream>,
) -> Result<Driver, Failed> {
    let failed = |error: io::Error| Failed {
        fault: attempt::unconnected(server, &error),
        wrong: attempt::wrong_with(server, &error),
        cause: attempt::cause(&error),
    };
    let dialled = match stream {
        Some(stream) => Ok(Driver::over(stream)),
        None => Driver::dial(protocol, &server.id.address, server.security()).await,
    };
    let mut driver = match dialled {
        Ok(driver) => driver,
        Err(error) if is_shortage(&error) => {
            let shortage = Failed::from(Fault::proxy(Kind::Overload));
            return Err(Failed { cause: attempt::cause(&error), ..shortage });
        }
        Err(error) => return Err(failed(error)),
    };
    let lanes = driver.lanes();
    poll_fn(|cx| match driver.poll(cx, &mut worker.block(0), Instant::now()) {
        // A server may say only now that it does not believe us.
        Poll::Ready(Err(error)) => Poll::Ready(Err(failed(error))),
        Poll::Ready(Ok(())) => {
            let cause = Cow::Borrowed("the server closes the connection before it says what it takes");
            Poll::Ready(Err(Failed { cause, ..UNREACHABLE.into() }))
        }
        Poll::Pending if lanes.is_greeted() => Poll::Ready(Ok(())),
        Poll::Pending => Poll::Pending,
    })
    .await?;
    Ok(driver)
}

const UNREACHABLE: Fault = Fault::server(Kind::Connect, Retry::Always);

impl From<Fault> for Failed {
    fn from(fault: Fault) -> Failed {
        Failed { fault, wrong: None, cause: Cow::Borrowed("") }
    }
}

impl Trunk {
    fn has_room(&self) -> bool {
        let has_room = !self.leaving.get() && self.lanes.has_room();
        if !has_room {
            self.full.set(true);
        }
        has_room
    }

    fn lane(&self) -> Option<Conn> {
        if !self.has_room() {
            return None;
        }
        let lane = self.lanes.lane()?;
        self.set_idle(false);
        Some(lane)
    }

    fn leave(&self) {
        self.leaving.set(true);
        self.lanes.wake();
    }

    fn set_idle(&self, idle: bool) {
        if self.idle.replace(idle) != idle {
            if idle { self.server.parked() } else { self.server.unparked() }
        }
    }
}

/// The task that moves a connection's bytes.
struct Drive {
    worker: Rc<Worker>,
    trunk: Rc<Trunk>,
    driver: Driver,
    timer: Timer,
    pooled: Duration,
    /// Where those stand who may wait for a lane.
    gate: Option<Arc<Gate>>,
    idle_since: Instant,
    busy_since: Option<Instant>,
    /// When the server was asked for a sign of life, and gave none since.
    asked: Option<Instant>,
}

impl Drive {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.worker.is_cut() {
            return Poll::Ready(());
        }
        loop {
            let now = Instant::now();
            if self.drive(cx, now).is_ready() {
                return Poll::Ready(());
            }
            self.tell_of_room();
            let busy = self.driver.open() > 0;
            if !busy && !self.trunk.idle.get() {
                self.idle_since = now;
                self.trunk.set_idle(true);
            }
            if !busy && self.is_done(now) {
                self.driver.leave();
                let _ = self.drive(cx, now);
                return Poll::Ready(());
            }
            let since = if busy { *self.busy_since.get_or_insert(now) } else { now };
            self.busy_since = self.busy_since.filter(|_| busy);
            let heard = self.driver.heard().unwrap_or(self.trunk.began);
            self.asked = self.asked.filter(|asked| busy && *asked > heard);
            let due = match (busy, self.asked) {
                (false, _) => self.idle_since + self.pooled,
                (true, None) => heard.max(since) + SILENCE,
                (true, Some(asked)) => asked + SILENCE,
            };
            if due > now {
                self.timer.arm(now, due - now);
                if self.timer.poll_expired(cx).is_pending() {
                    return Poll::Pending;
                }
                continue;
            }
            if !busy {
                continue;
            }
            if self.asked.is_some() {
                // It is silent, and so is what leads to it.
                return Poll::Ready(());
            }
            self.driver.ping();
            self.asked = Some(now);
        }
    }

    /// Moves what can be moved; ready when the connection is over, whoever has ended it.
    fn drive(&mut self, cx: &mut Context<'_>, now: Instant) -> Poll<()> {
        self.driver.poll(cx, &mut self.worker.block(0), now).map(|_| ())
    }

    /// A server may allow more streams long after those before have ended: who waits for one looks again.
    fn tell_of_room(&self) {
        let Some(gate) = &self.gate else { return };
        if self.trunk.full.get() && self.trunk.has_room() {
            self.trunk.full.set(false);
            if gate.waiting() > 0 {
                gate.stir();
            }
        }
    }

    /// Whether a connection without requests is of no more use.
    fn is_done(&self, now: Instant) -> bool {
        let trunk = &self.trunk;
        let over = now >= self.idle_since + self.pooled;
        over || trunk.leaving.get()
            || trunk.lanes.is_leaving()
            || self.worker.is_draining()
            || trunk.server.is_retired()
    }
}
