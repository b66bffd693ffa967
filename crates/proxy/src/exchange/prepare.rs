//! The request as the next hop should see it.

use base::{Fault, Kind};
use wire::grpc::Form;
use wire::head::Scheme;
use wire::hop::Meant;
use wire::{Known, forwarded, hop};

use super::Exchange;
use crate::filter;
use crate::policy::{self, Climbs, grpc_web};
use crate::session::Session;
use crate::snapshot::{Listener, Role, Route};
use crate::users;

/// Makes the head what the next hop should see.
pub(super) fn prepare(session: &Session, x: &mut Exchange, listener: &Listener, route: &Route) -> Result<(), Fault> {
    let head = &mut x.request;
    let mut trailers = hop::accepts_trailers(head) || (route.grpc_web && x.facts.call.is_some());
    let mut expects = x.client.awaits_continue;
    let stripped = match leaves_no_trace(listener) {
        false => hop::strip(head),
        true => hop::strip_unseen(head, Meant { expects, upgrades: x.facts.websocket }),
    };
    if stripped.is_err() {
        x.notes.reason = "Connection names a field that frames or routes the message";
        return Err(Fault::client(Kind::Malformed));
    }
    if x.facts.spent && listener.role != Role::Forward {
        head.remove(users::field(listener.role));
    }
    if head.scheme() != Scheme::Unsaid && head.value_of(Known::Host) != Some(head.authority()) {
        // RFC 9112 section 3.2.2: the authority of an absolute target replaces Host.
        let authority = head.authority().to_vec();
        head.set(b"Host", &authority);
    }
    let (is_secure, port) = match &session.inside {
        Some(inside) => (inside.secure.is_some(), inside.port),
        // A server that believes these leads clients on by them: what they say is the URL's, and nothing of the proxy's.
        None if listener.role == Role::Forward => (false, x.facts.port.unwrap_or(80)),
        None => (session.tls.is_some(), session.origin.port),
    };
    forwarded::apply(head, x.facts.peer.ip(), is_secure, port, &listener.forwarding);
    trailers &= !head.has(Known::Te);
    expects &= !head.has(Known::Expect);
    if trailers {
        head.add(b"TE", b"trailers");
        head.add(b"Connection", b"TE");
    }
    if expects {
        head.add(b"Expect", b"100-continue");
    }
    if session.origin.early {
        // RFC 8470 section 5.1: the server may know better what may happen twice.
        head.set(b"Early-Data", b"1");
    }
    x.facts.third_party = policy::third_party(&route.policies, head);
    policy::forwards(&route.policies, head, &x.facts).map_err(|Climbs| {
        x.notes.reason = "the rewritten path climbs";
        Fault::client(Kind::Malformed)
    })?;
    filter::forwards(route, head);
    if let Some(compress) = &route.compress {
        compress.forwards(head);
    }
    translate(x, route)
}

/// Refuses a body that is longer than its route allows, as far as that is known by now.
pub(super) fn limit_body(x: &mut Exchange, route: &Route) -> Result<(), Fault> {
    let limit = route.max_request_body;
    let announced = match x.request.framing() {
        wire::Framing::Length(length) => length,
        _ => 0,
    };
    if announced > limit || x.prefix.len() as u64 > limit {
        return Err(Fault::client(Kind::BodyTooLarge));
    }
    x.upload.limit = limit;
    Ok(())
}

/// Whether servers shall see what they would see of clients without a proxy.
pub(super) fn leaves_no_trace(listener: &Listener) -> bool {
    listener.role == Role::Forward && listener.forwarding.leaves_no_trace()
}

/// Makes the call of a browser a plain one, where the route wants that.
fn translate(x: &mut Exchange, route: &Route) -> Result<(), Fault> {
    let Some(form @ (Form::Web | Form::WebText)) = x.facts.call.filter(|_| route.grpc_web) else { return Ok(()) };
    let (transform, wanted) = grpc_web::forwards(&mut x.request, form);
    x.facts.call = Some(wanted);
    let Some(transform) = transform else { return Ok(()) };
    x.upload.transform_all(transform, &mut x.prefix).map_err(|_| {
        x.notes.reason = "broken base64";
        Fault::client(Kind::Malformed)
    })
}
