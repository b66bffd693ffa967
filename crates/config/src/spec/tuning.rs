//! What the nearest level decides, field by field: route, outer routes, site, pool, listener, default.

use std::time::Duration;

use wire::grpc::Code;

/// How long things may take once a route is known. A field that no level names has the value of [`Timeouts::DEFAULT`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Timeouts {
    /// The longest gap between two reads of a request's body.
    pub request_body: Option<Duration>,
    /// Until a connection to a server stands.
    pub connect: Option<Duration>,
    /// How long a request may wait for a server below its `max_connections`.
    pub queue: Option<Duration>,
    /// From the last byte of a request until its response's head is complete.
    pub response: Option<Duration>,
    /// The longest gap between two reads of a response's body, or while the client does not read it.
    pub stream: Option<Duration>,
    /// From a request's head to the end of its response; absent everywhere is no limit.
    pub total: Option<Duration>,
    /// How long a tunnel (WebSocket) may be silent.
    pub tunnel: Option<Duration>,
    /// How long a flow of UDP may be silent, or a connection inside the kernel.
    pub flow: Option<Duration>,
    /// From the choice of a server to the end of its response's head; absent everywhere is no limit.
    pub per_try: Option<Duration>,
}

impl Timeouts {
    /// What holds where no level says otherwise.
    pub const DEFAULT: Self = Self {
        request_body: Some(Duration::from_secs(30)),
        connect: Some(Duration::from_secs(5)),
        queue: Some(Duration::from_secs(5)),
        response: Some(Duration::from_secs(60)),
        stream: Some(Duration::from_secs(60)),
        total: None,
        tunnel: Some(Duration::from_secs(3600)),
        flow: None,
        per_try: None,
    };

    /// This level's fields, and the farther level's where this one is silent.
    pub fn or(self, farther: Self) -> Self {
        Self {
            request_body: self.request_body.or(farther.request_body),
            connect: self.connect.or(farther.connect),
            queue: self.queue.or(farther.queue),
            response: self.response.or(farther.response),
            stream: self.stream.or(farther.stream),
            total: self.total.or(farther.total),
            tunnel: self.tunnel.or(farther.tunnel),
            per_try: self.per_try.or(farther.per_try),
            flow: self.flow.or(farther.flow),
        }
    }
}

/// When and how often a request is tried again, on another server if there is one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Retries {
    /// Tries beyond the first.
    pub extra: Option<u32>,
    /// What is worth another try.
    pub conditions: Option<Vec<RetryIf>>,
    /// The wait before another try; absent everywhere is none.
    pub backoff: Option<Backoff>,
    /// The most further tries, as a share of the pool's requests, in hundredths of a percent; absent everywhere is no limit.
    pub budget: Option<u32>,
    /// When the same request is sent to other servers, too; absent everywhere is never.
    pub hedge: Option<Hedge>,
}

/// When a request is sent to other servers, too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hedge {
    /// After this long without a response's head, and after as long again for each further server.
    pub after: Duration,
    /// To how many others.
    pub extra: u32,
}

/// The wait before another try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    /// The longest one before the second try; it doubles with every try.
    pub base: Duration,
    /// The longest one before any try.
    pub max: Duration,
}

impl Retries {
    /// What holds where no level says otherwise: one extra try, on connect.
    pub fn standard() -> Self {
        Self { extra: Some(1), conditions: Some(vec![RetryIf::Connect]), ..Self::default() }
    }

    /// This level's fields, and the farther level's where this one is silent.
    pub fn or(self, farther: &Self) -> Self {
        Self {
            extra: self.extra.or(farther.extra),
            conditions: self.conditions.or_else(|| farther.conditions.clone()),
            backoff: self.backoff.or(farther.backoff),
            budget: self.budget.or(farther.budget),
            hedge: self.hedge.or(farther.hedge),
        }
    }
}

/// A reason to try again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RetryIf {
    /// No connection could be made: nothing was sent.
    Connect,
    /// The connection ended before a response's head was complete.
    Reset,
    /// The response's head did not come in time.
    Timeout,
    /// The server answered this, from 500 to 599.
    Status(u16),
    /// The server ended a call of gRPC so, in the head of its answer.
    Grpc(Code),
}

/// Who is served first of those that wait in a pool's queue.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Priority {
    /// Before the others.
    High,
    /// Where no level says otherwise.
    #[default]
    Normal,
    /// After the others.
    Low,
}

/// How much is accepted once a route is known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of a request's body; beyond is 413.
    pub request_body: Option<u64>,
}

impl Limits {
    /// What holds where no level says otherwise.
    pub const DEFAULT: Self = Self { request_body: Some(10 << 20) };

    /// This level's fields, and the farther level's where this one is silent.
    pub fn or(self, farther: Self) -> Self {
        Self { request_body: self.request_body.or(farther.request_body) }
    }
}
