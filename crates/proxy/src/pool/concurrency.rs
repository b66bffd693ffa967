//! How many requests at a time a pool does best with, found by watching how long its servers take.
//!
//! While servers have room, a response takes about the same time however many requests there are; beyond that requests only
//! wait for each other. So the limit follows the gradient between the time without load and the time now, as Envoy's
//! `adaptive_concurrency` and Netflix's concurrency-limits do:
//! `limit = limit × clamp((base × 1.25) / now, 0.5, 2) + √limit`. It grows only while it is used.
//!
//! A request counts until the head of its response is here: what comes then is at the pace of its client. A 5xx is no sample, since
//! failing is often fast (both of them ignore what was dropped, too); a time-out is one, of at least so long.
//!
//! The time without load is the shortest mean of a window. It is measured anew twice a minute: for that the limit is halved
//! for two windows, in which what has piled up at the servers can flow off. (Envoy goes down to its smallest limit instead.)

use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::tally::{Entry, Tally};

/// Between which numbers a limit moves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// The smallest limit.
    pub min: u32,
    /// The largest limit.
    pub max: u32,
}

/// The limit of one pool, shared by all workers.
#[derive(Debug)]
pub struct Concurrency {
    begin: Instant,
    limit: AtomicU32,
    under_way: Tally,
    /// The window that is open: samples, their sum in microseconds, the most requests at a time.
    samples: AtomicU32,
    sum: AtomicU64,
    peak: AtomicU32,
    /// When it may end, in microseconds after `begin`.
    ends: AtomicU64,
    gradient: Mutex<Gradient>,
}

/// What a limit is computed from.
#[derive(Debug)]
struct Gradient {
    limit: f64,
    /// The shortest mean so far, in microseconds, and when it has to be measured anew.
    base: Option<(f64, Duration)>,
    course: Course,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Course {
    /// The limit follows the gradient.
    Steady,
    /// It is halved, from this limit, so that what has piled up flows off; what is measured says nothing yet.
    Emptying(u32),
    /// It is halved: this window is the new base, and the limit goes on from there.
    Measuring(u32),
}

/// What was seen in one window.
#[derive(Clone, Copy, Debug)]
struct Window {
    mean: f64,
    peak: u32,
}

/// A window is at least so long and has so many samples.
const WINDOW: Duration = Duration::from_millis(100);
const SAMPLES: u32 = 10;
/// How long a base is believed.
const BELIEVED: Duration = Duration::from_secs(30);
/// The same for one that was shorter than the one before.
const DOUBTED: Duration = Duration::from_millis(500);
/// How much longer than the base is as good as the base.
const TOLERANCE: f64 = 1.25;
/// The limit before anything was measured.
const FIRST_LIMIT: u32 = 20;

impl Concurrency {
    /// A limit that nothing is known of.
    pub fn new(begin: Instant) -> Concurrency {
        Concurrency {
            begin,
            limit: AtomicU32::new(FIRST_LIMIT),
            under_way: Tally::default(),
            samples: AtomicU32::new(0),
            sum: AtomicU64::new(0),
            peak: AtomicU32::new(0),
            ends: AtomicU64::new(WINDOW.as_micros() as u64),
            gradient: Mutex::new(Gradient { limit: f64::from(FIRST_LIMIT), base: None, course: Course::Steady }),
        }
    }

    /// The limit now.
    pub fn limit(&self, bounds: Bounds) -> u32 {
        self.limit.load(Ordering::Relaxed).clamp(bounds.min, bounds.max)
    }

    /// Requests that are under way.
    pub fn under_way(&self) -> u32 {
        self.under_way.count()
    }

    /// Counts one more request, unless the limit is reached.
    pub(crate) fn enter(&self, bounds: Bounds) -> Option<Entry> {
        self.under_way.enter(self.limit(bounds))
    }

