//! The keys of pools, and of what the nearest level decides.

use super::balance::{BALANCE_KEY, STICKY};
use super::health::{HEALTH, OUTLIER};
use super::tls::POOL_TLS;
use super::{Key, Section, Type, live};

pub(crate) static POOL: Section = Section::new(
    "pool",
    "A list stands for `servers`.",
    &[
        Key::new(
            "servers",
            Type::ListOrNamed(&Type::Section(&SERVER)),
            "The servers: a list, or a map that gives them names. A server's state lives as long as its name and address.",
        )
        .required()
        .own(),
        BALANCE_KEY,
        Key::new(
            "panic",
            Type::Share,
            "Below this share of usable servers, among those that are asked first, health does not count and all of them are asked.",
        )
        .default("0%"),
        Key::new("queue", Type::Section(&QUEUE), "Who waits while every server is at its `max_connections`.").filled(),
        Key::new(
            "concurrency",
            Type::Section(&CONCURRENCY),
            "A limit of the requests under way that is found by watching how long servers take. Beyond it the answer is 503.",
        ),
        Key::new("circuit_breaker", Type::Section(&CIRCUIT_BREAKER), "How much may be under way in this pool at a time."),
        Key::new(
            "host",
            Type::Text("client, server or a name"),
            "The Host that servers see: the client's, the server's own address, or this name.",
        )
        .default("client"),
        Key::new(
            "protocol",
            Type::Word(&[live("h1"), live("h2"), live("h3"), live("http_proxy"), live("socks5")]),
            "What the servers speak: HTTP/1.1; HTTP/2, agreed on with `tls` and taken for granted without; or HTTP/3, by UDP at the \
             server's port, which needs `tls`. Connections of HTTP/2 and HTTP/3 are shared by requests, as many as the server says. `http_proxy` \
             and `socks5`: they are proxies that lead on to whatever server is asked for, and only `role: forward` may go by them.",
        )
        .default("h1"),
        Key::new("username", Type::Text("name"), "Who we say that we are, with `protocol: http_proxy` and `socks5`. Needs `password`."),
        Key::new(
            "password",
            Type::Text("${file.PATH} or ${env.NAME}"),
            "The password of `username`. It must come from outside, so that it stands in nothing that is shown.",
        ),
        Key::new(
            "warm",
            Type::Integer(0, 1024),
            "Idle connections that the process keeps open to each server, from before the first request. They count in `max_connections`.",
        )
        .default("0"),
        Key::new("timeouts", Type::Section(&POOL_TIMEOUTS), "The pool's level of timeouts.").filled(),
        Key::new("retries", Type::Section(&RETRY), "The pool's level of retries."),
        Key::new("limits", Type::Section(&super::route::LIMITS), "The pool's level of limits."),
        Key::new("health", Type::Section(&HEALTH), "Active checks of the servers; a word alone is the `probe`. Absent means none."),
        Key::new(
            "outlier",
            Type::Section(&OUTLIER),
            "Servers that answer badly are out for a while; a number alone is `consecutive_errors`. Absent means none are.",
        ),
        Key::new(
            "slow_start",
            Type::Duration,
            "A server that comes back, or joins a running process, gets a tenth of its weight at first and all of it after this \
             time. It has no effect with `maglev`, `ring_hash`, `source` and `first`. Absent means at once.",
        ),
        Key::new("sticky", Type::Section(&STICKY), "How clients stay with the server that they were sent to."),
        Key::new("tls", Type::Section(&POOL_TLS), "TLS towards the servers. Absent means plain connections."),
        Key::new(
            "send_proxy",
            Type::Word(&[live("v1"), live("v2")]),
            "Tells servers first for whom a connection is, by the PROXY protocol; `v2` also what is known of TLS. Each connection is then for \
             one client: HTTP uses it for one request. Checks say that nobody is behind them.",
        ),
        Key::new(
            "coalesce",
            Type::Section(&COALESCE),
            "Flows of TCP: small pieces of what clients say wait for others, so that servers get fewer and fuller segments.",
        ),
        Key::new("quic", Type::Section(&QUIC), "How clients of QUIC that come from another address are known again, with `role: udp`. Absent means not at all."),
        Key::new(
            "source",
            Type::Word(&[live("client")]),
            "`client`: servers see the client's address as that of the connection. It takes `CAP_NET_ADMIN` or `CAP_NET_RAW`, and routes by \
             which their answers come back here. Each connection is then for one client: HTTP uses it for one request. Absent means our \
             own address.",
        ),
    ],
)
.short("servers");

pub(super) static COALESCE: Section = Section::new(
    "coalesce",
    "What has been gathered goes on when it is enough, when its first byte has waited for long enough, when the sender ends, or when \
     something comes the other way. Streams of small one-way messages gain by it; an exchange of questions and answers pays the whole \
     `delay` each time.",
    &[
        Key::new("bytes", Type::Size, "So much waits for nothing, 64 KiB at most.").default("8KiB"),
        Key::new("delay", Type::Duration, "How long a byte waits at most, from 1us to 10s.").default("200us"),
    ],
);

