//! The keys of listeners.

use super::intercept::{INSPECT, INTERCEPT};
use super::pool::{
    BACKOFF_KEY, BUDGET, COALESCE, CONNECT, FLOW, HEDGE_KEY, QUEUE_TIMEOUT, REQUEST_BODY_GAP, RESPONSE, RETRIES,
    STREAM, TOTAL, TRY, TUNNEL,
};
use super::route::{
    CANARY_KEY, DENY_KEY, REDIRECT_KEY, REQUEST_BODY_DOC, RESPOND_KEY, ROUTES, SOURCE_DOC, SPLIT, TO, USE,
};
use super::tls::LISTENER_TLS;
use super::{Key, Preset, Section, Type, live};

pub(super) static LISTENER: Section = Section::new(
    "listener",
    "A listener has `routes`, or an ending of its own (which is its only route), or is named by `sites`.",
    &[
        Key::new(
            "role",
            Type::Word(&[live("http"), live("forward"), live("tcp"), live("udp"), live("nat")]),
            "What it is: `http` is a reverse proxy and layer-7 balancer, `forward` a proxy that leads clients to the servers that they name, `tcp` \
             and `udp` are layer-4 balancers: they pass on whatever is said, without reading it, and `nat` is one whose packets are rewritten \
             inside the kernel. Each role has keys of its own; one that another role has is a mistake that says so.",
        )
        .default("http")
        .own(),
        Key::new(
            "bind",
            Type::List(&Type::TextOr("HOST:PORT, :PORT, [v6]:PORT or unix:PATH", &BIND)),
            "Where it listens. `:PORT` is every address of both families, port 0 is one free port for all workers, and a relative \
             socket path is in the `state` folder. With `role: nat` each is `ADDRESS:PORT/tcp` or `ADDRESS:PORT/udp`.",
        )
        .required()
        .own(),
        Key::new(
            "http",
            Type::List(&Type::Word(&[live("h1"), live("h2"), live("h3")])),
            "Versions of HTTP to serve. Under TLS client and listener agree on one in the handshake (ALPN): the newest that both \
             speak; a client that offers only others is refused. Without TLS a client of HTTP/2 has to know that it is served \
             (prior knowledge). `h3` is HTTP/3, by UDP at the same address and port, for listeners with TLS; see `http3`. Absent means \
             `[h1, h2]` under TLS, else `h1`.",
        ),
        Key::new("http3", Type::Section(&HTTP3), "What clients are told of HTTP/3, and let do by it.").filled(),
        Key::new("tls", Type::Section(&LISTENER_TLS), "TLS towards clients, on every address of the listener that does not say otherwise; `off` is none.").own(),
        Key::new("forwarding", Type::Section(&FORWARDING), "What is told about the client, and who is believed.")
            .filled(),
        USE,
        ROUTES,
        TO,
        SPLIT,
        CANARY_KEY,
        REDIRECT_KEY,
        RESPOND_KEY,
        DENY_KEY,
        Key::new("timeouts", Type::Section(&LISTENER_TIMEOUTS), "The farthest level of timeouts.").filled(),
        Key::new("retries", Type::Section(&LISTENER_RETRIES), "The farthest level of retries.").filled(),
        Key::new("limits", Type::Section(&LISTENER_LIMITS), "The farthest level of limits.").filled(),
        Key::new(
            "coalesce",
            Type::Section(&COALESCE),
            "Small pieces of what servers say wait for others, so that clients get fewer and fuller segments.",
        ),
        Key::new("egress", Type::Section(&EGRESS), "What clients may be led to, with `role: forward`.").filled().own(),
        Key::new(
            "open",
            Type::Bool,
            "Whether anybody at all may use a forward proxy at an address that is not loopback. Without it some route has to say which clients.",
        )
        .default("false")
        .own(),
        Key::new(
            "pac",
            Type::Section(&PAC),
            "Serves the file by which browsers find the proxy (PAC), at `/proxy.pac` and `/wpad.dat`. `pac: {}` is enough.",
        )
        .own(),
        Key::new("intercept", Type::Section(&INTERCEPT), "What clients say in tunnels under TLS is read, with an authority of the owner's. Absent means never.")
            .own(),
        Key::new("inspect", Type::Section(&INSPECT), "What clients ask in tunnels in plain is read. Absent means never.").own(),
        Key::new(
            "nat",
            Type::Word(&[live("full"), live("dnat"), live("dsr")]),
            "What of a packet is rewritten: both addresses (`full`: servers see `source`), the destination (`dnat`: servers see the \
             client and must route their answers through this host), or neither (`dsr`: servers on the same network have the \
             listener's address, too, and answer clients by themselves).",
        )
        .default("full")
        .own(),
        Key::new(
            "interfaces",
            Type::List(&Type::Text("name of an interface")),
            "Where packets come and go, towards clients and towards servers; needed with `role: nat`. What one listener says holds for \
             those of all others, too.",
        )
        .own(),
        Key::new(
            "source",
            Type::List(&Type::Text("IP address")),
            "The addresses that servers see, with `nat: full`, and only there: one or more of this host, of the family of `bind`. Each \
             gives some 30,000 flows at a time to each server.",
        )
        .own(),
        Key::new(
            "engine",
            Type::Word(&[live("kernel"), live("auto")]),
            "Who passes packets on: the kernel, or else the start fails; or, with `auto`, this process as a proxy where the kernel cannot, \
             which is said in the log and by the API.",
        )
        .default("kernel")
        .own(),
    ],
);

