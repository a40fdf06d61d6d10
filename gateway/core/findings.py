"""What the seller should know of a customer as Stripe has it. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

from gateway.core.item_map import stray_items
from gateway.core.lifecycle import KNOWN_STATUSES
from gateway.core.offer import SeatRange
from gateway.core.ours import is_ours
from gateway.core.plan_map import ENDED_STATUSES, GOOD_STATUSES, price_words

if TYPE_CHECKING:
    from gateway.core.account import Subscription
    from gateway.core.billing_facts import CustomerFacts, SubscriptionFacts
    from gateway.core.policy import Plan, Policy

FindingCode: TypeAlias = Literal[
    "unmapped-price",
    "unknown-status",
    "several-subscriptions",
    "no-such-customer",
    "unmapped-item",
    "seats-not-sold",
    "nothing-bought",
]
NEEDS_ATTENTION: frozenset[FindingCode] = frozenset({"unmapped-price", "unknown-status", "several-subscriptions"})
"""Findings after which somebody must act: a customer has a tier only for a while, or pays twice."""

WHAT_TO_DO: dict[FindingCode, str] = {
    "unmapped-price": "Map the price in the policy, or name the tier in the metadata of its product. Until then the "
    "customer has its last tier, for a while.",
    "unknown-status": "Look at the subscription in Stripe, and update Tiergate: it does not know the status. Until "
    "then the customer has its last tier, for a while.",
    "several-subscriptions": "Cancel those in Stripe that are not wanted, and refund what was paid twice.",
}
"""Of each finding that needs attention."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """Something the seller should know. `detail` names ids and Stripe's words, no secret."""

    code: FindingCode
    detail: str


def find_findings(facts: CustomerFacts, record: Subscription, plan: Plan | None, policy: Policy) -> tuple[Finding, ...]:
    """What the seller should know.

    Args:
        facts: From one read of Stripe.
        record: What is recorded of it.
        plan: That it has; None: it cannot be read.
        policy: Its plans.
    """
    found = [
        Finding(code="unknown-status", detail=f"{one.subscription_id} has the status {one.status[:40]!r}")
        for one in facts.subscriptions
        if one.status not in KNOWN_STATUSES
    ]
    if record.status in KNOWN_STATUSES and record.unreadable_since is not None:
        prices = ", ".join(price_words(item) for item in _subscription(facts, record).items)
        detail = f"no plan sells {prices or 'an empty subscription'} of {record.subscription_id}"
        found.append(Finding(code="unmapped-price", detail=detail))
    found += _findings_beside(_subscription(facts, record), record, plan, policy)
    running = [one for one in facts.subscriptions if one.status in GOOD_STATUSES]
    paying = [one.subscription_id for one in running if is_ours(one, policy, record)]
    if len(paying) > 1:
        found.append(Finding(code="several-subscriptions", detail=f"paid for at once: {', '.join(sorted(paying))}"))
    return tuple(found)


def _findings_beside(
    facts: SubscriptionFacts, record: Subscription, plan: Plan | None, policy: Policy
) -> list[Finding]:
    """About a plan that runs: a number of seats that policy does not sell, and items that nothing there explains."""
    if plan is None or record.status in ENDED_STATUSES:
        return []
    found = []
    sold = plan.seats or SeatRange(least=1, most=1)
    if record.seats < 1:
        detail = f"{record.subscription_id} has a quantity of 0 of {plan.plan_id!r}: it grants nothing"
        found.append(Finding(code="nothing-bought", detail=detail))
    elif not sold.holds(record.seats):
        detail = (
            f"{record.subscription_id} has {record.seats} seats of {plan.plan_id!r}, which is sold with {sold.words}"
        )
        found.append(Finding(code="seats-not-sold", detail=detail))
    strays = stray_items(facts, policy, record)
    if strays:
        prices = ", ".join(price_words(item) for item in strays)
        found.append(Finding(code="unmapped-item", detail=f"no plan or add-on sells {prices} beside {plan.plan_id!r}"))
    return found


def _subscription(facts: CustomerFacts, record: Subscription) -> SubscriptionFacts:
    return next(one for one in facts.subscriptions if one.subscription_id == record.subscription_id)
