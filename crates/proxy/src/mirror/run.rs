//! A copy on its way: an exchange of its own, in a task of its own, whose client is nobody.

use std::rc::Rc;
use std::sync::Arc;

use base::Side as Whose;
use net::Stream;
use wire::{Head, Method};

use super::report::{Side, Slot};
use super::{Copies, Dropped, Mirror};
use crate::attempt;
use crate::exchange::{Exchange, Facts};
use crate::finish::{self, Account};
use crate::relay::Pump;
use crate::reply;
use crate::session::Session;
use crate::snapshot::Listener;
use crate::worker::Worker;

/// What a copy takes with it.
struct Copy {
    mirror: Arc<Mirror>,
    slot: Slot,
    facts: Facts,
    head: Head,
    body: Vec<u8>,
    real: Side,
}

/// Sends the copies of a request that has been answered.
pub(crate) fn release(session: &Session, x: &mut Exchange) {
    let Some(copies) = x.copies.take() else { return };
    let Copies { head, to } = *copies;
    let spoiled = x.notes.fault.is_some_and(|fault| fault.side == Whose::Client);
    let body =
        if x.upload.is_read() && !spoiled && x.notes.status != 0 { whole_body(x) } else { Err(Dropped::Unfinished) };
    let real = Side { status: x.notes.status, took_us: finish::until_answered_us(&x.notes) };
    for (mirror, slot) in to {
        let refused = match &body {
            Err(reason) => Some(*reason),
            Ok(body) if body.len() > mirror.limit => Some(Dropped::TooLarge),
            Ok(_) => session.worker.is_draining().then_some(Dropped::NoRoom),
        };
        if let Some(reason) = refused {
            mirror.report.dropped(reason);
        } else if let Ok(body) = &body {
            let copy = Copy { mirror, slot, facts: x.facts.copy(), head: head.clone(), body: body.clone(), real };
            let (worker, listener) = (Rc::clone(&session.worker), Arc::clone(&session.listener));
            tokio::task::spawn_local(run(worker, listener, copy));
        }
    }
}

/// The content that was read early, and what went by after it.
fn whole_body(x: &mut Exchange) -> Result<Vec<u8>, Dropped> {
    let mut body = x.prefix.clone();
    match x.upload.copied() {
        Some(Ok(rest)) => body.extend_from_slice(&rest),
        Some(Err(_)) => return Err(Dropped::TooLarge),
        None => {}
    }
    Ok(body)
}

async fn run(worker: Rc<Worker>, listener: Arc<Listener>, copy: Copy) {
    let Copy { mirror, slot, facts, head, body, real } = copy;
    let Ok((silent, _other_end)) = Stream::silent() else { return mirror.report.dropped(Dropped::NoRoom) };
    let mut session = Session::of_nobody(&worker, &listener, silent);
    let mut x = worker.exchange();
    x.client.head_only = head.method() == Method::Head;
    x.upload = Pump::default();
    (x.request, x.facts, x.prefix) = (head, facts, body);
    x.began(None);
    x.notes.arm = Some(0);
    if let Some(arm) = mirror.route.ending.arms().first() {
        let answered = match Box::pin(attempt::attempt(&mut session, &mut x, &mirror.route, arm)).await {
            Ok(upstream) => attempt::discard(&session, &mut x, &mirror.route, arm, upstream).await,
            Err(fault) => Err(fault),
        };
        if let Err(fault) = answered {
            x.notes.fault = Some(fault);
            if x.notes.status == 0 {
                x.notes.status = reply::status_of(fault.kind);
            }
        }
    }
    let account = Account::of(&listener, &mirror.route, &x.notes);
    finish::record(&worker, &mut x, &account);
    let shadow = Side { status: x.notes.status, took_us: finish::until_answered_us(&x.notes) };
    mirror.report.compare(x.facts.id, x.request.method_text(), &x.facts.path, real, shadow);
    worker.recycle(x);
    drop(slot);
}
