"""When a seller is told that a customer's quota is used to some share. Pure; amounts are units, instants Unix seconds.

Credits are told of in the same way: a grant is a quota whose one window is as long as it lasts.

Laws, for one quota in one window (`due_percent`):
- a threshold is told when it is reached, once, whatever is given back and used again;
- of several that are reached at once only the highest is told;
- the threshold of a limit that was raised is told again when the new one is reached, unless the use
  that was told before was that high already: a raise alone tells nothing;
- a limit that was lowered under the use tells the highest threshold that is new.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from typing import TYPE_CHECKING, TypeAlias

from gateway.core.credits import grant_field

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

_HOUR_S, _DAY_S = 3_600, 86_400

DEFAULT_PERCENTS = (50, 80, 100)
"""If policy does not say otherwise."""

THRESHOLD_REACHED = "quota.threshold_reached"
"""Type of the event. Never renamed."""

CREDITS_REACHED = "credits.threshold_reached"
"""The same of credits. Never renamed."""

DRIFT_REPAIRED = "billing.drift_repaired"
"""Customers were not as Stripe had them: events of Stripe did not come or were not worked on. Never renamed."""

CUSTOMERS_MISSING = "billing.customers_missing"
"""Stripe does not have so many customers that they were not all ended: somebody has to say so. Never renamed."""

EVENTS_DEAD = "billing.events_dead"
"""Events of Stripe were given up. Never renamed."""

STALE = "billing.stale"
"""Some customer was not read of Stripe for long: reconciliations do not come through. Never renamed."""

NEEDS_ATTENTION = "billing.needs_attention"
"""Somebody must act about a customer, or it loses its tier or pays twice. Never renamed."""

TEST = "alerts.test"
"""Type of the event that `tiergate alerts test` sends."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """A threshold of which the seller was told."""

    percent: int
    used: int
    """Units that were used then."""


@dataclass(frozen=True, slots=True, kw_only=True)
class QuotaAlert:
    """A customer's use of a quota has reached a threshold."""

    customer_id: str
    user_id: str
    tier: str
    limit_name: str
    """As in the RateLimit fields."""
    counter: str
    """Field that counts it, from `core.limits.limit_field`."""
    meter: str
    key_id: str | None
    """The key whose own limit it is; None: of the whole account."""
    used: int
    limit: int
    percent: int
    window_starts_at: int
    window_ends_at: int
    at: int
    """When it was seen."""

    @property
    def alert_id(self) -> str:
        """The same for whoever notices the same: so a second worker or a restart records nothing new."""
        return _alert_id(self.customer_id, self.counter, self.window_starts_at, self.percent, self.limit)


@dataclass(frozen=True, slots=True, kw_only=True)
class CreditAlert:
    """A customer's use of a grant of credits has reached a threshold."""

    customer_id: str
    user_id: str
    tier: str
    grant_id: str
    meter: str
    used: int
    units: int
    """Of the grant."""
    percent: int
    granted_at: int
    expires_at: int | None
    """None: never."""
    at: int
    """When it was seen."""

    @property
    def counter(self) -> str:
        """Field that counts it."""
        return grant_field(self.grant_id)

    @property
    def window_starts_at(self) -> int:
        """Since when it is counted."""
        return self.granted_at

    @property
    def alert_id(self) -> str:
        """As of a quota."""
        return _alert_id(self.customer_id, self.counter, self.granted_at, self.percent, self.units)


@dataclass(frozen=True, slots=True, kw_only=True)
class BillingAlert:
    """Something about the way from Stripe to access that somebody should look at."""

    kind: str
    """`DRIFT_REPAIRED`, `CUSTOMERS_MISSING`, `EVENTS_DEAD`, `STALE` or `NEEDS_ATTENTION`."""
    window_starts_at: int
    """Of one kind, one alert is told for each of these."""
    data: tuple[tuple[str, str | int], ...]
    used: int
    """How many customers, events or seconds."""
    at: int
    """When it was seen."""
    customer_id: str = ""
    """Empty: of no customer in particular."""
    about: str = ""
    """What of a customer it is, where more than one thing may be."""
    percent: int = 0

    @property
    def counter(self) -> str:
        """As lists show it."""
        return self.kind

    @property
    def alert_id(self) -> str:
        """The same for whoever notices the same."""
        whose = (self.customer_id, self.about) if self.customer_id else ()
        return _alert_id(self.kind, self.window_starts_at, *whose)


def drift_repaired(*, started_at: int, checked: int, drifted: int, at: int) -> BillingAlert:
    """A reconciliation changed customers. Told once for each reconciliation."""
    return BillingAlert(
        kind=DRIFT_REPAIRED,
        window_starts_at=started_at,
        data=(("checked", checked), ("drifted", drifted), ("started_at", started_at)),
        used=drifted,
        at=at,
    )


