//! All canaries, by identity: their counters are read, their machines driven, their shares moved, the log told.

use std::sync::Arc;
use std::time::{Duration, Instant};

use base::units::Share;
use config::spec::Course;
use proxy::canary::{State, Variant};
use proxy::snapshot::{Ending, Snapshot};

use super::machine::{Command, Machine, Phase, Refused, Said};
use super::sample::Pair;

/// What a canary should do, as configured. Other versions or other shares under the same name are another canary, which begins
/// anew; another pace or other bounds are not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// The stable version's pool.
    pub stable: String,
    /// The candidate's pool.
    pub candidate: String,
    /// What becomes of the candidate's share.
    pub course: Course,
}

/// All canaries, by listener, route and plan.
#[derive(Debug, Default)]
pub struct Canaries(Vec<Kept>);

/// One canary.
#[derive(Debug)]
pub struct Kept {
    /// The listener's name.
    pub listener: String,
    /// The route's name.
    route: String,
    /// The same, with `#2` and so on for further canaries of that name: routes of two sites may share one.
    pub name: String,
    /// What it should do.
    pub plan: Plan,
    /// What the workers know and count.
    pub state: Arc<State>,
    /// What it does.
    pub machine: Machine,
    /// Requests that were seen to be diverted from each version, and when the log said so.
    diverted: [(u64, Option<Instant>); 2],
    /// A route of the snapshot that is being compiled has it already.
    taken: bool,
}

/// The longest time between two looks; a tenth of `every` if that is less.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// The shortest time between two looks.
const LOOK_AT_MOST_EVERY: Duration = Duration::from_millis(50);
/// The log says this seldom that a version has no server.
const SAY_EVERY: Duration = Duration::from_secs(10);

impl Canaries {
    /// The state of a canary: the one that it had, if it is the same as before.
    pub fn state(&mut self, listener: &str, route: &str, plan: &Plan, workers: usize) -> Arc<State> {
        let named = |kept: &&mut Kept| kept.listener == listener && kept.route == route;
        if let Some(kept) = self.0.iter_mut().filter(named).find(|kept| kept.plan == *plan) {
            kept.taken = true;
            return Arc::clone(&kept.state);
        }
        // Routes of two sites may have one name: what one of them has is not for the other to judge by other bounds.
        if let Some(kept) = self.0.iter_mut().filter(named).find(|kept| !kept.taken && kept.plan.is_of(plan)) {
            kept.revise(plan);
            return Arc::clone(&kept.state);
        }
        let machine = Machine::new(plan.course.clone(), Instant::now(), Pair::default());
        let kept = Kept {
            listener: listener.to_owned(),
            route: route.to_owned(),
            name: route.to_owned(),
            plan: plan.clone(),
            state: Arc::new(State::new(0, workers)),
            machine,
            diverted: [(0, None); 2],
            taken: true,
        };
        kept.put_in_force();
        if let Some(entry) = kept.machine.history().last() {
            kept.say(&Said::Changed(entry.clone()));
        }
        let state = Arc::clone(&kept.state);
        self.0.push(kept);
        state
    }

    /// Forgets the canaries that are not in force any more.
    pub fn keep_those_of(&mut self, snapshot: &Snapshot) {
        let routes = || snapshot.listeners.iter().flatten().flat_map(|listener| &listener.routes);
        let serves = |state: &Arc<State>| {
            routes().any(|route| matches!(&route.ending, Ending::Canary(canary) if Arc::ptr_eq(&canary.state, state)))
        };
        self.0.retain(|kept| serves(&kept.state));
        self.0.iter_mut().for_each(|kept| kept.taken = false);
        for at in 0..self.0.len() {
            let (before, rest) = self.0.split_at_mut(at);
            let Some(kept) = rest.first_mut() else { break };
            let same = before.iter().filter(|one| one.listener == kept.listener && one.route == kept.route).count();
            kept.name = if same == 0 { kept.route.clone() } else { format!("{}#{}", kept.route, same + 1) };
        }
    }

