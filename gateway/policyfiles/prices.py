"""How policy names a price of Stripe: by lookup key or by id, never by an amount."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gateway.policyfiles.document import Text
    from gateway.policyfiles.faults import FaultLog, Place

AMOUNT_KEYS = dict.fromkeys(
    ("amount", "currency", "unit_amount", "cost"), "what a plan costs is set in Stripe, on the price"
)
_PRICE_ID = re.compile(r"price_[A-Za-z0-9_]{1,200}")
_LOOKUP_KEY = re.compile(r"lookup_key ([A-Za-z0-9_.:-]{1,200})")


@dataclass(slots=True)
class SoldPrices:
    """The prices that were read so far: one sells one thing, or an item could not be told."""

    first: dict[str, tuple[str, Place]] = field(default_factory=dict)
    """Of each price, what it sells (`plans`, `add-ons`) and where that stands."""


def read_price(text: Text, sells: str, sold: SoldPrices, faults: FaultLog) -> tuple[str | None, str | None]:
    """The id or the lookup key of a price; both None with a fault.

    Args:
        text: `lookup_key pro_monthly`, or `price_1Ab`.
        sells: What it sells, as a word for many: `plans`.
        sold: Those before; it is added to them.
        faults: Told of what is no price, and of one that sells something already.
    """
    words = " ".join(text.value.split())
    by_key = _LOOKUP_KEY.fullmatch(words)
    if by_key is None and _PRICE_ID.fullmatch(words) is None:
        faults.add(
            text.place,
            f"{words[:60]!r} is not a Stripe price: write 'lookup_key pro_monthly' or an id like"
            " 'price_1Ab', never an amount",
        )
        return None, None
    kind, place = sold.first.setdefault(words, (sells, text.place))
    if place is not text.place:
        who = f"two {sells}" if kind == sells else "a plan and an add-on"
        faults.add(text.place, f"{who} have the price {words!r}: first at {place}")
    return (words, None) if by_key is None else (None, by_key[1])
