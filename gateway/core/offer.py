"""What a plan sells beside its tier: seats, add-ons, and the terms of its checkout page.

Frozen values; `gateway.policyfiles` reads them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from gateway.core.limits import Quota

MOST_SEATS = 999_999
"""Source: `adjustable_quantity.maximum` of a line item, https://docs.stripe.com/api/checkout/sessions/create"""

MOST_TRIAL_DAYS = 730
"""Source: `subscription_data.trial_period_days`, in the same place."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """Days that are free before the first period."""

    days: int
    without_card: Literal["pause", "cancel"] | None = None
    """No card is asked for, and what becomes of a trial that ends without one. None: a card is asked for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckoutTerms:
    """What a checkout page offers and asks for."""

    trial: Trial | None = None
    """For customers who have not had one before."""
    billing_address: bool = False
    """It asks for the whole billing address."""
    promotion_codes: bool = False
    """Buyers may type a code."""
    coupon: str | None = None
    """Id of a coupon of Stripe's that buyers have who never had a plan. Never together with `promotion_codes`."""
    tax: bool = False
    """Stripe works out the tax; address and tax id are asked for."""


PLAIN_TERMS = CheckoutTerms()


@dataclass(frozen=True, slots=True, kw_only=True)
class SeatRange:
    """How many seats a plan is sold with, both ends included; `least` is at least 1."""

    least: int
    most: int

    def holds(self, seats: int) -> bool:
        """Whether so many are sold."""
        return self.least <= seats <= self.most

    @property
    def words(self) -> str:
        """As policy writes it: `1 to 100`, or `5`."""
        return f"{self.least}" if self.least == self.most else f"{self.least} to {self.most}"


@dataclass(frozen=True, slots=True, kw_only=True)
class AddOn:
    """Something that is bought beside a plan: it adds features and quota and is never a tier.

    Exactly one of `price_id`, `lookup_key` is set.
    """

    name: str
    title: str
    price_id: str | None
    lookup_key: str | None
    features: frozenset[str] = frozenset()
    limits: tuple[Quota, ...] = ()
    """Units that one of it adds to the tier's quota of the same meter, window and group."""
