#!/usr/bin/env python3
"""Breaks one of three servers under load, and lets canaries drive themselves; says what clients saw. Ends with 1 if that is not
what it should be. See README.md."""

import argparse
import asyncio
import json
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

HERE = Path(__file__).resolve().parent
BODY = b"x" * 1024
PAGE = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(BODY) + BODY
FAILURE = b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n"

POOL = """
listeners: {{ web: {{ bind: "127.0.0.1:{port}", to: app }} }}
access_log: {folder}/access.log
pools:
  app:
    servers: {{ a: "127.0.0.1:{a}", b: "127.0.0.1:{b}", c: "127.0.0.1:{c}" }}
    health: {{ probe: http, path: /healthz, every: 500ms, timeout: 300ms, rise: 2, fall: 2 }}
    outlier: {{ consecutive_errors: 5, eject_for: 2s, max_ejected: 50% }}
    timeouts: {{ try: 250ms }}
    retries: {{ extra: 2, if: [connect, reset, timeout, 500, 502, 503] }}
"""

CANARY = """
listeners:
  web:
    bind: "127.0.0.1:{port}"
    routes:
      - name: checkout
        canary:
          stable: v1
          candidate: v2
          steps: [5%, 25%, 50%, 100%]
          every: 10s
          sticky: cookie
          rollback_if: {{ error_points: 2%, p99_ratio: 1.5, min_requests: 50 }}
access_log: {folder}/access.log
pools:
  v1: {{ servers: ["127.0.0.1:{a}"], retries: {{ extra: 0 }} }}
  v2: {{ servers: ["127.0.0.1:{b}"], retries: {{ extra: 0 }} }}
"""


def main() -> None:
    if sys.argv[1:2] == ["serve"]:
        return asyncio.run(serve(int(sys.argv[2]), sys.argv[3]))
    parser = argparse.ArgumentParser(description=__doc__)
    scenarios = [*FAULTS, "canary-bad", "canary-good"]
    parser.add_argument("--scenario", default=",".join(scenarios), help=f"of {', '.join(scenarios)}")
    parser.add_argument("--rate", type=int, default=500, help="requests a second")
    parser.add_argument("--tidegate", type=Path, default=HERE.parent / "target/release/tidegate", metavar="PATH")
    options = parser.parse_args()
    missed: list[str] = []
    for name in options.scenario.split(","):
        with ExitStack() as stack:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            run = canary if name.startswith("canary") else fault
            missed += asyncio.run(run(name, options, folder, stack))
    if missed:
        sys.exit("missed:\n" + "\n".join(missed))


# One of three servers breaks three seconds into the load, and is well again twelve seconds later.

FAULTS = {
    "kill": ("nginx", lambda server: server.kill(), lambda server: server.start()),
    "hang": ("nginx", lambda server: server.signal(signal.SIGSTOP), lambda server: server.signal(signal.SIGCONT)),
    "slow": ("script", lambda server: server.tell("slow"), lambda server: server.tell("ok")),
    "reset": ("script", lambda server: server.tell("reset"), lambda server: server.tell("ok")),
    "flood": ("script", lambda server: server.tell("fail 100"), lambda server: server.tell("ok")),
}
HEALTHY, BROKEN, AFTER = 5, 13, 7


async def fault(name: str, options, folder: Path, stack: ExitStack) -> list[str]:
    kind, breaks, mends = FAULTS[name]
    servers = [Server(kind if letter == "c" else "nginx", letter, folder, stack) for letter in "abc"]
    ports = {server.name: server.port for server in servers}
    proxy = Proxy(POOL, folder, stack, options.tidegate, **ports)
    load = Load(proxy.port, options.rate)
    ticking = asyncio.create_task(load.run(HEALTHY + BROKEN + AFTER))
    await asyncio.sleep(HEALTHY)
    breaks(servers[-1])
    await asyncio.sleep(BROKEN)
    mends(servers[-1])
    await ticking
    healthy = p99(load.between(1, HEALTHY))
    broken = p99(load.between(HEALTHY + 3, HEALTHY + 13))
    bound = max(2 * healthy, 0.010)
    first = p99(load.between(HEALTHY, HEALTHY + 3))
    print(f"== {name}: {len(load.samples)} requests, {load.failed()} failed {load.failures()}")
    print(
        f"   p99 before {healthy * 1e3:.1f} ms, in the first 3 s {first * 1e3:.1f} ms, from 3 to 13 s {broken * 1e3:.1f} ms"
        f" (bound {bound * 1e3:.1f} ms: {'met' if broken <= bound else 'MISSED'})"
    )
    proxy.show_log()
    return wrong(
        (load.failed() - load.broken_off(), f"{name}: requests failed whose response had not begun: {load.failures()}"),
        (not broken <= bound, f"{name}: p99 of {broken * 1e3:.1f} ms is above its bound of {bound * 1e3:.1f} ms"),
    )


