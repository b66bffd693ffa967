//! A worker: one thread with a runtime of its own, its own listening sockets, its own connections to servers, and no
//! lock on a request's way. What workers share is immutable or atomic; what they tell each other goes through inboxes.

use std::cell::{Cell, OnceCell, RefCell};
use std::future::poll_fn;
use std::io;
use std::ops::{Deref, DerefMut};
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant, SystemTime};

use base::civil::Civil;
use base::ids::{RequestId, WorkerId};
use net::alarm::{Alarm, Alarms};
use net::datagram::Batch;
use net::quic;
use net::splice::Pipes;
use net::timer::Timers;
use observe::access::Sink;
use rustc_hash::FxHashMap;
use tokio::sync::mpsc::UnboundedReceiver;

use crate::balance::Cursor;
use crate::destination::Origins;
use crate::door;
use crate::exchange::Exchange;
use crate::intercept::Leaves;
use crate::pool::{Gate, Grant, Idle, Parked, Pool, Server, Suited, Trunks, Use, Warm, warm};
use crate::relay::Encoders;
use crate::session;
use crate::session::datagram::{At, Relays};
use crate::snapshot::Snapshot;
use crate::tail::Tails;
use crate::users::Verdicts;

mod fleet;
mod hold;

pub use fleet::{Command, Fleet, Leave, Peer, SocketId};
pub use hold::{Group, Hold};

/// A worker, seen from its own thread.
pub(crate) struct Worker {
    pub(crate) id: WorkerId,
    pub(crate) fleet: Arc<Fleet>,
    pub(crate) timers: Rc<Timers>,
    alarms: OnceCell<Rc<Alarms>>,
    pub(crate) pipes: Rc<Pipes>,
    pub(crate) encoders: Encoders,
    pub(crate) idle: Idle,
    pub(crate) trunks: Trunks,
    pub(crate) warm: Warm,
    pub(crate) origins: Origins,
    pub(crate) leaves: Leaves,
    /// Passwords that this worker has asked for lately.
    pub(crate) verdicts: RefCell<Verdicts>,
    pub(crate) random: RefCell<fastrand::Rng>,
    pub(crate) log: RefCell<Option<Sink>>,
    pub(crate) tails: RefCell<Tails>,
    #[expect(
        clippy::redundant_allocation,
        reason = "a pin counts in this worker's memory, not in memory that all share"
    )]
    snapshot: RefCell<Rc<Arc<Snapshot>>>,
    cursors: RefCell<FxHashMap<usize, Cursor>>,
    blocks: RefCell<Vec<Vec<u8>>>,
    outs: RefCell<Vec<Vec<u8>>>,
    #[expect(clippy::vec_box, reason = "the boxes are lent out and come back: they are what is kept")]
    exchanges: RefCell<Vec<Box<Exchange>>>,
    doors: RefCell<FxHashMap<SocketId, Rc<Cell<door::State>>>>,
    endpoints: RefCell<FxHashMap<SocketId, quic::Endpoint>>,
    relays: Relays,
    /// Room for datagrams of associations of SOCKS, in a turn of one of them.
    pub(crate) letters: RefCell<Batch>,
    date: Cell<(u64, [u8; 29])>,
    origin: u64,
    sequence: Cell<u64>,
    draining: Cell<bool>,
    cut: Cell<bool>,
}

/// A block of memory to read into, on loan from the worker.
pub(crate) struct Block {
    bytes: Vec<u8>,
    home: Rc<Worker>,
}

/// A buffer to write from, on loan from the worker.
pub(crate) struct Out {
    bytes: Vec<u8>,
    home: Rc<Worker>,
}

/// A block is a read's size. Larger ones were slower: they leave the processor's cache.
const BLOCK: usize = 64 * 1024;
/// Blocks and exchanges that a worker keeps for later.
const KEPT_BLOCKS: usize = 8;
/// Small buffers to write from that it keeps: each exchange that [gives way](Worker::give_way) holds one meanwhile.
const KEPT_OUTS: usize = 64;
const KEPT_EXCHANGES: usize = 256;
/// Passwords of each kind that it knows without asking: right and wrong ones.
const VERDICTS: usize = 1024;
/// How often a worker flushes its log, opens connections that should be ready, and sweeps idle ones.
const FLUSH_EVERY: Duration = Duration::from_millis(100);
const FLUSHES_A_SWEEP: u32 = 10;

