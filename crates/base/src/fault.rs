//! What can go wrong with a flow: whose side, what kind, and whether trying again may help.
//!
//! A fault has no status code: `proxy::reply` holds the one table that maps faults to answers.

/// One failure, as every room reports it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Who caused it.
    pub side: Side,
    /// What happened.
    pub kind: Kind,
    /// Whether another try may help.
    pub retry: Retry,
}

/// Who caused a fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The peer that sent us the request.
    Client,
    /// The server we sent it to.
    Server,
    /// We ourselves: a limit of ours, or a shortage.
    Proxy,
}

/// Whether another try may help, and what it needs to be safe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retry {
    /// Nothing was sent: any request may be tried again.
    Always,
    /// Something was sent and nothing came back: idempotent requests may be tried again.
    Idempotent,
    /// Trying again is wrong or useless.
    Never,
}

/// What happened. The order is that of a request's life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// The message breaks HTTP's grammar or framing rules.
    Malformed,
    /// The request line is longer than `limits.request_line`.
    LineTooLong,
    /// The head is larger than `limits.request_head`.
    HeadTooLarge,
    /// More fields than `limits.fields`.
    TooManyFields,
    /// The body is larger than `limits.request_body`.
    BodyTooLarge,
    /// A transfer coding or method that we do not implement.
    Unsupported,
    /// An HTTP version other than 1.0 and 1.1.
    Version,
    /// The peer asked for an expectation that we do not know.
    Expectation,
    /// The request was sent to a scheme or authority that this listener does not serve.
    Misdirected,
    /// The request came before the handshake was done, and may not be served twice.
    TooEarly,
    /// The request has passed through us too often.
    Loop,
    /// The head did not arrive in time.
    HeadTimeout,
    /// The body stood still for too long.
    BodyTimeout,
    /// The client of a tunnel that is read and we could not agree on TLS.
    ClientTls,
    /// The client went away.
    ClientGone,
    /// No route matched.
    NoRoute,
    /// A route or policy denied it.
    Denied,
    /// It does not show who asks, or what it shows is nobody's.
    Unauthenticated,
    /// The same, asked for by a forward proxy.
    ProxyUnauthenticated,
    /// Who asks has used up a `quota`.
    Quota,
    /// The pool has no server that may be used.
    NoServer,
    /// As many requests as `circuit_breaker.requests` allows are under way.
    CircuitBreaker,
    /// The queue of the pool is full.
    QueueFull,
    /// Waited in the queue for too long.
    QueueTimeout,
    /// The server's name did not resolve.
    Unresolved,
    /// The connect was refused or unreachable.
    Connect,
    /// The server was connected to, and its first words do not welcome us.
    Unwelcome,
    /// The server and we could not agree on TLS, or it is not who it should be.
    ServerTls,
    /// The connect did not finish in time.
    ConnectTimeout,
    /// A proxy that we go through has refused to lead us on.
    ParentRefused,
    /// The connection broke before the response head was complete.
    Reset,
    /// The response head did not arrive in time.
    ResponseTimeout,
    /// The response breaks HTTP's grammar or framing rules.
    BadResponse,
    /// The connection broke inside the response's body.
    Truncated,
    /// The server answered with a status that the configuration tries again on.
    BadStatus,
    /// A body stood still for too long while it was relayed.
    StreamTimeout,
    /// A tunnel was silent for too long.
    TunnelTimeout,
    /// The request took longer than `timeouts.total`.
    TotalTimeout,
    /// We are out of descriptors, memory or workers.
    Overload,
    /// The connection was cut because the process or its deadline ended.
    Drained,
}

impl Fault {
    /// A fault of the client, never worth a retry.
    pub const fn client(kind: Kind) -> Fault {
        Fault { side: Side::Client, kind, retry: Retry::Never }
    }

    /// A fault of the server.
    pub const fn server(kind: Kind, retry: Retry) -> Fault {
        Fault { side: Side::Server, kind, retry }
    }

    /// A fault of our own.
    pub const fn proxy(kind: Kind) -> Fault {
        Fault { side: Side::Proxy, kind, retry: Retry::Never }
    }

    /// The short stable code that logs, metrics and documents use.
    pub const fn code(self) -> &'static str {
        self.kind.code()
    }
}

impl Kind {
    /// Every kind, for documents and tests.
    pub const ALL: [Kind; 40] = [
        Kind::Malformed,
        Kind::LineTooLong,
        Kind::HeadTooLarge,
        Kind::TooManyFields,
        Kind::BodyTooLarge,
        Kind::Unsupported,
        Kind::Version,
        Kind::Expectation,
        Kind::Misdirected,
        Kind::TooEarly,
        Kind::Loop,
        Kind::HeadTimeout,
        Kind::BodyTimeout,
        Kind::ClientTls,
        Kind::ClientGone,
        Kind::NoRoute,
        Kind::Denied,
        Kind::Unauthenticated,
        Kind::ProxyUnauthenticated,
        Kind::Quota,
        Kind::NoServer,
        Kind::CircuitBreaker,
        Kind::QueueFull,
        Kind::QueueTimeout,
        Kind::Unresolved,
        Kind::Connect,
        Kind::Unwelcome,
        Kind::ServerTls,
        Kind::ConnectTimeout,
        Kind::ParentRefused,
        Kind::Reset,
        Kind::ResponseTimeout,
        Kind::BadResponse,
        Kind::Truncated,
        Kind::BadStatus,
        Kind::StreamTimeout,
        Kind::TunnelTimeout,
        Kind::TotalTimeout,
        Kind::Overload,
        Kind::Drained,
    ];

    /// The short stable code that logs, metrics and documents use.
    pub const fn code(self) -> &'static str {
        match self {
            Kind::Malformed => "malformed",
            Kind::LineTooLong => "line_too_long",
            Kind::HeadTooLarge => "head_too_large",
            Kind::TooManyFields => "too_many_fields",
            Kind::BodyTooLarge => "body_too_large",
            Kind::Unsupported => "unsupported",
            Kind::Version => "version",
            Kind::Expectation => "expectation",
            Kind::Misdirected => "misdirected",
            Kind::TooEarly => "too_early",
            Kind::Loop => "loop",
            Kind::HeadTimeout => "head_timeout",
            Kind::BodyTimeout => "body_timeout",
            Kind::ClientTls => "client_tls",
            Kind::ClientGone => "client_gone",
            Kind::NoRoute => "no_route",
            Kind::Denied => "denied",
            Kind::Unauthenticated => "unauthenticated",
            Kind::ProxyUnauthenticated => "proxy_unauthenticated",
            Kind::Quota => "quota",
            Kind::NoServer => "no_server",
            Kind::CircuitBreaker => "circuit_breaker",
            Kind::QueueFull => "queue_full",
            Kind::QueueTimeout => "queue_timeout",
            Kind::Unresolved => "unresolved",
            Kind::Connect => "connect",
            Kind::Unwelcome => "unwelcome",
            Kind::ServerTls => "server_tls",
            Kind::ConnectTimeout => "connect_timeout",
            Kind::ParentRefused => "parent_refused",
            Kind::Reset => "reset",
            Kind::ResponseTimeout => "response_timeout",
            Kind::BadResponse => "bad_response",
            Kind::Truncated => "truncated",
            Kind::BadStatus => "bad_status",
            Kind::StreamTimeout => "stream_timeout",
            Kind::TunnelTimeout => "tunnel_timeout",
            Kind::TotalTimeout => "total_timeout",
            Kind::Overload => "overload",
            Kind::Drained => "drained",
        }
    }
}
