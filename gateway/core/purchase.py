"""What somebody asks to buy, checked against policy. Pure.

Callers name a plan, add-ons and a number of seats, and nothing else: prices, trials and discounts
are policy's.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from gateway.core.errors import Denied, TiergateError
from gateway.core.metered_items import metered_beside
from gateway.core.nearest import nearest_name

if TYPE_CHECKING:
    from gateway.core.offer import AddOn, Trial
    from gateway.core.overage import MeteredPrice
    from gateway.core.policy import Plan, Policy

_LONGEST_ECHO = 60


class SeatsNotSold(TiergateError):
    """Policy does not sell so many seats of that plan. The message says how many it sells."""

    code = "seats-not-sold"


class AddOnNotSold(TiergateError):
    """That add-on cannot be bought with that plan. The message says why, or names those that can."""

    code = "add-on-not-sold"


class CurrencyDiffers(Denied):
    """It is not sold in the currency of what it would stand beside; a subscription has one, and keeps it."""

    code = "currency-differs"


@dataclass(frozen=True, slots=True, kw_only=True)
class Extras:
    """What is asked for beside a plan."""

    seats: int | None = None
    """None: the least number that is sold."""
    add_ons: tuple[str, ...] = ()


NO_EXTRAS = Extras()


@dataclass(frozen=True, slots=True, kw_only=True)
class Purchase:
    """What is sold: as policy has it now."""

    plan: Plan
    seats: int
    add_ons: tuple[AddOn, ...]
    trial: Trial | None = None
    """The plan's, if the customer may have it: `check_purchase` does not know that."""
    coupon: str | None = None
    """The same of the plan's coupon."""
    metered: tuple[MeteredPrice, ...] = ()
    """The prices of overage that go with the plan."""


def check_purchase(policy: Policy, plan: Plan, extras: Extras) -> Purchase:
    """The purchase that is asked for.

    Args:
        policy: It holds the plan.
        plan: To be bought.
        extras: With it.

    Raises:
        SeatsNotSold, AddOnNotSold: Policy does not sell that.
    """
    return Purchase(
        plan=plan,
        seats=_seats(plan, extras.seats),
        add_ons=_add_ons(policy, plan, extras.add_ons),
        metered=metered_beside(policy, plan),
    )


def nearest_seats(plan: Plan, seats: int) -> int:
    """The number of seats that a plan is sold with and that is nearest to another: 1 if it is not sold by the seat."""
    return 1 if plan.seats is None else max(plan.seats.least, min(seats, plan.seats.most))


def _seats(plan: Plan, asked: int | None) -> int:
    sold = plan.seats
    if sold is None:
        if asked not in {None, 1}:
            raise SeatsNotSold(f"The plan {plan.plan_id!r} is not sold by the seat: leave 'seats' out.")
        return 1
    if asked is None:
        return sold.least
    if not sold.holds(asked):
        raise SeatsNotSold(f"The plan {plan.plan_id!r} is sold with {sold.words} seats, not with {asked}.")
    return asked


def _add_ons(policy: Policy, plan: Plan, asked: tuple[str, ...]) -> tuple[AddOn, ...]:
    found: dict[str, AddOn] = {}
    for name in asked:
        if name not in plan.add_ons:
            nearest = nearest_name(name, plan.add_ons)
            hint = "" if nearest is None else f" Did you mean {nearest!r}?"
            raise AddOnNotSold(
                f"The plan {plan.plan_id!r} is not sold with {name[:_LONGEST_ECHO]!r}.{hint}"
                f" Its add-ons are: {', '.join(plan.add_ons) or 'none'}."
            )
        if name in found:
            raise AddOnNotSold(f"The add-on {name!r} is named twice.")
        found[name] = policy.add_ons[name]
    return tuple(found.values())
