"""From what Stripe says to what we record: a pure function of facts, policy, the last record and now.

What one subscription would be recorded as says `core.candidate`; here is which of them counts, and what stays of what
was recorded. Whatever cannot be read, or that nobody knows, is left out or kept with a finding.

Laws:
  Of several subscriptions the one that grants the highest tier *now* is recorded, and beneath it the others that
  are not over; where none grants one, one of ours (`core.ours`) that is not over before any other.
  What a customer had as one whom Stripe has deleted stays recorded until the one in its place has something of its
  own, and beneath that while it alone grants a tier: to begin a checkout takes nothing away.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from gateway.core.access import decide_access, in_force, nearness
from gateway.core.access_value import Access
from gateway.core.account import Account, Subscription
from gateway.core.billing_facts import CustomerFacts
from gateway.core.candidate import Candidate, candidate_of
from gateway.core.findings import Finding, find_findings
from gateway.core.lifecycle import CUSTOMER_DELETED, ENDED, UNPAID_FOR
from gateway.core.ours import is_ours
from gateway.core.plan_map import ENDED_STATUSES, MONEYLESS_STATUSES
from gateway.core.policy import Policy

_MOST_BENEATH = 9
"""Further subscriptions that a record carries, so that an account stays small; nobody should have as many."""


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
    candidates = [candidate_of(facts, subscription, policy, previous, now) for subscription in facts.subscriptions]
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
