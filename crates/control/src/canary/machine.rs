//! The states of a canary: its steps by itself, and what an operator does to it.
//!
//! It has no clock and no counters: each [`Machine::tick`] is given both, and answers what is to be said. What it decides
//! is [`Machine::share`]; whoever drives it puts that in force.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::time::{Duration, Instant};

use base::units::{Share, print_duration};
use config::spec::{Course, Guard};

use super::sample::{Pair, Sample};
use super::verdict::{Excess, Verdict, judge};
use super::window::Window;

/// A canary's state.
#[derive(Debug)]
pub struct Machine {
    course: Course,
    phase: Phase,
    /// Hundredths of a percent.
    share: u32,
    /// When the share or the phase changed last.
    since: Instant,
    /// What was counted lately, of a canary that drives itself.
    window: Option<Window>,
    /// The stable version in the last window in which it had enough requests and the candidate had not taken them all.
    known: Option<Sample>,
    /// Looks in a row at which a candidate that has everything was slower than the stable version was before.
    slow: u32,
    /// Why the step has not been followed by the next one, though its time is over.
    waits: Option<String>,
    history: VecDeque<Entry>,
    changes: BTreeMap<(Phase, Cause), u64>,
}

/// What a canary does, and waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// It waits for the end of its step.
    Running,
    /// It waits for an operator's `resume`; the candidate is still watched.
    Paused,
    /// It keeps the share that configuration or an operator gave it; a canary with steps is still watched.
    Held,
    /// The candidate serves everything: it waits for the configuration to make it the stable version.
    Promoted,
    /// The candidate did worse and serves only requests that ask for it.
    RolledBack,
    /// An operator has taken everything from the candidate, requests that ask for it too.
    Aborted,
}

/// Why a state was entered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Cause {
    /// The canary is new.
    Start,
    /// A step was over, and the candidate did well.
    Step,
    /// The candidate had too many errors.
    Errors,
    /// The candidate was too slow.
    Latency,
    /// An operator wanted it.
    Operator,
}

/// One entry of a canary's history.
#[derive(Clone, Debug)]
pub struct Entry {
    /// When.
    pub at: Instant,
    /// What it does since.
    pub phase: Phase,
    /// The candidate's share since.
    pub share: u32,
    /// Why, in a word.
    pub cause: Cause,
    /// Why.
    pub reason: String,
}

/// What an operator does to a canary.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    /// No further step until `Resume`.
    Pause,
    /// Go on; a full step first.
    Resume,
    /// Keep this share.
    Set(u32),
    /// Take everything from the candidate.
    Abort,
    /// Give everything to the candidate.
    Promote,
    /// Begin anew.
    Restart,
}

/// Why a command means nothing now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refused(pub &'static str);

/// What there is to say after a tick.
#[derive(Clone, Debug)]
pub enum Said {
    /// The state has changed.
    Changed(Entry),
    /// The next step is due and does not come, for this reason.
    Waits(String),
}

/// Entries that a history keeps.
const REMEMBERED: usize = 64;
/// A candidate that has everything and is slow may stand on a machine that was busy for a moment: there is no other version
/// that would have been as slow. So it has to be slow for so many looks in a row.
const LASTING: u32 = 5;

impl Machine {
    /// A canary that begins now, with counters at this reading.
    pub fn new(course: Course, now: Instant, reading: Pair) -> Machine {
        let mut machine = Machine {
            course,
            phase: Phase::Held,
            share: 0,
            since: now,
            window: None,
            known: None,
            slow: 0,
            waits: None,
            history: VecDeque::new(),
            changes: BTreeMap::new(),
        };
        machine.begin(now, reading, Cause::Start, "new".to_owned());
        machine
    }

    /// Looks at the counters.
    pub fn tick(&mut self, now: Instant, reading: Pair) -> Option<Said> {
        let Course::Steps { every, guard, .. } = self.course else { return None };
        let window = self.window.as_mut()?;
        window.note(now, reading);
        if !self.phase.is_watched() {
            return None;
        }
        let mut whole = window.whole();
        let overdue = window.overdue(now, patience(&guard, &whole.stable));
        whole = whole.with_overdue(overdue);
        // What is new counts by itself too: a version that was good for long and breaks now breaks now.
        let latest = window.last(guard.min_requests).map(|latest| latest.with_overdue(overdue));
        if whole.stable.requests >= guard.min_requests && self.share < Share::WHOLE {
            self.known = Some(whole.stable.clone());
        }
        let enough = whole.candidate.requests >= guard.min_requests;
        let mut slow = 0;
        if enough {
            for (is_latest, pair) in latest.iter().map(|pair| (true, pair)).chain([(false, &whole)]) {
                let beside = self.beside(&guard, pair);
                let Verdict::Worse(excess) = beside.judge(&guard, &pair.candidate) else { continue };
                if matches!(beside, Beside::Before(_)) && excess.cause() == Cause::Latency {
                    // Of the whole window a moment that is over may be the reason.
                    slow = if is_latest { self.slow + 1 } else { slow };
                    if slow < LASTING {
                        continue;
                    }
                }
                let reason = format!("{excess}{}", beside.remark());
                return Some(self.enter(now, Phase::RolledBack, 0, excess.cause(), reason));
            }
        }
        self.slow = slow;
        if self.phase != Phase::Running || now.saturating_duration_since(self.since) < every {
            self.waits = None;
            return None;
        }
        if !enough {
            let (has, needs) = (whole.candidate.requests, guard.min_requests);
            return self
                .wait(format!("too few requests of the candidate: {has} of {needs} in {}", print_duration(every)));
        }
        let beside = self.beside(&guard, &whole);
        let Some(stable) = beside.enough() else {
            let (has, needs) = (whole.stable.requests, guard.min_requests);
            return self.wait(format!(
                "too few requests of the stable version to compare with: {has} of {needs} in {}",
                print_duration(every)
            ));
        };
        let remark = beside.remark();
        match beside.judge(&guard, &whole.candidate) {
            Verdict::Fine => {
                let reason = format!("candidate {}; stable {stable}{remark}", whole.candidate);
                Some(self.advance(now, reason))
            }
            Verdict::Doubtful(excess) | Verdict::Worse(excess) => {
                self.wait(format!("{excess}{remark}, which may be chance"))
            }
        }
    }

