//! A listener's connections, worker by worker.

use base::ids::WorkerId;

use super::Counter;

/// Connection counters of one listener.
#[derive(Debug)]
pub struct ConnectionStats {
    shards: Box<[ConnectionShard]>,
}

/// One worker's part of [`ConnectionStats`]. Only that worker may count into it.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct ConnectionShard {
    accepted: Counter,
    refused: Counter,
    begun: Counter,
    ended: Counter,
    handshakes: Counter,
    handshakes_failed: Counter,
    retries: Counter,
    handed_over: Counter,
    handed_over_lost: Counter,
    moves: Counter,
    datagrams_in: Counter,
    datagrams_out: Counter,
    datagrams_lost: Counter,
    auth_failures: Counter,
}

/// A reading of one worker's connections.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Connections {
    /// Accepted by this worker since the start.
    pub accepted: u64,
    /// Closed at once, because a limit was reached.
    pub refused: u64,
    /// Handshakes of TLS that both sides completed.
    pub handshakes: u64,
    /// Handshakes that one side broke off, that took too long, or that were too many.
    pub handshakes_failed: u64,
    /// Clients of QUIC that were asked to come back and prove their address.
    pub retries: u64,
    /// Datagrams that came here and were another worker's, and had room with it.
    pub handed_over: u64,
    /// Those that had none, and were lost.
    pub handed_over_lost: u64,
    /// Connections of QUIC whose client came to be at another address.
    pub moves: u64,
    /// Datagrams that clients of flows of UDP have sent.
    pub datagrams_in: u64,
    /// Datagrams that servers have sent to them.
    pub datagrams_out: u64,
    /// Those of either that went no farther.
    pub datagrams_lost: u64,
    /// Passwords and tokens that were nobody's.
    pub auth_failures: u64,
    /// Served by this worker now. One that was handed over counts where it is served, not where it was accepted.
    pub active: u64,
}

impl ConnectionStats {
    /// Counters for so many workers.
    pub fn new(workers: usize) -> ConnectionStats {
        ConnectionStats { shards: (0..workers).map(|_| ConnectionShard::default()).collect() }
    }

    /// The worker's own part.
    ///
    /// # Panics
    /// There are not so many workers.
    pub fn shard(&self, worker: WorkerId) -> &ConnectionShard {
        &self.shards[worker.0]
    }

    /// What each worker counted.
    pub fn read(&self) -> impl Iterator<Item = (WorkerId, Connections)> {
        self.shards.iter().enumerate().map(|(worker, shard)| (WorkerId(worker), shard.read()))
    }
}

impl ConnectionShard {
    /// The kernel gave us a connection.
    pub fn accepted(&self) {
        self.accepted.add(1);
    }

    /// A handshake of TLS was completed.
    pub fn handshake_done(&self) {
        self.handshakes.add(1);
    }

    /// A handshake of TLS was not.
    pub fn handshake_failed(&self) {
        self.handshakes_failed.add(1);
    }

    /// A client of QUIC was asked to come back and prove its address.
    pub fn retried(&self) {
        self.retries.add(1);
    }

    /// A datagram came here that was another worker's; `kept` says whether there was room for it.
    pub fn handed_over(&self, kept: bool) {
        if kept { self.handed_over.add(1) } else { self.handed_over_lost.add(1) }
    }

    /// A client of QUIC came to be at another address.
    pub fn moved(&self) {
        self.moves.add(1);
    }

    /// A password or a token was nobody's.
    pub fn auth_failed(&self) {
        self.auth_failures.add(1);
    }

    /// So many datagrams have come from a client of a flow of UDP.
    pub fn datagrams_in(&self, count: usize) {
        self.datagrams_in.add(count as u64);
    }

    /// So many have come from its server.
    pub fn datagrams_out(&self, count: usize) {
        self.datagrams_out.add(count as u64);
    }

    /// So many of either went no farther.
    pub fn datagrams_lost(&self, count: usize) {
        self.datagrams_lost.add(count as u64);
    }

    /// It was closed at once, because a limit was reached.
    pub fn refused(&self) {
        self.refused.add(1);
    }

    /// This worker begins to serve one, accepted here or handed over.
    pub fn begun(&self) {
        self.begun.add(1);
    }

    /// This worker is done with one that it had begun.
    pub fn ended(&self) {
        self.ended.add(1);
    }

    fn read(&self) -> Connections {
        Connections {
            accepted: self.accepted.read(),
            refused: self.refused.read(),
            handshakes: self.handshakes.read(),
            handshakes_failed: self.handshakes_failed.read(),
            retries: self.retries.read(),
            handed_over: self.handed_over.read(),
            handed_over_lost: self.handed_over_lost.read(),
            moves: self.moves.read(),
            datagrams_in: self.datagrams_in.read(),
            datagrams_out: self.datagrams_out.read(),
            datagrams_lost: self.datagrams_lost.read(),
            auth_failures: self.auth_failures.read(),
            // The two are not read at one instant: one that comes and goes in between must not count as minus one.
            active: self.begun.read().saturating_sub(self.ended.read()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_that_moves_counts_where_it_is_served() {
        let stats = ConnectionStats::new(2);
        let (first, second) = (stats.shard(WorkerId(0)), stats.shard(WorkerId(1)));
        (0..3).for_each(|_| first.accepted());
        first.refused();
        first.begun();
        second.begun();
        (0..2).for_each(|_| first.handshake_done());
        second.handshake_failed();
        second.retried();
        [true, true, false].into_iter().for_each(|kept| second.handed_over(kept));
        second.moved();
        second.auth_failed();
        first.ended();
        assert_eq!(
            stats.read().collect::<Vec<_>>(),
            [
                (WorkerId(0), Connections { accepted: 3, refused: 1, handshakes: 2, ..Connections::default() }),
                (
                    WorkerId(1),
                    Connections {
                        handshakes_failed: 1,
                        active: 1,
                        retries: 1,
                        handed_over: 2,
                        handed_over_lost: 1,
                        moves: 1,
                        auth_failures: 1,
                        ..Connections::default()
                    }
                ),
            ]
        );
    }
}
