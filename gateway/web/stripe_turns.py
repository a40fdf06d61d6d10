"""How often one customer may have Stripe asked: what Stripe allows a second is for all customers together."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.core.charge import RateClaim
from gateway.core.errors import CapacityReduced
from gateway.core.ratelimit_fields import seconds_up
from gateway.web.refusals import TooManyBillingRequests

if TYPE_CHECKING:
    from gateway.web.callers import Caller
    from gateway.web.runtime import Runtime

_TURNS = RateClaim(field="r:billing:60000", cost=1, units=60, window_ms=60_000, burst=30)


async def take_turn(runtime: Runtime, customer_id: str) -> None:
    """Count a request by which a customer has Stripe asked.

    Without a cache nobody is counted, or nobody could mend a card during an outage.

    Raises:
        TooManyBillingRequests: It was asked a moment ago, and often.
    """
    try:
        state = await runtime.cache.charge_address(f"customer {customer_id}", _TURNS, runtime.clock.cache_now_ms())
    except CapacityReduced:
        return
    if not state.allowed:
        raise TooManyBillingRequests(
            "Too many requests about billing; wait a little.", retry_after_s=max(1, seconds_up(state.reset_ms))
        )


async def take_turn_of(caller: Caller, runtime: Runtime) -> None:
    """As `take_turn`, for a customer with its key. The seller's own server is not counted."""
    if caller.account is not None:
        await take_turn(runtime, caller.account.customer_id)
