"""What a change gave up and left behind is removed, by whoever sees it.

A change that waits for its payment is made by Stripe, long after the request that asked for it, and one that is made
at once may be cut off in the middle. Either way the subscription says what is to go (`SubscriptionFacts.given_up`).
An item's id never comes back, so to remove one is right however late it is, and however many do it at once. Those that
bill usage are another matter (`gateway.sync.letting_go`).
"""

from __future__ import annotations

import structlog

from gateway.billing import Billing
from gateway.core.billing_facts import CustomerFacts, SubscriptionFacts
from gateway.core.errors import BillingRefused
from gateway.core.plan_map import ENDED_STATUSES

log = structlog.get_logger(__name__)


def is_left_behind(facts: SubscriptionFacts) -> bool:
    """Whether there is something to remove. Not while a change waits: another request would take its place."""
    return bool(facts.given_up) and not facts.has_pending_update and facts.status not in ENDED_STATUSES


def metered_of(facts: SubscriptionFacts) -> frozenset[str]:
    """The items that bill usage."""
    return frozenset(item.item_id for item in facts.items if item.is_metered)


def settled_left(facts: SubscriptionFacts) -> tuple[str, ...]:
    """What is left behind and bills no usage."""
    return tuple(one for one in facts.given_up if one not in metered_of(facts)) if is_left_behind(facts) else ()


def used_left(facts: SubscriptionFacts) -> tuple[str, ...]:
    """What is left behind and bills usage."""
    return tuple(one for one in facts.given_up if one in metered_of(facts)) if is_left_behind(facts) else ()


async def remove_given_up(billing: Billing, facts: CustomerFacts) -> None:
    """Remove what is left behind and bills no usage. A refusal is logged, and tried again with the next sync.

    Raises:
        BillingUnavailable: Nobody knows; to do it again is safe.
    """
    for one in facts.subscriptions:
        if not settled_left(one):
            continue
        try:
            await billing.changes.remove(one.subscription_id, settled_left(one), left=used_left(one))
        except BillingRefused as error:
            log.warning("item not removed", subscription_id=one.subscription_id, reason=str(error))