def customers_missing(*, started_at: int, held: int, ended: int, checked: int, at: int) -> BillingAlert:
    """A reconciliation left customers as they were whom Stripe does not have. Told once for each reconciliation."""
    return BillingAlert(
        kind=CUSTOMERS_MISSING,
        window_starts_at=started_at,
        data=(("checked", checked), ("ended", ended), ("held", held), ("started_at", started_at)),
        used=held,
        at=at,
    )


def events_dead(*, dead: int, newest_type: str, newest_id: str, died_at: int, at: int) -> BillingAlert:
    """Events were given up. Told once for each hour in which some were."""
    return BillingAlert(
        kind=EVENTS_DEAD,
        window_starts_at=died_at - died_at % _HOUR_S,
        data=(("dead", dead), ("newest_type", newest_type), ("newest_id", newest_id), ("died_at", died_at)),
        used=dead,
        at=at,
    )


def stale(*, oldest_at: int, expected_s: int, at: int) -> BillingAlert:
    """A customer was last read so long ago that it should have been several times since. Told once a day (UTC)."""
    return BillingAlert(
        kind=STALE,
        window_starts_at=at - at % _DAY_S,
        data=(("oldest_at", oldest_at), ("oldest_s", at - oldest_at), ("expected_s", expected_s)),
        used=at - oldest_at,
        at=at,
    )


def needs_attention(
    *, customer_id: str, user_id: str, code: str, detail: str, what_to_do: str, at: int
) -> BillingAlert:
    """Something was found about a customer. Told once a day (UTC) for each of its findings."""
    return BillingAlert(
        kind=NEEDS_ATTENTION,
        window_starts_at=at - at % _DAY_S,
        data=(
            ("customer_id", customer_id),
            ("user_id", user_id),
            ("finding", code),
            ("detail", detail),
            ("what_to_do", what_to_do),
        ),
        used=1,
        customer_id=customer_id,
        about=code,
        at=at,
    )


Alert: TypeAlias = QuotaAlert | CreditAlert | BillingAlert


def _alert_id(*what: str | int) -> str:
    return f"alert_{sha256(repr(what).encode()).hexdigest()[:32]}"


def threshold_units(limit: int, percent: int) -> int:
    """The use at which a threshold is reached, rounded up."""
    return -(-limit * percent // 100)


def due_percent(*, used: int, limit: int, percents: Sequence[int], told: Iterable[Told]) -> int | None:
    """The threshold to tell now, if any.

    Args:
        used: Units of the window so far.
        limit: Units per window. Of a quota of nothing, nothing is told.
        percents: All thresholds.
        told: What was told in this window, under whatever limit.
    """
    reached = [percent for percent in percents if limit > 0 and used >= threshold_units(limit, percent)]
    if not reached:
        return None
    percent = max(reached)
    at = threshold_units(limit, percent)
    return None if any(one.percent >= percent and one.used >= at for one in told) else percent


def next_units(*, used: int, limit: int, percents: Sequence[int]) -> int | None:
    """The use above `used` at which something may have to be told; None: there is none."""
    ahead = [units for units in (threshold_units(limit, percent) for percent in percents) if units > used]
    return min(ahead, default=None) if limit > 0 else None


def alert_body(alert: Alert) -> str:
    """The event as it is sent: JSON. Source: Standard Webhooks, "Payload structure"."""
    if isinstance(alert, BillingAlert):
        return _event(alert.kind, alert.at, dict(alert.data))
    if isinstance(alert, CreditAlert):
        return _event(
            CREDITS_REACHED,
            alert.at,
            {
                "customer_id": alert.customer_id,
                "user_id": alert.user_id,
                "tier": alert.tier,
                "grant_id": alert.grant_id,
                "meter": alert.meter,
                "used": alert.used,
                "units": alert.units,
                "percent": alert.percent,
                "granted_at": alert.granted_at,
                "expires_at": alert.expires_at,
            },
        )
    return _event(
        THRESHOLD_REACHED,
        alert.at,
        {
            "customer_id": alert.customer_id,
            "user_id": alert.user_id,
            "tier": alert.tier,
            "limit_name": alert.limit_name,
            "meter": alert.meter,
            "key_id": alert.key_id,
            "used": alert.used,
            "limit": alert.limit,
            "percent": alert.percent,
            "window_starts_at": alert.window_starts_at,
            "window_ends_at": alert.window_ends_at,
        },
    )


def trial_body(at: int) -> str:
    """An event about nobody, to try the way."""
    return _event(TEST, at, {})


def _event(kind: str, at: int, data: Mapping[str, str | int | None]) -> str:
    stamp = datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return json.dumps({"type": kind, "timestamp": stamp, "data": dict(data)}, separators=(",", ":"))
