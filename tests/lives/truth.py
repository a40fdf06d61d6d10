"""What a customer may have, told from Stripe's side only. Written without a look at how the gateway does it.

active, trialing      the plan's tier
past_due              the plan's tier for 7 days since it was first seen, then the free one
unpaid, paused        refused until it is paid
anything else         the free tier

When it was first seen: at the latest when all was seen for the first time after Stripe had it, and to see it
again later changes nothing. Not before Stripe had it; but who saw a payment due, then nothing of
how it was paid, and then the next one due, cannot tell the two apart, and goes on counting from the first.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

from gateway.sandbox.records import Subscription
from gateway.sandbox.world import World

GRACE_S = 7 * 86_400
FREE, REFUSED = "free", "refused: payment-required"
TIERS = {"price_pro_monthly": "pro", "price_pro_yearly": "pro", "price_enterprise_monthly": "enterprise"}
ADD_ONS = {"price_sso": "sso"}
"""Prices that are sold beside a plan. This one's product names a tier, which it must not give."""
RANK = {FREE: 0, "pro": 1, "enterprise": 2}


@dataclass(frozen=True, slots=True, kw_only=True)
class Truth:
    """What Stripe had of one customer at one instant: (status, tier, past due since) of each subscription."""

    at: int
    subscriptions: tuple[tuple[str, str, int | None], ...]

    def allowed(self, now: float, seen_at: Sequence[float], owed_since: int | None = None) -> set[str]:
        """What may be granted `now` by one who saw this.

        Args:
            now: Unix seconds.
            seen_at: When all was seen, in order.
            owed_since: Since when one who was not told of a payment may count what is due.
        """
        options = [_of_status(one, now, seen_at, owed_since) for one in self.subscriptions]
        return {_best(combination) for combination in product(*options)}

    @property
    def dues(self) -> list[int]:
        """Since when payments are due."""
        return [since for status, _, since in self.subscriptions if status == "past_due" and since is not None]


def owed_since(before: int | None, truths: Sequence[Truth]) -> int | None:
    """Since when one may count what is due who has seen the last of these truths, and any of the others or none."""
    if not truths[-1].dues:
        return None
    dues = [since for truth in truths for since in truth.dues]
    return min(dues) if before is None else min(before, *dues)


def _of_status(
    subscription: tuple[str, str, int | None], now: float, seen_at: Sequence[float], owed: int | None
) -> list[tuple[int, int, str]]:
    """(rank of the tier, how near to being paid, answer): more than one while nobody can say which."""
    status, tier, since = subscription
    if status in {"active", "trialing"}:
        return [(RANK[tier], 4, tier)]
    if status == "past_due":
        assert since is not None
        first = since if owed is None else min(owed, since)
        last = next((seen for seen in seen_at if seen >= since), now)
        paying, lapsed = (RANK[tier], 4, tier), (0, 3, FREE)
        return [one for one, may_be in ((paying, now < last + GRACE_S), (lapsed, now >= first + GRACE_S)) if may_be]
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


def bought_of(world: World, subscription_id: str) -> tuple[int, tuple[tuple[str, int], ...]]:
    """Seats and add-ons of a subscription."""
    items = world.subscription(subscription_id).items
    (seats,) = [item.quantity for item in items if item.price_id in TIERS]
    return seats, tuple((ADD_ONS[item.price_id], item.quantity) for item in items if item.price_id in ADD_ONS)


def _seen(subscription: Subscription) -> tuple[str, str, int | None]:
    tier = max((TIERS[item.price_id] for item in subscription.items if item.price_id in TIERS), key=RANK.__getitem__)
    return subscription.status, tier, subscription.past_due_since
