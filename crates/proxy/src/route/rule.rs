//! What a rule asks for, as the table's maker states it.

use net::tls::Alpn;
use regex::bytes::Regex;
use wire::forwarded::Net;

use super::body::BodyCondition;
use super::facts::{Kind, Words};
use super::schedule::Schedule;
use super::text::Text;
use crate::lists::Listed;

/// One leaf rule. Rules are tried in the order in which the table received them.
#[derive(Clone, Debug, Default)]
pub struct Rule {
    /// All of them must hold: those of the outermost block first, then of the nested ones, then the leaf's own.
    /// None at all is every request.
    pub conditions: Vec<Condition>,
}

impl Rule {
    /// Which of a client's first words may be needed to answer.
    pub fn asks(&self, words: Words) -> bool {
        self.conditions.iter().any(|condition| condition.asks(words))
    }
}

/// A condition on a request. A list of values holds if one of them does; an empty list never holds.
#[derive(Clone, Debug)]
pub enum Condition {
    /// The host.
    Host(Vec<HostPattern>),
    /// The path, without the query.
    Path(Vec<PathPattern>),
    /// The method; methods are case-sensitive (RFC 9110 section 9.1).
    Method(Vec<Text>),
    /// A field of the head, by its name in any letter case; one occurrence is enough.
    Header {
        /// The field's name.
        name: String,
        /// What its value may be.
        values: Vec<Text>,
    },
    /// A cookie (RFC 6265), by its exact name; one occurrence in any `Cookie` field is enough.
    Cookie {
        /// The cookie's name.
        name: String,
        /// What its value may be.
        values: Vec<Text>,
    },
    /// A parameter of the query, by its exact name with escapes decoded; one occurrence is enough.
    Query {
        /// The parameter's name.
        name: String,
        /// What its decoded value may be.
        values: Vec<Text>,
    },
    /// The client's address is in one of these networks.
    Client(Vec<Net>),
    /// What kind of exchange it is.
    Kind(Vec<Kind>),
    /// It is a call of gRPC, of a service that is so.
    GrpcService(Vec<Text>),
    /// It is a call of gRPC, of a method that is so.
    GrpcMethod(Vec<Text>),
    /// The local port at which the request arrived.
    Port(Vec<u16>),
    /// The name that the client asked for in its handshake of TLS; none satisfies none.
    Sni(Vec<HostPattern>),
    /// Whether the client asked for no name in its handshake of TLS, or there was none.
    NoSni(bool),
    /// The protocol that was agreed on in the handshake of TLS, or one that is offered there; none satisfies none.
    Alpn(Vec<Alpn>),
    /// Whether the client has shown a certificate.
    ClientCert(bool),
    /// SHA-256 of the certificate that the client has shown.
    Fingerprint(Vec<[u8; 32]>),
    /// It is a client of PostgreSQL, by a user that is so. Of others it cannot be known.
    PostgresUser(Vec<Text>),
    /// It is a client of PostgreSQL, for a database that is so. Of others it cannot be known.
    PostgresDatabase(Vec<Text>),
    /// It is a client of MQTT, by an identifier that is so. Of others it cannot be known.
    MqttClient(Vec<Text>),
    /// Who asks is a user of such a name. Where nobody has asked who it is, it cannot be known.
    User(Vec<Text>),
    /// Who asks is in a group of such a name. Where nobody has asked who it is, it cannot be known.
    Group(Vec<Text>),
    /// It is such a time.
    Time(Vec<Schedule>),
    /// It is on a list.
    Listed(Listed),
    /// The body. Looked at only when nothing cheaper has decided the rule.
    Body(BodyCondition),
    /// One of these lists holds as a whole.
    Any(Vec<Vec<Condition>>),
    /// The list does not hold as a whole. What cannot be known does not satisfy this either.
    Not(Vec<Condition>),
}

/// A pattern of hosts. A request without a host satisfies none.
#[derive(Clone, Debug)]
pub enum HostPattern {
    /// This name, in normal form.
    Exact(String),
    /// `example.com` of `*.example.com`: one or more labels before it, never itself.
    Wildcard(String),
    /// An unanchored regular expression.
    Regex(Regex),
    /// A piece of text.
    Text(Text),
}

/// A pattern of paths in normal form.
#[derive(Clone, Debug)]
pub enum PathPattern {
    /// This path.
    Exact(String),
    /// `/a` of `/a/*`: that path itself and all below it. Empty for `/*`, which is every path.
    Prefix(String),
    /// An unanchored regular expression. Its flags stand in the pattern itself (`(?i)`), never in its builder.
    Regex(Regex),
    /// A piece of text.
    Text(Text),
}

impl HostPattern {
    /// Whether a host is one of these.
    pub(crate) fn holds(&self, host: &[u8]) -> bool {
        if host.is_empty() {
            return false;
        }
        match self {
            HostPattern::Exact(name) => host == name.as_bytes(),
            HostPattern::Wildcard(apex) => host
                .strip_suffix(apex.as_bytes())
                .and_then(|host| host.strip_suffix(b"."))
                .is_some_and(|label| !label.is_empty()),
            HostPattern::Regex(regex) => regex.is_match(host),
            HostPattern::Text(text) => text.holds(host),
        }
    }
}

impl PathPattern {
    pub(super) fn holds(&self, path: &[u8]) -> bool {
        match self {
            PathPattern::Exact(exact) => path == exact.as_bytes(),
            PathPattern::Prefix(prefix) => {
                path.strip_prefix(prefix.as_bytes()).is_some_and(|rest| rest.first().is_none_or(|byte| *byte == b'/'))
            }
            PathPattern::Regex(regex) => regex.is_match(path),
            PathPattern::Text(text) => text.holds(path),
        }
    }
}
