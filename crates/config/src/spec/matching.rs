//! What a route matches.

use ipnet::IpNet;

use super::{HttpVersion, ListId};

/// A condition on a request. Lists of values became [`Predicate::Any`], several keys [`Predicate::All`].
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Predicate {
    /// All hold; never empty.
    All(Vec<Predicate>),
    /// One holds; never empty.
    Any(Vec<Predicate>),
    /// It does not hold.
    Not(Box<Predicate>),
    /// The request's host: lower case, without port and trailing dot.
    Host(HostPattern),
    /// The request's normalized path, without the query.
    Path(PathPattern),
    /// The method as sent; methods are case-sensitive.
    Method(TextMatch),
    /// A field of the head; holds if any occurrence does.
    Header {
        /// Its name in lower case.
        name: String,
        /// What it is.
        value: ValueMatch,
    },
    /// A cookie; holds if any occurrence does.
    Cookie {
        /// Its name.
        name: String,
        /// What it is.
        value: ValueMatch,
    },
    /// A parameter of the query, with escapes and `+` decoded; holds if any occurrence does.
    Query {
        /// Its name.
        name: String,
        /// What it is.
        value: ValueMatch,
    },
    /// The client, as found through trusted peers, is in this network.
    Client(IpNet),
    /// What kind of exchange it is.
    Kind(Kind),
    /// The local port on which the request arrived.
    Port(u16),
    /// The name that the client asked for in its handshake.
    Sni(HostPattern),
    /// Whether the client asked for no name.
    NoSni(bool),
    /// The version of HTTP that was agreed on in the handshake.
    Alpn(HttpVersion),
    /// Whether the client has shown a certificate.
    ClientCert(bool),
    /// The certificate that the client has shown has this SHA-256.
    Fingerprint([u8; 32]),
    /// It is a call of gRPC, of a service that is so.
    GrpcService(TextMatch),
    /// It is a call of gRPC, of a method that is so.
    GrpcMethod(TextMatch),
    /// It is a client of PostgreSQL, by a user that is so.
    PostgresUser(TextMatch),
    /// It is a client of PostgreSQL, for a database that is so.
    PostgresDatabase(TextMatch),
    /// It is a client of MQTT, by an identifier that is so.
    MqttClient(TextMatch),
    /// Who asks is a user of such a name.
    User(TextMatch),
    /// Who asks is in a group of such a name, or in any or none.
    Group(ValueMatch),
    /// It is such a time.
    Time(Schedule),
    /// It is on one of some lists.
    Listed {
        /// What is.
        of: Listed,
        /// The lists, at least one. Exceptions of any count for all.
        lists: Vec<ListId>,
    },
    /// The request's body; read only when every cheaper predicate of the route holds.
    Body(BodyMatch),
}

/// Some hours of some days.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Schedule {
    /// The days, Monday first: the lowest bit. At least one.
    pub days: u8,
    /// Minutes of the day, from and up to, without the latter, never the same; those that end before they begin end on the next day.
    /// None is the whole day.
    pub hours: Vec<(u16, u16)>,
    /// Where the clock hangs.
    pub zone: Zone,
}

/// Where a clock hangs.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Zone {
    /// So many seconds east of Greenwich, less than a day.
    Fixed(i32),
    /// By a name that is in the IANA database.
    Named(String),
}

/// What is looked for in lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Listed {
    /// All that is known of a request.
    Url,
    /// Its host.
    Host,
    /// The name that the client asked for in its handshake.
    Sni,
}

/// A pattern of hosts.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum HostPattern {
    /// This name, in lower case.
    Exact(String),
    /// `*.example.com` holds `example.com`: one or more labels in front of it, never itself.
    Wildcard(String),
    /// A regular expression or a piece of text.
    Text(TextMatch),
}

/// A pattern of normalized paths.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum PathPattern {
    /// This path.
    Exact(String),
    /// `/a/*` holds `/a`: that path itself and everything below it; `/*` holds nothing and is every path. What follows
    /// `/a/` (nothing for `/a`) is what `*` stands for in templates.
    Prefix(String),
    /// A regular expression, unanchored, whose groups are `$1` and so on in templates.
    Regex(String),
    /// A piece of text.
    Text(TextMatch),
}

/// Tests of one text, all of which hold for the same occurrence.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TextMatch {
    /// At least one.
    pub tests: Vec<TextTest>,
    /// Whether ASCII case is ignored by all tests but [`TextTest::Regex`], which has it in the pattern (`(?i)`).
    pub ignore_case: bool,
}

/// One test of a text.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum TextTest {
    /// It is this.
    Exact(String),
    /// It begins so.
    Prefix(String),
    /// It ends so.
    Suffix(String),
    /// This is in it.
    Contains(String),
    /// A regular expression of the `regex` crate (linear time, unanchored) that is known to compile.
    Regex(String),
}

/// A test of something that may be absent.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ValueMatch {
    /// There is one.
    Present,
    /// There is none.
    Absent,
    /// There is one and it is so.
    Text(TextMatch),
}

/// What kind of exchange a request asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Anything that is not another kind.
    Http,
    /// An upgrade to WebSocket.
    Websocket,
    /// A tunnel to a server.
    Tunnel,
    /// The same, asked for in SOCKS.
    Socks,
    /// A call of gRPC, also in its form for browsers.
    Grpc,
}

/// A condition on a request's body.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct BodyMatch {
    /// All hold; never empty.
    pub tests: Vec<BodyTest>,
    /// How many bytes are read to decide.
    pub limit: u64,
    /// What a longer body means.
    pub over_limit: OverLimit,
}

/// One condition on a request's body.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum BodyTest {
    /// A value in a JSON document; a string as its text, a number, `true`, `false` and `null` as written.
    Json {
        /// Where it is.
        path: JsonPath,
        /// One of these holds.
        any: Vec<ValueMatch>,
    },
    /// A field of a form (`application/x-www-form-urlencoded`).
    Form {
        /// Its name.
        name: String,
        /// One of these holds.
        any: Vec<ValueMatch>,
    },
    /// The whole body as UTF-8 text.
    Text {
        /// One of these holds.
        any: Vec<TextMatch>,
    },
}

/// A place in a JSON document, from its root.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct JsonPath {
    /// The way there.
    pub steps: Vec<JsonStep>,
}

/// One step into a JSON document.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum JsonStep {
    /// The member of that name.
    Member(String),
    /// The element of that number, from 0.
    Element(usize),
}

/// What a body beyond the limit means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum OverLimit {
    /// The route does not match.
    NoMatch,
    /// The request is refused with 413.
    Reject,
}
