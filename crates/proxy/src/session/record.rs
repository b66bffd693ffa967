//! Records of what came to no exchange.

use std::borrow::Cow;
use std::time::Instant;

use base::{Fault, Kind};
use wire::Version;

use super::{Common, Session};
use crate::exchange::Exchange;
use crate::finish::{self, Account};

/// Records what broke the protocol, and was told so by the protocol's own means.
pub(super) fn broken(common: &Common, version: Version, reason: &'static str) {
    let Common { worker, origin, listener, tls, .. } = common;
    let mut x = worker.exchange();
    x.request.start_request(b"", b"", b"", None);
    x.began(None);
    x.came(worker, origin, tls.as_ref());
    x.client.version = version;
    x.client.is_flow = !listener.role.has_requests();
    (x.notes.fault, x.notes.reason) = (Some(Fault::client(Kind::Malformed)), reason);
    let account = Account::of(listener, &listener.default, &x.notes);
    finish::record(worker, &mut x, &account);
    worker.recycle(x);
}

/// Records a client with which hands were not shaken. It counts among handshakes, and not among requests: nobody knows whether it has any.
pub(super) fn unshaken(common: &Common, fault: Fault, why: Cow<'static, str>, name: Option<String>) {
    let Common { worker, origin, listener, .. } = common;
    let mut x = worker.exchange();
    x.request.start_request(b"", b"", b"", None);
    x.began(None);
    x.came(worker, origin, None);
    x.client.is_flow = true;
    x.facts.sni = name.map(Into::into);
    (x.notes.fault, x.notes.cause) = (Some(fault), why);
    x.notes.ended = Instant::now();
    let account = Account::of(listener, &listener.default, &x.notes);
    finish::tell(worker, &x, &account);
    worker.recycle(x);
}

/// Records a request that was taken back before anything was done for it: no server was chosen.
pub(super) fn taken_back(session: &Session, mut x: Box<Exchange>) {
    let Session { worker, origin, listener, tls, .. } = session;
    x.came(worker, origin, tls.as_ref());
    x.facts.inside.clone_from(&session.inside);
    x.facts.host = wire::uri::host(x.request.authority()).into_owned();
    x.facts.path = x.request.path().to_vec();
    (x.notes.fault, x.notes.reason) = match session.client.wrong() {
        None => (Some(Fault::client(Kind::ClientGone)), ""),
        Some(reason) => (Some(Fault::client(Kind::Malformed)), reason),
    };
    let account = Account::of(listener, &listener.default, &x.notes);
    finish::record(worker, &mut x, &account);
    worker.recycle(x);
}
