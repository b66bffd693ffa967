//! The family of filters.

use super::page::{Page, labels};

/// A filter of responses.
#[derive(Clone, Debug)]
pub struct Filter<'a> {
    /// Its name.
    pub filter: &'a str,
    /// What it has refused, by what it looked at.
    pub refusals: Vec<(&'static str, u64)>,
}

pub(super) fn write(filters: &[Filter<'_>], page: &mut Page) {
    page.counter(
        "tidegate_filter_refusals_total",
        "Responses that a filter has refused or cut, by what it looked at.",
        filters.iter().flat_map(|one| {
            let row = |(by, count): &(&str, u64)| (labels(&[("filter", one.filter), ("by", by)]), *count as f64);
            one.refusals.iter().map(row)
        }),
    );
}
