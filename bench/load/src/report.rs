//! What a client has seen.

use std::fmt;
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

use crate::histogram::Histogram;

pub struct Report {
    pub requests: u64,
    pub errors: u64,
    /// Of bodies alone.
    pub bytes: u64,
    /// From a request's first byte to its body's last; from the connection's first packet where each request has its own.
    pub latency: Histogram,
    elapsed: Duration,
    /// Our own time on the processor.
    cost: Duration,
}

impl Report {
    pub fn new() -> Self {
        let (elapsed, cost) = (Duration::ZERO, processor_time());
        Self { requests: 0, errors: 0, bytes: 0, latency: Histogram::new(), elapsed, cost }
    }

    /// After so much time.
    pub fn end(self, elapsed: Duration) -> Self {
        Self { elapsed, cost: processor_time().saturating_sub(self.cost), ..self }
    }
}

/// One line of JSON; times that end in `us` are microseconds, `client_us` those that a request took here.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { requests, errors, bytes, latency, elapsed, cost } = self;
        let micros = |time: Duration| time.as_nanos() as f64 / 1e3;
        let (p50, p99) = (micros(latency.quantile(0.50)), micros(latency.quantile(0.99)));
        let (seconds, client) = (elapsed.as_secs_f64(), micros(*cost) / (*requests).max(1) as f64);
        write!(f, r#"{{"requests":{requests},"errors":{errors},"bytes":{bytes},"seconds":{seconds:.6},"#)?;
        write!(f, r#""rps":{:.1},"p50_us":{p50:.1},"p99_us":{p99:.1},"#, *requests as f64 / seconds)?;
        write!(f, r#""client_us":{client:.2}}}"#)
    }
}

fn processor_time() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}
