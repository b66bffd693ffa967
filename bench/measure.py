"""One run: a backend, proxies in front of it, and measurements of one proxy at a time."""

import http.client
import json
import os
import resource
import shutil
import socket
import ssl
import subprocess
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import clients
import machine
from clients import LOAD, Unfit
from machine import FEEDER_CPU, PROXY_CPU, Daemon, pinned
from peers import Peer
from scenarios import PER_GB, Scenario
from template import render

HERE = Path(__file__).resolve().parent
OUT = HERE / "out"
GIB_IN_GB = 1024**3 / 10**9


@dataclass(frozen=True)
class Contestant:
    """A proxy with a number of routes; zero is one route for everything."""

    peer: Peer
    routes: int = 0

    @property
    def name(self) -> str:
        return f"{self.peer.name}/{self.routes}" if self.routes else self.peer.name


class Run:
    def __init__(self, scenario: Scenario, logs: bool, seconds: float, folder: Path, stack: ExitStack):
        self.scenario = scenario
        self.logs = logs
        self.seconds = seconds
        self.folder = folder
        self.stack = stack
        self.proxies: dict[str, Proxy] = {}
        self.backend_port = machine.free_port()
        self.intercepts = scenario.forward == "intercept"
        if scenario.tls:
            make_certificate(folder)
        elif self.intercepts:
            make_authorities(folder)
        command = [str(LOAD), "backend", "--bind", f"127.0.0.1:{self.backend_port}", "--body", str(scenario.body)]
        secured = ["--tls", str(folder)] if self.intercepts else []
        self.backend = Daemon([*command, *secured], FEEDER_CPU, folder / "backend.log", {})
        stack.callback(self.backend.stop)
        wait_until(self.backend, lambda: self.backend_stats())
        self.names = None
        if scenario.datagrams:
            command = [str(LOAD), "udp-backend", *command[2:]]
            self.names = Daemon(command, FEEDER_CPU, folder / "udp-backend.log", {})
            stack.callback(self.names.stop)

    def enter(self, contestant: Contestant) -> None:
        """Proves that the proxy does its work, and keeps it running unless each measurement has its own."""
        peer, version = contestant.peer, self.scenario.version
        if version not in peer.speaks:
            raise Unfit(f"it does not speak {version}")
        if self.scenario.flows and not peer.flows:
            raise Unfit("there is no configuration for flows of TCP")
        if self.scenario.datagrams and not peer.datagrams:
            raise Unfit("there is no configuration for flows of UDP")
        if self.scenario.forward and self.scenario.forward not in peer.forward:
            raise Unfit(f"it cannot be asked for a server by {self.scenario.forward}, or not again on one connection")
        if not (self.scenario.forward or peer.reverse):
            raise Unfit("it is measured as a forward proxy alone")
        if self.scenario.upstream not in peer.upstream:
            raise Unfit(f"it does not speak {self.scenario.upstream} with servers")
        proxy = Proxy(contestant, self)
        try:
            proxy.prove()
            if not self.scenario.fresh:
                self.load(proxy, seconds=0.5)
                self.proxies[contestant.name] = proxy
        finally:
            if contestant.name not in self.proxies:
                proxy.stop()

    def measure(self, contestant: Contestant) -> dict:
        if not self.scenario.fresh:
            return self.measure_load(self.proxies[contestant.name])
        proxy = Proxy(contestant, self)
        try:
            return self.measure_idle(proxy)
        finally:
            proxy.stop()

    def measure_load(self, proxy: "Proxy") -> dict:
        proxy.forget_log()
        accepted = self.backend_stats()["accepted"]
        cpu, feeders, busy = proxy.cpu_seconds(), self.feeder_seconds(), machine.busy_seconds((PROXY_CPU, FEEDER_CPU))
        result = self.load(proxy, self.seconds)
        cpu = proxy.cpu_seconds() - cpu
        feeders = self.feeder_seconds() - feeders
        busy = machine.busy_seconds((PROXY_CPU, FEEDER_CPU)) - busy
        if not result["requests"]:
            raise Unfit(f"no request was served: {proxy.last_words()}")
        if self.scenario.cost is PER_GB:
            result["cost"] = cpu / (result["bytes"] / 1e9)
            result["cpu_s_per_gib"] = result["cost"] * GIB_IN_GB
        else:
            result["cost"] = cpu / result["requests"] * 1e6
        result["proxy_core"] = cpu / result["seconds"]
        result["feeder_core"] = feeders / result["seconds"]
        result["others"] = max(0.0, busy - cpu - feeders) / result["seconds"]
        result["backend_connections"] = self.backend_stats()["accepted"] - accepted
        if proxy.counts_lines():
            result["log_lines_per_request"] = proxy.log_lines(result["requests"]) / result["requests"]
        return result

    def measure_idle(self, proxy: "Proxy") -> dict:
        """Growth after a warm-up that is over, so that neither start-up nor the peak of a load counts."""
        self.load(proxy, seconds=1)
        time.sleep(1)
        before = proxy.memory_bytes()
        wanted = self.scenario.connections
        command = [str(LOAD), "idle", "--to", proxy.address, "--body", str(self.scenario.body)]
        command += ["--connections", str(wanted)]
        command += ["--h3"] if self.scenario.version == "h3" else ["--tls"] if self.scenario.tls else []
        holder = subprocess.Popen(
            pinned(FEEDER_CPU, command), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True
        )
        try:
            held = json.loads(holder.stdout.readline() or "{}")
            time.sleep(2)
            growth = proxy.memory_bytes() - before
            end, _ = holder.communicate()
        finally:
            holder.kill()
            holder.wait()
        still_open = json.loads(end or "{}").get("still_open", 0)
        if still_open < wanted:
            raise Unfit(f"{still_open} of {wanted} connections were still open: {held}, {proxy.last_words()}")
        return {"cost": growth / wanted, "requests": wanted, "errors": held["errors"], "baseline_bytes": before}

    def load(self, proxy: "Proxy", seconds: float) -> dict:
        server = f"127.0.0.1:{self.backend_port}"
        command = clients.command(self.scenario, proxy.address, proxy.contestant.routes, seconds, server)
        before = children_seconds()
        child = subprocess.Popen(
            pinned(FEEDER_CPU, command), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True, start_new_session=True
        )
        try:
            said, _ = child.communicate(timeout=seconds + 30)
        finally:
            child.kill()
            child.wait()
        if not said:
            raise Unfit("the load generator failed")
        if not command[0].endswith("h2load"):
            return json.loads(said)
        result = clients.said_by_h2load(said, self.scenario)
        return result | {"client_us": (children_seconds() - before) / max(1, result["requests"]) * 1e6}

    def feeder_seconds(self) -> float:
        names = self.names.cpu_seconds() if self.names else 0.0
        return self.backend.cpu_seconds() + names + children_seconds()

    def backend_stats(self) -> dict:
        return json.loads(get(self.backend_port, "/stats", tls=self.intercepts)[1])


