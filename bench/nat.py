#!/usr/bin/env python3
"""Packets that the kernel rewrites (`role: nat`) beside plain routing, nftables, HAProxy and Tidegate's own proxy: what a request, a
connection and a gigabyte cost the whole machine. Prints a table. See README.md."""

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median

from clients import LOAD
from machine import busy_seconds
from namespaces import Host, Network

HERE = Path(__file__).resolve().parent
CLIENT, VIP, INNER, SERVER = "198.18.1.9", "198.18.1.1", "198.18.2.1", "198.18.2.11"
FRONT, BACKEND = f"{VIP}:80", f"{SERVER}:8080"
# Each gives some 30,000 ports to a server, which ended connections keep for half a minute.
SOURCES = [f"198.18.2.{last}" for last in (2, 3, 4, 5)]
SMALL, BIG = 1024, 1 << 20

# What is measured: its column, how it is asked, and the unit of its cost.
SCENARIOS: dict[str, tuple[str, int, list[str], Callable[[dict, float], float]]] = {
    "small": ("CPU µs/request", SMALL, ["--connections", "64"], lambda said, busy: busy / said["requests"] * 1e6),
    "close": ("CPU µs/connection", SMALL, ["--connections", "64", "--close"], lambda said, busy: busy / said["requests"] * 1e6),
    "big": ("CPU s/GB", BIG, ["--connections", "16"], lambda said, busy: busy / said["bytes"] * 1e9),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tidegate", default=str(HERE.parent / "target/release/tidegate"))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--balancers", default=",".join(BALANCERS))
    parser.add_argument("--scenarios", default=",".join(SCENARIOS))
    arguments = parser.parse_args()
    if not LOAD.exists():
        sys.exit(f"there is no load generator, run bench/install.sh: {LOAD}")
    chosen, scenarios = arguments.balancers.split(","), arguments.scenarios.split(",")
    figures: dict[str, dict[str, list[tuple[float, float]]]] = {name: {} for name in chosen}
    for number in range(arguments.rounds):
        # Each round begins with another one.
        for name in chosen[number % len(chosen) :] + chosen[: number % len(chosen)]:
            for scenario in scenarios:
                rate, cost = measure(name, scenario, arguments)
                figures[name].setdefault(scenario, []).append((rate, cost))
    print("| balancer |", " | ".join(f"{SCENARIOS[scenario][0]} (a second)" for scenario in scenarios), "|")
    print("|---|" + "---|" * len(scenarios))
    for name, of in figures.items():
        medians = ([median(values) for values in zip(*of[scenario])] for scenario in scenarios)
        print(f"| {name} |", " | ".join(f"{cost:.2f} ({rate:,.0f})" for rate, cost in medians), "|")


def measure(name: str, scenario: str, arguments: argparse.Namespace) -> tuple[float, float]:
    """One balancer between a client and a server, in a network of its own: requests a second, and the whole machine's cost."""
    _, body, options, cost = SCENARIOS[scenario]
    with Network() as network, tempfile.TemporaryDirectory() as folder:
        client, balancer, server = network.host("client"), network.host("balancer"), network.host("server")
        network.link(balancer, client, 1500, ("p0", "c0"), (f"{VIP}/24", f"{CLIENT}/24"), offloads=True)
        network.link(balancer, server, 1500, ("p1", "s0"), (f"{INNER}/24", f"{SERVER}/24"), offloads=True)
        balancer.run("sysctl", "-qw", "net.ipv4.ip_forward=1")
        roomy(client)
        client.run("ip", "route", "add", "198.18.2.0/24", "via", VIP)
        server.run("ip", "route", "add", "198.18.1.0/24", "via", INNER)
        with server.running(str(LOAD), "backend", "--bind", BACKEND, "--body", str(body), bound=BACKEND):
            with BALANCERS[name](balancer, Path(folder), arguments.tidegate) as address:
                command = [str(LOAD), "load", "--to", address, "--body", str(body), *options]
                client.run(*command, "--seconds", "0.5")
                quiet = busy_seconds()
                time.sleep(0.5)
                others = (busy_seconds() - quiet) / 0.5
                before = busy_seconds()
                said = json.loads(client.run(*command, "--seconds", str(arguments.seconds)))
                spent = busy_seconds() - before
    if said["errors"]:
        sys.exit(f"{name}, {scenario}: {said['errors']} errors")
    if others > 0.1:
        print(f"{name}, {scenario}: others took {others:.0%} of a core, use a quiet machine", file=sys.stderr)
    return said["rps"], cost(said, spent)


