"""Which tier a customer has right now, and why: a pure function of snapshot, policy and instant.

Access is granted by the subscription's status, never by a period's end, and a grace period
ends without any event: the same snapshot simply answers differently later. What each status
does is the policy's `lifecycle`; this module knows only the order of the questions:
which subscription (`in_force`), then status, then how long, then whether the plan can be read, then
what else is true of the subscription (its flags), then whether a tier was granted by hand
(`core.tier_grant`), then whether an operator has blocked the customer.
A flag lowers what the status grants and never raises it; a granted tier only raises it; a block lowers it again.
What was never paid for, or not in the end, and has ended is kept no longer than it was before: its flag goes on, and
then there is what comes after its end, not what the flag says.
Seats and add-ons widen the tier of a plan that is in force, or one granted above it (`core.bought`), and give none.
A plan of which there are no seats is not bought, whatever the status.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from gateway.core.access_value import Access, earlier
from gateway.core.lifecycle import (
    BLOCKED,
    CUSTOMER_DELETED,
    DISPUTE_LOST,
    DISPUTED,
    ENDED,
    KNOWN_STATUSES,
    NO_SUBSCRIPTION,
    UNPAID_FOR,
    UNREADABLE,
)
from gateway.core.plan_change import tier_after_changes
from gateway.core.plan_map import kept_plan, plan_of_record
from gateway.core.standing_words import NOTHING_BOUGHT, kept_words, lapsed_words
from gateway.core.tier_grant import raised

if TYPE_CHECKING:
    from gateway.core.access_value import StandingName
    from gateway.core.account import Account, Subscription
    from gateway.core.policy import Policy, Standing

_SUSPENDING = frozenset({DISPUTED, BLOCKED})
"""Rows that are told before what is unpaid, and that no payment mends."""
_SUSPENDED = frozenset({*_SUSPENDING, DISPUTE_LOST})
"""Rows that suspend whom they lower: no granted tier lifts that."""

_LIVELIEST_LAST = (
    "incomplete_expired",
    "canceled",
    "incomplete",
    "paused",
    "unpaid",
    "past_due",
    "trialing",
    "active",
)
_GOOD_STATUSES = frozenset({"active", "trialing"})
_READABLE = frozenset({*KNOWN_STATUSES, CUSTOMER_DELETED})


def decide_access(account: Account, policy: Policy, now: float) -> Access:
    """The access of one customer at one instant.

    Args:
        account: The snapshot; its version decides whether the answer may be used, not its age.
        policy: Complete: every lifecycle row is there and every name in it resolves.
        now: Unix seconds.
    """
    account = in_force(account, policy, now)
    access = _by_subscription(account, policy, now)
    if account.tier_grant is not None:
        access = raised(access, account.tier_grant, policy, now)
    if account.blocked:
        access = _lowered(access, BLOCKED, account.created_at, policy, now)
    subscription = account.subscription
    if subscription is None or access.plan_id is None or access.tier is None:
        return access
    if access.tier.is_per_seat or subscription.add_ons or subscription.plan_changes or subscription.extras_changes:
        tier = tier_after_changes(policy, account, access.tier, access.plan_id, now)
        access = replace(access, tier=tier)
    if subscription.entitlements:
        access = _with_entitlements(access, policy.entitlements.intersection(subscription.entitlements))
    return access


def is_suspended(account: Account, policy: Policy, now: float) -> bool:
    """Whether a block or a dispute is in force, and does not only warn: whatever is bought then could not be used.

    Also of who has no more than what is left to it: that is not lowered (`decide_access`), and what it buys would be.
    """
    rows = [(BLOCKED, account.created_at)] if account.blocked else []
    if account.subscription is not None:
        rows += [row for row in account.subscription.flags if row[0] in _SUSPENDING]
    ends = [_kept_until(policy.lifecycle[name], since) for name, since in rows]
    return any(until is not None and now >= until for until in ends)


def ended_by(account: Account, at: int) -> Account:
    """The account as it will be at an instant, if all that is set to end by then ends and nothing else happens."""
    subscription = account.subscription
    return account if subscription is None else replace(account, subscription=_ended_by(subscription, at))


def _ended_by(subscription: Subscription, at: int) -> Subscription:
    beneath = None if subscription.beneath is None else _ended_by(subscription.beneath, at)
    end = subscription.cancel_at
    if end is None or end > at or subscription.status in ENDED:
        return replace(subscription, beneath=beneath)
    return replace(subscription, status="canceled", status_since=end, past_due_since=None, beneath=beneath)


def in_force(account: Account, policy: Policy, now: float) -> Account:
    """The account with the subscription that counts now, for whoever looks at its dates, items or seats as well.

    That is the recorded one while it grants a tier by its plan, then the first beneath it that does; where none does,
    the one that is nearest to it. Of a customer that Stripe does not have any more only the recorded one is known.
    """
    top = account.subscription
    if top is None or top.beneath is None or top.status == CUSTOMER_DELETED:
        return account
    rows = [(one, replace(account, subscription=one)) for one in top.all()]
    granting = (here for _, here in rows if _by_subscription(here, policy, now).plan_id is not None)
    return next(granting, None) or max(rows, key=lambda row: nearness(row[0]))[1]


def nearness(subscription: Subscription) -> tuple[bool, int, int, str]:
    """How near a subscription that grants nothing is to a tier, so that the caller is told what would help.

    Not over before what is over, then by its status, then the later period end, then the id.
    """
    status = subscription.status
    is_known = status in KNOWN_STATUSES
    alive = _LIVELIEST_LAST.index(status) if is_known else 0
    return is_known and status not in ENDED, alive, subscription.period_ends_at, subscription.subscription_id


def _by_subscription(account: Account, policy: Policy, now: float) -> Access:
    subscription = account.subscription
    if subscription is None:
        return _fall_back(policy, NO_SUBSCRIPTION)
    access = _by_status(subscription, policy, now)
    for flag, since in subscription.flags:
        if flag in UNPAID_FOR and subscription.status in ENDED:
            continue  # it ends what the status keeps
        if flag in policy.lifecycle:  # one of a later release, for which there is no line, changes nothing
            access = _lowered(access, flag, since, policy, now, is_unconfirmed=subscription.is_unconfirmed)
    return access


def _by_status(subscription: Subscription, policy: Policy, now: float) -> Access:
    if subscription.seats < 1:
        return replace(_fall_back(policy, NO_SUBSCRIPTION), warning=NOTHING_BOUGHT)
    if subscription.status not in _READABLE:
        return _unreadable(subscription, policy, now, until=None)
    until = _kept_until(policy.lifecycle[subscription.status], _status_since(subscription))
    if subscription.status in ENDED:
        until = earlier(until, _unpaid_until(subscription, policy))
    if until is not None and now >= until:
        return _fall_back(policy, subscription.status, is_unconfirmed=subscription.is_unconfirmed)
    return _keep(subscription, policy, now, until=until)


def _keep(subscription: Subscription, policy: Policy, now: float, *, until: int | None) -> Access:
    """The status keeps the tier of its plan, for good or until an instant."""
    plan = plan_of_record(subscription, policy)
    if plan is None and subscription.status in ENDED:
        return _fall_back(policy, subscription.status)
    if plan is None:
        return _unreadable(subscription, policy, now, until=until)
    tier = policy.tiers[plan.tier]
    if subscription.status in _GOOD_STATUSES and until is None:
        return Access(tier=tier, standing="good", plan_id=plan.plan_id)
    return Access(
        tier=tier,
        standing="grace",
        warning=kept_words(subscription.status, until, is_unconfirmed=subscription.is_unconfirmed),
        plan_id=plan.plan_id,
        grace_until=until,
    )


def _unreadable(subscription: Subscription, policy: Policy, now: float, *, until: int | None) -> Access:
    """The last plan that was good, or its tier, for as long as both its own row and the status allow.

    Its own row counts from when it was first seen that it cannot be read: by a read of Stripe, or by policy as it was
    held against all records (`core.missing_plans`). Where neither has been yet, it counts from the period's end.
    """
    plan = kept_plan(subscription, policy)
    since = subscription.unreadable_since
    if plan is None:
        return _fall_back(policy, UNREADABLE)
    own = _kept_until(policy.lifecycle[UNREADABLE], subscription.period_ends_at if since is None else since)
    ends = [instant for instant in (own, until) if instant is not None]
    if ends and now >= min(ends):
        return _fall_back(policy, UNREADABLE)
    return Access(
        tier=policy.tiers[plan.tier],
        standing="unreadable",
        plan_id=plan.plan_id,
        grace_until=min(ends, default=None),
    )


def _fall_back(policy: Policy, row: str, *, is_unconfirmed: bool = False) -> Access:
    rule = policy.lifecycle[row]
    standing: StandingName = "unreadable" if row == UNREADABLE else "lapsed"
    warning = lapsed_words(row, is_unconfirmed=is_unconfirmed)
    if rule.then is None:
        return Access(tier=None, standing=standing, refusal=rule.refusal, warning=warning)
    return Access(tier=policy.tiers[rule.then], standing=standing, warning=warning)


def _lowered(
    access: Access, row: str, since: int, policy: Policy, now: float, *, is_unconfirmed: bool = False
) -> Access:
    """What is left of an access beside what a row of the lifecycle stands for."""
    rule = policy.lifecycle[row]
    until = _kept_until(rule, since)
    if until is None or now < until:
        return _kept_beside(access, until, kept_words(row, until, is_unconfirmed=is_unconfirmed))
    standing: StandingName = "suspended" if row in _SUSPENDED else "lapsed"
    warning = lapsed_words(row, is_unconfirmed=is_unconfirmed)
    lowered = Access(tier=None, standing=standing, warning=warning, beneath_until=access.decided_until)
    if rule.then is None:
        if access.tier is None and row not in _SUSPENDING:
            return access
        return replace(lowered, refusal=rule.refusal)
    tier = policy.tiers[rule.then]
    if access.tier is None or access.tier.rank <= tier.rank:
        return access
    return replace(lowered, tier=tier)


def _with_entitlements(access: Access, entitled: frozenset[str]) -> Access:
    """The tier with what Stripe entitles to beside it. A fallback tier has none of it: it is not what was bought."""
    if access.tier is None or entitled <= access.tier.features:
        return access
    return replace(access, tier=replace(access.tier, features=access.tier.features | entitled))


def _kept_beside(access: Access, until: int | None, words: str | None) -> Access:
    if access.plan_id is None:  # a fallback has no grace, but what the flag does to it begins then
        return replace(access, beneath_until=earlier(access.beneath_until, until))
    ends = [instant for instant in (access.grace_until, until) if instant is not None]
    sooner = until is not None and until == min(ends)
    warning = words if sooner or access.warning is None else access.warning
    standing: StandingName = "grace" if access.standing == "good" and until is not None else access.standing
    return replace(access, standing=standing, warning=warning, grace_until=min(ends, default=None))


def _kept_until(rule: Standing, since: int) -> int | None:
    return None if rule.keep_s is None else since + rule.keep_s


def _unpaid_until(subscription: Subscription, policy: Policy) -> int | None:
    """Until when a tier is had whose money never came or is gone; None: it is paid, or policy waits for ever."""
    flags = [(row, since) for row, since in subscription.flags if row in UNPAID_FOR]
    ends = [_kept_until(policy.lifecycle[row], since) for row, since in flags]
    return min((end for end in ends if end is not None), default=None)


def _status_since(subscription: Subscription) -> int:
    """First seen in this status. A renewal fails as its period starts, which stands in for a lost date."""
    if subscription.past_due_since is not None:
        return subscription.past_due_since
    return subscription.period_starts_at if subscription.status_since is None else subscription.status_since