async def canary(name: str, options, folder: Path, stack: ExitStack) -> list[str]:
    stable, candidate = (Server("script", letter, folder, stack) for letter in "ab")
    candidate.tell("version v2")
    if name == "canary-bad":
        candidate.tell("fail 20")
    proxy = Proxy(CANARY, folder, stack, options.tidegate, a=stable.port, b=candidate.port)
    load = Load(proxy.port, options.rate, users=1000)
    await load.run(60)
    share = load.failed() / len(load.samples)
    flips = sum(user.flips for user in load.users)
    print(f"== {name}: {len(load.samples)} requests, {load.failed()} failed ({share:.2%}) {load.failures()}")
    print(f"   {flips} users of {len(load.users)} were moved off the candidate")
    proxy.show_log()
    if name == "canary-bad":
        judged, back = load.nth_of_candidate(50), proxy.when("rolled back at 0%")
        late = back - judged if back and judged else None
        print(f"   rolled back {'never' if late is None else f'{late:.1f} s'} after the candidate's 50th response")
        return wrong(
            (late is None or late > 3, f"{name}: not rolled back within 3 s of what there is to judge: {late}"),
            (share > 0.01, f"{name}: {share:.2%} of all requests failed, more than 1%"),
            (load.failures().keys() - {500}, f"{name}: others failed than the candidate's: {load.failures()}"),
        )
    return wrong(
        (proxy.when("promoted at 100%") is None, f"{name}: the candidate was not promoted"),
        (load.failed(), f"{name}: {load.failed()} requests failed {load.failures()}"),
        (flips, f"{name}: {flips} users were moved off the candidate"),
    )


def wrong(*checks: tuple[object, str]) -> list[str]:
    """What there is to say of each check that is wrong."""
    return [message for is_wrong, message in checks if is_wrong]


class BrokeOff(Exception):
    """A response that had begun and did not end: nobody may send its request again."""


