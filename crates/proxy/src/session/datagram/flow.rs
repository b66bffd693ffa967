//! One flow: who serves it, and what is recorded of it when it is over.

use std::borrow::Cow;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use base::Fault;
use base::ids::RequestId;

use super::table::Lasts;
use crate::attempt::Correspondent;
use crate::balance::outlier::Verdict;
use crate::exchange::Exchange;
use crate::finish::{self, Kept};
use crate::pool::{Entry, Ids};
use crate::session::Counted;
use crate::worker::Worker;

/// A flow, as long as it lasts.
pub(super) struct Flow {
    pub(super) standing: Standing,
    pub(super) account: Kept,
    /// Its place among what its pool has under way, where that is limited.
    pub(super) entry: Option<Entry>,
    /// Its place among the further tries of its pool, until a server has answered or refused.
    pub(super) retrying: Option<Entry>,
    pub(super) tries: u8,
    /// It counts among what its pool has under way.
    pub(super) counted: bool,
    pub(super) fault: Option<Fault>,
    /// More about it.
    pub(super) cause: Cow<'static, str>,
    pub(super) come: Sum,
    pub(super) gone: Sum,
    id: RequestId,
    time: SystemTime,
    began: Instant,
    /// How long the first answer took.
    response: Option<Duration>,
    _counted: Counted,
}

/// Who serves a flow.
pub(super) enum Standing {
    /// This server.
    Served(Served),
    /// None for now: it is looked for again when the client says more.
    Unserved,
    /// Nobody, as long as the configuration of this generation is in force.
    Denied(u64),
}

/// The server of a flow.
pub(super) struct Served {
    pub(super) by: Correspondent,
    /// It has said that nobody listens there.
    pub(super) refuses: bool,
    /// Much comes from it at once.
    pub(super) is_busy: bool,
    /// The first datagram, until it is known that somebody listens: then it need not be sent elsewhere.
    pub(super) first: Option<Box<[u8]>>,
    /// Where the ids that it chooses are learned, and those that were.
    pub(super) learned: Option<Learned>,
}

/// Ids of QUIC that the server of a flow has chosen.
pub(super) struct Learned {
    ids: Arc<Ids>,
    chosen: [Option<u64>; 2],
    lasts: Duration,
}

/// How much has passed.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Sum {
    pub(super) bytes: u64,
    pub(super) datagrams: u64,
}

impl Flow {
    /// A flow that has come to nobody yet.
    pub(super) fn new(x: &Exchange, account: Kept, counted: Counted) -> Flow {
        Flow {
            standing: Standing::Unserved,
            account,
            entry: None,
            retrying: None,
            tries: 0,
            fault: None,
            cause: Cow::Borrowed(""),
            counted: false,
            come: Sum::default(),
            gone: Sum::default(),
            id: x.facts.id,
            time: x.notes.time,
            began: x.notes.began,
            response: None,
            _counted: counted,
        }
    }

    /// Its server, if it has one.
    pub(super) fn served(&mut self) -> Option<&mut Served> {
        match &mut self.standing {
            Standing::Served(served) => Some(served),
            Standing::Unserved | Standing::Denied(_) => None,
        }
    }

    /// Its server has answered; answers whether that is the first time.
    pub(super) fn is_answered(&mut self, now: Instant) -> bool {
        if self.response.is_some() {
            return false;
        }
        let took = now.saturating_duration_since(self.began);
        self.response = Some(took);
        self.retrying = None;
        let Some(served) = self.served() else { return true };
        served.first = None;
        if let Some(server) = served.by.server() {
            server.connect_succeeded();
            server.hear(|| Verdict::Good);
            if server.is_latency_followed() {
                server.answered(took, now);
            }
        }
        true
    }

    /// It goes on: what is known of it elsewhere is kept.
    pub(super) fn goes_on(&mut self, now: Instant) {
        let Some(Served { by, learned: Some(learned), .. }) = self.served() else { return };
        let Some(server) = by.server() else { return };
        for id in learned.chosen.iter().flatten() {
            learned.ids.keep(*id, server.slot, now, learned.lasts * 2);
        }
    }

    /// Makes an exchange what it was when the flow began, to look for a server again, or to record it.
    pub(super) fn recall(&self, x: &mut Exchange, client: SocketAddr) {
        x.client.is_flow = true;
        (x.facts.id, x.facts.peer, x.facts.client) = (self.id, client, client.ip().to_canonical());
        (x.notes.time, x.notes.began) = (self.time, self.began);
        (x.notes.tries, x.notes.counted) = (self.tries, self.counted);
    }

    /// Writes its record and counts it.
    pub(super) fn end(mut self, worker: &Worker, client: SocketAddr, last: Instant, fault: Option<Fault>) {
        self.goes_on(Instant::now());
        let bytes = (self.come.bytes, self.gone.bytes);
        let response = self.response;
        if let Some(server) = self.served().and_then(|served| served.by.server()) {
            finish::corresponded(worker, server, bytes, response);
        }
        let mut x = worker.exchange();
        self.recall(&mut x, client);
        // Silence is not part of it; a flow of one datagram has taken no time.
        x.notes.ended = last.max(self.began + Duration::from_nanos(1));
        x.notes.response = response;
        (x.notes.bytes_in, x.notes.bytes_out) = bytes;
        x.notes.datagrams = Some((self.come.datagrams, self.gone.datagrams));
        x.notes.cut = fault.is_some();
        x.notes.fault = fault.or(self.fault);
        if fault.is_none() {
            x.notes.cause = self.cause;
        }
        finish::record(worker, &mut x, &self.account.borrowed());
        worker.recycle(x);
    }
}

impl Served {
    /// A server that was found for a flow which lasts so long.
    pub(super) fn new(by: Correspondent, first: Option<&[u8]>, ids: Option<&Arc<Ids>>, lasts: Lasts) -> Served {
        let learned = ids.map(|ids| Learned { ids: Arc::clone(ids), chosen: [None; 2], lasts: lasts.silent });
        if learned.is_some() {
            // What the way says of its load is for both ends of QUIC to hear. Where the kernel cannot tell, nobody can.
            let _ = by.line.join();
        }
        Served { by, refuses: false, is_busy: learned.is_some(), first: first.map(Into::into), learned }
    }

    /// Notes an id that the server has chosen, if its datagram says one.
    pub(super) fn learn(&mut self, datagram: &[u8], now: Instant) {
        let Some(learned) = &mut self.learned else { return };
        let Some(server) = self.by.server() else { return };
        let id = learned.ids.learn(datagram, server.slot, now, learned.lasts * 2);
        if id.is_some() && !learned.chosen.contains(&id) {
            // A server that asks its client to come back chooses a second one (RFC 9000 section 8.1.2).
            learned.chosen = [id, learned.chosen[0]];
        }
    }

    /// Whether it should get nothing more: it refuses, or others say that it is out.
    pub(super) fn is_out(&self) -> bool {
        self.refuses || self.by.server().is_none_or(|server| server.is_checked_down() || server.is_ejected())
    }
}

impl Sum {
    /// So much more.
    pub(super) fn add(&mut self, bytes: usize, datagrams: usize) {
        self.bytes += bytes as u64;
        self.datagrams += datagrams as u64;
    }
}
