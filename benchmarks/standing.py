"""Connections that stay: idle keep-alive connections, and a fan-out of event streams.

Measured on processes of their own: what a busy process has freed before would hide what a
connection takes.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field

from benchmarks.candidate import DIRECT, OURS_MANY, OURS_PLAIN, Running
from benchmarks.candidates import CANDIDATES, start_all
from benchmarks.ground import Ground
from benchmarks.listeners import end_listening, listening
from benchmarks.options import Options
from benchmarks.processes import NotMeasured
from benchmarks.rounds import check_answers
from benchmarks.upstream import running_own_upstream

IDLE = 1000
STREAMS = 500
IDLE_PART = f"{IDLE:,} idle connections"
STREAM_PART = f"{STREAMS} event streams"
_PATH = "/v1/1kb"
_SETTLE_S = 0.5
_LEFT_OUT = (OURS_PLAIN, OURS_MANY)


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamSample:
    """A fan-out to all streams in one round."""

    cpu_us: float
    """CPU of the gateway's processes per event and stream."""
    events_per_s: float
    p50_us: float
    p99_us: float
    """From the event's sending by the API to its arrival at the caller."""
    bytes_each: float
    """Memory that the gateway's processes took per stream, beyond what they held before the round. Later rounds
    find what the first has left."""


@dataclass(slots=True)
class Standing:
    """What was measured, by candidate."""

    idle_bytes: dict[str, float] = field(default_factory=dict)
    """Memory of the gateway's processes per idle connection. The kernel's share is not in it."""
    streams: dict[str, list[StreamSample]] = field(default_factory=dict)
    faults: dict[str, str] = field(default_factory=dict)

    def median(self, name: str, figure: Callable[[StreamSample], float]) -> float:
        """The median over the rounds."""
        return statistics.median(figure(sample) for sample in self.streams[name])

    def added(self, name: str, figure: Callable[[StreamSample], float]) -> float:
        """What a candidate adds to the API called directly, compared within each round."""
        pairs = zip(self.streams[name], self.streams[DIRECT], strict=False)
        return statistics.median(figure(one) - figure(other) for one, other in pairs)


def measure_standing(ground: Ground, options: Options) -> Standing:
    """Start every candidate afresh, hold connections, and stop them."""
    standing = Standing()
    names = [c.name for c in CANDIDATES if options.wants_candidate(c.name) and c.name not in _LEFT_OUT]
    with ExitStack() as stack:
        upstream = stack.enter_context(running_own_upstream(ground))
        candidates, standing.faults = start_all(stack, ground, upstream, names)
        if options.wants_part(IDLE_PART):
            _each(standing, candidates, lambda name, running: _hold_idle(standing, ground, name, running))
        if options.wants_part(STREAM_PART):
            for _ in range(options.rounds):
                _each(standing, candidates, lambda name, running: _fan_out(standing, ground, name, running, options))
    return standing


def _each(standing: Standing, candidates: Mapping[str, Running], work: Callable[[str, Running], None]) -> None:
    for name, running in candidates.items():
        if name in standing.faults:
            continue
        try:
            work(name, running)
        except NotMeasured as fault:
            standing.faults[name] = str(fault)
            standing.streams.pop(name, None)


def _hold_idle(standing: Standing, ground: Ground, name: str, running: Running) -> None:
    for _ in range(20):
        check_answers(running, _PATH)
    if running.gateway is None:
        return
    before = running.gateway.memory_bytes()
    with listening(ground, running, _PATH, IDLE) as process:
        time.sleep(_SETTLE_S)
        standing.idle_bytes[name] = (running.gateway.memory_bytes() - before) / IDLE
        end_listening(process)
    print(f"{IDLE_PART}: {name}: {standing.idle_bytes[name]:.0f} bytes each", file=sys.stderr, flush=True)


def _fan_out(standing: Standing, ground: Ground, name: str, running: Running, options: Options) -> None:
    gateway = running.gateway
    before = gateway.memory_bytes() if gateway else 0
    with listening(ground, running, "/v1/stream", STREAMS) as process:
        used, started = gateway.cpu_s() if gateway else 0.0, time.perf_counter()
        time.sleep(options.seconds)
        used = gateway.cpu_s() - used if gateway else 0.0
        elapsed = time.perf_counter() - started
        held = gateway.memory_bytes() - before if gateway else 0
        figures = end_listening(process)
    if not figures["events"]:
        raise NotMeasured("no event arrived")
    sample = StreamSample(
        cpu_us=used / figures["events"] * 1e6,
        events_per_s=figures["events"] / elapsed,
        p50_us=figures["p50_us"],
        p99_us=figures["p99_us"],
        bytes_each=held / STREAMS,
    )
    standing.streams.setdefault(name, []).append(sample)
    print(
        f"{STREAM_PART}: {name}: {sample.cpu_us:.1f} us an event, {sample.p99_us:.0f} us p99",
        file=sys.stderr,
        flush=True,
    )
