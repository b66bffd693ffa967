//! A response that its client is not to have: it is told so, and the server's connection is of use again if all of it is here.

use super::Upstream;
use super::deliver::server_keeps_open;
use crate::exchange::{After, Exchange};
use crate::filter::Refusal;
use crate::session::Session;
use crate::snapshot::{Arm, Route};
use crate::{finish, reply};

use wire::grpc::Code;
use wire::hop;

/// Answers in the place of the server, all of whose response may have been read.
pub(super) async fn refuse(
    session: &mut Session,
    x: &mut Exchange,
    route: &Route,
    arm: &Arm,
    (mut upstream, is_read): (Upstream, bool),
    refusal: Refusal<'_>,
) -> After {
    let reusable = server_keeps_open(&x.response) && !hop::wishes(&x.request).close;
    if x.facts.call.is_some() {
        x.notes.call = Code::said(&x.response);
    }
    finish::attempt(&session.worker, x, &upstream, None);
    // What is not here yet is not waited for: a refused video may be long.
    if (is_read || is_whole(&mut upstream, x)) && reusable && x.upload.is_done() && !upstream.conn.has_carry() {
        finish::park(session, x, arm, upstream);
    } else {
        drop(upstream);
    }
    refusal.note(x, session.worker.id);
    reply::deny(session, x, route, &refusal.filter.deny).await
}

/// Whether nothing of the response is still to come.
fn is_whole(upstream: &mut Upstream, x: &Exchange) -> bool {
    let mut reader = upstream.conn.body_reader(x.response.framing());
    if let Some((block, range)) = upstream.surplus.take() {
        let bytes = &block[range];
        match reader.take(bytes, |_| {}) {
            Ok(used) if used < bytes.len() => upstream.conn.keep(&bytes[used..]),
            Ok(_) => {}
            Err(_) => return false,
        }
    }
    reader.is_done()
}
