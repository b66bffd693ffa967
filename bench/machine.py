"""Processes, processor time, memory and ports, as Linux tells them."""

import os
import random
import signal
import socket
import subprocess
from collections.abc import Iterable
from pathlib import Path

cores = sorted(os.sched_getaffinity(0))
if len(cores) < 2:
    raise SystemExit("the benchmark needs two cores: one for the proxy, one for load and backend")
PROXY_CPU, FEEDER_CPU = cores[:2]


class Daemon:
    """A process in a session of its own, pinned to one core, its children included in every figure."""

    def __init__(self, command: list[str], cpu: int, output: Path, environment: dict[str, str]):
        self.output = output
        with open(output, "ab") as out:
            self.process = subprocess.Popen(
                pinned(cpu, command),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                env=os.environ | environment,
                start_new_session=True,
            )

    def alive(self) -> bool:
        return self.process.poll() is None

    def pids(self) -> list[int]:
        """The processes of the session that `start_new_session` made, and those that they have started, for some of these have one of their own."""
        parents, members = {}, {self.process.pid}
        for pid in processes():
            _, parent, _, session, *_ = [*stat_fields(pid), *"0000"]
            parents[pid] = int(parent)
            if session == str(self.process.pid):
                members.add(pid)
        while more := {pid for pid, parent in parents.items() if parent in members} - members:
            members |= more
        return [pid for pid in parents if pid in members]

    def cpu_seconds(self) -> float:
        """Time on the processor of all threads."""
        return sum(map(process_seconds, self.pids()))

    def memory_bytes(self) -> int:
        """Resident memory that is not a file's: program text and mapped files come and go on their own."""
        kibibytes = 0
        for pid in self.pids():
            for line in read(Path(f"/proc/{pid}/status")).splitlines():
                if line.startswith(("RssAnon:", "RssShmem:")):
                    kibibytes += int(line.split()[1])
        return kibibytes * 1024

    def stop(self) -> None:
        members = self.pids()
        if self.alive():
            self.process.terminate()
            try:
                self.process.wait(timeout=5)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        for pid in set(members) & set(self.pids()):
            os.kill(pid, signal.SIGKILL)


def process_seconds(pid: int) -> float:
    """The clock of threads is exact but forgets those that have ended; that of the process remembers them, in ticks."""
    nanoseconds = 0
    for schedstat in Path(f"/proc/{pid}/task").glob("*/schedstat"):
        nanoseconds += int((read(schedstat) or "0").split()[0])
    ticks = sum(map(int, stat_fields(pid)[11:13]))
    return max(nanoseconds / 1e9, ticks / os.sysconf("SC_CLK_TCK"))


def pinned(cpu: int, command: list[str]) -> list[str]:
    return ["taskset", "-c", str(cpu), *command]


def processes() -> list[int]:
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def stat_fields(pid: int) -> list[str]:
    """The fields after the command's name: state, parent, group, session and on."""
    return read(Path(f"/proc/{pid}/stat")).rpartition(")")[2].split()


def read(path: Path) -> str:
    """Empty when the process is gone."""
    try:
        return path.read_text()
    except (FileNotFoundError, ProcessLookupError):
        return ""


def busy_seconds(cores: Iterable[int] | None = None) -> float:
    """What these cores, or all, have spent on anything but idling and waiting for disks; a machine's stolen time is included."""
    names = ["cpu"] if cores is None else [f"cpu{core}" for core in cores]
    ticks = 0
    for line in Path("/proc/stat").read_text().splitlines():
        name, *fields = line.split()
        if name in names:
            user, nice, system, _idle, _iowait, irq, softirq, steal = map(int, fields[:8])
            ticks += user + nice + system + irq + softirq + steal
    return ticks / os.sysconf("SC_CLK_TCK")


def free_port() -> int:
    """Outside the range of ephemeral ports, which the run's own connections would take from under us."""
    while True:
        port = random.randrange(20000, 32000)
        if port in handed_out:
            continue
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        handed_out.add(port)
        return port


handed_out: set[int] = set()
