"""Seats and add-ons as forms show them and as forms send them. Nothing here is believed: policy says what is sold.

A form that asks for add-ons says so by a field of its own (`EXTRAS`), because a box that is not ticked sends nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from gateway.billing import PriceFacts
from gateway.core.account import Subscription
from gateway.core.offer import AddOn, SeatRange
from gateway.core.plan_map import plan_of_record
from gateway.core.policy import Plan, Policy
from gateway.core.purchase import nearest_seats
from gateway.sync import ExtrasOrder
from gateway.web.page_words import limit_sentence, price_words

EXTRAS = "extras"
"""The field of a form whose boxes are all the add-ons that are wanted."""
_ADD_ON = "add_on:"
_LONGEST_NUMBER = 10
_NOT_BY_THE_SEAT = SeatRange(least=1, most=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class AddOnCard:
    """One add-on that a plan is sold with, or that there is."""

    name: str
    title: str
    price: tuple[str, str] | None
    adds: str
    """What it adds, in words."""
    is_had: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ExtrasForm:
    """What can be changed beside the plan of a running subscription."""

    seats: int
    """As they are."""
    least: int
    most: int
    """The same as `least`: the number is not for the customer to choose."""
    add_ons: tuple[AddOnCard, ...]


def extras_form(
    policy: Policy, plan: Plan, subscription: Subscription, prices: Mapping[str, PriceFacts]
) -> ExtrasForm | None:
    """The form for a subscription; None: its plan is sold with nothing beside it.

    What there is can be kept and given up, also if policy does not sell it any more.
    """
    had = dict(subscription.add_ons)
    names = [*plan.add_ons, *(name for name in had if name not in plan.add_ons and name in policy.add_ons)]
    cards = tuple(add_on_card(policy.add_ons[name], policy, prices.get(name), is_had=name in had) for name in names)
    sold = plan.seats or _NOT_BY_THE_SEAT
    if not cards and sold.least == sold.most:
        return None
    seats = subscription.seats
    least, most = (min(sold.least, seats), max(sold.most, seats)) if sold.least != sold.most else (seats, seats)
    return ExtrasForm(seats=seats, least=least, most=most, add_ons=cards)


def add_on_card(add_on: AddOn, policy: Policy, price: PriceFacts | None, *, is_had: bool = False) -> AddOnCard:
    """An add-on in words."""
    adds = [*(f"{limit_sentence(limit, policy.meters)} more" for limit in add_on.limits)]
    adds += [feature.replace("-", " ") for feature in sorted(add_on.features)]
    return AddOnCard(
        name=add_on.name, title=add_on.title, price=price_words(price), adds=", ".join(adds), is_had=is_had
    )


def add_on_words(add_ons: Iterable[tuple[str, int]], policy: Policy) -> list[str]:
    """What is had, by titles: `A parcel`, `2 x A parcel`. One that policy does not know is called by its name."""
    words = []
    for name, count in add_ons:
        title = policy.add_ons[name].title if name in policy.add_ons else name
        words.append(title if count == 1 else f"{count} x {title}")
    return words


def asked_seats(fields: Mapping[str, str]) -> int | None:
    """The number that was sent; None: none was. One that is no number is refused as one that is not sold: 0."""
    text = fields.get("seats")
    if text is None:
        return None
    is_number = text.isascii() and text.isdecimal() and len(text) < _LONGEST_NUMBER
    return int(text) if is_number else 0


def picked_add_ons(fields: Mapping[str, str]) -> tuple[str, ...]:
    """The boxes that were ticked, by the names of their add-ons."""
    return tuple(name.removeprefix(_ADD_ON) for name in fields if name.startswith(_ADD_ON))


def asked_extras(
    fields: Mapping[str, str], plan: Plan, subscription: Subscription | None, policy: Policy
) -> ExtrasOrder:
    """What a form asks for beside a plan.

    Seats that there are, and that policy does not sell, stay with their plan, whatever it was called when they were
    bought; with another plan they become the nearest number that it is sold with, which the preview shows before
    anything is changed.
    """
    seats = asked_seats(fields)
    if subscription is not None:
        sold, is_other = plan.seats or _NOT_BY_THE_SEAT, plan_of_record(subscription, policy) != plan
        if seats is None and is_other and not sold.holds(subscription.seats):
            seats = nearest_seats(plan, subscription.seats)
        elif seats == subscription.seats and not is_other and not sold.holds(seats):
            seats = None
    return ExtrasOrder(seats=seats, add_ons=picked_add_ons(fields) if EXTRAS in fields else None)


def extras_fields(order: ExtrasOrder) -> dict[str, str]:
    """The fields by which a form asks for the same again."""
    fields = {} if order.seats is None else {"seats": f"{order.seats}"}
    if order.add_ons is not None:
        fields |= {EXTRAS: "yes"} | {f"{_ADD_ON}{name}": "yes" for name in order.add_ons}
    return fields
