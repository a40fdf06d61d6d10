"""From ledger to cache: the one way an account gets into the cache.

Every change raises the customer's version in the ledger, in the same transaction. This
module carries versions over: at once after a change, again in the background when the
cache was away, and on demand when the cache has lost a customer, or may have gone back to
older data. Publishing is idempotent, and what it returns is never older than the ledger was
when the cache took it, so every process may do it at any time.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

import structlog
from cachetools import TTLCache

from gateway.cache import Cache, CacheUnavailable
from gateway.clock import Clock
from gateway.core.account import Account
from gateway.core.credits import restored_counters
from gateway.ledger import Ledger

EXPIRES_S = 7 * 86400
"""An idle customer leaves the cache after this; the next request loads it again."""
_UNKNOWN_FOR_S = 5
_UNKNOWN_ENTRIES = 10_000
_LOADS_AT_ONCE = 16
_REPAIR_BATCH = 200

log = structlog.get_logger(__name__)


class Publisher:
    """Carries accounts from the ledger to the cache."""

    def __init__(self, ledger: Ledger, cache: Cache, clock: Clock) -> None:
        self._ledger = ledger
        self._cache = cache
        self._clock = clock
        self.published: Callable[[str], None] = _nobody
        """Told whose account was published, before whoever asked for it is."""
        self._loading: dict[str, asyncio.Task[Account | None]] = {}
        self._load_slots = asyncio.Semaphore(_LOADS_AT_ONCE)
        self._unknown: TTLCache[str, bool] = TTLCache(_UNKNOWN_ENTRIES, _UNKNOWN_FOR_S)

    async def publish(self, customer_id: str, *, replaces: bool = False) -> Account | None:
        """Write the ledger's account of one customer to the cache.

        The account may change between the reading and the writing, and a fail-over of the cache may
        take away the other version that somebody else has published meanwhile. So the ledger is asked
        again afterwards, until nothing was overtaken.

        Args:
            customer_id: Whose.
            replaces: What the cache has of the customer cannot be right: write in any case.

        Returns:
            The account, or None if the ledger has no such customer.

        Raises:
            CacheUnavailable: The ledger keeps the change; `repair` publishes it later.
            LedgerUnavailable: Nothing was read.
        """
        while (account := await self._ledger.load_account(customer_id)) is not None:
            kept = await self._ledger.load_kept_counters(customer_id)
            await self._cache.publish(
                account,
                counters=restored_counters(account, kept.counters),
                ended=restored_counters(account, kept.ended),
                seq_floor=kept.seq,
                expires_s=EXPIRES_S,
                replaces=replaces,
            )
            self.published(customer_id)
            row = await self._ledger.find_customer(customer_id)
            if row is not None and row.published_version < account.version:
                await self._ledger.mark_published(customer_id, account.version)
            if row is None or row.version <= account.version:
                self._unknown.pop(customer_id, None)
                return account
        return None

    async def publish_soon(self, customer_id: str) -> bool:
        """Publish a change that is already safe in the ledger.

        Returns:
            Whether the cache has it; False means that `repair` will bring it there.
        """
        try:
            await self.publish(customer_id)
        except CacheUnavailable:
            log.warning("change not in the cache yet", customer_id=customer_id)
            return False
        return True

    async def load(self, customer_id: str, *, replaces: bool = False) -> Account | None:
        """Load a customer that the cache does not know. Concurrent calls for one customer share one load.

        Args:
            customer_id: Whose.
            replaces: As `publish`; a load that is under way already is shared all the same.

        Returns:
            None for an unknown customer; that answer is kept for a few seconds.
        """
        if customer_id in self._unknown:
            return None
        task = self._loading.get(customer_id)
        if task is None:
            task = asyncio.create_task(self._load_once(customer_id, replaces))
            self._loading[customer_id] = task
            task.add_done_callback(lambda _: self._loading.pop(customer_id, None))
        return await asyncio.shield(task)

    async def load_newer(self, versions: Mapping[str, int]) -> list[Account]:
        """The accounts that are newer than the version given for each, from the ledger alone.

        Raises:
            LedgerUnavailable: Nothing was read.
        """
        newer = [
            await self._ledger.load_account(customer_id) for customer_id in await self._ledger.find_newer(versions)
        ]
        return [account for account in newer if account is not None]

    async def repair(self) -> int:
        """Publish every change that the cache has missed, in the order of customer ids.

        Of a cluster, a server that is down is passed over: it is repaired by itself when it is back. A customer
        who alone cannot be published keeps nobody else waiting: what the cache has of it is no longer believed, so
        none of its calls is decided until it is published, by the next of them or by the next repair.

        Returns:
            How many customers were published.

        Raises:
            CacheUnavailable: The server of some, which is not known to be down, takes nothing.
            LedgerUnavailable: What was missed is not known.
        """
        done, last = 0, ""
        while batch := await self._ledger.unpublished(_REPAIR_BATCH, after=last):
            for customer_id in batch:
                done += await self._repair_one(customer_id)
            last = batch[-1]
        if done:
            log.info("cache repaired from the ledger", customers=done)
        return done

    async def _repair_one(self, customer_id: str) -> bool:
        """Whether it is published. A server that has just come back refuses for a moment: then it is asked again."""
        try:
            await self.publish(customer_id)
        except CacheUnavailable as error:
            if not self._cache.is_reachable(customer_id):
                return False
            await self._cache.disbelieve(customer_id)
            if error.may_have_happened or not await self.publish_soon(customer_id):
                log.warning("a customer could not be published", customer_id=customer_id, reason=error.reason)
                return False
        return True

    async def _load_once(self, customer_id: str, replaces: bool) -> Account | None:  # noqa: FBT001 - passed on from `load`
        async with self._load_slots:
            account = await self.publish(customer_id, replaces=replaces)
        if account is None:
            self._unknown[customer_id] = True
        return account


def _nobody(_customer_id: str) -> None:
    """Nobody wants to know."""
