//! A machine under virtual time: a world of requests in front of it, second by second.

use std::time::Duration;

use proptest::prelude::*;

use super::*;

const EVERY: Duration = Duration::from_secs(10);
const GUARD: Guard = Guard { error_points: Some(200), p99_ratio: Some(150), min_requests: 50 };
const STEPS: [u32; 4] = [500, 2500, 5000, 10_000];

/// Requests of a service that has a canary.
struct World {
    machine: Machine,
    now: Instant,
    reading: Pair,
    random: fastrand::Rng,
    /// Requests a second, and the chances of failure of both versions in thousandths.
    rate: u64,
    fails: [u32; 2],
    takes_us: [u64; 2],
    /// The chances in thousandths that a request is never answered.
    hangs: [u32; 2],
    said: Vec<String>,
}

impl World {
    fn new(seed: u64) -> World {
        let now = Instant::now();
        let course = Course::Steps { steps: STEPS.to_vec(), every: EVERY, guard: GUARD };
        World {
            machine: Machine::new(course, now, Pair::default()),
            now,
            reading: Pair::default(),
            random: fastrand::Rng::with_seed(seed),
            rate: 500,
            fails: [10, 10],
            takes_us: [5_000, 5_000],
            hangs: [0, 0],
            said: Vec::new(),
        }
    }

    /// Lets a second pass.
    fn second(&mut self) {
        for _ in 0..self.rate {
            let new = self.random.u32(0..Share::WHOLE) < self.machine.share().unwrap_or(0);
            let version = if new { &mut self.reading.candidate } else { &mut self.reading.stable };
            version.asked += 1;
            if self.random.u32(0..1000) < self.hangs[usize::from(new)] {
                continue;
            }
            version.settled += 1;
            let failed = self.random.u32(0..1000) < self.fails[usize::from(new)];
            version.add(1, u64::from(failed), self.takes_us[usize::from(new)]);
        }
        self.now += Duration::from_secs(1);
        match self.machine.tick(self.now, self.reading.clone()) {
            Some(Said::Changed(entry)) => self.said.push(entry.to_string()),
            Some(Said::Waits(reason)) => self.said.push(reason),
            None => {}
        }
    }

    fn seconds(&mut self, count: usize) {
        (0..count).for_each(|_| self.second());
    }

    fn command(&mut self, command: Command) -> Result<(), Refused> {
        self.machine.command(self.now, self.reading.clone(), command, "a test").map(|_| ())
    }

    fn is(&self, phase: Phase, share: u32) -> bool {
        self.machine.phase() == phase && self.machine.share().unwrap_or(0) == share
    }
}

#[test]
fn a_good_candidate_takes_every_step_and_is_promoted() {
    for seed in 0..50 {
        let mut world = World::new(seed);
        for step in STEPS {
            assert!(world.is(Phase::Running, step), "{seed}: {:?}", world.said);
            world.seconds(10);
        }
        // Now and then a step waits a few seconds, because chance makes its candidate look worse.
        world.seconds(10);
        assert!(world.is(Phase::Promoted, Share::WHOLE), "{seed}: {:?}", world.said);
        world.fails = [0, 1000];
        world.seconds(20);
        assert!(world.is(Phase::Promoted, Share::WHOLE));
    }
}

#[test]
fn a_candidate_that_fails_a_fifth_is_rolled_back_three_seconds_after_it_can_be_judged() {
    for seed in 0..200 {
        let mut world = World::new(seed);
        world.fails = [0, 200];
        while world.reading.candidate.requests < GUARD.min_requests {
            world.second();
        }
        world.seconds(3);
        assert!(world.is(Phase::RolledBack, 0), "{seed}: {:?}", world.said);
        assert!(world.said.last().is_some_and(|said| said.starts_with("rolled back at 0%: candidate failed ")));
        assert!(world.reading.candidate.errors < 60, "{seed}");
    }
}

#[test]
fn a_candidate_that_breaks_late_is_rolled_back_as_quickly() {
    for seed in 0..50 {
        let mut world = World::new(seed);
        world.seconds(29);
        assert!(world.machine.share() > Some(500), "{seed}: {:?}", world.said);
        world.fails[1] = 200;
        world.seconds(3);
        assert!(world.is(Phase::RolledBack, 0), "{seed}: {:?}", world.said);
    }
}

#[test]
fn a_slow_candidate_is_rolled_back() {
    let mut world = World::new(1);
    world.takes_us[1] = 25_000;
    world.seconds(4);
    assert!(world.is(Phase::RolledBack, 0));
    assert_eq!(world.machine.history().last().map(|entry| entry.cause), Some(Cause::Latency));
}

