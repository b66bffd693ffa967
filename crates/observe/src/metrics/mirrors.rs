//! The families of mirrors.

use super::page::{Page, labels};
use crate::stats::{Class, Histogram};

/// One mirror.
#[derive(Clone, Debug)]
pub struct Mirror<'a> {
    /// Its name.
    pub mirror: &'a str,
    /// What became of copies: `sent`, or why they were dropped.
    pub copies: Vec<(&'static str, u64)>,
    /// Pairs by the class of the real status and of the copy's.
    pub pairs: [[u64; Class::ALL.len()]; Class::ALL.len()],
    /// How long both waited for their responses: `real` and `shadow`.
    pub latencies: [(&'static str, Histogram); 2],
    /// By how much copies were `slower` or `faster`.
    pub differences: [(&'static str, Histogram); 2],
}

pub(super) fn write(mirrors: &[Mirror<'_>], page: &mut Page) {
    page.counter(
        "tidegate_mirror_copies_total",
        "Copies of requests, by what became of them: sent, or why they were dropped.",
        mirrors.iter().flat_map(|one| {
            let row =
                |(result, count): &(&str, u64)| (labels(&[("mirror", one.mirror), ("result", result)]), *count as f64);
            one.copies.iter().map(row)
        }),
    );
    page.counter(
        "tidegate_mirror_pairs_total",
        "Requests and their copies, by the classes of both statuses.",
        mirrors.iter().flat_map(|one| {
            Class::ALL.into_iter().zip(&one.pairs).flat_map(move |(real, row)| {
                Class::ALL.into_iter().zip(row).filter(|(_, count)| **count > 0).map(move |(shadow, count)| {
                    let both = [("mirror", one.mirror), ("real", real.name()), ("shadow", shadow.name())];
                    (labels(&both), *count as f64)
                })
            })
        }),
    );
    page.histogram(
        "tidegate_mirror_response_seconds",
        "How long requests and their copies have waited for their responses, in seconds.",
        mirrors.iter().flat_map(|one| {
            one.latencies.iter().map(|(of, latency)| (labels(&[("mirror", one.mirror), ("of", of)]), latency))
        }),
    );
    page.histogram(
        "tidegate_mirror_difference_seconds",
        "By how much copies were slower or faster than their originals, in seconds.",
        mirrors.iter().flat_map(|one| {
            one.differences.iter().map(|(than, latency)| (labels(&[("mirror", one.mirror), ("copy", than)]), latency))
        }),
    );
}
