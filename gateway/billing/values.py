"""What is asked of Stripe about checkouts and changes of plan, and what it answers. Frozen values."""

from __future__ import annotations

from dataclasses import dataclass

from gateway.core.switching import Proration


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckoutLink:
    """A hosted checkout page, ready to be opened."""

    url: str
    session_id: str
    created_at: int
    expires_at: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CouponFacts:
    """A coupon of Stripe's."""

    is_valid: bool
    """It can be redeemed now."""
    products: tuple[str, ...] = ()
    """Ids of what it takes something off; empty: anything."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanChange:
    """One item of one subscription is to be sold at another price."""

    subscription_id: str
    item_id: str
    from_price_id: str
    price_id: str
    """Read of Stripe for a plan of the policy; never from a caller."""
    at: int
    """The instant a preview is prorated at. The change itself is prorated when Stripe makes it."""
    proration: Proration = "next invoice"
    waits: bool = True
    """It is made once it is paid, where it asks for a payment at once."""
    ends_trial: bool = False
    """A trial that runs ends with it, and the first period begins and is paid."""
    quantity: int | None = None
    """How many of it; None: as many as there are."""
    adds: tuple[str, ...] = ()
    """Prices that get an item beside it: of add-ons, and of what is billed by use."""
    replaces_planned: bool = False
    """Once it is made, nothing is to be known any more of what was planned before (`PlanChanger.remember`)."""
    takes_back: bool = False
    """What was given up before, and is still there, stays, unless it is in `removes`."""
    removes: tuple[tuple[str, str], ...] = ()
    """Items beside it that go, each with its price. What was reported for a metered one until then is billed."""
    metered: frozenset[str] = frozenset()
    """The items that are metered, whether they go or not."""

    @property
    def settles(self) -> tuple[str, ...]:
        """The items that go and are paid ahead: there are none of them once the change is made."""
        return tuple(item_id for item_id, _ in self.removes if item_id not in self.metered)


@dataclass(frozen=True, slots=True, kw_only=True)
class LaterChange:
    """A change for the end of the period."""

    change: PlanChange
    takes_effect_at: int
    """The end of the period, in Unix seconds."""
    lasts: tuple[str, int]
    """Interval of the new price, and how many of it: then Stripe's schedule is over, and the subscription goes on."""
    customer_id: str
    """Ours, with the plan for whoever looks at the schedule in Stripe."""
    plan_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangeResult:
    """What became of a plan change."""

    is_pending: bool
    """It waits for a payment; until then the old plan stays."""
    payment_url: str | None
    """Where that payment can be made."""
