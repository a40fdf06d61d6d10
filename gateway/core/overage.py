"""That a tier's quota may be exceeded, as policy says it, and the names of the counters of what is beyond. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass

_FIELD = re.compile(r"q:([^:@]+):over")
"""`limit_field` never names a quota so: its window, which stands there, is `period` or a number. What ends so behind a
window is a group of routes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PriceName:
    """A price as policy names it: exactly one is set."""

    price_id: str | None = None
    lookup_key: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class MeteredPrice:
    """A price of overage, and the Billing Meter (`event_name`) that it must bill."""

    price: PriceName
    stripe_meter: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Overage:
    """That a tier's quota of a meter may be exceeded, up to where, and how it is billed."""

    meter: str
    stripe_meter: str
    """`event_name` of the Billing Meter that the units are reported to."""
    price: PriceName
    """Of the item that a subscription must carry. A plan may name another (`Plan.overage_prices`)."""
    cap_units: int | None = None
    """At most so many units beyond what is included."""
    cap_percent: int | None = None
    """At most so much in all, in percent of what is included: 500 is `5x`. Neither cap is set: `none`."""
    spend_cap: tuple[int, str] | None = None
    """Amount and currency of the cap of a customer who set none; None: none."""


def overage_field(meter: str) -> str:
    """Name of the counter of a meter's overage, within one customer."""
    return f"q:{meter}:over"


def meter_of_field(field: str) -> str | None:
    """The meter whose overage a counter counts; None: it counts something else."""
    found = _FIELD.fullmatch(field)
    return None if found is None else found[1]