pub(crate) static SERVER: Section = Section::new(
    "server",
    "Text stands for `address`.",
    &[
        Key::new(
            "address",
            Type::Text("HOST:PORT, unix:PATH, srv:NAME or file:PATH"),
            "Where it is. A name is resolved again when its TTL ends. `srv:` and `file:` stand for as many servers as SRV records or a \
             file list; what else is said here holds for each of them. A relative path is relative to the file.",
        )
        .required(),
        Key::new("weight", Type::Integer(1, 65_535), "Its share of the load beside the others.").default("1"),
        Key::new(
            "max_connections",
            Type::Integer(1, 10_000_000),
            "Open connections at a time, in the whole process. Absent means no limit.",
        ),
        Key::new(
            "priority",
            Type::Integer(0, 255),
            "Servers with a lower one are asked first; the others wait until none of those may be used. Absent is 0.",
        ),
        Key::new("backup", Type::Bool, "Whether it is asked only if no server of any priority may be used."),
        Key::new("zone", Type::Text("name"), "The zone that it is in, to be compared with the document's `zone`."),
        Key::new(
            "labels",
            Type::Named("label", &Type::Text("text")),
            "What it is, for routes with a `subset`.",
        ),
        Key::new(
            "quic_id",
            Type::Text("hexadecimal digits"),
            "What it writes into the ids of its connections, with `quic: { ids: encoded }`: two digits for each byte.",
        ),
    ],
)
.short("address");

static QUIC: Section = Section::new(
    "quic",
    "QUIC tells connections apart by ids, so that clients may come to be at other addresses. A word stands for `ids`.",
    &[
        Key::new(
            "ids",
            Type::Word(&[live("learn"), live("encoded")]),
            "`learn`: ids that servers choose are seen while connections are made, and lead a client whose port or address has changed \
             behind its back to its server. `encoded`: each server writes its `quic_id` into its ids, as QUIC-LB has it without a key, so \
             that clients may also move by themselves.",
        )
        .required(),
        Key::new("offset", Type::Integer(0, 19), "Where in an id the `quic_id` stands, with `encoded`; absent is 1."),
        Key::new("length", Type::Integer(1, 19), "How many bytes it has, with `encoded`; absent is as many as the servers' have."),
        Key::new(
            "max",
            Type::Integer(1, 10_000_000),
            "How many ids are remembered, with `learn`; absent is 100000. When they are more the oldest are forgotten.",
        ),
    ],
)
.short("ids");

static QUEUE: Section = Section::new(
    "queue",
    "Requests wait in order of arrival, in the whole process; beyond length or timeout the answer is 503.",
    &[
        Key::new("length", Type::Integer(0, 10_000_000), "How many may wait.").default("100"),
        Key::new("timeout", Type::Duration, "How long one may wait; the same as `timeouts.queue` of the pool.")
            .inherited("5s"),
    ],
);

static CONCURRENCY: Section = Section::new(
    "concurrency",
    "While responses take no longer than without load the limit grows, and it shrinks as they take longer. Text stands for `limit`.",
    &[
        Key::new("limit", Type::Word(&[live("adaptive")]), "How the limit is found.").required(),
        Key::new("min", Type::Integer(1, 1_000_000), "The smallest limit.").default("3"),
        Key::new("max", Type::Integer(1, 1_000_000), "The largest limit.").default("1000"),
    ],
)
.short("limit");

static CIRCUIT_BREAKER: Section = Section::new(
    "circuit breaker",
    "How much may be under way in this pool at a time, in the whole process. How many may wait is `queue.length`.",
    &[
        Key::new(
            "connections",
            Type::Integer(1, 10_000_000),
            "Connections to all servers together, idle ones among them. Beyond it a request waits in the queue. Absent means no limit.",
        ),
        Key::new(
            "requests",
            Type::Integer(1, 10_000_000),
            "Requests, those that wait among them. Beyond it the answer is 503 at once. Absent means no limit.",
        ),
        Key::new(
            "retries",
            Type::Integer(0, 10_000_000),
            "Further tries. Beyond it there is none, and the last try's answer stands. Absent means no limit.",
        ),
    ],
);

pub(super) const REQUEST_BODY_GAP: Key =
    Key::new("request_body", Type::Duration, "The longest gap between two reads of a request's body; beyond is 408.");
pub(super) const CONNECT: Key = Key::new("connect", Type::Duration, "Until a connection to a server stands.");
pub(super) const QUEUE_TIMEOUT: Key =
    Key::new("queue", Type::Duration, "How long a request may wait for a server below its `max_connections`.");
