"""The cache's time, as one worker knows it: windows, expiries and dates go by it, so by one clock on all workers."""

from __future__ import annotations

from gateway.clock import Clock

TOLERANCE_MS = 1000
"""An answer this much off is news of a clock. Less may be the way here, and no date is told closer."""


class CacheTime:
    """The worker's clock, and by how much the cache's was off when it last answered.

    While the cache is away, its time goes on as last known. Simulated time is the cache's own, so nothing is off.
    """

    __slots__ = ("_clock", "_skew_s")

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._skew_s = 0.0

    def now(self) -> float:
        """Unix seconds."""
        return self._clock.now() + self._skew_s

    def now_ms(self) -> int:
        """For a charge: 0 lets the cache server use its own clock."""
        return self._clock.cache_now_ms()

    def follow(self, now_ms: int, within_ms: int = TOLERANCE_MS) -> None:
        """Take over the time of an answer.

        Args:
            now_ms: From the cache, just now.
            within_ms: So much off is left alone. 0 where a window hangs on it.
        """
        off_s = now_ms / 1000 - self.now()
        if abs(off_s) * 1000 >= within_ms:
            self._skew_s += off_s
