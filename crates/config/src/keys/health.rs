//! The keys by which a pool watches its servers.

use super::matching::VALUES;
use super::{Key, Section, Type, live};

pub(super) static HEALTH: Section = Section::new(
    "health",
    "Active checks. Servers start usable and are checked at once; the first check alone decides, after that it takes `rise` or \
     `fall` of them in a row. Pools that check the same address in the same way share one check. A server that is down gets \
     nothing new and keeps what it has; a drained one is checked on.",
    &[
        Key::new(
            "probe",
            Type::Word(&[
                live("off"),
                live("tcp"),
                live("http"),
                live("grpc"),
                live("tls"),
                live("redis"),
                live("postgres"),
                live("mysql"),
                live("smtp"),
            ]),
            "What is asked: a connection; a request by HTTP/1.1; `grpc.health.v1` over HTTP/2, by TLS where the pool has it; a ServerHello of TLS; `PING` of \
             Redis; the greeting of PostgreSQL, MySQL (a login by the user `tidegate`, who need not exist) or a mail server. \
             `off` checks nothing, for a pool under `defaults` that do.",
        )
        .default("tcp"),
        Key::new("path", Type::Text("path"), "`http`: what is asked for, with its query.").inherited("/"),
        Key::new("method", Type::Text("method"), "`http`: the method.").inherited("GET"),
        Key::new(
            "host",
            Type::Text("name"),
            "`http`, `grpc`: the Host that is sent; `tls`: the name that is asked for. Absent means the server's own address.",
        ),
        Key::new("service", Type::Text("name"), "`grpc`: the service that is asked about. Absent means the server as a whole."),
        Key::new("headers", Type::Named("header", &Type::Text("text")), "`http`: more header fields to send."),
        Key::new(
            "status",
            Type::List(&Type::Text("status or range")),
            "`http`: the statuses that are well, such as `[200-299, 401]`.",
        )
        .inherited("200-399"),
        Key::new("body", VALUES, "`http`: the answer's body, of which the first 64 KiB are read; one of these must hold."),
        Key::new("port", Type::Integer(1, 65_535), "Another port than the server's, for checks alone."),
        Key::new("every", Type::Duration, "From the start of a check to the start of the next.").default("2s"),
        Key::new("timeout", Type::Duration, "How long a check may take, the connection included.").default("1s"),
        Key::new("rise", Type::Integer(1, 1000), "Checks in a row that bring a server up.").default("2"),
        Key::new("fall", Type::Integer(1, 1000), "Checks in a row that bring a server down.").default("3"),
        Key::new("fast", Type::Duration, "The same as `every`, while checks contradict what the server is taken for.")
            .inherited("every"),
        Key::new("jitter", Type::Share, "By up to this part a check comes earlier, so that checks do not march in step.")
            .default("10%"),
    ],
)
.short("probe");

pub(super) static OUTLIER: Section = Section::new(
    "outlier",
    "Servers are judged by how requests go. A 5xx other than 501 and 505 is an error (for `success_rate` those two are as well), and so \
     is a connect, a reset, a time-out or a broken answer of the server; a retry counts like a first try. One that is out is used only if no other is left.",
    &[
        Key::new(
            "consecutive_errors",
            Type::Integer(0, 1_000_000),
            "Errors in a row, over all workers, that eject a server at once; 0 lets none.",
        )
        .default("5"),
        Key::new(
            "eject_for",
            Type::Duration,
            "How long the first ejection lasts; the second lasts twice as long, and so on. One is forgiven for each such time \
             without another.",
        )
        .default("30s"),
        Key::new("eject_for_max", Type::Duration, "The longest that one lasts.").default("5m"),
        Key::new(
            "max_ejected",
            Type::Share,
            "The part of a pool that may be out at a time, rounded down; at least one server, and never all.",
        )
        .default("50%"),
        Key::new("every", Type::Duration, "How often servers are compared by `success_rate` and `latency`.").default("10s"),
        Key::new(
            "success_rate",
            Type::Section(&SUCCESS_RATE),
            "Ejects servers that fail clearly more often than the others; a number alone is `factor`. Absent means none.",
        ),
        Key::new(
            "latency",
            Type::Section(&LATENCY),
            "Ejects servers that are clearly slower than the others; a number alone is `ratio`. Absent means none.",
        ),
    ],
)
.short("consecutive_errors");

static SUCCESS_RATE: Section = Section::new(
    "success rate",
    "A server is out if its success rate since the last comparison lies so many standard deviations, and at least 5 percentage points, \
     below the mean of the pool's.",
    &[
        Key::new(
            "factor",
            Type::Integer(1, 10_000),
            "Standard deviations, in thousandths. One of N servers is never more than √(N-1) below the mean.",
        )
        .default("1900"),
        Key::new("min_servers", Type::Integer(2, 10_000), "Compares only if so many servers had enough requests.").default("5"),
        Key::new("min_requests", Type::Integer(1, 1_000_000_000), "Requests since the last comparison that are enough.")
            .default("100"),
    ],
)
.short("factor");

static LATENCY: Section = Section::new(
    "latency",
    "A server is out if its mean time to a response's head since the last comparison is more than `ratio` times the median of the \
     pool's.",
    &[
        Key::new("ratio", Type::Integer(2, 1000), "How many times the median is too slow.").default("3"),
        Key::new("over", Type::Duration, "A server that is faster than this is never too slow.").default("10ms"),
        Key::new("min_servers", Type::Integer(2, 10_000), "Compares only if so many servers had enough requests.").default("3"),
        Key::new("min_requests", Type::Integer(1, 1_000_000_000), "Requests since the last comparison that are enough.")
            .default("50"),
    ],
)
.short("ratio");
