"""How often one customer may have Stripe asked: what Stripe allows a second is for all customers together.

Whatever a customer can make this gateway ask of Stripe passes here first, from pages as from JSON. Who comes back
from a checkout has proved nothing yet, so it is counted by network address, too.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from gateway.checkout import pacing_address
from gateway.core.charge import LimitState, RateClaim
from gateway.core.errors import CapacityReduced
from gateway.core.ratelimit_fields import seconds_up
from gateway.sync import TooManyBillingRequests

if TYPE_CHECKING:
    from gateway.core.statement_period import Span
    from gateway.web.callers import Caller
    from gateway.web.runtime import Runtime

_TURNS: Final = RateClaim(field="r:billing:60000", cost=1, units=60, window_ms=60_000, burst=30)
_ARRIVALS: Final = RateClaim(field="r:arrivals:60000", cost=1, units=60, window_ms=60_000, burst=60)
_MONTH_S: Final = 30 * 86_400


async def take_turn(runtime: Runtime, customer_id: str, *, cost: int = 1) -> None:
    """Count a request by which a customer has Stripe asked.

    Without a cache nobody is counted, or nobody could mend a card during an outage.

    Args:
        runtime: Counts.
        customer_id: Who has Stripe asked.
        cost: For how many requests it counts; no more is counted than may come at once.

    Raises:
        TooManyBillingRequests: It was asked a moment ago, and often.
    """
    state = await count(runtime, f"customer {customer_id}", replace(_TURNS, cost=min(cost, _TURNS.burst)))
    if state is not None and not state.allowed:
        raise TooManyBillingRequests(
            "Too many requests about billing; wait a little.", retry_after_s=max(1, seconds_up(state.reset_ms))
        )


async def take_turn_of(caller: Caller, runtime: Runtime, *, cost: int = 1) -> None:
    """As `take_turn`, for a customer with its key. The seller's own server is not counted."""
    if caller.account is not None:
        await take_turn(runtime, caller.account.customer_id, cost=cost)


async def may_arrive(runtime: Runtime, customer_id: str, address: str | None) -> bool:
    """Whether Stripe may be asked once more what became of a customer's checkout, for a visitor from that address."""
    by_address = await count(runtime, f"arrivals {pacing_address(address)}", _ARRIVALS)
    if by_address is not None and not by_address.allowed:
        return False
    by_customer = await count(runtime, f"customer {customer_id}", _TURNS)
    return by_customer is None or by_customer.allowed


def statement_cost(span: Span) -> int:
    """What a statement counts for: Stripe is asked for each invoice of the period, which may be one a month."""
    return 1 + int((span.until - span.since) / _MONTH_S)


async def count(runtime: Runtime, who: str, rate: RateClaim) -> LimitState | None:
    """Count somebody who is no API key in a rate. None: the cache is away, and nobody is counted."""
    try:
        return await runtime.cache.charge_address(who, rate, runtime.clock.cache_now_ms())
    except CapacityReduced:
        return None
