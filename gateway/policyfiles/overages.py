"""`overage:` of a tier, and `overage_price:` of a plan: that a quota may be exceeded, how far, and at which price.

overage: {meter: requests, stripe_meter: api_requests, price: lookup_key pro_overage, cap: 5x}
overage: [{meter: requests, ...}, {meter: tokens, ...}]
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gateway.core.limit_text import EXACT_BELOW, REQUESTS
from gateway.core.money import MoneyInvalid, parse_money
from gateway.core.overage import Overage, PriceName
from gateway.policyfiles.document import Listing, Mapping, Text
from gateway.policyfiles.shapes import as_fields, as_text, shown

if TYPE_CHECKING:
    from gateway.policyfiles.document import Node
    from gateway.policyfiles.faults import FaultLog, Place

_KEYS = ("meter", "stripe_meter", "price", "cap", "spend_cap")
_EXAMPLE = "'{meter: requests, stripe_meter: api_requests, price: lookup_key pro_overage, cap: 5x}'"
_EVENT_NAME = re.compile(r"[^\s]{1,100}")
_PRICE_ID = re.compile(r"price_[A-Za-z0-9_]{1,200}")
_LOOKUP_KEY = re.compile(r"lookup_key ([A-Za-z0-9_.:-]{1,200})")
_TIMES = re.compile(r"([0-9]{1,6})(?:\.([0-9]{1,2}))?x")
_UNITS = re.compile(r"([0-9]+(?:_[0-9]+)*) units")
_LEAST_PERCENT = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class OverageDraft:
    """One overage as written."""

    meter: Text | None
    """None: not said, so `requests`."""
    stripe_meter: Text | None
    price: Text | None
    overage: Overage | None
    """None: it cannot be read, and there is a fault."""
    place: Place

    @property
    def meter_name(self) -> str:
        """The meter of the quota that may be exceeded."""
        return REQUESTS if self.meter is None else self.meter.value.strip()


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanPrice:
    """The price of overage in one plan, as written."""

    meter: Text | None
    """None: of the only overage that its tier has."""
    price: PriceName
    text: Text


def read_overages(node: Node, what: str, faults: FaultLog) -> tuple[OverageDraft, ...]:
    """One mapping, or a list of them."""
    items = node.items if isinstance(node, Listing) else (node,)
    if not items:
        faults.add(node.place, f"'overage' of {what} says nothing: write {_EXAMPLE}, or leave it out")
    return tuple(_read_overage(item, what, faults) for item in items)


def read_plan_prices(node: Node, what: str, faults: FaultLog) -> tuple[PlanPrice, ...]:
    """A price, or a mapping of meters to prices."""
    named: list[tuple[Text | None, Node]] = list(node.entries) if isinstance(node, Mapping) else [(None, node)]
    found = []
    for meter, value in named:
        text = as_text(value, f"'overage_price' of {what}", faults)
        price = None if text is None else read_price_name(text, faults)
        if text is not None and price is not None:
            found.append(PlanPrice(meter=meter, price=price, text=text))
    return tuple(found)


def read_price_name(text: Text, faults: FaultLog) -> PriceName | None:
    """`lookup_key pro_overage` or `price_1Ab`; None with a fault in words."""
    words = " ".join(text.value.split())
    by_key = _LOOKUP_KEY.fullmatch(words)
    if by_key is not None:
        return PriceName(lookup_key=by_key[1])
    if _PRICE_ID.fullmatch(words) is not None:
        return PriceName(price_id=words)
    faults.add(
        text.place,
        f"{shown(words)} is not a Stripe price: write 'lookup_key pro_overage' or an id like 'price_1Ab', never an"
        " amount",
    )
    return None


def _read_overage(node: Node, what: str, faults: FaultLog) -> OverageDraft:
    if not isinstance(node, Mapping):
        faults.add(node.place, f"'overage' of {what} is a mapping like {_EXAMPLE}")
        return OverageDraft(meter=None, stripe_meter=None, price=None, overage=None, place=node.place)
    about = f"the overage of {what}"
    fields = as_fields(node, about, faults, known=_KEYS)
    texts = {name: as_text(value, f"{name!r} of {about}", faults) for name, value in fields.items()}
    for missing in ("stripe_meter", "price", "cap"):
        if missing not in fields:
            faults.add(node.place, f"{about} has no {missing!r}: write {_EXAMPLE}")
    meter, stripe_meter, price_text = texts.get("meter"), texts.get("stripe_meter"), texts.get("price")
    if stripe_meter is not None and _EVENT_NAME.fullmatch(stripe_meter.value.strip()) is None:
        faults.add(
            stripe_meter.place,
            f"'stripe_meter' is the event name of a Billing Meter in Stripe, 1 to 100 characters without spaces, not"
            f" {shown(stripe_meter.value)}",
        )
        stripe_meter = None
    price = None if price_text is None else read_price_name(price_text, faults)
    cap, spend_cap = texts.get("cap"), texts.get("spend_cap")
    caps = None if cap is None else _read_cap(cap, faults)
    spend = None if spend_cap is None else _read_spend_cap(spend_cap, faults)
    overage = None
    if stripe_meter is not None and price is not None and caps is not None:
        overage = Overage(
            meter=REQUESTS if meter is None else meter.value.strip(),
            stripe_meter=stripe_meter.value.strip(),
            price=price,
            cap_units=caps[0],
            cap_percent=caps[1],
            spend_cap=spend,
        )
    return OverageDraft(meter=meter, stripe_meter=stripe_meter, price=price_text, overage=overage, place=node.place)


def _read_cap(text: Text, faults: FaultLog) -> tuple[int | None, int | None] | None:
    """Units and percent, of which one is set at most; None with a fault in words."""
    words = " ".join(text.value.split())
    if words == "none":
        return None, None
    times, units = _TIMES.fullmatch(words), _UNITS.fullmatch(words)
    if times is not None:
        percent = int(times[1]) * 100 + int((times[2] or "").ljust(2, "0"))
        if percent > _LEAST_PERCENT:
            return None, percent
        faults.add(text.place, "'cap' counts what is included, so '1x' or less allows no overage: write '2x' or more")
        return None
    if units is not None and 1 <= int(units[1].replace("_", "")) < EXACT_BELOW:
        return int(units[1].replace("_", "")), None
    plain = words.replace("_", "")
    right = f"{int(plain):_} units" if plain.isascii() and plain.isdecimal() and len(plain) <= 15 else None  # noqa: PLR2004 - a number that a counter holds
    message = (
        "'cap' is '5x' (all in all five times what is included), '50_000 units' (beyond it) or 'none', not"
        f" {shown(text.value)}"
    )
    faults.add(text.place, message, suggestion=right)
    return None


def _read_spend_cap(text: Text, faults: FaultLog) -> tuple[int, str] | None:
    try:
        return parse_money(text.value)
    except MoneyInvalid as error:
        faults.add(text.place, f"'spend_cap' is an amount like '50.00 USD', not {shown(text.value)}: {error}")
        return None