    /// Goes on where it is by another course of the same steps: what counts from now on is its pace and its bounds.
    pub fn revise(&mut self, course: Course) {
        if let (Course::Steps { every, .. }, Some(window)) = (&course, &mut self.window) {
            window.stretch(*every);
        }
        self.course = course;
        self.waits = None;
    }

    /// Does what an operator wants; `by` says who that is.
    ///
    /// # Errors
    /// It means nothing in this state.
    pub fn command(&mut self, now: Instant, reading: Pair, command: Command, by: &str) -> Result<Said, Refused> {
        let reason = format!("by {by}");
        let steps = matches!(self.course, Course::Steps { .. });
        Ok(match command {
            Command::Pause if self.phase == Phase::Running => {
                self.enter(now, Phase::Paused, self.share, Cause::Operator, reason)
            }
            Command::Pause => return Err(Refused("only a canary that runs can be paused")),
            Command::Resume if !steps => return Err(Refused("a canary without `steps` has nothing to resume")),
            Command::Resume if self.share == 0 && self.phase == Phase::Held => {
                return Err(Refused("a canary at 0% learns nothing and would never go on, set a share or `restart`"));
            }
            Command::Resume if matches!(self.phase, Phase::Paused | Phase::Held) => {
                self.enter(now, Phase::Running, self.share, Cause::Operator, reason)
            }
            Command::Resume => {
                return Err(Refused("only a canary that is paused or held can go on, this one can `restart`"));
            }
            Command::Set(share) => {
                if !self.phase.is_watched() {
                    self.forget(now, reading);
                }
                self.enter(now, Phase::Held, share, Cause::Operator, reason)
            }
            Command::Abort => self.enter(now, Phase::Aborted, 0, Cause::Operator, reason),
            Command::Promote => self.enter(now, Phase::Promoted, Share::WHOLE, Cause::Operator, reason),
            Command::Restart => self.begin(now, reading, Cause::Operator, reason),
        })
    }

    /// The candidate's share, in hundredths of a percent; absent if not even requests that ask for it reach it.
    pub fn share(&self) -> Option<u32> {
        (self.phase != Phase::Aborted).then_some(self.share)
    }

    /// What it does.
    pub fn phase(&self) -> Phase {
        self.phase
    }

    /// Since when it does that, with this share.
    pub fn since(&self) -> Instant {
        self.since
    }

    /// Why the next step does not come, though it is due.
    pub fn waits(&self) -> Option<&str> {
        self.waits.as_deref()
    }

    /// What was counted in the time over which the versions are compared.
    pub fn window(&self) -> Option<Pair> {
        self.window.as_ref().map(Window::whole)
    }

    /// What became of it, the latest last.
    pub fn history(&self) -> impl ExactSizeIterator<Item = &Entry> {
        self.history.iter()
    }

    /// How often each state was entered, and why.
    pub fn changes(&self) -> impl Iterator<Item = (Phase, Cause, u64)> {
        self.changes.iter().map(|((phase, cause), count)| (*phase, *cause, *count))
    }

    fn begin(&mut self, now: Instant, reading: Pair, cause: Cause, reason: String) -> Said {
        self.forget(now, reading);
        let (phase, share) = match &self.course {
            Course::Held(share) => (Phase::Held, *share),
            Course::Steps { steps, .. } => (Phase::Running, steps.first().copied().unwrap_or(0)),
        };
        self.enter(now, phase, share, cause, reason)
    }

    /// What was counted before says nothing of what comes.
    fn forget(&mut self, now: Instant, reading: Pair) {
        self.known = None;
        self.window = match &self.course {
            Course::Held(_) => None,
            Course::Steps { every, .. } => Some(Window::new(*every, now, reading)),
        };
    }

