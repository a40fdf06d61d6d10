"""From what Stripe says to what we record: a pure function of facts, policy, the last record and now.

Laws:
  A price becomes a plan by `core.plan_map`: never by amount or currency.
  What cannot be read is recorded as unreadable since the first time, with a finding; the
  last plan that was good is remembered, never guessed.
  What is bought beside a plan widens its tier (`core.item_map`); what nobody knows there is left out, with a finding.
  Of several subscriptions the one that grants the highest tier *now* is recorded, and beneath it the others that
  are not over; where none grants one, one of ours (`core.ours`) that is not over before any other.
  What a customer had as one whom Stripe has deleted stays recorded until the one in its place has something of its
  own, and beneath that while it alone grants a tier: to begin a checkout takes nothing away.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from gateway.core.access import decide_access, in_force, nearness
from gateway.core.access_value import Access
from gateway.core.account import Account, Subscription
from gateway.core.billing_facts import CustomerFacts, ItemFacts, SubscriptionFacts
from gateway.core.findings import Finding, find_findings
from gateway.core.flags import flags_of
from gateway.core.item_map import ReadItems, read_items
from gateway.core.lifecycle import CUSTOMER_DELETED, ENDED, KNOWN_STATUSES, UNPAID_FOR
from gateway.core.metered_items import metered_items
from gateway.core.ours import is_ours
from gateway.core.plan_map import (
    ENDED_STATUSES,
    GOOD_STATUSES,
    MONEYLESS_STATUSES,
    last_good_plan,
    plan_of_record,
    sold_as,
    sold_as_of,
)
from gateway.core.policy import Plan, Policy
from gateway.core.seen_changes import seen_at, with_change, with_extras
from gateway.core.window import quota_anchor, subscription_window

_MOST_BENEATH = 9
"""Further subscriptions that a record carries, so that an account stays small; nobody should have as many."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """One subscription as it would be recorded, with the item that decides its plan."""

    record: Subscription
    facts: SubscriptionFacts
    item: ItemFacts | None
    plan: Plan | None


def project(
    facts: CustomerFacts, policy: Policy, previous: Subscription | None, now: int
) -> tuple[Subscription | None, tuple[Finding, ...]]:
    """What to record about a customer.

    Args:
        facts: From one read of Stripe.
        policy: Maps prices to plans, ranks tiers, and says what each status grants.
        previous: What was recorded last: since when a payment is due, what could be read then.
        now: Unix seconds.

    Returns:
        The record, or None if there never was a subscription; and what the seller should know. Of a
        customer that is gone at Stripe, the last record with the status `customer_deleted`, also when another has
        taken its place and bought nothing yet.
    """
    if not facts.exists:
        return _deleted(previous, policy, now), (
            Finding(code="no-such-customer", detail=f"Stripe has no customer {facts.stripe_customer_id}"),
        )
    ranked, left = _ranked(facts, policy, previous, now), _left_behind(facts, policy, previous, now)
    if not ranked:
        return left, ()
    chosen, *others = ranked
    beneath = _beneath(others, policy, previous, now)
    if left is not None and _granted(chosen.record, policy, now).plan_id is None:
        beneath += _still_granting(left, policy, now)
    record = replace(chosen.record, beneath=_chained(beneath))
    return record, find_findings(facts, record, chosen.plan, policy)


def choose(facts: CustomerFacts, policy: Policy, previous: Subscription | None, now: int) -> Candidate | None:
    """The subscription that counts: the highest tier granted now, then the later period end, then the id.

    If none grants a tier, the one of ours that is nearest to doing so, so that the caller is told
    what would help: pay, rather than subscribe again.
    """
    return next(iter(_ranked(facts, policy, previous, now)), None)


def choose_running(facts: CustomerFacts, policy: Policy, previous: Subscription | None, now: int) -> Candidate | None:
    """The subscription of ours that can be changed: one that takes money, if any, before what `choose` prefers.

    One that is over may still grant the higher tier for a few days, and nothing can be done to it.
    """
    ours = tuple(one for one in facts.subscriptions if is_ours(one, policy, previous))
    running = tuple(one for one in ours if one.status not in MONEYLESS_STATUSES)
    return choose(replace(facts, subscriptions=running or ours), policy, previous, now)


def _ranked(facts: CustomerFacts, policy: Policy, previous: Subscription | None, now: int) -> list[Candidate]:
    candidates = [_candidate(facts, subscription, policy, previous, now) for subscription in facts.subscriptions]
    return sorted(candidates, key=lambda one: _precedence(one, policy, previous, now), reverse=True)


def _beneath(others: list[Candidate], policy: Policy, previous: Subscription | None, now: int) -> list[Subscription]:
    """The others that are not over or grant a tier all the same, best first: what is chosen may end by time alone.

    Also those whose own time has run out, or it would begin anew once nobody remembers when it began.
    """
    kept = [one for one in others if _is_worth_keeping(one, policy, previous, now)]
    staying = sorted(kept, key=_is_over)[:_MOST_BENEATH]  # those that are over leave first: Stripe says when that was
    return [one.record for one in kept if one in staying]


def _chained(records: Sequence[Subscription]) -> Subscription | None:
    """Each above those that follow it."""
    beneath = None
    for one in reversed(records):
        beneath = replace(one, beneath=beneath)
    return beneath


def _is_over(one: Candidate) -> bool:
    return one.record.status in ENDED_STATUSES


def _is_worth_keeping(one: Candidate, policy: Policy, previous: Subscription | None, now: int) -> bool:
    if not _is_over(one) and is_ours(one.facts, policy, previous):
        return True
    return _granted(one.record, policy, now).plan_id is not None


def _deleted(previous: Subscription | None, policy: Policy, now: int) -> Subscription | None:
    """What stays of the last record: the subscription that counted, and beneath it the others that were not over."""
    if previous is None or previous.status == CUSTOMER_DELETED:
        return previous
    counted = in_force(_alone(previous), policy, now).subscription or previous
    others = [one for one in previous.all() if one is not counted and one.status not in ENDED_STATUSES]
    return _chained([_of_nobody(one, now) for one in (counted, *others)])


def _left_behind(facts: CustomerFacts, policy: Policy, previous: Subscription | None, now: int) -> Subscription | None:
    """What is recorded of subscriptions that this customer of Stripe never had: of one that was deleted before it.

    Stripe lists every subscription of a customer that it has, and nobody is bound to another one while it has the
    first (`gateway.sync.binding`).
    """
    listed = {one.subscription_id for one in facts.subscriptions}
    left = _chained([one for one in previous.all() if one.subscription_id not in listed] if previous else [])
    if left is None or any(one.status not in ENDED for one in left.all()):
        return _deleted(left, policy, now)
    return _chained(
        [
            replace(_of_nobody(one, now), status=one.status, status_since=one.status_since)  # no time begins anew
            for one in left.all()
        ]
    )


def _still_granting(left: Subscription, policy: Policy, now: int) -> list[Subscription]:
    """The one of a deleted customer that grants a tier for a while, if one does."""
    counted = in_force(_alone(left), policy, now).subscription or left
    return [counted] if _granted(counted, policy, now).plan_id is not None else []


def _of_nobody(record: Subscription, now: int) -> Subscription:
    """Nothing is paid, disputed or owed any more. What was not paid for stays so, and what was over since it was."""
    return replace(
        record,
        status=CUSTOMER_DELETED,
        status_since=record.status_since if record.status in ENDED else now,
        past_due_since=None,
        unreadable_since=None,
        unconfirmed_since=None,
        cancel_at=None,
        scheduled_plan_id=None,
        scheduled_sold_as=None,
        scheduled_at=None,
        scheduled_seats=None,
        scheduled_add_ons=(),
        flags=tuple(row for row in record.flags if row[0] in UNPAID_FOR),
        entitlements=(),
        metered=(),
        add_ons=(),
    )


def _candidate(
    customer: CustomerFacts, facts: SubscriptionFacts, policy: Policy, previous: Subscription | None, now: int
) -> Candidate:
    own = None if previous is None else previous.find(facts.subscription_id)
    items = read_items(facts, policy, own)
    item, plan = items.base, items.plan
    readable = facts.status in KNOWN_STATUSES and (plan is not None or facts.status in ENDED_STATUSES)
    starts_at = item.period_starts_at if item is not None else facts.started_at
    ends_at = item.period_ends_at if item is not None else facts.started_at
    coming, scheduled_at = _scheduled(facts, policy, own, _cancel_at(facts, ends_at))
    coming_plan = None if coming is None else coming.plan
    record = Subscription(
        subscription_id=facts.subscription_id,
        status=facts.status,
        plan_id=None if plan is None else plan.plan_id,
        period_starts_at=starts_at,
        period_ends_at=ends_at,
        anchor_at=facts.anchor_at,
        quota_anchor_at=_quota_anchor(facts, own, now),
        cancel_at=_cancel_at(facts, ends_at),
        scheduled_plan_id=None if coming_plan is None else coming_plan.plan_id,
        scheduled_at=scheduled_at,
        scheduled_seats=None if coming is None or coming_plan is None else coming.seats,
        scheduled_add_ons=() if coming is None or coming_plan is None else coming.add_ons,
        past_due_since=_past_due_since(facts, own, previous, now),
        last_good_plan_id=_last_good(facts, policy, plan, own),
        unreadable_since=None if readable else _unreadable_since(own, now),
        price_id=None if item is None else item.price_id,
        plan_changes=_plan_changes(policy, items, own, now),
        status_since=_status_since(facts, own, previous, now),
        flags=flags_of(customer, facts, own, now),
        entitlements=customer.entitlements,
        metered=metered_items(facts, policy, own, now),
        seats=items.seats,
        add_ons=items.add_ons,
        add_on_prices=items.add_on_prices,
        sold_as=sold_as_of(plan, own),
        unconfirmed_since=_unconfirmed_since(facts, own, now),
        last_good_tier=_last_good_tier(facts, policy, plan, own),
        scheduled_sold_as=None if coming_plan is None else sold_as(coming_plan),
    )
    if own is not None:
        window_starts_at, _ = subscription_window(record, now)
        changes = with_extras(own, items, seen_at(own, items, policy, now), window_starts_at)
        record = replace(record, extras_changes=changes)
    return Candidate(record=record, facts=facts, item=item, plan=plan)


def _plan_changes(policy: Policy, items: ReadItems, own: Subscription | None, now: int) -> tuple[tuple[int, str], ...]:
    """One that could not be read for a while, or that policy calls otherwise, has not changed by that."""
    if own is None:
        return ()
    known = plan_of_record(own, policy) if own.plan_id is not None else last_good_plan(own, policy)
    before = own.plan_id or own.last_good_plan_id if known is None else known.plan_id
    after = None if items.plan is None else items.plan.plan_id
    return with_change(own.plan_changes, before, after, seen_at(own, items, policy, now), policy)


def _cancel_at(facts: SubscriptionFacts, period_ends_at: int) -> int | None:
    """`cancel_at` first: the billing portal sets it while `cancel_at_period_end` stays false."""
    if facts.cancel_at is not None:
        return facts.cancel_at
    return period_ends_at if facts.cancel_at_period_end else None


def _scheduled(
    facts: SubscriptionFacts, policy: Policy, own: Subscription | None, cancel_at: int | None
) -> tuple[ReadItems | None, int | None]:
    """What comes by itself, and when; nothing if the subscription ends before."""
    schedule = facts.schedule
    if schedule is None or schedule.next_at is None or facts.status in ENDED_STATUSES:
        return None, None
    if cancel_at is not None and cancel_at <= schedule.next_at:
        return None, None
    return read_items(replace(facts, items=schedule.next_items), policy, own), schedule.next_at


def _quota_anchor(facts: SubscriptionFacts, own: Subscription | None, now: int) -> int | None:
    """Set when Stripe moves the billing anchor, and kept: a change of interval must not give a second quota.

    Nothing was paid before the anchor of a trial: where that is moved the trial lasts longer, or the first period
    begins and is paid, and windows begin with it. A trial that is over by the clock has had its anchor.
    """
    if own is None or (own.quota_anchor_at is None and own.anchor_at == facts.anchor_at):
        return None
    if own.quota_anchor_at is None and (own.status == "paused" or (own.status == "trialing" and _moved(facts, own))):
        return None
    return quota_anchor(own, now)


def _moved(facts: SubscriptionFacts, trial: Subscription) -> bool:
    return facts.status == "trialing" or facts.anchor_at < trial.anchor_at


def _past_due_since(
    facts: SubscriptionFacts, own: Subscription | None, previous: Subscription | None, now: int
) -> int | None:
    """Set once. It survives a change between two overdue subscriptions: a grace period is not had twice."""
    if facts.status != "past_due":
        return None
    known = (one.past_due_since for one in (own, previous) if one is not None)
    return next((since for since in known if since is not None), now)


def _status_since(
    facts: SubscriptionFacts, own: Subscription | None, previous: Subscription | None, now: int
) -> int | None:
    """Like the beginning of `past_due`, it survives a change between two subscriptions of the same status."""
    if facts.status in GOOD_STATUSES:
        return None
    if facts.ended_at is not None:
        return facts.ended_at
    known = (one.status_since for one in (own, previous) if one is not None and one.status == facts.status)
    return next((since for since in known if since is not None), now)


def _unconfirmed_since(facts: SubscriptionFacts, own: Subscription | None, now: int) -> int | None:
    if facts.confirmation_url is None:
        return None
    return now if own is None or own.unconfirmed_since is None else own.unconfirmed_since


def _last_good(facts: SubscriptionFacts, policy: Policy, plan: Plan | None, own: Subscription | None) -> str | None:
    if plan is not None and facts.status in GOOD_STATUSES:
        return plan.plan_id
    if own is None:
        return None
    known = last_good_plan(own, policy)
    return own.last_good_plan_id if known is None else known.plan_id


def _last_good_tier(
    facts: SubscriptionFacts, policy: Policy, plan: Plan | None, own: Subscription | None
) -> str | None:
    """As `_last_good`, of whose plan it is."""
    if plan is not None and facts.status in GOOD_STATUSES:
        return plan.tier
    if own is None:
        return None
    known = last_good_plan(own, policy)
    return own.last_good_tier if known is None else known.tier


def _unreadable_since(own: Subscription | None, now: int) -> int:
    return own.unreadable_since if own is not None and own.unreadable_since is not None else now


def _precedence(
    candidate: Candidate, policy: Policy, previous: Subscription | None, now: int
) -> tuple[int, bool, tuple[bool, int, int, str]]:
    record = candidate.record
    access = _granted(record, policy, now)
    if access.plan_id is not None and access.tier is not None:
        return access.tier.rank, True, (False, 0, record.period_ends_at, record.subscription_id)
    return -1, is_ours(candidate.facts, policy, previous), nearness(record)


def _granted(record: Subscription, policy: Policy, now: int) -> Access:
    """What this record grants now, by the same rules as every request."""
    return decide_access(_alone(record), policy, now)


def _alone(record: Subscription) -> Account:
    return Account(customer_id="", user_id="", version=0, created_at=0, subscription=record)
