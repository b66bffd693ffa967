//! The step of a request: who asks, or what is asked of it.

use std::future::{Future as _, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::task::{Poll, ready};
use std::time::{Duration, Instant};

use base::{Fault, Kind};
use net::stream::Peek;
use wire::Head;
use wire::credentials::Credentials;

use super::{Authentication, Scheme, User, Verdict};
use crate::exchange::{After, Exchange};
use crate::reply;
use crate::session::Session;
use crate::snapshot::{Role, Route};

/// How long a request waits for somebody to look at its password.
const PATIENCE: Duration = Duration::from_secs(15);

/// How much of a name that is nobody's is written down.
const LONGEST_CLAIM: usize = 128;

/// Finds out who asks, or answers with what is asked of the client; nothing if the request may go on.
///
/// # Errors
/// Too many others ask at the same time, or it cannot be found out for another reason.
pub(crate) async fn settle(
    session: &mut Session,
    x: &mut Exchange,
    route: &Route,
    role: Role,
    ways: &Authentication,
) -> Result<Option<After>, Fault> {
    if session.inside.is_some() {
        return of_tunnel(x, ways).map(|()| None);
    }
    // Where certificates alone count, the field is about something else.
    let asks = ways.schemes.iter().any(|scheme| !matches!(**scheme, Scheme::Certificate(_)));
    let shown = if asks { shown(&x.request, role) } else { Shown::Nothing };
    if prove(session, x, ways, &shown).await? {
        return Ok(None);
    }
    if !asks {
        // RFC 9110 section 15.5.2: who asks by 401 has to say for what, and HTTP has no words for certificates.
        x.notes.reason = "no client certificate that names a user";
        return Err(Fault::client(Kind::Denied));
    }
    let was_wrong = !matches!(shown, Shown::Nothing);
    let kind = if role == Role::Forward { Kind::ProxyUnauthenticated } else { Kind::Unauthenticated };
    Ok(Some(reply::challenge(session, x, route, kind, &ways.challenges(was_wrong)).await))
}

/// Finds out whether what a client has shown, or its certificate, is anybody's, whatever protocol it speaks, and notes whose.
///
/// # Errors
/// Too many others ask at the same time, or it cannot be found out for another reason.
pub(crate) async fn prove(
    session: &mut Session,
    x: &mut Exchange,
    ways: &Authentication,
    shown: &Shown,
) -> Result<bool, Fault> {
    if let Some(user) = known(session, x, ways, shown).await? {
        x.facts.user = Some(user);
        return Ok(true);
    }
    if !matches!(shown, Shown::Nothing) {
        session.listener.connections.shard(session.worker.id).auth_failed();
        x.notes.reason = "the credentials are nobody's";
    }
    if let Shown::Credentials(Credentials::Basic { name, .. }) = shown {
        x.notes.claimed = Some(name[..name.len().min(LONGEST_CLAIM)].into());
    }
    Ok(false)
}

/// Whose it is that a client has shown, or its certificate.
///
/// # Errors
/// As of [`prove`].
pub(crate) async fn known(
    session: &mut Session,
    x: &mut Exchange,
    ways: &Authentication,
    shown: &Shown,
) -> Result<Option<Arc<User>>, Fault> {
    let subject = x.facts.tls.as_ref().and_then(|tls| tls.subject.as_deref());
    if let Some(user) = subject.and_then(|subject| ways.by_certificate(subject)) {
        return Ok(Some(user));
    }
    match shown {
        Shown::Nothing | Shown::Broken => Ok(None),
        Shown::Credentials(credentials) => find(session, x, ways, credentials).await,
    }
}

/// Inside of a tunnel nobody can be asked: who has opened it is who asks.
fn of_tunnel(x: &mut Exchange, ways: &Authentication) -> Result<(), Fault> {
    let subject = x.facts.tls.as_ref().and_then(|tls| tls.subject.as_deref());
    if let Some(user) = ways.whom(x.facts.user.as_slice(), subject) {
        x.facts.user = Some(user);
        return Ok(());
    }
    x.notes.reason = "who has opened the tunnel is none of those who may ask";
    Err(Fault::client(Kind::Denied))
}

/// What a client has shown.
pub(crate) enum Shown {
    Nothing,
    /// More than one, or none of a scheme that is known here.
    Broken,
    Credentials(Credentials),
}

fn shown(head: &Head, role: Role) -> Shown {
    let mut values = head.values(field(role));
    match (values.next(), values.next()) {
        (None, _) => Shown::Nothing,
        (Some(one), None) => Credentials::read(one).map_or(Shown::Broken, Shown::Credentials),
        (Some(_), Some(_)) => Shown::Broken,
    }
}

/// The field in which clients say who they are (RFC 9110 sections 11.6.2 and 11.7.2).
pub(crate) fn field(role: Role) -> &'static [u8] {
    match role {
        Role::Forward => b"proxy-authorization",
        Role::Http | Role::Tcp { .. } | Role::Udp => b"authorization",
    }
}

/// The user of these credentials.
async fn find(
    session: &mut Session,
    x: &mut Exchange,
    ways: &Authentication,
    credentials: &Credentials,
) -> Result<Option<Arc<User>>, Fault> {
    let verdict = match credentials {
        Credentials::Bearer(token) => ways.by_token(token),
        Credentials::Basic { name, password } => {
            let Session { worker, client, timer, .. } = session;
            timer.arm(Instant::now(), PATIENCE);
            let mut checking = pin!(ways.by_password(worker, x.facts.client, name, password));
            poll_fn(|cx| {
                if let Poll::Ready(verdict) = checking.as_mut().poll(cx) {
                    return Poll::Ready(Ok(verdict));
                }
                if worker.is_cut() {
                    return Poll::Ready(Err(Fault::proxy(Kind::Drained)));
                }
                if client.poll_peek(cx) == Poll::Ready(Peek::Broken) {
                    return Poll::Ready(Err(Fault::client(Kind::ClientGone)));
                }
                ready!(timer.poll_expired(cx));
                Poll::Ready(Ok(Verdict::Busy))
            })
            .await?
        }
    };
    match verdict {
        Verdict::Right { user, forward } => {
            x.facts.spent |= !forward;
            Ok(Some(user))
        }
        Verdict::Wrong => Ok(None),
        Verdict::Busy => {
            x.notes.reason = "too many passwords wait to be looked at";
            Err(Fault::proxy(Kind::Overload))
        }
    }
}