class Proxy(Daemon):
    def __init__(self, contestant: Contestant, run: Run):
        self.contestant = contestant
        self.logs = run.logs
        self.tls, self.version, self.upstream = run.scenario.tls, run.scenario.version, run.scenario.upstream
        self.unread = run.scenario.flows or run.scenario.datagrams
        self.reads = not self.unread and run.scenario.forward != "tunnel"
        self.datagrams, self.body = run.scenario.datagrams, run.scenario.body
        self.forward, self.backend_port = run.scenario.forward, run.backend_port
        self.lasts = run.scenario.forward == "tunnel" and not run.scenario.close
        self.own = run.folder / "own.pem"
        self.folder = run.folder / contestant.name.replace("/", "-")
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir()
        self.port, self.metrics_port = machine.free_port(), machine.free_port()
        self.address = f"127.0.0.1:{self.port}"
        peer = contestant.peer
        output = self.folder / "output.log"
        self.access_log = output if peer.log == "output" else self.folder / "access.log"
        if peer.log == "memory":
            self.access_log = Path(f"/dev/shm/bench-{self.port}.log")
            run.stack.callback(self.access_log.unlink, missing_ok=True)
        scope = self.scope(run)
        for template in peer.templates:
            (self.folder / Path(template).name).write_text(render((HERE / "peers" / template).read_text(), scope))

        places = {"dir": self.folder, "address": self.address, "backend": f"127.0.0.1:{run.backend_port}"}
        places |= {"folder": run.folder, "port": self.port}
        places |= {"config": self.folder / Path(template).name for template in peer.templates[:1]}
        arguments = [*peer.arguments, *(peer.secured if self.tls else ()), *(peer.for_datagrams if self.datagrams else ())]
        if peer.prepare:
            done = subprocess.run([word.format(**places) for word in peer.prepare], capture_output=True, text=True, check=False)
            if done.returncode:
                raise Unfit(f"{peer.prepare[0]} says: {(done.stdout + done.stderr)[-300:].strip()}")
        if peer.user and os.geteuid() == 0:
            run.folder.chmod(0o711)
            for place in [self.folder, *self.folder.rglob("*")]:
                shutil.chown(place, peer.user)
        command = [str(peer.find()), *(argument.format(**places) for argument in arguments)]
        environment = {name: value.format(**places) for name, value in peer.environment.items()}
        super().__init__(command, PROXY_CPU, output, environment)
        run.stack.callback(self.stop)

    def scope(self, run: Run) -> dict:
        """What the templates may ask for."""
        peer, routes = self.contestant.peer, self.contestant.routes
        hosts = [
            {"host": f"h{host:03}.example.com", "paths": [{"path": f"p{path}"} for path in range(min(10, routes))]}
            for host in range((routes + 9) // 10)
        ]
        return {
            **{"dir": self.folder, "port": self.port, "metrics": self.metrics_port, "backend": run.backend_port},
            **{"logs": run.logs, "silent": not run.logs, "access_log": self.access_log},
            **{"log_output": run.logs and peer.log == "output", "log_ring": run.logs and peer.log == "ring"},
            **{"splice": run.scenario.splice, "copy": not run.scenario.splice, "big": run.scenario.body > 2**16},
            **{"routes": routes, "plain": not (routes or self.forward), "hosts": hosts, "forward": self.forward},
            **{"intercept": run.intercepts, "unbumped": not run.intercepts, "out": OUT},
            **{"tls": run.scenario.tls, "clear": not run.scenario.tls, "folder": run.folder},
            **{"h1": run.scenario.version == "h1", "h2": run.scenario.version == "h2", "h3": run.scenario.version == "h3"},
            **{"h2c": run.scenario.version == "h2" and not run.scenario.tls},
            **{"flows": run.scenario.flows, "datagrams": run.scenario.datagrams},
            **{"unread": self.unread, "requests": not self.unread},
            **{"to_h1": run.scenario.upstream == "h1", "to_h2": run.scenario.upstream == "h2"},
        }

    def prove(self) -> None:
        """A request passes, names its client and is logged, metrics are there, routes are the only way through."""
        wait_until(self, lambda: self.echo())
        if not self.contestant.peer.proxy:
            return
        if self.datagrams:
            pass
        elif self.unread or self.forward == "tunnel":
            if "x-forwarded-for" in self.echo().lower():
                raise Unfit("it reads what it should pass on")
        elif self.forward == "intercept":
            # That it reads is proven by the certificate, which the client has believed. That it looks at the server's is not.
            if self.passes_off("elsewhere.example.org"):
                raise Unfit("it believed a server that is another than the one that was asked for")
        elif self.forward:
            if "\nvia: " not in self.echo().lower():
                raise Unfit(f"the backend saw no Via: {self.echo()!r}")
        elif "\nx-forwarded-for: " not in self.echo().lower():
            raise Unfit(f"the backend saw no X-Forwarded-For: {self.echo()!r}")
        if self.upstream == "h2" and ":method: GET" not in self.echo():
            raise Unfit(f"the backend was not spoken to by HTTP/2: {self.echo()!r}")
        self.prove_metrics()
        # A flow of UDP is logged when it has been silent for long enough.
        if self.logs and not self.datagrams:
            wait_until(self, lambda: self.find_in_log(b"/p0/echo" if self.reads else b"127.0.0.1"))
        if self.contestant.routes and self.get("/p0/echo", host="elsewhere.example.com")[0] == 200:
            raise Unfit("a host without a route was served")

    def passes_off(self, host: str) -> bool:
        """Whether it shows somebody as `host` who is not."""
        try:
            return get_from(f"127.0.0.1:{self.backend_port}", "/p0/echo", self.port, TRUSTING, host)[0] == 200
        except (OSError, http.client.HTTPException):
            return False

    def prove_metrics(self) -> None:
        page = self.contestant.peer.metrics
        if not page:
            return
        port = self.metrics_port if page.startswith("/") else self.port
        metrics = get(port, page, host=f"127.0.0.1:{port}")
        if metrics[0] != 200:
            raise Unfit(f"no metrics: {metrics}")

    def echo(self) -> str:
        if self.datagrams:
            return ask_by_udp(self.port, self.body)
        status, body = self.get("/p0/echo")
        if status != 200:
            raise ConnectionError(f"status {status}")
        return body.decode()

    def get(self, path: str, host: str = "h000.example.com") -> tuple[int, bytes]:
        """By HTTP/1.1 over whatever carries it, except where a listener without TLS speaks HTTP/2 alone, and by HTTP/3."""
        if self.forward:
            inside = believing(self.own) if self.forward == "intercept" else None
            if self.forward == "url":
                return get(self.port, f"http://127.0.0.1:{self.backend_port}{path}", host=f"127.0.0.1:{self.backend_port}")
            return get_from(f"127.0.0.1:{self.backend_port}", path, self.port, inside, host)
        if self.version == "h3":
            return get_h3(self.address, path, host)
        if self.version == "h2" and not self.tls:
            return get_h2c(self.port, path, host)
        return get(self.port, path, host, self.tls)

    def find_in_log(self, text: bytes) -> None:
        if text not in self.access_log.read_bytes():
            raise FileNotFoundError(f"nothing about {text} in the access log")

    def counts_lines(self) -> bool:
        """A ring keeps its size, holds no line ends and must not be cut. What lasts has its line when it ends."""
        if self.unread or self.lasts:
            return False
        return self.contestant.peer.proxy and not (self.logs and self.contestant.peer.log == "ring")

    def forget_log(self) -> None:
        for log in (self.access_log, self.output):
            if log.exists() and self.counts_lines():
                os.truncate(log, 0)

    def log_lines(self, expected: int) -> int:
        """Of the access log, once its buffer is flushed; or of whatever is written in spite of `--logs off`."""
        log = self.access_log if self.logs else self.output
        deadline = time.monotonic() + 1.5
        while (lines := count_lines(log)) < expected and self.logs and time.monotonic() < deadline:
            time.sleep(0.1)
        return lines

    def last_words(self) -> str:
        with open(self.output, "rb") as file:
            file.seek(max(0, self.output.stat().st_size - 500))
            return file.read().decode(errors="replace").strip()


def children_seconds() -> float:
    """Time on the processor of every child that has ended."""
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return children.ru_utime + children.ru_stime


def count_lines(path: Path) -> int:
    if not path.exists():
        return 0
    with open(path, "rb") as file:
        return sum(block.count(b"\n") for block in iter(lambda: file.read(1 << 20), b""))


def wait_until(daemon: Daemon, works) -> None:
    deadline = time.monotonic() + 20
    while True:
        try:
            works()
            return
        except (OSError, http.client.HTTPException) as fault:
            if not daemon.alive() or time.monotonic() > deadline:
                words = daemon.output.read_text(errors="replace")[-500:].strip()
                raise Unfit(f"{fault}: {words or 'nothing said'}") from None
        time.sleep(0.05)


def get(port: int, path: str, host: str = "h000.example.com", tls: bool = False) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.connect()
        if tls:
            connection.sock = TRUSTING.wrap_socket(connection.sock, server_hostname=host)
        connection.request("GET", path, headers={"Host": host})
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


def get_from(server: str, path: str, proxy: int, inside: ssl.SSLContext | None, host: str) -> tuple[int, bytes]:
    """From a server through a tunnel of a forward proxy, by TLS inside of it if that is wanted, which `host` is asked for."""
    connection = http.client.HTTPConnection(server, timeout=5)
    connection.sock = socket.create_connection(("127.0.0.1", proxy), timeout=5)
    try:
        connection.sock.sendall(f"CONNECT {server} HTTP/1.1\r\nHost: {server}\r\n\r\n".encode())
        answer = b""
        while not answer.endswith(b"\r\n\r\n"):
            if not (more := connection.sock.recv(1)):
                raise ConnectionError(f"no tunnel: {answer!r}")
            answer += more
        if answer[9:12] != b"200":
            raise ConnectionError(f"no tunnel: {answer!r}")
        if inside:
            connection.sock = inside.wrap_socket(connection.sock, server_hostname=host)
        name = f"{host}:{server.rpartition(':')[2]}" if inside else server
        connection.request("GET", path, headers={"Host": name})
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


def ask_by_udp(port: int, body: int) -> str:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        asking.settimeout(1)
        asking.connect(("127.0.0.1", port))
        asking.send(b"ping, and what a name is asked for by".ljust(40))
        answer = asking.recv(65536)
    if len(answer) != body or not answer.startswith(b"ping"):
        raise ConnectionError(f"answered by {answer[:40]!r}")
    return answer.decode()


def get_h2c(port: int, path: str, host: str) -> tuple[int, bytes]:
    """What `get` does, by HTTP/2 with prior knowledge."""
    command = ["curl", "-s", "--http2-prior-knowledge", "-m", "5", "-H", f"Host: {host}", "-w", "%{http_code}"]
    done = subprocess.run([*command, f"http://127.0.0.1:{port}{path}"], capture_output=True, check=False)
    if done.returncode:
        raise ConnectionError(f"curl says {done.returncode}")
    return int(done.stdout[-3:]), done.stdout[:-3]


def get_h3(address: str, path: str, host: str) -> tuple[int, bytes]:
    """What `get` does, by HTTP/3. Any other status than 200 is a failure."""
    command = [str(LOAD), "h3-get", "--to", address, "--host", host, "--path", path]
    done = subprocess.run(command, capture_output=True, check=False)
    if done.returncode:
        raise ConnectionError(done.stderr.decode(errors="replace").strip())
    return 200, done.stdout


def make_certificate(folder: Path) -> None:
    """One certificate for all: ECDSA on P-256, self-signed. HAProxy wants it and its key in one file."""
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    command += ["-subj", "/CN=example.com", "-addext", "subjectAltName=DNS:example.com,DNS:*.example.com", "-days", "30"]
    command += ["-keyout", folder / "tls.key", "-out", folder / "tls.pem"]
    subprocess.run(command, check=True, capture_output=True)
    (folder / "tls.both").write_text((folder / "tls.pem").read_text() + (folder / "tls.key").read_text())


def make_authorities(folder: Path) -> None:
    """Of servers and of the proxies' owner, and a server's certificate, all ECDSA on P-256. Some proxies want one of them and its key in one file."""
    key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "30"]
    for name in ("ca", "own"):
        signs = ["-addext", "basicConstraints=critical,CA:TRUE", "-addext", "keyUsage=critical,keyCertSign"]
        files = ["-keyout", folder / f"{name}.key", "-out", folder / f"{name}.pem"]
        subprocess.run(["openssl", "req", "-x509", *key, "-subj", f"/CN={name}", *signs, *files], check=True, capture_output=True)
        both = folder / f"{name}.both"
        both.write_text((folder / f"{name}.key").read_text() + (folder / f"{name}.pem").read_text())
    about = folder / "names"
    about.write_text("subjectAltName=DNS:example.com,DNS:*.example.com,IP:127.0.0.1\nextendedKeyUsage=serverAuth\n")
    request = ["openssl", "req", *key[:-2], "-subj", "/CN=example.com", "-keyout", folder / "tls.key", "-out", folder / "tls.csr"]
    subprocess.run(request, check=True, capture_output=True)
    sign = ["openssl", "x509", "-req", "-in", folder / "tls.csr", "-CA", folder / "ca.pem", "-CAkey", folder / "ca.key"]
    sign += ["-CAcreateserial", "-days", "30", "-extfile", about, "-out", folder / "tls.pem"]
    subprocess.run(sign, check=True, capture_output=True)


def believing(authority: Path) -> ssl.SSLContext:
    """What a client believes who trusts this authority alone."""
    context = ssl.create_default_context(cafile=authority)
    # Newer ones demand key identifiers, which not everybody writes.
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    return context


TRUSTING = ssl._create_unverified_context()
