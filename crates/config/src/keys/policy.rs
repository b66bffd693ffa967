//! The keys of policies: one kind each.

use super::{Key, Section, Type};

pub(super) static POLICY: Section = Section::new(
    "policy",
    "A policy is a map with one key, its kind. A policy with a name shares its state among its uses.",
    &[
        Key::new("headers", Type::Section(&HEADERS), "Edits header fields."),
        Key::new("rewrite", Type::Section(&REWRITE), "Changes what the server is asked for."),
        Key::new("mirror", Type::Section(&MIRROR), "Sends copies to servers whose answers nobody sees."),
        Key::planned("api_key"),
        Key::planned("basic_auth"),
        Key::planned("cache"),
        Key::planned("capture"),
        Key::planned("compress"),
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
     `${method}`, `${request_id}`, `${header.NAME}`, `${cookie.NAME}` and `${query.NAME}`. Framing and hop-by-hop fields cannot be \
     edited.",
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