pub(super) const RESPONSE: Key = Key::new(
    "response",
    Type::Duration,
    "From a request's last byte to the end of the response's head; beyond is 504.",
);
pub(super) const STREAM: Key = Key::new(
    "stream",
    Type::Duration,
    "The longest gap in a response's body: between two reads, or while the client does not read it, also where the response is \
     of our own making.",
);
pub(super) const TOTAL: Key =
    Key::new("total", Type::Duration, "From a request's head to the end of its response. Absent means no limit.");
pub(super) const TRY: Key = Key::new(
    "try",
    Type::Duration,
    "From the choice of a server to the end of its response's head, the connect included: then the try has failed, as `connect` \
     or as `timeout` of `retries.if`. It begins anew when a body that was still coming has come. Absent means no limit.",
);
pub(super) const FLOW: Key = Key::new(
    "flow",
    Type::Duration,
    "How long a flow of UDP may be silent; then it is over, and what its client sends begins another. With `role: forward` the same of a server that a client of SOCKS sends datagrams to. With `role: nat` the same of \
     a connection inside the kernel. Absent is 60s, and 1h for TCP inside the kernel.",
);
pub(super) const TUNNEL: Key = Key::new("tunnel", Type::Duration, "How long a tunnel (WebSocket) may be silent.");

static POOL_TIMEOUTS: Section = Section::new(
    "pool timeouts",
    "How long things may take with this pool. The nearest level wins, field by field: route, site, pool, listener. The wait for \
     a server is `queue.timeout`.",
    &[
        REQUEST_BODY_GAP.inherited("30s"),
        CONNECT.inherited("5s"),
        RESPONSE.inherited("60s"),
        STREAM.inherited("60s"),
        TOTAL,
        TUNNEL.inherited("1h"),
        Key::new("pooled", Type::Duration, "How long an idle connection to a server is kept.").default("60s"),
        TRY,
        FLOW.inherited("60s"),
    ],
);

/// What routes and sites may set.
pub(super) static TIMEOUTS: Section = Section::new(
    "timeouts",
    "How long things may take. The nearest level wins, field by field: route, site, pool, listener.",
    &[
        REQUEST_BODY_GAP.inherited("30s"),
        CONNECT.inherited("5s"),
        QUEUE_TIMEOUT.inherited("5s"),
        RESPONSE.inherited("60s"),
        STREAM.inherited("60s"),
        TOTAL,
        TUNNEL.inherited("1h"),
        TRY,
        FLOW.inherited("60s"),
    ],
);

pub(super) const RETRIES: [Key; 2] = [
    Key::new("extra", Type::Integer(0, 10), "Tries beyond the first."),
    Key::new(
        "if",
        Type::List(&Type::Text("connect, reset, timeout, a status from 500 to 599, or a status of gRPC")),
        "What is worth another try: no connection, a connection that ended before the response's head was complete, no head in \
         time, or a status. A call of gRPC is tried again whatever its method if its head says `cancelled`, `deadline_exceeded`, \
         `internal`, `resource_exhausted` or `unavailable`, and that is named here.",
    ),
];

pub(super) const BACKOFF_KEY: Key = Key::new(
    "backoff",
    Type::Section(&BACKOFF),
    "The wait before another try. Absent means none: the next server is asked at once.",
);

pub(super) const BUDGET: Key = Key::new(
    "budget",
    Type::Share,
    "The most further tries, as a share of the pool's requests in the last ten seconds, in the whole process; ten are allowed in \
     any case. Beyond it the last try's answer stands. Absent means no limit.",
);

pub(super) const HEDGE_KEY: Key = Key::new(
    "hedge",
    Type::Section(&HEDGE),
    "Sends the same request to another server, too, if the answer takes long; the first usable response is the client's. Only \
     idempotent requests without a body.",
);

static HEDGE: Section = Section::new(
    "hedge",
    "A hedge counts against `budget` and the pool's `circuit_breaker.retries`, and never waits in a queue. Text stands for `after`.",
    &[
        Key::new(
            "after",
            Type::Duration,
            "How long without a response's head, from sending the request; as long again for each further server.",
        )
        .required(),
        Key::new("extra", Type::Integer(1, 5), "To how many other servers.").default("1"),
    ],
)
.short("after");

static BACKOFF: Section = Section::new(
    "backoff",
    "Before each further try, a time drawn at random between nothing and `base`, which doubles with every try, up to `max`. A \
     wait that would end after `timeouts.total` is not begun. Text stands for `base`.",
    &[
        Key::new("base", Type::Duration, "The longest wait before the second try; `0s` is none.").required(),
        Key::new("max", Type::Duration, "The longest wait before any try. Absent means ten times `base`."),
    ],
)
.short("base");

/// What pools, routes and sites may set.
pub(super) static RETRY: Section = Section::new(
    "retries",
    "When a request is tried again. The nearest level wins, field by field: route, site, pool, listener.",
    &[RETRIES[0].inherited("1"), RETRIES[1].inherited("connect"), BACKOFF_KEY, BUDGET, HEDGE_KEY],
);
