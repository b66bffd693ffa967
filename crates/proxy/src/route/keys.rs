//! Under which hosts and paths a rule is filed, and which of its conditions this spares.

use super::literal;
use super::rule::{Condition, HostPattern, PathPattern};

/// Where a rule is filed: under each of its hosts, there under each of its paths.
#[derive(Debug)]
pub(super) struct Keys {
    pub(super) hosts: Vec<HostKey>,
    pub(super) paths: Vec<PathKey>,
}

/// The hosts to which a rule can apply.
#[derive(Debug)]
pub(super) enum HostKey {
    /// This one.
    Exact(String),
    /// Those with one or more labels before this.
    Below(String),
    /// Any, as far as the index knows.
    Every,
}

/// The paths to which a rule can apply.
#[derive(Debug)]
pub(super) enum PathKey {
    /// This one.
    Exact(String),
    /// This one and those below it.
    Prefix(String),
    /// Any, as far as the index knows.
    Every,
}

/// In how many places one rule may be filed. Beyond, it is filed by its host alone.
const MOST_PLACES: usize = 4096;

impl Keys {
    /// The keys of a rule, and the conditions that its being found under one of them leaves open.
    pub(super) fn of(mut conditions: Vec<Condition>) -> (Keys, Vec<Condition>) {
        // Of several conditions the innermost is the narrowest, as a rule.
        let host = conditions.iter().enumerate().rev().find_map(|(at, condition)| Some((at, host_keys(condition)?)));
        let hosts = host.map_or_else(
            || vec![HostKey::Every],
            |(at, keys)| {
                conditions.remove(at);
                keys
            },
        );
        let path = conditions.iter().enumerate().rev().find_map(|(at, condition)| Some((at, path_keys(condition)?)));
        let paths = match path {
            Some((at, keys)) if keys.len().saturating_mul(hosts.len()) <= MOST_PLACES => {
                if is_told_by_keys(&conditions[at]) {
                    conditions.remove(at);
                }
                keys
            }
            _ => vec![PathKey::Every],
        };
        (Keys { hosts, paths }, conditions)
    }
}

fn host_keys(condition: &Condition) -> Option<Vec<HostKey>> {
    let Condition::Host(patterns) = condition else { return None };
    let key = |pattern: &HostPattern| match pattern {
        HostPattern::Exact(name) => Some(HostKey::Exact(name.clone())),
        HostPattern::Wildcard(apex) => Some(HostKey::Below(apex.clone())),
        HostPattern::Regex(_) | HostPattern::Text(_) => None,
    };
    patterns.iter().map(key).collect()
}

fn path_keys(condition: &Condition) -> Option<Vec<PathKey>> {
    let Condition::Path(patterns) = condition else { return None };
    let key = |pattern: &PathPattern| match pattern {
        PathPattern::Exact(path) => Some(PathKey::Exact(path.clone())),
        PathPattern::Prefix(prefix) => Some(PathKey::Prefix(prefix.clone())),
        PathPattern::Regex(regex) => literal::parent(regex.as_str()).map(|prefix| PathKey::Prefix(prefix.to_owned())),
        PathPattern::Text(_) => None,
    };
    patterns.iter().map(key).collect()
}

/// Whether a path condition holds wherever one of its keys does.
fn is_told_by_keys(condition: &Condition) -> bool {
    let Condition::Path(patterns) = condition else { return false };
    patterns.iter().all(|pattern| matches!(pattern, PathPattern::Exact(_) | PathPattern::Prefix(_)))
}
