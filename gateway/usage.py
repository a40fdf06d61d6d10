"""USE CASE: how much of each limit a customer has used.

Quotas are read from the cache, where they are counted; if it is away, from the ledger, which
is behind by one settlement at most. Rates have no count worth showing: they refill while one
reads. Calls in progress are known to the cache only. Nothing here spends anything.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Literal, TypeAlias

from gateway.cache import Cache, CacheUnavailable
from gateway.clock import Clock
from gateway.core.access import decide_access, in_force
from gateway.core.access_value import Access
from gateway.core.account import Account, Grant
from gateway.core.credits import ends_at, grant_field, units_left
from gateway.core.errors import LedgerUnavailable
from gateway.core.forecast import forecast_exhaustion, window_pace_s
from gateway.core.limit_text import REQUESTS, limit_words
from gateway.core.limits import Concurrency, Limit, Rate, limit_field
from gateway.core.overage_usage import OverageUsage, list_overages
from gateway.core.plan_change import counted_window
from gateway.core.policy import Policy
from gateway.ledger import HOUR_S, Ledger

Counters: TypeAlias = dict[str, tuple[int, int]]
Source: TypeAlias = Literal["cache", "ledger"]


RECENT_HOURS = 3
"""Whole hours, besides the one that runs, that make the recent pace."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recent:
    """What was spent in the last hours."""

    units: dict[tuple[str, str], int]
    """By meter and key id."""
    since: int
    """Unix seconds."""


NOTHING_RECENT = Recent(units={}, since=0)


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitUsage:
    """One limit and what is used of it."""

    name: str
    """As in the RateLimit fields."""
    kind: Literal["quota", "rate", "concurrency"]
    meter: str
    limit: int
    """Units: a quota's size, or a rate's units per window. Of a limit on calls at once: calls."""
    words: str
    """The limit as policy writes it."""
    window_s: int
    """0 for calls at once: they have no window."""
    used: int | None = None
    """Of a quota; more than `limit` after a downgrade. Of calls at once: those in progress, if the cache says."""
    remaining: int | None = None
    window_starts_at: int | None = None
    window_ends_at: int | None = None
    """When the count starts again."""
    exhausts_at: int | None = None
    """When it is used up at the pace of the window so far (`core.forecast`); None: not before the window ends."""
    exhausts_at_recent: int | None = None
    """The same at the pace of the last hours (`RECENT_HOURS`); None too if the history cannot be read."""
    burst: int | None = None
    """Rates only."""
    key_id: str | None = None
    """The key whose own limit this is; None: a limit of the whole account."""
    group: str | None = None
    """The routes that it counts, and no others; None: every call."""
    counter: str | None = None
    """Quotas only: the field that counts it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CreditUsage:
    """Credits that are not used up, and what is used of them."""

    grant: Grant
    used: int
    left: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """All limits of an account at one moment, and its credits."""

    access: Access
    limits: tuple[LimitUsage, ...]
    credits: tuple[CreditUsage, ...]
    """In the order in which they are spent. Those that expired are left out."""
    overages: tuple[OverageUsage, ...]
    source: Source
    as_of: int
    """Unix seconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """A customer's counters, with the instant that rules their windows."""

    counters: Counters
    now: float
    """Unix seconds: the cache's, if it has counted."""
    source: Source
    live: dict[str, int] = field(default_factory=dict)
    """Calls in progress, by the fields of the limits that count them. Empty: not known."""


async def read_usage(account: Account, *, policy: Policy, cache: Cache, ledger: Ledger, clock: Clock) -> Usage:
    """What an account has used of its tier's limits and of its keys' own.

    Raises:
        LedgerUnavailable: Neither cache nor ledger answers.
    """
    reading = await read_counters(account.customer_id, cache=cache, ledger=ledger, clock=clock)
    account = in_force(account, policy, reading.now)
    access = decide_access(account, policy, reading.now)
    reading = await count_calls(account, access, reading, cache)
    recent = await read_recent(account.customer_id, ledger=ledger, now=int(reading.now))
    return Usage(
        access=access,
        limits=list_usage(account, access, reading, recent),
        credits=list_credits(account, reading),
        overages=list_overages(account, access, policy, reading.counters, reading.now),
        source=reading.source,
        as_of=int(reading.now),
    )


async def read_counters(customer_id: str, *, cache: Cache, ledger: Ledger, clock: Clock) -> Reading:
    """What was counted for a customer.

    Raises:
        LedgerUnavailable: Neither cache nor ledger answers.
    """
    try:
        reading = await cache.read_usage(customer_id)
    except CacheUnavailable:
        reading = None
    if reading is None:
        counters, _ = await ledger.load_counters(customer_id)
        return Reading(counters=counters, now=clock.now(), source="ledger")
    is_simulated = clock.cache_now_ms() != 0
    now = clock.now() if is_simulated else reading.now_ms / 1000
    return Reading(counters=reading.quotas, now=now, source="cache")


