//! What a request is, before anything is asked of it.

use base::{Fault, Kind};
use http::BodyWriter;
use wire::grpc::{self, NoTimeout};
use wire::head::{Method, Scheme};
use wire::{Framing, Head, Known, Version, forwarded, hop, known, masque, uri, websocket};

use super::Exchange;
use crate::relay::Pump;
use crate::session::Session;
use crate::snapshot::{Listener, Role};
use crate::{destination, pac};

/// Settles what the request is, before anything is asked of it: its one path, its host, its client, its connection.
pub(super) fn admit(session: &Session, x: &mut Exchange, listener: &Listener) -> Result<(), Fault> {
    x.came(&session.worker, &session.origin, session.tls.as_ref());
    let head = &mut x.request;
    let wishes = hop::wishes(head);
    x.client.version = head.version();
    x.client.head_only = head.method() == Method::Head;
    x.client.keep_alive = match head.version() {
        Version::H10 => wishes.keep_alive && !wishes.close,
        _ => !wishes.close,
    };
    x.facts.call = grpc::form(head);
    x.upload = Pump::new(session.client.body_reader(head.framing()), BodyWriter::Plain, listener.splice);
    x.facts.client = forwarded::client_ip(head, x.facts.peer.ip(), &listener.forwarding);
    x.facts.host.clear();
    x.facts.host.extend_from_slice(&uri::host(head.authority()));
    x.facts.query = head.query().map(<[u8]>::to_vec);
    x.facts.path.clear();
    x.facts.path.extend_from_slice(head.path());
    if session.origin.early && !may_come_early(head) {
        x.notes.reason = "it came before the handshake was done";
        return Err(Fault::client(Kind::TooEarly));
    }
    let is_proxy = listener.role == Role::Forward && !session.origin.led && session.inside.is_none();
    x.facts.datagrams = is_proxy && asks_for_datagrams(head, wishes.upgrade);
    if x.facts.datagrams {
        let Some(target) = masque::target(head.path()).filter(|_| x.upload.is_read() || head.version() != Version::H11)
        else {
            x.notes.reason = "no path to a server of UDP";
            return Err(Fault::client(Kind::Malformed));
        };
        // It is named by the path, and the authority is ours.
        head.set_authority(&target);
        x.facts.host = uri::host(&target).into_owned();
        x.client.keep_alive = false;
        destination::settle_host(&mut x.facts.host);
    } else if listener.role == Role::Forward {
        destination::settle_host(&mut x.facts.host);
        if head.method() == Method::Connect && matches!(head.version(), Version::H10 | Version::H11) {
            // What stands behind it is for whoever it was for, and is no request of this client's.
            x.client.keep_alive = false;
        }
        x.facts.led = session.asked_at();
        x.facts.inside.clone_from(&session.inside);
        x.facts.user = session.inside.as_ref().and_then(|inside| inside.user().cloned());
        let admitted = match (&session.inside, x.facts.led) {
            (Some(inside), _) => inside.admit(head, &mut x.facts.host),
            (None, Some(to)) => destination::admit_led(head, &mut x.facts.host, to),
            (None, None) if pac::is_asked(session, listener, head) => Ok(()),
            (None, None) => destination::admit(head),
        };
        admitted.map_err(|(kind, reason)| {
            x.notes.reason = reason;
            Fault::client(kind)
        })?;
    } else {
        is_for_us(session, x, listener)?;
    }
    if listener.role == Role::Forward {
        x.facts.port = match (&x.facts.inside, x.facts.led) {
            (Some(inside), _) => Some(inside.port),
            (None, Some(to)) => Some(to.port()),
            (None, None) => destination::port(&x.request),
        };
    }
    let head = &mut x.request;
    if !listener.identity.is_empty() {
        head.retain(|field| !listener.identity.iter().any(|name| known::is_spelled(field.name, name.as_bytes())));
    }
    if head.path() != b"*" && head.method() != Method::Connect {
        let normal = match uri::normalize(head.path()) {
            Ok(normal) => normal,
            Err(bad) => {
                x.notes.reason = bad.reason();
                return Err(Fault::client(Kind::Malformed));
            }
        };
        if let std::borrow::Cow::Owned(normal) = normal {
            head.set_path(&normal);
            x.facts.path = normal;
        }
    }
    if wishes.upgrade
        && head.method() == Method::Get
        && head.version() == Version::H11
        && head.values_of(Known::Upgrade).flat_map(hop::options).any(|name| name.eq_ignore_ascii_case(b"websocket"))
    {
        head.set_protocol(b"websocket");
    }
    x.facts.websocket = head.protocol() == b"websocket";
    if x.facts.websocket && head.version() != Version::H11 && head.value(websocket::KEY).is_none() {
        // What a server of HTTP/1.1 is asked with, an extended CONNECT comes without (RFC 8441 section 5).
        head.add(websocket::KEY, &websocket::key(session.worker.random.borrow_mut().u128(..).to_le_bytes()));
    }
    if head.has(Known::Expect) {
        if !head.values_of(Known::Expect).all(|value| value.eq_ignore_ascii_case(b"100-continue")) {
            return Err(Fault::client(Kind::Expectation));
        }
        // RFC 9110 section 10.1.1: from HTTP/1.0, and without a body, it means nothing.
        x.client.awaits_continue = head.version() != Version::H10 && !x.upload.is_read();
    }
    if forwarded::via_count(head) > forwarded::MOST_PASSES {
        x.notes.reason = "the request has come round in a loop";
        return Err(Fault::client(Kind::Loop));
    }
    if x.facts.call.is_some() {
        x.facts.timeout = grpc::timeout(head).map_err(|NoTimeout| {
            x.notes.reason = "grpc-timeout is no time";
            Fault::client(Kind::Malformed)
        })?;
    }
    Ok(())
}

