"""Which changes of plan may be made, and when: what policy and plans made elsewhere say of one."""

from __future__ import annotations

from gateway.core.billing_facts import PriceTerms, ScheduleFacts, SubscriptionFacts
from gateway.core.candidate import Candidate
from gateway.core.policy import Plan, Policy
from gateway.core.switching import Direction, Rung, When
from gateway.sync.change_values import ChangePlanned, ChangeTimeRefused, IntervalsDiffer, SubscriptionScheduled


def touchable(schedule: ScheduleFacts | None) -> ScheduleFacts | None:
    """What may be planned anew.

    One of somebody else's that has nothing more to change, and behind which the subscription goes on, stands in
    nobody's way.

    Raises:
        SubscriptionScheduled: Somebody else planned a change that is still to come, or gave it a fixed term.
    """
    if schedule is not None and not schedule.is_ours and schedule.next_at is not None:
        raise SubscriptionScheduled(
            "A change of this subscription was planned elsewhere; take it back in the billing portal, or ask the "
            "provider of this API."
        )
    if schedule is not None and not schedule.is_ours and schedule.is_term:
        raise SubscriptionScheduled(
            "The subscription has a fixed term, which was set elsewhere and would be lost with a change; ask the "
            "provider of this API."
        )
    return schedule


def refuse_mixed(facts: SubscriptionFacts) -> None:
    """Called before anything of a subscription is changed: its items have to renew together.

    We sell none whose items do not; Stripe lets sellers make them (`gateway.billing.sales`).

    Raises:
        IntervalsDiffer: They do not.
    """
    if len({(item.interval, item.interval_count) for item in facts.items}) > 1:
        raise IntervalsDiffer(
            "The parts of this subscription are paid at different intervals, so it cannot be changed here. Ask the "
            "provider of this API to change it; it can be cancelled in the billing portal."
        )


def refuse_beside_planned(current: Candidate) -> None:
    """Only with a plan's name can seats and add-ons be changed while a change to another plan is planned.

    Without one, nobody could tell of which plan they are to be, and a planned change would be taken back unsaid.

    Raises:
        ChangePlanned: One is.
    """
    record, schedule = current.record, current.facts.schedule
    if schedule is None or not schedule.is_ours or record.scheduled_at is None:
        return
    if record.scheduled_plan_id == record.plan_id:
        return
    planned = "another plan" if record.scheduled_plan_id is None else f"the plan {record.scheduled_plan_id!r}"
    raise ChangePlanned(
        f"A change to {planned} is planned, and a change of seats or add-ons would take its place. Take it back first, "
        "or name the plan that they are for."
    )


def time_of(policy: Policy, direction: Direction, asked: When | None) -> When:
    """When a change takes effect.

    Raises:
        ChangeTimeRefused: Policy does not let it take effect when it was asked for.
    """
    if direction == "same":
        return "now"
    allowed = policy.switching.allowed(direction)
    if asked is None:
        return allowed[0]
    if asked not in allowed:
        raise ChangeTimeRefused(f"A change like this ({direction}) takes effect {_WORDS[allowed[0]]} only.")
    return asked


_WORDS: dict[When, str] = {"now": "at once", "period-end": "at the end of the billing period"}


def rung_of(price: PriceTerms, plan: Plan | None, policy: Policy) -> Rung:
    """How high a price stands. `plan`: that it is of; None: policy does not know it."""
    return Rung(
        price_id=price.price_id,
        rank=-1 if plan is None else policy.tiers[plan.tier].rank,
        interval=price.interval,
        interval_count=price.interval_count,
        amount=price.amount,
        currency=price.currency,
    )
