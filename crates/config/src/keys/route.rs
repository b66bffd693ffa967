//! The keys of routes, sites and endings.

use super::matching::MATCH;
use super::policy::POLICY;
use super::pool::{RETRY, TIMEOUTS};
use super::{Key, Preset, Section, Type, live};

pub(super) const USE: Key = Key::new(
    "use",
    Type::List(&POLICY_USE),
    "Policies, in the order in which they run: names from `policies`, or policies themselves. The listener's run first, then \
     the site's, the outer route's and the route's; on the response in reverse.",
)
.own();

pub(super) const ROUTES: Key = Key::new("routes", Type::List(&ONE_ROUTE), ROUTES_DOC).own();

const ROUTES_DOC: &str = "Routes; the first that matches wins. A nested block matches when the route around it and one of its own \
     match; nothing matching inside ends in 404.";

static POLICY_USE: Type = Type::TextOr("name of a policy", &POLICY);
static ONE_ROUTE: Type = Type::Section(&ROUTE);
static ONE_PORTION: Type = Type::Section(&PORTION);

pub(super) const TO: Key = Key::new(
    "to",
    Type::List(&Type::Text("name of a pool, or HOST:PORT, or origin")),
    "Ending: sends the request to a pool, or to one server; with `role: forward` also to `origin`, the server that the client has asked \
     for, or by a pool of proxies. There it may be a list: the next one is asked where nobody of the one before can be connected to.",
)
.own();

pub(super) const SOURCE_DOC: &str = "The addresses of this host with which servers are connected to that clients ask for: one, or one of \
     each family. What has no address of the family that is needed is not connected to. The nearest wins: route, outer route, listener.";

pub(super) const SPLIT: Key = Key::new(
    "split",
    Type::List(&ONE_PORTION),
    "Ending: sends each request to one of several pools by chance. The shares total 100%.",
)
.own();

pub(super) const CANARY_KEY: Key = Key::new(
    "canary",
    Type::Section(&CANARY),
    "Ending: sends a share of the clients to a new version, the candidate, and the others to the stable one.",
)
.own();

pub(super) const REDIRECT_KEY: Key =
    Key::new("redirect", Type::Section(&REDIRECT), "Ending: answers with another place.").own();
pub(super) const RESPOND_KEY: Key = Key::new("respond", Type::Section(&RESPOND), "Ending: answers by itself.").own();
pub(super) const DENY_KEY: Key = Key::new("deny", Type::Section(&DENY), "Ending: refuses.").own();

pub(super) static ROUTE: Section = Section::new(
    "route",
    "A route has exactly one ending: `to`, `split`, `canary`, `redirect`, `respond`, `deny` or nested `routes`.",
    &[
        Key::new("name", Type::Text("name"), "Its name in logs and metrics.").own(),
        Key::new("match", Type::Section(&MATCH), "What it matches. Absent is everything.").own(),
        USE,
        TO,
        Key::new(
            "subset",
            Type::Named("label", &Type::Text("text")),
            "With `to`: only servers of the pool that have all of these labels. If none of them may be used the answer is 503.",
        )
        .own(),
        Key::new("source", Type::List(&Type::Text("IP address")), SOURCE_DOC).own(),
        SPLIT,
        CANARY_KEY,
        REDIRECT_KEY,
        RESPOND_KEY,
        DENY_KEY,
        // Not `ROUTES`: a constant may not be part of the static that it refers to.
        Key::new("routes", Type::List(&ONE_ROUTE), ROUTES_DOC).own(),
        PRIORITY,
        TIMEOUTS_KEY,
        RETRIES_KEY,
        LIMITS_KEY,
    ],
);

