"""`make bench-limits`: what limits cost, by how many there are and how they are decided; then LIMITS.md.

Only our own gateway, and nginx + Lua + one Redis script beside it. Candidates alternate as in
`benchmarks.rounds`. Round trips are counted where nobody can embellish them: by the cache server, as reads
from its clients (`total_reads_processed`), divided by the requests that were answered meanwhile. Background work
(settlement, decision records, news, checks) is in them, and so is every further read of one long command.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import redis

from benchmarks import peers
from benchmarks.candidate import NGINX_LUA, Candidate, Running
from benchmarks.ground import Ground
from benchmarks.load import Pressure, press
from benchmarks.machine import Disturbance, choose_cores, describe_machine
from benchmarks.options import FEWEST_ROUNDS, Options, read_options
from benchmarks.ours import Shape, ours
from benchmarks.processes import NotMeasured
from benchmarks.rounds import check_answers, check_counts
from benchmarks.table import markdown_table
from benchmarks.targets import Verdict
from benchmarks.upstream import running_upstream
from gateway import __version__
from gateway.telemetry import configure_logging

PLAIN = "plain proxy"
EXACT_1 = "exact, 1 limit"
EXACT_3 = "exact, 3 limits"
EXACT_6 = "exact, 6 limits"
MANY = "exact, 3 limits, 100,000 keys in turn"
CROWD = "exact, 3 limits, 100,000 keys by Zipf's law"
LEASED = "leased, 3 limits"
LEASED_CROWD = "leased, 3 limits, 100,000 keys by Zipf's law"
CLUSTER = "exact, 3 limits, a cluster of 3 masters, 1,000 keys in turn"

_PATH = "/v1/1kb"
_CONNECTIONS = 32
_RATE = 1000.0
_PACED_S = 5
"""At least, at that rate: what goes on beside calls is counted from before the load generator starts."""
_CUSTOMERS = 100_000
_DRAWN = 100_000
_LEASES = (("TIERGATE_LEASES", "on"),)
_MOST_CACHE_US = 40.0
_MOST_BYTES = 1024
_MOST_OF_PLAIN = 1.10
_MOST_LEASED_TRIPS = 0.02
_PAGE = Path(__file__).parent / "LIMITS.md"

ROWS = (
    Candidate(name=NGINX_LUA, note="one EVALSHA of our own charge script, 3 limits", start=peers.nginx_lua),
    Candidate(name=PLAIN, note="no limits; the key is checked", start=partial(ours, shape=Shape(policy="unlimited"))),
    Candidate(name=EXACT_1, note="1 quota", start=partial(ours, shape=Shape(policy="limits-1"))),
    Candidate(name=EXACT_3, note="2 rates, 1 quota", start=partial(ours, shape=Shape())),
    Candidate(name=EXACT_6, note="3 rates, 3 quotas", start=partial(ours, shape=Shape(policy="limits-6"))),
    Candidate(
        name=MANY,
        note="the worst case: no key comes twice soon",
        start=partial(ours, shape=Shape(customers=_CUSTOMERS)),
    ),
    Candidate(
        name=CROWD,
        note=f"{_DRAWN:,} requests drawn by rank, again and again",
        start=partial(ours, shape=Shape(customers=_CUSTOMERS, crowd=_DRAWN)),
    ),
    Candidate(
        name=LEASED,
        note="2 rates, 1 quota; charged before, a lease at a time",
        start=partial(ours, shape=Shape(settings=_LEASES)),
    ),
    Candidate(
        name=LEASED_CROWD,
        note="the busy ones by leases, the others exactly",
        start=partial(ours, shape=Shape(customers=_CUSTOMERS, crowd=_DRAWN, settings=_LEASES)),
    ),
    Candidate(
        name=CLUSTER,
        note="cache CPU is that of the three",
        start=partial(ours, shape=Shape(customers=1000, on_cluster=True)),
    ),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitSample:
    """One candidate in one round."""

    cpu_us: float
    """CPU of the gateway's processes per request, at full speed."""
    cache_us: float
    per_s: float
    trips: float
    """Reads of the cache server per request, at full speed: requests that are there at once share one."""
    paced_trips: float
    """The same at 1,000 requests a second, where few requests share anything."""

    @property
    def total_us(self) -> float:
        """CPU of gateway and cache per request."""
        return self.cpu_us + self.cache_us


