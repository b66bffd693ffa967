//! The families of lists of sites.

use std::time::SystemTime;

use super::page::{Page, labels};

/// A list of sites.
#[derive(Clone, Copy, Debug)]
pub struct List<'a> {
    /// Its name in the configuration.
    pub list: &'a str,
    /// How many rules it has, by kind.
    pub rules: [(&'a str, u64); 2],
    /// Lines that are no rule.
    pub wrong: u64,
    /// The memory that it takes.
    pub bytes: u64,
    /// When it was read.
    pub loaded: SystemTime,
    /// How often it has decided.
    pub hits: u64,
    /// Whether what its files hold now is what is looked into.
    pub is_current: bool,
}

pub(super) fn write(lists: &[List<'_>], page: &mut Page) {
    let of = |one: &List<'_>| labels(&[("list", one.list)]);
    page.gauge(
        "tidegate_list_rules",
        "Rules of a list, by kind.",
        lists.iter().flat_map(|one| {
            one.rules.iter().map(|(kind, count)| (labels(&[("list", one.list), ("kind", kind)]), *count as f64))
        }),
    );
    page.gauge(
        "tidegate_list_wrong_lines",
        "Lines of a list that are no rule.",
        lists.iter().map(|one| (of(one), one.wrong as f64)),
    );
    page.gauge("tidegate_list_bytes", "Memory that a list takes.", lists.iter().map(|one| (of(one), one.bytes as f64)));
    page.gauge(
        "tidegate_list_loaded_seconds",
        "When a list was read, in Unix time.",
        lists.iter().map(|one| {
            let since = one.loaded.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
            (of(one), since.as_secs() as f64)
        }),
    );
    page.gauge(
        "tidegate_list_current",
        "Whether a list is what its files hold now.",
        lists.iter().map(|one| (of(one), f64::from(u8::from(one.is_current)))),
    );
    page.counter(
        "tidegate_list_hits_total",
        "How often a list has decided.",
        lists.iter().map(|one| (of(one), one.hits as f64)),
    );
}
