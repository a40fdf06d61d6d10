"""Coupons, the codes that stand for them, and what became of one that was redeemed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import ROUND_HALF_UP, Decimal

_PERCENT = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Coupon:
    """Either `percent_off` or `amount_off` with its `currency`."""

    id: str
    created: int
    duration: str
    duration_in_months: int | None = None
    percent_off: Decimal | None = None
    amount_off: int | None = None
    currency: str | None = None
    name: str | None = None
    max_redemptions: int | None = None
    redeem_by: int | None = None
    times_redeemed: int = 0
    products: tuple[str, ...] = ()
    """What it takes something off; empty: anything."""
    metadata: Mapping[str, str] = field(default_factory=dict)

    def is_valid(self, now: int) -> bool:
        """Whether it can be redeemed."""
        in_time = self.redeem_by is None or now < self.redeem_by
        return in_time and (self.max_redemptions is None or self.times_redeemed < self.max_redemptions)


@dataclass(frozen=True, slots=True, kw_only=True)
class PromotionCode:
    """What a payer types to redeem a coupon; capitals and small letters are one."""

    id: str
    code: str
    coupon_id: str
    created: int
    active: bool = True
    customer_id: str | None = None
    expires_at: int | None = None
    max_redemptions: int | None = None
    times_redeemed: int = 0
    metadata: Mapping[str, str] = field(default_factory=dict)

    def is_valid(self, now: int, customer_id: str | None) -> bool:
        """Whether that customer can redeem it, its coupon aside."""
        in_time = self.expires_at is None or now < self.expires_at
        is_left = self.max_redemptions is None or self.times_redeemed < self.max_redemptions
        return self.active and in_time and is_left and self.customer_id in {None, customer_id}


@dataclass(frozen=True, slots=True, kw_only=True)
class Discount:
    """A coupon on a subscription. `ends_at`: of one that repeats; its terms are those it was redeemed under."""

    id: str
    coupon_id: str
    customer_id: str
    subscription_id: str
    starts_at: int
    duration: str
    ends_at: int | None = None
    promotion_code_id: str | None = None
    percent_off: Decimal | None = None
    amount_off: int | None = None
    products: tuple[str, ...] = ()

    def covers(self, product_id: str) -> bool:
        """Whether it takes something off that product."""
        return not self.products or product_id in self.products

    def of(self, amount: int) -> int:
        """What it takes off an amount."""
        return amount_off(amount, self.percent_off, self.amount_off)


def amount_off(amount: int, percent: Decimal | None, most: int | None) -> int:
    """What a coupon's terms take off an amount, which is not made negative by it."""
    if amount <= 0:
        return 0
    if percent is not None:
        return int((amount * percent / _PERCENT).quantize(Decimal(1), ROUND_HALF_UP))
    return min(amount, most or 0)


def spread(amount: int, weights: Sequence[int]) -> tuple[int, ...]:
    """Whole parts of an amount by weight, which add up to it."""
    total, reached, parts = sum(weights), 0, []
    for weight in weights:
        parts.append(amount * (reached + weight) // total - amount * reached // total if total else 0)
        reached += weight
    return tuple(parts)
