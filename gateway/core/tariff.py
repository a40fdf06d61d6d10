"""What units of a metered price cost, and how many of them an amount of money buys. Pure, with exact decimals.

Amounts of money are whole numbers of the currency's smallest unit; what Stripe writes with decimals stays text, so
that nothing is rounded on the way. Laws:

- what an amount buys never costs more than it: every line that Stripe may make of the usage is rounded up here,
  while Stripe rounds each to the nearest;
- all numbers of units up to the answer cost no more either, because usage may end at any of them: of a price that
  falls with volume, the answer lies before the first number that costs too much;
- the answer is the largest number with both.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Literal, TypeAlias

from gateway.core.limit_text import EXACT_BELOW

if TYPE_CHECKING:
    from collections.abc import Iterator

MOST_UNITS = EXACT_BELOW - 1
"""What counters count exactly: more units are never bought."""

TiersMode: TypeAlias = Literal["graduated", "volume"]


@dataclass(frozen=True, slots=True, kw_only=True)
class PriceStep:
    """One step of a tiered price.

    Source: https://docs.stripe.com/api/prices/object#price_object-tiers
    """

    up_to: int | None
    """The last unit of the step; None: it has no end."""
    unit_amount: str = "0"
    """For each unit, as Stripe writes it: a decimal of the smallest unit."""
    flat_amount: str = "0"
    """For the step as a whole."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tariff:
    """What a metered price asks for, in one currency."""

    currency: str
    """Three lower-case letters."""
    unit_amount: str | None = None
    """For each unit, or for each package of `divide_by`, as Stripe writes it. None: `steps` say."""
    steps: tuple[PriceStep, ...] = ()
    mode: TiersMode = "graduated"
    """`graduated`: each unit costs what its own step says. `volume`: all cost what the step of the last one says."""
    divide_by: int = 1
    rounds_up: bool = True
    """Whether a package that was begun is charged."""


def charge_of(tariff: Tariff, units: int) -> int:
    """The most that Stripe may ask for so many units: every line rounded up."""
    if tariff.unit_amount is not None:
        packages = -(-units // tariff.divide_by) if tariff.rounds_up else units // tariff.divide_by
        return _up(packages * Fraction(tariff.unit_amount))
    total = 0
    for low, step in _steps(tariff):
        ends_here = step.up_to is None or units <= step.up_to
        if tariff.mode == "volume":
            if ends_here:
                return _line(step, units)
            continue
        total += _line(step, (units if ends_here or step.up_to is None else step.up_to) - low)
        if ends_here:
            break
    return total


def units_within(tariff: Tariff, amount: int) -> int:
    """The most units of which no number up to them costs more than `amount`; at most `MOST_UNITS`, 0 if there is none.

    Args:
        tariff: The price.
        amount: Of the currency's smallest unit, >= 0. 0 buys nothing, not even what is free.
    """
    if amount <= 0:
        return 0
    if tariff.unit_amount is not None:
        return _packages_within(tariff, amount)
    spent = 0
    for low, step in _steps(tariff):
        last = MOST_UNITS if step.up_to is None else step.up_to
        left = amount - spent - _up(Fraction(step.flat_amount))
        before = 0 if tariff.mode == "volume" else low
        most = _units_for(step, left) + before
        if left < 0 or most <= low:
            return low
        if most < last:
            return most
        if tariff.mode == "graduated":
            spent += _line(step, last - low)
    return _last_unit(tariff)


def _packages_within(tariff: Tariff, amount: int) -> int:
    price = Fraction(tariff.unit_amount or "0")
    if price <= 0:
        return MOST_UNITS
    units = int(amount // price) * tariff.divide_by
    return min(MOST_UNITS, units if tariff.rounds_up else units + tariff.divide_by - 1)


def _steps(tariff: Tariff) -> Iterator[tuple[int, PriceStep]]:
    """Each step, with the last unit before it."""
    low = 0
    for step in tariff.steps:
        yield low, step
        low = MOST_UNITS if step.up_to is None else step.up_to


def _last_unit(tariff: Tariff) -> int:
    """Where the steps end. Stripe's last step has no end; beyond one that has, nothing is known to be for sale."""
    last = tariff.steps[-1].up_to if tariff.steps else 0
    return MOST_UNITS if last is None else min(last, MOST_UNITS)


def _units_for(step: PriceStep, amount: int) -> int:
    price = Fraction(step.unit_amount)
    return MOST_UNITS if price <= 0 else max(0, int(amount // price))


def _line(step: PriceStep, units: int) -> int:
    return _up(units * Fraction(step.unit_amount)) + _up(Fraction(step.flat_amount))


def _up(amount: Fraction) -> int:
    return -(-amount.numerator // amount.denominator)
