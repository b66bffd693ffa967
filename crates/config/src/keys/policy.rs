//! The keys of policies: one kind each.

use super::filter::FILTER;
use super::users::{BASIC_AUTH, BEARER_AUTH, CERT_AUTH};
use super::{Key, Section, Type, live};

pub(super) static POLICY: Section = Section::new(
    "policy",
    "A policy is a map with one key, its kind. A policy with a name shares its state among its uses.",
    &[
        Key::new("headers", Type::Section(&HEADERS), "Edits header fields."),
        Key::new("rewrite", Type::Section(&REWRITE), "Changes what the server is asked for."),
        Key::new("mirror", Type::Section(&MIRROR), "Sends copies to servers whose answers nobody sees."),
        Key::new("compress", Type::Section(&COMPRESS), "Compresses responses for clients that ask for it."),
        Key::new("bandwidth", Type::Section(&BANDWIDTH), "Limits how fast bodies and tunnels go, by client or user."),
        Key::new("quota", Type::Section(&QUOTA), "Limits how much goes through in a day, a month or another period, by user or client."),
        Key::new("capture", Type::Section(&CAPTURE), "Writes requests and responses into an archive that browsers open."),
        Key::new(
            "grpc_web",
            Type::Section(&GRPC_WEB),
            "Lets browsers call servers of gRPC: translates gRPC-Web, also as text, to plain gRPC and back. What is no such call \
             passes as it is.",
        ),
        Key::new("filter", Type::Section(&FILTER), "Refuses responses by their type, their size, or words in them."),
        Key::new("privacy", Type::Section(&PRIVACY), "Tells servers less of who asks."),
        Key::new("basic_auth", Type::Section(&BASIC_AUTH), "Lets in who has a name and a password."),
        Key::new("bearer_auth", Type::Section(&BEARER_AUTH), "Lets in who has a token."),
        Key::new("cert_auth", Type::Section(&CERT_AUTH), "Lets in who has shown a certificate."),
        Key::planned("api_key"),
        Key::planned("cache"),
        Key::planned("cors"),
        Key::planned("forward_auth"),
        Key::planned("jwt"),
        Key::planned("rate_limit"),
    ],
)
.choice();

static HEADERS: Section = Section::new(
    "headers",
    "Edits of the fields of requests and responses.",
    &[
        Key::new("request", Type::Section(&EDITS), "On the way to the server."),
        Key::new("response", Type::Section(&EDITS), "On the way back."),
    ],
);

static EDITS: Section = Section::new(
    "edits",
    "In this order: `remove`, `set`, `add`, `default`. Values may hold `${client_ip}`, `${peer_ip}`, `${host}`, `${path}`, \
     `${method}`, `${request_id}`, `${user}`, `${group}`, `${header.NAME}`, `${cookie.NAME}` and `${query.NAME}`. Framing and hop-by-hop fields cannot be \
     edited. What clients say themselves in a field that is set for servers by `${user}` or `${group}` is dropped, on every listener.",
    &[
        Key::new("remove", Type::List(&Type::Text("field name")), "Fields that go."),
        Key::new("set", Type::Named("field", &Type::Template), "Fields that have exactly this value."),
        Key::new("add", Type::Named("field", &Type::Template), "Fields that get one more line."),
        Key::new("default", Type::Named("field", &Type::Template), "Fields that are set if they are not there."),
    ],
);

static REWRITE: Section = Section::new(
    "rewrite",
    "The path that the server sees; what was matched stays what it was.",
    &[Key::new(
        "path",
        Type::PathTemplate,
        "The new path. `*` is what the path's `*` matched, `$1` a group. The query is kept unless there is a `?`.",
    )
    .required()],
);

