"""Rates as one worker holds them by itself, while the cache cannot decide. Reads no clock.

The law of `charge.lua`: debt is in units * window_ms and drains by `units` a millisecond; a cost passes if
`debt + cost * window_ms <= burst * window_ms`. So over any interval T a worker lets in at most
`burst + units * T / window_ms` of each rate, whatever other workers do.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from gateway.core.charge import RateClaim

if TYPE_CHECKING:
    from collections.abc import Iterable


class _Debt(NamedTuple):
    """Of one bucket."""

    at_ms: int
    units: int
    empty_at_ms: int
    """From then on it is as if it had never been used."""


class Paces:
    """The buckets of one worker.

    Args:
        entries: Customers that are remembered; of whom nothing was heard for longest is forgotten first.
    """

    def __init__(self, entries: int) -> None:
        self._entries = entries
        self._buckets: dict[str, dict[str, _Debt]] = {}

    def __len__(self) -> int:
        """Buckets that are remembered."""
        return sum(map(len, self._buckets.values()))

    def waits_ms(self, customer_id: str, claims: Iterable[RateClaim], now_ms: int) -> dict[str, int]:
        """The claims, by field, that are too fast, with the milliseconds until each would pass. Writes nothing."""
        buckets = self._buckets.get(customer_id, {})
        waits: dict[str, int] = {}
        for claim in claims:
            over = _drained(buckets, claim, now_ms) + (claim.cost - claim.burst) * claim.window_ms
            if over > 0:
                waits[claim.field] = -(-over // claim.units)
        return waits

    def spend(self, customer_id: str, claims: Iterable[RateClaim], now_ms: int) -> None:
        """Put the costs into the buckets, and forget those that are empty. Only of claims that all pass."""
        known = self._buckets.pop(customer_id, None) or {}
        buckets = {field: debt for field, debt in known.items() if debt.empty_at_ms > now_ms}
        for claim in claims:
            units = _drained(buckets, claim, now_ms) + claim.cost * claim.window_ms
            if units:
                buckets[claim.field] = _Debt(now_ms, units, now_ms - (-units // claim.units))
        if not buckets:
            return
        self._buckets[customer_id] = buckets
        if len(self._buckets) > self._entries:
            del self._buckets[next(iter(self._buckets))]


def _drained(buckets: dict[str, _Debt], claim: RateClaim, now_ms: int) -> int:
    debt = buckets.get(claim.field)
    return 0 if debt is None else max(0, debt.units - max(0, now_ms - debt.at_ms) * claim.units)
