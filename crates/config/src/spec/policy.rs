//! What happens to a request and its response on the way.

use std::path::PathBuf;
use std::time::Duration;

use wire::coding::Coding;

use super::{BasicAuth, BearerAuth, CertAuth, Deny, ListId, PoolId, Zone};
use crate::span::Span;

/// One policy. Each has its own state; uses of a named one share it.
#[derive(Clone, Debug, PartialEq)]
pub struct Policy {
    /// Its identity over reloads: its name (and `#2` and so on for the further ones of a named list), or absent for an
    /// inline one.
    pub name: Option<String>,
    /// Where it was written.
    pub span: Span,
    /// What it does.
    pub kind: PolicyKind,
}

/// What a policy does.
#[derive(Clone, Debug, PartialEq)]
pub enum PolicyKind {
    /// Edits header fields.
    Headers(Headers),
    /// Changes what the server is asked for.
    Rewrite(Rewrite),
    /// Sends copies to servers whose answers nobody sees.
    Mirror(Mirror),
    /// Compresses responses.
    Compress(Compress),
    /// Limits how fast bodies go.
    Bandwidth(Bandwidth),
    /// Limits how much goes through in a period.
    Quota(Quota),
    /// Writes what passes into an archive.
    Capture(Capture),
    /// Makes calls of browsers plain calls of gRPC.
    GrpcWeb,
    /// Tells servers less of who asks.
    Privacy(Privacy),
    /// Refuses responses by what they are.
    Filter(Filter),
    /// Lets in who has a name and a password.
    BasicAuth(BasicAuth),
    /// Lets in who has a token.
    BearerAuth(BearerAuth),
    /// Lets in who has shown a certificate.
    CertAuth(CertAuth),
}

/// Which responses are refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Filter {
    /// Those of these types.
    pub types: Vec<MediaType>,
    /// But not those of these.
    pub except: Vec<MediaType>,
    /// Those that are longer.
    pub over: Option<u64>,
    /// Texts with these words.
    pub words: Option<Words>,
    /// What clients get instead.
    pub deny: Deny,
}

/// Words for which texts are refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Words {
    /// The lists of them.
    pub lists: Vec<ListId>,
    /// What a text weighs that is refused.
    pub score: u32,
    /// What a text is.
    pub types: Vec<MediaType>,
    /// So much of it is held until it is judged.
    pub hold: u64,
    /// For so long.
    pub wait: Duration,
    /// Whether what cannot be judged is refused.
    pub refuses_unread: bool,
    /// Texts that the process holds at a time.
    pub at_once: u32,
}

/// What servers learn from fields that browsers send of themselves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Privacy {
    /// What becomes of `Referer`.
    pub referer: Referer,
    /// What becomes of cookies.
    pub cookies: Cookies,
    /// What becomes of `User-Agent`.
    pub user_agent: UserAgent,
}

/// What becomes of `Referer`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the variants are the words of the configuration")]
pub enum Referer {
    Keep,
    Origin,
    SameOrigin,
    OriginWhenCrossOrigin,
    Remove,
}

/// What becomes of cookies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the variants are the words of the configuration")]
pub enum Cookies {
    Keep,
    FirstParty,
    Remove,
}

/// What becomes of `User-Agent`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the variants are the words of the configuration")]
pub enum UserAgent {
    Keep,
    Remove,
    Text(String),
}

impl PolicyKind {
    /// Whether it finds out who the client is, and lets in nobody else.
    pub fn authenticates(&self) -> bool {
        matches!(self, PolicyKind::BasicAuth(_) | PolicyKind::BearerAuth(_) | PolicyKind::CertAuth(_))
    }
}

/// Edits of header fields.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Headers {
    /// On the way to the server.
    pub request: HeaderEdits,
    /// On the way back.
    pub response: HeaderEdits,
}

/// Edits of one head, in this order: `remove`, `set`, `add`, `default`. Names are in lower case and never a framing or hop-by-hop
/// field.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HeaderEdits {
    /// Fields that go.
    pub remove: Vec<String>,
    /// Fields that have exactly this one value.
    pub set: Vec<(String, Template)>,
    /// Fields that get one more line.
    pub add: Vec<(String, Template)>,
    /// Fields that are set if they are not there.
    pub default: Vec<(String, Template)>,
}