thread_local! {
    /// When this worker last came back from waiting.
    static TURN_BEGAN: Cell<Option<Instant>> = const { Cell::new(None) };
}

fn run(id: WorkerId, fleet: Arc<Fleet>, inbox: UnboundedReceiver<Command>) {
    let turns = Arc::clone(&fleet.peers()[id.0].turns);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .enable_time()
        .on_thread_unpark(|| TURN_BEGAN.set(Some(Instant::now())))
        .on_thread_park(move || {
            if let Some(began) = TURN_BEGAN.take() {
                turns.record(began.elapsed());
            }
        })
        .build_local(tokio::runtime::LocalOptions::default());
    match runtime {
        Ok(runtime) => runtime.block_on(Worker::new(id, fleet).serve(inbox)),
        Err(error) => observe::log::error(format_args!("worker {} cannot start: {error}", id.0)),
    }
}

impl Worker {
    fn new(id: WorkerId, fleet: Arc<Fleet>) -> Rc<Worker> {
        let mut random = fastrand::Rng::new();
        Rc::new(Worker {
            id,
            fleet,
            timers: Timers::new(),
            alarms: OnceCell::new(),
            pipes: Rc::default(),
            encoders: Encoders::default(),
            idle: Idle::default(),
            trunks: Trunks::default(),
            warm: Warm::default(),
            origins: Origins::default(),
            leaves: Leaves::default(),
            verdicts: RefCell::new(Verdicts::new(VERDICTS)),
            log: RefCell::new(None),
            tails: RefCell::default(),
            snapshot: RefCell::default(),
            cursors: RefCell::default(),
            blocks: RefCell::default(),
            outs: RefCell::default(),
            exchanges: RefCell::default(),
            doors: RefCell::default(),
            endpoints: RefCell::default(),
            relays: Relays::default(),
            letters: RefCell::default(),
            date: Cell::new((0, [b' '; 29])),
            origin: random.u64(..),
            random: RefCell::new(random),
            sequence: Cell::new(0),
            draining: Cell::new(false),
            cut: Cell::new(false),
        })
    }

    async fn serve(self: Rc<Worker>, mut inbox: UnboundedReceiver<Command>) {
        tokio::task::spawn_local(Rc::clone(&self.timers).drive());
        tokio::task::spawn_local(Rc::clone(&self).tick());
        while let Some(command) = inbox.recv().await {
            self.obey(command);
        }
    }

    fn obey(self: &Rc<Worker>, command: Command) {
        match command {
            Command::Apply(snapshot) => {
                *self.snapshot.borrow_mut() = Rc::new(snapshot);
                self.sweep();
                warm::keep_all(self);
                // Sessions of listeners that are gone find out.
                self.timers.wake_all();
            }
            Command::Listen(listener, bind, socket, bound, port) => match bound.attach() {
                Ok(listening) => {
                    let state = Rc::new(Cell::new(door::State::Open));
                    self.doors.borrow_mut().insert(socket, Rc::clone(&state));
                    let door = door::accept(Rc::clone(self), listening, (listener, bind, port), state);
                    tokio::task::spawn_local(door);
                }
                Err(error) => observe::log::error(format_args!("cannot listen in worker {}: {error}", self.id.0)),
            },
            Command::Receive(listener, bind, socket, bound, port) => match quic::Endpoint::open(bound) {
                Ok((endpoint, driver)) => {
                    self.endpoints.borrow_mut().insert(socket, endpoint);
                    let doorkeeper = door::quic::Doorkeeper { worker: Rc::clone(self), listener, bind, port };
                    tokio::task::spawn_local(driver.run(doorkeeper));
                }
                Err(error) => observe::log::error(format_args!("no HTTP/3 in worker {}: {error}", self.id.0)),
            },
            Command::Relay(listener, bind, socket, bound, port, hold) => {
                self.relays.open(self, socket, bound, At { listener, bind, port }, hold);
            }
            Command::Rename(listener, bind, socket, port) => {
                self.relays.rename(socket, At { listener, bind, port });
                self.timers.wake_all();
            }
            Command::Unlisten(socket, leave, done) => {
                self.relays.leave(socket, leave, &done);
                if let Some(endpoint) = self.endpoints.borrow_mut().remove(&socket) {
                    endpoint.close();
                }
                if let Some(state) = self.doors.borrow_mut().remove(&socket) {
                    door::close(&state, done);
                }
                self.timers.wake_all();
            }
            Command::Log(sink) => {
                if let Some(old) = self.log.borrow_mut().as_mut() {
                    old.flush();
                }
                *self.log.borrow_mut() = sink;
            }
            Command::Tail(tails) => self.tails.borrow_mut().set(tails),
            Command::Adopt(detached, origin) => match detached.attach() {
                Ok(stream) => session::spawn(self, stream, origin),
                Err(_) => self.fleet.connection_ended(self.id),
            },
            Command::Relinquish(pool) => self.relinquish_any(&pool),
            Command::Drain => {
                self.draining.set(true);
                self.timers.wake_all();
            }
            Command::Cut(count) => {
                self.cut.set(true);
                // The answer is what the log says was cut; nobody waits for it after the process has gone.
                let _ = count.try_send(self.fleet.peers()[self.id.0].connections());
                self.timers.wake_all();
                if let Some(log) = self.log.borrow_mut().as_mut() {
                    log.flush();
                }
                // Connections over QUIC end with a word, or their peers would wait: the process goes when nobody has this.
                tokio::task::spawn_local(async move {
                    Worker::give_way().await;
                    drop(count);
                });
            }
        }
    }

