"""Hosts on one machine: network namespaces that are made here and gone afterwards. Needs root."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager


class Host:
    """A namespace; what runs in it sees nothing of the others but what links show."""

    def __init__(self, name: str) -> None:
        self.name = name

    def run(self, *command: str) -> str:
        """Runs a command in it to its end; what it printed."""
        done = subprocess.run(["ip", "netns", "exec", self.name, *command], capture_output=True, text=True)
        if done.returncode != 0:
            sys.exit(f"{' '.join(command)}: {done.stderr.strip()}")
        return done.stdout

    @contextmanager
    def running(self, *command: str, bound: str = "", **options) -> Iterator[subprocess.Popen]:
        """A command that runs in it until the block ends; where it is said at which address, one that listens."""
        process = subprocess.Popen(["ip", "netns", "exec", self.name, *command], **options)
        try:
            if bound:
                self.until_bound(bound)
            yield process
        finally:
            process.terminate()
            process.wait()

    def until_bound(self, address: str) -> None:
        """Waits until somebody listens there."""
        for _ in range(200):
            if f"{address} " in self.run("ss", "-Hltn"):
                return
            time.sleep(0.05)
        sys.exit(f"nobody listens at {address}")

    def received(self, device: str) -> int:
        """Packets that a device of it has received."""
        return int(self.run("cat", f"/sys/class/net/{device}/statistics/rx_packets"))


class Network:
    """Hosts and the links between them."""

    def __init__(self) -> None:
        self.stack = ExitStack()

    def __enter__(self) -> "Network":
        if os.geteuid() != 0:
            sys.exit("network namespaces need root")
        return self

    def __exit__(self, *_: object) -> None:
        self.stack.close()

    def host(self, name: str) -> Host:
        """A new host."""
        host = Host(f"tidegate-{name}-{os.getpid()}")
        subprocess.run(["ip", "netns", "add", host.name], check=True)
        self.stack.callback(subprocess.run, ["ip", "netns", "delete", host.name])
        host.run("ip", "link", "set", "lo", "up")
        return host

    def link(
        self,
        one: Host,
        other: Host,
        mtu: int,
        ends: tuple[str, str],
        addresses: tuple[str, str],
        offloads: bool = False,
    ) -> None:
        """A cable with a device at each end; without offloads a packet is what would be on a wire."""
        subprocess.run(
            ["ip", "link", "add", ends[0], "netns", one.name, "type", "veth", "peer", "name", ends[1], "netns", other.name],
            check=True,
        )
        for host, end, address in zip((one, other), ends, addresses):
            host.run("ip", "address", "add", address, "dev", end)
            host.run("ip", "link", "set", end, "mtu", str(mtu), "up")
            if not offloads:
                host.run("ethtool", "-K", end, "gso", "off", "tso", "off", "gro", "off")
