"""What the gateway is to reach, against what was measured, in words. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from benchmarks.candidate import CADDY, ENVOY, NGINX_LUA, OURS_EXACT
from benchmarks.findings import Findings
from benchmarks.rounds import SCENARIOS, Sample, Samples
from benchmarks.standing import IDLE

OF_ENVOY = 1 / 1.5
OF_CADDY = 1 / 2
OF_NGINX_LUA = 1.0
MOST_ADDED_P99_US = 5000
MOST_IDLE_BYTES = 20_000
MOST_GROWTH = 0.02
"""Of memory over all requests after the first tenth: below it, it counts as flat."""
MOST_CPU_GROWTH = 1.1
"""Of CPU per request when a second worker runs: the throughput of N cores is N times one core's, less this."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """One target. `passed` is None where something needed was not measured."""

    target: str
    measured: str
    passed: bool | None

    @property
    def word(self) -> str:
        """The verdict as a word."""
        return {None: "not measured", True: "pass", False: "FAIL"}[self.passed]


def judge(findings: Findings) -> list[Verdict]:
    """Every target."""
    return [*_cpu_verdicts(findings), *_other_verdicts(findings)]


def _cpu_verdicts(findings: Findings) -> Iterator[Verdict]:
    rivals = (
        (ENVOY, "gateway CPU of full enforcement at most Envoy's plain proxying / 1.5", OF_ENVOY, _gateway),
        (CADDY, "gateway CPU of full enforcement at most Caddy's plain proxying / 2", OF_CADDY, _gateway),
        (NGINX_LUA, "gateway and cache CPU at most those of nginx + Lua + Redis script", OF_NGINX_LUA, _total),
    )
    samples = findings.scenarios.get(SCENARIOS[0].name)
    for rival, target, most, figure in rivals:
        ratio = None if samples is None else _ratio(samples, rival, figure)
        if samples is None or ratio is None:
            yield Verdict(target=target, measured=f"{rival} or {OURS_EXACT} was not measured", passed=None)
            continue
        own, other = samples.median(OURS_EXACT, figure), samples.median(rival, figure)
        measured = f"{own:.1f} us against {other:.1f} us: {ratio:.2f} of it, at most {most:.2f} wanted"
        yield Verdict(target=target, measured=measured, passed=ratio <= most)


def _ratio(samples: Samples, rival: str, figure: Callable[[Sample], float]) -> float | None:
    return samples.compared(OURS_EXACT, rival, lambda own, other: figure(own) / figure(other))


def _other_verdicts(findings: Findings) -> Iterator[Verdict]:
    yield _linearity(findings)
    target, fixed = "added p99 below 5 ms at 70 % load", findings.fixed_rate
    if fixed is None:
        yield Verdict(target=target, measured="not measured", passed=None)
    else:
        measured = f"{fixed.added_p99_us / 1000:.2f} ms added at {fixed.median(lambda s: s.rate):,.0f} requests/s"
        yield Verdict(target=target, measured=measured, passed=fixed.added_p99_us < MOST_ADDED_P99_US)
    target = f"{IDLE:,} idle keep-alive connections below 20 KB each"
    each = findings.standing.idle_bytes.get(OURS_EXACT) if findings.standing else None
    if each is None:
        yield Verdict(target=target, measured="not measured", passed=None)
    else:
        yield Verdict(target=target, measured=f"{each / 1000:.1f} KB each", passed=each < MOST_IDLE_BYTES)
    yield _memory(findings)


def _linearity(findings: Findings) -> Verdict:
    target, linear = "linear to 2 workers: a request costs the same CPU with either", findings.linearity
    if linear is None:
        return Verdict(target=target, measured="not measured", passed=None)
    measured = (
        f"{linear.cpu_us[0]:.1f} us with one, {linear.cpu_us[1]:.1f} us with two ({linear.growth:.2f} times, "
        f"at most {MOST_CPU_GROWTH} wanted); the busier worker did {linear.busiest:.0%}"
    )
    return Verdict(target=target, measured=measured, passed=linear.growth <= MOST_CPU_GROWTH)


def _memory(findings: Findings) -> Verdict:
    course = findings.memory
    if course is None:
        return Verdict(target="memory flat over many requests", measured="not measured", passed=None)
    measured = f"{course.growth_bytes / 1e6:+.2f} MB ({course.growth:+.1%}, at most {MOST_GROWTH:.0%} counts as flat)"
    target = f"memory flat over {course.points[-1][0]:,} requests"
    return Verdict(target=target, measured=measured, passed=course.growth <= MOST_GROWTH)


def _gateway(sample: Sample) -> float:
    return sample.cpu_us


def _total(sample: Sample) -> float:
    return sample.total_us
