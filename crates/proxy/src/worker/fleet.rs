//! All workers of the process, and what they are told.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::thread;

use base::ids::WorkerId;
use net::datagram;
use net::listen::Bound;
use net::quic;
use net::stream::Detached;
use observe::access::Sink;
use observe::stats::TurnMeter;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};

use super::{Hold, run};
use crate::pool::Pool;
use crate::relay::UnderWay;
use crate::session::Origin;
use crate::snapshot::{BindId, ListenerId, Snapshot};
use crate::users::Desk;

/// All workers of the process, as each of them and the control crate see them.
#[derive(Debug)]
pub struct Fleet {
    peers: Vec<Peer>,
    encoders: UnderWay,
    desk: Arc<Desk>,
}

/// One worker, seen from outside.
#[derive(Debug)]
pub struct Peer {
    inbox: UnboundedSender<Command>,
    connections: AtomicUsize,
    spliced: AtomicU64,
    /// How long its turns are.
    pub turns: Arc<TurnMeter>,
}

/// What a worker is told.
#[derive(Debug)]
pub enum Command {
    /// Run by this snapshot from now on.
    Apply(Arc<Snapshot>),
    /// Accept on this socket, too.
    Listen(ListenerId, BindId, SocketId, Bound, u16),
    /// Take connections over QUIC on this socket, too.
    Receive(ListenerId, BindId, SocketId, quic::Bound, u16),
    /// Take flows of UDP on this socket, too, which stays open as long as its address is held open.
    Relay(ListenerId, BindId, SocketId, datagram::Bound, u16, Hold),
    /// This socket of UDP is another listener's from now on.
    Rename(ListenerId, BindId, SocketId, u16),
    /// Accept what waits on this socket, then close it; tell when it is done.
    Unlisten(SocketId, Leave, tokio::sync::mpsc::Sender<()>),
    /// Write access records here from now on.
    Log(Option<Sink>),
    /// Serve this connection, which another worker accepted.
    Adopt(Detached, Origin),
    /// Give up idle connections to servers of this pool for those who wait at its gate.
    Relinquish(Arc<Pool>),
    /// Finish what is under way and close what is idle.
    Drain,
    /// Close everything: tell how many connections were cut.
    Cut(tokio::sync::mpsc::Sender<usize>),
}

/// What becomes of the flows of a socket of UDP that is closed. Connections have sockets of their own and stay in either case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leave {
    /// The socket takes nobody new, and ends with the last of them.
    Gently,
    /// They end, too.
    AtOnce,
}

/// A listening socket's number in the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SocketId(pub usize);

impl Fleet {
    /// Starts the workers. They serve nothing until they are told to. Whoever calls this has somebody work at the desk.
    ///
    /// # Errors
    /// A thread or its runtime could not be made.
    pub fn start(count: usize, desk: Arc<Desk>) -> io::Result<Arc<Fleet>> {
        let (mut peers, mut inboxes) = (Vec::new(), Vec::new());
        for _ in 0..count {
            let (inbox, receiver) = unbounded_channel();
            inboxes.push(receiver);
            peers.push(Peer {
                inbox,
                connections: AtomicUsize::new(0),
                spliced: AtomicU64::new(0),
                turns: Arc::default(),
            });
        }
        let fleet = Arc::new(Fleet { peers, encoders: UnderWay::default(), desk });
        for (number, inbox) in inboxes.into_iter().enumerate() {
            let fleet = Arc::clone(&fleet);
            thread::Builder::new()
                .name(format!("worker-{number}"))
                .spawn(move || run(WorkerId(number), fleet, inbox))?;
        }
        Ok(fleet)
    }

    /// How many workers there are.
    pub fn len(&self) -> usize {
        self.peers.len()
    }

    /// Whether there are no workers.
    pub fn is_empty(&self) -> bool {
        self.peers.is_empty()
    }

    /// The workers.
    pub fn peers(&self) -> &[Peer] {
        &self.peers
    }

    /// Tells every worker.
    pub fn tell_all(&self, mut command: impl FnMut(WorkerId) -> Command) {
        for number in 0..self.peers.len() {
            self.tell(WorkerId(number), command(WorkerId(number)));
        }
    }

    /// Tells one worker.
    pub fn tell(&self, worker: WorkerId, command: Command) {
        // A worker's inbox closes only with the process.
        let _ = self.peers[worker.0].inbox.send(command);
    }

    /// How many contents are under way into a coding.
    pub fn encoders(&self) -> usize {
        self.encoders.now()
    }

    /// How many contents went as they are because too many others were.
    pub fn encoders_refused(&self) -> u64 {
        self.encoders.refused()
    }

    /// Where slow passwords are looked at.
    pub fn desk(&self) -> &Arc<Desk> {
        &self.desk
    }

    pub(crate) fn under_way(&self) -> &UnderWay {
        &self.encoders
    }

    /// Connections of all workers.
    pub fn connections(&self) -> usize {
        self.peers.iter().map(Peer::connections).sum()
    }

    /// The worker that should serve a connection which `worker` has accepted: itself, unless it holds clearly more than
    /// the least busy one.
    pub(crate) fn place(&self, worker: WorkerId) -> WorkerId {
        if self.peers.len() == 1 {
            return worker;
        }
        let mine = self.peers[worker.0].connections();
        let (least, fewest) = self
            .peers
            .iter()
            .map(Peer::connections)
            .enumerate()
            .min_by_key(|(_, connections)| *connections)
            .unwrap_or((worker.0, mine));
        if mine >= fewest + 2 + fewest / 8 { WorkerId(least) } else { worker }
    }

    pub(crate) fn spliced(&self, worker: WorkerId, bytes: u64) {
        self.peers[worker.0].spliced.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(crate) fn connection_began(&self, worker: WorkerId) {
        self.peers[worker.0].connections.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn connection_ended(&self, worker: WorkerId) {
        self.peers[worker.0].connections.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Peer {
    /// Connections that it serves.
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }

    /// Bytes of bodies that went through its pipes.
    pub fn spliced(&self) -> u64 {
        self.spliced.load(Ordering::Relaxed)
    }
}
