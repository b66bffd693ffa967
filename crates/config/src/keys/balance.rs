//! The keys of how a pool chooses among its servers.

use super::{Key, Section, Type, live};

pub(super) const BALANCE_KEY: Key =
    Key::new("balance", Type::Section(&BALANCE), "How one of the servers is chosen.").filled();

static BALANCE: Section = Section::new(
    "balance",
    "A word stands for `algorithm`. The servers stand in the order of their names, so that two processes with one configuration \
     choose alike.",
    &[
        Key::new(
            "algorithm",
            Type::Word(&[
                live("least_requests"),
                live("least_connections"),
                live("round_robin"),
                live("random"),
                live("power_of_two"),
                live("peak_ewma"),
                live("first"),
                live("source"),
                live("maglev"),
                live("ring_hash"),
            ]),
            "Fewest requests in flight, fewest busy connections, in turn, by chance, the less busy of two, the sooner of two by \
             latency, the first below its limit, by the client's address, or by a hash that moves few when servers come and go. Absent is \
             `least_requests`, and `maglev` for pools to which only listeners with `role: udp` lead.",
        ),
        Key::new(
            "hash",
            Type::List(&Type::Text("client_ip, peer_ip, header.NAME, cookie.NAME, query.NAME, path, uri or host")),
            "What `maglev` and `ring_hash` tell requests apart by: the first of these that a request has, or else the client's \
             address. `uri` is path and query.",
        ),
        Key::new(
            "balance_factor",
            Type::Integer(101, 1000),
            "How many percent of the mean load a server may have under `maglev` and `ring_hash`; what is more goes to the next. \
             Absent means no bound.",
        ),
    ],
)
.short("algorithm");

pub(super) static STICKY: Section = Section::new(
    "sticky",
    "What stands for `by` may stand alone. A client leaves its server only if that one is out; one that is drained keeps its \
     clients.",
    &[
        Key::new(
            "by",
            Type::List(&Type::Text("`cookie` or selector")),
            "`cookie`: a cookie of ours, which servers never see. Or `client_ip`, `header.NAME`, `cookie.NAME` and the like: the \
             first that a request has is looked up in a table of the process.",
        )
        .required(),
        Key::new(
            "cookie",
            Type::Text("name of a cookie"),
            "The cookie's name, with `by: cookie`. Absent is one for this pool.",
        ),
        Key::new(
            "for",
            Type::Duration,
            "With `by: cookie` how long clients keep it, from when it was set; absent is until the browser ends. Otherwise how long \
             a client is remembered after its last request; absent is 30m.",
        ),
        Key::new(
            "max",
            Type::Integer(1, 10_000_000),
            "How many clients the table remembers; absent is 100000. When it is full the oldest are forgotten.",
        ),
    ],
)
.short("by");
