"""What a quantity costs: by the unit, by the package, or by tiers. Unit prices are exact decimals of cents.

The law: each line of an invoice is rounded by itself to the nearest cent, halves up. Graduated tiers make a
line each, so a bill is the sum of rounded lines and not the rounded sum.
Source: https://docs.stripe.com/billing/subscriptions/usage-based/manage-billing-setup (packages),
https://docs.stripe.com/products-prices/pricing-models (tiers).
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class Tier:
    """A stretch of quantities, up to and including `up_to` (None: the last one, without end)."""

    up_to: int | None
    unit_amount: Decimal = Decimal(0)
    flat_amount: Decimal = Decimal(0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tariff:
    """How a quantity is priced. With `tiers` the `unit_amount` says nothing; `divide_by` makes packages."""

    unit_amount: Decimal = Decimal(0)
    tiers: tuple[Tier, ...] = ()
    tiers_mode: str | None = None
    """`graduated` or `volume`."""
    divide_by: int = 1
    rounds: str = "up"
    """What becomes of a package that is not full: `up` or `down`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One line's worth: `quantity` units at `unit_amount`. `tier` counts from 1; a flat fee has no units."""

    quantity: int
    unit_amount: Decimal
    amount: int
    tier: int | None = None


def parts_of(tariff: Tariff, quantity: int) -> tuple[Part, ...]:
    """The lines that a quantity makes, in order; at least one."""
    if tariff.tiers_mode == "graduated":
        return _graduated(tariff.tiers, quantity)
    if tariff.tiers:
        return _volume(tariff.tiers, quantity)
    packages, rest = divmod(quantity, tariff.divide_by)
    if rest and tariff.rounds == "up":
        packages += 1
    return (Part(quantity=quantity, unit_amount=tariff.unit_amount, amount=_cents(tariff.unit_amount * packages)),)


def cost_of(tariff: Tariff, quantity: int) -> int:
    """Whole cents."""
    return sum(part.amount for part in parts_of(tariff, quantity))


def _graduated(tiers: tuple[Tier, ...], quantity: int) -> tuple[Part, ...]:
    """The units of each tier at that tier's price. A tier that nothing reaches makes no line, but for the first."""
    parts: list[Part] = []
    below = 0
    for number, tier in enumerate(tiers, start=1):
        top = quantity if tier.up_to is None else min(quantity, tier.up_to)
        if number > 1 and top <= below:
            break
        parts += _of_tier(tier, top - below, number)
        below = top
    return tuple(parts)


def _volume(tiers: tuple[Tier, ...], quantity: int) -> tuple[Part, ...]:
    """All units at the price of the tier that the whole quantity reaches."""
    for tier in tiers:
        if tier.up_to is None or quantity <= tier.up_to:
            return tuple(_of_tier(tier, quantity, None))
    raise ValueError("the last tier has an end")


def _of_tier(tier: Tier, quantity: int, number: int | None) -> list[Part]:
    amount = _cents(tier.unit_amount * quantity)
    parts = [Part(quantity=quantity, unit_amount=tier.unit_amount, amount=amount, tier=number)]
    if tier.flat_amount and quantity:
        parts.append(Part(quantity=0, unit_amount=tier.flat_amount, amount=_cents(tier.flat_amount), tier=number))
    return parts


def _cents(exact: Decimal) -> int:
    return int(exact.quantize(Decimal(1), rounding=ROUND_HALF_UP))


def decimal_text(exact: Decimal) -> str:
    """`0.05`, `2900`: as Stripe writes decimals, without an exponent."""
    return f"{exact.normalize():f}"
