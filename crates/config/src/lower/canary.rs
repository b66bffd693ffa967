//! Canaries.

use super::Lower;
use super::fields::is_token;
use crate::shape::Map;
use crate::spec::{Canary, Cohorts, Force};

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
        if !map.has("share") && !map.has("steps") {
            self.mistakes
                .note(&map.span, format!("{} never sends anything to the candidate, give it `share`", map.label));
        }
        let cohorts = match map.map("sticky") {
            Some(sticky) => self.cohorts(sticky),
            None if map.has("sticky") => None,
            None => Some(Cohorts::Chance),
        };
        let force = map.map("force").and_then(|force| self.force(force));
        Some(Canary { stable: stable?, candidate: candidate?, share: map.share("share")?, cohorts: cohorts?, force })
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
                self.selectors(by).map(Cohorts::Selectors)
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
        Some(Force { by: self.selector(map.get("by")?)?, candidate, stable })
    }
}
