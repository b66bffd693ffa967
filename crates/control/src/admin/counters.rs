//! What was counted, as the API shows it: since the start, and lately.
//!
//! Counters only grow, so "lately" is the difference to a reading that is a little older. Readings are kept only while
//! somebody asks: a page that refreshes sees the last ten to twenty seconds.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use base::{Kind, Side};
use observe::stats::{Class, RequestStats, Requests};
use serde_json::{Map, Value, json};

/// How old a reading gets before the next one is kept.
const STEP: Duration = Duration::from_secs(10);
/// A reading that is older says nothing about lately.
const STALE: Duration = Duration::from_secs(60);
/// A window that is shorter says nothing either.
const SHORTEST: Duration = Duration::from_secs(1);

/// Readings to compare with, by the address of what was read. An address that comes to be used again by another counter
/// gives one wrong window, which the subtraction bounds at zero.
#[derive(Debug, Default)]
pub(super) struct Recent(HashMap<usize, Kept>);

#[derive(Debug)]
struct Kept {
    earlier: Option<(Instant, Requests)>,
    newest: (Instant, Requests),
}

impl Recent {
    /// Forgets what nobody has asked for lately.
    pub(super) fn sweep(&mut self, now: Instant) {
        self.0.retain(|_, kept| now.saturating_duration_since(kept.newest.0) <= STALE);
    }

    /// What these counters say, with the part of it that happened lately.
    pub(super) fn show(&mut self, stats: &RequestStats, now: Instant) -> Map<String, Value> {
        let reading = stats.read();
        let window = self.window(std::ptr::from_ref(stats).addr(), &reading, now);
        let mut shown = Map::new();
        shown.insert("requests".into(), classes(&reading));
        shown.insert("bytes_in".into(), reading.bytes_in.into());
        shown.insert("bytes_out".into(), reading.bytes_out.into());
        shown.insert("p50_us".into(), reading.latency.quantile(0.5).into());
        shown.insert("p99_us".into(), reading.latency.quantile(0.99).into());
        shown.insert("faults".into(), faults(&reading));
        shown.insert("recent".into(), window.map_or(Value::Null, |(age, window)| recent(age, &window)));
        shown
    }

    /// What was counted since an earlier reading, and how old that is; keeps this one if it is time.
    fn window(&mut self, key: usize, reading: &Requests, now: Instant) -> Option<(Duration, Requests)> {
        let fresh = || Kept { earlier: None, newest: (now, reading.clone()) };
        let kept = self.0.entry(key).or_insert_with(fresh);
        if now.saturating_duration_since(kept.newest.0) >= STEP {
            kept.earlier = Some(std::mem::replace(&mut kept.newest, (now, reading.clone())));
        }
        let (at, before) = kept.earlier.as_ref().unwrap_or(&kept.newest);
        let age = now.saturating_duration_since(*at);
        (age >= SHORTEST).then(|| (age, reading.since(before)))
    }
}

fn classes(reading: &Requests) -> Value {
    let mut classes = Map::from_iter([("total".to_owned(), Value::from(reading.total()))]);
    classes.extend(Class::ALL.map(|class| (class.name().to_owned(), reading.with_class(class).into())));
    classes.into()
}

fn faults(reading: &Requests) -> Value {
    let fault =
        |(side, kind, count): (Side, Kind, u64)| json!({ "side": name(side), "code": kind.code(), "count": count });
    reading.faults().map(fault).collect()
}

fn recent(age: Duration, window: &Requests) -> Value {
    let mut faults =
        Map::from_iter([Side::Client, Side::Server, Side::Proxy].map(|side| (name(side).to_owned(), 0.into())));
    for (side, _, count) in window.faults() {
        faults[name(side)] = (faults[name(side)].as_u64().unwrap_or(0) + count).into();
    }
    json!({
        "seconds": age.as_millis() as f64 / 1000.0,
        "requests": window.total(),
        "5xx": window.with_class(Class::ServerError),
        "faults": faults,
        "p50_us": window.latency.quantile(0.5),
        "p99_us": window.latency.quantile(0.99),
    })
}

fn name(side: Side) -> &'static str {
    match side {
        Side::Client => "client",
        Side::Server => "server",
        Side::Proxy => "proxy",
    }
}

#[cfg(test)]
mod tests {
    use base::Fault;
    use base::ids::WorkerId;
    use observe::stats::Outcome;

    use super::*;

    #[test]
    fn lately_is_the_difference_to_a_reading_before() {
        let stats = RequestStats::new(1);
        let count = |status, total_us| {
            let fault = (status == 500).then_some(Fault::proxy(Kind::Overload));
            stats.shard(WorkerId(0)).count(&Outcome {
                status,
                fault,
                bytes_in: 1,
                bytes_out: 2,
                total_us: Some(total_us),
            });
        };
        let (start, mut recent) = (Instant::now(), Recent::default());
        let mut at = |seconds: u64| {
            let now = start + Duration::from_secs(seconds);
            recent.sweep(now);
            recent.show(&stats, now)
        };
        count(200, 1_000_000);
        let first = at(0);
        assert_eq!((&first["requests"]["total"], &first["recent"]), (&json!(1), &Value::Null));
        count(500, 100);
        let second = at(2);
        assert_eq!((&second["recent"]["requests"], &second["recent"]["5xx"]), (&json!(1), &json!(1)));
        assert_eq!(second["recent"]["faults"], json!({"client": 0, "server": 0, "proxy": 1}));
        assert!(second["p99_us"].as_u64() > Some(500_000) && second["recent"]["p99_us"].as_u64() < Some(200));
        assert_eq!(at(10)["recent"]["seconds"], 10.0);
        assert_eq!(at(19)["recent"]["requests"], 1);
        let later = at(21);
        assert_eq!((&later["recent"]["requests"], &later["recent"]["seconds"]), (&json!(0), &json!(11.0)));
        assert_eq!(at(100)["recent"], Value::Null);
    }
}