    /// What the candidate is compared with: the stable version over the same time. At the whole share there is none beside it,
    /// only what it was before.
    fn beside(&self, guard: &Guard, pair: &Pair) -> Beside {
        match &self.known {
            Some(known) if self.share == Share::WHOLE => Beside::Before(known.clone()),
            _ if pair.stable.requests >= guard.min_requests => Beside::Now(pair.stable.clone()),
            known => Beside::TooFew(known.clone()),
        }
    }

    fn advance(&mut self, now: Instant, reason: String) -> Said {
        let next = match &self.course {
            Course::Held(_) => None,
            Course::Steps { steps, .. } => steps.iter().copied().find(|step| *step > self.share),
        };
        match next {
            Some(share) => self.enter(now, Phase::Running, share, Cause::Step, reason),
            None => self.enter(now, Phase::Promoted, Share::WHOLE, Cause::Step, reason),
        }
    }

    fn enter(&mut self, now: Instant, phase: Phase, share: u32, cause: Cause, reason: String) -> Said {
        (self.phase, self.share, self.since, self.waits, self.slow) = (phase, share, now, None, 0);
        *self.changes.entry((phase, cause)).or_default() += 1;
        let entry = Entry { at: now, phase, share, cause, reason };
        if self.history.len() == REMEMBERED {
            self.history.pop_front();
        }
        self.history.push_back(entry.clone());
        Said::Changed(entry)
    }

    /// Says once that the next step does not come; the reason's numbers change with each look.
    fn wait(&mut self, reason: String) -> Option<Said> {
        let first = self.waits.replace(reason.clone()).is_none();
        first.then_some(Said::Waits(reason))
    }
}

/// How long a request may wait before it counts as one that hangs: what the bound of latencies allows, if there is one, else ten
/// times what the stable version takes, and never less than a second.
fn patience(guard: &Guard, stable: &Sample) -> Duration {
    let allowed = guard.p99_ratio.map_or(1000, u64::from);
    let us = stable.p99_us().unwrap_or(0).saturating_mul(allowed) / 100;
    Duration::from_micros(us).max(SHORTEST_PATIENCE)
}

/// No wait is shorter that counts as one without end.
const SHORTEST_PATIENCE: Duration = Duration::from_secs(1);

/// What a candidate is compared with.
#[derive(Debug)]
enum Beside {
    /// The stable version over the same time.
    Now(Sample),
    /// The stable version before the candidate took everything.
    Before(Sample),
    /// The stable version has too few requests. What it was when it last had enough, if ever, says how much may fail.
    TooFew(Option<Sample>),
}

impl Beside {
    /// A sample that a step may be founded on.
    fn enough(&self) -> Option<&Sample> {
        match self {
            Beside::Now(stable) | Beside::Before(stable) => Some(stable),
            Beside::TooFew(_) => None,
        }
    }

    fn judge(&self, guard: &Guard, candidate: &Sample) -> Verdict {
        match self {
            Beside::Now(stable) | Beside::Before(stable) => judge(guard, candidate, Some(stable)),
            // Waits of another time say nothing. Errors do: who fails is failing, whatever it stands beside.
            Beside::TooFew(stable) => judge(&Guard { p99_ratio: None, ..*guard }, candidate, stable.as_ref()),
        }
    }

    /// What a reason says of it.
    fn remark(&self) -> &'static str {
        match self {
            Beside::Now(_) => "",
            Beside::Before(_) => " before the candidate had everything",
            Beside::TooFew(Some(_)) => " when it last had enough requests",
            Beside::TooFew(None) => " for want of requests",
        }
    }
}

impl Phase {
    /// All of them.
    pub const ALL: [Phase; 6] =
        [Phase::Running, Phase::Paused, Phase::Held, Phase::Promoted, Phase::RolledBack, Phase::Aborted];

    /// The name, as logs, metrics and the API say it.
    pub const fn name(self) -> &'static str {
        match self {
            Phase::Running => "running",
            Phase::Paused => "paused",
            Phase::Held => "held",
            Phase::Promoted => "promoted",
            Phase::RolledBack => "rolled_back",
            Phase::Aborted => "aborted",
        }
    }

    /// The name in a sentence.
    pub fn words(self) -> String {
        self.name().replace('_', " ")
    }

    /// Whether the candidate may still be rolled back.
    fn is_watched(self) -> bool {
        matches!(self, Phase::Running | Phase::Paused | Phase::Held)
    }
}

impl Cause {
    /// The name, as metrics and the API say it.
    pub const fn name(self) -> &'static str {
        match self {
            Cause::Start => "start",
            Cause::Step => "step",
            Cause::Errors => "errors",
            Cause::Latency => "latency",
            Cause::Operator => "operator",
        }
    }
}

impl Excess {
    fn cause(&self) -> Cause {
        match self {
            Excess::Errors { .. } => Cause::Errors,
            Excess::Latency { .. } => Cause::Latency,
        }
    }
}

/// `running at 25%: candidate 0 errors of 120 requests`
impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {}: {}", self.phase.words(), Share::of(self.share), self.reason)
    }
}

#[cfg(test)]
mod tests;