static COMPRESS: Section = Section::new(
    "compress",
    "Content is coded last, when policies are through with the response, and flushed whenever the server makes a pause. Content \
     stays as it is if it is coded already, a part (206) or bound to its bytes by a digest, with `Cache-Control: no-transform` \
     from either side, and for HTTP/1.0. Of several levels the nearest wins.",
    &[
        Key::new(
            "codings",
            Type::List(&Type::Word(&[live("zstd"), live("br"), live("gzip")])),
            "The codings that there are. The client's weights decide, and between equal ones this order.",
        )
        .default("zstd, br, gzip"),
        Key::new("levels", Type::Section(&LEVELS), "How hard each of them tries.").filled(),
        Key::new("min_size", Type::Size, "Content that is known to be shorter stays as it is.").default("1KiB"),
        Key::new(
            "types",
            Type::List(&Type::Text("media type")),
            "What content has to be: `text/html`, `text/*`, `application/*+json`. `text/*` leaves out `text/event-stream`, whose \
             streams would hold an encoder each for as long as somebody listens; it is compressed if it is named.",
        )
        .default(
            "text/*, application/json, application/*+json, application/xml, application/*+xml, application/javascript, \
             application/x-javascript, application/x-ndjson, application/wasm, application/vnd.ms-fontobject, font/otf, font/ttf, \
             image/svg+xml, image/bmp, image/x-icon, image/vnd.microsoft.icon",
        ),
        Key::new(
            "offload",
            Type::Bool,
            "Whether servers are asked to leave it to us: they see `Accept-Encoding: identity`. Else they see what the client says, \
             and what they have coded stays.",
        )
        .default("false"),
        Key::new(
            "at_once",
            Type::Integer(1, 65_535),
            "Responses that the process has under way into a coding, for each of which up to 1.5 MiB is held; others go as they are.",
        )
        .default("256"),
    ],
);

static LEVELS: Section = Section::new(
    "levels",
    "The highest are those whose work can be cut into pieces of less than a millisecond.",
    &[
        Key::new("zstd", Type::Integer(1, 7), "Zstandard's.").default("3"),
        Key::new("br", Type::Integer(1, 5), "Brotli's.").default("4"),
        Key::new("gzip", Type::Integer(1, 9), "gzip's.").default("5"),
    ],
);

static GRPC_WEB: Section = Section::new("grpc_web", "It has no keys: `{ grpc_web: {} }`.", &[]);

static PRIVACY: Section = Section::new(
    "privacy",
    "What servers learn from fields that browsers send of themselves. Addresses and proxies are what `forwarding` is about.",
    &[
        Key::new(
            "referer",
            Type::Word(&[live("keep"), live("origin"), live("same_origin"), live("origin_when_cross_origin"), live("remove")]),
            "The page before, by the policies of Referrer Policy: as it came; its origin (scheme, host and port) alone; to its own origin as it \
             came, and nothing to others; the same, and its origin to others; nothing. By all but `keep` nothing of a page under TLS is \
             told in plain.",
        )
        .default("keep"),
        Key::new(
            "cookies",
            Type::Word(&[live("keep"), live("first_party"), live("remove")]),
            "`Cookie` and `Set-Cookie`: all; those of pages of the same site, by `Sec-Fetch-Site` or else by a `Referer` whose host is the \
             one that is asked, or above or below it; or none.",
        )
        .default("keep"),
        Key::new(
            "user_agent",
            Type::Text("keep, remove, or what it is"),
            "What `User-Agent` is. With anything but `keep` the hints that say the same (`Sec-CH-UA*`) are removed.",
        )
        .default("keep"),
    ],
);

static BANDWIDTH: Section = Section::new(
    "bandwidth",
    "Those who are told apart by `by` have so many bytes a second each, over all workers and all that they do at once. Heads, answers \
     made here and datagrams are not counted. Of several levels the nearest wins; a named policy keeps its counts over reloads. Text \
     stands for `rate`.",
    &[
        Key::new("rate", Type::Text("SIZE/s"), "How fast: `1MiB/s`.").required(),
        Key::new(
            "burst",
            Type::Size,
            "So much may go at once after a silence. By default what passes in a quarter of a second, 16KiB at least.",
        ),
        Key::new(
            "by",
            Type::List(&Type::Text("selector")),
            "Who shares it: the first of these that a request has, else the client's address.",
        )
        .default("client_ip"),
        Key::new(
            "direction",
            Type::Word(&[live("both"), live("in"), live("out")]),
            "Which bodies are counted: from clients (`in`), to them (`out`), or both together.",
        )
        .default("both"),
    ],
)
.short("rate");

