"""What an amount of money buys where usage of one period is billed at several prices, or over several windows. Pure.

Laws:
- however the units are shared among the prices, what an amount buys costs no more than it, all lines together. So of
  prices that ask the same for every unit the dearest rules; of others each may spend its share of the amount;
- a price whose period is longer than the window (a year's, in monthly windows) goes on where the window before
  stopped. That is within what a window alone would cost only if no unit costs more than those before it.
"""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise
from typing import TYPE_CHECKING

from gateway.core.tariff import Tariff, charge_of, units_within

if TYPE_CHECKING:
    from collections.abc import Sequence


def units_at_all(tariffs: Sequence[Tariff | None], amount: int, currency: str) -> int:
    """The most units that an amount buys, whichever of the prices each is billed at; 0 if one is not known.

    Args:
        tariffs: At least one.
        amount: Of the currency's smallest unit.
        currency: Of the amount.
    """
    known = [tariff for tariff in tariffs if tariff is not None and tariff.currency == currency]
    if len(known) < len(tariffs):
        return 0
    more = len(known) - 1
    share = amount - more if all(map(_is_even, known)) else amount // len(known)
    return min(units_within(tariff, share) for tariff in known)


def most_charged(tariffs: Sequence[Tariff | None], units: int) -> int | None:
    """The most that units can cost, whichever of the prices each is billed at; None: one is not known."""
    known = [tariff for tariff in tariffs if tariff is not None]
    if len(known) < len(tariffs):
        return None
    if not units:
        return 0
    costs = [charge_of(tariff, units) for tariff in known]
    return max(costs) + len(known) - 1 if all(map(_is_even, known)) else sum(costs)


def never_rises(tariff: Tariff) -> bool:
    """Whether no unit costs more than those before it, wherever one begins to count."""
    if tariff.unit_amount is not None:
        return tariff.divide_by == 1 or tariff.rounds_up
    if tariff.mode == "volume" and len(tariff.steps) > 1:
        return False
    amounts = [Fraction(step.unit_amount) for step in tariff.steps]
    falls = all(before >= after for before, after in pairwise(amounts))
    return falls and not any(Fraction(step.flat_amount) for step in tariff.steps[1:])


def is_dearest_whole(tariff: Tariff) -> bool:
    """Whether units cost no more on several lines than on one: then it does not matter how often a price came back."""
    if tariff.unit_amount is not None:
        return tariff.divide_by == 1 and _is_whole(tariff.unit_amount)
    if tariff.mode == "volume" or not tariff.steps or Fraction(tariff.steps[0].flat_amount):
        return False
    amounts = [step.unit_amount for step in tariff.steps]
    rises = all(Fraction(before) <= Fraction(after) for before, after in pairwise(amounts))
    return rises and all(map(_is_whole, (*amounts, *(step.flat_amount for step in tariff.steps))))


def _is_whole(amount: str) -> bool:
    """No line at it is rounded."""
    return Fraction(amount).denominator == 1


def _is_even(tariff: Tariff) -> bool:
    """Every unit costs the same."""
    return tariff.unit_amount is not None and tariff.divide_by == 1
