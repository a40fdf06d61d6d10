"""Events that Stripe could not deliver, found and stored page by page at the pace of background work.

A sweep looks at all of them, however many. One that is broken off is gone on with by the next behind the last page
that was stored, so that no number of failures keeps the oldest ones from being found.
"""

from __future__ import annotations

import structlog
from cachetools import LRUCache

from gateway.billing import FIRST_SWEPT, SweptTo
from gateway.clock import Clock
from gateway.core.errors import BillingRefused
from gateway.ledger import Ledger
from gateway.sync.customers import Sync
from gateway.sync.receiving import keep_event

log = structlog.get_logger(__name__)

_REMEMBERED = 20_000


class Sweeping:
    """One process's sweeps.

    Args:
        ledger: Where events are stored.
        sync: Its billing is asked.
        clock: Unix seconds.
        back_s: How far back a sweep looks.
    """

    def __init__(self, *, ledger: Ledger, sync: Sync, clock: Clock, back_s: int) -> None:
        self._ledger = ledger
        self._billing = sync.billing
        self._clock = clock
        self._back_s = back_s
        self._at: SweptTo = FIRST_SWEPT
        self._kept: LRUCache[str, bool] = LRUCache(_REMEMBERED)
        self.found = 0
        """Events that were stored by sweeps."""

    async def sweep(self) -> int:
        """Store what Stripe could not deliver: all of it, or what the last sweep did not come to.

        Returns:
            How many were new.

        Raises:
            BillingUnavailable, LedgerUnavailable: The next sweep goes on from here.
            BillingRefused: The next one begins anew.
        """
        new, at = 0, self._at
        since = int(self._clock.now()) - self._back_s
        try:
            while True:
                try:
                    async with self._billing.pace.turn():
                        events, following = await self._billing.fetch_undelivered(since, at)
                except BillingRefused:  # it may be the place that Stripe refuses
                    self._at = FIRST_SWEPT
                    raise
                for envelope in events:
                    if envelope.event_id in self._kept:
                        continue
                    now = self._clock.now()
                    fate = await keep_event(envelope, is_live=self._billing.is_live, ledger=self._ledger, now=now)
                    self._kept[envelope.event_id] = True
                    new += fate == "stored"
                self._at = at = following or FIRST_SWEPT
                if following is None:
                    return new
        finally:
            self.found += new
            if new:
                log.warning("undelivered events found", events=new)
