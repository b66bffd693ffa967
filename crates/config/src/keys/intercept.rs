//! The keys of what is read in tunnels.

use super::{Key, Section, Type, live};

pub(super) static INTERCEPT: Section = Section::new(
    "intercept",
    "TLS that clients speak in tunnels ends here, and what they say are requests like any others: each finds its route by host, path and \
     all. Clients have to trust the authority. The server is spoken with first: what clients are shown has its names, and what is wrong \
     with it is what they are answered. What is not TLS passes as without interception, but for what `inspect` reads.",
    &[
        Key::new("ca", Type::Section(&CA), "The authority that signs what clients are shown; `tidegate ca` makes one.").required(),
        Key::new(
            "except",
            Type::List(&Type::Text("host")),
            "Hosts that nobody reads, as `match.host` has them; a tunnel to one passes untouched. That is the host in `CONNECT`; of a \
             tunnel to an address it is the name in the handshake, too, if that name has this address.",
        ),
        Key::new(
            "upstream_ca",
            Type::Text("file"),
            "Authorities of servers, in PEM, that are believed beside the system's, and servers' own certificates that are signed by themselves. \
             Relative to the file that names it.",
        ),
        Key::new(
            "on_failure",
            Type::Word(&[live("refuse"), live("bypass")]),
            "What becomes of a client that does not believe what it is shown, as programs do that know the certificate of their server: \
             `refuse` lets it fail each time, `bypass` leaves it alone with that host for `bypass_for`. Whoever fails on purpose is not \
             read then.",
        )
        .default("refuse"),
        Key::new("bypass_for", Type::Duration, "How long `on_failure: bypass` lasts.").default("1h"),
    ],
);

pub(super) static INSPECT: Section = Section::new(
    "inspect",
    "A port or a list stands for `ports`. What clients ask in tunnels in plain, by HTTP/1 or HTTP/2, are requests like any others: each finds its \
     route by host, path and all. What is not HTTP passes as without it, and so does TLS unless `intercept` is there.",
    &[Key::new(
        "ports",
        Type::List(&Type::Text("PORT or FROM-TO")),
        "The ports at which tunnels are looked into. They have to be in `egress.connect_ports`, too. Absent means 80.",
    )],
)
.short("ports");

static CA: Section = Section::new(
    "intercept ca",
    "An authority with its key, in PEM. What is signed by it is believed by whoever trusts it, for every name: keep the key as a password.",
    &[
        Key::new(
            "cert",
            Type::Text("file"),
            "Its certificate; behind it those that lead to the one that clients trust, if that is another. Relative to the file that names it.",
        )
        .required(),
        Key::new("key", Type::Text("file"), "Its key, in PKCS#8, SEC1 or PKCS#1 form. Relative to the file that names it.").required(),
    ],
);
