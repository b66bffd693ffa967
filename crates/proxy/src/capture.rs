//! What of an exchange goes into an archive: copied on its way, and handed over when it has ended. A route without a `capture`
//! has nothing to do with it.

use std::sync::Arc;

use net::Address;
use observe::capture::{Entry, Kept, Moments, Place, Recorder, Server, Sort};
use wire::Head;
use wire::head::{Method, Scheme};

use crate::exchange::Exchange;
use crate::finish::{self, Account};
use crate::pool;
use crate::relay::Pump;
use crate::session::Session;
use crate::snapshot::{Listener, Role, Route};

/// An exchange that is captured.
#[derive(Debug)]
pub(crate) struct Caught {
    recorder: Arc<Recorder>,
    place: Place,
    /// The request's head as it came.
    request: Head,
    secure: bool,
    interim: Vec<Head>,
    response_body: Option<Kept>,
}

/// Interim responses that an entry tells of.
const MOST_INTERIM: usize = 4;

/// Begins with the request as its client has sent it: by its listener's default route as long as no other one is known.
pub(crate) fn begin(session: &Session, x: &mut Exchange, listener: &Listener, route: &Route) {
    let Some(recorder) = &route.capture else { return };
    if x.caught.as_ref().is_some_and(|caught| Arc::ptr_eq(&caught.recorder, recorder)) {
        return;
    }
    // What its listener has begun goes by the nearest level or not at all: another archive leaves other things out.
    x.caught = None;
    let Some(mut place) = recorder.begin() else { return };
    if !place.grow(x.request.capacity()) {
        return recorder.lost();
    }
    if recorder.bodies() > 0 && !x.upload.is_read() {
        x.upload.keep(place.body(recorder.bodies()));
    }
    let secure = match listener.role {
        _ if session.inside.is_some() => session.inside.as_ref().is_some_and(|inside| inside.secure.is_some()),
        Role::Forward => x.request.scheme() == Scheme::Https,
        _ => session.tls.is_some(),
    };
    let (recorder, request) = (Arc::clone(recorder), x.request.clone());
    x.caught = Some(Box::new(Caught { recorder, place, request, secure, interim: Vec::new(), response_body: None }));
}

/// A request was refused that goes by this route: if none was found for it, by what its listener says.
pub(crate) fn refused(session: &Session, x: &mut Exchange, listener: &Listener, route: &Arc<Route>) {
    if x.caught.is_none() && Arc::ptr_eq(route, &listener.default) {
        begin(session, x, listener, &listener.default);
    }
}

/// An interim response goes to the client.
pub(crate) fn interim(x: &mut Exchange) {
    if let Some(caught) = &mut x.caught
        && caught.interim.len() < MOST_INTERIM
        && caught.place.grow(x.response.capacity())
    {
        caught.interim.push(x.response.clone());
    }
}

/// The content of the response goes this way.
pub(crate) fn follow(x: &Exchange, down: &mut Pump) {
    if let Some(caught) = &x.caught
        && caught.recorder.bodies() > 0
    {
        down.keep(caught.place.body(caught.recorder.bodies()));
    }
}

/// It has gone.
pub(crate) fn followed(x: &mut Exchange, down: &mut Pump) {
    if let Some(caught) = &mut x.caught {
        caught.response_body = down.kept();
    }
}

/// The content of an answer of ours.
pub(crate) fn answered(x: &mut Exchange, body: &[u8]) {
    if let Some(caught) = &mut x.caught {
        caught.response_body = None;
        if caught.recorder.bodies() > 0 && !body.is_empty() {
            caught.response_body.insert(caught.place.body(caught.recorder.bodies())).add(body);
        }
    }
}

/// Hands the exchange over, if it is captured and has ended.
pub(crate) fn release(x: &mut Exchange, account: &Account<'_>) {
    let Some(caught) = x.caught.take() else { return };
    let Caught { recorder, mut place, mut request, secure, interim, response_body } = *caught;
    let response = match x.notes.status {
        0 => None,
        _ if place.grow(x.response.capacity()) => Some(x.response.clone()),
        _ => return recorder.lost(),
    };
    let request_body = (recorder.bodies() > 0).then(|| {
        // What was read before it was sent, and what went by after that.
        let mut body = place.body(recorder.bodies());
        body.add(&x.prefix);
        body.add(x.upload.kept().as_ref().map_or(&[], Kept::bytes));
        body
    });
    let sort = match x.facts.websocket && x.notes.status == 101 {
        _ if request.method() == Method::Connect => Sort::Tunnel,
        true => Sort::Websocket,
        false => Sort::Http,
    };
    if let Some(version) = x.facts.socks {
        // It is told as what it was, as in the access log.
        let authority = request.authority().to_vec();
        request.start_request(version.text(), &authority, b"", None);
    }
    recorder.record(Box::new(Entry {
        place,
        time: x.notes.time,
        id: x.facts.id,
        listener: account.listener(),
        route: account.route(),
        peer: base::ids::PeerAddr(x.facts.peer),
        client: base::ids::ClientIp(x.facts.client),
        user: x.facts.user.as_ref().map(|user| user.name.clone()),
        sort,
        secure,
        version: (!x.client.is_flow).then_some(x.client.version),
        request,
        request_body,
        bytes_in: x.notes.bytes_in,
        interim,
        response,
        response_body,
        bytes_out: x.notes.bytes_out,
        server: account.server().map(|(pool, server)| told(pool, server)),
        moments: moments(x),
        fault: x.notes.fault,
        reason: finish::told(&x.notes).to_owned().into(),
        cut: x.notes.cut,
    }));
}

fn told(pool: &Arc<str>, server: &pool::Server) -> Server {
    let address = match &server.id.address {
        Address::Tcp(address) => Some(*address),
        Address::Unix(_) => None,
    };
    Server { pool: Arc::clone(pool), name: Arc::clone(&server.id.name), address }
}

fn moments(x: &Exchange) -> Moments {
    let notes = &x.notes;
    let total = notes.ended.saturating_duration_since(notes.began);
    let receive = notes.answered.map(|answered| notes.ended.saturating_duration_since(answered));
    let sent = notes.sent.zip(notes.answered).map(|(sent, answered)| answered.saturating_duration_since(sent));
    // What a server has waited for the rest of a request is not its own time.
    let wait = notes.response.filter(|_| sent.is_some());
    let send = sent.map(|sent| sent.saturating_sub(wait.unwrap_or_default()));
    Moments { dns: notes.dns, connect: notes.connect, tls: notes.tls, send, wait, receive, total }
}
