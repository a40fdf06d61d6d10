"""Subscriptions that ended in the middle of a period, as one read of Stripe tells. Pure; instants are Unix seconds.

Whoever subscribes again has another subscription on record, so the end of the one before is kept by itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from gateway.core.access import ENDED
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
    if record is None or record.status not in ENDED or record.status_since is None:
        return tuple(found)
    is_told = any(one.subscription_id == record.subscription_id for one in found)
    if is_told or not now - TOLD_FOR_S < record.status_since < record.period_ends_at:
        return tuple(found)
    of_record = EndedPeriod(
        subscription_id=record.subscription_id,
        starts_at=record.period_starts_at,
        ended_at=record.status_since,
        ended_as=record.status,
    )
    return (*found, of_record)