async def count_calls(account: Account, access: Access | None, reading: Reading, cache: Cache) -> Reading:
    """The reading, with the calls in progress that limits of the account count; as it is, if the cache is away."""
    said = _limits_of(account, access, reading.now)
    fields = [limit_field(limit, key_id) for limit, key_id in said if isinstance(limit, Concurrency)]
    if not fields or reading.source != "cache":
        return reading
    try:
        live = await cache.count_calls(account.customer_id, fields, int(reading.now * 1000))
    except CacheUnavailable:
        return reading
    return replace(reading, live=live)


async def read_recent(customer_id: str, *, ledger: Ledger, now: int) -> Recent:
    """What a customer spent in the last hours; nothing if the ledger is away, because forecasts can wait."""
    since = now // HOUR_S * HOUR_S - RECENT_HOURS * HOUR_S
    try:
        return Recent(units=await ledger.recent_units(customer_id, since=since), since=since)
    except LedgerUnavailable:
        return NOTHING_RECENT


def list_usage(
    account: Account, access: Access | None, reading: Reading, recent: Recent = NOTHING_RECENT
) -> tuple[LimitUsage, ...]:
    """Every limit of an account: its tier's, then those of its live keys. Without `access`, of the keys only."""
    return tuple(
        _usage_of(limit, account, key_id, reading, recent) for limit, key_id in _limits_of(account, access, reading.now)
    )


def _limits_of(account: Account, access: Access | None, now: float) -> list[tuple[Limit, str | None]]:
    """In the order in which they are listed, with the key whose own each is."""
    limits: list[tuple[Limit, str | None]] = []
    if access is not None and access.tier is not None:
        limits += [(limit, None) for limit in access.tier.limits]
    for key in account.keys.values():
        if key.expires_at is None or key.expires_at > now:
            limits += [(limit, key.key_id) for limit in key.limits]
    return limits


def list_credits(account: Account, reading: Reading) -> tuple[CreditUsage, ...]:
    """The credits of an account that have not expired."""
    listed = []
    for grant in account.grants:
        _, used = reading.counters.get(grant_field(grant.grant_id), (0, 0))
        if reading.now < ends_at(grant):
            listed.append(CreditUsage(grant=grant, used=used, left=units_left(grant, used, reading.now)))
    return tuple(listed)


def _usage_of(limit: Limit, account: Account, key_id: str | None, reading: Reading, recent: Recent) -> LimitUsage:
    counters, now = reading.counters, reading.now
    name = limit.name if key_id is None else f"key-{limit.name}"
    if isinstance(limit, Concurrency):
        in_progress = reading.live.get(limit_field(limit, key_id))
        return LimitUsage(
            name=name,
            kind="concurrency",
            meter=REQUESTS,
            group=limit.group,
            limit=limit.units,
            words=limit_words(limit),
            window_s=0,
            used=in_progress,
            remaining=None if in_progress is None else max(0, limit.units - in_progress),
            key_id=key_id,
        )
    if isinstance(limit, Rate):
        return LimitUsage(
            name=name,
            kind="rate",
            meter=limit.meter,
            group=limit.group,
            limit=limit.units,
            words=limit_words(limit),
            window_s=-(-limit.window_ms // 1000),
            burst=limit.burst,
            key_id=key_id,
        )
    starts_at, ends_at = counted_window(account, now, limit)
    counter = limit_field(limit, key_id)
    counted_at, counted = counters.get(counter, (0, 0))
    used = counted if counted_at >= starts_at else 0
    remaining = max(0, limit.units - used)
    lately = forecast_exhaustion(
        remaining=remaining,
        units=_spent(recent, limit.meter, key_id),
        over_s=int(now) - recent.since,
        now=int(now),
        ends_at=ends_at,
    )
    return LimitUsage(
        name=name,
        kind="quota",
        meter=limit.meter,
        group=limit.group,
        limit=limit.units,
        words=limit_words(limit),
        window_s=ends_at - starts_at,
        used=used,
        remaining=remaining,
        window_starts_at=starts_at,
        window_ends_at=ends_at,
        exhausts_at=forecast_exhaustion(
            remaining=remaining,
            units=used,
            over_s=window_pace_s(starts_at=starts_at, ends_at=ends_at, now=int(now)),
            now=int(now),
            ends_at=ends_at,
        ),
        exhausts_at_recent=lately if limit.group is None else None,  # what was spent lately is not known by group
        key_id=key_id,
        counter=counter,
    )


def _spent(recent: Recent, meter: str, key_id: str | None) -> int:
    """By one key, or by all."""
    if key_id is not None:
        return recent.units.get((meter, key_id), 0)
    return sum(units for (name, _), units in recent.units.items() if name == meter)
