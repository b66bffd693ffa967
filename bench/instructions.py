#!/usr/bin/env python3
"""Counts the instructions that one request takes outside of the kernel, under callgrind. Noise of the machine hardly matters to it."""

import argparse
import json
import re
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from measure import make_certificate

HERE = Path(__file__).resolve().parent
LOAD = HERE / "out/target/release/tidegate-load"

FRAME = """
workers: 1
state: {folder}
access_log: {folder}/access.log
{certificates}
lists: {{ curses: {{ file: {folder}/words.txt, format: words }} }}
listeners: {{ web: {{ bind: "127.0.0.1:{port}", to: app{listener} }} }}
pools: {{ app: {{ servers: ["127.0.0.1:{server}"]{pool} }} }}
"""

# Everything that watches servers and bounds requests, with nothing wrong.
POOLS = {
    "plain": "",
    "resilient": """,
    health: { probe: http, path: /, every: 2s },
    outlier: { consecutive_errors: 5, success_rate: {}, latency: {} },
    slow_start: 10s,
    circuit_breaker: { connections: 1000, requests: 1000, retries: 10 },
    timeouts: { try: 5s },
    retries: { extra: 2, if: [connect, reset, 502, 503], budget: 20%, backoff: 25ms }""",
    "sticky": ", sticky: cookie",
}

# What is asked of every request, and every response.
POLICIES = {
    "bandwidth": "bandwidth: { rate: 100GiB/s }",
    "quota": "quota: { bytes: 1TiB, requests: 1000000000, per: day }",
    "types": "filter: { types: [application/x-msdownload] }",
    "words": "filter: { words: curses }",
}
# Made up, and in no body of the load generator's.
WORDS = "".join(f"{first}{second}{third}\n" for first in "bcdfghklmn" for second in "aeiou" for third in ("ck", "st", "mb", "rt"))


CERTIFICATES = "certificates: {{ main: {{ cert: {folder}/tls.pem, key: {folder}/tls.key }} }}"

# How clients come: options of the load generator.
OVER = {"plain": [], "tls": ["--tls"], "handshakes": ["--tls", "--close"]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pool", default=",".join(POOLS), help=f"of {', '.join([*POOLS, *POLICIES])}")
    parser.add_argument("--over", choices=OVER, default="plain", help="how clients come; handshakes is one for each request")
    parser.add_argument("--body", type=int, default=1024, help="bytes of each response")
    parser.add_argument("--keep", type=Path, metavar="FILE", help="where callgrind's figures of the last run go")
    built = HERE.parent / "target/release/tidegate"
    parser.add_argument("--tidegate", type=Path, default=built, metavar="PATH", help="the program under test")
    options = parser.parse_args()
    command = ["cargo", "build", "--quiet", "--release", "--manifest-path", HERE / "load/Cargo.toml"]
    subprocess.run([*command, "--target-dir", HERE / "out/target"], check=True)
    first = None
    for name in options.pool.split(","):
        count = count_instructions(options, POOLS.get(name, ""), f", use: [{{ {POLICIES[name]} }}]" if name in POLICIES else "")
        first = first or count
        print(f"{name:10} {count:8.0f} instructions a request, {count / first:.3f} of the first")


def count_instructions(options: argparse.Namespace, pool: str, policies: str) -> float:
    """Two runs of different lengths: the difference leaves the start out."""
    (few, cost_of_few), (many, cost_of_many) = (run(options, pool, policies, seconds) for seconds in (1, 3))
    return (cost_of_many - cost_of_few) / (many - few)


def run(options: argparse.Namespace, pool: str, policies: str, seconds: int) -> tuple[int, int]:
    with tempfile.TemporaryDirectory() as folder:
        port, server, counted = free_port(), free_port(), Path(folder) / "callgrind.out"
        config = Path(folder) / "tidegate.yaml"
        (Path(folder) / "words.txt").write_text(WORDS)
        certificates, listener = "", policies
        if options.over != "plain":
            make_certificate(Path(folder))
            certificates, listener = CERTIFICATES.format(folder=folder), policies + ", tls: main"
        places = {"folder": folder, "port": port, "server": server, "certificates": certificates}
        config.write_text(FRAME.format(pool=pool, listener=listener, **places))
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        backend = subprocess.Popen([LOAD, "backend", "--bind", f"127.0.0.1:{server}", "--body", str(options.body)], **quiet)
        watched = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={counted}", options.tidegate, "run", config]
        try:
            await_port(server, backend)
            proxy = subprocess.Popen(watched, **quiet)
            try:
                await_port(port, proxy)
                load = [LOAD, "load", "--to", f"127.0.0.1:{port}", "--body", str(options.body)]
                load += ["--seconds", str(seconds), *OVER[options.over]]
                figures = json.loads(subprocess.run(load, check=True, capture_output=True).stdout)
            finally:
                proxy.terminate()
                proxy.wait()
        finally:
            backend.terminate()
            backend.wait()
        if figures["errors"]:
            sys.exit(f"{figures['errors']} requests failed")
        if options.keep:
            options.keep.write_text(counted.read_text())
        total = re.search(r"^(?:summary|totals): (\d+)", counted.read_text(), re.MULTILINE)
        return figures["requests"], int(total.group(1))


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return listening.getsockname()[1]


def await_port(port: int, process: subprocess.Popen) -> None:
    until = time.monotonic() + 30
    while time.monotonic() < until and process.poll() is None:
        try:
            return socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            time.sleep(0.05)
    sys.exit(f"port {port} does not answer")


if __name__ == "__main__":
    main()
