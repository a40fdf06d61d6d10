"""Where time comes from: the system's clock, or the sandbox's, which a test clock can advance."""

from __future__ import annotations

import mmap
import struct
import sys
import time
from pathlib import Path
from typing import Protocol


def steady_s() -> float:
    """Seconds of a clock that nobody sets and that goes on while the machine sleeps; its zero means nothing.

    `time.monotonic` stands still in a machine that is suspended, so what was to last half a second would
    outlive the night. 70 ns more than that.

    Source: clock_gettime(2), CLOCK_BOOTTIME; on macOS CLOCK_MONOTONIC goes on, and `time.monotonic` is another clock.
    """
    return time.clock_gettime(_SLEEPLESS) if _SLEEPLESS is not None else time.monotonic()


if sys.platform == "linux":
    _SLEEPLESS: int | None = time.CLOCK_BOOTTIME
elif sys.platform == "darwin":
    _SLEEPLESS = time.CLOCK_MONOTONIC
else:
    _SLEEPLESS = None


class Clock(Protocol):
    """Unix seconds, and the instant to hand to the cache's scripts."""

    def now(self) -> float:
        """Unix seconds."""
        ...

    def cache_now_ms(self) -> int:
        """0 to let the cache server use its own clock; else the simulated instant in milliseconds."""
        ...


class SystemClock:
    """Real time; the cache server's clock rules the counters."""

    def now(self) -> float:
        """Unix seconds."""
        return time.time()

    def cache_now_ms(self) -> int:
        """The cache server's own clock."""
        return 0


class SimulatedClock:
    """Real time plus an offset that the sandbox writes to a shared file of 8 bytes (a little-endian double).

    Every process that maps the file sees an advance at once. Only `tiergate demo` and tests use it;
    settings refuse it with a live Stripe key.
    """

    def __init__(self, path: Path) -> None:
        with path.open("rb") as file:
            self._offset = mmap.mmap(file.fileno(), 8, access=mmap.ACCESS_READ)

    def now(self) -> float:
        """Unix seconds, simulated."""
        (offset_s,) = struct.unpack("<d", self._offset[:8])
        return time.time() + float(offset_s)

    def cache_now_ms(self) -> int:
        """The simulated instant, so that the cache's counters live in simulated time too."""
        return int(self.now() * 1000)


def write_clock_offset(path: Path, offset_s: float) -> None:
    """Create or move the simulated clock. `offset_s` must not shrink: time never runs back."""
    data = struct.pack("<d", offset_s)
    if path.exists() and path.stat().st_size == len(data):
        with path.open("r+b") as file:
            file.write(data)
    else:
        path.write_bytes(data)
