"""What a plan sells beside its tier: seats and add-ons. Frozen values; `gateway.policyfiles` reads them."""

from __future__ import annotations

from dataclasses import dataclass

from gateway.core.limits import Quota

MOST_SEATS = 999_999
"""Source: `adjustable_quantity.maximum` of a line item, https://docs.stripe.com/api/checkout/sessions/create"""


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
