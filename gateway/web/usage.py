"""How much of each limit a customer has used."""

from __future__ import annotations

import msgspec
from litestar import get
from litestar.params import FromQuery

from gateway.usage import read_usage
from gateway.web.callers import FromCaller, FromRuntime, load_named
from gateway.web.problem_shape import problems

_BEHIND = "The counters cannot be read right now. This is how they were last kept; calls since then are counted later."


class LimitView(msgspec.Struct, kw_only=True):
    """One limit. Counts are units; instants Unix seconds. Rates refill while one reads, so they show no count."""

    name: str
    kind: str
    """`quota`, `rate`, or `concurrency`: calls at once, of which `used` are in progress."""
    meter: str
    words: str
    limit: int
    used: int | None
    remaining: int | None
    burst: int | None
    window_s: int
    window_starts_at: int | None
    window_ends_at: int | None
    exhausts_at: int | None
    """When it is used up, at the pace of its window so far; null: not before the window ends. A forecast."""
    exhausts_at_recent: int | None
    """The same at the pace of the last three to four hours."""
    key_id: str | None
    """The key whose own limit this is; null: it is shared by all keys."""
    group: str | None
    """The group of routes that it counts; null: every call."""


class CreditView(msgspec.Struct, kw_only=True):
    """Credits of one grant. They cover what the quota of their meter cannot, soonest to expire first."""

    grant_id: str
    meter: str
    units: int
    used: int
    left: int
    granted_at: int
    expires_at: int | None
    """Unix seconds; null: never."""


class OverageView(msgspec.Struct, kw_only=True):
    """How far a quota of the billing period may be exceeded, and how far it is. Counts are units."""

    name: str
    """As in the RateLimit fields: the name of the quota, with `-overage` behind it."""
    meter: str
    included: int
    used: int
    """Beyond what is included; these are billed."""
    allowed: int
    """Beyond what is included, at most."""
    left: int
    ceiling: int
    """`included` and `allowed` together: where calls are refused."""
    bound: str
    """Whose cap holds: `spend-cap`, `policy`, or `none`."""
    words: str
    cost: int | None
    """The most that `used` costs, in the currency's smallest unit, before tax."""
    currency: str | None
    window_starts_at: int
    window_ends_at: int


class UsageView(msgspec.Struct, kw_only=True):
    """All limits of a customer at `as_of`. `source` is `ledger` while the cache is away, and `notice` says so."""

    customer_id: str
    user_id: str
    tier: str | None
    standing: str
    warning: str | None
    source: str
    notice: str | None
    """One sentence, if the figures may be behind."""
    as_of: int
    limits: list[LimitView]
    credits: list[CreditView]
    """In the order in which they are spent; without those that are used up or expired."""
    overages: list[OverageView]
    """Of the quotas that may be exceeded. What is included covers a call first, then credits do, then these."""


@get("/usage", responses=problems(400, 401, 403, 404), summary="Show what was used", tags=["usage"])
async def show_usage(
    runtime: FromRuntime,
    caller: FromCaller,
    user_id: FromQuery[str | None] = None,
    customer_id: FromQuery[str | None] = None,
) -> UsageView:
    """Used, allowed and left, per limit of the tier and of the customer's keys. Asking costs nothing."""
    account = await load_named(runtime, caller, user_id, customer_id)
    usage = await read_usage(
        account,
        policy=runtime.policy.current,
        cache=runtime.cache,
        ledger=runtime.ledger,
        clock=runtime.clock,
    )
    return UsageView(
        customer_id=account.customer_id,
        user_id=account.user_id,
        tier=usage.access.tier.name if usage.access.tier is not None else None,
        standing=usage.access.standing,
        warning=usage.access.warning,
        source=usage.source,
        notice=_BEHIND if usage.source == "ledger" else None,
        as_of=usage.as_of,
        limits=[
            LimitView(
                name=limit.name,
                kind=limit.kind,
                meter=limit.meter,
                words=limit.words,
                limit=limit.limit,
                used=limit.used,
                remaining=limit.remaining,
                burst=limit.burst,
                window_s=limit.window_s,
                window_starts_at=limit.window_starts_at,
                window_ends_at=limit.window_ends_at,
                exhausts_at=limit.exhausts_at,
                exhausts_at_recent=limit.exhausts_at_recent,
                key_id=limit.key_id,
                group=limit.group,
            )
            for limit in usage.limits
        ],
        credits=[
            CreditView(
                grant_id=one.grant.grant_id,
                meter=one.grant.meter,
                units=one.grant.units,
                used=one.used,
                left=one.left,
                granted_at=one.grant.granted_at,
                expires_at=one.grant.expires_at,
            )
            for one in usage.credits
        ],
        overages=[
            OverageView(
                name=one.name,
                meter=one.meter,
                included=one.included,
                used=one.used,
                allowed=one.allowed,
                left=one.left,
                ceiling=one.included + one.allowed,
                bound=one.bound,
                words=one.words,
                cost=one.cost,
                currency=one.currency,
                window_starts_at=one.window_starts_at,
                window_ends_at=one.window_ends_at,
            )
            for one in usage.overages
        ],
    )


HANDLERS = (show_usage,)
