"""The leases of one worker: who may have them, who has one, and what ends them all."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from gateway.cache import Cache
from gateway.clock import Clock, steady_s
from gateway.core.account import Account
from gateway.core.lease import is_leasable
from gateway.core.planned import Plan
from gateway.leasing.asking import Asking
from gateway.leasing.lessee import Handle, Lessee
from gateway.telemetry import Metrics


class Leasing:
    """The leases of one worker.

    Args:
        cache: Where they are drawn.
        clock: The cache's instant.
        metrics: Counts what became of them.
        ttl_ms: How long one lasts.
        steady: A clock that nobody sets and that goes on while the machine sleeps, in seconds.
        later: Calls something after so many seconds; None: the event loop.
    """

    def __init__(
        self,
        cache: Cache,
        clock: Clock,
        metrics: Metrics,
        ttl_ms: int,
        *,
        steady: Callable[[], float] = steady_s,
        later: Callable[[float, Callable[[], None]], Handle] | None = None,
    ) -> None:
        self.clock = clock
        self.metrics = metrics
        self.ttl_ms = ttl_ms
        self.steady = steady
        self.later = later if later is not None else asyncio.get_running_loop().call_later
        self.is_informed = False
        """Whether changes of accounts reach this worker: without that, nothing is leased."""
        self.asking = Asking(cache, metrics, steady)
        """Told where counters of customers have moved: set its `moved`."""
        self._holders: dict[str, set[Lessee]] = {}

    def lessee(self, account: Account, plan: Plan) -> Lessee | None:
        """Who draws leases for a plan. None: its calls are always charged one by one."""
        claims = plan.claims
        may = not plan.route.settle and is_leasable(claims, self.ttl_ms)
        return Lessee(self, account, claims) if may else None

    @property
    def calls_left(self) -> int:
        """Calls that are granted, so counted in the cache, and not let through yet."""
        return sum(lessee.left for holders in self._holders.values() for lessee in holders)

    def drop(self, customer_id: str) -> None:
        """End every lease of a customer, for the account has changed."""
        for lessee in tuple(self._holders.get(customer_id, ())):
            lessee.drop()

    def drop_all(self) -> None:
        """End every lease."""
        for customer_id in tuple(self._holders):
            self.drop(customer_id)

    def inform(self, is_informed: bool) -> None:  # noqa: FBT001 - the signature that news call
        """News come in, or may have been missed: then every lease ends."""
        self.is_informed = is_informed
        if not is_informed:
            self.drop_all()

    async def aclose(self) -> None:
        """End every lease and see what they did not let through back where it came from."""
        self.inform(False)  # noqa: FBT003 - as declared
        await self.asking.answers()
        await self.asking.give_back()

    async def give_back(self) -> None:
        """Give back what the cache has not answered about, if it is there; call it every moment."""
        await self.asking.give_back()

    # What lessees call.

    def hold(self, customer_id: str, lessee: Lessee) -> None:
        """It has a lease, or is about to."""
        self._holders.setdefault(customer_id, set()).add(lessee)

    def let_go(self, customer_id: str, lessee: Lessee) -> None:
        """It has none any more."""
        holders = self._holders.get(customer_id)
        if holders is not None:
            holders.discard(lessee)
            if not holders:
                del self._holders[customer_id]
