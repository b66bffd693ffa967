//! What became of requests: of a listener's route, or of a pool's server.

use std::sync::OnceLock;

use base::ids::WorkerId;
use base::{Fault, Kind, Side};

use super::Counter;
use super::histogram::{Cells, Histogram};

/// Request counters of one route or one server.
#[derive(Debug)]
pub struct RequestStats {
    shards: Box<[OnceLock<Box<Shard>>]>,
}

/// One worker's part of [`RequestStats`]. Only that worker may count into it.
#[derive(Debug)]
#[repr(align(128))]
pub struct Shard {
    classes: [Counter; Class::ALL.len()],
    faults: [[Counter; Kind::ALL.len()]; SIDES.len()],
    bytes_in: Counter,
    bytes_out: Counter,
    latency: Cells,
}

/// What became of one request.
#[derive(Clone, Copy, Debug)]
pub struct Outcome {
    /// The status that was sent to the client, or came from the server; 0 if there was none.
    pub status: u16,
    /// What went wrong.
    pub fault: Option<Fault>,
    /// Bytes of body from the client.
    pub bytes_in: u64,
    /// Bytes of body to the client.
    pub bytes_out: u64,
    /// How long it took, in microseconds; nothing if that says nothing, as of a try that was reset.
    pub total_us: Option<u64>,
}

/// A reading of [`RequestStats`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Requests {
    classes: [u64; Class::ALL.len()],
    faults: [[u64; Kind::ALL.len()]; SIDES.len()],
    /// Bytes of bodies from clients.
    pub bytes_in: u64,
    /// Bytes of bodies to clients.
    pub bytes_out: u64,
    /// How long requests took.
    pub latency: Histogram,
}

/// Arrays of more than 32 have no default of their own.
impl Default for Requests {
    fn default() -> Requests {
        Requests {
            classes: [0; Class::ALL.len()],
            faults: [[0; Kind::ALL.len()]; SIDES.len()],
            bytes_in: 0,
            bytes_out: 0,
            latency: Histogram::default(),
        }
    }
}

/// The class of a status code (RFC 9110 section 15).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// No status was sent, or one outside of the five classes.
    None,
    /// 1xx: an upgrade's 101.
    Informational,
    /// 2xx
    Successful,
    /// 3xx
    Redirection,
    /// 4xx
    ClientError,
    /// 5xx
    ServerError,
}

impl RequestStats {
    /// Counters for so many workers.
    pub fn new(workers: usize) -> RequestStats {
        RequestStats { shards: (0..workers).map(|_| OnceLock::new()).collect() }
    }

    /// The worker's own part, made when it first asks.
    ///
    /// # Panics
    /// There are not so many workers.
    pub fn shard(&self, worker: WorkerId) -> &Shard {
        self.shards[worker.0].get_or_init(Box::default)
    }

    /// The sum over all workers.
    pub fn read(&self) -> Requests {
        let mut sum = Requests::default();
        for shard in self.shards.iter().filter_map(OnceLock::get) {
            sum.merge(&shard.read());
        }
        sum
    }
}

impl Shard {
    /// Counts one request.
    pub fn count(&self, outcome: &Outcome) {
        self.classes[Class::of(outcome.status) as usize].add(1);
        if let Some(fault) = outcome.fault {
            self.faults[fault.side as usize][fault.kind as usize].add(1);
        }
        self.bytes_in.add(outcome.bytes_in);
        self.bytes_out.add(outcome.bytes_out);
        if let Some(total_us) = outcome.total_us {
            self.latency.record(total_us);
        }
    }

    fn read(&self) -> Requests {
        Requests {
            classes: std::array::from_fn(|class| self.classes[class].read()),
            faults: std::array::from_fn(|side| std::array::from_fn(|kind| self.faults[side][kind].read())),
            bytes_in: self.bytes_in.read(),
            bytes_out: self.bytes_out.read(),
            latency: self.latency.read(),
        }
    }
}

impl Default for Shard {
    fn default() -> Shard {
        Shard {
            classes: [const { Counter::new() }; Class::ALL.len()],
            faults: [const { [const { Counter::new() }; Kind::ALL.len()] }; SIDES.len()],
            bytes_in: Counter::new(),
            bytes_out: Counter::new(),
            latency: Cells::default(),
        }
    }
}

impl Requests {
    /// How many requests there were.
    pub fn total(&self) -> u64 {
        self.classes.iter().sum()
    }

    /// How many ended with a status of this class.
    pub fn with_class(&self, class: Class) -> u64 {
        self.classes[class as usize]
    }

    /// The faults that happened, and how often.
    pub fn faults(&self) -> impl Iterator<Item = (Side, Kind, u64)> {
        SIDES.into_iter().zip(&self.faults).flat_map(|(side, counts)| {
            Kind::ALL
                .into_iter()
                .zip(counts)
                .filter(|(_, count)| **count > 0)
                .map(move |(kind, count)| (side, kind, *count))
        })
    }