#[test]
fn the_last_step_is_compared_with_what_the_stable_version_was() {
    let mut world = World::new(5);
    world.command(Command::Pause).expect("it runs");
    world.command(Command::Resume).expect("it is paused");
    while world.machine.share() < Some(Share::WHOLE) {
        world.second();
    }
    world.seconds(8);
    world.takes_us[1] = 25_000;
    world.seconds(5);
    assert!(world.is(Phase::RolledBack, 0), "{:?}", world.said);
}

#[test]
fn a_slow_moment_of_who_has_everything_makes_it_wait() {
    let mut world = World::new(5);
    while world.machine.share() < Some(Share::WHOLE) {
        world.second();
    }
    world.seconds(7);
    world.takes_us = [25_000, 25_000];
    world.seconds(2);
    world.takes_us = [5_000, 5_000];
    world.seconds(5);
    assert!(world.is(Phase::Running, Share::WHOLE), "{:?}", world.said);
    assert!(world.said.last().is_some_and(|said| said.ends_with("which may be chance")), "{:?}", world.said);
    world.seconds(6);
    assert!(world.is(Phase::Promoted, Share::WHOLE), "{:?}", world.said);
    // Failing is not a matter of the machine.
    let mut world = World::new(5);
    while world.machine.share() < Some(Share::WHOLE) {
        world.second();
    }
    world.fails[1] = 200;
    world.seconds(2);
    assert!(world.is(Phase::RolledBack, 0), "{:?}", world.said);
}

#[test]
fn a_dependency_that_fails_both_versions_rolls_nothing_back() {
    for seed in 0..30 {
        let mut world = World::new(seed);
        world.fails = [300, 300];
        world.seconds(60);
        assert!(world.machine.phase() != Phase::RolledBack, "{seed}: {:?}", world.said);
    }
}

#[test]
fn too_few_requests_hold_the_step_and_are_told_once() {
    let mut world = World::new(2);
    world.rate = 20;
    world.seconds(60);
    assert!(world.is(Phase::Running, 500));
    assert_eq!(world.said.len(), 1, "{:?}", world.said);
    assert!(world.said[0].starts_with("too few requests of the candidate: "), "{:?}", world.said);
    assert!(world.machine.waits().is_some());
    world.rate = 500;
    world.seconds(5);
    assert!(world.is(Phase::Running, 2500), "{:?}", world.said);
    assert_eq!(world.machine.waits(), None);
}

#[test]
fn too_few_requests_of_the_stable_version_hold_the_step() {
    let mut world = World::new(6);
    world.rate = 60;
    world.command(Command::Set(9500)).expect("always");
    world.command(Command::Resume).expect("it is held");
    world.seconds(40);
    assert!(world.is(Phase::Running, 9500), "{:?}", world.said);
    assert_eq!(world.said.len(), 1, "{:?}", world.said);
    assert!(world.said[0].starts_with("too few requests of the stable version to compare with: "), "{:?}", world.said);
    // Slower than what nobody can be compared with, it waits; failing, it goes.
    world.takes_us[1] = 25_000;
    world.seconds(20);
    assert!(world.is(Phase::Running, 9500), "{:?}", world.said);
    world.fails[1] = 300;
    world.seconds(4);
    assert!(world.is(Phase::RolledBack, 0), "{:?}", world.said);
    assert!(
        world.said.last().is_some_and(|said| said.ends_with(", stable 0.00% for want of requests")),
        "{:?}",
        world.said
    );
}

#[test]
fn a_few_requests_of_the_stable_version_after_many_hold_the_step_too() {
    let mut world = World::new(7);
    world.command(Command::Set(9500)).expect("always");
    world.seconds(10);
    world.rate = 60;
    world.command(Command::Resume).expect("it is held");
    world.seconds(40);
    assert!(world.is(Phase::Running, 9500), "{:?}", world.said);
    world.rate = 500;
    world.seconds(10);
    assert!(world.machine.share() == Some(Share::WHOLE), "{:?}", world.said);
}

#[test]
fn who_has_everything_is_compared_with_what_was_before_or_holds() {
    let mut world = World::new(8);
    world.seconds(80);
    let promoted = world.said.last().expect("a step");
    assert!(promoted.starts_with("promoted at 100%: candidate "), "{promoted}");
    assert!(promoted.ends_with("ms before the candidate had everything"), "{promoted}");
    let mut world = World::new(9);
    world.command(Command::Set(Share::WHOLE)).expect("always");
    world.command(Command::Resume).expect("it is held");
    world.seconds(40);
    assert!(world.is(Phase::Running, Share::WHOLE), "{:?}", world.said);
    assert!(
        world.said[0].starts_with("too few requests of the stable version to compare with: 0 of 50"),
        "{:?}",
        world.said
    );
}