    /// Looks at all of them.
    pub fn tick(&mut self, now: Instant) {
        for kept in &mut self.0 {
            let said = kept.machine.tick(now, Pair::read(&kept.state));
            kept.put_in_force();
            if let Some(said) = said {
                kept.say(&said);
            }
            kept.look_for_diverted(now);
        }
    }

    /// How long until they should be looked at again.
    pub fn pause(&self) -> Duration {
        let pause = |kept: &Kept| match kept.plan.course {
            Course::Held(_) => LOOK_EVERY,
            Course::Steps { every, .. } => (every / 10).clamp(LOOK_AT_MOST_EVERY, LOOK_EVERY),
        };
        self.0.iter().map(pause).min().unwrap_or(LOOK_EVERY)
    }

    /// All of them, in the order in which they came.
    pub fn iter(&self) -> impl Iterator<Item = &Kept> {
        self.0.iter()
    }

    /// Does to a canary what an operator wants; `by` says who that is. Nothing if there is none of that name.
    pub fn command(&mut self, listener: &str, name: &str, command: Command, by: &str) -> Option<Result<(), Refused>> {
        let kept = self.0.iter_mut().find(|kept| kept.listener == listener && kept.name == name)?;
        let reading = Pair::read(&kept.state);
        Some(kept.machine.command(Instant::now(), reading, command, by).map(|said| {
            kept.put_in_force();
            kept.say(&said);
        }))
    }
}

impl Plan {
    /// Whether it is the same canary: the same two versions, and the same share or steps.
    fn is_of(&self, other: &Plan) -> bool {
        let courses = match (&self.course, &other.course) {
            (Course::Held(one), Course::Held(other)) => one == other,
            (Course::Steps { steps: one, .. }, Course::Steps { steps: other, .. }) => one == other,
            _ => false,
        };
        courses && self.stable == other.stable && self.candidate == other.candidate
    }
}

impl Kept {
    /// Goes on where it is, at another pace and by other bounds.
    fn revise(&mut self, plan: &Plan) {
        self.taken = true;
        self.plan = plan.clone();
        self.machine.revise(plan.course.clone());
        let share = Share::of(self.machine.share().unwrap_or(0));
        observe::log::info(format_args!(
            "canary `{}` of listener `{}`: {} at {share}: judged by another `every` or `rollback_if` now",
            self.name,
            self.listener,
            self.machine.phase().words(),
        ));
    }

    /// The pool of a version.
    pub fn pool(&self, variant: Variant) -> &str {
        match variant {
            Variant::Stable => &self.plan.stable,
            Variant::Candidate => &self.plan.candidate,
        }
    }

    fn put_in_force(&self) {
        match self.machine.share() {
            Some(share) => self.state.set_share(share),
            None => self.state.close(),
        }
    }

    fn say(&self, said: &Said) {
        let name = format_args!("canary `{}` of listener `{}`", self.name, self.listener);
        match said {
            Said::Changed(entry) if entry.phase == Phase::RolledBack => {
                observe::log::warn(format_args!("{name}: {entry}"));
            }
            Said::Changed(entry) => observe::log::info(format_args!("{name}: {entry}")),
            Said::Waits(reason) => {
                let share = Share::of(self.machine.share().unwrap_or(0));
                observe::log::info(format_args!("{name}: stays at {share}: {reason}"));
            }
        }
    }

    /// Says that a version has no server, so that the other one serves its requests.
    fn look_for_diverted(&mut self, now: Instant) {
        for variant in Variant::ALL {
            let count = self.state.diverted(variant);
            let (seen, said) = self.diverted[variant as usize];
            if count == seen || said.is_some_and(|at| now.saturating_duration_since(at) < SAY_EVERY) {
                continue;
            }
            self.diverted[variant as usize] = (count, Some(now));
            let other = variant.other();
            observe::log::warn(format_args!(
                "canary `{}` of listener `{}`: {} `{}` has no server that may be used, {} `{}` has served {} of its requests",
                self.name,
                self.listener,
                variant.name(),
                self.pool(variant),
                other.name(),
                self.pool(other),
                count - seen,
            ));
        }
    }
}