    /// Adds what another reading counted.
    pub fn merge(&mut self, other: &Requests) {
        self.combine(other, |mine, theirs| mine + theirs);
        self.latency.merge(&other.latency);
    }

    /// What was counted since an earlier reading of the same source.
    pub fn since(&self, earlier: &Requests) -> Requests {
        let mut rest = self.clone();
        rest.combine(earlier, u64::saturating_sub);
        rest.latency = self.latency.since(&earlier.latency);
        rest
    }

    fn combine(&mut self, other: &Requests, operation: fn(u64, u64) -> u64) {
        let pairs = self.classes.iter_mut().zip(&other.classes);
        let pairs = pairs.chain(self.faults.as_flattened_mut().iter_mut().zip(other.faults.as_flattened()));
        for (mine, theirs) in pairs {
            *mine = operation(*mine, *theirs);
        }
        self.bytes_in = operation(self.bytes_in, other.bytes_in);
        self.bytes_out = operation(self.bytes_out, other.bytes_out);
    }
}

impl Class {
    /// Every class, in order.
    pub const ALL: [Class; 6] = [
        Class::None,
        Class::Informational,
        Class::Successful,
        Class::Redirection,
        Class::ClientError,
        Class::ServerError,
    ];

    /// The class of a status.
    pub fn of(status: u16) -> Class {
        match status / 100 {
            1 => Class::Informational,
            2 => Class::Successful,
            3 => Class::Redirection,
            4 => Class::ClientError,
            5 => Class::ServerError,
            _ => Class::None,
        }
    }

    /// The class as metrics name it: `2xx`, or `none`.
    pub const fn name(self) -> &'static str {
        match self {
            Class::None => "none",
            Class::Informational => "1xx",
            Class::Successful => "2xx",
            Class::Redirection => "3xx",
            Class::ClientError => "4xx",
            Class::ServerError => "5xx",
        }
    }
}

/// Every side, in the order of its declaration.
const SIDES: [Side; 3] = [Side::Client, Side::Server, Side::Proxy];

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    fn outcome(status: u16, fault: Option<Fault>) -> Outcome {
        Outcome { status, fault, bytes_in: 3, bytes_out: 1_000, total_us: Some(700) }
    }

    #[test]
    fn tables_are_in_the_order_of_their_enums() {
        assert!(Kind::ALL.iter().enumerate().all(|(index, kind)| *kind as usize == index));
        assert!(SIDES.iter().enumerate().all(|(index, side)| *side as usize == index));
        assert!(Class::ALL.iter().enumerate().all(|(index, class)| *class as usize == index));
    }

    #[test]
    fn workers_count_alone_and_readers_sum() {
        const WORKERS: usize = 4;
        const EACH: u64 = 10_000;
        let stats = RequestStats::new(WORKERS);
        thread::scope(|scope| {
            for worker in 0..WORKERS {
                let stats = &stats;
                scope.spawn(move || {
                    for _ in 0..EACH {
                        stats.shard(WorkerId(worker)).count(&outcome(200, None));
                    }
                    stats.shard(WorkerId(worker)).count(&outcome(502, Some(Fault::proxy(Kind::Overload))));
                });
            }
        });
        let sum = stats.read();
        assert_eq!(sum.total(), WORKERS as u64 * (EACH + 1));
        assert_eq!(sum.with_class(Class::Successful), WORKERS as u64 * EACH);
        assert_eq!(sum.faults().collect::<Vec<_>>(), [(Side::Proxy, Kind::Overload, WORKERS as u64)]);
        assert_eq!((sum.bytes_in, sum.bytes_out), (3 * sum.total(), 1_000 * sum.total()));
        assert_eq!((sum.latency.count(), sum.latency.sum_us()), (sum.total(), 700 * sum.total()));
    }

    #[test]
    fn a_window_is_the_difference_of_two_readings() {
        let stats = RequestStats::new(1);
        let shard = stats.shard(WorkerId(0));
        shard.count(&outcome(200, None));
        let earlier = stats.read();
        shard.count(&outcome(404, Some(Fault::client(Kind::NoRoute))));
        let window = stats.read().since(&earlier);
        assert_eq!((window.total(), window.with_class(Class::ClientError), window.bytes_out), (1, 1, 1_000));
        assert_eq!(window.latency.count(), 1);
        let mut whole = earlier;
        whole.merge(&window);
        assert_eq!(whole, stats.read());
    }

    #[test]
    fn a_route_without_traffic_is_small() {
        assert!(size_of::<OnceLock<Box<Shard>>>() <= 16);
        assert!(size_of::<Shard>() <= 2048, "{}", size_of::<Shard>());
    }
}
