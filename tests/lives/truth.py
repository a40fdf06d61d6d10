"""What a customer may have, told from Stripe's side only. Written without a look at how the gateway does it.

active, trialing      the plan's tier
past_due              the plan's tier for 7 days since it was first seen, then the free one
unpaid, paused        refused until it is paid
anything else         the free tier
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

from gateway.sandbox.records import Subscription
from gateway.sandbox.world import World

GRACE_S = 7 * 86_400
FREE, REFUSED = "free", "refused: payment-required"
TIERS = {"price_pro_monthly": "pro", "price_pro_yearly": "pro", "price_enterprise_monthly": "enterprise"}
RANK = {FREE: 0, "pro": 1, "enterprise": 2}


@dataclass(frozen=True, slots=True, kw_only=True)
class Truth:
    """What Stripe had of one customer at one instant: (status, tier, past due since) of each subscription."""

    at: int
    subscriptions: tuple[tuple[str, str, int | None], ...]

    def allowed(self, now: float, lag_s: float) -> set[str]:
        """What may be granted `now` by one who saw this, and saw each change at most `lag_s` after it happened."""
        options = [_of_status(one, now, lag_s) for one in self.subscriptions]
        return {_best(combination) for combination in product(*options)}


def _of_status(subscription: tuple[str, str, int | None], now: float, lag_s: float) -> list[tuple[int, int, str]]:
    """(rank of the tier, how near to being paid, answer): more than one while nobody can say which."""
    status, tier, since = subscription
    if status in {"active", "trialing"}:
        return [(RANK[tier], 4, tier)]
    if status == "past_due":
        ends_at = (since or 0) + GRACE_S
        paying, lapsed = (RANK[tier], 4, tier), (0, 3, FREE)
        return [one for one, may_be in ((paying, now < ends_at + lag_s), (lapsed, now >= ends_at)) if may_be]
    if status in {"unpaid", "paused"}:
        return [(0, 2 if status == "unpaid" else 1, REFUSED)]
    return [(0, 0, FREE)]


def _best(subscriptions: tuple[tuple[int, int, str], ...]) -> str:
    """The highest tier; without one, what would help most."""
    return max(subscriptions, default=(0, 0, FREE))[2]


def truth_of(world: World, stripe_customer_id: str | None) -> Truth:
    """What is so now. A customer that was deleted has nothing."""
    found = [] if stripe_customer_id is None else world.subscriptions_of(stripe_customer_id)
    customer = world.tables.customers.get(stripe_customer_id or "")
    if customer is None or customer.deleted:
        found = []
    return Truth(at=world.now, subscriptions=tuple(_seen(one) for one in found))


def _seen(subscription: Subscription) -> tuple[str, str, int | None]:
    tier = max((TIERS[item.price_id] for item in subscription.items), key=RANK.__getitem__)
    return subscription.status, tier, subscription.past_due_since