def roomy(host: Host) -> None:
    """Who has used up its ports looks for one longer than everything else takes."""
    host.run("sysctl", "-qw", "net.ipv4.ip_local_port_range=1024 65000", "net.ipv4.tcp_tw_reuse=1")


@contextmanager
def routing(_balancer: Host, _folder: Path, _tidegate: str) -> Iterator[str]:
    """Nothing but the kernel's own routing: the client knows the server."""
    yield BACKEND


@contextmanager
def in_kernel(balancer: Host, folder: Path, tidegate: str) -> Iterator[str]:
    """Tidegate with `role: nat`, and a file system of BPF that goes with its process."""
    for source in SOURCES:
        balancer.run("ip", "address", "add", f"{source}/24", "dev", "p1")
    listener = f"role: nat, bind: {FRONT}/tcp, interfaces: [p0, p1], source: [{', '.join(SOURCES)}], to: web"
    with serving(balancer, folder, tidegate, listener):
        yield FRONT


@contextmanager
def proxy(balancer: Host, folder: Path, tidegate: str) -> Iterator[str]:
    """Tidegate with `role: tcp`."""
    roomy(balancer)
    with serving(balancer, folder, tidegate, f"role: tcp, bind: '{FRONT}', to: web"):
        yield FRONT


@contextmanager
def serving(balancer: Host, folder: Path, tidegate: str, listener: str) -> Iterator[None]:
    config = f"workers: 1\naccess_log: off\nlisteners: {{ web: {{ {listener} }} }}\npools: {{ web: ['{BACKEND}'] }}\n"
    (folder / "tidegate.yaml").write_text(config)
    script = 'mount -t bpf bpf /sys/fs/bpf && exec "$0" run tidegate.yaml --ready-fd 1'
    command = ["unshare", "--mount", "sh", "-c", script, str(Path(tidegate).resolve())]
    with balancer.running(*command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        if not process.stdout.readline():
            sys.exit("tidegate does not start")
        yield


@contextmanager
def nftables(balancer: Host, _folder: Path, _tidegate: str) -> Iterator[str]:
    """The kernel's own NAT: the destination rewritten, and the source for the way back."""
    balancer.run("nft", "add table ip nat")
    balancer.run("nft", "add chain ip nat pre { type nat hook prerouting priority dstnat; }")
    balancer.run("nft", "add chain ip nat post { type nat hook postrouting priority srcnat; }")
    balancer.run("nft", f"add rule ip nat pre ip daddr {VIP} tcp dport 80 dnat to {BACKEND}")
    balancer.run("nft", "add rule ip nat post oifname p1 masquerade")
    yield FRONT


@contextmanager
def haproxy(balancer: Host, folder: Path, _tidegate: str) -> Iterator[str]:
    """One thread, spliced by pipes of 256 KiB."""
    roomy(balancer)
    (folder / "haproxy.cfg").write_text(
        f"""
global
    nbthread 1
    maxconn 6000
    tune.pipesize 262144
    maxpipes 256
defaults
    mode tcp
    option splice-request
    option splice-response
    timeout connect 5s
    timeout client 75s
    timeout server 75s
listen web
    bind {FRONT}
    server s {BACKEND}
"""
    )
    command = ["haproxy", "-db", "-f", str(folder / "haproxy.cfg")]
    with balancer.running(*command, bound=FRONT, stderr=subprocess.DEVNULL):
        yield FRONT


BALANCERS = {"routing": routing, "tidegate nat": in_kernel, "nftables": nftables, "tidegate tcp": proxy, "haproxy tcp": haproxy}
BALANCERS = {name: balancer for name, balancer in BALANCERS.items() if shutil.which({"nftables": "nft", "haproxy tcp": "haproxy"}.get(name, "sh"))}


if __name__ == "__main__":
    main()
