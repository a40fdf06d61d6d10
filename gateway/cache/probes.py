"""Does the cache answer, and does it take writes? For start-up, readiness and operators."""

from __future__ import annotations

import asyncio
import time

from gateway.cache.keyspace import probe_key
from gateway.cache.part import CachePart

_PROBE_S = 60


class Probes(CachePart):
    """The part of the cache that tells how it is."""

    @property
    def is_ready(self) -> bool:
        """Whether charges pass right now."""
        return self._servers.is_ready

    async def wait_ready(self, timeout_s: float) -> bool:
        """Connect, and wait until charges pass. For start-up.

        Returns:
            Whether they do.
        """
        return await self._servers.wait_ready(timeout_s)

    def is_reachable(self, customer_id: str) -> bool:
        """Whether the server that has a customer is not known to be down."""
        return self._servers.is_reachable(customer_id)

    async def ping(self) -> float:
        """Milliseconds of one round trip. Also makes a cache that is not connected try to connect.

        Raises:
            CacheUnavailable: It does not answer.
        """
        started = time.perf_counter()
        await self._servers.ping()
        return (time.perf_counter() - started) * 1000

    async def try_write(self, *, everywhere: bool = False) -> float:
        """As `ping`, with a write: a full memory, a full disk and a replica show nowhere else.

        Args:
            everywhere: Each server of a cluster has to take it, not only one.

        Raises:
            CacheUnavailable: It takes no writes, or does not answer.
        """

        async def write(key: str) -> float:
            started = time.perf_counter()
            await self._servers.run(key, lambda client: client.set(key, "1", ex=_PROBE_S))
            return (time.perf_counter() - started) * 1000

        await self._servers.masters()  # they are known from here on
        keys = self._servers.spread(probe_key("ready"))
        answers = await asyncio.gather(*(write(key) for key in keys), return_exceptions=True)
        taken = [answer for answer in answers if isinstance(answer, float)]
        failures = [answer for answer in answers if isinstance(answer, BaseException)]
        if failures and (everywhere or not taken):
            raise failures[0]
        return min(taken)

    @property
    def down(self) -> tuple[str, ...]:
        """Servers that are known not to answer, as host:port; of a cluster, while others do."""
        return self._servers.down