    /// Closes connections to servers that are of no more use, and forgets servers that nobody can be led to.
    fn sweep(&self) {
        let now = Instant::now();
        self.idle.sweep(now);
        self.trunks.sweep(now, self.fleet.len() > 1);
        self.origins.sweep(self);
    }

    /// Gives up idle connections of this pool that those who wait have a use for. Closing one comes last.
    fn relinquish_any(&self, pool: &Pool) {
        if pool.shares() {
            // A connection that is shared cannot be handed to another worker: it closes, and its place is what is handed on.
            let waited_for = |server: &&Arc<Server>| pool.gate.use_of(server) != Use::None;
            return pool.servers.iter().filter(waited_for).for_each(|server| self.trunks.relinquish(server));
        }
        for wanted in [Use::Take, Use::Close] {
            for server in pool.servers.iter().filter(|server| self.idle.has(server, Suited::Any)) {
                if pool.gate.use_of(server) == wanted {
                    self.relinquish(server, &pool.gate);
                }
            }
        }
    }

    /// Gives up an idle connection to this server, if anybody who waits has a use for it.
    pub(crate) fn relinquish(&self, server: &Arc<Server>, gate: &Arc<Gate>) {
        match gate.use_of(server) {
            Use::None => {}
            // Its lease ends with it, and whoever needs the place is told.
            Use::Close => drop(self.idle.take(server, Suited::Any)),
            Use::Take => self.idle.take(server, Suited::Any).into_iter().for_each(|parked| self.hand_on(parked, gate)),
        }
    }

    /// Gives an idle connection to the first who waits for one to its server.
    pub(crate) fn hand_on(&self, parked: Parked, gate: &Gate) {
        if parked.beyond.is_some() {
            // Who waits wants to be led elsewhere: the right alone is of use.
            drop(parked.conn);
            return drop(gate.give(Grant::Lease(parked.lease)));
        }
        if let Some(stream) = parked.conn.into_stream()
            && let Ok(detached) = stream.detach()
            && let Some(Grant::Connection(unwanted, lease)) = gate.give(Grant::Connection(detached, parked.lease))
            && let Ok(stream) = unwanted.attach()
        {
            self.idle.park(http::Conn::new(stream), lease, Instant::now(), FLUSH_EVERY * FLUSHES_A_SWEEP);
        }
    }

    async fn tick(self: Rc<Worker>) {
        let mut interval = tokio::time::interval(FLUSH_EVERY);
        interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        for number in 0_u32.. {
            interval.tick().await;
            if let Some(log) = self.log.borrow_mut().as_mut() {
                log.flush();
            }
            if number.is_multiple_of(FLUSHES_A_SWEEP) {
                self.sweep();
            }
            warm::keep_all(&self);
        }
    }

    /// The snapshot of now, for as long as the caller holds it.
    #[expect(clippy::redundant_allocation, reason = "see the field")]
    pub(crate) fn pin(&self) -> Rc<Arc<Snapshot>> {
        Rc::clone(&self.snapshot.borrow())
    }

