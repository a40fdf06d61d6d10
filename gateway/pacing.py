"""How often somebody may do what is no call of the API: sign up, have Stripe asked, have the ledger keep something.

Laws:
- the cache counts, for all workers;
- while it cannot decide, nobody is refused for that: each worker counts by itself, from nothing, by the law of
  `core.pace`. So an outage lets in each pace once for each worker;
- what a worker remembers of that is bounded: who was not heard of for longest is forgotten first.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from ipaddress import IPv6Address, ip_address, ip_network
from typing import Final

from gateway.cache import Cache
from gateway.clock import Clock
from gateway.core.charge import RateClaim
from gateway.core.errors import CapacityReduced
from gateway.core.pace import Paces
from gateway.core.ratelimit_fields import seconds_up

_IPV6_SITE_BITS: Final = 64
_ENTRIES: Final = 10_000
"""A few MB at most, and only after as many customers and networks have come in an outage."""


class Pacing:
    """Counts those who are no API key.

    Args:
        cache: Counts for all workers.
        clock: The cache's instant.
        entries: Customers and networks that a worker remembers while the cache is away.
        monotonic: Seconds of a clock that only goes forward.
    """

    def __init__(
        self, cache: Cache, clock: Clock, *, entries: int = _ENTRIES, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._cache = cache
        self._clock = clock
        self._monotonic = monotonic
        self._own = Paces(entries)

    def __len__(self) -> int:
        """What this worker remembers."""
        return len(self._own)

    async def wait_s(self, who: str, rate: RateClaim) -> int:
        """Count somebody in a rate.

        Args:
            who: A customer, a network, or everybody, in words that name nobody else.
            rate: One bucket.

        Returns:
            0: it may, and is counted. Else the whole seconds until it may, and it is not counted.
        """
        try:
            state = await self._cache.charge_address(who, rate, self._clock.cache_now_ms())
        except CapacityReduced:
            return seconds_up(self._count(who, rate))
        return 0 if state.allowed else max(1, seconds_up(state.reset_ms))

    def _count(self, who: str, rate: RateClaim) -> int:
        """As `wait_s`, in this worker alone and in milliseconds."""
        now_ms = int(self._monotonic() * 1000)
        wait_ms = self._own.waits_ms(who, (rate,), now_ms).get(rate.field, 0)
        # Who is refused is heard of, too: to spend nothing keeps it from being forgotten.
        self._own.spend(who, () if wait_ms else (rate,), now_ms)
        return wait_ms


def pacing_address(address: str | None) -> str:
    """What is paced: an IPv4 address, or the /64 of an IPv6 one, which is what one subscriber has."""
    try:
        parsed = ip_address(address or "")
    except ValueError:
        return "unknown"
    if isinstance(parsed, IPv6Address):
        return str(ip_network((parsed, _IPV6_SITE_BITS), strict=False))
    return str(parsed)
