//! Quotas. Nobody who has one is named here: they may be many.

use super::page::{Page, labels};

/// One quota.
#[derive(Clone, Copy, Debug)]
pub struct Quota<'a> {
    /// Its name.
    pub quota: &'a str,
    /// Those who have used some of it.
    pub subjects: u64,
    /// Requests that were refused.
    pub refused: u64,
    /// Transfers and tunnels that were cut.
    pub cut: u64,
}

pub(super) fn write(quotas: &[Quota<'_>], page: &mut Page) {
    let rows = |value: fn(&Quota<'_>) -> u64| {
        quotas.iter().map(move |one| (labels(&[("quota", one.quota)]), value(one) as f64))
    };
    page.gauge(
        "tidegate_quota_subjects",
        "Those who have used some of a quota in their period.",
        rows(|one| one.subjects),
    );
    page.counter(
        "tidegate_quota_refused_total",
        "Requests that were refused because a quota was used up.",
        rows(|one| one.refused),
    );
    page.counter(
        "tidegate_quota_cut_total",
        "Transfers and tunnels that were cut because a quota was used up.",
        rows(|one| one.cut),
    );
}