/// A change of what the server is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rewrite {
    /// The new path; the query is kept unless the template has a `?`.
    pub path: Template,
}

/// Copies of requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mirror {
    /// Where they go.
    pub to: PoolId,
    /// How many requests are copied, in hundredths of a percent.
    pub share: u32,
    /// Bytes of a body; a request with a longer one is not copied.
    pub limit: u64,
    /// Copies that the process holds at a time.
    pub at_once: u32,
    /// How long a copy may take in all.
    pub timeout: Duration,
}

/// Compression of responses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Compress {
    /// The codings that there are, with their levels; the one that is liked best first.
    pub codings: Vec<(Coding, u8)>,
    /// Content that is known to be shorter stays as it is.
    pub min_size: u64,
    /// What content has to be.
    pub types: Vec<MediaType>,
    /// Whether servers are asked to leave it to us.
    pub offload: bool,
    /// Responses that the process has under way into a coding.
    pub at_once: u32,
}

/// A limit of how fast bodies and tunnels go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bandwidth {
    /// Bytes a second.
    pub rate: u64,
    /// Bytes that may go at once after a silence.
    pub burst: u64,
    /// Who shares it: the first that is there.
    pub by: Vec<Selector>,
    /// Whether it holds from clients.
    pub up: bool,
    /// Whether it holds to clients.
    pub down: bool,
}

/// A limit of how much goes through in a period.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quota {
    /// Bytes, if they are limited.
    pub bytes: Option<u64>,
    /// Requests, if they are limited.
    pub requests: Option<u64>,
    /// The period.
    pub per: Per,
    /// Who has it: the first that is there, with the words in which it was said.
    pub by: Vec<(String, Selector)>,
    /// Whether bytes from clients count.
    pub up: bool,
    /// Whether bytes to clients count.
    pub down: bool,
    /// Whether what is under way is cut.
    pub cuts: bool,
    /// The status of refusals.
    pub status: u16,
}

/// The period of a quota.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the variants are the words of the configuration")]
pub enum Per {
    Hour(Zone),
    Day(Zone),
    Week(Zone),
    Month(Zone),
    /// So long from the first request on.
    Rolling(Duration),
}

/// An archive of what passes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Capture {
    /// Its file; a relative path is in the state folder.
    pub har: PathBuf,
    /// So much of each body is kept.
    pub bodies: u64,
    /// When it is this large, another one begins.
    pub max_size: u64,
    /// So many of the old ones are kept.
    pub keep: u32,
    /// Fields whose values are not told, in lower case.
    pub fields: Vec<String>,
    /// Parameters whose values are not told, in lower case.
    pub parameters: Vec<String>,
    /// Whether the usual ones are not told, either.
    pub usual: bool,
}

/// A pattern of media types, in lower case.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum MediaType {
    /// This one.
    Exact(String),
    /// `text/*`: all of that type. Holds `text/`, or nothing for `*/*`.
    All(String),
    /// `application/*+json`. Holds `application/` and `+json`.
    WithSuffix(String, String),
}

/// Text with places to fill in.
///
/// `*` and `$1` come from the innermost route on the way to the ending that matched a `path` with them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Template {
    /// The pieces, in order; no two literals stand side by side.
    pub parts: Vec<Part>,
}

/// A piece of a template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    /// This text.
    Literal(String),
    /// What the path's `*` matched.
    Star,
    /// What that group of the path's regular expression matched, from 1.
    Group(usize),
    /// Something of the live request; nothing if it is not there.
    Selector(Selector),
}

/// Something of a live request: the one grammar of `${…}`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Selector {
    /// The client's address, as found through trusted peers.
    ClientIp,
    /// The address of the connection's other end.
    PeerIp,
    /// The host, in lower case and without port.
    Host,
    /// The normalized path.
    Path,
    /// Path and query as the client asked for them, the path normalized.
    Uri,
    /// The method.
    Method,
    /// The id of this request in the log.
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
    /// The first field of that name, in lower case.
    Header(String),
    /// The first cookie of that name.
    Cookie(String),
    /// The first parameter of that name, decoded.
    Query(String),
}

impl Selector {
    /// Whether it is what a client says first in a flow: requests have nothing of it.
    pub(crate) fn is_of_flows_alone(&self) -> bool {
        matches!(self, Selector::PostgresUser | Selector::PostgresDatabase | Selector::MqttClient)
    }
}
