//! How fast bodies and tunnels may go: so many bytes a second, by client or whatever else tells requests apart, over all workers.
//!
//! What has passed is paid for by time, as in the generic cell rate algorithm: a bucket holds the moment until which all that it let
//! through is paid. Whoever comes before that, less the burst, waits by its worker's clock. A pump looks at a bucket without a lock; the
//! table of them is looked at once a request.

use std::future::poll_fn;
use std::hash::BuildHasher as _;
use std::hash::RandomState;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use base::{Fault, Kind};
use net::alarm::Alarm;
use net::stream::Peek;
use rustc_hash::FxHashMap;

use crate::balance::Key;
use crate::exchange::Exchange;
use crate::session::Session;
use crate::snapshot::Route;
use crate::users::neighbourhood;
use crate::worker::Worker;

/// A limit of how fast bodies go.
#[derive(Debug)]
pub struct Bandwidth {
    /// Bytes a second.
    pub rate: u64,
    /// Bytes that may go at once after a silence.
    pub burst: u64,
    /// Who shares it.
    pub by: Key,
    /// Whether it holds from clients, and to them.
    pub up: bool,
    /// See `up`.
    pub down: bool,
    /// What those who share it have had.
    pub buckets: Arc<Buckets>,
}

/// What was had, by everybody who is told apart. It survives a reload by its policy's name.
#[derive(Debug)]
pub struct Buckets {
    begin: Instant,
    keys: RandomState,
    shards: [Mutex<FxHashMap<u64, Arc<Bucket>>>; SHARDS],
    /// Of those for whom there is no room.
    others: Arc<Bucket>,
}

/// What one of them has had.
#[derive(Debug, Default)]
pub(crate) struct Bucket {
    /// The nanosecond after the beginning until which it is paid.
    paid: AtomicU64,
}

/// What holds a pump back.
pub(crate) struct Pace {
    bandwidth: Arc<Bandwidth>,
    bucket: Arc<Bucket>,
    alarm: Alarm,
}

/// Workers rarely meet in one of so many.
const SHARDS: usize = 64;
/// Buckets in each: 65536 in all. Beyond that those who come share one, until others have been silent for long enough.
const EACH: usize = 1024;
/// How often in a second a pump has its turn at least, where it has the bandwidth for itself.
const TURNS: u64 = 20;
/// A turn is no longer than a read.
const LONGEST_TURN: u64 = 64 * 1024;
/// What may have passed before it was looked at: what came with heads, and what many workers have let pass at once.
const MOST_OWED: u64 = 4 * 1024 * 1024;
const SECOND: u64 = 1_000_000_000;

/// Holds a request back as long as those who share its bandwidth owe more than they may have at once: what comes with heads has passed
/// before it is looked at. From then on its body is held back.
pub(crate) async fn begin(
    session: &mut Session,
    x: &mut Exchange,
    route: &Route,
    bandwidth: &Arc<Bandwidth>,
) -> Result<(), Fault> {
    let Some(mut pace) = of(&session.worker, x, bandwidth) else { return Ok(()) };
    let until = route.total.map(|total| x.notes.began + total);
    let Session { worker, client, timer, .. } = session;
    if let Some(until) = until {
        let now = Instant::now();
        timer.arm(now, until.saturating_duration_since(now));
    }
    poll_fn(|cx| {
        if pace.poll_room(cx).is_ready() {
            return Poll::Ready(Ok(()));
        }
        if worker.is_cut() {
            return Poll::Ready(Err(Fault::proxy(Kind::Drained)));
        }
        if client.poll_peek(cx) == Poll::Ready(Peek::Broken) {
            return Poll::Ready(Err(Fault::client(Kind::ClientGone)));
        }
        if until.is_some() {
            ready!(timer.poll_expired(cx));
            return Poll::Ready(Err(Fault::proxy(Kind::TotalTimeout)));
        }
        Poll::Pending
    })
    .await?;
    if bandwidth.up {
        // Of its body this has come already.
        pace.took(x.prefix.len() as u64);
        x.upload.toll.get_or_insert_default().pace = Some(pace);
    }
    Ok(())
}

