//! The keys of the document itself, of logs, administration, shutdown and names.

use super::listener::LISTENER;
use super::policy::POLICY;
use super::pool::POOL;
use super::route::{ROUTE, SITE};
use super::tls::CERTIFICATE;
use super::{Key, Section, Type, live};

/// The whole document.
pub(crate) static TOP: Section = Section::new(
    "configuration",
    "The document. Top-level keys that begin with `x-` are ignored; they are a place for anchors.",
    &[
        Key::new(
            "include",
            Type::List(&Type::Text("file or glob")),
            "Further files whose maps are merged into this one, never lists. A path is relative to the file that names it, \
             `*` and `?` stand for parts of one segment, and matching nothing is fine. One name in two files is a mistake.",
        ),
        Key::new("workers", Type::Integer(1, 1024), "How many workers. Absent means one for each CPU of the quota."),
        Key::new(
            "splice",
            Type::Bool,
            "Whether bodies of at least 16 KiB between plain connections go through pipes inside the kernel.",
        )
        .default("true"),
        Key::new(
            "state",
            Type::Text("folder"),
            "The folder for files that are written. Relative to the file that names it.",
        ),
        Key::new(
            "zone",
            Type::Text("name"),
            "The zone that this process is in. Servers of the same zone are asked first; what they cannot carry goes to the others.",
        ),
        Key::new(
            "secret",
            Type::Text("${file.PATH} or ${env.NAME}"),
            "What cookies of ours are signed with, 16 bytes or more, from a file or the environment. Absent draws one at the start: \
             then cookies end with the process, and other nodes do not know them.",
        ),
        Key::new("access_log", Type::Section(&ACCESS_LOG), "One line for each request.").filled(),
        Key::new(
            "admin",
            Type::Section(&ADMIN),
            "The operator's listener: status page, API and metrics. Absent means none.",
        ),
        Key::new(
            "certificates",
            Type::Named("certificate", &Type::Section(&CERTIFICATE)),
            "Certificates with a name, for `tls` of listeners and pools.",
        ),
        Key::new("listeners", Type::Named("listener", &Type::Section(&LISTENER)), "Where flows arrive.").required(),
        Key::new("sites", Type::Named("site", &Type::Section(&SITE)), "Names on shared listeners."),
        Key::new(
            "policies",
            Type::Named("policy", &Type::List(&Type::Section(&POLICY))),
            "Policies with a name, for `use`. All uses share one state.",
        ),
        Key::new(
            "lists",
            Type::Named("list", &Type::Section(&LIST)),
            "Lists of sites, for `url: { list: … }` and `host: { list: … }` of `match`. At most 255.",
        ),
        Key::new("pools", Type::Named("pool", &Type::Section(&POOL)), "Servers, how to choose and how to treat them."),
        Key::new(
            "nat",
            Type::Section(&NAT),
            "What the kernel keeps for listeners with `role: nat`, of all of them together.",
        ),
        Key::new("shutdown", Type::Section(&SHUTDOWN), "How the process ends on SIGTERM.").filled(),
        Key::new("dns", Type::Section(&DNS), "How names become addresses."),
        Key::new("defaults", Type::Section(&DEFAULTS), "What pools, listeners and routes inherit, field by field."),
        Key::planned("caches"),
        Key::planned("stores"),
    ],
);

static LIST: Section = Section::new(
    "list",
    "Sites, as others write them down. Files are watched: when one changes, requests are looked for in the new one, without a reload. One \
     that cannot be read, or in which nothing is a rule, leaves what was there.",
    &[
        Key::new(
            "file",
            Type::List(&Type::Text("file")),
            "Where it is; of several files, all together. At most 128 MiB each. Relative to the file that names it.",
        )
        .required(),
        Key::new(
            "format",
            Type::Word(&[live("hosts"), live("domains"), live("adblock"), live("rpz"), live("words")]),
            "`hosts` is a line `0.0.0.0 NAME` for just that host; `domains` a line for a domain and all below it; `adblock` the rules of ad \
             blockers, of which those for elements of pages are passed over; `rpz` a zone file of a response policy zone, of which names \
             that are asked for count, and `CNAME rpz-passthru.` is an exception; `words` a word or phrase a line with its weight behind it, for \
             `filter`. Lines that are no rule are counted, and said in the log.",
        )
        .required(),
    ],
);

static NAT: Section = Section::new(
    "nat",
    "The tables of listeners whose packets the kernel rewrites.",
    &[Key::new(
        "connections",
        Type::Integer(1024, 4_194_304),
        "How many connections are remembered; with `nat: dsr` twice as many. Each takes some 220 bytes of the kernel's memory, from the \
         start. With another number, connections are copied into a table of the new size.",
    )
    .default("131072")],
);

static ACCESS_LOG: Section = Section::new(
    "access log",
    "Where the lines go and how they look. A file that cannot keep up loses lines and counts them.",
    &[
        Key::new(
            "to",
            Type::Text("stdout, stderr, off or a file"),
            "`stdout`, `stderr`, `off`, or a file that is appended to; a relative path is in the `state` folder.",
        )
        .default("stdout"),
        Key::new("format", Type::Word(&[live("json"), live("combined")]), "JSON lines, or the combined log format.")
            .default("json"),
    ],
)
.short("to");

static ADMIN: Section = Section::new(
    "admin",
    "The operator's listener is never reachable from outside: tunnel to it.",
    &[Key::new(
        "bind",
        Type::Text("HOST:PORT or unix:PATH"),
        "A loopback address and port, or a Unix socket whose relative path is in the `state` folder.",
    )
    .required()],
)
.short("bind");

static SHUTDOWN: Section = Section::new(
    "shutdown",
    "On SIGTERM `/readyz` says 503 at once; then come these two.",
    &[
        Key::new("delay", Type::Duration, "How long connections are still accepted, so that a balancer can look away.")
            .default("0s"),
        Key::new("drain", Type::Duration, "How long what is under way may then take; the rest is cut.").default("30s"),
    ],
);

static DNS: Section = Section::new(
    "dns",
    "Names of servers are resolved when they are needed and again when their TTL ends.",
    &[
        Key::new(
            "servers",
            Type::List(&Type::Text("HOST:PORT")),
            "Resolvers to ask, by address. Absent means those of the system.",
        ),
        Key::new(
            "hosts",
            Type::Named("host", &Type::List(&Type::Text("IP address"))),
            "Fixed answers, which come before any resolver.",
        ),
    ],
);

static DEFAULTS: Section = Section::new(
    "defaults",
    "What is inherited, field by field; what a pool, listener or route says itself wins. Nested routes inherit from the \
     route around them.",
    &[
        Key::new("pool", Type::Defaults(&POOL), "For every pool: any key of a pool but `servers`."),
        Key::new(
            "listener",
            Type::Defaults(&LISTENER),
            "For every listener: `http`, `limits`, `timeouts`, `retries` and `forwarding`.",
        ),
        Key::new("route", Type::Defaults(&ROUTE), "For every outermost route: `timeouts`, `retries` and `limits`."),
    ],
);
