"""Load on one candidate: by wrk where it is installed, else by a generator of our own.

At full speed the connections send as fast as they are answered, which shows what a request
costs and how many go through. At a fixed rate (always our own generator: wrk has none)
requests are due at random instants, and a late one counts as late.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from dataclasses import dataclass

from benchmarks.candidate import Running
from benchmarks.ground import CONF, our_python
from benchmarks.machine import on_cores
from benchmarks.processes import NotMeasured
from benchmarks.upstream_server import UPLOADS

_SLACK_S = 60
_MOST_ERRORS = 0.01
"""Of the requests: what fails is answered faster or slower than what does not, so beyond this nothing is compared."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What a load generator saw."""

    requests: int
    """Answered, well or not."""
    seconds: float
    p50_us: float
    p99_us: float
    errors: int
    """Answers above 399, broken connections and time-outs."""

    @property
    def per_s(self) -> float:
        """Requests a second."""
        return self.requests / self.seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class Pressure:
    """What a load generator is to do."""

    path: str
    connections: int
    seconds: int
    closes: bool = False
    """Whether every request comes on a new connection."""
    rate: float = 0
    """Requests a second; 0: as fast as they are answered."""


def press(running: Running, pressure: Pressure, cores: frozenset[int]) -> Load:
    """Put load on a candidate, from these cores.

    Raises:
        NotMeasured: The generator failed, or too many requests did.
    """
    wrk = shutil.which("wrk")
    command = _own(running, pressure) if wrk is None or pressure.rate else _wrk(wrk, running, pressure)
    with on_cores(cores):
        result = subprocess.run(
            command, capture_output=True, text=True, timeout=pressure.seconds + _SLACK_S, check=False
        )
    _, found, figures = result.stdout.partition("FIGURES ")
    if not found:
        raise NotMeasured(f"the load generator failed: {(result.stderr or result.stdout).strip()[-300:]}")
    load = Load(**json.loads(figures))
    running.sent += load.requests
    if not load.requests or load.errors > load.requests * _MOST_ERRORS:
        raise NotMeasured(f"{load.errors} errors with {load.requests} answers")
    return load


def generator_words() -> str:
    """What makes the load at full speed, for the report."""
    if shutil.which("wrk") is not None:
        return "wrk, 1 thread"
    return "our own (Python, uvloop), for wrk is not installed (Debian: apt-get install wrk)"


def _wrk(wrk: str, running: Running, pressure: Pressure) -> list[str]:
    words = [wrk, "-t1", f"-c{pressure.connections}", f"-d{pressure.seconds}s", "--timeout", "10s"]
    url = f"http://127.0.0.1:{running.port}{pressure.path}"
    upload = str(UPLOADS.get(pressure.path, 0))
    return [*words, "-s", str(CONF / "wrk.lua"), url, "--", str(running.key_file), _end_of(pressure), upload]


def _own(running: Running, pressure: Pressure) -> list[str]:
    facts = (running.port, pressure.path, running.key_file, pressure.connections, pressure.seconds, pressure.rate)
    return our_python("benchmarks.generator", *map(str, facts), _end_of(pressure))


def _end_of(pressure: Pressure) -> str:
    return "close" if pressure.closes else "keep"