pub(super) static SITE: Section = Section::new(
    "site",
    "An exact host beats the longest wildcard, which beats `default`. A site has `routes`, or an ending of its own.",
    &[
        Key::new(
            "hosts",
            Type::List(&Type::Text("host, *.host or default")),
            "The names it answers for: a host, `*.example.com` (one or more labels, never the apex), or `default`.",
        )
        .required(),
        Key::new("listeners", Type::List(&Type::Text("name of a listener")), "The listeners on which it is served.")
            .required(),
        USE,
        ROUTES,
        TO,
        SPLIT,
        CANARY_KEY,
        REDIRECT_KEY,
        RESPOND_KEY,
        DENY_KEY,
        PRIORITY,
        TIMEOUTS_KEY,
        RETRIES_KEY,
        LIMITS_KEY,
    ],
);

const PRIORITY: Key = Key::new(
    "priority",
    Type::Word(&[live("high"), live("normal"), live("low")]),
    "Who is served first of those that wait in a pool's queue. Whoever has waited a second longer goes before the next class, and \
     a full queue refuses its last.",
)
.inherited("normal");
const TIMEOUTS_KEY: Key = Key::new("timeouts", Type::Section(&TIMEOUTS), "This level of timeouts.");
const RETRIES_KEY: Key = Key::new("retries", Type::Section(&RETRY), "This level of retries.");
const LIMITS_KEY: Key = Key::new("limits", Type::Section(&LIMITS), "This level of limits.");

pub(super) const REQUEST_BODY_DOC: &str = "Bytes of a request's body; beyond is 413.";

/// What pools, routes and sites may set.
pub(super) static LIMITS: Section = Section::new(
    "limits",
    "How much is accepted. The nearest level wins: route, site, pool, listener.",
    &[Key::new("request_body", Type::Size, REQUEST_BODY_DOC).inherited("10MiB")],
);

static PORTION: Section = Section::new(
    "portion",
    "A pool's part of a split.",
    &[
        Key::new("to", Type::Text("name of a pool, or HOST:PORT"), "Where to.").required(),
        Key::new("share", Type::Share, "How much of it.").required(),
    ],
);

static CANARY: Section = Section::new(
    "canary",
    "A request goes to the candidate while its client's number, from 0 to 100, is below the share: who has seen the candidate \
     keeps seeing it while the share grows. If the chosen side has no server that may be used, the other one serves, unless that is \
     a candidate that was aborted.",
    &[
        Key::new("stable", Type::Text("name of a pool, or HOST:PORT"), "The version that is known to work.").required(),
        Key::new("candidate", Type::Text("name of a pool, or HOST:PORT"), "The new version.").required(),
        Key::new("share", Type::Share, "The candidate's share, held until somebody changes it. Or:"),
        Key::new(
            "steps",
            Type::List(&Type::Share),
            "The candidate's shares, one after the other, each for `every` at least. They grow, and end with 100%. The next one \
             comes only if both versions had `min_requests` and the candidate does as well as `rollback_if` wants; after the \
             last one, at which it is compared with what the stable version was before, it is promoted.",
        ),
        Key::new("every", Type::Duration, "How long a step takes, and over what time the versions are compared."),
        Key::new(
            "rollback_if",
            Type::Section(&ROLLBACK_IF),
            "When the candidate loses its share: looked at every second, and more often if `every` is short.",
        ),
        Key::new(
            "sticky",
            Type::Section(&COHORT),
            "What gives a client its number. Absent draws one for each request.",
        ),
        Key::new(
            "force",
            Type::Section(&FORCE),
            "Requests that choose for themselves. The comparison leaves them out.",
        ),
    ],
);

static ROLLBACK_IF: Section = Section::new(
    "rollback conditions",
    "Each is a bound for the candidate beside the stable version over the same time, and counts as broken only if chance explains it \
     in less than one of a thousand cases.",
    &[
        Key::new(
            "error_points",
            Type::Share,
            "The candidate's share of errors, 5xx and responses that broke off, is larger than the stable version's by this many \
             percentage points.",
        ),
        Key::new(
            "p99_ratio",
            Type::Decimal(1, 1000),
            "More than 1% of the candidate's requests wait for their response longer than this many times what 99% of the stable \
             version's wait, and by 5ms at least.",
        ),
        Key::new(
            "min_requests",
            Type::Integer(1, 1_000_000_000),
            "Requests of the candidate without which nothing is judged, and of the stable version without which the candidate gets \
             no further.",
        )
        .default("50"),
    ],
);

