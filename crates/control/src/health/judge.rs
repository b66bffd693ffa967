//! From checks that pass and fail to a server that is up or down. Checks and time are the caller's.
//!
//! The rules are HAProxy's (`rise`, `fall`, `fastinter`): it takes several checks in a row to change a verdict, and while they
//! contradict it they may come faster. The first check alone decides, as it does in HAProxy and in Envoy: before it, nothing
//! was known.

use std::time::Duration;

use config::spec;

/// Judges one server.
#[derive(Debug)]
pub(super) struct Judge {
    rules: Rules,
    state: State,
}

/// What it takes to change a verdict, and how long until the next check.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rules {
    rise: u32,
    fall: u32,
    every: Duration,
    fast: Duration,
    /// In hundredths of a percent.
    jitter: u32,
}

/// What the server is taken for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Waits for its first check, and is used until then.
    Unproven,
    /// Waits for checks that fail: so many have, in a row.
    Up(u32),
    /// Waits for checks that pass: so many have, in a row.
    Down(u32),
}

/// A change of the verdict.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// The first check passed: nothing changes, unless other checks had it down.
    Proven,
    /// It is up, after so many checks.
    Up(u32),
    /// It is down, after so many checks.
    Down(u32),
}

impl Rules {
    /// Those that a configuration asks for.
    pub(super) fn of(health: &spec::Health) -> Rules {
        Rules { rise: health.rise, fall: health.fall, every: health.every, fast: health.fast, jitter: health.jitter }
    }
}

impl Judge {
    /// A judge who has seen nothing.
    pub(super) fn new(rules: Rules) -> Judge {
        Judge { rules, state: State::Unproven }
    }

    /// Hears of a check; answers whether the verdict changes.
    pub(super) fn hear(&mut self, passed: bool) -> Option<Turn> {
        let (state, turn) = match (self.state, passed) {
            (State::Unproven, true) => (State::Up(0), Some(Turn::Proven)),
            (State::Unproven, false) => (State::Down(0), Some(Turn::Down(1))),
            (State::Up(_), true) => (State::Up(0), None),
            (State::Down(_), false) => (State::Down(0), None),
            (State::Up(failed), false) if failed + 1 >= self.rules.fall => {
                (State::Down(0), Some(Turn::Down(failed + 1)))
            }
            (State::Up(failed), false) => (State::Up(failed + 1), None),
            (State::Down(passed), true) if passed + 1 >= self.rules.rise => (State::Up(0), Some(Turn::Up(passed + 1))),
            (State::Down(passed), true) => (State::Down(passed + 1), None),
        };
        self.state = state;
        turn
    }

    /// From the start of the last check to the start of the next. `draw` is at least 0 and below 1.
    pub(super) fn pause(&self, draw: f64) -> Duration {
        let pause = match self.state {
            State::Up(0) | State::Down(0) => self.rules.every,
            State::Up(_) | State::Down(_) | State::Unproven => self.rules.fast,
        };
        pause.mul_f64(1.0 - draw * f64::from(self.rules.jitter) / f64::from(base::units::Share::WHOLE))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EVERY: Duration = Duration::from_secs(2);
    const FAST: Duration = Duration::from_millis(500);

    fn judge(rise: u32, fall: u32) -> Judge {
        Judge::new(Rules { rise, fall, every: EVERY, fast: FAST, jitter: 1000 })
    }

    fn hear(judge: &mut Judge, checks: &str) -> Vec<Option<Turn>> {
        checks.chars().map(|check| judge.hear(check == '+')).collect()
    }

    #[test]
    fn the_first_check_decides_and_then_it_takes_several() {
        let mut fresh = judge(2, 3);
        assert_eq!(hear(&mut fresh, "+"), [Some(Turn::Proven)]);
        assert_eq!(hear(&mut fresh, "--+--"), [None; 5]);
        assert_eq!(hear(&mut fresh, "-"), [Some(Turn::Down(3))]);
        assert_eq!(hear(&mut fresh, "+-+"), [None; 3]);
        assert_eq!(hear(&mut fresh, "+"), [Some(Turn::Up(2))]);
        assert_eq!(hear(&mut judge(2, 3), "-"), [Some(Turn::Down(1))]);
    }

    #[test]
    fn one_is_enough_where_the_rules_say_so() {
        let mut judge = judge(1, 1);
        assert_eq!(
            hear(&mut judge, "+-+-"),
            [Some(Turn::Proven), Some(Turn::Down(1)), Some(Turn::Up(1)), Some(Turn::Down(1))]
        );
    }

    #[test]
    fn checks_come_faster_while_they_contradict_and_never_later_than_said() {
        let mut judge = judge(2, 3);
        judge.hear(true);
        assert_eq!(judge.pause(0.0), EVERY);
        assert_eq!(judge.pause(0.5), EVERY.mul_f64(0.95));
        judge.hear(false);
        assert_eq!(judge.pause(0.0), FAST);
        hear(&mut judge, "--");
        assert_eq!(judge.pause(0.0), EVERY);
        judge.hear(true);
        assert_eq!(judge.pause(0.0), FAST);
        for draw in 0..100 {
            let pause = judge.pause(f64::from(draw) / 100.0);
            assert!(pause <= FAST && pause >= FAST.mul_f64(0.9));
        }
    }
}
