"""From cache to ledger: what has been counted becomes part of the record.

The counters in the cache are running totals with a sequence number; a settlement writes
the totals it read if their sequence is higher than what the ledger has. So a repeated, late
or reordered settlement changes nothing, and a lost cache costs what was counted since the
last one at most. A window that has ended is read with the one after it, so its last units
are settled too. Credits that are used up leave the account here, and counters of keys that ended leave
both the cache and the record.

Whoever reads the counters also sees which account the cache decides on. One that is older
than the ledger's is published again: it should not be there, and this is the last resort.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import TypeAlias

import structlog

from gateway.cache import Cache, CacheUnavailable, UsageReading
from gateway.clock import Clock
from gateway.core.credits import is_grant_field
from gateway.core.errors import LedgerUnavailable
from gateway.ledger import EXPIRED_KEYS_LEAVE_AFTER_S, Ledger, UsageTotal
from gateway.publishing import Publisher
from gateway.telemetry import Metrics

log = structlog.get_logger(__name__)

_BATCH = 500


Watch: TypeAlias = Callable[[Sequence[UsageReading]], Awaitable[None]]
"""Looks at what was settled. If the ledger is away for it, the settlement is tried again."""


class Settlement:
    """Remembers who was charged in this worker, and settles them."""

    def __init__(
        self,
        ledger: Ledger,
        cache: Cache,
        publisher: Publisher,
        clock: Clock,
        metrics: Metrics,
        watch: Watch | None = None,
    ) -> None:
        self._ledger = ledger
        self._cache = cache
        self._publisher = publisher
        self._clock = clock
        self._metrics = metrics
        self._watch = watch
        self._charged: set[str] = set()
        self._used_keys: dict[str, int] = {}

    def note(self, customer_id: str, key_id: str, now: float) -> None:
        """A key of this customer was just charged or refunded."""
        self._charged.add(customer_id)
        self._used_keys[key_id] = int(now)

    def note_moved(self, customer_id: str) -> None:
        """Counters of this customer moved, by no call of now."""
        self._charged.add(customer_id)

    async def settle(self) -> int:
        """Write the totals of everyone charged since the last call.

        Returns:
            How many totals the ledger took. After a failure, the same customers are tried again; so are those whose
            server, of a cluster, does not answer.
        """
        charged, self._charged = self._charged, set()
        used_keys, self._used_keys = self._used_keys, {}
        try:
            unread: set[str] = set()
            readings = await self._cache.read_usages(charged, unread=unread)
            written = await self._write(readings)
            await self._drop_credits(readings)
            await self._correct(readings)
            await self._forget_ended(readings)
            if used_keys:
                await self._ledger.touch_keys(used_keys)
            await self._show(readings)
        except BaseException:
            self._charged |= charged
            self._used_keys = {**used_keys, **self._used_keys}
            raise
        self._charged |= unread
        if not unread:
            self._metrics.settled_seconds.set(self._clock.now())
        return written

    async def settle_one(self, customer_id: str) -> bool:
        """Write the totals of one customer, whoever charged it. False: the cache does not tell."""
        try:
            readings = await self._cache.read_usages([customer_id])
        except CacheUnavailable:
            return False
        await self._write(readings)
        return True

    async def settle_all(self) -> int:
        """Write the totals of every customer in the cache: what a crashed worker may have left unsettled."""
        written = 0
        batch: list[UsageReading] = []
        try:
            async for reading in self._cache.scan_usage():
                batch.append(reading)
                if len(batch) >= _BATCH:
                    written += await self._write(batch)
                    await self._show(batch)
                    batch = []
        finally:  # also if a server of a cluster did not answer
            written += await self._write(batch)
            await self._show(batch)
        return written

    async def _correct(self, readings: list[UsageReading]) -> None:
        for customer_id in await self._ledger.find_newer(
            {reading.customer_id: reading.version for reading in readings}
        ):
            await self._publisher.publish(customer_id)

    async def _forget_ended(self, readings: list[UsageReading]) -> None:
        """Counters of keys that left their account go, after `_correct`, so that no charge asks for them any more.

        Each settlement would read and write them all for ever, and each publishing carry them.
        """
        keys = {key_id for reading in readings for key_id in reading.of_keys}
        if not keys:
            return
        ended = await self._ledger.find_ended_keys(keys, int(self._clock.now()) - EXPIRED_KEYS_LEAVE_AFTER_S)
        for reading in readings if ended else ():
            fields = [field for key_id in ended & reading.of_keys.keys() for field in reading.of_keys[key_id]]
            if fields:
                totals = sorted({f"q:{field[2:]}" for field in fields if not field.startswith("r:")})
                await self._ledger.forget_totals(reading.customer_id, totals)
                await self._cache.forget_counters(reading.customer_id, fields)  # last: else nobody would try again

    async def _drop_credits(self, readings: list[UsageReading]) -> None:
        """Those used up leave their account, before `_correct` looks which accounts the cache is behind with."""
        used = {reading.customer_id for reading in readings if any(map(is_grant_field, reading.quotas))}
        if used:
            await self._ledger.settle_grants(used, now=int(self._clock.now()))

    async def _write(self, readings: list[UsageReading]) -> int:
        totals = [
            UsageTotal(
                customer_id=reading.customer_id,
                field=field,
                window_starts_at=starts_at,
                used=used,
                seq=reading.seq,
            )
            for reading in readings
            for field, (starts_at, used) in (*reading.ended.items(), *reading.quotas.items())
        ]
        return await self._ledger.settle(totals) if totals else 0

    async def _show(self, readings: list[UsageReading]) -> None:
        """Let the watch look. A defect of its own must not keep anything from being settled."""
        if self._watch is None:
            return
        try:
            await self._watch(readings)
        except LedgerUnavailable:
            raise
        except Exception:
            log.exception("a settlement could not be looked at")
