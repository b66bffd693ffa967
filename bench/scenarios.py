"""What is asked of every proxy, and which figure counts."""

from dataclasses import dataclass

KIB, MIB = 1024, 1024 * 1024


@dataclass(frozen=True)
class Cost:
    """The figure by which proxies are compared; lower is better."""

    title: str
    digits: int


PER_REQUEST = Cost("CPU us/request", 2)
PER_GB = Cost("CPU s/GB (10^9)", 3)
PER_CONNECTION = Cost("RSS bytes/connection", 0)
PER_TUNNEL = Cost("CPU us/tunnel", 2)


@dataclass(frozen=True)
class Scenario:
    about: str
    cost: Cost = PER_REQUEST
    body: int = KIB
    connections: int = 64
    fields: int = 9
    splice: bool = False
    close: bool = False
    routes: int = 0
    """With routes, each proxy is compared with itself having one route."""
    fresh: bool = False
    """Whether each measurement starts a proxy of its own."""
    tls: bool = False
    version: str = "h1"
    """What clients speak: h1, or h2 or h3 with so many streams on each connection."""
    streams: int = 1
    flows: bool = False
    """Whether proxies pass on what is said without reading it (TCP)."""
    datagrams: bool = False
    """Whether proxies pass on datagrams without reading them (UDP)."""
    forward: str = ""
    """How a forward proxy is asked for the server: by a `url`, for a `tunnel` to it, or to `intercept` the TLS in such a tunnel."""
    upstream: str = "h1"
    """What servers are spoken to by: h1, or h2 without TLS, by prior knowledge."""


SCENARIOS = {
    "small9": Scenario("1 KiB bodies, keep-alive, the nine request fields of a browser"),
    "small1": Scenario("1 KiB bodies, keep-alive, Host alone", fields=1),
    "big": Scenario("1 MiB bodies, spliced where a proxy can", cost=PER_GB, body=MIB, connections=16, splice=True),
    "big-copy": Scenario("1 MiB bodies, copied", cost=PER_GB, body=MIB, connections=16),
    "close": Scenario("1 KiB bodies, a connection per request", close=True),
    "idle": Scenario("5,000 idle connections, each served once", cost=PER_CONNECTION, connections=5000, fresh=True),
    "tls": Scenario("1 KiB bodies over TLS 1.3, keep-alive, the nine request fields of a browser", tls=True),
    "tls-big": Scenario("1 MiB bodies over TLS 1.3", cost=PER_GB, body=MIB, connections=16, tls=True),
    "handshakes": Scenario("1 KiB bodies, a full handshake (X25519, ECDSA P-256) per request", close=True, tls=True),
    "tls-idle": Scenario(
        "2,000 idle TLS connections, each served once", cost=PER_CONNECTION, connections=2000, fresh=True, tls=True
    ),
    "h2": Scenario(
        "1 KiB bodies over HTTP/2 and TLS 1.3, 10 connections of 32 streams",
        connections=10,
        streams=32,
        tls=True,
        version="h2",
    ),
    "h2c": Scenario(
        "1 KiB bodies over HTTP/2 without TLS, by prior knowledge, 10 connections of 32 streams",
        connections=10,
        streams=32,
        version="h2",
    ),
    "h3": Scenario(
        "1 KiB bodies over HTTP/3, 10 connections of 32 streams", connections=10, streams=32, tls=True, version="h3"
    ),
    "h3-big": Scenario(
        "1 MiB bodies over HTTP/3, 16 connections", cost=PER_GB, body=MIB, connections=16, tls=True, version="h3"
    ),
    "h3-handshakes": Scenario(
        "1 KiB bodies over HTTP/3, a full handshake (X25519, ECDSA P-256) per request", close=True, tls=True, version="h3"
    ),
    "h3-idle": Scenario(
        "1,000 idle HTTP/3 connections, each served once",
        cost=PER_CONNECTION,
        connections=1000,
        fresh=True,
        tls=True,
        version="h3",
    ),
    "h2-upstream": Scenario(
        "1 KiB bodies, keep-alive, nine fields, from servers that are spoken to by HTTP/2 without TLS", upstream="h2"
    ),
    "tcp": Scenario("1 KiB answers over kept flows of TCP that nobody reads", flows=True),
    "tcp-close": Scenario("a flow of TCP for each answer of 1 KiB", flows=True, close=True),
    "tcp-big": Scenario(
        "1 MiB answers over flows of TCP, spliced where a proxy can",
        flows=True,
        cost=PER_GB,
        body=MIB,
        connections=16,
        splice=True,
    ),
    "tcp-idle": Scenario(
        "5,000 idle flows of TCP, each used once", flows=True, cost=PER_CONNECTION, connections=5000, fresh=True
    ),
    "udp": Scenario("questions of 40 bytes and answers of 120 over 64 kept flows of UDP", datagrams=True, body=120),
    "forward": Scenario("1 KiB bodies by their whole URL, keep-alive, the nine request fields of a browser", forward="url"),
    "connect": Scenario("a tunnel (CONNECT) for each answer of 1 KiB", cost=PER_TUNNEL, forward="tunnel", close=True),
    "connect-big": Scenario(
        "1 MiB answers over 16 kept tunnels, spliced where a proxy can",
        cost=PER_GB,
        body=MIB,
        connections=16,
        splice=True,
        forward="tunnel",
    ),
    "intercept": Scenario(
        "1 KiB bodies over TLS inside of kept tunnels that the proxy reads, the nine request fields of a browser",
        forward="intercept",
    ),
    "intercept-handshakes": Scenario(
        "a tunnel that the proxy reads, with a full handshake (X25519, ECDSA P-256), for each answer of 1 KiB",
        cost=PER_TUNNEL,
        forward="intercept",
        close=True,
    ),
    "routes": Scenario("1,000 routes by host and path, all of them asked for, against one route", routes=1000),
}
