//! Canaries.

use base::units::Share;

use super::Lower;
use super::fields::is_token;
use crate::shape::Map;
use crate::spec::{Canary, Cohorts, Course, Force, Guard};

impl<'a> Lower<'a, '_> {
    pub(super) fn canary(&mut self, map: &'a Map) -> Option<Canary> {
        let stable = map.get("stable").and_then(|value| self.destination(value));
        let candidate = map.get("candidate").and_then(|value| self.destination(value));
        if stable.is_some()
            && stable == candidate
            && let Some(value) = map.get("candidate")
        {
            self.note(value, format!("`stable` and `candidate` of {} are the same pool", map.label));
        }
        let course = self.course(map);
        let cohorts = match map.map("sticky") {
            Some(sticky) => self.cohorts(sticky),
            None if map.has("sticky") => None,
            None => Some(Cohorts::Chance),
        };
        let force = map.map("force").and_then(|force| self.force(force));
        Some(Canary { stable: stable?, candidate: candidate?, course: course?, cohorts: cohorts?, force })
    }

    /// A share that is held, or one that drives itself.
    fn course(&mut self, map: &Map) -> Option<Course> {
        if map.has("share") {
            for key in ["steps", "every", "rollback_if"] {
                if let Some(value) = map.get(key) {
                    self.note(
                        value,
                        format!("`{key}` of {} is for a share that drives itself, remove it or `share`", map.label),
                    );
                }
            }
            return map.share("share").map(Course::Held);
        }
        if !map.has("steps") {
            let message = format!("{} never sends anything to the candidate, give it `share` or `steps`", map.label);
            self.mistakes.note(&map.span, message);
            return None;
        }
        for key in ["every", "rollback_if"] {
            if !map.has(key) {
                self.mistakes.note(&map.span, format!("`steps` of {} need `{key}`", map.label));
            }
        }
        let steps = self.steps(map);
        let every = self.time(map, "every");
        let guard = map.map("rollback_if").and_then(|guard| self.guard(guard));
        Some(Course::Steps { steps: steps?, every: every?, guard: guard? })
    }

    fn steps(&mut self, map: &Map) -> Option<Vec<u32>> {
        let written = map.get("steps")?;
        let shares: Vec<u32> = written.items().iter().map(|step| step.share()).collect::<Option<_>>()?;
        let whole = Share::WHOLE;
        if shares.first() == Some(&0) || !shares.is_sorted_by(|one, next| one < next) {
            self.note(written, format!("`steps` of {} must grow, from more than 0%", map.label));
        } else if shares.last() != Some(&whole) {
            self.note(written, format!("`steps` of {} must end with 100%, where the candidate is promoted", map.label));
        }
        Some(shares)
    }

    fn guard(&mut self, map: &Map) -> Option<Guard> {
        if !map.has("error_points") && !map.has("p99_ratio") {
            self.mistakes
                .note(&map.span, format!("{} bounds nothing, give it `error_points` or `p99_ratio`", map.label));
        }
        Some(Guard {
            error_points: map.share("error_points"),
            p99_ratio: map.decimal("p99_ratio"),
            min_requests: map.integer("min_requests")?,
        })
    }

    fn cohorts(&mut self, map: &Map) -> Option<Cohorts> {
        let by = map.get("by")?;
        let is_cookie = |text: Option<&str>| text == Some("cookie");
        let named = map.get("cookie");
        match by.items() {
            [only] if is_cookie(only.fixed()) => {
                if let Some((value, name)) = named.and_then(|value| Some((value, value.fixed()?)))
                    && !is_token(name)
                {
                    self.note(value, format!("`{name}` is no name of a cookie"));
                }
                Some(Cohorts::Cookie(named.and_then(|value| value.fixed()).map(str::to_owned)))
            }
            several => {
                if let Some(cookie) = several.iter().find(|one| is_cookie(one.fixed())) {
                    self.note(cookie, "`cookie` stands alone in `by`, a cookie of your own is `cookie.NAME`");
                    return None;
                }
                if let Some(named) = named {
                    self.note(named, format!("`cookie` of {} does nothing without `by: cookie`, remove it", map.label));
                }
                self.request_selectors(by).map(Cohorts::Selectors)
            }
        }
    }

    fn force(&mut self, map: &Map) -> Option<Force> {
        let text = |key| map.fixed(key).map(str::to_owned);
        let (candidate, stable) = (text("candidate"), text("stable"));
        if !map.has("candidate") && !map.has("stable") {
            let message = format!("{} forces nothing, give it a value for `candidate` or `stable`", map.label);
            self.mistakes.note(&map.span, message);
        }
        if candidate.is_some()
            && candidate == stable
            && let Some(value) = map.get("stable")
        {
            self.note(value, format!("one value of {} cannot choose both versions", map.label));
        }
        Some(Force { by: self.request_selector(map.get("by")?)?, candidate, stable })
    }
}
