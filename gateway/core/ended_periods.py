"""Subscriptions that ended in the middle of a period, as one read of Stripe tells. Pure; instants are Unix seconds.

Whoever subscribes again has another subscription on record, so the end of the one before is kept by itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from gateway.core.lifecycle import ENDED
from gateway.core.plan_map import ENDED_STATUSES

if TYPE_CHECKING:
    from gateway.core.account import Subscription
    from gateway.core.billing_facts import CustomerFacts

TOLD_FOR_S: Final = 35 * 86_400
"""So long after its end a subscription is told of: customers are read many times until then."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EndedPeriod:
    """A period that a subscription ended in the middle of."""

    subscription_id: str
    starts_at: int
    ended_at: int
    ended_as: str
    """What the subscription is since: Stripe's word, or `customer_deleted`."""


def ended_periods(facts: CustomerFacts, record: Subscription | None, now: int) -> tuple[EndedPeriod, ...]:
    """The periods of a customer that ended lately before they were over, each subscription's at most once.

    Args:
        facts: From one read of Stripe.
        record: What is recorded of them. Of a customer that is gone at Stripe, only it knows a subscription.
        now: Unix seconds.
    """
    found = [
        EndedPeriod(
            subscription_id=one.subscription_id,
            starts_at=min(item.period_starts_at for item in one.items),
            ended_at=one.ended_at,
            ended_as=one.status,
        )
        for one in facts.subscriptions
        if one.status in ENDED_STATUSES and one.items and one.ended_at is not None
        if now - TOLD_FOR_S < one.ended_at < max(item.period_ends_at for item in one.items)
    ]
    told = {one.subscription_id for one in found}
    for one in () if record is None else record.all():
        if one.subscription_id in told or one.status not in ENDED or one.status_since is None:
            continue
        if now - TOLD_FOR_S < one.status_since < one.period_ends_at:
            found.append(
                EndedPeriod(
                    subscription_id=one.subscription_id,
                    starts_at=one.period_starts_at,
                    ended_at=one.status_since,
                    ended_as=one.status,
                )
            )
    return tuple(found)
