//! Text with places to fill in from the live request: the one grammar of `${…}`, `*` and `$1`.

use std::borrow::Cow;
use std::net::IpAddr;

use base::hex;
use base::ids::RequestId;
use net::tls::Agreed;
use wire::Head;

use crate::route::{Captures, Said};
use crate::users::User;

/// Text with places to fill in.
#[derive(Clone, Debug, Default)]
pub struct Template {
    /// The pieces, in order.
    pub parts: Box<[Part]>,
}

/// A piece of a template.
#[derive(Clone, Debug)]
pub enum Part {
    /// This text.
    Literal(Box<str>),
    /// What the path's `*` matched.
    Star,
    /// What that group of the path's regular expression matched.
    Group(usize),
    /// Something of the live request; nothing if it is not there.
    Selector(Selector),
}

/// Something of a live request.
#[derive(Clone, Debug)]
pub enum Selector {
    /// The client's address, as found through trusted peers.
    ClientIp,
    /// The address of the connection's other end.
    PeerIp,
    /// The host in its normal form.
    Host,
    /// The path in its normal form, before any rewriting.
    Path,
    /// Path and query as the client asked for them, the path in its normal form.
    Uri,
    /// The method.
    Method,
    /// The request's id in the log.
    RequestId,
    /// The name that the client asked for in its handshake of TLS.
    Sni,
    /// The protocol that was agreed on in the handshake of TLS, by its registered name.
    Alpn,
    /// `TLSv1.2` or `TLSv1.3`.
    TlsVersion,
    /// The cipher suite's registered name.
    TlsCipher,
    /// SHA-256 of the certificate that the client has shown, in hexadecimal digits.
    ClientFingerprint,
    /// The user that a client of PostgreSQL wants to be.
    PostgresUser,
    /// The database that it wants.
    PostgresDatabase,
    /// The identifier that a client of MQTT gives itself.
    MqttClient,
    /// The user who asks.
    User,
    /// The groups of that user, with commas between them.
    Groups,
    /// The first field of that name.
    Header(Box<str>),
    /// The first cookie of that name.
    Cookie(Box<str>),
    /// The first parameter of that name, decoded.
    Query(Box<str>),
}

/// What a template may show.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    /// The request's head.
    pub head: &'a Head,
    /// The host in its normal form.
    pub host: &'a [u8],
    /// The path that was matched.
    pub path: &'a [u8],
    /// The query that the client sent.
    pub query: Option<&'a [u8]>,
    /// What the path's pattern left over.
    pub captures: &'a Captures,
    /// The client.
    pub client: IpAddr,
    /// The connection's other end.
    pub peer: IpAddr,
    /// The request's id.
    pub id: RequestId,
    /// What TLS has agreed on with the client.
    pub tls: Option<&'a Agreed>,
    /// The name that the client asked for in its handshake, whoever ends it.
    pub sni: Option<&'a str>,
    /// What a flow's client has said first.
    pub said: Option<&'a Said>,
    /// Who asks.
    pub user: Option<&'a User>,
}

impl Template {
    /// The text for this request. Control characters of the request's own bytes, which a field value or a path must not
    /// hold, are left out.
    pub fn fill(&self, view: &View<'_>) -> Vec<u8> {
        let mut out = Vec::new();
        for part in &self.parts {
            match part {
                Part::Literal(text) => out.extend_from_slice(text.as_bytes()),
                Part::Star => out.extend_from_slice(view.captures.star(view.path)),
                Part::Group(number) => out.extend_from_slice(view.captures.group(*number, view.path)),
                Part::Selector(selector) => selector.show(view, &mut out),
            }
        }
        out
    }
}

impl Selector {
    /// What it is in this request; nothing if it is not there.
    pub(crate) fn find<'a>(&'a self, view: &View<'a>) -> Option<Cow<'a, [u8]>> {
        Some(match self {
            Selector::ClientIp => Cow::Owned(view.client.to_string().into_bytes()),
            Selector::PeerIp => Cow::Owned(view.peer.to_string().into_bytes()),
            Selector::Host => Cow::Borrowed(view.host),
            Selector::Path => Cow::Borrowed(view.path),
            Selector::Uri => match view.query {
                None => Cow::Borrowed(view.path),
                Some(query) => Cow::Owned([view.path, b"?", query].concat()),
            },
            Selector::Method => Cow::Borrowed(view.head.method_text()),
            Selector::RequestId => Cow::Owned(view.id.hex().to_vec()),
            Selector::Sni => Cow::Borrowed(view.sni?.as_bytes()),
            Selector::Alpn => Cow::Borrowed(view.tls?.alpn?.name().as_bytes()),
            Selector::TlsVersion => Cow::Borrowed(view.tls?.version.as_bytes()),
            Selector::TlsCipher => Cow::Borrowed(view.tls?.cipher.as_bytes()),
            Selector::ClientFingerprint => {
                Cow::Owned(view.tls?.fingerprint.as_ref()?.iter().flat_map(|byte| hex::pair(*byte)).collect())
            }
            Selector::PostgresUser => Cow::Borrowed(&view.said?.postgres()?.user),
            Selector::PostgresDatabase => Cow::Borrowed(&view.said?.postgres()?.database),
            Selector::MqttClient => Cow::Borrowed(view.said?.mqtt()?.as_bytes()),
            Selector::User => Cow::Borrowed(view.user?.name.as_bytes()),
            Selector::Groups => Cow::Owned(view.user?.groups.join(",").into_bytes()),
            Selector::Header(name) => Cow::Borrowed(view.head.value(name.as_bytes())?),
            Selector::Cookie(name) => Cow::Borrowed(crate::route::cookie(view.head, name.as_bytes())?),
            Selector::Query(name) => crate::route::query(view.head, name.as_bytes())?,
        })
    }

    /// Appends what the request has there.
    pub(crate) fn show(&self, view: &View<'_>, out: &mut Vec<u8>) {
        let from = out.len();
        out.extend_from_slice(&self.find(view).unwrap_or_default());
        if out[from..].iter().any(u8::is_ascii_control) {
            let kept: Vec<u8> = out[from..].iter().copied().filter(|byte| !byte.is_ascii_control()).collect();
            out.truncate(from);
            out.extend_from_slice(&kept);
        }
    }
}
