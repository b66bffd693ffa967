//! The request as the next hop should see it.

use base::{Fault, Kind};
use wire::grpc::Form;
use wire::head::Scheme;
use wire::{Known, forwarded, hop};

use super::Exchange;
use crate::policy::{self, Climbs, grpc_web};
use crate::session::Session;
use crate::snapshot::{Listener, Role, Route};
use crate::users;

/// Makes the head what the next hop should see.
pub(super) fn prepare(session: &Session, x: &mut Exchange, listener: &Listener, route: &Route) -> Result<(), Fault> {
    let head = &mut x.request;
    let trailers = hop::accepts_trailers(head) || (route.grpc_web && x.facts.call.is_some());
    if hop::strip(head).is_err() {
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
        None => (session.tls.is_some(), session.origin.port),
    };
    forwarded::apply(head, x.facts.peer.ip(), is_secure, port, &listener.forwarding);
    if trailers {
        head.add(b"TE", b"trailers");
        head.add(b"Connection", b"TE");
    }
    if x.client.awaits_continue {
        head.add(b"Expect", b"100-continue");
    }
    if session.origin.early {
        // RFC 8470 section 5.1: the server may know better what may happen twice.
        head.set(b"Early-Data", b"1");
    }
    policy::forwards(&route.policies, head, &x.facts).map_err(|Climbs| {
        x.notes.reason = "the rewritten path climbs";
        Fault::client(Kind::Malformed)
    })?;
    if let Some(compress) = &route.compress {
        compress.forwards(head);
    }
    translate(x, route)
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
