//! A pool whose servers are compared with one another, from time to time.

use std::collections::HashMap;
use std::rc::Rc;
use std::time::{Duration, Instant};

use base::units::print_duration;
use base::{Kind, Side};
use config::spec;
use observe::stats::{Class, Requests};
use proxy::balance::statistics::{LatencyRule, SuccessRule, Window};

use super::ward::Ward;

/// The servers of one pool and how they are compared.
#[derive(Debug)]
pub(super) struct Panel {
    every: Duration,
    success: Option<SuccessRule>,
    latency: Option<LatencyRule>,
    wards: Vec<Rc<Ward>>,
    next: Instant,
    /// What each server had counted when the window began, by its slot.
    earlier: HashMap<usize, Requests>,
}

impl Panel {
    /// A panel, unless nothing is compared.
    pub(super) fn new(outlier: &spec::Outlier, wards: Vec<Rc<Ward>>, now: Instant) -> Option<Panel> {
        if outlier.success_rate.is_none() && outlier.latency.is_none() {
            return None;
        }
        let mut panel = Panel {
            every: outlier.every,
            success: outlier.success_rate.as_ref().map(success_rule),
            latency: outlier.latency.as_ref().map(latency_rule),
            wards,
            next: now + outlier.every,
            earlier: HashMap::new(),
        };
        panel.windows();
        Some(panel)
    }

    /// Keeps the window of a panel that this one replaces.
    pub(super) fn after(mut self, before: Option<Panel>) -> Panel {
        if let Some(before) = before.filter(|before| before.every == self.every) {
            self.next = before.next;
            self.earlier.extend(before.earlier);
        }
        self
    }

    /// Compares, if it is time.
    pub(super) fn look(&mut self, now: Instant) {
        if now < self.next {
            return;
        }
        self.next = now + self.every;
        let windows = self.windows();
        for low in self.success.map(|rule| rule.judge(&windows)).unwrap_or_default() {
            let why = format!("success rate {:.0}% (pool {:.0}%)", low.own * 100.0, low.pool * 100.0);
            self.wards[low.server].differs(why, now);
        }
        for slow in self.latency.map(|rule| rule.judge(&windows)).unwrap_or_default() {
            let time = |us: u64| print_duration(Duration::from_micros(if us < 1000 { us } else { us / 1000 * 1000 }));
            let why = format!("mean response {} (pool {})", time(slow.own), time(slow.pool));
            self.wards[slow.server].differs(why, now);
        }
    }

    /// What each server did since the last time.
    fn windows(&mut self) -> Vec<Window> {
        let mut windows = Vec::new();
        let mut readings = HashMap::new();
        for ward in &self.wards {
            let (slot, reading) = ward.reading();
            windows
                .push(self.earlier.get(&slot).map_or_else(Window::default, |earlier| window(&reading.since(earlier))));
            readings.insert(slot, reading);
        }
        self.earlier = readings;
        windows
    }
}

/// Requests without a status that the server did not fail are nobody's: their clients have left.
fn window(counted: &Requests) -> Window {
    let answered = counted.total() - counted.with_class(Class::None);
    let (mut unanswered, mut truncated) = (0, 0);
    for (side, kind, count) in counted.faults() {
        match (side, kind) {
            (Side::Server, Kind::Truncated) => truncated += count,
            (Side::Server, _) => unanswered += count,
            _ => {}
        }
    }
    Window {
        requests: answered + unanswered,
        errors: counted.with_class(Class::ServerError) + unanswered + truncated,
        timed: counted.latency.count(),
        mean_us: counted.latency.sum_us() / counted.latency.count().max(1),
    }
}

fn success_rule(said: &spec::SuccessRate) -> SuccessRule {
    SuccessRule {
        factor: said.factor,
        min_servers: said.min_servers as usize,
        min_requests: u64::from(said.min_requests),
    }
}

fn latency_rule(said: &spec::LatencyOutlier) -> LatencyRule {
    LatencyRule {
        ratio: said.ratio,
        over_us: u64::try_from(said.over.as_micros()).unwrap_or(u64::MAX),
        min_servers: said.min_servers as usize,
        min_requests: u64::from(said.min_requests),
    }
}
