"""What pages say: limits, prices, instants and standings, in words for people. Instants are UTC."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from gateway.billing import PriceFacts
from gateway.core.limit_text import limit_words
from gateway.core.limits import Concurrency, Limit, Rate
from gateway.core.policy import Meter, Tier


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """An instant, for `<time datetime>` and for people."""

    iso: str
    text: str
    day: str


def moment(at: int | None) -> Moment | None:
    """`2026-03-05T14:03:00Z`, `5 March 2026, 14:03 UTC` and `5 March 2026`; None stays None."""
    if at is None:
        return None
    when = datetime.fromtimestamp(at, UTC)
    day = f"{when.day} {when:%B %Y}"
    return Moment(iso=f"{when:%Y-%m-%dT%H:%M:%SZ}", text=f"{day}, {when:%H:%M} UTC", day=day)


def limit_sentence(limit: Limit, meters: Mapping[str, Meter]) -> str:
    """`1,000 requests per billing period`; `10 requests per second, up to 20 at once`; `20 calls at once`.

    With ` on renders` behind it for a group of routes.
    """
    group = group_words(limit.group)
    if isinstance(limit, Concurrency):
        return f"{limit.units:,} {'call' if limit.units == 1 else 'calls'} at once{group}"
    sentence = f"{limit.units:,} {unit_words(limit.meter, meters)} per {window_words(limit_words(limit))}{group}"
    if isinstance(limit, Rate) and limit.burst != limit.units:
        return f"{sentence}, up to {limit.burst:,} at once"
    return sentence


def feature_words(tier: Tier) -> tuple[str, ...]:
    """The features of a tier: `priority support`."""
    return tuple(feature.replace("-", " ") for feature in sorted(tier.features))


def window_words(policy_words: str) -> str:
    """The window in a limit as policy writes it: `billing period`, `day`, `10 seconds`."""
    return policy_words.partition(" per ")[2].partition(" on ")[0].partition(" burst ")[0]


def group_words(group: str | None) -> str:
    """` on renders`; nothing for a limit on every call."""
    return "" if group is None else f" on {group.replace('-', ' ').replace('_', ' ')}"


def unit_words(meter: str, meters: Mapping[str, Meter]) -> str:
    """What the units of a meter are called."""
    return meters[meter].title if meter in meters else meter


def price_words(price: PriceFacts | None) -> tuple[str, str] | None:
    """`("19.00 USD", "per month")`; None if there is no single amount to show."""
    if price is None or price.amount_text is None:
        return None
    return price.amount_text, interval_words(price)


def interval_words(price: PriceFacts) -> str:
    """`per month`, `every 3 months`, `once`."""
    if price.interval is None:
        return "once"
    return f"per {price.interval}" if price.interval_count == 1 else f"every {price.interval_count} {price.interval}s"


STANDING_WORDS = {
    "good": "Active",
    "grace": "Payment due",
    "lapsed": "No paid subscription",
    "suspended": "Suspended",
    "unreadable": "Being checked by the provider",
}
"""By `core.access.Access.standing`."""
