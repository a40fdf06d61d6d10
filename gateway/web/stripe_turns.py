"""How often one customer may have Stripe asked: what Stripe allows a second is for all customers together.

Whatever a customer can make this gateway ask of Stripe passes here first, from pages as from JSON. Who comes back
from a checkout has proved nothing yet, so it is counted by network address, too.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from gateway.core.charge import RateClaim
from gateway.pacing import pacing_address
from gateway.sync import TooManyBillingRequests

if TYPE_CHECKING:
    from gateway.web.callers import Caller
    from gateway.web.runtime import Runtime

_TURNS: Final = RateClaim(field="r:billing:60000", cost=1, units=60, window_ms=60_000, burst=30)
_ARRIVALS: Final = RateClaim(field="r:arrivals:60000", cost=1, units=60, window_ms=60_000, burst=60)


async def take_turn(runtime: Runtime, customer_id: str, *, cost: int = 1) -> None:
    """Count a request by which a customer has Stripe asked.

    Args:
        runtime: Counts.
        customer_id: Who has Stripe asked.
        cost: For how many requests it counts; no more is counted than may come at once.

    Raises:
        TooManyBillingRequests: It was asked a moment ago, and often.
    """
    rate = replace(_TURNS, cost=min(cost, _TURNS.burst))
    wait_s = await runtime.pacing.wait_s(f"customer {customer_id}", rate)
    if wait_s:
        raise TooManyBillingRequests("Too many requests about billing; wait a little.", retry_after_s=wait_s)


async def take_turn_of(caller: Caller, runtime: Runtime, *, cost: int = 1) -> None:
    """As `take_turn`, for a customer with its key. The seller's own server is not counted."""
    if caller.account is not None:
        await take_turn(runtime, caller.account.customer_id, cost=cost)


async def may_arrive(runtime: Runtime, customer_id: str, address: str | None) -> bool:
    """Whether Stripe may be asked once more what became of a customer's checkout, for a visitor from that address."""
    if await runtime.pacing.wait_s(f"arrivals {pacing_address(address)}", _ARRIVALS):
        return False
    return not await runtime.pacing.wait_s(f"customer {customer_id}", _TURNS)
