#!/usr/bin/env python3
"""What gathering small segments (`coalesce`) does across a link of MTU 1500 and one of 9000: packets at the server, bulk, and what an
exchange of questions and answers pays. Prints a table. See README.md."""

import argparse
import hashlib
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from machine import stat_fields
from namespaces import Network

HERE = Path(__file__).resolve().parent
PIECE = 64
CLIENT, FRONT, BACK, SERVER = "198.18.1.1", "198.18.1.2", "198.18.2.2", "198.18.2.1"
PORT = 7000
BULK = 262_144_000


def main() -> None:
    if sys.argv[1:2] == ["serve"]:
        return serve()
    if sys.argv[1:2] == ["ask"]:
        return ask(sys.argv[2], int(sys.argv[3]))
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tidegate", default=str(HERE.parent / "target/release/tidegate"))
    parser.add_argument("--writes", type=int, default=100_000)
    parser.add_argument("--delays", default="off,50us,200us,500us,1ms")
    arguments = parser.parse_args()
    print("| towards the server | packets for the writes | bulk packets | CPU µs of Tidegate a write | ping-pong p50, p99 µs |")
    print("|---|---|---|---|---|")
    for delay in arguments.delays.split(","):
        row(arguments.tidegate, delay, arguments.writes)


def row(tidegate: str, delay: str, writes: int) -> None:
    """Measures one delay in a network of its own."""
    said = "" if delay == "off" else f", coalesce: {{ bytes: 8KiB, delay: {delay} }}"
    config = f"""
workers: 1
admin: unix:admin.sock
listeners: {{ narrow: {{ bind: "{FRONT}:{PORT}", role: tcp, to: wide }} }}
pools: {{ wide: {{ servers: ["{SERVER}:{PORT}"]{said} }} }}
"""
    with Network() as network, tempfile.TemporaryDirectory() as folder:
        client, proxy, server = network.host("client"), network.host("proxy"), network.host("server")
        network.link(client, proxy, 1500, ("c0", "p0"), (f"{CLIENT}/24", f"{FRONT}/24"))
        network.link(server, proxy, 9000, ("s0", "p1"), (f"{SERVER}/24", f"{BACK}/24"))
        (Path(folder) / "tidegate.yaml").write_text(config)
        serving = server.running(sys.executable, __file__, "serve", bound=f"{SERVER}:{PORT}")
        command = [tidegate, "run", f"{folder}/tidegate.yaml", "--ready-fd", "1"]
        options = {"cwd": folder, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
        with serving, proxy.running(*command, **options) as running:
            if not running.stdout.readline():
                sys.exit("tidegate does not start")
            figures = {}
            for what, count in (("small", writes), ("bulk", BULK), ("pingpong", 4000)):
                before, spent = server.received("s0"), cpu(running.pid)
                answer = json.loads(client.run(sys.executable, __file__, "ask", what, str(count)))
                figures[what] = server.received("s0") - before, cpu(running.pid) - spent, answer
    (small, spent, _), (bulk, _, _), (_, _, pong) = figures["small"], figures["bulk"], figures["pingpong"]
    print(f"| {delay} | {small:,} | {bulk:,} | {spent / writes * 1e6:.2f} | {pong['p50']:.0f}, {pong['p99']:.0f} |", flush=True)


def cpu(pid: int) -> float:
    """Seconds that a process has computed."""
    fields = stat_fields(pid)
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def serve() -> None:
    """Says back what its client wants: every byte at once, or a digest of all of them at the end."""
    listener = socket.create_server((SERVER, PORT))
    while True:
        peer, _ = listener.accept()
        peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        echoes = peer.recv(1) == b"p"
        digest = hashlib.sha256()
        while said := peer.recv(1 << 20):
            if echoes:
                peer.sendall(said)
            digest.update(said)
        if not echoes:
            peer.sendall(digest.digest())
        peer.close()


def ask(what: str, count: int) -> None:
    """One client's flow; prints what came of it."""
    flow = socket.create_connection((FRONT, PORT))
    flow.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    flow.sendall(what[:1].encode())
    if what == "pingpong":
        times = []
        for _ in range(count):
            begin = time.perf_counter()
            flow.sendall(b"x" * PIECE)
            left = PIECE
            while left:
                left -= len(flow.recv(left))
            times.append((time.perf_counter() - begin) * 1e6)
        return print(json.dumps({"p50": statistics.median(times), "p99": statistics.quantiles(times, n=100)[98]}))
    digest = hashlib.sha256()
    size = PIECE if what == "small" else 1 << 18
    for number in range(count if what == "small" else count // size):
        piece = number.to_bytes(8, "big") * (size // 8)
        digest.update(piece)
        flow.sendall(piece)
    flow.shutdown(socket.SHUT_WR)
    heard = b""
    while said := flow.recv(64):
        heard += said
    if heard != digest.digest():
        sys.exit("what arrived is not what was sent")
    print(json.dumps({}))


if __name__ == "__main__":
    main()
