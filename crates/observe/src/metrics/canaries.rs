//! The families of canaries.

use super::page::{Label, Page, labels};
use crate::stats::{Class, RequestStats};

/// One canary. No two entries may have the same listener and route.
#[derive(Clone, Debug)]
pub struct Canary<'a> {
    /// The listener's name.
    pub listener: &'a str,
    /// The route's name.
    pub route: &'a str,
    /// The candidate's share, from 0 to 1.
    pub share: f64,
    /// The states that there are, and whether it is in this one.
    pub states: Vec<(&'static str, bool)>,
    /// States and causes, and how often each was entered so.
    pub changes: Vec<(&'static str, &'static str, u64)>,
    /// Its two versions.
    pub versions: [Version<'a>; 2],
}

/// One version of a canary.
#[derive(Clone, Copy, Debug)]
pub struct Version<'a> {
    /// `stable` or `candidate`.
    pub name: &'static str,
    /// What is compared: a request's status, and how long it waited for its response.
    pub stats: &'a RequestStats,
    /// Requests that the other version has served for want of a server here.
    pub diverted: u64,
}

pub(super) fn write(canaries: &[Canary<'_>], page: &mut Page) {
    page.gauge(
        "tidegate_canary_share",
        "The candidate's share, from 0 to 1.",
        canaries.iter().map(|canary| (canary.labels(&[]), canary.share)),
    );
    page.gauge(
        "tidegate_canary_state",
        "Whether the canary is in this state: 1 if so, else 0.",
        canaries.iter().flat_map(|canary| {
            canary.states.iter().map(|(state, is)| (canary.labels(&[("state", state)]), f64::from(*is)))
        }),
    );
    page.counter(
        "tidegate_canary_changes_total",
        "How often the canary has entered a state or taken a step, by the cause.",
        canaries.iter().flat_map(|canary| {
            let row = |(state, cause, count): &(&str, &str, u64)| {
                (canary.labels(&[("state", state), ("cause", cause)]), *count as f64)
            };
            canary.changes.iter().map(row)
        }),
    );
    let read: Vec<_> = canaries
        .iter()
        .flat_map(|canary| canary.versions.map(|version| (canary, version, version.stats.read())))
        .collect();
    page.counter(
        "tidegate_canary_requests_total",
        "Requests that are compared, by the class of the status; a response that broke off is a 5xx.",
        read.iter().flat_map(|(canary, version, requests)| {
            Class::ALL.map(|class| {
                let more = [("version", version.name), ("code_class", class.name())];
                (canary.labels(&more), requests.with_class(class) as f64)
            })
        }),
    );
    page.histogram(
        "tidegate_canary_response_seconds",
        "How long requests that are compared have waited for their responses, in seconds.",
        read.iter().map(|(canary, version, requests)| (canary.labels(&[("version", version.name)]), &requests.latency)),
    );
    page.counter(
        "tidegate_canary_diverted_total",
        "Requests of a version that the other one has served, because it had no server.",
        read.iter().map(|(canary, version, _)| (canary.labels(&[("version", version.name)]), version.diverted as f64)),
    );
}

impl Canary<'_> {
    fn labels(&self, more: &[(&str, &str)]) -> Vec<Label> {
        labels(&[&[("listener", self.listener), ("route", self.route)], more].concat())
    }
}