    /// A block to read into, at least `least` bytes long.
    pub(crate) fn block(self: &Rc<Worker>, least: usize) -> Block {
        let mut bytes = self.blocks.borrow_mut().pop().unwrap_or_default();
        let length = BLOCK.max(least);
        if bytes.len() < length {
            bytes.resize(length, 0);
        }
        Block { bytes, home: Rc::clone(self) }
    }

    /// An empty buffer to write from.
    pub(crate) fn out(self: &Rc<Worker>) -> Out {
        Out { bytes: self.outs.borrow_mut().pop().unwrap_or_default(), home: Rc::clone(self) }
    }

    /// A deadline of microseconds. The clock for all of them is opened for the first one.
    pub(crate) fn alarm(&self) -> io::Result<Alarm> {
        if let Some(alarms) = self.alarms.get() {
            return Ok(alarms.alarm());
        }
        let alarms = Alarms::new()?;
        tokio::task::spawn_local(Rc::clone(&alarms).drive());
        Ok(self.alarms.get_or_init(|| alarms).alarm())
    }

    /// An empty exchange.
    pub(crate) fn exchange(&self) -> Box<Exchange> {
        self.exchanges.borrow_mut().pop().unwrap_or_default()
    }

    /// Takes back an exchange of which at most the request's head was touched.
    pub(crate) fn return_unused(&self, exchange: Box<Exchange>) {
        let mut kept = self.exchanges.borrow_mut();
        if kept.len() < KEPT_EXCHANGES {
            kept.push(exchange);
        }
    }

    /// Lets everything else that is ready have its turn first, which then writes.
    ///
    /// A send wakes its receiver. Sends with a parse between them find the receiver asleep again each time; sends in a row
    /// find it awake, and cost a tenth less (docs/decisions/0014).
    pub(crate) async fn give_way() {
        let mut gave = false;
        poll_fn(|cx| {
            if std::mem::replace(&mut gave, true) {
                return Poll::Ready(());
            }
            cx.waker().wake_by_ref();
            Poll::Pending
        })
        .await;
    }

    /// Takes an exchange back.
    pub(crate) fn recycle(&self, mut exchange: Box<Exchange>) {
        // What it forgets may be the last of something that has an exchange of its own.
        exchange.clear();
        self.return_unused(exchange);
    }

    /// Now, as HTTP writes it.
    pub(crate) fn date(&self) -> [u8; 29] {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
        let (second, text) = self.date.get();
        if second == now {
            return text;
        }
        let text = Civil::of(now).http();
        self.date.set((now, text));
        text
    }

    /// Works with this worker's place in a pool's turn.
    pub(crate) fn with_cursor<R>(&self, pool: usize, work: impl FnOnce(&mut Cursor) -> R) -> R {
        let mut cursors = self.cursors.borrow_mut();
        work(cursors.entry(pool).or_insert_with(|| Cursor::of(self.id.0)))
    }

    /// The id of the next request.
    pub(crate) fn next_id(&self) -> RequestId {
        let sequence = self.sequence.get();
        self.sequence.set(sequence + 1);
        RequestId { origin: self.origin, sequence }
    }

    /// Whether idle connections should close.
    pub(crate) fn is_draining(&self) -> bool {
        self.draining.get()
    }

    /// Whether the time to finish is over.
    pub(crate) fn is_cut(&self) -> bool {
        self.cut.get()
    }
}

impl Deref for Block {
    type Target = Vec<u8>;
    fn deref(&self) -> &Vec<u8> {
        &self.bytes
    }
}

impl DerefMut for Block {
    fn deref_mut(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        let mut kept = self.home.blocks.borrow_mut();
        if kept.len() < KEPT_BLOCKS {
            kept.push(std::mem::take(&mut self.bytes));
        }
    }
}

impl Deref for Out {
    type Target = Vec<u8>;
    fn deref(&self) -> &Vec<u8> {
        &self.bytes
    }
}

impl DerefMut for Out {
    fn deref_mut(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }
}

impl Drop for Out {
    fn drop(&mut self) {
        let mut kept = self.home.outs.borrow_mut();
        let most = if self.bytes.capacity() <= BLOCK / 2 { KEPT_OUTS } else { KEPT_BLOCKS };
        if kept.len() < most && self.bytes.capacity() <= 4 * BLOCK {
            self.bytes.clear();
            kept.push(std::mem::take(&mut self.bytes));
        }
    }
}
