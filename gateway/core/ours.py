"""Which subscriptions of a Stripe customer are ours to change, to end, and to count as one. Pure.

One customer of Stripe may pay the seller for more than the API: a support contract, another product. Such a
subscription is shown where nothing better is known, and else left alone: ours is

    what a plan sells, or will by its schedule
    else what our record names, and was a plan in good standing once: its price was mapped away since
    else what says in its metadata that it was sold here

Never two of ours run at once; how many others run beside them is the seller's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.core.plan_map import plan_of_item

if TYPE_CHECKING:
    from gateway.core.account import Subscription
    from gateway.core.billing_facts import SubscriptionFacts
    from gateway.core.policy import Policy


def is_ours(facts: SubscriptionFacts, policy: Policy, recorded: Subscription | None) -> bool:
    """Whether a subscription is ours.

    Args:
        facts: The subscription.
        policy: Its plans.
        recorded: What was recorded of the customer last, whichever subscription it names.
    """
    own = None if recorded is None else recorded.find(facts.subscription_id)
    if facts.is_labelled or (own is not None and own.last_good_plan_id is not None):
        return True
    coming = () if facts.schedule is None else facts.schedule.next_items
    return any(plan_of_item(item, policy, own) is not None for item in (*facts.items, *coming))
