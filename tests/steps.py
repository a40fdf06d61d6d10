"""What tests of admission do: call, subscribe, and look at what is left."""

from __future__ import annotations

import asyncio
from itertools import count
from typing import TYPE_CHECKING, Any

from gateway.core.account import Subscription
from gateway.core.errors import CapacityReduced

if TYPE_CHECKING:
    from collections.abc import Callable

    from gateway.admission import Admission, Attempt
    from gateway.cache import Cache
    from gateway.core.errors import TiergateError
    from tests.conftest import Parts, TestClock

DAY_S = 86_400
_numbers = count(1)


async def all_back(cache: Cache, patience_s: float = 60.0) -> None:
    """Wait until script calls pass at every server: with one that is down, a cluster counts as ready too."""
    assert await cache.wait_ready(patience_s)
    async with asyncio.timeout(patience_s):
        while cache.down:  # noqa: ASYNC110 - it has no events
            await asyncio.sleep(0.01)


async def admit(admission: Admission, key: bytes, method: str = "GET", path: str = "/v1/echo") -> Attempt:
    attempt = admission.attempt(f"dec_5{next(_numbers):x}", method, path)
    await admission.admit(attempt, key)
    return attempt


async def admitted(
    admission: Admission,
    key: bytes,
    tries: int,
    method: str = "GET",
    path: str = "/v1/echo",
    error: type[TiergateError] = CapacityReduced,
) -> int:
    """How many of so many calls are let in; the others fail with `error`."""
    passed = 0
    for _ in range(tries):
        try:
            await admit(admission, key, method, path)
        except error:
            continue
        passed += 1
    return passed


def left(attempt: Attempt, name: str) -> int:
    """Units that remain of one limit, as the decision saw it."""
    assert attempt.plan is not None
    index = [limit.name for limit in attempt.plan.limits].index(name)
    return attempt.states[index].remaining


def pro(clock: TestClock, **changes: Any) -> Subscription:
    facts: dict[str, Any] = {
        "subscription_id": "sub_1",
        "status": "active",
        "plan_id": "pro-monthly",
        "period_starts_at": int(clock.time),
        "period_ends_at": int(clock.time) + 30 * DAY_S,
        "anchor_at": int(clock.time),
    }
    return Subscription(**(facts | changes))


def found(subscription: Subscription | None) -> Callable[[Subscription | None], Subscription | None]:
    """What a read of Stripe is recorded as, whatever was recorded before."""
    return lambda _: subscription


async def subscribe(parts: Parts, customer_id: str, subscription: Subscription) -> None:
    fence = await parts.ledger.take_fence(customer_id)
    await parts.ledger.apply_subscription(
        customer_id, fence, found(subscription), now=int(parts.clock.time), actor="test", because="test"
    )
    await parts.publisher.publish(customer_id)
