"""RESULTS.md from what was found. Pure text."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable

from benchmarks.candidate import DIRECT, OURS_EXACT
from benchmarks.candidates import CANDIDATES
from benchmarks.findings import Findings
from benchmarks.rounds import SCENARIOS, Sample, Samples, Scenario, added
from benchmarks.special import FixedRate, Linearity
from benchmarks.standing import IDLE_PART, STREAM_PART, STREAMS, Standing, StreamSample
from benchmarks.targets import judge
from benchmarks.upstream_server import EVENT_EVERY_S

CHART = "results.svg"
_NONE = "-"


def results_page(findings: Findings, facts: dict[str, str]) -> str:
    """The whole page.

    Args:
        findings: What was measured.
        facts: Machine, versions, method: name and sentence, in the order to be shown.
    """
    parts = [
        "# Results\n\nWritten by `make bench`; do not edit. How to read and repeat it: [README.md](README.md).",
        markdown_table(("", ""), ([f"**{name}**", fact] for name, fact in [*facts.items(), _calm(findings)])),
        "## Targets\n\nRatios are medians of the ratios within each round.",
        markdown_table(("target", "measured", "verdict"), ([v.target, v.measured, v.word] for v in judge(findings))),
        f"## CPU per request\n\n![CPU per request]({CHART})",
        markdown_table(("candidate", "what it does to a request"), ([c.name, c.note] for c in CANDIDATES)),
    ]
    for scenario in SCENARIOS:
        if (samples := findings.scenarios.get(scenario.name)) is not None:
            parts += [f"## {scenario.name}", _scenario_table(scenario, samples)]
    parts += _special_parts(findings)
    if findings.faults:
        parts += [
            "## Not measured",
            markdown_table(("part", "why"), ([name, why] for name, why in findings.faults.items())),
        ]
    return "\n\n".join(parts) + "\n"


def _scenario_table(scenario: Scenario, samples: Samples) -> str:
    titles = (
        "candidate",
        "gateway CPU us/request (least to most)",
        "cache CPU us",
        "together",
        "requests/s",
        "added p50 us, alone",
        "added p99 us, alone",
        "p50 / p99 ms at full speed",
        "memory MB, gateway + cache",
        "errors",
    )
    rows = []
    for candidate in CANDIDATES:
        name = candidate.name
        if name in samples.faults:
            rows.append([name, f"not measured: {samples.faults[name]}", *[""] * (len(titles) - 2)])
        elif name in samples.rounds:
            rows.append(_row(name, samples))
        elif name in scenario.left_out:
            rows.append([name, "not measured: nothing new at this size", *[""] * (len(titles) - 2)])
    words = f"{scenario.connections} connections at full speed; one when alone."
    return f"{words}\n\n{markdown_table(titles, rows)}"


def _row(name: str, samples: Samples) -> list[str]:
    def median(figure: Callable[[Sample], float]) -> float:
        return samples.median(name, figure)

    used = [sample.cpu_us for sample in samples.rounds[name]]
    has_cache = any(sample.cache_mb for sample in samples.rounds[name])
    is_direct = name == DIRECT
    memory = f"{median(lambda s: s.memory_mb):.1f}"
    return [
        name,
        _NONE if is_direct else f"**{statistics.median(used):.1f}** ({min(used):.1f} to {max(used):.1f})",
        f"{median(lambda s: s.cache_us):.1f}" if has_cache else _NONE,
        _NONE if is_direct else f"{median(lambda s: s.total_us):.1f}",
        f"{median(lambda s: s.per_s):,.0f}",
        _added(name, samples, lambda s: s.p50_us),
        _added(name, samples, lambda s: s.p99_us),
        f"{median(lambda s: s.busy_p50_us) / 1000:.2f} / {median(lambda s: s.busy_p99_us) / 1000:.2f}",
        _NONE if is_direct else memory + (f" + {median(lambda s: s.cache_mb):.1f}" if has_cache else ""),
        str(sum(sample.errors for sample in samples.rounds[name])),
    ]


def _added(name: str, samples: Samples, figure: Callable[[Sample], float]) -> str:
    if name == DIRECT:
        return f"({samples.median(name, figure):,.0f} itself)"
    difference = added(samples, name, figure)
    return _NONE if difference is None else f"{difference:+,.0f}"


def _special_parts(findings: Findings) -> list[str]:
    parts = []
    if findings.standing is not None:
        parts += _standing_parts(findings.standing)
    if findings.linearity is not None:
        parts += _linearity_parts(findings.linearity)
    if findings.fixed_rate is not None:
        parts += _fixed_rate_parts(findings.fixed_rate)
    if findings.memory is not None:
        rows = ([f"{requests:,}", f"{held / 1e6:.2f}"] for requests, held in findings.memory.points)
        parts += ["## Memory over requests", markdown_table(("requests so far", f"{OURS_EXACT}, MB"), rows)]
    return parts


def _linearity_parts(linear: Linearity) -> list[str]:
    rows = [
        ["1 worker", f"{linear.cpu_us[0]:.1f}", f"{linear.per_s[0]:,.0f}", "", ""],
        [
            "2 workers",
            f"{linear.cpu_us[1]:.1f}",
            f"{linear.per_s[1]:,.0f}",
            f"{linear.speedup:.2f}",
            f"{linear.busiest:.0%}",
        ],
    ]
    titles = (OURS_EXACT, "gateway CPU us/request", "requests/s", "requests/s of one", "share of the busier worker")
    words = (
        "Nothing is pinned: gateway, cache, API and load generator share all cores. On a machine with two cores "
        "they are full with one worker already, so CPU per request is what tells whether workers disturb each other."
    )
    return [f"## Two workers\n\n{words}", markdown_table(titles, rows)]


def _fixed_rate_parts(fixed: FixedRate) -> list[str]:
    titles = ("requests/s", "gateway CPU, of one core", "direct p50 / p99 ms", "p50 / p99 ms", "added p99 ms")
    row = [
        f"{fixed.median(lambda s: s.rate):,.0f}",
        f"{fixed.median(lambda s: s.share):.0%}",
        f"{fixed.median(lambda s: s.direct_p50_us) / 1000:.2f} / {fixed.median(lambda s: s.direct_p99_us) / 1000:.2f}",
        f"{fixed.median(lambda s: s.p50_us) / 1000:.2f} / {fixed.median(lambda s: s.p99_us) / 1000:.2f}",
        f"{fixed.added_p99_us / 1000:+.2f}",
    ]
    words = (
        f"{OURS_EXACT}, at 70 % of its own full speed, at random instants; the API directly at the same rate. "
        "Always with our own generator (Python, uvloop)."
    )
    return [f"## 70 % load\n\n{words}", markdown_table(titles, [row])]


def _standing_parts(standing: Standing) -> list[str]:
    parts = []
    if standing.idle_bytes:
        rows = [[name, f"{each / 1000:.1f}"] for name, each in standing.idle_bytes.items()]
        words = (
            "Memory of the gateway's processes per connection, each after one request. "
            "The kernel's buffers are not in it."
        )
        parts += [f"## {IDLE_PART}\n\n{words}", markdown_table(("candidate", "KB each"), rows)]
    if standing.streams:
        titles = ("candidate", "gateway CPU us/event", "events/s", "added p50 ms", "added p99 ms", "KB a stream")
        words = f"{STREAMS} callers, one event each every {EVENT_EVERY_S * 1000:.0f} ms, all at once."
        rows = [_stream_row(standing, name) for name in standing.streams]
        parts += [f"## {STREAM_PART}\n\n{words}", markdown_table(titles, rows)]
    if standing.faults:
        rows = [[name, why] for name, why in standing.faults.items()]
        parts += [markdown_table(("candidate", "not measured with standing connections"), rows)]
    return parts


def _stream_row(standing: Standing, name: str) -> list[str]:
    events = f"{standing.median(name, lambda s: s.events_per_s):,.0f}"
    if name == DIRECT:
        p50, p99 = (standing.median(name, figure) / 1000 for figure in (_p50, _p99))
        return [name, _NONE, events, f"({p50:.2f} itself)", f"({p99:.2f} itself)", _NONE]
    return [
        name,
        f"{standing.median(name, lambda s: s.cpu_us):.1f}",
        events,
        f"{standing.added(name, _p50) / 1000:+.2f}",
        f"{standing.added(name, _p99) / 1000:+.2f}",
        f"{max(sample.bytes_each for sample in standing.streams[name]) / 1000:.1f}",
    ]


def _p50(sample: StreamSample) -> float:
    return sample.p50_us


def _p99(sample: StreamSample) -> float:
    return sample.p99_us


def _calm(findings: Findings) -> tuple[str, str]:
    """How much the machine's speed moved during the run."""
    samples = [one for part in findings.scenarios.values() for rounds in part.rounds.values() for one in rounds]
    taken = sorted(sample.calibration_ms for sample in samples) or [0.0]
    middle = statistics.median(taken)
    words = (
        f"a fixed loop before each sample took {taken[0]:.2f} / {middle:.2f} / {taken[-1]:.2f} ms (least, median, most)"
    )
    return "calm", f"{words}; far apart means that the machine was disturbed"


def markdown_table(titles: Iterable[str], rows: Iterable[list[str]]) -> str:
    """A table of Markdown."""
    titles = tuple(titles)
    lines = [titles, tuple("---" for _ in titles), *(tuple(cell.replace("|", "/") for cell in row) for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
