//! A server that was overtaken: another one has answered a hedge before it.
//!
//! That it takes long counts for its latency. Whether it hangs nobody knows, since nobody waits for it any more: a server
//! that hangs behind hedges would never be found out. So once as many of its requests were overtaken as errors in a row would
//! eject it, with no answer between them, one of them is waited for to its end, beside all requests. Any answer clears the
//! server, however late: it is merely slower. If there is none in time, all of them count as requests that timed out.

use std::future::poll_fn;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use base::{Fault, Kind, Retry};
use http::ReadError;
use wire::Head;
use wire::h1::Asked;

use super::Upstream;
use super::send::{FIRST_READ, RESPONSE_HEAD};
use crate::balance::outlier::Verdict;
use crate::finish;
use crate::pool::Server;
use crate::session::Session;
use crate::snapshot::{Arm, Route};
use crate::worker::Worker;

/// Notes that this server had a request for so long when another one answered it.
pub(super) fn overtaken(session: &Session, route: &Route, arm: &Arm, late: Upstream, asked: Asked, waited: Duration) {
    let Some(server) = late.server().map(Arc::clone) else { return };
    finish::overtaken(&session.worker, &server, waited);
    if session.worker.is_draining() || !server.was_overtaken() {
        return;
    }
    let times = [arm.timeouts.per_try, route.total].into_iter().flatten();
    let patience = times.fold(arm.timeouts.response, Duration::min).saturating_sub(waited);
    tokio::task::spawn_local(wait(Rc::clone(&session.worker), server, late, asked, patience));
}

/// Waits for the answer, or for the end of the time that it may take.
async fn wait(worker: Rc<Worker>, server: Arc<Server>, mut late: Upstream, asked: Asked, patience: Duration) {
    let mut head = Head::default();
    let answered = poll_fn(|cx| {
        let mut block = worker.block(RESPONSE_HEAD.head + FIRST_READ);
        let read = late.conn.poll_response(cx, &mut block, FIRST_READ, asked, &RESPONSE_HEAD, &mut head);
        read.map(|read| read.map(|_| ()))
    });
    let verdict = match tokio::time::timeout(patience, answered).await {
        Ok(Ok(())) => Some(Verdict::of(head.status(), None, late.reused)),
        Ok(Err(error)) => Some(Verdict::of(0, Some(of_late(&error)), late.reused)),
        Err(_) => None,
    };
    server.was_waited_for(verdict);
}

fn of_late(error: &ReadError) -> Fault {
    let kind = match error {
        ReadError::Reject(_) => Kind::BadResponse,
        ReadError::Ended | ReadError::Io(_) | ReadError::Refused => Kind::Reset,
    };
    Fault::server(kind, Retry::Never)
}
