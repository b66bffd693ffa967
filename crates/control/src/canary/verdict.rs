//! Whether the candidate does worse than it may, and whether that may be chance.
//!
//! Both bounds ask the same question of two samples: how likely is what was seen, if the candidate kept its bound? Of `n`
//! requests of the candidate `k` were bad, of `m` of the stable version `l`. If their true shares of bad ones are `p` and `q`,
//! seeing so many and so few has a chance of at most `exp(-n·D(k/n ‖ p))` and `exp(-m·D(l/m ‖ q))`, where `D` is the relative
//! entropy of two coins: the Chernoff bound (Chernoff 1952; Hoeffding, "Probability Inequalities for Sums of Bounded Random
//! Variables", 1963, theorem 1). The evidence against the candidate is the smallest sum of both exponents over all `p` and `q`
//! that keep the bound. It exceeds `t` by chance in at most `(1 + t)·exp(-t)` of cases, for every `n` and `m`: a small sample
//! needs a large excess and a large sample a small one, without a table and without assuming a normal distribution.
//!
//! For errors the bound is `p ≤ q + points`. For latencies a request is bad if it waited longer than the ratio allows, and the
//! bound is that no larger share does than of the stable version's, or than 1%.

use std::fmt;

use config::spec::Guard;

use super::sample::Sample;

/// How the candidate does.
#[derive(Clone, Debug, PartialEq)]
pub enum Verdict {
    /// Within its bounds.
    Fine,
    /// Beyond a bound, which may be chance: no reason to go back, and none to go on.
    Doubtful(Excess),
    /// Beyond a bound, and hardly by chance.
    Worse(Excess),
}

/// How it is beyond a bound.
#[derive(Clone, Debug, PartialEq)]
pub enum Excess {
    /// It fails more requests.
    Errors {
        /// The candidate's share of errors.
        candidate: f64,
        /// The stable version's.
        stable: f64,
        /// The candidate's requests.
        of: u64,
    },
    /// It lets requests wait longer.
    Latency {
        /// Requests of the candidate that waited longer than the bound.
        slow: u64,
        /// The candidate's requests.
        of: u64,
        /// The bound, in microseconds.
        limit_us: u64,
        /// The stable version's 99th percentile, in microseconds.
        stable_us: u64,
    },
}

/// `(1 + t)·exp(-t)` is one in a thousand.
const PROOF: f64 = 9.24;
/// The same for one in three.
const DOUBT: f64 = 2.29;
/// The share of requests that may wait longer than a 99th percentile.
const BEYOND_P99: f64 = 0.01;
/// A wait that is longer by less than this is no reason, whatever the ratio. A version with little to do is woken more slowly,
/// finds its memory cold and needs new connections more often: of fast services that was measured to be milliseconds.
const LEAST_EXCESS_US: u64 = 5_000;

/// Judges the candidate beside the stable version. Without anything known of that one, it is taken to make no errors, and
/// latencies are not compared.
pub fn judge(guard: &Guard, candidate: &Sample, stable: Option<&Sample>) -> Verdict {
    let mut verdict = Verdict::Fine;
    let count = |bad, sample: &Sample| Count { bad, of: sample.requests };
    if let Some(points) = guard.error_points {
        let bound = Bound { more: f64::from(points) / 10_000.0, anyway: 0.0 };
        let error_share = stable.map_or(0.0, Sample::error_share);
        let excess = Excess::Errors { candidate: candidate.error_share(), stable: error_share, of: candidate.requests };
        let stable = stable.map_or(Count { bad: 0, of: u64::MAX }, |stable| count(stable.errors, stable));
        verdict = verdict.or(evidence(count(candidate.errors, candidate), stable, &bound), excess);
    }
    if let Some(ratio) = guard.p99_ratio
        && let Some((stable, stable_us)) = stable.and_then(|stable| Some((stable, stable.p99_us()?)))
    {
        let limit_us = (stable_us.saturating_mul(u64::from(ratio)) / 100).max(stable_us + LEAST_EXCESS_US);
        let bound = Bound { more: 0.0, anyway: BEYOND_P99 };
        let slow = candidate.latency.beyond(limit_us);
        let excess = Excess::Latency { slow, of: candidate.requests, limit_us, stable_us };
        let stable = count(stable.latency.beyond(limit_us), stable);
        verdict = verdict.or(evidence(count(slow, candidate), stable, &bound), excess);
    }
    verdict
}

