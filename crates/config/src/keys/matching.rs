//! The keys of `match`.

use super::{Key, Section, Type, live, planned};

/// Whether requests or flows are told apart by a key of this name.
pub(crate) fn is_of_match(name: &str) -> bool {
    MATCH.live().any(|key| key.name == name)
}

pub(super) static MATCH: Section = Section::new(
    "match",
    "All keys must hold; of a list of values, one. A text is exact, `~text` is a regular expression (linear time, unanchored), \
     a map of tests is the long form.",
    &[
        Key::new(
            "host",
            VALUES,
            "The host, in lower case, without port and trailing dot. `*.example.com` is one or more labels, never the apex.",
        ),
        Key::new(
            "path",
            VALUES,
            "The normalized path, without the query. `/a` is exact, `/a/*` is everything below `/a` and `/a` itself. Unreserved \
             escapes are decoded, the others are in upper case, and dot segments are gone, here as in requests.",
        ),
        Key::new("method", VALUES, "The method; case matters."),
        Key::new("header", Type::Named("header", &VALUES), "Header fields by name; any occurrence may match."),
        Key::new("cookie", Type::Named("cookie", &VALUES), "Cookies by name; any occurrence may match."),
        Key::new(
            "query",
            Type::Named("parameter", &VALUES),
            "Parameters of the query by name, decoded; any occurrence may match.",
        ),
        Key::new("client", Type::List(&Type::Text("CIDR")), "Networks of the client, as found through trusted peers."),
        Key::new(
            "kind",
            Type::List(&Type::Word(&[live("http"), live("websocket"), live("tunnel"), live("socks"), live("grpc")])),
            "`websocket` is an upgrade to it, `grpc` a call of gRPC, also in its form for browsers, `tunnel` a CONNECT to a forward proxy, of which only the host, the port and the client are known, `socks` the same asked for in SOCKS, `http` any other request.",
        ),
        Key::new(
            "port",
            Type::List(&Type::Integer(1, 65_535)),
            "The local port on which the request arrived; with `role: forward` the port that is asked for.",
        ),
        Key::new(
            "sni",
            VALUES,
            "The name that the client asked for in its handshake of TLS, written like `host`. Who has asked for none matches only `{ absent: \
             true }`. With `role: tcp` and without `tls` it is read from the client's first message, which is passed on as it came.",
        ),
        Key::new(
            "alpn",
            Type::List(&Type::Word(&[live("h1"), live("h2"), planned("h3")])),
            "The version of HTTP that was agreed on in the handshake of TLS (ALPN). Who has agreed on none matches nothing. With `role: tcp` \
             and without `tls` it is one of those that the client offers.",
        ),
        Key::new(
            "client_cert",
            Type::Section(&CLIENT_CERT),
            "The certificate that the client has shown; both tests must hold.",
        ),
        Key::new(
            "grpc",
            Type::Section(&GRPC),
            "A call of gRPC, also in its form for browsers: a POST whose `Content-Type` says so. Both tests must hold.",
        ),
        Key::new(
            "postgres",
            Type::Section(&POSTGRES),
            "What a client of PostgreSQL says first; both tests must hold. A client that asks for TLS where none ends is told that there is \
             none. Who says something else matches nothing, not under `not` either.",
        ),
        Key::new(
            "mqtt",
            Type::Section(&MQTT),
            "What a client of MQTT (3.1, 3.1.1 and 5) says first. Who says something else matches nothing, not under `not` either.",
        ),
        Key::new("body", Type::Section(&BODY), "The request's body, read only when everything else holds."),
        Key::new("any", Type::List(&Type::Section(&MATCH)), "One of these matches."),
        Key::new("not", Type::Section(&MATCH), "This does not match."),
        Key::new(
            "user",
            VALUES,
            "The user who asks, where `use` of the listener finds that out. Elsewhere it cannot be known, and matches nothing, not under `not` \
             either.",
        ),
        Key::new("group", VALUES, "A group of that user; any of them may match. `{ present: true }` is any group."),
        Key::new("time", Type::List(&Type::Section(&TIME)), "When the request came, or the tunnel or flow began."),
        Key::new(
            "url",
            Type::Section(&URL),
            "The whole of what is asked for: scheme, host, path, query, who asks and what for. Of a tunnel only the host is known.",
        ),
        Key::planned("graphql"),
        Key::planned("when"),
    ],
);

