"""Counting on every call at no cost: added up in the worker, and shown by a flush."""

from __future__ import annotations

from bisect import bisect_left

from prometheus_client import CollectorRegistry, Counter, Histogram

_SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)


class Count:
    """A number of things of one kind since the last `Metrics.flush`. Adding one costs nothing."""

    __slots__ = ("_counter", "n")

    def __init__(self, counter: Counter) -> None:
        self.n = 0
        self._counter = counter

    def flush(self) -> None:
        """Add it to the metric."""
        n, self.n = self.n, 0
        if n:
            self._counter.inc(n)


class Durations(Histogram):
    """A histogram that is fed many observations at once."""

    def __init__(self, name: str, documentation: str, registry: CollectorRegistry) -> None:
        super().__init__(name, documentation, registry=registry, buckets=_SECONDS)
        self._waiting = [0] * (len(_SECONDS) + 1)
        self._waiting_s = 0.0

    def add(self, seconds: float) -> None:
        """One observation; shown after the next `flush`."""
        self._waiting[bisect_left(_SECONDS, seconds)] += 1
        self._waiting_s += seconds

    def flush(self) -> None:
        """Show them."""
        waiting, self._waiting = self._waiting, [0] * (len(_SECONDS) + 1)
        total_s, self._waiting_s = self._waiting_s, 0.0
        self._sum.inc(total_s)
        for bucket, n in zip(self._buckets, waiting, strict=True):
            if n:
                bucket.inc(n)