/// Bad requests among all.
#[derive(Clone, Copy)]
struct Count {
    bad: u64,
    of: u64,
}

/// What the candidate's share of bad requests may be: so much more than the stable version's, or so much anyway.
struct Bound {
    more: f64,
    anyway: f64,
}

/// What speaks against the candidate's being within its bound.
fn evidence(candidate: Count, stable: Count, bound: &Bound) -> f64 {
    if candidate.of == 0 || stable.of == 0 {
        return 0.0;
    }
    let against = |stable_share: f64| {
        let allowed = (stable_share + bound.more).max(bound.anyway);
        candidate.too_many_for(allowed) + stable.too_few_for(stable_share)
    };
    // The stable version's true share may be what was seen, which costs nothing, or larger, which explains more of the
    // candidate and is less likely itself. From where the bound begins to move with it the sum is convex: its smallest value
    // is found by thirds.
    let mut low = stable.share().max(bound.anyway - bound.more);
    let mut high = candidate.share().max(low);
    for _ in 0..THIRDS {
        let third = (high - low) / 3.0;
        if against(low + third) <= against(high - third) {
            high -= third;
        } else {
            low += third;
        }
    }
    against(low).min(against(stable.share()))
}

/// Each third of a search leaves two: after so many, a ten-millionth is left.
const THIRDS: u32 = 40;

impl Count {
    fn share(self) -> f64 {
        self.bad as f64 / self.of as f64
    }

    /// The exponent of the chance to see so many bad ones or more if this is the true share of them.
    fn too_many_for(self, truth: f64) -> f64 {
        if self.share() > truth { self.exponent(truth) } else { 0.0 }
    }

    /// The exponent of the chance to see so few bad ones or fewer.
    fn too_few_for(self, truth: f64) -> f64 {
        if self.share() < truth { self.exponent(truth) } else { 0.0 }
    }

    fn exponent(self, truth: f64) -> f64 {
        let seen = self.share();
        let part = |seen: f64, truth: f64| if seen > 0.0 { seen * (seen / truth).ln() } else { 0.0 };
        self.of as f64 * (part(seen, truth) + part(1.0 - seen, 1.0 - truth))
    }
}

impl Verdict {
    /// The graver of this and what another bound says.
    fn or(self, evidence: f64, excess: Excess) -> Verdict {
        match self {
            Verdict::Worse(_) => self,
            _ if evidence > PROOF => Verdict::Worse(excess),
            Verdict::Fine if evidence > DOUBT => Verdict::Doubtful(excess),
            other => other,
        }
    }
}