#[test]
fn what_an_operator_wants_is_done_and_watched() {
    let mut world = World::new(4);
    assert_eq!(
        world.command(Command::Resume),
        Err(Refused("only a canary that is paused or held can go on, this one can `restart`"))
    );
    world.command(Command::Set(0)).expect("always");
    let refused = world.command(Command::Resume).expect_err("no request would ever tell it anything");
    assert!(refused.0.contains("at 0%") && world.is(Phase::Held, 0), "{refused:?}");
    world.command(Command::Restart).expect("always");
    world.command(Command::Pause).expect("it runs");
    world.seconds(30);
    assert!(world.is(Phase::Paused, 500));
    world.command(Command::Set(3000)).expect("always");
    world.seconds(30);
    assert!(world.is(Phase::Held, 3000));
    world.command(Command::Resume).expect("it is held");
    world.seconds(9);
    assert!(world.is(Phase::Running, 3000));
    world.seconds(3);
    assert!(world.is(Phase::Running, 5000), "{:?}", world.said);
    world.command(Command::Pause).expect("it runs");
    world.fails[1] = 300;
    world.seconds(3);
    assert!(world.is(Phase::RolledBack, 0), "{:?}", world.said);
    // What was counted before does not count against the next run.
    world.fails[1] = 0;
    world.command(Command::Restart).expect("always");
    world.seconds(12);
    assert!(world.is(Phase::Running, 2500), "{:?}", world.said);
    world.command(Command::Abort).expect("always");
    assert_eq!((world.machine.phase(), world.machine.share()), (Phase::Aborted, None));
    world.seconds(30);
    assert_eq!(world.machine.phase(), Phase::Aborted);
    world.command(Command::Promote).expect("always");
    assert!(world.is(Phase::Promoted, Share::WHOLE));
}

#[test]
fn a_held_share_has_nothing_to_resume() {
    let now = Instant::now();
    let mut machine = Machine::new(Course::Held(1000), now, Pair::default());
    for command in [Command::Pause, Command::Resume] {
        assert!(machine.command(now, Pair::default(), command, "a test").is_err());
    }
    machine.command(now, Pair::default(), Command::Set(4000), "a test").expect("always");
    assert_eq!(machine.share(), Some(4000));
    machine.command(now, Pair::default(), Command::Restart, "a test").expect("always");
    assert_eq!((machine.phase(), machine.share()), (Phase::Held, Some(1000)));
}

proptest! {
    /// Whatever the candidate does: without an operator the share only ever grows by a step, after `every` at least and with
    /// enough requests, or falls to nothing for good.
    #[test]
    fn by_itself_it_goes_step_by_step_or_back(
        seed in any::<u64>(),
        seconds in prop::collection::vec((0_u64..200, 0_u32..400, 1_000_u64..40_000), 1..120),
    ) {
        let mut world = World::new(seed);
        let (mut share, mut since, mut done) = (STEPS[0], world.now, false);
        for (rate, fails, takes_us) in seconds {
            (world.rate, world.fails[1], world.takes_us[1]) = (rate, fails, takes_us);
            world.second();
            let now = world.machine.share().unwrap_or(0);
            if now == share && world.machine.phase() == Phase::Running {
                continue;
            }
            prop_assert!(!done || now == share, "it moved after its end");
            if now > share {
                let next = STEPS.iter().position(|step| *step == share).map(|at| STEPS[at + 1]);
                prop_assert_eq!(Some(now), next);
            } else if now < share {
                prop_assert_eq!((now, world.machine.phase()), (0, Phase::RolledBack));
            }
            if !done && world.machine.phase() != Phase::RolledBack {
                prop_assert!(world.now - since >= EVERY);
                let window = world.machine.window().unwrap_or_default();
                prop_assert!(window.candidate.requests >= GUARD.min_requests);
                prop_assert!(share == Share::WHOLE || window.stable.requests >= GUARD.min_requests);
            }
            done |= world.machine.phase() != Phase::Running;
            (share, since) = (now, world.now);
        }
    }
}

/// Requests that wait for ever are counted nowhere else: long before they time out it is known who lets them hang.
#[test]
fn a_candidate_that_hangs_is_rolled_back_within_seconds() {
    for thousandths in [1000, 500, 200] {
        let mut world = World::new(u64::from(thousandths));
        world.hangs = [0, thousandths];
        world.seconds(15);
        assert!(world.is(Phase::RolledBack, 0), "{thousandths}: {:?}", world.said);
        assert!(world.said.iter().all(|said| !said.contains("25%")), "{thousandths}: {:?}", world.said);
    }
}

#[test]
fn versions_that_hang_alike_are_not_told_apart() {
    let mut world = World::new(1);
    world.hangs = [300, 300];
    world.seconds(30);
    assert!(world.machine.phase() != Phase::RolledBack, "{:?}", world.said);
}
