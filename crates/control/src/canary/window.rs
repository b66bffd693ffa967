//! What was counted lately: readings of counters that only grow, from which windows are cut by subtraction.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::sample::{Pair, Sample};

/// Readings of the last while.
#[derive(Debug)]
pub struct Window {
    span: Duration,
    readings: VecDeque<(Instant, Pair)>,
}

/// So many of the latest readings are kept, each of them: a version that breaks now shows in the last seconds.
const FINE: usize = 30;
/// The older ones are kept so far apart, as a part of the whole span: a window of an hour needs no thousands of readings.
const PARTS: u32 = 60;

impl Window {
    /// A window of this length that begins with a reading.
    pub fn new(span: Duration, now: Instant, reading: Pair) -> Window {
        Window { span, readings: VecDeque::from([(now, reading)]) }
    }

    /// Makes it longer or shorter from the next reading on. What is older than it was is gone.
    pub fn stretch(&mut self, span: Duration) {
        self.span = span;
    }

    /// Takes a reading, and forgets what is too old for any window.
    pub fn note(&mut self, now: Instant, reading: Pair) {
        self.readings.push_back((now, reading));
        if let Some(at) = self.readings.len().checked_sub(FINE + 1).filter(|at| *at > 0)
            && let (Some((before, _)), Some((this, _))) = (self.readings.get(at - 1), self.readings.get(at))
            && this.saturating_duration_since(*before) < self.span / PARTS
        {
            self.readings.remove(at);
        }
        while self.readings.get(1).is_some_and(|(at, _)| now.saturating_duration_since(*at) >= self.span) {
            self.readings.pop_front();
        }
    }

    /// What was counted in the whole window, or since its first reading.
    pub fn whole(&self) -> Pair {
        match (self.readings.front(), self.readings.back()) {
            (Some((_, first)), Some((_, last))) => last.since(first),
            _ => Pair::default(),
        }
    }

    /// Requests that have asked each version longer ago than this and wait still: at least so many, stable first.
    pub fn overdue(&self, now: Instant, patience: Duration) -> [u64; 2] {
        let Some((_, last)) = self.readings.back() else { return [0; 2] };
        let is_old = |at: &Instant| now.saturating_duration_since(*at) >= patience;
        let then = self.readings.iter().rev().find(|(at, _)| is_old(at));
        let of = |then: &Sample, last: &Sample| then.asked.saturating_sub(last.settled);
        then.map_or([0; 2], |(_, then)| [of(&then.stable, &last.stable), of(&then.candidate, &last.candidate)])
    }

    /// What was counted in the shortest last part of it that has this many requests of the candidate.
    pub fn last(&self, least: u64) -> Option<Pair> {
        let (_, last) = self.readings.back()?;
        let has = |earlier: &Pair| last.candidate.requests.saturating_sub(earlier.candidate.requests) >= least;
        self.readings.iter().rev().find(|(_, earlier)| has(earlier)).map(|(_, earlier)| last.since(earlier))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One request of the candidate each second, taken in each second, for so long.
    fn after(seconds: u64, span: u64) -> Window {
        let start = Instant::now();
        let mut window = Window::new(Duration::from_secs(span), start, Pair::default());
        let mut reading = Pair::default();
        for second in 1..=seconds {
            reading.candidate.add(1, 0, 1);
            window.note(start + Duration::from_secs(second), reading.clone());
        }
        window
    }

    #[test]
    fn a_window_is_as_long_as_it_says() {
        for (seconds, span, requests) in [(5, 10, 5), (10, 10, 10), (25, 10, 10), (100, 60, 60)] {
            assert_eq!(after(seconds, span).whole().candidate.requests, requests, "{seconds} {span}");
        }
    }

    #[test]
    fn the_last_part_is_the_shortest() {
        let window = after(25, 20);
        assert_eq!(window.last(5).expect("so many").candidate, Sample::of(5, 0, 1));
        assert_eq!(window.last(20).expect("so many").candidate.requests, 20);
        assert_eq!(window.last(21), None);
    }

    #[test]
    fn long_windows_need_few_readings() {
        let window = after(10_000, 3600);
        assert!(window.readings.len() <= FINE + PARTS as usize + 2, "{}", window.readings.len());
        assert!((3600..3661).contains(&window.whole().candidate.requests), "{}", window.whole().candidate.requests);
        assert_eq!(window.last(7).expect("so many").candidate.requests, 7);
    }
}
