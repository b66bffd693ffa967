//! Routes that can never be reached, because an earlier one takes everything that they match.
//!
//! What is reported is certain; what is not certain (two regular expressions, say) is not reported.

use crate::spec::{HostPattern, PathPattern, Predicate, Route};

/// Pairs of a route that cannot be reached and the first earlier one that covers it.
///
/// A nested block covers what its own match covers, whatever its routes say: nothing matching inside ends in the default.
pub(super) fn unreachable(routes: &[Route]) -> Vec<(usize, usize)> {
    // Only the first routes are compared with all others, so that large lists stay linear; exact twins are always found.
    let mut pairs = Vec::new();
    for (n, route) in routes.iter().enumerate() {
        let covering = routes[..n].iter().take(COMPARED).position(|earlier| is_covered(earlier, route));
        pairs.extend(covering.map(|earlier| (n, earlier)));
    }
    pairs
}

fn is_covered(earlier: &Route, later: &Route) -> bool {
    match (&earlier.matches, &later.matches) {
        (None, _) => true,
        (Some(_), None) => false,
        (Some(earlier), Some(later)) => covers(earlier, later),
    }
}

/// Whether everything that matches `later` certainly matches `earlier`.
fn covers(earlier: &Predicate, later: &Predicate) -> bool {
    if earlier == later {
        return true;
    }
    if let Predicate::Any(alternatives) = later {
        return alternatives.iter().all(|alternative| covers(earlier, alternative));
    }
    match earlier {
        Predicate::All(all) => all.iter().all(|part| covers(part, later)),
        Predicate::Any(any) => any.iter().any(|part| covers(part, later)),
        _ => match later {
            Predicate::All(all) => all.iter().any(|part| covers(earlier, part)),
            _ => covers_single(earlier, later),
        },
    }
}

fn covers_single(earlier: &Predicate, later: &Predicate) -> bool {
    match (earlier, later) {
        (Predicate::Path(PathPattern::Prefix(stem)), Predicate::Path(path)) => match path {
            PathPattern::Exact(path) | PathPattern::Prefix(path) => is_at_or_below(path, stem),
            PathPattern::Regex(_) | PathPattern::Text(_) => stem.is_empty(),
        },
        (
            Predicate::Host(HostPattern::Wildcard(apex)),
            Predicate::Host(HostPattern::Exact(host) | HostPattern::Wildcard(host)),
        ) => host.strip_suffix(apex.as_str()).is_some_and(|rest| rest.ends_with('.')),
        (Predicate::Client(wide), Predicate::Client(narrow)) => wide.contains(narrow),
        _ => false,
    }
}

fn is_at_or_below(path: &str, stem: &str) -> bool {
    path.strip_prefix(stem).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// A thousand routes before each of ten thousand are compared in a few milliseconds.
const COMPARED: usize = 1_000;
