//! `quota`.

use std::time::Duration;

use base::units::parse_duration;

use super::Lower;
use crate::diagnostics::Mistakes;
use crate::shape::Map;
use crate::spec::{Ending, Listener, Per, Policy, PolicyKind, Quota, Route, Serves, Site, Zone};

/// What is shorter is a limit of a rate.
const SHORTEST: Duration = Duration::from_secs(60);
/// Nobody waits for longer than a year and a day.
const LONGEST: Duration = Duration::from_secs(366 * 86_400);

impl Lower<'_, '_> {
    pub(super) fn quota(&mut self, map: &Map) -> Option<Quota> {
        let (bytes, requests) = (map.size("bytes"), map.integer("requests"));
        if !map.has("bytes") && !map.has("requests") {
            self.mistakes.note(&map.span, format!("{} limits nothing, give it `bytes` or `requests`", map.label));
        }
        if let (Some(0), Some(value)) = (bytes, map.get("bytes")) {
            self.note(value, format!("`bytes` of {} would let nothing through", map.label));
        }
        for (key, default) in [("direction", "both"), ("running", "cut")] {
            if !map.has("bytes")
                && let Some(value) = map.get(key).filter(|value| value.fixed().is_some_and(|word| word != default))
            {
                self.note(value, format!("`{key}` of {} is about `bytes`, which it does not limit", map.label));
            }
        }
        let per = self.period(map);
        let mut by = Vec::new();
        let mut is_known = true;
        for value in map.list("by") {
            let selector = self.request_selector(value);
            is_known &= selector.is_some();
            by.extend(value.fixed().map(str::to_owned).zip(selector));
        }
        let direction = map.fixed("direction")?;
        let (status, cuts) = (map.tiny("deny")?, map.fixed("running")? == "cut");
        Some(Quota {
            bytes,
            requests,
            per: per?,
            by: is_known.then_some(by)?,
            up: matches!(direction, "both" | "in"),
            down: matches!(direction, "both" | "out"),
            cuts,
            status,
        })
    }

    fn period(&mut self, map: &Map) -> Option<Per> {
        let zone = match map.get("zone") {
            None => Some(Zone::Fixed(0)),
            Some(value) => self.zone(value),
        };
        let value = map.get("per")?;
        let text = value.fixed()?;
        let per = match text {
            "hour" => Per::Hour(zone?),
            "day" => Per::Day(zone?),
            "week" => Per::Week(zone?),
            "month" => Per::Month(zone?),
            other => match parse_duration(other) {
                Ok(length) if (SHORTEST..=LONGEST).contains(&length) => {
                    if let Some(zone) = map.get("zone") {
                        self.note(zone, format!("`zone` of {} is for periods of the calendar, remove it", map.label));
                    }
                    Per::Rolling(length)
                }
                Ok(_) => {
                    self.note(value, format!("`per` of {} is from 1m to 366d: `{text}`", map.label));
                    return None;
                }
                Err(_) => {
                    let message =
                        format!("`per` of {} is `hour`, `day`, `week`, `month` or a duration: `{text}`", map.label);
                    self.note(value, message);
                    return None;
                }
            },
        };
        Some(per)
    }
}

/// Refuses inline quotas that are known by a route's number alone: another route before it, and what was used would be another one's.
pub(super) fn check(listeners: &[Listener], sites: &[Site], policies: &[Policy], mistakes: &mut Mistakes) {
    for listener in listeners {
        if let Serves::Routes(routes) = &listener.serves {
            refuse_nameless(routes, true, policies, mistakes);
        }
    }
    sites.iter().for_each(|site| refuse_nameless(&site.routes, true, policies, mistakes));
}

fn refuse_nameless(routes: &[Route], is_outer_named: bool, policies: &[Policy], mistakes: &mut Mistakes) {
    for route in routes {
        let is_named = is_outer_named && route.name.is_some();
        let used = route.uses.iter().filter_map(|id| policies.get(id.0));
        let inline = used.filter(|policy| policy.name.is_none() && matches!(policy.kind, PolicyKind::Quota(_)));
        for policy in inline.filter(|_| !is_named) {
            let whose = if route.name.is_some() { "the routes around it" } else { "its route" };
            let message = format!(
                "what was used of a `quota` is found again by a name, give one to {whose} (`name: …`), or write the quota below `policies`"
            );
            mistakes.note(&policy.span, message);
        }
        if let Ending::Routes(inner) = &route.ending {
            refuse_nameless(inner, is_named, policies, mistakes);
        }
    }
}