static QUOTA: Section = Section::new(
    "quota",
    "Those who are told apart by `by` have so many bytes and requests each in a period, over all workers, reloads and restarts. Counted are \
     bodies, tunnels and datagrams, without heads, and requests that a route leads to a server; answers made here are not. All quotas of all \
     levels hold. A named policy is one for all its uses; an inline one is known by the listener, site or named route that it stands in.",
    &[
        Key::new("bytes", Type::Size, "So many bytes."),
        Key::new("requests", Type::Integer(1, 1_000_000_000_000), "So many requests; a tunnel is one, and so is each server that an association of SOCKS leads to."),
        Key::new(
            "per",
            Type::Text("hour, day, week, month or a duration"),
            "The period: by the calendar (`hour`, `day`, `week` from Monday on, `month`), or a duration such as `30d` that begins with the first \
             request of each.",
        )
        .required(),
        Key::new(
            "zone",
            Type::Text("zone"),
            "Where the calendar's clock hangs: `UTC`, an offset such as `+01:00`, or a name such as `Europe/Berlin`. Without it `UTC`.",
        ),
        Key::new(
            "by",
            Type::List(&Type::Text("selector")),
            "Who has it: the first of these that a request has, else the client's address. Addresses of IPv6 count by their network, `/64`.",
        )
        .default("client_ip"),
        Key::new(
            "direction",
            Type::Word(&[live("both"), live("in"), live("out")]),
            "Which bytes are counted: from clients (`in`), to them (`out`), or both together.",
        )
        .default("both"),
        Key::new(
            "running",
            Type::Word(&[live("cut"), live("finish")]),
            "What becomes of transfers and tunnels under way when the bytes are used up: they are cut, or go on to their end and are counted.",
        )
        .default("cut"),
        Key::new("deny", Type::Integer(400, 599), "The status by which requests are refused then, with `Retry-After`.").default("429"),
    ],
);

static CAPTURE: Section = Section::new(
    "capture",
    "Requests as clients send them and responses as clients get them, in the format HAR 1.2, with their times, and of tunnels and \
     WebSockets that they were. The file is for its owner alone, and a whole document after each write. What there is no room for \
     is left out and counted. Of several levels the nearest wins. Text stands for `har`.",
    &[
        Key::new("har", Type::Text("file"), "The archive; a relative path is in the `state` folder. One that is there is gone on with.")
            .required(),
        Key::new(
            "bodies",
            Type::Size,
            "So much of each body is kept, from its beginning, 16MiB at most. Large bodies go through no pipe until so much has passed.",
        )
        .default("0B"),
        Key::new("max_size", Type::Size, "When the archive would be larger, it gets a number (`traffic.1.har`) and another begins.")
            .default("64MiB"),
        Key::new("keep", Type::Integer(0, 1000), "So many archives with numbers are kept.").default("4"),
        Key::new("redact", Type::Section(&REDACT), "Whose values are written as `[redacted]`.").filled(),
    ],
)
.short("har");

static REDACT: Section = Section::new(
    "redact",
    "Names of fields and parameters, in any case. Bodies are written as they are, but for the parameters of forms. A list stands for \
     `fields`.",
    &[
        Key::new("fields", Type::List(&Type::Text("field name")), "Fields of requests and responses, besides the usual ones."),
        Key::new(
            "parameters",
            Type::List(&Type::Text("parameter")),
            "Parameters of queries, also in `Referer` and `Location`, and of forms, besides the usual ones.",
        ),
        Key::new(
            "usual",
            Type::Bool,
            "Whether to redact, too: `Authorization`, `Proxy-Authorization`, `Authentication-Info`, `Proxy-Authentication-Info`, `Cookie`, \
             `Set-Cookie`, `X-Api-Key`, `X-Auth-Token`; `access_token`, `api_key`, `apikey`, `client_secret`, `id_token`, `password`, \
             `refresh_token`, `token`.",
        )
        .default("true"),
    ],
)
.short("fields");

static MIRROR: Section = Section::new(
    "mirror",
    "A copy is what the servers of the route are sent, with its body, and goes out when the request has been answered: it can \
     neither hold it up nor change it. Copies that are dropped are counted. Text stands for `to`.",
    &[
        Key::new("to", Type::Text("name of a pool, or HOST:PORT"), "Where copies go. The pool's `host` decides what Host they have.")
            .required(),
        Key::new("share", Type::Share, "How many requests are copied.").default("100%"),
        Key::new("limit", Type::Size, "Bytes of a body; a request with a longer one is not copied.").default("1MiB"),
        Key::new(
            "at_once",
            Type::Integer(1, 65_535),
            "Copies that the process holds at a time, those of requests under way included; beyond that none is made.",
        )
        .default("64"),
        Key::new("timeout", Type::Duration, "How long a copy may take in all.").default("10s"),
    ],
)
.short("to");
