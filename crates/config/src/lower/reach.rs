//! Routes that can never be reached, because an earlier one takes everything that they match.
//!
//! What is reported is certain; what is not certain (two regular expressions, say) is not reported.

use std::collections::HashMap;

use crate::spec::{HostPattern, Kind, PathPattern, Predicate, Route};

/// Pairs of a route that cannot be reached and the first earlier one that covers it.
///
/// A nested block covers what its own match covers, whatever its routes say: nothing matching inside ends in the default.
pub(super) fn unreachable(routes: &[Route]) -> Vec<(usize, usize)> {
    let mut pairs = Vec::new();
    let mut twins: HashMap<Option<&Predicate>, usize> = HashMap::new();
    for (n, route) in routes.iter().enumerate() {
        // Only the first routes are compared with all others, so that long lists stay quick to load; twins are always found.
        let covering = routes[..n].iter().take(COMPARED).position(|earlier| is_covered(earlier, route));
        let twin = *twins.entry(route.matches.as_ref()).or_insert(n);
        let twin = (twin != n).then_some(twin);
        pairs.extend(covering.or(twin).map(|earlier| (n, earlier)));
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
        (
            Predicate::Sni(HostPattern::Wildcard(apex)),
            Predicate::Sni(HostPattern::Exact(host) | HostPattern::Wildcard(host)),
        ) => host.strip_suffix(apex.as_str()).is_some_and(|rest| rest.ends_with('.')),
        (Predicate::ClientCert(true), Predicate::Fingerprint(_)) => true,
        (Predicate::Kind(Kind::Grpc), Predicate::GrpcService(_) | Predicate::GrpcMethod(_)) => true,
        (Predicate::Client(wide), Predicate::Client(narrow)) => wide.contains(narrow),
        _ => false,
    }
}

fn is_at_or_below(path: &str, stem: &str) -> bool {
    path.strip_prefix(stem).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// A hundred before each of ten thousand routes are compared in some milliseconds.
const COMPARED: usize = 100;