impl fmt::Display for Excess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = |us: &u64| *us as f64 / 1000.0;
        match self {
            Excess::Errors { candidate, stable, of } => {
                let (candidate, stable) = (candidate * 100.0, stable * 100.0);
                write!(f, "candidate failed {candidate:.2}% of {of} requests, stable {stable:.2}%")
            }
            Excess::Latency { slow, of, limit_us, stable_us } => write!(
                f,
                "{slow} of {of} requests waited longer than {:.1}ms for candidate, p99 of stable is {:.1}ms",
                ms(limit_us),
                ms(stable_us)
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const GUARD: Guard = Guard { error_points: Some(200), p99_ratio: Some(150), min_requests: 50 };

    fn errors(candidate: (u64, u64), stable: (u64, u64)) -> Verdict {
        let of = |(requests, errors)| Sample::of(requests, errors, 5_000);
        judge(&GUARD, &of(candidate), Some(&of(stable)))
    }

    fn is_worse(verdict: &Verdict) -> bool {
        matches!(verdict, Verdict::Worse(_))
    }

    #[test]
    fn a_few_errors_among_few_requests_prove_nothing() {
        assert_eq!(errors((50, 1), (950, 0)), Verdict::Fine);
        assert!(matches!(errors((50, 4), (950, 0)), Verdict::Doubtful(_)));
        assert!(is_worse(&errors((50, 10), (950, 0))));
        // The same share of many is proof.
        assert!(is_worse(&errors((1000, 80), (1000, 0))));
    }

    #[test]
    fn what_fails_on_both_sides_is_not_the_candidates() {
        assert_eq!(errors((1000, 300), (1000, 300)), Verdict::Fine);
        assert!(is_worse(&errors((1000, 450), (1000, 300))));
        assert_eq!(judge(&GUARD, &Sample::of(10, 10, 1), Some(&Sample::of(10, 10, 1))), Verdict::Fine);
    }

    #[test]
    fn slower_is_worse_and_equal_is_fine() {
        let stable = Sample::of(1000, 0, 5_000);
        assert_eq!(judge(&GUARD, &Sample::of(100, 0, 5_000), Some(&stable)), Verdict::Fine);
        assert!(is_worse(&judge(&GUARD, &Sample::of(50, 0, 20_000), Some(&stable))));
        let mut some_slow = Sample::of(1000, 0, 5_000);
        some_slow.add(50, 0, 50_000);
        assert!(is_worse(&judge(&GUARD, &some_slow, Some(&stable))));
        // One slow request among fifty happens.
        let mut one_slow = Sample::of(49, 0, 5_000);
        one_slow.add(1, 0, 50_000);
        assert_eq!(judge(&GUARD, &one_slow, Some(&stable)), Verdict::Fine);
        // Less than five milliseconds is noise.
        assert_eq!(judge(&GUARD, &Sample::of(100, 0, 4_000), Some(&Sample::of(100, 0, 100))), Verdict::Fine);
    }

    #[test]
    fn without_a_stable_version_only_errors_count() {
        assert!(is_worse(&judge(&GUARD, &Sample::of(100, 20, 1), None)));
        assert_eq!(judge(&GUARD, &Sample::of(100, 0, 9_000_000), None), Verdict::Fine);
        let strict = Guard { error_points: Some(0), ..GUARD };
        assert!(is_worse(&judge(&strict, &Sample::of(100, 1, 1), None)));
    }

    #[test]
    fn a_candidate_at_its_bound_is_seldom_blamed() {
        let mut random = fastrand::Rng::with_seed(3);
        for (percent, candidates, stables) in [(1, 200, 20_000), (30, 250, 250), (0, 50, 950), (50, 400, 50)] {
            let mut failed = |of: u64, percent| (0..of).filter(|_| random.u32(0..100) < percent).count() as u64;
            let mut judge =
                || errors((candidates, failed(candidates, percent + 2)), (stables, failed(stables, percent)));
            let worse = (0..3000).filter(|_| is_worse(&judge())).count();
            assert!(worse <= 3, "{worse} of 3000 at {percent}%");
        }
    }

    #[test]
    fn a_small_sample_of_the_stable_version_is_not_taken_for_the_truth() {
        // Five of a hundred are slow in truth, and none of the few of the stable version was.
        let mut some_slow = Sample::of(95, 0, 5_000);
        some_slow.add(5, 0, 100_000);
        assert!(!is_worse(&judge(&GUARD, &some_slow, Some(&Sample::of(50, 0, 5_000)))));
        assert!(is_worse(&judge(&GUARD, &Sample::of(50, 0, 100_000), Some(&Sample::of(50, 0, 5_000)))));
    }

    proptest! {
        #[test]
        fn more_errors_never_help(requests in 1_u64..2000, some in 0.0..1.0_f64, more in 0.0..1.0_f64, stable in 0_u64..1000) {
            let count = |share: f64| (requests as f64 * share) as u64;
            let rank = |verdict| match verdict { Verdict::Fine => 0, Verdict::Doubtful(_) => 1, Verdict::Worse(_) => 2 };
            let (few, many) = (count(some.min(more)), count(some.max(more)));
            prop_assert!(rank(errors((requests, few), (1000, stable))) <= rank(errors((requests, many), (1000, stable))));
        }
    }
}
