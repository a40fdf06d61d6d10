"""What became of a checkout, for whoever is back from Stripe and does not wait for an event.

A checkout that is paid or expired stays so. Once that is recorded, it is remembered for a while, and nobody makes
this worker ask Stripe for it again by loading a page over and over.
"""

from __future__ import annotations

from typing import Final, Literal, TypeAlias

import structlog
from cachetools import TTLCache

from gateway.billing import CheckoutFacts
from gateway.clock import steady_s
from gateway.core.errors import BillingRefused, BillingUnavailable
from gateway.ledger import CheckoutRow
from gateway.sync.customers import Sync

log = structlog.get_logger(__name__)

Arrival: TypeAlias = Literal["paid", "waiting", "expired"]

_REMEMBERED: Final = 10_000
_REMEMBERED_S: Final = 3600


class Arrivals:
    """Asks what became of checkouts, and remembers it.

    Args:
        sync: Records what was bought.
    """

    def __init__(self, sync: Sync) -> None:
        self._sync = sync
        self._known: TTLCache[str, Arrival] = TTLCache(_REMEMBERED, _REMEMBERED_S, timer=steady_s)

    def find(self, session_id: str) -> Arrival | None:
        """What is known for good; None: Stripe has to be asked."""
        return self._known.get(session_id)

    async def arrive(self, checkout: CheckoutRow) -> Arrival:
        """Record what was bought, unless that is known to have been done.

        Returns:
            `waiting` also while Stripe does not say.

        Raises:
            LedgerUnavailable: Nothing was recorded.
        """
        known = self.find(checkout.session_id)
        if known is not None:
            return known
        try:
            facts = await self._sync.billing.fetch_checkout(checkout.session_id)
        except (BillingUnavailable, BillingRefused) as error:
            log.warning("checkout not confirmed yet", session_id=checkout.session_id, reason=str(error))
            return "waiting"
        arrival = _arrival(facts)
        if arrival == "expired" or (arrival == "paid" and await self._record(checkout)):
            self._known[checkout.session_id] = arrival
        return arrival

    async def _record(self, checkout: CheckoutRow) -> bool:
        try:
            await self._sync.sync_customer(checkout.customer_id, f"return from {checkout.session_id}")
        except (BillingUnavailable, BillingRefused) as error:
            log.warning("paid checkout not recorded yet", session_id=checkout.session_id, reason=str(error))
            return False
        return True


def _arrival(facts: CheckoutFacts | None) -> Arrival:
    if facts is None or facts.status == "expired":
        return "expired"
    if facts.status != "complete" or facts.payment_status == "unpaid":
        return "waiting"
    return "paid"
