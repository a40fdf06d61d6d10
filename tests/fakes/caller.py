"""A customer whose calls go on whatever happens to the cache."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from gateway.cache import CacheUnavailable
from gateway.core.account import Account
from gateway.core.charge import AccountMissing, Charged, ChargeRequest, QuotaClaim

if TYPE_CHECKING:
    from gateway.cache import Cache


class Caller:
    """One who is published again whenever the cache has lost it, from a ledger that was never settled."""

    def __init__(self, cache: Cache, customer_id: str, limit: int) -> None:
        self.cache = cache
        self.account = Account(customer_id=customer_id, user_id="u", version=1, created_at=0)
        claim = QuotaClaim(field="q:m:period", cost=1, limit=limit, starts_at=0, ends_at=2**33)
        self.request = ChargeRequest(customer_id=customer_id, version=1, claims=(claim,))
        self.charged = self.unavailable = self.missing = 0
        self.pause_s = 0.01
        """After each call of `use_up`."""

    async def publish(self) -> None:
        """Put the account into the cache."""
        await self.cache.publish(self.account, counters={}, seq_floor=0)

    async def call(self) -> bool:
        """One charge. Returns whether the customer may go on."""
        try:
            answer = await self.cache.charge(self.request)
            if isinstance(answer, AccountMissing):
                self.missing += 1
                await self.publish()
                return True
        except CacheUnavailable:
            self.unavailable += 1
            return True
        self.charged += isinstance(answer, Charged)
        return isinstance(answer, Charged)

    async def use_up(self) -> None:
        """Charge until the quota is used up."""
        while await self.call():  # noqa: ASYNC110 - the pause is what makes it a caller
            await asyncio.sleep(self.pause_s)
