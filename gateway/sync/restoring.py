"""What was planned comes back if it was lost, and is planned anew where it would bring back what was replaced.

A planned change is released before another is made, or it would undo that one later. If the other then waits for its
payment and is given up, or its worker is lost, the customer would go on paying what it had arranged to leave. So the
subscription carries what was planned (`billing.webhook.METADATA_PLANNED`) from before it is released until

    the other change is made          Stripe takes the words away with it
    the customer decides otherwise    what is planned, kept or withdrawn takes them away
    neither, and nothing waits        it is planned again, by whoever syncs the customer

What is planned has a copy of how the subscription was paid and taxed, and would set it again (`billing.terms`). Once
the customer has another card, or the seller another setting, it is released and planned anew, with the same words on
the subscription meanwhile.

They are words of policy, and are asked for like any other change: what is not sold any more is not planned again.
They say what the subscription was for, too: of another one they are not. What the plan is sold at stands beside them
(`billing.webhook.METADATA_PLANNED_AS`), for who calls the plan otherwise by then. Gateways of the release before, which
may run beside these, read the words and leave the name: it says whose it is, and of another plan it is not.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from hashlib import sha256
from typing import TYPE_CHECKING

from gateway.core.item_map import read_items
from gateway.core.plan_map import GOOD_STATUSES, find_sold_as, sold_as
from gateway.sync.extras import ExtrasOrder

if TYPE_CHECKING:
    from gateway.core.account import Subscription
    from gateway.core.billing_facts import SubscriptionFacts
    from gateway.core.policy import Policy

_LONGEST = 500
"""Source: https://docs.stripe.com/api/metadata"""
_PARTS = 4
LAST_MOMENTS_S = 120
"""Before a planned change is made: longer than it takes to plan it anew, at the slowest."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LostPlan:
    """What is to be asked for again."""

    plan_id: str
    extras: ExtrasOrder


def planned_words(facts: SubscriptionFacts, policy: Policy, own: Subscription) -> tuple[str, str]:
    """What we planned for a subscription, and its plan's name; each empty: nothing, or more than there is room for."""
    schedule = facts.schedule
    if schedule is None or not schedule.is_ours or not schedule.next_items:
        return "", ""
    coming = read_items(replace(facts, items=schedule.next_items), policy, own)
    if coming.plan is None:
        return "", ""
    add_ons = ",".join(name for name, _ in coming.add_ons)
    words = f"{_state(facts)}|{coming.plan.plan_id}|{coming.seats}|{add_ons}"
    name = sold_as(coming.plan)
    planned_as = "" if name is None else f"{coming.plan.plan_id}|{name}"
    return _if_short(words), _if_short(planned_as)


def _if_short(value: str) -> str:
    return value if len(value) <= _LONGEST else ""


def is_lost(facts: SubscriptionFacts) -> bool:
    """Whether something was planned, and what took its place neither waits nor was made by us in one piece."""
    is_running = facts.status in GOOD_STATUSES and not facts.first_payment_missing
    return bool(facts.planned_before) and is_running and not facts.has_pending_update


def is_outdated(facts: SubscriptionFacts, now: int) -> bool:
    """Whether what is planned would bring back what was replaced, and there is time to plan it anew.

    In the last moments it is left: released then, and late with the rest, it would be lost for a whole period.
    """
    schedule = facts.schedule
    is_planned = schedule is not None and schedule.is_outdated and not facts.has_pending_update
    return is_planned and schedule is not None and (schedule.next_at or 0) - now > LAST_MOMENTS_S


def is_spent(facts: SubscriptionFacts) -> bool:
    """Whether all that we planned is made, and the schedule still holds the subscription.

    It would for a whole interval, and Stripe refuses meanwhile to set an end, in the portal as by the API.
    """
    schedule = facts.schedule
    return schedule is not None and schedule.is_ours and schedule.next_at is None


def read_lost(facts: SubscriptionFacts, policy: Policy) -> LostPlan | None:
    """What was planned; None: something is planned since, the subscription is another by now, or nobody can read it."""
    parts = facts.planned_before.split("|")
    if (facts.schedule is not None and facts.schedule.next_at is not None) or len(parts) != _PARTS:
        return None
    state, plan_id, seats, add_ons = parts
    if state != _state(facts) or not seats.isdecimal():
        return None
    names = tuple(name for name in add_ons.split(",") if name)
    whose, _, name = facts.planned_as.partition("|")
    renamed = find_sold_as(name, policy) if plan_id not in policy.plans and whose == plan_id else None
    plan_id = plan_id if renamed is None else renamed.plan_id
    return LostPlan(plan_id=plan_id, extras=ExtrasOrder(seats=int(seats), add_ons=names))


def _state(facts: SubscriptionFacts) -> str:
    """What a subscription is for, in short."""
    items = sorted(f"{item.price_id}*{item.quantity}" for item in facts.items if not item.is_metered)
    return sha256(",".join(items).encode()).hexdigest()[:12]
