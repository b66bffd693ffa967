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


SCENARIOS = {
    "small9": Scenario("1 KiB bodies, keep-alive, the nine request fields of a browser"),
    "small1": Scenario("1 KiB bodies, keep-alive, Host alone", fields=1),
    "big": Scenario("1 MiB bodies, spliced where a proxy can", cost=PER_GB, body=MIB, connections=16, splice=True),
    "big-copy": Scenario("1 MiB bodies, copied", cost=PER_GB, body=MIB, connections=16),
    "close": Scenario("1 KiB bodies, a connection per request", close=True),
    "idle": Scenario("5,000 idle connections, each served once", cost=PER_CONNECTION, connections=5000, fresh=True),
    "routes": Scenario("1,000 routes by host and path, all of them asked for, against one route", routes=1000),
}
