"""Three measures of our own gateway: two workers against one, a fixed rate below full load, and memory over time."""

from __future__ import annotations

import statistics
import sys
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass

from benchmarks.candidate import DIRECT, OURS_EXACT, Running
from benchmarks.ground import Ground
from benchmarks.load import Pressure, press
from benchmarks.options import Options
from benchmarks.ours import Shape, ours
from benchmarks.rounds import check_answers

LINEARITY_PART = "two workers"
RATE_PART = "70 % load"
MEMORY_PART = "memory over requests"
_PATH = "/v1/1kb"
_SHARE = 0.7
_FULL = 32
_CONNECTIONS = 64
_SPLIT_CONNECTIONS = 64
_MOST_SAMPLES = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Linearity:
    """One worker and two, free to run on every core; medians."""

    cpu_us: tuple[float, float]
    """CPU of the gateway per request, with one worker and with two."""
    per_s: tuple[float, float]
    growth: float
    """CPU per request of two, divided by that of one: the median of the rounds."""
    speedup: float
    """Requests a second of two, divided by that of one."""
    busiest: float
    """Share of the busier worker in the CPU of both; 0.5 is even."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RateSample:
    """One round below full load: the API directly, and through the gateway, at the same rate."""

    rate: float
    """70 % of what the gateway took at full speed a moment before."""
    share: float
    """CPU of the gateway's processes, as a share of one core."""
    direct_p50_us: float
    direct_p99_us: float
    p50_us: float
    p99_us: float


@dataclass(frozen=True, slots=True, kw_only=True)
class FixedRate:
    """Latency below full load, by round."""

    rounds: tuple[RateSample, ...]

    def median(self, figure: Callable[[RateSample], float]) -> float:
        """The median over the rounds."""
        return statistics.median(figure(sample) for sample in self.rounds)

    @property
    def added_p99_us(self) -> float:
        """What the gateway adds to the slowest hundredth."""
        return self.median(lambda sample: sample.p99_us - sample.direct_p99_us)


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryCourse:
    """Memory of the gateway's processes after so many requests."""

    points: tuple[tuple[int, int], ...]
    """Requests so far, bytes held."""

    @property
    def growth_bytes(self) -> int:
        """From the first point to the last."""
        return self.points[-1][1] - self.points[0][1]

    @property
    def growth(self) -> float:
        """As a share of the first point."""
        return self.growth_bytes / self.points[0][1]


def measure_linearity(ground: Ground, upstream: int, options: Options) -> Linearity:
    """Start both and alternate.

    Raises:
        NotMeasured: One of them does not start or answer.
    """
    cpu_us: tuple[list[float], list[float]] = ([], [])
    per_s: tuple[list[float], list[float]] = ([], [])
    shares = []
    with ExitStack() as stack:
        shapes = [Shape(workers=workers, cores=ground.cores.all) for workers in (1, 2)]
        both = [stack.enter_context(ours(ground, upstream, shape)) for shape in shapes]
        for number in range(-1, options.rounds):
            for index, running in enumerate(both):
                check_answers(running, _PATH)
                used, load_per_s, share = _split_load(ground, running, options.seconds if number >= 0 else 1)
                if number >= 0:
                    cpu_us[index].append(used)
                    per_s[index].append(load_per_s)
                    shares += [share] if index else []
    return Linearity(
        cpu_us=(statistics.median(cpu_us[0]), statistics.median(cpu_us[1])),
        per_s=(statistics.median(per_s[0]), statistics.median(per_s[1])),
        growth=statistics.median(two / one for one, two in zip(*cpu_us, strict=True)),
        speedup=statistics.median(two / one for one, two in zip(*per_s, strict=True)),
        busiest=statistics.median(shares),
    )


def _split_load(ground: Ground, running: Running, seconds: int) -> tuple[float, float, float]:
    """CPU per request in microseconds, requests a second, and the busiest process's share of the CPU."""
    if running.gateway is None:
        raise AssertionError("our own gateway has processes")
    before = running.gateway.cpu_s_each()
    pressure = Pressure(path=_PATH, connections=_SPLIT_CONNECTIONS, seconds=seconds)
    load = press(running, pressure, ground.cores.all)
    used = {pid: at - before.get(pid, 0.0) for pid, at in running.gateway.cpu_s_each().items()}
    total = sum(used.values())
    return total / load.requests * 1e6, load.per_s, max(used.values()) / total


def measure_fixed_rate(ground: Ground, candidates: Mapping[str, Running], options: Options) -> FixedRate:
    """Find out what the gateway takes, then send 70 % of it to the API and to the gateway; so many times.

    The rate is found anew in every round: a machine that slows down would otherwise turn 70 % into overload.

    Raises:
        NotMeasured: The generator failed.
    """
    rounds = []
    for _ in range(options.rounds):
        full = press(candidates[OURS_EXACT], Pressure(path=_PATH, connections=_FULL, seconds=1), ground.cores.others)
        rounds.append(_rate_sample(ground, candidates, full.per_s * _SHARE, options.seconds))
    return FixedRate(rounds=tuple(rounds))


def _rate_sample(ground: Ground, candidates: Mapping[str, Running], rate: float, seconds: int) -> RateSample:
    pressure = Pressure(path=_PATH, connections=_CONNECTIONS, seconds=seconds, rate=rate)
    straight = press(candidates[DIRECT], pressure, ground.cores.others)
    gateway = candidates[OURS_EXACT].gateway
    used = gateway.cpu_s() if gateway else 0.0
    through = press(candidates[OURS_EXACT], pressure, ground.cores.others)
    used = gateway.cpu_s() - used if gateway else 0.0
    return RateSample(
        rate=rate,
        share=used / through.seconds,
        direct_p50_us=straight.p50_us,
        direct_p99_us=straight.p99_us,
        p50_us=through.p50_us,
        p99_us=through.p99_us,
    )


def measure_memory(ground: Ground, running: Running, options: Options) -> MemoryCourse:
    """Full speed until enough requests were answered; the first tenth warms up.

    Raises:
        NotMeasured: The generator failed.
    """
    if running.gateway is None:
        raise AssertionError("our own gateway has processes")
    first, start = options.memory_requests // 10, running.sent
    pressure = Pressure(path=_PATH, connections=_FULL, seconds=options.seconds)
    points: list[tuple[int, int]] = []
    while (done := running.sent - start) < options.memory_requests:
        press(running, pressure, ground.cores.others)
        done = running.sent - start
        if done >= first:
            points.append((done, running.gateway.memory_bytes()))
            print(f"{MEMORY_PART}: {done:,}: {points[-1][1] / 1e6:.1f} MB", file=sys.stderr, flush=True)
    every = -(-len(points) // _MOST_SAMPLES)
    return MemoryCourse(points=(*points[:-1:every], points[-1]))