@dataclass(slots=True)
class LimitFindings:
    """What was measured, by row; or why nothing was."""

    rounds: dict[str, list[LimitSample]]
    faults: dict[str, str]
    bytes_each: float | None = None
    """Memory of the cache server, divided by the customers in it, all of whom have called."""

    def median(self, name: str, figure: Callable[[LimitSample], float]) -> float | None:
        """The median over the rounds; None if it was not measured."""
        samples = self.rounds.get(name)
        return statistics.median(figure(sample) for sample in samples) if samples else None

    def ratio(self, name: str, other: str) -> float | None:
        """CPU of both, gateway and cache, of one row to another's: the median of the rounds' ratios."""
        pairs = list(zip(self.rounds.get(name, ()), self.rounds.get(other, ()), strict=False))
        return statistics.median(one.total_us / two.total_us for one, two in pairs) if pairs else None


def main() -> None:
    """Measure, print, and write the page if the run was whole."""
    configure_logging("console", "error")
    options, disturbance = read_options(), Disturbance.start()
    with tempfile.TemporaryDirectory(prefix="tiergate-bench-") as directory:
        ground = Ground(directory=Path(directory), cores=choose_cores())
        findings = measure(ground, options)
    page = limits_page(findings, options, disturbance.share())
    print(page)
    if options.only or options.rounds < FEWEST_ROUNDS:
        print("Not written to LIMITS.md: the run was partial, or had fewer than 5 rounds.", file=sys.stderr)
    else:
        _PAGE.write_text(page)


def measure(ground: Ground, options: Options) -> LimitFindings:
    """Start every row, then measure them in turn."""
    findings = LimitFindings(rounds={}, faults={})
    with ExitStack() as stack:
        upstream = stack.enter_context(running_upstream(ground))
        started: dict[str, Running] = {}
        for row in ROWS:
            if not options.wants_candidate(row.name):
                continue
            try:
                started[row.name] = stack.enter_context(row.start(ground, upstream))
                print(f"started: {row.name}", file=sys.stderr, flush=True)
            except NotMeasured as fault:
                findings.faults[row.name] = str(fault)
        for number in range(-1, options.rounds):
            for name, running in started.items():
                if name not in findings.faults:
                    _one_round(findings, number, name, running, ground, options)
    return findings


def _one_round(
    findings: LimitFindings, number: int, name: str, running: Running, ground: Ground, options: Options
) -> None:
    try:
        if number < 0:
            check_answers(running, _PATH)
            _warm_up(running, ground)
            if name == MANY:
                findings.bytes_each = _cache_fact(running, "used_memory") / _CUSTOMERS
            return
        sample = _sample(running, ground, options)
        findings.rounds.setdefault(name, []).append(sample)
        print(
            f"round {number + 1}: {name}: {sample.cpu_us:.1f} + {sample.cache_us:.1f} us, {sample.trips:.3f} and"
            f" {sample.paced_trips:.3f} round trips, {sample.per_s:.0f}/s",
            file=sys.stderr,
            flush=True,
        )
        if number == options.rounds - 1:
            check_answers(running, _PATH)
            check_counts(running)
    except NotMeasured as fault:
        findings.rounds.pop(name, None)
        findings.faults[name] = str(fault)


def _warm_up(running: Running, ground: Ground) -> None:
    """Until every key has been sent, or drawn."""
    goal = running.sent + len(running.keys)
    while running.sent < goal:
        press(running, Pressure(path=_PATH, connections=_CONNECTIONS, seconds=1), ground.cores.others)


def _sample(running: Running, ground: Ground, options: Options) -> LimitSample:
    gateway, cache = running.gateway, running.cache
    if gateway is None or cache is None:
        raise AssertionError("every row has both")
    cpu_s, cache_s, reads = gateway.cpu_s(), cache.cpu_s(), _cache_fact(running, "total_reads_processed")
    pressure = Pressure(path=_PATH, connections=_CONNECTIONS, seconds=options.seconds)
    load = press(running, pressure, ground.cores.others)
    cpu_s, cache_s = gateway.cpu_s() - cpu_s, cache.cpu_s() - cache_s
    between = _cache_fact(running, "total_reads_processed")
    paced = Pressure(path=_PATH, connections=_CONNECTIONS, seconds=max(options.seconds, _PACED_S), rate=_RATE)
    slow = press(running, paced, ground.cores.others)
    return LimitSample(
        cpu_us=cpu_s / load.requests * 1e6,
        cache_us=cache_s / load.requests * 1e6,
        per_s=load.per_s,
        trips=(between - reads) / load.requests,
        paced_trips=(_cache_fact(running, "total_reads_processed") - between) / slow.requests,
    )


