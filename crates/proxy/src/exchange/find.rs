//! The route of a request. Where it goes to another place than its client says, the rules about that place hold as well.

use std::sync::Arc;

use base::{Fault, Kind};

use super::{Exchange, seen};
use crate::attempt;
use crate::destination;
use crate::lists::Hit;
use crate::route::{self, Body, Captures, Finding};
use crate::session::Session;
use crate::snapshot::{Ending, Listener, Route};

/// Finds the route; reads the body only as far as a rule's body predicate needs it.
pub(super) async fn find<'a>(
    session: &mut Session,
    x: &mut Exchange,
    listener: &'a Listener,
) -> Result<&'a Arc<Route>, Fault> {
    let mut found = search(session, x, listener, None).await?;
    if let Some(end) = OtherEnd::of(x) {
        let of_end = search(session, x, listener, Some(&end.host)).await?;
        let of_any = search(session, x, listener, Some(end.any())).await?;
        if prevails(listener, of_end.rule, of_any.rule) {
            found = of_end;
        }
    }
    x.notes.hit = found.hit;
    let Some(rule) = found.rule else { return Ok(&listener.default) };
    x.facts.captures = found.captures;
    Ok(&listener.routes[rule])
}

/// The same for what has no body, and shows this to the table.
pub(crate) fn find_at_once(x: &Exchange, listener: &Listener, seen: route::Facts<'_>) -> (Option<usize>, Option<Hit>) {
    let search = |host: &[u8]| {
        let facts = route::Facts { host, ..seen };
        match listener.table.find(&facts, 0) {
            Finding::Rule(found) => (Some(found.ordinal), listener.table.hit(found.ordinal, &facts)),
            Finding::None | Finding::NeedsBody { .. } | Finding::TooLarge { .. } => (None, None),
        }
    };
    match OtherEnd::of(x) {
        Some(end) => {
            let of_end = search(&end.host);
            let is_guard = prevails(listener, of_end.0, search(end.any()).0);
            if is_guard { of_end } else { search(seen.host) }
        }
        None => search(seen.host),
    }
}

/// Where a request goes, if that is not the host that it names.
struct OtherEnd {
    host: Vec<u8>,
}

impl OtherEnd {
    fn of(x: &Exchange) -> Option<OtherEnd> {
        let host = match (&x.facts.inside, x.facts.led) {
            (Some(inside), _) if inside.host.as_bytes() == &x.facts.host[..] => return None,
            (Some(inside), _) => inside.host.as_bytes().to_vec(),
            (None, Some(led)) => destination::host_of(led.ip()),
            (None, None) => return None,
        };
        (host != x.facts.host).then_some(OtherEnd { host })
    }

    /// A host of its kind that is none: what a rule says of it as well, it does not say because of where the request goes.
    fn any(&self) -> &'static [u8] {
        match std::str::from_utf8(&self.host) {
            Ok(host) if host.starts_with('[') => b"[::]",
            Ok(host) if destination::is_address(host) => b"0.0.0.0",
            _ => b"any.invalid",
        }
    }
}

/// Whether a rule about where a request goes decides, whatever host its client names: one that keeps clients from there, or asks who they are.
fn prevails(listener: &Listener, of_end: Option<usize>, of_any: Option<usize>) -> bool {
    let guards = |route: &Route| {
        !route.users.is_empty() || !matches!(route.ending, Ending::Pools(_) | Ending::Canary(_) | Ending::Ways(_))
    };
    of_end != of_any && of_end.is_some_and(|rule| guards(&listener.routes[rule]))
}

/// What the table has found.
struct Found {
    /// The rule's place; absent if none holds.
    rule: Option<usize>,
    captures: Captures,
    hit: Option<Hit>,
}

/// Asks the table, for a request to this host in the place of the one that it names.
async fn search(
    session: &mut Session,
    x: &mut Exchange,
    listener: &Listener,
    host: Option<&[u8]>,
) -> Result<Found, Fault> {
    let mut from = 0;
    let mut wanted: Option<usize> = None;
    loop {
        let (finding, hit) = {
            let body = match wanted {
                None => Body::Unread,
                Some(_) => Body::Prefix { bytes: &x.prefix, complete: x.upload.is_read() },
            };
            let facts = seen(x, listener, session.origin.port, body);
            let facts = route::Facts { host: host.unwrap_or(facts.host), ..facts };
            let finding = listener.table.find(&facts, from);
            let hit = match &finding {
                Finding::Rule(found) => listener.table.hit(found.ordinal, &facts),
                _ => None,
            };
            (finding, hit)
        };
        match finding {
            Finding::Rule(found) => return Ok(Found { rule: Some(found.ordinal), captures: found.captures, hit }),
            Finding::None => return Ok(Found { rule: None, captures: Captures::default(), hit }),
            Finding::TooLarge { .. } => return Err(Fault::client(Kind::BodyTooLarge)),
            Finding::NeedsBody { ordinal, limit } => {
                if wanted.is_some_and(|had| had >= limit) {
                    // Everything that this rule may see is there already.
                    from = ordinal + 1;
                    continue;
                }
                attempt::read_prefix(session, x, limit).await?;
                (from, wanted) = (ordinal, Some(limit));
            }
        }
    }
}
