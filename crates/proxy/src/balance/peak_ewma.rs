//! Peak EWMA, as Finagle has it (`com.twitter.finagle.loadbalancer.PeakEwma`, 2015): of two different servers drawn by
//! weight, the one with the smaller product of expected latency and requests in flight, this one included.
//!
//! The expected latency is a moving average over time that jumps at once to whatever is slower than it, and forgets over
//! [`TAU`]. A server that nothing is known of gets one request, and no second before the answer to the first has come.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::draw;
use crate::pool::Server;

/// What is expected of a server's latency: 32 bits of microseconds as a float, 32 bits of the millisecond of the last answer.
#[derive(Debug)]
pub struct Latency {
    begin: Instant,
    packed: AtomicU64,
}

/// After this long without an answer a third of the latency is left.
const TAU: Duration = Duration::from_secs(10);
/// What a server costs that works on its first requests.
const UNKNOWN: f64 = 1e30;
/// Nobody asks for it: nothing is kept.
const OFF: u64 = u64::MAX;

pub(super) fn pick(
    servers: &[Arc<Server>],
    now: Option<Instant>,
    random: &mut fastrand::Rng,
    allowed: impl Fn(&Server) -> bool,
) -> Option<usize> {
    let (first, second) = draw::two(servers, random, allowed)?;
    let cost = |number: usize| {
        let server = &servers[number];
        let latency = server.expected_latency(now);
        let in_flight = f64::from(server.in_flight());
        let cost = if latency == 0.0 && in_flight > 0.0 { UNKNOWN + in_flight } else { latency * (in_flight + 1.0) };
        cost / server.share().max(1) as f64
    };
    Some(if cost(second) < cost(first) { second } else { first })
}

impl Latency {
    /// Begins to keep it, from nothing, if it is not kept yet.
    pub(crate) fn follow(&self) {
        // Whoever follows already has something to lose.
        let _ = self.packed.compare_exchange(OFF, 0, Ordering::Relaxed, Ordering::Relaxed);
    }

    /// Whether anybody asks for it.
    pub(crate) fn is_followed(&self) -> bool {
        self.packed.load(Ordering::Relaxed) != OFF
    }

    /// An answer has come after this long.
    pub(crate) fn observe(&self, took: Duration, now: Instant) {
        let (took, now) = (took.as_micros() as f32, self.millis(now));
        let next = |packed: u64| {
            let (latency, then) = unpack(packed);
            let left = remaining(now.wrapping_sub(then));
            let next = if took > latency { took } else { latency * left + took * (1.0 - left) };
            (packed != OFF).then(|| pack(next, now))
        };
        // Refused only if nobody follows.
        let _ = self.packed.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next);
    }

    /// Expected microseconds now, or without a now when the last answer came; 0 if nothing is known.
    pub(crate) fn expected(&self, now: Option<Instant>) -> f64 {
        match self.packed.load(Ordering::Relaxed) {
            OFF => 0.0,
            packed => {
                let (latency, then) = unpack(packed);
                let left = now.map_or(1.0, |now| remaining(self.millis(now).wrapping_sub(then)));
                f64::from(latency * left)
            }
        }
    }

    /// The milliseconds wrap after 49 days; only their differences count.
    fn millis(&self, now: Instant) -> u32 {
        now.saturating_duration_since(self.begin).as_millis() as u32
    }
}

impl Default for Latency {
    fn default() -> Latency {
        Latency { begin: Instant::now(), packed: AtomicU64::new(OFF) }
    }
}

/// How much of an average is left after this many milliseconds. A clock that another thread has read a little later is no
/// time at all.
fn remaining(millis: u32) -> f32 {
    if millis > u32::MAX / 2 { 1.0 } else { (-(millis as f32) / TAU.as_millis() as f32).exp() }
}

fn pack(latency: f32, now: u32) -> u64 {
    u64::from(latency.to_bits()) << 32 | u64::from(now)
}

fn unpack(packed: u64) -> (f32, u32) {
    (f32::from_bits((packed >> 32) as u32), packed as u32)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::balance::fixture::servers;

    proptest! {
        /// Finagle's formula in its own words, in doubles and nanoseconds.
        #[test]
        fn the_average_is_finagles(answers in prop::collection::vec((0..5_000_000_u32, 0..30_000_u32), 1..100)) {
            let latency = Latency::default();
            latency.follow();
            let (mut cost, mut now) = (0.0_f64, latency.begin + Duration::from_millis(u64::from(u32::MAX) - 50_000));
            for (took, later) in answers {
                now += Duration::from_millis(u64::from(later));
                let w = (-f64::from(later) * 1e6 / TAU.as_nanos() as f64).exp();
                let rtt = f64::from(took);
                cost = if rtt > cost { rtt } else { cost * w + rtt * (1.0 - w) };
                latency.observe(Duration::from_micros(u64::from(took)), now);
                prop_assert!((latency.expected(Some(now)) - cost).abs() <= cost * 1e-4 + 1e-3, "{cost}");
            }
        }
    }

    #[test]
    fn nothing_is_kept_until_somebody_follows() {
        let latency = Latency::default();
        let now = Instant::now();
        latency.observe(Duration::from_secs(1), now);
        assert_eq!((latency.is_followed(), latency.expected(None)), (false, 0.0));
        latency.follow();
        latency.observe(Duration::from_secs(1), now);
        latency.follow();
        assert_eq!((latency.is_followed(), latency.expected(Some(now))), (true, 1e6));
    }

    /// A server that answers ten times slower gets what a queue at each of them leaves it: the products stay level.
    #[test]
    fn load_follows_latency() {
        let servers = servers(&[1, 1]);
        let now = Instant::now();
        for (server, millis) in servers.iter().zip([10, 100]) {
            server.follow_latency();
            server.answered(Duration::from_millis(millis), now);
        }
        let mut random = fastrand::Rng::with_seed(1);
        for _ in 0..1100 {
            let number = pick(&servers, Some(now), &mut random, |_| true).expect("a server");
            let _ = servers[number].request_began();
        }
        let loads = (servers[0].in_flight(), servers[1].in_flight());
        assert!((995..=1005).contains(&loads.0) && (95..=105).contains(&loads.1), "{loads:?}");
    }

    #[test]
    fn an_unknown_server_gets_one_request_and_no_second() {
        let servers = servers(&[1, 1]);
        let now = Instant::now();
        servers.iter().for_each(|server| server.follow_latency());
        servers[0].answered(Duration::from_secs(60), now);
        let mut random = fastrand::Rng::with_seed(1);
        let mut next = || pick(&servers, Some(now), &mut random, |_| true);
        assert_eq!(next(), Some(1));
        let _ = servers[1].request_began();
        assert!((0..100).all(|_| next() == Some(0)));
    }

    #[test]
    fn what_is_not_allowed_is_not_picked() {
        let servers = servers(&[1, 1, 1]);
        let mut random = fastrand::Rng::with_seed(1);
        for _ in 0..100 {
            assert_eq!(pick(&servers, None, &mut random, |server| server.slot == 2), Some(2));
        }
        assert_eq!(pick(&servers, None, &mut random, |_| false), None);
    }
}