def _cache_fact(running: Running, name: str) -> int:
    total = 0
    for url in running.cache_urls:
        with redis.Redis.from_url(url) as client:
            total += int(client.info()[name])
    return total


def limits_page(findings: LimitFindings, options: Options, others: float) -> str:
    """LIMITS.md. Pure text."""
    rows = []
    for row in ROWS:
        if row.name in findings.faults:
            rows.append([row.name, row.note, f"not measured: {findings.faults[row.name]}", "", "", "", "", ""])
        elif row.name in findings.rounds:
            rows.append([row.name, row.note, *_figures(findings, row.name)])
    titles = (
        "row",
        "what it does to a request",
        "gateway CPU us",
        "cache CPU us",
        "together, of plain",
        "requests/s",
        "round trips/request",
        "at 1,000 requests/s",
    )
    each = findings.bytes_each
    memory = (
        ""
        if each is None
        else f"\n\nThe cache holds **{each:,.0f} bytes** for each of {_CUSTOMERS:,} customers: account and counters."
    )
    return (
        "# What limits cost\n\nWritten by `make bench-limits`; do not edit. The method is that of"
        f" [README.md](README.md). One worker, 1 KB, {_CONNECTIONS} connections, {options.rounds} rounds of"
        f" {options.seconds} s, medians. Tiergate {__version__}; {describe_machine()}. Other programs took {others:.0%}"
        " of the machine's time.\n\n"
        + markdown_table(("target", "measured", "verdict"), ([v.target, v.measured, v.word] for v in judge(findings)))
        + "\n\n"
        + markdown_table(titles, rows)
        + memory
        + "\n"
    )


def _figures(findings: LimitFindings, name: str) -> list[str]:
    def median(figure: Callable[[LimitSample], float]) -> float:
        return findings.median(name, figure) or 0.0

    of_plain = findings.ratio(name, PLAIN)
    return [
        f"**{median(lambda s: s.cpu_us):.1f}**",
        f"{median(lambda s: s.cache_us):.1f}",
        "-" if of_plain is None else f"{of_plain:.2f}",
        f"{median(lambda s: s.per_s):,.0f}",
        f"{median(lambda s: s.trips):.3f}",
        f"{median(lambda s: s.paced_trips):.3f}",
    ]


def judge(findings: LimitFindings) -> list[Verdict]:
    """Every target of limits, against what was measured."""
    cache_us = findings.median(EXACT_3, lambda sample: sample.cache_us)
    trips = findings.median(EXACT_3, lambda sample: sample.paced_trips)
    return [
        _verdict(
            f"exact with 3 limits takes at most {_MOST_CACHE_US:.0f} us of cache CPU", cache_us, _MOST_CACHE_US, "us"
        ),
        _verdict("exact is at most one round trip per request", trips, 1.0, "round trips"),
        _verdict("a customer takes less than 1 KB of the cache", findings.bytes_each, _MOST_BYTES, "bytes"),
        _verdict(
            "leased takes at most 10 % more CPU than plain, gateway and cache together",
            findings.ratio(LEASED, PLAIN),
            _MOST_OF_PLAIN,
            "of it",
        ),
        _verdict(
            "leased takes at most 0.02 round trips per request at 1,000 a second",
            findings.median(LEASED, lambda sample: sample.paced_trips),
            _MOST_LEASED_TRIPS,
            "round trips",
        ),
    ]


def _verdict(target: str, measured: float | None, most: float, unit: str) -> Verdict:
    if measured is None:
        return Verdict(target=target, measured="not measured", passed=None)
    return Verdict(target=target, measured=f"{measured:,.3g} {unit}", passed=measured <= most)


if __name__ == "__main__":
    main()