/// Whether a request was meant for a server that is ours.
fn is_for_us(session: &Session, x: &mut Exchange, listener: &Listener) -> Result<(), Fault> {
    let head = &x.request;
    if head.method() == Method::Connect {
        x.notes.reason = "CONNECT is for forward proxies";
        return Err(Fault::client(Kind::Unsupported));
    }
    // RFC 9110 section 7.4: a target of the other scheme was meant for somebody else.
    let (other, reason) = match session.tls {
        Some(_) => (Scheme::Http, "an http target on a TLS listener"),
        None => (Scheme::Https, "an https target on a plain listener"),
    };
    // From HTTP/2 on every request names one, and whoever has ended TLS before us says what its client said.
    let is_told_on = session.tls.is_none() && !matches!(head.version(), Version::H10 | Version::H11);
    if head.scheme() == other && !is_told_on {
        x.notes.reason = reason;
        return Err(Fault::client(Kind::Misdirected));
    }
    if let Some(tls) = &session.tls
        && !listener
            .tls_at(session.origin.bind)
            .is_none_or(|ours| ours.terminator.shows_alike(tls.name.as_deref(), &x.facts.host))
    {
        x.notes.reason = "the host has another certificate than this connection";
        return Err(Fault::client(Kind::Misdirected));
    }
    Ok(())
}

/// Whether a request asks for a server of UDP, as each version of HTTP does.
fn asks_for_datagrams(head: &Head, upgrade: bool) -> bool {
    let is_it = |name: &[u8]| name.eq_ignore_ascii_case(masque::PROTOCOL);
    match head.version() {
        Version::H10 => false,
        Version::H11 => {
            upgrade && head.method() == Method::Get && head.values_of(Known::Upgrade).flat_map(hop::options).any(is_it)
        }
        _ => is_it(head.protocol()),
    }
}

/// Whether serving a request twice does no harm (RFC 8470 section 4).
fn may_come_early(head: &Head) -> bool {
    matches!(head.method(), Method::Get | Method::Head | Method::Options | Method::Trace)
        && head.framing() == Framing::None
        && head.protocol().is_empty()
}
