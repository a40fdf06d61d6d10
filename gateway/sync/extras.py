"""Seats and add-ons of a running subscription: what is asked for against what there is.

What is asked for is policy's to sell; what is not named stays as it is, also where policy does not sell it any more.
Only seats go with a plan that is sold without: another one that is sold by one is bought once.
"""

from __future__ import annotations

from dataclasses import dataclass

from gateway.core.candidate import Candidate
from gateway.core.item_map import add_on_of_item
from gateway.core.offer import AddOn
from gateway.core.policy import Plan, Policy
from gateway.core.purchase import Extras, SeatsNotSold, check_purchase, nearest_seats
from gateway.core.switching import Direction


@dataclass(frozen=True, slots=True, kw_only=True)
class ExtrasOrder:
    """What is asked for beside the plan; None: as it is."""

    seats: int | None = None
    add_ons: tuple[str, ...] | None = None
    """Exactly these."""


AS_IT_IS = ExtrasOrder()


@dataclass(frozen=True, slots=True, kw_only=True)
class ExtrasChange:
    """What is to be done to a subscription's items."""

    quantity: int
    """Seats, once it is made."""
    added: tuple[AddOn, ...]
    removed: tuple[tuple[str, str], ...]
    """Items of add-ons that go, each with its price."""
    adds_more: bool
    """Seats or an add-on come, whatever goes."""
    direction: Direction
    """`same`: nothing changes beside the plan. Where anything is given up it is a downgrade, whatever comes beside
    it: or a trifle that is added would turn a downgrade into an upgrade, and its credit be had at once. What
    another plan is not sold with is not given up: nobody can choose to keep it."""


def extras_change(policy: Policy, plan: Plan, current: Candidate, order: ExtrasOrder) -> ExtrasChange:
    """The change of seats and add-ons that goes with a change to `plan`.

    Raises:
        SeatsNotSold, AddOnNotSold: Policy does not sell that.
    """
    quantity = 1 if current.item is None else current.item.quantity
    seats = keepable = quantity
    if plan != current.plan and quantity:  # of none there is nothing to keep
        keepable = nearest_seats(plan, quantity)
    if order.seats is not None or plan != current.plan:
        seats = _seats(policy, plan, quantity, order.seats)
    there = {
        name: item for item in current.facts.items if (name := add_on_of_item(item, policy, current.record)) is not None
    }
    added: tuple[AddOn, ...] = ()
    removed: tuple[tuple[str, str], ...] = ()
    if order.add_ons is not None:
        fresh = tuple(name for name in order.add_ons if name not in there)
        added = check_purchase(policy, plan, Extras(add_ons=fresh)).add_ons
        gone = [item for name, item in there.items() if name not in order.add_ons]
        removed = tuple((item.item_id, item.price_id) for item in gone)
    adds_more = seats > keepable or bool(added)
    direction: Direction = "same"
    if seats < keepable or removed:
        direction = "downgrade"
    elif adds_more:
        direction = "upgrade"
    return ExtrasChange(quantity=seats, added=added, removed=removed, adds_more=adds_more, direction=direction)


def _seats(policy: Policy, plan: Plan, quantity: int, asked: int | None) -> int:
    if asked is not None:
        return check_purchase(policy, plan, Extras(seats=asked)).seats
    if plan.seats is not None and not plan.seats.holds(quantity):
        raise SeatsNotSold(
            f"The plan {plan.plan_id!r} is sold with {plan.seats.words} seats, and there are {quantity}: say 'seats'."
        )
    return nearest_seats(plan, quantity)
