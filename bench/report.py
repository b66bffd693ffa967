"""Medians, intervals and tables."""

import math
from statistics import median

from scenarios import PER_CONNECTION, Scenario

COLUMNS = [
    # title, key, factor, digits
    ("requests/s", "rps", 1, 0),
    ("p50 us", "p50_us", 1, 0),
    ("p99 us", "p99_us", 1, 0),
    ("CPU s/GiB", "cpu_s_per_gib", 1, 3),
    ("proxy core %", "proxy_core", 100, 0),
    ("feeder core %", "feeder_core", 100, 0),
    ("client us", "client_us", 1, 1),
    ("others %", "others", 100, 0),
    ("new backend conns", "backend_connections", 1, 0),
    ("log lines/request", "log_lines_per_request", 1, 2),
    ("errors", "errors", 1, 0),
]


def table(scenario: Scenario, rows: dict[str, list[dict]]) -> str:
    """A line per proxy with the medians over its rounds; errors are summed."""
    present = {key for results in rows.values() for result in results for key in result}
    columns = [column for column in COLUMNS if column[1] in present]
    ratio = "x 1 route" if scenario.routes else "x best peer"
    lines = [["proxy", scenario.cost.title, ratio, *(title for title, *_ in columns)]]
    for name, results in rows.items():
        line = [name, middle(results, "cost", 1, scenario.cost.digits), middle(results, "ratio", 1, 3)]
        for _, key, factor, digits in columns:
            total = str(sum(result[key] for result in results)) if key == "errors" else None
            line.append(total or middle(results, key, factor, digits))
        lines.append(line)
    widths = [max(map(len, column)) for column in zip(*lines)]
    lines.insert(1, ["-" * width for width in widths])
    return "\n".join(f"| {' | '.join(aligned(line, widths))} |" for line in lines)


def aligned(line: list[str], widths: list[int]) -> list[str]:
    return [line[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(line[1:], widths[1:]))]


def middle(results: list[dict], key: str, factor: float, digits: int) -> str:
    values = [result[key] for result in results if key in result]
    return f"{median(values) * factor:.{digits}f}" if values else "-"


def interval(values: list[float]) -> tuple[float, float] | None:
    """The interval of the median with at least 95 % confidence, by order statistics; it needs six values."""
    values, n = sorted(values), len(values)
    outside = 0.0
    for rank in range(n // 2):
        outside += math.comb(n, rank) / 2**n
        if 2 * outside > 0.05:
            return (values[rank - 1], values[n - rank]) if rank else None
    return None


def verdict(ratios: list[float]) -> str:
    bounds = interval(ratios)
    known = f"95 % interval {bounds[0]:.3f} to {bounds[1]:.3f}" if bounds else "too few pairs for an interval"
    return f"median ratio {median(ratios):.3f}, {known}, {len(ratios)} pairs"


def doubts(scenario: Scenario, logs: bool, rows: dict[str, list[dict]]) -> list[str]:
    """What a reader must know before believing the table."""
    said = []
    for name, results in rows.items():
        if failed := sum(result["errors"] for result in results):
            said.append(f"{name}: {failed} requests failed")
        if scenario.cost is PER_CONNECTION:
            continue
        lines = [result["log_lines_per_request"] for result in results if "log_lines_per_request" in result]
        if logs and lines and median(lines) < 0.9:
            said.append(f"{name}: only {median(lines):.2f} log lines per request")
        if not logs and lines and median(lines) > 0.01:
            said.append(f"{name}: writes although logs are off")
        if scenario.close and (scenario.flows or scenario.forward == "tunnel"):
            continue
        fresh = median(result["backend_connections"] for result in results)
        if fresh > max(2 * scenario.connections * scenario.streams, 0.01 * median(result["requests"] for result in results)):
            said.append(f"{name}: {fresh:.0f} new backend connections a round, so they are not reused")
        others = median(result["others"] for result in results)
        if others > 0.1:
            said.append(f"{name}: other programs took {others:.0%} of a core meanwhile")
    return said
