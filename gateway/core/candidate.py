"""One subscription of Stripe as it would be recorded: a pure function of facts, policy, the last record and now.

Laws:
  A price becomes a plan by `core.plan_map`: never by amount or currency.
  What cannot be read is recorded as unreadable since the first time; the last plan that was good is remembered,
  never guessed.
  What is bought beside a plan widens its tier (`core.item_map`); what nobody knows there is left out.
  An instant since when something holds is set once: to read the same state again moves nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from gateway.core.account import Subscription
from gateway.core.billing_facts import CustomerFacts, ItemFacts, SubscriptionFacts
from gateway.core.flags import flags_of
from gateway.core.item_map import ReadItems, read_items
from gateway.core.lifecycle import KNOWN_STATUSES
from gateway.core.metered_items import metered_items
from gateway.core.plan_map import (
    ENDED_STATUSES,
    GOOD_STATUSES,
    last_good_plan,
    plan_of_record,
    sold_as,
    sold_as_of,
)
from gateway.core.policy import Plan, Policy
from gateway.core.seen_changes import seen_at, with_change, with_extras
from gateway.core.window import quota_anchor, subscription_window


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """One subscription as it would be recorded, with the item that decides its plan."""

    record: Subscription
    facts: SubscriptionFacts
    item: ItemFacts | None
    plan: Plan | None


def candidate_of(
    customer: CustomerFacts, facts: SubscriptionFacts, policy: Policy, previous: Subscription | None, now: int
) -> Candidate:
    """What would be recorded of one subscription.

    Args:
        customer: From the same read.
        facts: Of the subscription.
        policy: Maps its price to a plan.
        previous: What was recorded of the customer last, this subscription or another.
        now: Unix seconds.
    """
    own = None if previous is None else previous.find(facts.subscription_id)
    items = read_items(facts, policy, own)
    item, plan = items.base, items.plan
    readable = facts.status in KNOWN_STATUSES and (plan is not None or facts.status in ENDED_STATUSES)
    starts_at = item.period_starts_at if item is not None else facts.started_at
    ends_at = item.period_ends_at if item is not None else facts.started_at
    coming, scheduled_at = _scheduled(facts, policy, own, _cancel_at(facts, ends_at))
    coming_plan = None if coming is None else coming.plan
    last_good_plan_id, last_good_tier = _last_good(facts, policy, plan, own)
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
        last_good_plan_id=last_good_plan_id,
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
        last_good_tier=last_good_tier,
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
    """Set once. It survives a change between two overdue subscriptions: a grace period is not had twice.

    A status that nobody knows does not say that it was paid, so it survives that as well.
    """
    if facts.status not in KNOWN_STATUSES:
        return None if own is None else own.past_due_since
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


def _last_good(
    facts: SubscriptionFacts, policy: Policy, plan: Plan | None, own: Subscription | None
) -> tuple[str | None, str | None]:
    """The last plan that was good, under policy's present name, and its tier."""
    if plan is not None and facts.status in GOOD_STATUSES:
        return plan.plan_id, plan.tier
    if own is None:
        return None, None
    known = last_good_plan(own, policy)
    return (own.last_good_plan_id, own.last_good_tier) if known is None else (known.plan_id, known.tier)


def _unreadable_since(own: Subscription | None, now: int) -> int:
    return own.unreadable_since if own is not None and own.unreadable_since is not None else now
