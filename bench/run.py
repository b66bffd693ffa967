#!/usr/bin/env python3
"""Measures Tidegate beside other proxies, interleaved round by round. See README.md."""

import argparse
import json
import platform
import resource
import signal
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from statistics import median

import report
from measure import Contestant, Run, Unfit
from peers import FLOOR, PEERS, Peer, tidegate
from scenarios import SCENARIOS, Scenario

HERE = Path(__file__).resolve().parent
OUT = HERE / "out"


def main() -> None:
    options = parse_options()
    # A terminating signal takes the way of Ctrl-C, so that every process that was started is ended.
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)
    descriptors = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (descriptors, descriptors))
    build_load()
    peers = choose(options)
    results = {
        "machine": {"kernel": platform.release(), "processor": processor()},
        "options": {"seconds": options.seconds, "rounds": options.rounds, "pairs": options.pairs},
        "versions": {peer.name: version(peer) for peer in peers},
        "runs": [],
    }
    try:
        for name in options.scenario:
            for logs in options.logs:
                figures = run(name, logs == "file", peers, options)
                results["runs"].append({"scenario": name, "logs": logs} | figures)
    except KeyboardInterrupt:
        sys.exit("interrupted")
    finally:
        if options.json:
            Path(options.json).write_text(json.dumps(results, indent=1) + "\n")


def parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    listed = lambda known: lambda text: [one_of(known, word) for word in text.split(",")]
    parser.add_argument("--scenario", type=listed(SCENARIOS), default=["small9"], help=f"of {', '.join(SCENARIOS)}")
    parser.add_argument("--logs", type=listed(["file", "off"]), default=["file"], help="file, off or both; default file")
    everyone = ["tidegate", *PEERS, FLOOR.name]
    parser.add_argument("--proxies", type=listed(everyone), default=everyone, help=f"of {', '.join(everyone)}")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=5, help="of load per proxy and round")
    parser.add_argument("--pairs", type=int, default=0, help="compare the first proxy with --peer in alternating pairs")
    parser.add_argument("--peer", choices=PEERS, help="the other half of each pair; none in the scenario routes")
    built = HERE.parent / "target/release/tidegate"
    parser.add_argument("--tidegate", type=Path, default=built, metavar="PATH", help="the program under test")
    parser.add_argument("--json", metavar="FILE", help="where every single measurement goes")
    options = parser.parse_args()
    if options.pairs:
        alone = options.scenario == ["routes"]
        if bool(options.peer) == alone:
            parser.error("--pairs needs --peer, and in the scenario routes, where a proxy is its own peer, none")
        options.proxies = options.proxies[:1] + ([options.peer] if options.peer else [])
    return options


def one_of(known, word: str) -> str:
    if word not in known:
        raise argparse.ArgumentTypeError(f"`{word}` is none of {', '.join(known)}")
    return word


def build_load() -> None:
    manifest = HERE / "load/Cargo.toml"
    command = ["cargo", "build", "--release", "--locked", "--quiet", "--manifest-path", manifest]
    subprocess.run([*command, "--target-dir", OUT / "target"], check=True)


def choose(options: argparse.Namespace) -> list[Peer]:
    known = PEERS | {"tidegate": tidegate(options.tidegate), FLOOR.name: FLOOR}
    chosen = []
    for name in options.proxies:
        if known[name].find():
            chosen.append(known[name])
        else:
            note(f"{name}: left out, not installed ({known[name].binary})")
    return chosen


def run(name: str, logs: bool, peers: list[Peer], options: argparse.Namespace) -> dict:
    scenario = SCENARIOS[name]
    print(f"\n## {name}, logs {'to a file' if logs else 'off'}\n\n{scenario.about}\n")
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="run-", dir=OUT)))
        measured = Run(scenario, logs, options.seconds, folder, stack)
        contestants = enter(measured, name, peers)
        rows = rounds(measured, contestants, options.pairs or options.rounds)
    if len(rows) < (2 if options.pairs else 1):
        note("nothing to compare")
        return {"proxies": rows}
    compare(scenario, rows, contestants)
    print(report.table(scenario, rows))
    doubts = report.doubts(scenario, logs, rows)
    for doubt in doubts:
        print(f"- {doubt}")
    if not options.pairs:
        return {"proxies": rows, "doubts": doubts}
    # Of one proxy with few and many routes, many is what is judged.
    first, second = reversed(rows) if scenario.routes else rows
    ratios = [one["cost"] / other["cost"] for one, other in zip(rows[first], rows[second])]
    print(f"\n{first} / {second}: {report.verdict(ratios)}")
    return {"proxies": rows, "doubts": doubts, "ratio": median(ratios), "interval": report.interval(ratios)}


def enter(measured: Run, name: str, peers: list[Peer]) -> list[Contestant]:
    """Starts whoever can take part."""
    contestants = []
    for peer in peers:
        many = measured.scenario.routes
        entries = [Contestant(peer, 1), Contestant(peer, many)] if many else [Contestant(peer)]
        try:
            for entry in entries:
                measured.enter(entry)
            contestants += entries
        except Unfit as fault:
            note(f"{peer.name}: left out, {fault}")
    return contestants


def rounds(measured: Run, contestants: list[Contestant], count: int) -> dict[str, list[dict]]:
    """Everybody once a round, each time beginning with another, so that nobody is always the first."""
    rows = {contestant.name: [] for contestant in contestants}
    dropped = []
    for number in range(count):
        start = number % len(contestants) if contestants else 0
        for contestant in contestants[start:] + contestants[:start]:
            if contestant.peer in dropped:
                continue
            try:
                result = measured.measure(contestant)
            except Unfit as fault:
                note(f"{contestant.name}: left out, {fault}")
                dropped.append(contestant.peer)
                continue
            rows[contestant.name].append(result)
            note(f"round {number + 1}/{count} {contestant.name}: {result['cost']:.3f} {measured.scenario.cost.title}")
    contestants[:] = [contestant for contestant in contestants if contestant.peer not in dropped]
    return {contestant.name: rows[contestant.name] for contestant in contestants}


def compare(scenario: Scenario, rows: dict[str, list[dict]], contestants: list[Contestant]) -> None:
    """Adds to every measurement its ratio to the best peer of its round, or to the same proxy with one route."""
    for contestant in contestants:
        for number, result in enumerate(rows[contestant.name]):
            if scenario.routes:
                base = rows[Contestant(contestant.peer, 1).name][number]["cost"]
            else:
                others = [rows[other.name][number]["cost"] for other in contestants if is_peer(other.peer)]
                base = min(others, default=result["cost"])
            result["ratio"] = result["cost"] / base


def is_peer(peer: Peer) -> bool:
    return peer.proxy and peer.name != "tidegate"


def version(peer: Peer) -> str:
    done = subprocess.run([peer.find(), *peer.version], capture_output=True, text=True, check=False)
    return " ".join((done.stdout + done.stderr).split()[:12])


def processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def note(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