static COHORT: Section = Section::new(
    "cohort",
    "What gives a client its number. A list is a hash of all of its selectors.",
    &[
        Key::new(
            "by",
            Type::List(&Type::Text("`cookie` or selector")),
            "`cookie`: a signed cookie that lasts thirty days, which servers never see. Or `client_ip`, `header.NAME`, `cookie.NAME` and the \
             like: the same value is the same number in every process; a request that has none of them draws one.",
        )
        .required(),
        Key::new(
            "cookie",
            Type::Text("name of a cookie"),
            "The cookie's name, with `by: cookie`. Absent is one for this listener and route.",
        ),
    ],
)
.short("by");

static FORCE: Section = Section::new(
    "force",
    "A request whose `by` has one of these values goes where they say, unless the canary was aborted.",
    &[
        Key::new(
            "by",
            Type::Text("selector"),
            "What is compared: `header.NAME`, `cookie.NAME`, `query.NAME` and the like.",
        )
        .required(),
        Key::new("candidate", Type::Text("text"), "The value that chooses the candidate."),
        Key::new("stable", Type::Text("text"), "The value that chooses the stable version."),
    ],
);

static REDIRECT: Section = Section::new(
    "redirect",
    "Either `location`, or parts of the request's own URL to change; then path and query are kept. Text stands for `location`.",
    &[
        Key::new(
            "location",
            Type::PathTemplate,
            "A URL or a path. `*` is what the path's `*` matched, `$1` a group. The query is appended unless there is a `?`.",
        ),
        Key::new("scheme", Type::Word(&[live("http"), live("https")]), "The scheme to change to."),
        Key::new("host", Type::Text("host"), "The host to change to."),
        Key::new("port", Type::Integer(1, 65_535), "The port to change to. Absent is the scheme's own if scheme or host change."),
        Key::new("status", Type::Integer(301, 308), "301, 302, 303, 307 or 308.").default("308"),
    ],
)
.short("location");

static RESPOND: Section = Section::new(
    "respond",
    "A number stands for `status`.",
    &[
        Key::new("status", Type::Integer(200, 599), "The status.").default("200"),
        Key::new("body", Type::Text("text"), "The content, `text/plain` in UTF-8 unless `headers` say otherwise."),
        Key::new("headers", Type::Named("field", &Type::Text("text")), "Header fields."),
    ],
)
.short("status");

pub(super) const STATUS: Key = Key::new("status", Type::Integer(400, 599), "The status.").default("403");
pub(super) const REASON: Key = Key::new("reason", Type::Text("text"), "What the answer's body says.");
pub(super) const CONTACT: Key = Key::new(
    "contact",
    Type::Text("text"),
    "Whom people may ask about it: a mail address, a link that begins with `https://`, or words. The answer's body says so.",
);

static DENY: Section = Section::new(
    "deny",
    "A number stands for `status`. With `role: tcp` and `role: udp` a word stands for `flow`.",
    &[
        STATUS,
        REASON,
        CONTACT,
        Key::new(
            "flow",
            Type::Word(&[live("close"), live("reset"), live("drop")]),
            "How a flow is ended: `close` ends a connection like a conversation, `reset` as if nobody listened. `drop`, with `role: udp` \
             alone, says nothing.",
        )
        .default("close"),
    ],
)
.presets(&[
    Preset { word: "close", sets: &[("flow", "close")] },
    Preset { word: "reset", sets: &[("flow", "reset")] },
    Preset { word: "drop", sets: &[("flow", "drop")] },
])
.short("status");
