//! What was counted of the two versions.

use std::fmt;

use observe::stats::{Class, Histogram, Requests};
use proxy::canary::{State, Variant};

/// What was counted of one version: since the beginning, or in a window.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sample {
    /// Requests that say something of it.
    pub requests: u64,
    /// Those of them that it failed.
    pub errors: u64,
    /// How long they waited for their responses.
    pub latency: Histogram,
    /// Requests that have asked it.
    pub asked: u64,
    /// Those of them that wait no longer.
    pub settled: u64,
}

/// The same of both versions at one moment, or over one window.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pair {
    /// Of the stable version.
    pub stable: Sample,
    /// Of the candidate.
    pub candidate: Sample,
}

impl Sample {
    /// The share of errors; none among no requests.
    pub fn error_share(&self) -> f64 {
        if self.requests == 0 { 0.0 } else { self.errors as f64 / self.requests as f64 }
    }

    /// What 99% did not wait longer than, in microseconds.
    pub fn p99_us(&self) -> Option<u64> {
        self.latency.quantile(0.99)
    }

    fn with_overdue(self, overdue: u64) -> Sample {
        Sample { requests: self.requests + overdue, errors: self.errors + overdue, ..self }
    }

    fn since(&self, earlier: &Sample) -> Sample {
        Sample {
            requests: self.requests.saturating_sub(earlier.requests),
            errors: self.errors.saturating_sub(earlier.errors),
            latency: self.latency.since(&earlier.latency),
            asked: self.asked.saturating_sub(earlier.asked),
            settled: self.settled.saturating_sub(earlier.settled),
        }
    }
}

impl Pair {
    /// What the workers have counted so far.
    pub fn read(state: &State) -> Pair {
        let of = |variant| {
            let (asked, settled) = state.waits(variant);
            Sample { asked, settled, ..Sample::from(state.stats(variant).read()) }
        };
        Pair { stable: of(Variant::Stable), candidate: of(Variant::Candidate) }
    }

    /// The same with requests that still wait and should not, stable first: who lets them hang has failed them.
    pub fn with_overdue(self, [stable, candidate]: [u64; 2]) -> Pair {
        Pair { stable: self.stable.with_overdue(stable), candidate: self.candidate.with_overdue(candidate) }
    }

    /// What was counted since an earlier reading.
    pub fn since(&self, earlier: &Pair) -> Pair {
        Pair { stable: self.stable.since(&earlier.stable), candidate: self.candidate.since(&earlier.candidate) }
    }
}

impl From<Requests> for Sample {
    fn from(read: Requests) -> Sample {
        let (requests, errors) = (read.total(), read.with_class(Class::ServerError));
        Sample { requests, errors, latency: read.latency, ..Sample::default() }
    }
}

/// `3 errors of 120 requests, p99 12.4ms`
impl fmt::Display for Sample {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} errors of {} requests", self.errors, self.requests)?;
        match self.p99_us() {
            Some(us) => write!(f, ", p99 {:.1}ms", us as f64 / 1000.0),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
pub(super) mod fixture {
    use super::Sample;

    impl Sample {
        /// So many requests that waited `us` each, and errors among them.
        pub(crate) fn of(requests: u64, errors: u64, us: u64) -> Sample {
            let mut sample = Sample::default();
            sample.add(requests, errors, us);
            sample
        }

        /// Counts more of them.
        pub(crate) fn add(&mut self, requests: u64, errors: u64, us: u64) {
            self.requests += requests;
            self.errors += errors;
            (0..requests).for_each(|_| self.latency.record(us));
        }
    }
}
