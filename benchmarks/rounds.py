"""Alternating rounds: every candidate once, then every candidate again; so a machine that
slows down slows all of them. Figures are medians; comparisons are medians of what was
compared within one round.
"""

from __future__ import annotations

import re
import statistics
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.client import HTTPException

from benchmarks.candidate import DIRECT, OURS_MANY, Running
from benchmarks.load import Pressure, press
from benchmarks.machine import Cores, calibrate_ms
from benchmarks.processes import Answer, NotMeasured, fetch, get
from benchmarks.upstream_server import BODIES, UPLOADS, method_of

_COOKIES = 2
_LEFT = re.compile(r"(?:^|;r=)(\d+)")
"""What is left, in a `RateLimit` field or as the only number of a field."""
_COUNTED_OF_SENT = 0.98
_WARM_S = 1
_LIGHT_S = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """One kind of request."""

    name: str
    path: str
    connections: int
    closes: bool = False
    left_out: tuple[str, ...] = ()
    """Candidates for which it shows nothing new."""


SCENARIOS = (
    Scenario(name="1 KB keep-alive", path="/v1/1kb", connections=32),
    Scenario(name="1 KB new connections", path="/v1/1kb", connections=32, closes=True),
    Scenario(name="100 KB keep-alive", path="/v1/100kb", connections=32, left_out=(OURS_MANY,)),
    Scenario(name="10 MB keep-alive", path="/v1/10mb", connections=8, left_out=(OURS_MANY,)),
    Scenario(name="1 MB upload", path="/v1/upload", connections=8, left_out=(OURS_MANY,)),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One candidate in one round."""

    cpu_us: float
    """CPU of the gateway's processes per request; 0 for the API itself."""
    cache_us: float
    per_s: float
    p50_us: float
    p99_us: float
    """As the one caller saw them who is alone."""
    busy_p50_us: float
    busy_p99_us: float
    """At full speed, where all connections wait for each other."""
    memory_mb: float
    cache_mb: float
    errors: int
    calibration_ms: float

    @property
    def total_us(self) -> float:
        """CPU of gateway and cache per request."""
        return self.cpu_us + self.cache_us


@dataclass(slots=True)
class Samples:
    """What was measured of each candidate, or why nothing was."""

    rounds: dict[str, list[Sample]] = field(default_factory=dict)
    faults: dict[str, str] = field(default_factory=dict)

    def median(self, name: str, figure: Callable[[Sample], float]) -> float:
        """The median over the rounds."""
        return statistics.median(figure(sample) for sample in self.rounds[name])

    def compared(self, name: str, other: str, compare: Callable[[Sample, Sample], float]) -> float | None:
        """The median of what a round's two samples compare to; None if one of the two was not measured."""
        pairs = list(zip(self.rounds.get(name, ()), self.rounds.get(other, ()), strict=False))
        return statistics.median(compare(one, two) for one, two in pairs) if pairs else None


def check_answers(running: Running, path: str) -> None:
    """See that a candidate answers rightly, and that it enforces what it says that it enforces.

    Raises:
        NotMeasured: It does not.
    """
    try:
        answer, following = _ask(running, path), _ask(running, path)
        stranger = get(running.port, path, {"X-API-Key": "tg_test_of_somebody_else"})
    except (OSError, HTTPException) as error:
        raise NotMeasured(f"no answer of {path}: {error!r}") from None
    cookies = sum(name == "set-cookie" for name, _ in answer.headers)
    if (answer.status, answer.body, cookies) != (200, BODIES[path], _COOKIES):
        raise NotMeasured(f"wrong answer: {answer.status}, {len(answer.body)} bytes, {cookies} cookies")
    if running.enforces and stranger.status != 401:
        raise NotMeasured(f"a caller without a good key gets {stranger.status}")
    if running.left_field is not None:
        _check_left(running.left_field, answer, following)


def _ask(running: Running, path: str) -> Answer:
    """One request as the load generators send it."""
    headers = {"X-API-Key": running.keys[0]}
    return fetch(running.port, method_of(path), path, headers, b"x" * UPLOADS.get(path, 0))


def _check_left(field_name: str, answer: Answer, following: Answer) -> None:
    """See that one request takes one unit of what is left of the quota, which is told last."""
    told = [_LEFT.findall(dict(one.headers).get(field_name, "")) for one in (answer, following)]
    if not all(told):
        raise NotMeasured(f"it does not say what is left of the limits ({field_name})")
    before, after = (int(numbers[-1]) for numbers in told)
    if before - after != 1:
        raise NotMeasured(f"one request takes what is left from {before} to {after}")


def check_counts(running: Running) -> None:
    """See that the quota in the cache has counted what was sent.

    Raises:
        NotMeasured: Requests passed uncounted.
    """
    counted = running.count()
    if counted < running.sent * _COUNTED_OF_SENT and running.left_field is not None and len(running.keys) == 1:
        raise NotMeasured(f"of {running.sent} requests only {counted} were counted")


def play(scenario: Scenario, candidates: Mapping[str, Running], cores: Cores, *, rounds: int, seconds: int) -> Samples:
    """Measure every candidate in turn, so many times. One that fails is left out from then on."""
    samples = Samples()
    for number in range(-1, rounds):  # the first round warms up
        for name, running in candidates.items():
            if name in samples.faults or name in scenario.left_out:
                continue
            try:
                if number < 0:
                    check_answers(running, scenario.path)
                    _warm_up(scenario, running, cores)
                    continue
                sample = _sample(scenario, running, cores, seconds)
                samples.rounds.setdefault(name, []).append(sample)
                _tell(scenario.name, number, name, sample)
                if number == rounds - 1:
                    check_answers(running, scenario.path)
                    check_counts(running)
            except NotMeasured as fault:
                samples.rounds.pop(name, None)
                samples.faults[name] = str(fault)
    return samples


def added(samples: Samples, name: str, figure: Callable[[Sample], float]) -> float | None:
    """What a candidate adds to a figure of the API called directly."""
    return samples.compared(name, DIRECT, lambda one, two: figure(one) - figure(two))


def _warm_up(scenario: Scenario, running: Running, cores: Cores) -> None:
    """Until every connection, page and account is where it is from then on."""
    pressure = Pressure(path=scenario.path, connections=scenario.connections, seconds=_WARM_S, closes=scenario.closes)
    goal = running.sent + len(running.keys)
    press(running, pressure, cores.others)
    while running.sent < goal:
        press(running, pressure, cores.others)


def _sample(scenario: Scenario, running: Running, cores: Cores, seconds: int) -> Sample:
    calibration_ms = calibrate_ms(cores.gateway)
    gateway, cache = running.gateway, running.cache
    cpu_s = gateway.cpu_s() if gateway else 0.0
    cache_s = cache.cpu_s() if cache else 0.0
    busy = press(
        running,
        Pressure(path=scenario.path, connections=scenario.connections, seconds=seconds, closes=scenario.closes),
        cores.others,
    )
    cpu_s = gateway.cpu_s() - cpu_s if gateway else 0.0
    cache_s = cache.cpu_s() - cache_s if cache else 0.0
    memory = gateway.memory_bytes() if gateway else 0
    cache_memory = cache.memory_bytes() if cache else 0
    light = Pressure(path=scenario.path, connections=1, seconds=_LIGHT_S, closes=scenario.closes)
    alone = press(running, light, cores.others)
    return Sample(
        cpu_us=cpu_s / busy.requests * 1e6,
        cache_us=cache_s / busy.requests * 1e6,
        per_s=busy.per_s,
        p50_us=alone.p50_us,
        p99_us=alone.p99_us,
        busy_p50_us=busy.p50_us,
        busy_p99_us=busy.p99_us,
        memory_mb=memory / 1e6,
        cache_mb=cache_memory / 1e6,
        errors=busy.errors + alone.errors,
        calibration_ms=calibration_ms,
    )


def _tell(part: str, number: int, name: str, sample: Sample) -> None:
    print(
        f"{part}, round {number + 1}: {name}: {sample.cpu_us:.1f} + {sample.cache_us:.1f} us, {sample.per_s:.0f}/s",
        file=sys.stderr,
        flush=True,
    )