static BIND: Section = Section::new(
    "bind",
    "One place to listen.",
    &[
        Key::new("address", Type::Text("HOST:PORT, :PORT, [v6]:PORT or unix:PATH"), "The address.").required(),
        Key::new("mode", Type::Text("octal file mode"), "Permissions of a Unix socket, such as `0660`."),
        Key::new(
            "tls",
            Type::Section(&LISTENER_TLS),
            "TLS at this address, whatever the listener says; `off` is none. Absent is as the listener says.",
        ),
        Key::new(
            "accept_proxy",
            Type::Section(&ACCEPT_PROXY),
            "Who says first for whom they come, by the PROXY protocol.",
        ),
        Key::new(
            "transparent",
            Type::Word(&[live("redirect"), live("tproxy")]),
            "Connections come here that were meant for others: by `REDIRECT`, which writes this address in the place of theirs, or by \
             `TPROXY`, which does not. They go on to the address that they were opened to; rules hold for the name in a ClientHello or \
             the host of a request.",
        ),
    ],
);

static ACCEPT_PROXY: Section = Section::new(
    "accept_proxy",
    "A list stands for `from`. Peers in these networks must begin with a header of the PROXY protocol, version 1 or 2, within \
     `timeouts.request_head`; what it says stands for the connection's own addresses. From others it is not taken: to HTTP it is a bad \
     request, and a flow of TCP passes it on.",
    &[Key::new("from", Type::List(&Type::Text("CIDR")), "The networks of proxies and load balancers in front.").required()],
)
.short("from");

static EGRESS: Section = Section::new(
    "egress",
    "Addresses that are private, local, reserved or of this machine are refused, by whatever name they are asked for; so is every address \
     on which this process listens, whatever is allowed.",
    &[
        Key::new(
            "allow",
            Type::List(&Type::Text("CIDR")),
            "Networks that may be connected to although they are not public.",
        ),
        Key::new(
            "connect_ports",
            Type::List(&Type::Text("PORT or FROM-TO")),
            "The ports that tunnels (CONNECT) may go to.",
        )
        .default("443, 8443"),
        Key::new("source", Type::List(&Type::Text("IP address")), SOURCE_DOC),
    ],
);

static PAC: Section = Section::new(
    "pac",
    "Made of the routes: if each of them is for some hosts, these hosts lead to the proxy and all others do without, else every host leads \
     there, whatever becomes of it. Names without a dot, loopback and addresses that are not public do without, unless `egress.allow` has \
     them. Who may use some route gets the file, without credentials.",
    &[
        Key::new(
            "direct",
            Type::List(&Type::Text("host, *.host or CIDR")),
            "Hosts, names below a host, and networks of IPv4 that do without the proxy. A name is not looked up for it.",
        ),
        Key::new(
            "proxy",
            Type::List(&Type::Text("HOST:PORT, http://HOST:PORT, https://HOST:PORT or socks5://HOST:PORT")),
            "The proxies that are named, the first first. Absent means the host and port by which the file was asked for.",
        ),
    ],
);

static HTTP3: Section = Section::new(
    "http3",
    "HTTP/3, where `http` has it. Clients come by TCP first, and learn from `Alt-Svc` in a response that they may come by UDP.",
    &[
        Key::new(
            "advertise",
            Type::Bool,
            "Whether responses by TCP say it: `Alt-Svc: h3=\":443\"; ma=86400`. What servers say there is replaced.",
        )
        .default("true"),
        Key::new(
            "port",
            Type::Integer(1, 65_535),
            "The port that clients are told, where something in front maps it to another. Absent is the one that they came to.",
        ),
        Key::new("max_age", Type::Duration, "How long clients may remember it, in whole seconds.").default("24h"),
        Key::new(
            "early_data",
            Type::Bool,
            "Whether a client that has been here may send a request before its handshake is done (0-RTT). It may be a replay: only \
             GET, HEAD, OPTIONS and TRACE without a body are served so, others are answered 425, and servers are told by \
             `Early-Data: 1`.",
        )
        .default("false"),
    ],
);

