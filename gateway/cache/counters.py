"""Reading what customers have used and have in progress, from the keys in which the cache keeps it.

Whoever is read is in use, so its keys live longer; a scan of everybody keeps nobody alive.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from redis.asyncio import Redis

from gateway.cache.errors import CacheUnavailable
from gateway.cache.keyspace import (
    CLOCK_TOLERANCE_MS,
    IDLE_EXPIRY_S,
    LIVE_MS,
    USE_PATTERN,
    acct_key,
    customer_of,
    live_key,
    use_key,
)
from gateway.cache.part import CachePart
from gateway.cache.values import UsageReading

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Collection, Iterable, Sequence

    from gateway.cache.node import Node
    from gateway.cache.servers import Servers

_SCAN_COUNT = 500
_READ_AT_ONCE = 250
_FORGOTTEN_AT_ONCE = 1000
_LONGER_LIFE_EVERY_S = 3600.0


class Counters(CachePart):
    """The part of the cache that is read for usage, alerts and settlement."""

    def __init__(self, servers: Servers) -> None:
        super().__init__(servers)
        self._longer_lives: set[str] = set()
        self._longer_lives_until = 0.0

    async def read_usage(self, customer_id: str) -> UsageReading | None:
        """A customer's counters. Whoever is read is in use, so both keys live longer.

        Returns:
            None if the cache does not know the customer.

        Raises:
            CacheUnavailable: Nothing was read.
        """
        readings, unread = await self._read([customer_id], [customer_id])
        if unread:
            raise CacheUnavailable
        return readings[0] if readings else None

    async def count_calls(self, customer_id: str, fields: Sequence[str], now_ms: int) -> dict[str, int]:
        """Calls in progress, by the fields of the limits that count them.

        Args:
            customer_id: Whose.
            fields: One or more.
            now_ms: The cache's time, as a `UsageReading` has it.

        Raises:
            CacheUnavailable: Nothing was read.
        """
        keys = [live_key(customer_id, field) for field in fields]

        async def count(client: Redis) -> list[int]:
            pipeline = client.pipeline(transaction=False)
            for key in keys:
                pipeline.zcount(key, f"({now_ms}", now_ms + LIVE_MS + CLOCK_TOLERANCE_MS)
            return await pipeline.execute()

        return dict(zip(fields, await self._servers.run(keys[0], count), strict=True))

    async def read_usages(self, customer_ids: Iterable[str], *, unread: set[str] | None = None) -> list[UsageReading]:
        """The counters of many customers; those whom the cache does not know are left out.

        As with `read_usage`, both their keys live longer; that is asked for once an hour of each, which is enough
        for keys that last for days.

        Args:
            customer_ids: Whose.
            unread: Takes those whose server does not answer while others do.

        Raises:
            CacheUnavailable: Not all were read, and `unread` does not say who.
        """
        readings: list[UsageReading] = []
        wanted = list(customer_ids)
        for start in range(0, len(wanted), _READ_AT_ONCE):
            batch = wanted[start : start + _READ_AT_ONCE]
            found, missed = await self._read(batch, self._due_for_longer_life(batch))
            if missed and unread is None:
                raise CacheUnavailable
            readings += found
            if unread is not None:
                unread.update(missed)
        return readings

    def _due_for_longer_life(self, customer_ids: list[str]) -> list[str]:
        now = asyncio.get_running_loop().time()
        if now >= self._longer_lives_until:
            self._longer_lives = set()
            self._longer_lives_until = now + _LONGER_LIFE_EVERY_S
        due = [customer_id for customer_id in customer_ids if customer_id not in self._longer_lives]
        self._longer_lives.update(due)
        return due

    async def forget_counters(self, customer_id: str, fields: Sequence[str]) -> None:
        """Drop counters that no charge will ask for again, in small steps.

        Args:
            customer_id: Whose.
            fields: As a `UsageReading` has them in `of_keys`.

        Raises:
            CacheUnavailable: Some may be there still.
        """
        key = use_key(customer_id)
        for start in range(0, len(fields), _FORGOTTEN_AT_ONCE):
            some = fields[start : start + _FORGOTTEN_AT_ONCE]

            async def forget(client: Redis, some: Sequence[str] = some) -> int:
                return await client.hdel(key, *some)

            await self._servers.run(key, forget)

    async def scan_usage(self) -> AsyncIterator[UsageReading]:
        """Every customer in the cache, one at a time, some perhaps twice. Does not keep anyone alive.

        Raises:
            CacheUnavailable: The scan is incomplete.
        """
        refusal: CacheUnavailable | None = None
        for node in await self._servers.masters():
            try:
                async for customer_ids in _scan(node):
                    for reading in (await self._read(customer_ids, ()))[0]:
                        yield reading
            except CacheUnavailable as error:
                refusal = error
        if refusal is not None:
            raise refusal

    async def _read(
        self, customer_ids: Sequence[str], longer_lives: Collection[str]
    ) -> tuple[list[UsageReading], list[str]]:
        """The readings of those whom the cache knows, and whose server does not answer."""

        async def read(client: Redis, tags: Sequence[str]) -> list[UsageReading]:
            pipeline = client.pipeline(transaction=False)
            pipeline.time()
            for customer_id in tags:
                pipeline.hgetall(use_key(customer_id))
            for customer_id in tags:
                if customer_id in longer_lives:
                    pipeline.expire(use_key(customer_id), IDLE_EXPIRY_S)
                    pipeline.expire(acct_key(customer_id), IDLE_EXPIRY_S)
            instant, *hashes = await pipeline.execute()
            readings = (
                _reading(customer_id, fields, instant) for customer_id, fields in zip(tags, hashes, strict=False)
            )
            return [reading for reading in readings if reading is not None]

        return await self._servers.run_many(customer_ids, read)


async def _scan(node: Node) -> AsyncIterator[list[str]]:
    """The customers of one server, some perhaps twice."""
    cursor = 0

    async def page(client: Redis) -> tuple[int, list[Any]]:
        return await client.scan(cursor, match=USE_PATTERN, count=_SCAN_COUNT)

    while True:
        cursor, keys = await node.operate(page)
        yield [customer_of(key) for key in keys]
        if cursor == 0:
            return


def _reading(customer_id: str, fields: dict[bytes, bytes], instant: tuple[int, int]) -> UsageReading | None:
    if b"v" not in fields:
        return None
    seconds, microseconds = instant
    now_ms, charged_ms = seconds * 1000 + microseconds // 1000, int(fields.get(b"t", 0))
    return UsageReading(
        customer_id=customer_id,
        version=int(fields[b"v"]),
        seq=int(fields.get(b"s", 0)),
        now_ms=now_ms if charged_ms > now_ms + CLOCK_TOLERANCE_MS else max(now_ms, charged_ms),
        quotas=_counters(fields, b"q:"),
        ended=_counters(fields, b"p:"),
        of_keys=_of_keys(fields),
    )


def _of_keys(fields: Iterable[bytes]) -> dict[str, tuple[str, ...]]:
    of_keys: dict[str, tuple[str, ...]] = {}
    for field in fields:
        if field[1:2] == b":":
            _, is_own, key_id = (name := field.decode()).rpartition("@")
            if is_own:
                of_keys[key_id] = (*of_keys.get(key_id, ()), name)
    return of_keys


def _counters(fields: dict[bytes, bytes], prefix: bytes) -> dict[str, tuple[int, int]]:
    """Under the names of their quotas, whichever window they are of."""
    counters = {}
    for field, value in fields.items():
        if field.startswith(prefix):
            window_starts_at, _, used = value.partition(b"|")
            counters[f"q:{field[len(prefix) :].decode()}"] = (int(window_starts_at), int(used))
    return counters