pub(super) const VALUES: Type = Type::List(&Type::TextOr("text or ~regex", &VALUE));

static VALUE: Section = Section::new(
    "value",
    "Tests of one text; all must hold. `present` and `absent` stand alone, and only where something may be absent.",
    &[
        Key::new("exact", Type::Text("text"), "It is this."),
        Key::new("prefix", Type::Text("text"), "It begins so."),
        Key::new("suffix", Type::Text("text"), "It ends so."),
        Key::new("contains", Type::Text("text"), "This is in it."),
        Key::new("regex", Type::Text("regex"), "This regular expression matches somewhere in it."),
        Key::new("present", Type::Bool, "Whether there is one at all."),
        Key::new("absent", Type::Bool, "Whether there is none."),
        Key::new(
            "case",
            Type::Word(&[live("ignore")]),
            "`ignore` makes upper and lower case of ASCII letters the same.",
        ),
        Key::new(
            "list",
            Type::List(&Type::Text("name")),
            "It is on one of these `lists`. Stands alone, and only in `host` and `sni`; exceptions of any of them count for all.",
        ),
    ],
);

static URL: Section = Section::new(
    "url match",
    "What is looked for in lists by all that is known of a request.",
    &[Key::new(
        "list",
        Type::List(&Type::Text("name")),
        "It is on one of these `lists`. Exceptions of any of them count for all. What a rule asks beyond the host never matches a \
         tunnel, nor does `not` of it; a tunnel whose client asks for another name by TLS (SNI) is looked for by that name as well, and \
         closed where this denies it.",
    )
    .required()],
);

static CLIENT_CERT: Section = Section::new(
    "client certificate match",
    "The certificate that the client has shown. One that `tls.client_cert` does not believe has never come so far.",
    &[
        Key::new("present", Type::Bool, "Whether it has shown one."),
        Key::new(
            "fingerprint",
            Type::List(&Type::Text("SHA-256")),
            "SHA-256 of the certificate in DER: 64 hexadecimal digits, colons between pairs or not.",
        ),
    ],
);

static TIME: Section = Section::new(
    "time",
    "Hours of days; both must hold.",
    &[
        Key::new("days", Type::List(&Type::Text("day or FROM-TO")), "`mon`, `tue`, `wed`, `thu`, `fri`, `sat`, `sun`, or from one to another: `mon-fri`. Absent is every day."),
        Key::new("hours", Type::List(&Type::Text("HH:MM-HH:MM")), "From a minute up to another: `09:00-17:00`, `00:00-24:00`. What ends before it begins ends on the next day, and is of the day on which it begins. Absent is the whole day."),
        Key::new("zone", Type::Text("zone"), "Where the clock hangs: `UTC`, an offset such as `+01:00`, or a name of the IANA database such as `Europe/Berlin`, whose rules are inside of the program.").default("UTC"),
    ],
);

static GRPC: Section = Section::new(
    "grpc match",
    "What is called. `kind: grpc` is any call.",
    &[
        Key::new("service", VALUES, "The service with its package: `helloworld.Greeter`."),
        Key::new("method", VALUES, "The method: `SayHello`."),
    ],
);

static POSTGRES: Section = Section::new(
    "postgres match",
    "Who a client of PostgreSQL wants to be.",
    &[
        Key::new("user", VALUES, "The user."),
        Key::new("database", VALUES, "The database; it is called like the user if the client names none."),
    ],
);

static MQTT: Section = Section::new(
    "mqtt match",
    "Who a client of MQTT says it is.",
    &[Key::new("client_id", VALUES, "The identifier that it gives itself.").required()],
);

static BODY: Section = Section::new(
    "body",
    "All tests must hold. What is read is forwarded as it came. A wrong encoding, duplicate members or invalid UTF-8 is no match.",
    &[
        Key::new(
            "json",
            Type::Named("place", &VALUES),
            "Values of a JSON document by their place, such as `$.customer.tier` or `$.items[0]`.",
        ),
        Key::new("form", Type::Named("field", &VALUES), "Fields of a form by name."),
        Key::new("text", VALUES, "The whole body as text."),
        Key::new("limit", Type::Size, "How many bytes are read to decide.").default("64KiB"),
        Key::new(
            "over_limit",
            Type::Word(&[live("no_match"), live("reject")]),
            "What a longer body means: the route does not match, or 413.",
        )
        .default("no_match"),
    ],
);
