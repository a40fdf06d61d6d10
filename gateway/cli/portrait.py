"""Everything there is to know about one customer now, for `tiergate customers show`."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import click

from gateway.cache import CacheUnavailable
from gateway.cli.keys import key_json, print_keys
from gateway.cli.printing import duration_words, instant_words, note, policy_check_words, print_columns, print_facts
from gateway.core.access import Access, decide_access
from gateway.core.limits import Limit, Quota, limit_field
from gateway.core.window import quota_window
from gateway.policyfiles import PolicyInvalid, limit_words, load_policy

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from gateway.cli.opening import Parts
    from gateway.core.account import Account
    from gateway.ledger import AuditRow, CustomerRow, KeyRow


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitView:
    """One limit of the customer and what is left of it. Paces have no use to show: they refill all the time."""

    words: str
    name: str
    used: int | None = None
    remaining: int | None = None
    window_starts_at: int | None = None
    window_ends_at: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Portrait:
    """One customer at one instant."""

    customer: CustomerRow
    account: Account
    now: int
    access: Access | None
    """None: the policy is not valid, so nobody can say."""
    limits: tuple[LimitView, ...]
    usage_from: str
    """`cache`, or `ledger`: then a few seconds behind."""

    def as_json(self, keys: Sequence[KeyRow]) -> dict[str, Any]:
        """For a program."""
        row, access, subscription = self.customer, self.access, self.account.subscription
        return {
            "customer_id": row.customer_id,
            "user_id": row.user_id,
            "stripe_customer_id": row.stripe_customer_id,
            "created_at": row.created_at,
            "blocked": row.blocked,
            "version": row.version,
            "in_cache": row.published_version == row.version,
            "standing": access and access.standing,
            "tier": access and access.tier and access.tier.name,
            "plan_id": access and access.plan_id,
            "refusal": access and access.refusal,
            "warning": access and access.warning,
            "grace_until": access and access.grace_until,
            "subscription": subscription and asdict(subscription),
            "limits": [asdict(limit) for limit in self.limits],
            "usage_from": self.usage_from,
            "keys": [key_json(key) for key in keys],
        }


async def draw_portrait(parts: Parts, row: CustomerRow) -> Portrait:
    """Read the ledger, the counters and the policy."""
    account = await parts.ledger.load_account(row.customer_id)
    if account is None:
        raise click.ClickException(f"Customer {row.customer_id} has just gone.")
    try:
        access = decide_access(account, load_policy(parts.settings.policy_dir), parts.now)
    except PolicyInvalid:
        check = policy_check_words(parts.settings.policy_dir)
        note(f"The policy is not valid, so tier and limits are unknown. See {check}.")
        access = None
    counters, usage_from = await _counters(parts, row.customer_id)
    limits = access.tier.limits if access is not None and access.tier is not None else ()
    views = [_view(limit, account, parts.now, counters) for limit in limits]
    for key in account.keys.values():
        views += [_view(limit, account, parts.now, counters, key.key_id) for limit in key.limits]
    return Portrait(
        customer=row,
        account=account,
        now=parts.now,
        access=access,
        limits=tuple(views),
        usage_from=usage_from,
    )


def print_portrait(portrait: Portrait, keys: list[KeyRow], audit: Sequence[AuditRow]) -> None:
    """For people."""
    print_facts([*_customer_facts(portrait), *_access_facts(portrait), *_subscription_facts(portrait)])
    click.echo()
    print_columns(
        ("LIMIT", "USED", "LEFT", "WINDOW ENDS"), [_limit_row(limit, portrait.now) for limit in portrait.limits]
    )
    if portrait.usage_from == "ledger":
        note("Use is what was last settled into the ledger: the cache does not have this customer.")
    click.echo()
    print_keys(keys, portrait.now)
    click.echo()
    print_columns(
        ("WHEN", "WHO", "WHAT", "WHY"),
        [(instant_words(entry.at), entry.actor, entry.action, entry.because) for entry in audit],
    )


async def _counters(parts: Parts, customer_id: str) -> tuple[Mapping[str, tuple[int, int]], str]:
    if parts.has_cache:
        try:
            reading = await parts.cache.read_usage(customer_id)
        except CacheUnavailable:
            reading = None
        if reading is not None:
            return reading.quotas, "cache"
    counters, _ = await parts.ledger.load_counters(customer_id)
    return counters, "ledger"


def _view(
    limit: Limit, account: Account, now: int, counters: Mapping[str, tuple[int, int]], key_id: str | None = None
) -> LimitView:
    words = limit_words(limit) + (f" (key {key_id})" if key_id else "")
    if not isinstance(limit, Quota):
        return LimitView(words=words, name=limit.name)
    starts_at, ends_at = quota_window(account, now, limit.window_s)
    counted_in, counted = counters.get(limit_field(limit, key_id), (starts_at, 0))
    used = counted if counted_in == starts_at else 0
    return LimitView(
        words=words,
        name=limit.name,
        used=used,
        remaining=max(0, limit.units - used),
        window_starts_at=starts_at,
        window_ends_at=ends_at,
    )


def _limit_row(limit: LimitView, now: int) -> tuple[object, ...]:
    if limit.window_ends_at is None:
        return limit.words, None, None, None
    ends = f"{instant_words(limit.window_ends_at)} (in {duration_words(limit.window_ends_at - now)})"
    return limit.words, f"{limit.used:,}", f"{limit.remaining:,}", ends


def _customer_facts(portrait: Portrait) -> list[tuple[str, object]]:
    row = portrait.customer
    is_published = row.published_version == row.version
    return [
        ("Customer", row.customer_id),
        ("User id", row.user_id),
        ("Stripe customer", row.stripe_customer_id),
        ("Created", instant_words(row.created_at)),
        ("Account version", f"{row.version}{'' if is_published else ' (not in the cache yet)'}"),
    ]


def _access_facts(portrait: Portrait) -> list[tuple[str, object]]:
    access = portrait.access
    if access is None:
        return [("Standing", "unknown: the policy is not valid")]
    tier = access.tier.name if access.tier is not None else f"none: {access.refusal}"
    facts: list[tuple[str, object]] = [("Standing", access.standing), ("Tier", tier)]
    if access.grace_until is not None:
        facts.append(("Until", instant_words(access.grace_until)))
    if access.warning is not None:
        facts.append(("Warning", access.warning))
    return facts


def _subscription_facts(portrait: Portrait) -> list[tuple[str, object]]:
    subscription = portrait.account.subscription
    if subscription is None:
        return [("Subscription", "none")]
    period = f"{instant_words(subscription.period_starts_at)} to {instant_words(subscription.period_ends_at)}"
    facts: list[tuple[str, object]] = [
        ("Subscription", f"{subscription.subscription_id}, {subscription.status}"),
        ("Plan", subscription.plan_id or f"price {subscription.price_id} is not mapped by policy"),
        ("Period", period),
    ]
    if subscription.cancel_at is not None:
        facts.append(("Cancels", instant_words(subscription.cancel_at)))
    return facts