class Load:
    """So many requests a second, whatever becomes of them, over connections that are kept."""

    def __init__(self, port: int, rate: int, users: int = 0):
        self.port, self.rate = port, rate
        self.users = [User() for _ in range(users)]
        self.samples: list[Sample] = []
        self.idle: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []
        self.began = 0.0

    async def run(self, seconds: float) -> None:
        began = time.monotonic()
        self.began = time.time()
        pending = set()
        for number in range(int(seconds * self.rate)):
            due = began + number / self.rate
            if (pause := due - time.monotonic()) > 0:
                await asyncio.sleep(pause)
            task = asyncio.create_task(self.one(due - began))
            pending.add(task)
            task.add_done_callback(pending.discard)
        await asyncio.gather(*pending)
        for _, writer in self.idle:
            writer.close()

    async def one(self, at: float) -> None:
        user = random.choice(self.users) if self.users else None
        asked = time.monotonic()
        try:
            status, head = await asyncio.wait_for(self.ask(user), 30)
        except (OSError, EOFError, asyncio.TimeoutError) as error:
            status, head = type(error).__name__, b""
        except BrokeOff:
            status, head = BrokeOff.__name__, b""
        took = time.monotonic() - asked
        # Only the candidate ever fails.
        self.samples.append(Sample(at, took, status, time.time(), status == 500 or b"\r\nX-Version: v2\r\n" in head))
        if user and status == 200:
            user.saw(head)

    async def ask(self, user: "User | None") -> tuple[int, bytes]:
        reader, writer = self.idle.pop() if self.idle else await asyncio.open_connection("127.0.0.1", self.port)
        cookie = f"Cookie: {user.cookie}\r\n" if user and user.cookie else ""
        writer.write(f"GET / HTTP/1.1\r\nHost: app\r\n{cookie}\r\n".encode())
        head = await reader.readuntil(b"\r\n\r\n")
        length = next(int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
        try:
            await reader.readexactly(length)
        except (OSError, EOFError) as error:
            raise BrokeOff from error
        if b"connection: close" in head.lower():
            writer.close()
        else:
            self.idle.append((reader, writer))
        return int(head[9:12]), head

    def between(self, start: float, end: float) -> list[float]:
        return [sample.took for sample in self.samples if start <= sample.at < end]

    def failed(self) -> int:
        return sum(sample.status != 200 for sample in self.samples)

    def broken_off(self) -> int:
        return sum(sample.status == BrokeOff.__name__ for sample in self.samples)

    def nth_of_candidate(self, nth: int) -> float | None:
        """When the candidate's nth response had come."""
        times = sorted(sample.ended for sample in self.samples if sample.of_candidate)
        return times[nth - 1] if len(times) >= nth else None

    def failures(self) -> dict:
        statuses = [sample.status for sample in self.samples if sample.status != 200]
        return {status: statuses.count(status) for status in set(statuses)}


@dataclass
class Sample:
    at: float
    took: float
    status: object
    ended: float
    of_candidate: bool


@dataclass
class User:
    cookie: str = ""
    version: str = ""
    flips: int = 0

    def saw(self, head: bytes) -> None:
        for line in head.split(b"\r\n"):
            if line.lower().startswith(b"set-cookie:"):
                self.cookie = line[11:].split(b";")[0].strip().decode()
        version = "v2" if b"\r\nX-Version: v2\r\n" in head else "v1"
        self.flips += self.version == "v2" and version == "v1"
        self.version = version


class Proxy:
    def __init__(self, text: str, folder: Path, stack: ExitStack, program: Path, **values):
        self.port = free_port()
        config = folder / "tidegate.yaml"
        config.write_text(text.format(port=self.port, folder=folder, **values))
        self.log = folder / "process.log"
        with self.log.open("w") as log:
            self.process = subprocess.Popen([program, "run", config], stderr=log, stdout=subprocess.DEVNULL)
        stack.callback(end, self.process)
        wait_for(self.port, self.process, self.log)

    def when(self, words: str) -> float | None:
        """When the process said this first."""
        lines = (line for line in self.log.read_text().splitlines() if words in line)
        return next((datetime.fromisoformat(line.split()[0]).timestamp() for line in lines), None)

    def show_log(self) -> None:
        """What the process said of servers and canaries."""
        for line in self.log.read_text().splitlines():
            if any(word in line for word in ("server", "canary", "eject")):
                print(f"   | {line}")


class Server:
    """nginx in one process, or the scripted one below."""

    def __init__(self, kind: str, name: str, folder: Path, stack: ExitStack):
        self.kind, self.name, self.folder = kind, name, folder
        self.port = free_port()
        self.start()
        stack.callback(lambda: end(self.process))

    def start(self) -> None:
        if self.kind == "script":
            command = [sys.executable, __file__, "serve", str(self.port), self.name]
        else:
            config = self.folder / f"{self.name}.conf"
            page = BODY.decode()
            config.write_text(
                f"daemon off; master_process off; pid {self.folder}/{self.name}.pid; error_log /dev/null;\n"
                "events { worker_connections 4096; }\n"
                "http { access_log off; keepalive_requests 100000000; server { "
                f"listen 127.0.0.1:{self.port} reuseport; location / {{ return 200 {page}; }} }} }}\n"
            )
            command = ["nginx", "-c", str(config), "-p", str(self.folder)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.DEVNULL)
        wait_for(self.port, self.process)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def signal(self, number: int) -> None:
        self.process.send_signal(number)

    def tell(self, line: str) -> None:
        self.process.stdin.write(f"{line}\n".encode())
        self.process.stdin.flush()


async def serve(port: int, name: str) -> None:
    """A server that does as it is told on its standard input."""
    mode = {"word": "ok", "share": 0, "version": name}

    def obey() -> None:
        # Not by `readline`: a second line that it has read, too, would wake nobody.
        lines = os.read(sys.stdin.fileno(), 4096).decode().splitlines()
        if not lines:
            asyncio.get_running_loop().remove_reader(sys.stdin.fileno())
        for line in lines:
            word, *rest = line.split()
            if word == "version":
                mode["version"] = rest[0]
            else:
                mode.update(word=word, share=int(rest[0]) if rest else 0)

    async def client(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                well = b"GET /healthz " in head and mode["word"] == "fail"
                match mode["word"]:
                    case "slow":
                        await asyncio.sleep(2)
                    case "reset":
                        linger = b"\x01\0\0\0\0\0\0\0"
                        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                        return writer.transport.abort()
                failing = mode["word"] == "fail" and random.random() * 100 < mode["share"] and not well
                answer = FAILURE if failing else PAGE.replace(b"\r\n\r\n", b"\r\nX-Version: %s\r\n\r\n" % mode["version"].encode(), 1)
                writer.write(answer)
        except (OSError, EOFError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(client, "127.0.0.1", port)
    asyncio.get_running_loop().add_reader(sys.stdin.fileno(), obey)
    await server.serve_forever()


def p99(latencies: list[float]) -> float:
    ordered = sorted(latencies)
    return ordered[int(len(ordered) * 0.99)] if ordered else float("nan")


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return listening.getsockname()[1]


def wait_for(port: int, process: subprocess.Popen, log: Path | None = None) -> None:
    until = time.monotonic() + 10
    while time.monotonic() < until and process.poll() is None:
        try:
            return socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            time.sleep(0.02)
    sys.exit(f"port {port} does not answer: {log.read_text() if log else process.args}")


def end(process: subprocess.Popen) -> None:
    if process.poll() is None:
        process.send_signal(signal.SIGCONT)
        process.terminate()
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            process.kill()


if __name__ == "__main__":
    main()
