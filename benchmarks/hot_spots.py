"""`make profile`: where a gateway under full enforcement spends its time, function by function.

Under cProfile every Python function costs several times what it does alone, so shares are
rough; the C parts (event loop, parser, system calls) show only as the functions that call them.
"""

from __future__ import annotations

import pstats
import tempfile
from pathlib import Path

from benchmarks.ground import Ground
from benchmarks.load import Pressure, press
from benchmarks.machine import choose_cores
from benchmarks.options import read_options
from benchmarks.ours import Shape, ours
from benchmarks.upstream import running_upstream
from gateway.telemetry import configure_logging

_SHOWN = 45
_LEAST_S = 5
_PER_REQUEST = 0.8


def main() -> None:
    """Print the functions that take most time of their own."""
    configure_logging("console", "error")
    with tempfile.TemporaryDirectory(prefix="tiergate-bench-") as directory:
        ground = Ground(directory=Path(directory), cores=choose_cores())
        profile = Path(directory) / "profile"
        shape = Shape(python=("cProfile", "-o", str(profile), "-m"))
        with running_upstream(ground) as upstream, ours(ground, upstream, shape) as running:
            pressure = Pressure(path="/v1/1kb", connections=32, seconds=max(_LEAST_S, read_options().seconds))
            load = press(running, pressure, ground.cores.others)
        _print_functions(pstats.Stats(str(profile)), load.requests)


def _print_functions(stats: pstats.Stats, requests: int) -> None:
    """Those that were called about once per request or more often: the start-up's own are not of interest."""
    rows = [
        (own_s, calls, all_s, f"{Path(file).name}:{line} {name}" if line else name)
        for (file, line, name), (_, calls, own_s, all_s, _) in stats.stats.items()  # type: ignore[attr-defined]
        if calls >= requests * _PER_REQUEST
    ]
    print(f"{requests} requests; per request:\n{'own us':>8} {'all us':>8} {'calls':>7}  function")
    for own_s, calls, all_s, name in sorted(rows, reverse=True)[:_SHOWN]:
        print(f"{own_s / requests * 1e6:8.2f} {all_s / requests * 1e6:8.2f} {calls / requests:7.2f}  {name}")


if __name__ == "__main__":
    main()