static FORWARDING: Section = Section::new(
    "forwarding",
    "From peers outside `trust`, `Forwarded`, `X-Forwarded-*` and `X-Real-IP` are dropped and written anew. The client is the \
     rightmost address that is not trusted. Words: `open` appends the client and writes `Via`, `anonymous` writes only `Via`, \
     `elite` writes nothing, and with `role: forward` servers see what they would see of clients without a proxy.",
    &[
        Key::new(
            "client",
            Type::Word(&[live("append"), live("replace"), live("keep"), live("none")]),
            "`append` the peer to what trusted peers sent, `replace` it by the client alone, `keep` it as it came, or send `none`.",
        )
        .default("append"),
        Key::new("via", Type::Bool, "Whether `Via` is written on requests and responses.").default("true"),
        Key::new(
            "format",
            Type::Word(&[live("x-forwarded"), live("rfc7239"), live("both")]),
            "`X-Forwarded-For`, `-Proto` and `-Host`, or `Forwarded`, or both.",
        )
        .default("x-forwarded"),
        Key::new("trust", Type::List(&Type::Text("CIDR")), "Peers whose word about the client is believed. Absent means none."),
        Key::new(
            "identifying",
            Type::List(&Type::Text("field name, or the beginning of names and `*`")),
            "Further fields that say who asks or by which proxies, and are removed from requests: `[From, X-Client-IP, Proxy-*]`. Absent \
             means, with `client: none`, those that are known (the page about the forward proxy has them in a table), else none.",
        ),
    ],
)
.presets(&[
    Preset { word: "open", sets: &[("client", "append"), ("via", "true")] },
    Preset { word: "anonymous", sets: &[("client", "none"), ("via", "true")] },
    Preset { word: "elite", sets: &[("client", "none"), ("via", "false")] },
]);

static LISTENER_TIMEOUTS: Section = Section::new(
    "listener timeouts",
    "How long things may take. All but `tls_handshake`, `request_head` and `keep_alive` may be set nearer, by pool, site or route.",
    &[
        Key::new("tls_handshake", Type::Duration, "From a connection's first byte to the end of its TLS handshake.")
            .default("10s"),
        Key::new(
            "request_head",
            Type::Duration,
            "From a request's first byte to the end of its head; beyond is 408. With `role: tcp`, how long a client may take to say \
             its first message of TLS where a route asks for it; beyond, the connection is reset.",
        )
            .default("10s"),
        Key::new("keep_alive", Type::Duration, "How long a connection may wait for its next request.").default("75s"),
        REQUEST_BODY_GAP.default("30s"),
        CONNECT.default("5s"),
        QUEUE_TIMEOUT.default("5s"),
        RESPONSE.default("60s"),
        STREAM.default("60s"),
        TOTAL,
        TUNNEL.default("1h"),
        TRY,
        FLOW,
    ],
);

static LISTENER_RETRIES: Section = Section::new(
    "listener retries",
    "When a request is tried again, on another server if there is one: only idempotent methods unless nothing was sent, and \
     never after the first byte of a response.",
    &[RETRIES[0].default("1"), RETRIES[1].default("connect"), BACKOFF_KEY, BUDGET, HEDGE_KEY],
);

static LISTENER_LIMITS: Section = Section::new(
    "listener limits",
    "How much is accepted. `request_body` may be set nearer, by pool, site or route.",
    &[
        Key::new("request_head", Type::Size, "Bytes of a request's head; beyond is 431.").default("64KiB"),
        Key::new("request_line", Type::Size, "Bytes of a request line; beyond is 414.").default("8KiB"),
        Key::new(
            "fields",
            Type::Integer(1, wire::h1::MOST_FIELDS as u64),
            "Header fields of a request; beyond is 431.",
        )
        .default("100"),
        Key::new("request_body", Type::Size, REQUEST_BODY_DOC).default("10MiB"),
        Key::new(
            "handshakes",
            Type::Integer(1, 1_000_000),
            "Handshakes of TLS under way at a time in the process; connections beyond are closed.",
        )
        .default("1000"),
        Key::new(
            "connections",
            Type::Integer(1, 10_000_000),
            "Connections at a time in the process, or flows of UDP. Absent means as many as descriptors allow; all listeners of UDP without it have half of the host's free ports together.",
        ),
    ],
);