/// What holds back what goes from clients (`up`), or to them, by a route.
pub(crate) fn pace(worker: &Worker, x: &Exchange, route: &Route, up: bool) -> Option<Pace> {
    let wanted = |bandwidth: &&Arc<Bandwidth>| if up { bandwidth.up } else { bandwidth.down };
    of(worker, x, route.bandwidth.as_ref().filter(wanted)?)
}

/// Without a clock nothing is held back.
fn of(worker: &Worker, x: &Exchange, bandwidth: &Arc<Bandwidth>) -> Option<Pace> {
    let mut view = x.facts.view(&x.request);
    // A host of IPv6 has as many addresses in its network as it likes.
    (view.client, view.peer) = (neighbourhood(view.client), neighbourhood(view.peer));
    let key = bandwidth.by.hash(&view);
    let bucket = bandwidth.buckets.of(key, Instant::now());
    Some(Pace { bandwidth: Arc::clone(bandwidth), bucket, alarm: worker.alarm().ok()? })
}

impl Pace {
    /// How many bytes may pass; pending until some may.
    pub(crate) fn poll_room(&mut self, cx: &Context<'_>) -> Poll<usize> {
        loop {
            let now = self.bandwidth.buckets.nanos(Instant::now());
            match self.bandwidth.room(&self.bucket, now) {
                Ok(room) => return Poll::Ready(usize::try_from(room).unwrap_or(usize::MAX)),
                Err(wait) => self.alarm.set(Instant::now(), wait),
            }
            ready!(self.alarm.poll_due(cx));
        }
    }

    /// So many bytes have passed.
    pub(crate) fn took(&self, bytes: u64) {
        let now = self.bandwidth.buckets.nanos(Instant::now());
        self.bandwidth.took(&self.bucket, bytes, now);
    }
}

impl std::fmt::Debug for Pace {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pace").field("bucket", &self.bucket).finish_non_exhaustive()
    }
}

impl Bandwidth {
    /// How many bytes may pass now, or how long it takes until some may.
    fn room(&self, bucket: &Bucket, now: u64) -> Result<u64, Duration> {
        let (mut paid, latest) = (bucket.paid.load(Ordering::Relaxed), self.latest(now));
        if paid > latest {
            // It stays so: else it would go on with the clock, and nobody would ever have paid.
            paid = bucket.paid.fetch_min(latest, Ordering::Relaxed).min(latest);
        }
        let turn = (self.rate / TURNS).clamp(1, LONGEST_TURN).min(self.burst);
        let most = self.cost(self.burst);
        let left = now.saturating_add(most).saturating_sub(paid.max(now));
        match self.cost(turn).checked_sub(left) {
            None | Some(0) => Ok(self.bytes(left).max(turn)),
            // What is owed beyond the burst is waited for, too.
            Some(short) => Err(Duration::from_nanos(short + paid.saturating_sub(now.saturating_add(most)))),
        }
    }

    fn took(&self, bucket: &Bucket, bytes: u64, now: u64) {
        let cost = self.cost(bytes);
        // What is added in a loop is never lost to another worker.
        let add = |paid: u64| Some((paid.max(now) + cost).min(self.latest(now)));
        let _ = bucket.paid.fetch_update(Ordering::Relaxed, Ordering::Relaxed, add);
    }

    /// Nobody owes more than this, whatever was owed by another rate.
    fn latest(&self, now: u64) -> u64 {
        now.saturating_add(self.cost(self.burst.saturating_add(MOST_OWED)))
    }

    /// Nanoseconds that so many bytes take. Less than a whole one counts as one: many small pieces would be too fast.
    fn cost(&self, bytes: u64) -> u64 {
        let nanos = (u128::from(bytes) * u128::from(SECOND)).div_ceil(u128::from(self.rate.max(1)));
        u64::try_from(nanos).unwrap_or(u64::MAX / 4)
    }

    fn bytes(&self, nanos: u64) -> u64 {
        u64::try_from(u128::from(nanos) * u128::from(self.rate) / u128::from(SECOND)).unwrap_or(u64::MAX)
    }
}

