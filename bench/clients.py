"""The clients: what drives each version of HTTP, and how its figures are read."""

import re
import shutil
from pathlib import Path

from scenarios import Scenario

OUT = Path(__file__).resolve().parent / "out"
LOAD = OUT / "target/release/tidegate-load"

BROWSER = {
    "user-agent": "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
    "accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
    "accept-language": "en-GB,en;q=0.7,de;q=0.3",
    "accept-encoding": "gzip, deflate, br, zstd",
    "referer": "https://shop.example.com/catalogue?page=3",
    "cookie": "session=6b1f0c7e4d5a48e2a9d3c1b07f6e5d42; theme=dark; consent=1",
    "sec-fetch-site": "same-origin",
    "sec-fetch-mode": "navigate",
}


class Unfit(Exception):
    """This proxy cannot be measured, and why."""


def command(scenario: Scenario, address: str, routes: int, seconds: float, server: str) -> list[str]:
    if scenario.datagrams:
        return udp(scenario, address, seconds)
    if scenario.forward:
        words = [*own(scenario, address, 0, seconds), "--server", server]
        return words + {"url": [], "tunnel": ["--tunnel"], "intercept": ["--tunnel", "--tls"]}[scenario.forward]
    by_version = {"h1": own, "h2": h2load, "h3": h3}
    return by_version[scenario.version](scenario, address, routes, seconds)


def own(scenario: Scenario, address: str, routes: int, seconds: float) -> list[str]:
    # The warm-up of an idle scenario is an ordinary load.
    connections = 64 if scenario.fresh else scenario.connections
    words = [str(LOAD), "load", "--to", address, "--body", str(scenario.body), "--seconds", str(seconds)]
    words += ["--connections", str(connections), "--fields", str(scenario.fields), "--routes", str(max(1, routes))]
    words += ["--close"] if scenario.close else []
    return words + (["--tls"] if scenario.tls else [])


def udp(scenario: Scenario, address: str, seconds: float) -> list[str]:
    words = [str(LOAD), "udp", "--to", address, "--body", str(scenario.body), "--seconds", str(seconds)]
    return words + ["--connections", str(scenario.connections)]


def h2load(scenario: Scenario, address: str, routes: int, seconds: float) -> list[str]:
    """One thread. The same cryptography as our own client asks for, as far as options reach."""
    program = shutil.which("h2load")
    if not program:
        raise Unfit("there is no h2load (Debian: apt-get install nghttp2-client)")
    words = [program, "-c", str(scenario.connections), "-m", str(scenario.streams), "-t", "1"]
    # h2load counts in whole seconds, beginning when all connections stand.
    words += ["-D", str(max(1, round(seconds))), "--connect-to", address]
    for name, value in BROWSER.items() if scenario.fields > 1 else ():
        words += ["-H", f"{name}: {value}"]
    if scenario.tls:
        words += ["--tls13-ciphers", "TLS_AES_128_GCM_SHA256", "--groups", "X25519", "--npn-list", "h2"]
    else:
        words += ["-p", "h2c"]
    return [*words, f"{'https' if scenario.tls else 'http'}://h000.example.com/p0/index.html"]


def h3(scenario: Scenario, address: str, routes: int, seconds: float) -> list[str]:
    connections = 64 if scenario.fresh else scenario.connections
    words = [str(LOAD), "h3", "--to", address, "--body", str(scenario.body), "--seconds", str(seconds)]
    words += ["--connections", str(connections), "--streams", str(scenario.streams), "--fields", str(scenario.fields)]
    return words + ["--routes", str(max(1, routes))] + (["--close"] if scenario.close else [])


def said_by_h2load(text: str, scenario: Scenario) -> dict:
    """Its figures under our names. Every answer must be a success; of the bodies the sum is looked at."""
    counts = re.search(r"requests: (\d+) total, \d+ started, (\d+) done, (\d+) succeeded, (\d+) failed, (\d+) errored", text)
    codes = re.search(r"status codes: \d+ 2xx, (\d+) 3xx, (\d+) 4xx, (\d+) 5xx", text)
    traffic = re.search(r"\((\d+)\) data", text)
    seconds = re.search(r"finished in ([\d.]+)(m?s)", text)
    if not (counts and codes and traffic and seconds):
        raise Unfit(f"h2load says: {text[-400:].strip()}")
    _, _, succeeded, failed, errored = map(int, counts.groups())
    elapsed = float(seconds[1]) * (0.001 if seconds[2] == "ms" else 1)
    # Streams under way when time is up are neither answered nor failed; a short body is.
    short = max(0, succeeded - int(traffic[1]) // scenario.body)
    return {
        "requests": succeeded,
        "errors": failed + errored + sum(map(int, codes.groups())) + short,
        "bytes": int(traffic[1]),
        "seconds": elapsed,
        "rps": succeeded / elapsed,
    }
