"""Which tier a customer has right now, and why: a pure function of snapshot, policy and instant.

Access is granted by the subscription's status, never by a period's end, and a grace period
ends without any event: the same snapshot simply answers differently later. What each status
does is the policy's `lifecycle`; this module knows only the order of the questions:
blocked, then status, then how long, then whether the plan can be read.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Literal

from gateway.core.plan_change import tier_after_changes

if TYPE_CHECKING:
    from gateway.core.account import Account, Subscription
    from gateway.core.policy import Policy, Standing, Tier

KNOWN_STATUSES = (
    "trialing",
    "active",
    "past_due",
    "unpaid",
    "paused",
    "incomplete",
    "incomplete_expired",
    "canceled",
)
"""Every status of a Stripe subscription that we can read. Source: stripe-python, `Subscription.status`."""

NO_SUBSCRIPTION = "none"
"""Lifecycle row of a customer who has no subscription."""

UNREADABLE = "unreadable"
"""Lifecycle row of a subscription whose status or price we cannot read."""

LIFECYCLE_ROWS = (*KNOWN_STATUSES, NO_SUBSCRIPTION, UNREADABLE)

StandingName = Literal["good", "grace", "lapsed", "suspended", "unreadable"]

_GOOD_STATUSES = frozenset({"active", "trialing"})

_LAPSED_BECAUSE = {
    "past_due": "The last payment failed and was not made up in time.",
    "unpaid": "Payments for this subscription have failed.",
    "paused": "This subscription is paused: its trial ended without a payment method.",
    "incomplete": "The first payment for this subscription is not completed.",
}
"""Said to the caller. Statuses that are not here ended on purpose and are not repeated on every response."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """What a customer may do now. Either `tier` or `refusal` is set."""

    tier: Tier | None
    """With the quotas of this window, where a change of plan moved them (`core.plan_change`)."""
    standing: StandingName
    refusal: str | None = None
    """Problem code: `payment-required`, `subscription-required` or `account-suspended`."""
    warning: str | None = None
    """One sentence for the caller about its standing, plain ASCII without quotes or line ends."""
    plan_id: str | None = None
    """The plan that grants `tier`; None when the tier is a fallback."""
    grace_until: int | None = None
    """Unix seconds at which this access ends without any event; None: not by itself."""


def decide_access(account: Account, policy: Policy, now: float) -> Access:
    """The access of one customer at one instant.

    Args:
        account: The snapshot; its version decides whether the answer may be used, not its age.
        policy: Complete: every lifecycle row is there and every name in it resolves.
        now: Unix seconds.
    """
    if account.blocked:
        return Access(tier=None, standing="suspended", refusal="account-suspended")
    subscription = account.subscription
    if subscription is None:
        return _fall_back(policy, NO_SUBSCRIPTION)
    if subscription.status not in KNOWN_STATUSES:
        return _unreadable(subscription, policy, now, until=None)
    until = _kept_until(policy.lifecycle[subscription.status], _status_since(subscription))
    if until is not None and now >= until:
        return _fall_back(policy, subscription.status)
    return _keep(account, subscription, policy, now, until=until)


def _keep(account: Account, subscription: Subscription, policy: Policy, now: float, *, until: int | None) -> Access:
    """The status keeps the tier of its plan, for good or until an instant."""
    plan = policy.find_plan(subscription.plan_id)
    if plan is None:
        return _unreadable(subscription, policy, now, until=until)
    tier = policy.tiers[plan.tier]
    if subscription.plan_changes and policy.plan_change != "keep":
        tier = tier_after_changes(policy, account, tier, plan.plan_id, now)
    if subscription.status in _GOOD_STATUSES and until is None:
        return Access(tier=tier, standing="good", plan_id=plan.plan_id)
    return Access(
        tier=tier,
        standing="grace",
        warning=_grace_warning(subscription.status, until),
        plan_id=plan.plan_id,
        grace_until=until,
    )


def _unreadable(subscription: Subscription, policy: Policy, now: float, *, until: int | None) -> Access:
    """The last plan that was good, for as long as both its own row and the status allow."""
    plan = policy.find_plan(subscription.last_good_plan_id)
    since = subscription.unreadable_since
    if plan is None or since is None:
        return _fall_back(policy, UNREADABLE)
    own = _kept_until(policy.lifecycle[UNREADABLE], since)
    ends = [instant for instant in (own, until) if instant is not None]
    if ends and now >= min(ends):
        return _fall_back(policy, UNREADABLE)
    return Access(
        tier=policy.tiers[plan.tier],
        standing="unreadable",
        plan_id=plan.plan_id,
        grace_until=min(ends, default=None),
    )


def _fall_back(policy: Policy, row: str) -> Access:
    rule = policy.lifecycle[row]
    standing: StandingName = "unreadable" if row == UNREADABLE else "lapsed"
    warning = _LAPSED_BECAUSE.get(row)
    if rule.then is None:
        return Access(tier=None, standing=standing, refusal=rule.refusal, warning=warning)
    return Access(tier=policy.tiers[rule.then], standing=standing, warning=warning)


def _kept_until(rule: Standing, since: int) -> int | None:
    return None if rule.keep_s is None else since + rule.keep_s


def _status_since(subscription: Subscription) -> int:
    """First seen past due. A renewal fails as its period starts, which stands in for a lost date."""
    if subscription.past_due_since is not None:
        return subscription.past_due_since
    return subscription.period_starts_at


def _grace_warning(status: str, until: int | None) -> str:
    problem = "The last payment failed." if status == "past_due" else _LAPSED_BECAUSE.get(status, "")
    if until is None:
        return problem or f"The subscription is {status}."
    end = datetime.fromtimestamp(until, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return f"{problem} Access at this level ends at {end} unless it is paid.".lstrip()