impl Buckets {
    fn of(&self, key: u64, now: Instant) -> Arc<Bucket> {
        // A stranger must not choose who shares a shard.
        let key = self.keys.hash_one(key);
        let mut shard = self.shards[key as usize % SHARDS].lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(bucket) = shard.get(&key) {
            return Arc::clone(bucket);
        }
        if shard.len() >= EACH {
            let now = self.nanos(now);
            shard.retain(|_, bucket| Arc::strong_count(bucket) > 1 || bucket.paid.load(Ordering::Relaxed) > now);
        }
        if shard.len() >= EACH {
            return Arc::clone(&self.others);
        }
        Arc::clone(shard.entry(key).or_default())
    }

    fn nanos(&self, now: Instant) -> u64 {
        now.saturating_duration_since(self.begin).as_nanos() as u64
    }
}

impl Default for Buckets {
    fn default() -> Buckets {
        Buckets {
            begin: Instant::now(),
            keys: RandomState::new(),
            shards: [const { Mutex::new(FxHashMap::with_hasher(rustc_hash::FxBuildHasher)) }; SHARDS],
            others: Arc::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn bandwidth(rate: u64, burst: u64) -> Bandwidth {
        Bandwidth { rate, burst, by: Key::default(), up: true, down: true, buckets: Arc::default() }
    }

    #[test]
    fn a_burst_goes_at_once_and_the_rest_by_time() {
        let (bandwidth, bucket) = (bandwidth(1000, 500), Bucket::default());
        assert_eq!(bandwidth.room(&bucket, 0), Ok(500));
        bandwidth.took(&bucket, 500, 0);
        // A turn of 50 bytes is paid in 50 ms.
        assert_eq!(bandwidth.room(&bucket, 0), Err(Duration::from_millis(50)));
        assert_eq!(bandwidth.room(&bucket, 20_000_000), Err(Duration::from_millis(30)));
        assert_eq!(bandwidth.room(&bucket, 50_000_000), Ok(50));
        // What came with a head is owed.
        bandwidth.took(&bucket, 1050, 50_000_000);
        assert_eq!(bandwidth.room(&bucket, 50_000_000), Err(Duration::from_millis(1050)));
        // Who owes by another rate has paid in time.
        bucket.paid.store(u64::MAX / 8, Ordering::Relaxed);
        let Err(wait) = bandwidth.room(&bucket, 50_000_000) else { panic!("nothing is owed") };
        assert_eq!(bandwidth.room(&bucket, 50_000_000 + wait.as_nanos() as u64), Ok(50));
        // A silence fills it, and no more than that.
        assert_eq!(bandwidth.room(&bucket, 100_000 * SECOND), Ok(500));
    }

    #[test]
    fn everybody_has_a_bucket_while_there_is_room() {
        let buckets = Buckets::default();
        let now = Instant::now();
        let first = buckets.of(1, now);
        assert!(Arc::ptr_eq(&first, &buckets.of(1, now)) && !Arc::ptr_eq(&first, &buckets.of(2, now)));
        let held: Vec<_> = (0..SHARDS as u64 * EACH as u64 * 2).map(|key| buckets.of(key, now)).collect();
        assert!(held.iter().any(|bucket| Arc::ptr_eq(bucket, &buckets.others)));
        assert!(buckets.shards.iter().all(|shard| shard.lock().expect("whole").len() <= EACH));
        drop(held);
        // Who is paid and gone makes room.
        assert!(
            (0..100).map(|key| buckets.of(key + (1 << 40), now)).all(|bucket| !Arc::ptr_eq(&bucket, &buckets.others))
        );
    }

    proptest! {
        /// Whoever takes what there is room for, whenever it may, is never faster than the rate, and hardly slower.
        #[test]
        fn nobody_is_faster_than_the_rate(rate in 1u64..10_000_000, burst in 1u64..1_000_000, ever in 1u64..20) {
            let (bandwidth, bucket) = (bandwidth(rate, burst), Bucket::default());
            let (mut now, mut had) = (0, 0);
            let end = ever * SECOND;
            while now < end {
                match bandwidth.room(&bucket, now) {
                    Ok(room) => {
                        bandwidth.took(&bucket, room, now);
                        had += room;
                    }
                    Err(wait) => now += (wait.as_nanos() as u64).max(1),
                }
            }
            let turn = (rate / TURNS).clamp(1, LONGEST_TURN).min(burst);
            prop_assert!(had <= burst + rate * ever + turn + 1, "{had}");
            prop_assert!(had + turn + rate / 100 + 1 >= rate * ever, "{had}");
        }
    }
}