    /// A server took so long for a response's head, or at least so long.
    pub(crate) fn sample(&self, now: Instant, took: Duration, bounds: Bounds) {
        self.sum.fetch_add(took.as_micros() as u64, Ordering::Relaxed);
        self.peak.fetch_max(self.under_way.count(), Ordering::Relaxed);
        let samples = self.samples.fetch_add(1, Ordering::Relaxed) + 1;
        let now = now.saturating_duration_since(self.begin);
        if samples < SAMPLES || (now.as_micros() as u64) < self.ends.load(Ordering::Relaxed) {
            return;
        }
        // Somebody else may be at it: then this sample was the last of that window or is the first of the next.
        let Ok(mut gradient) = self.gradient.try_lock() else { return };
        let samples = self.samples.swap(0, Ordering::Relaxed);
        let sum = self.sum.swap(0, Ordering::Relaxed);
        let peak = self.peak.swap(0, Ordering::Relaxed);
        if samples == 0 {
            return;
        }
        let window = Window { mean: sum as f64 / f64::from(samples), peak };
        self.limit.store(gradient.follow(now, window, bounds), Ordering::Relaxed);
        self.ends.store((now + WINDOW).as_micros() as u64, Ordering::Relaxed);
    }
}

impl Gradient {
    /// The limit after this window, which has ended now.
    fn follow(&mut self, now: Duration, window: Window, bounds: Bounds) -> u32 {
        let (least, most) = (f64::from(bounds.min), f64::from(bounds.max));
        let halved = |limit: u32| (limit / 2).max(bounds.min);
        match self.course {
            Course::Emptying(limit) => {
                self.course = Course::Measuring(limit);
                return halved(limit);
            }
            Course::Measuring(limit) => {
                self.course = Course::Steady;
                // The first base may have been measured under load: as long as there is a shorter one, it is looked for.
                let was_long = self.base.is_none_or(|(base, _)| window.mean < base * 0.9);
                self.base = Some((window.mean, now + if was_long { DOUBTED } else { BELIEVED }));
                return limit;
            }
            Course::Steady => {}
        }
        let (base, until) = match self.base {
            Some((base, until)) => (base.min(window.mean), until),
            None => (window.mean, now + DOUBTED),
        };
        self.base = Some((base, until));
        let gradient = (base * TOLERANCE / window.mean.max(1.0)).clamp(0.5, 2.0);
        let wanted = self.limit * gradient.min(1.0) + self.limit.sqrt();
        // What nobody has used says nothing about how much more would be good.
        let is_used = f64::from(window.peak) * 2.0 >= self.limit;
        if wanted < self.limit || is_used {
            self.limit = wanted.clamp(least, most);
        }
        let limit = self.limit as u32;
        if now >= until && is_used {
            self.course = Course::Emptying(limit);
            return halved(limit);
        }
        limit
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUNDS: Bounds = Bounds { min: 3, max: 1_000 };

    /// Servers that do so many requests at a time, each in ten milliseconds, and let the others wait; and clients that send
    /// as much as they may.
    struct Simulated {
        capacity: u32,
        clients: u32,
        now: Duration,
        gradient: Gradient,
        limit: u32,
        served: f64,
    }

    impl Simulated {
        fn new(capacity: u32, clients: u32) -> Simulated {
            let gradient = Gradient { limit: f64::from(FIRST_LIMIT), base: None, course: Course::Steady };
            Simulated { capacity, clients, now: Duration::ZERO, gradient, limit: FIRST_LIMIT, served: 0.0 }
        }

        fn run(&mut self, windows: u32) {
            self.served = 0.0;
            for _ in 0..windows {
                let at_a_time = self.limit.min(self.clients);
                let mean = 10_000.0 * (f64::from(at_a_time) / f64::from(self.capacity)).max(1.0);
                self.now += WINDOW;
                self.served += f64::from(at_a_time) * WINDOW.as_micros() as f64 / mean;
                self.limit = self.gradient.follow(self.now, Window { mean, peak: at_a_time }, BOUNDS);
            }
        }

        /// The part of what the servers can do that they did.
        fn use_of(&self, windows: u32) -> f64 {
            self.served / (f64::from(self.capacity) * f64::from(windows) * WINDOW.as_micros() as f64 / 10_000.0)
        }
    }

    #[test]
    fn it_finds_the_knee_and_stays_there() {
        for capacity in [5, 20, 100] {
            let mut simulated = Simulated::new(capacity, 10_000);
            simulated.run(100);
            // Ten minutes: the base is measured twenty times.
            for _ in 0..600 {
                simulated.run(10);
                assert!(simulated.use_of(10) > 0.85, "{capacity}: {}", simulated.use_of(10));
                assert!(simulated.gradient.limit < f64::from(capacity) * 2.0 + 6.0, "{capacity}: {}", simulated.limit);
            }
        }
    }

    #[test]
    fn it_follows_servers_that_lose_and_gain_room() {
        let mut simulated = Simulated::new(100, 10_000);
        simulated.run(600);
        simulated.capacity = 25;
        simulated.run(50);
        assert!((25..60).contains(&simulated.limit), "{}", simulated.limit);
        simulated.capacity = 100;
        simulated.run(100);
        assert!(simulated.limit >= 100, "{}", simulated.limit);
    }

    #[test]
    fn servers_that_become_slower_without_load_are_believed_after_a_while() {
        let mut gradient = Gradient { limit: 50.0, base: None, course: Course::Steady };
        let (mut now, mut limit) = (Duration::ZERO, 50);
        let mut run = |mean: f64, windows: u32| {
            for _ in 0..windows {
                now += WINDOW;
                limit = gradient.follow(now, Window { mean, peak: limit }, BOUNDS);
            }
            limit
        };
        assert!(run(1_000.0, 20) > 50);
        assert!(run(8_000.0, 50) < 10);
        assert!(run(8_000.0, 900) > 50);
    }

    #[test]
    fn what_nobody_uses_does_not_grow() {
        let mut simulated = Simulated::new(100, 5);
        simulated.run(1_000);
        assert_eq!(simulated.limit, FIRST_LIMIT);
    }

    #[test]
    fn the_limit_keeps_its_bounds() {
        let bounds = Bounds { min: 4, max: 30 };
        let mut gradient = Gradient { limit: f64::from(FIRST_LIMIT), base: None, course: Course::Steady };
        let mut now = Duration::ZERO;
        for mean in [1.0, 1_000_000.0, 5_000_000.0, 1.0, 1.0].into_iter().cycle().take(5_000) {
            now += WINDOW;
            let limit = gradient.follow(now, Window { mean, peak: 1_000 }, bounds);
            assert!((bounds.min..=bounds.max).contains(&limit), "{limit}");
        }
    }

    #[test]
    fn workers_share_one_limit() {
        let begin = Instant::now();
        let concurrency = Concurrency::new(begin);
        let entries: Vec<_> = std::iter::from_fn(|| concurrency.enter(BOUNDS)).collect();
        assert_eq!(entries.len() as u32, FIRST_LIMIT);
        // A window of fast answers, all at once: the limit grows.
        (0..SAMPLES).for_each(|_| concurrency.sample(begin + WINDOW, Duration::from_millis(1), BOUNDS));
        assert!(concurrency.limit(BOUNDS) > FIRST_LIMIT && concurrency.enter(BOUNDS).is_some());
        assert_eq!(concurrency.limit(Bounds { min: 1, max: 7 }), 7);
        drop(entries);
        assert_eq!(concurrency.under_way(), 0);
    }
}
