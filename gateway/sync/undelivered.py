"""The list of events that Stripe could not deliver to some webhook endpoint of the account.

Stripe goes on trying, and takes an event out of the list once it is delivered: so each sweep looks through all of
the list, from the newest on.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from gateway.billing import FIRST_SWEPT, SUBSCRIBED_TYPES, SweptTo
from gateway.ledger import Swept

if TYPE_CHECKING:
    from gateway.billing import Billing, EventEnvelope
    from gateway.clock import Clock


@dataclass(frozen=True, slots=True, kw_only=True)
class Undelivered:
    """What did not reach an endpoint."""

    name: ClassVar[str] = "undelivered"

    billing: Billing
    clock: Clock
    back_s: int
    """How far back a sweep looks."""

    async def begin(self, swept: Swept) -> SweptTo:
        """At the newest, whatever was swept before."""
        del swept
        return FIRST_SWEPT

    def resume(self, kept: dict[str, Any]) -> SweptTo | None:
        """A place is one among the types of its release."""
        is_ours = tuple(kept["of"]) == SUBSCRIBED_TYPES
        return SweptTo(types=kept["types"], after=kept["after"]) if is_ours else None

    def keep(self, place: SweptTo) -> dict[str, Any]:
        """With the types that it is a place among."""
        return {"types": place.types, "after": place.after, "of": SUBSCRIBED_TYPES}

    async def fetch(self, place: SweptTo) -> tuple[list[EventEnvelope], SweptTo | None]:
        """Of those that Stripe made within `back_s`."""
        return await self.billing.fetch_undelivered(int(self.clock.now()) - self.back_s, place)

    def end(self, place: SweptTo) -> Swept:
        """The next one begins anew."""
        del place
        return Swept()
