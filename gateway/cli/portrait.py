"""Everything there is to know about one customer now, for `tiergate customers show`."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import click

from gateway.cli.audit import access_words
from gateway.cli.keys import key_json, print_keys
from gateway.cli.printing import duration_words, instant_words, note, policy_check_words, print_columns, print_facts
from gateway.core.access import decide_access, in_force
from gateway.core.access_value import Access
from gateway.core.money import money_text
from gateway.core.overage_usage import OverageUsage, list_overages
from gateway.core.tier_grant import GrantState, grant_state
from gateway.policyfiles import PolicyInvalid, load_policy
from gateway.usage import CreditUsage, LimitUsage, count_calls, list_credits, list_usage, read_counters

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gateway.cli.opening import Parts
    from gateway.core.account import Account, Subscription
    from gateway.ledger import AuditRow, CustomerRow, KeyRow


@dataclass(frozen=True, slots=True, kw_only=True)
class Portrait:
    """One customer at one instant."""

    customer: CustomerRow
    account: Account
    now: int
    access: Access | None
    """None: the policy is not valid, so nobody can say."""
    counting: Subscription | None
    """Of the subscriptions on record the one that counts now; the first, if nobody can say."""
    grant_state: GrantState | None
    """What has become of a tier that was granted by hand; None: nobody can say, or none was."""
    limits: tuple[LimitUsage, ...]
    credits: tuple[CreditUsage, ...]
    overages: tuple[OverageUsage, ...]
    usage_from: str
    """`cache`, or `ledger`: then a few seconds behind."""

    def as_json(self, keys: Sequence[KeyRow]) -> dict[str, Any]:
        """For a program."""
        row, access, subscription = self.customer, self.access, self.account.subscription
        grant = self.account.tier_grant
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
            "tier_grant": grant and {**asdict(grant), "state": self.grant_state},
            "subscription": subscription and asdict(subscription),
            "counting_subscription_id": self.counting and self.counting.subscription_id,
            "limits": [asdict(limit) for limit in self.limits],
            "credits": [{**asdict(one.grant), "used": one.used, "left": one.left} for one in self.credits],
            "overages": [asdict(one) for one in self.overages],
            "usage_from": self.usage_from,
            "keys": [key_json(key) for key in keys],
        }


async def draw_portrait(parts: Parts, row: CustomerRow) -> Portrait:
    """Read the ledger, the counters and the policy."""
    account = await parts.ledger.load_account(row.customer_id)
    if account is None:
        raise click.ClickException(f"Customer {row.customer_id} has just gone.")
    reading = await read_counters(row.customer_id, cache=parts.cache, ledger=parts.ledger, clock=parts.clock)
    state: GrantState | None = None
    counting, policy = account, None
    try:
        policy = load_policy(parts.settings.policy_dir)
        counting = in_force(account, policy, reading.now)
        access = decide_access(account, policy, reading.now)
        if account.tier_grant is not None:
            state = grant_state(account.tier_grant, access, policy, reading.now)
    except PolicyInvalid:
        check = policy_check_words(parts.settings.policy_dir)
        note(f"The policy is not valid, so tier and limits are unknown. See {check}.")
        access = None
    reading = await count_calls(counting, access, reading, parts.cache)
    return Portrait(
        customer=row,
        account=account,
        now=int(reading.now),
        access=access,
        grant_state=state,
        counting=counting.subscription,
        limits=list_usage(counting, access, reading),
        credits=list_credits(account, reading),
        overages=()
        if policy is None or access is None
        else list_overages(counting, access, policy, reading.counters, reading.now),
        usage_from=reading.source,
    )


def print_portrait(portrait: Portrait, keys: list[KeyRow], audit: Sequence[AuditRow]) -> None:
    """For people."""
    print_facts(
        [*_customer_facts(portrait), *_access_facts(portrait), *_grant_facts(portrait), *_subscription_facts(portrait)]
    )
    click.echo()
    print_columns(
        ("LIMIT", "USED", "LEFT", "WINDOW ENDS"), [_limit_row(limit, portrait.now) for limit in portrait.limits]
    )
    if portrait.overages:
        click.echo()
        print_columns(
            ("OVERAGE", "USED", "LEFT", "COSTS AT MOST", "BOUND BY"), [_overage_row(one) for one in portrait.overages]
        )
    if portrait.credits:
        click.echo()
        print_columns(("CREDITS", "METER", "USED", "LEFT", "EXPIRES"), [_credit_row(one) for one in portrait.credits])
    if portrait.usage_from == "ledger":
        note("Use is what was last settled into the ledger: the cache does not have this customer.")
    click.echo()
    print_keys(keys, portrait.now)
    click.echo()
    print_columns(
        ("WHEN", "WHO", "WHAT", "WHY", "AFTER"),
        [
            (instant_words(entry.at), entry.actor, entry.action, entry.because, access_words(entry.access_after))
            for entry in audit
        ],
    )


def _limit_row(limit: LimitUsage, now: int) -> tuple[object, ...]:
    words = limit.words if limit.key_id is None else f"{limit.words} (key {limit.key_id})"
    if limit.window_ends_at is None:
        counted = limit.used is not None and limit.remaining is not None
        return (words, f"{limit.used:,}", f"{limit.remaining:,}", None) if counted else (words, None, None, None)
    ends = f"{instant_words(limit.window_ends_at)} (in {duration_words(limit.window_ends_at - now)})"
    return words, f"{limit.used:,}", f"{limit.remaining:,}", ends


def _overage_row(one: OverageUsage) -> tuple[object, ...]:
    cost = None if one.cost is None or one.currency is None else money_text(one.cost, one.currency)
    return one.meter, f"{one.used:,}", f"{one.left:,}", cost, one.words


def _credit_row(one: CreditUsage) -> tuple[object, ...]:
    expires = instant_words(one.grant.expires_at) or "never"
    return one.grant.grant_id, one.grant.meter, f"{one.used:,}", f"{one.left:,}", expires


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


_GRANT_WORDS: dict[GrantState, str] = {
    "in-force": "in force",
    "below": "the subscription grants as much",
    "over": "over",
    "unknown-tier": "grants nothing: the policy has no tier of that name",
    "suspended": "grants nothing while the customer is suspended",
}


def _grant_facts(portrait: Portrait) -> list[tuple[str, object]]:
    grant, state = portrait.account.tier_grant, portrait.grant_state
    if grant is None:
        return []
    words = "" if state is None else f", {_GRANT_WORDS[state]}"
    return [("By hand", f"{grant.tier} until {instant_words(grant.ends_at)}{words}")]


def _subscription_facts(portrait: Portrait) -> list[tuple[str, object]]:
    subscription, recorded = portrait.counting, portrait.account.subscription
    if subscription is None or recorded is None:
        return [("Subscription", "none")]
    period = f"{instant_words(subscription.period_starts_at)} to {instant_words(subscription.period_ends_at)}"
    facts: list[tuple[str, object]] = [
        ("Subscription", f"{subscription.subscription_id}, {subscription.status}"),
        ("Plan", _plan_words(subscription)),
        ("Period", period),
    ]
    facts += [("Flag", f"{flag} since {instant_words(since)}") for flag, since in subscription.flags]
    if subscription.cancel_at is not None:
        facts.append(("Cancels", instant_words(subscription.cancel_at)))
    others = [one for one in recorded.all() if one.subscription_id != subscription.subscription_id]
    return facts + [("Beside it", f"{one.subscription_id}, {one.status}, {_plan_words(one)}") for one in others]


def _plan_words(subscription: Subscription) -> str:
    return subscription.plan_id or f"price {subscription.price_id} is not mapped by policy"
