"""This machine: which cores the parts run on, what it is, and how fast it is at the moment.

The gateway under test has one core to itself as far as this program can see to it; load
generator, API and cache share the others. Where cores cannot be chosen (macOS), nothing is pinned.
"""

from __future__ import annotations

import contextlib
import os
import platform
import resource
import statistics
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil

_CAN_PIN = hasattr(os, "sched_setaffinity")


@dataclass(frozen=True, slots=True, kw_only=True)
class Cores:
    """Where things run. Empty sets: wherever the system likes."""

    gateway: frozenset[int]
    others: frozenset[int]

    @property
    def all(self) -> frozenset[int]:
        """Every core that this program may use."""
        return self.gateway | self.others


def choose_cores() -> Cores:
    """The first core for the gateway, all others for the rest; with one core, it is for everything."""
    if not _CAN_PIN:
        return Cores(gateway=frozenset(), others=frozenset())
    usable = sorted(os.sched_getaffinity(0))
    return Cores(gateway=frozenset(usable[:1]), others=frozenset(usable[1:] or usable))


@contextlib.contextmanager
def on_cores(cores: frozenset[int]) -> Iterator[None]:
    """Processes that are started in here run on these cores, and so do theirs."""
    if not _CAN_PIN or not cores:
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def move_to_cores(pid: int, cores: frozenset[int]) -> None:
    """Move a running process, with all its threads."""
    if not _CAN_PIN or not cores:
        return
    for thread in psutil.Process(pid).threads():
        os.sched_setaffinity(thread.id, cores)


def calibrate_ms(cores: frozenset[int]) -> float:
    """CPU milliseconds that a fixed loop takes on these cores right now: it shows when the machine is disturbed."""
    taken = []
    with on_cores(cores):
        for _ in range(3):
            started = time.process_time()
            table: dict[int, int] = {}
            for number in range(60_000):
                table[number & 1023] = table.get((number * 7) & 1023, 0) + 1
            taken.append((time.process_time() - started) * 1000)
    return statistics.median(taken)


@dataclass(frozen=True, slots=True, kw_only=True)
class Disturbance:
    """How much of the machine's time other programs took, between a start and now.

    Read in two ways, neither of which sees all. What the machine was busy with, less what the run used, misses
    interrupts: many kernels count them on their own for the machine, but as the time of whoever they interrupt
    for a process. The sum over other processes misses those of other containers.
    """

    started_at: float
    by_machine_s: float
    by_process_s: float

    @classmethod
    def start(cls) -> Disturbance:
        """From here on."""
        return cls(started_at=time.monotonic(), by_machine_s=_by_machine_s(), by_process_s=_by_process_s())

    def share(self) -> float:
        """Of all cores' time. Call it when every process of the run has ended: CPU of one that lives is not known."""
        others_s = max(_by_machine_s() - self.by_machine_s, _by_process_s() - self.by_process_s, 0.0)
        return others_s / ((time.monotonic() - self.started_at) * (os.cpu_count() or 1))


def _by_machine_s() -> float:
    """What the machine was busy with, less what this process took and what it has started and has ended."""
    times = psutil.cpu_times()
    busy_s = sum(getattr(times, name, 0.0) for name in ("user", "nice", "system", "steal"))
    used = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return busy_s - sum(usage.ru_utime + usage.ru_stime for usage in used)


def _by_process_s() -> float:
    """What others took. Of a process that has ended, its parent tells it."""
    taken_s = 0.0
    for process in other_processes():
        with contextlib.suppress(psutil.Error):
            times = process.cpu_times()
            taken_s += times.user + times.system + times.children_user + times.children_system
    return taken_s


def other_processes() -> Iterator[psutil.Process]:
    """All of the machine but this one and those below it."""
    this = psutil.Process()
    own = {this.pid, *(process.pid for process in this.children(recursive=True))}
    return (process for process in psutil.process_iter() if process.pid not in own)


def describe_machine() -> str:
    """Processor, cores, memory and system in one sentence."""
    memory_gb = psutil.virtual_memory().total / 1e9
    return (
        f"{_processor()}, {os.cpu_count()} cores, {memory_gb:.0f} GB memory, "
        f"{platform.system()} {platform.release()}, CPython {platform.python_version()}"
    )


def _processor() -> str:
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
