//! What happens to a request on the way to its destination, and to the response on the way back. One file per policy; a
//! closed set, walked forwards, then backwards.

mod compress;
pub(crate) mod grpc_web;
mod headers;
mod media_type;
mod privacy;
mod rewrite;
mod template;

use std::sync::Arc;

pub(crate) use compress::Client;
pub use compress::Compress;
pub use headers::{Edits, Headers};
pub use media_type::MediaType;
pub use privacy::{Cookies, Privacy, Referer, UserAgent};
pub(crate) use rewrite::Climbs;
pub use rewrite::Rewrite;
pub use template::{Part, Selector, Template, View};

use observe::capture::Recorder;
use wire::Head;

use crate::bandwidth::Bandwidth;
use crate::exchange::Facts;
use crate::filter::Filter;
use crate::mirror::Mirror;
use crate::quota::Quota;

/// A policy.
#[derive(Debug)]
pub enum Policy {
    /// Edits header fields.
    Headers(Headers),
    /// Changes what the server is asked for.
    Rewrite(Rewrite),
    /// Sends a copy elsewhere, once the request is what servers will see.
    Mirror(Arc<Mirror>),
    /// Compresses responses, once they are what clients will see.
    Compress(Arc<Compress>),
    /// Limits how fast bodies go.
    Bandwidth(Arc<Bandwidth>),
    /// Limits how much goes through.
    Quota(Arc<Quota>),
    /// Writes what passes into an archive, if that is open.
    Capture(Option<Arc<Recorder>>),
    /// Makes calls of browsers plain calls of gRPC.
    GrpcWeb,
    /// Refuses responses, before other policies have changed them.
    Filter(Arc<Filter>),
    /// Tells servers less of who asks.
    Privacy(Privacy),
}

/// Whether a page of another site has asked, where a policy wants to know it. Asked before policies change what says it.
pub(crate) fn third_party(policies: &[Arc<Policy>], head: &Head) -> bool {
    let wants =
        |policy: &Arc<Policy>| matches!(&**policy, Policy::Privacy(said) if said.cookies == Cookies::FirstParty);
    policies.iter().any(wants) && privacy::is_third_party(head)
}

/// Walks the policies in their order, before the request goes on.
///
/// # Errors
/// A rewrite would lead elsewhere than its route's match has seen.
pub(crate) fn forwards(policies: &[Arc<Policy>], head: &mut Head, facts: &Facts) -> Result<(), Climbs> {
    for policy in policies {
        match &**policy {
            Policy::Headers(headers) => headers.request.apply(head, facts),
            Policy::Rewrite(rewrite) => rewrite.apply(head, facts)?,
            Policy::Privacy(privacy) => privacy.forwards(head, facts),
            Policy::Mirror(_)
            | Policy::Compress(_)
            | Policy::Capture(_)
            | Policy::Bandwidth(_)
            | Policy::Quota(_)
            | Policy::Filter(_)
            | Policy::GrpcWeb => {}
        }
    }
    Ok(())
}

/// Walks the policies in reverse, before the response goes on.
pub(crate) fn backwards(policies: &[Arc<Policy>], request: &Head, response: &mut Head, facts: &Facts) {
    for policy in policies.iter().rev() {
        match &**policy {
            Policy::Headers(headers) => headers.response.apply_with(response, &facts.view(request)),
            Policy::Privacy(privacy) => privacy.backwards(response, facts),
            Policy::Rewrite(_)
            | Policy::Mirror(_)
            | Policy::Compress(_)
            | Policy::Capture(_)
            | Policy::Bandwidth(_)
            | Policy::Quota(_)
            | Policy::Filter(_)
            | Policy::GrpcWeb => {}
        }
    }
}
