//! The file by which browsers find a forward proxy: what `FindProxyForURL` is to say of a host, from the rules.
//!
//! It is made by control; here it is given to whoever may use the proxy. It says nothing of users, so none need say who they are.

use base::{Fault, Kind};
use wire::forwarded::Net;
use wire::head::{Method, Scheme};
use wire::{Head, Version, uri};

use crate::exchange::Exchange;
use crate::session::Session;
use crate::snapshot::{Listener, Respond};

/// The file, but for the proxy that it names.
#[derive(Debug)]
pub struct Pac {
    /// What stands before the proxy.
    pub before: Box<str>,
    /// What stands behind it.
    pub after: Box<str>,
    /// The proxy as scripts name it; absent is the one that was asked for the file.
    pub proxy: Option<Box<str>>,
    /// Who may use the proxy, if not everybody.
    pub clients: Option<Box<[Net]>>,
}

/// Whether a request is for the file: it names no other server, and would be refused if it were for anything else.
pub(crate) fn is_asked(session: &Session, listener: &Listener, head: &Head) -> bool {
    let is_ours = match head.scheme() {
        Scheme::Unsaid => true,
        Scheme::Http => false,
        // From HTTP/2 on a server is named in any case: one that has our port and our TLS are we.
        Scheme::Https => {
            let port = uri::port(head.authority()).unwrap_or(443);
            session.tls.is_some() && matches!(head.version(), Version::H2 | Version::H3) && port == session.origin.port
        }
    };
    // Who knows of no proxy asks whoever it takes for the server.
    listener.pac.is_some()
        && session.asked_at().is_none()
        && session.inside.is_none()
        && is_ours
        && matches!(head.method(), Method::Get | Method::Head)
        && matches!(head.path(), b"/proxy.pac" | b"/wpad.dat")
}

/// The file, if it is asked for.
///
/// # Errors
/// Its client may not use the proxy, or has named it in a way that no script should repeat.
pub(crate) fn answer(session: &Session, x: &mut Exchange, listener: &Listener) -> Result<Option<Respond>, Fault> {
    let Some(pac) = listener.pac.as_ref().filter(|_| is_asked(session, listener, &x.request)) else { return Ok(None) };
    if let Some(clients) = &pac.clients
        && !clients.iter().any(|net| net.contains(x.facts.client))
    {
        x.notes.reason = "nothing here is for this client";
        return Err(Fault::client(Kind::Denied));
    }
    let asked;
    let proxy = match &pac.proxy {
        Some(proxy) => &**proxy,
        None => {
            asked = by_which(session, &x.request).ok_or_else(|| {
                x.notes.reason = "no host and port to name the proxy by";
                Fault::client(Kind::Malformed)
            })?;
            &asked
        }
    };
    let fields =
        [("content-type", "application/x-ns-proxy-autoconfig"), ("cache-control", "no-cache"), ("vary", "host")];
    Ok(Some(Respond {
        status: 200,
        fields: fields.map(|(name, value)| (name.into(), value.into())).into(),
        body: [&pac.before, proxy, &pac.after].concat().into_bytes().into(),
    }))
}

/// The proxy by the name and port by which its client has reached it.
fn by_which(session: &Session, head: &Head) -> Option<String> {
    let authority = std::str::from_utf8(head.authority()).ok()?;
    // Hosts may hold more than that (RFC 3986 section 3.2.2), and a script would hold whatever its client has made up.
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_' | b':' | b'[' | b']');
    if authority.is_empty() || !authority.bytes().all(is_plain) {
        return None;
    }
    let (word, port) = if session.tls.is_some() { ("HTTPS", 443) } else { ("PROXY", 80) };
    Some(match uri::port(authority.as_bytes()) {
        Some(_) => format!("{word} {authority}"),
        None => format!("{word} {}:{port}", authority.trim_end_matches(':')),
    })
}
