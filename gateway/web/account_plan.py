"""What the account page says of the plan: what there is, what comes by itself, and what it can be changed to."""

from __future__ import annotations

from dataclasses import dataclass, replace

from gateway.core.access_value import Access
from gateway.core.account import Subscription
from gateway.core.plan_map import GOOD_STATUSES, plan_of_record, scheduled_plan
from gateway.core.policy import Policy
from gateway.web.extras_form import ExtrasForm, add_on_words, extras_form
from gateway.web.offers import read_add_on_prices, read_prices, renew_together, shares_currency
from gateway.web.page_frame import Visit
from gateway.web.page_words import Moment, moment, price_words


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedChange:
    """A change that comes by itself."""

    plan: str
    at: Moment | None
    is_other_plan: bool
    """Nothing beside the plan is changed until it is made or taken back."""
    beside: str
    """Seats and add-ons that there will be, where they are not as they are: ` with 2 seats, A parcel`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanChoice:
    """A plan that the customer could have instead."""

    plan_id: str
    label: str


def planned_change(subscription: Subscription | None, policy: Policy, now: float) -> PlannedChange | None:
    """None: it stays as it is."""
    if subscription is None or subscription.scheduled_at is None or subscription.scheduled_at <= now:
        return None
    plan, own = scheduled_plan(subscription, policy), plan_of_record(subscription, policy)
    return PlannedChange(
        plan="another plan" if plan is None else plan.title,
        at=moment(subscription.scheduled_at),
        is_other_plan=plan is None or plan != own,
        beside=_beside(subscription, policy),
    )


def _beside(subscription: Subscription, policy: Policy) -> str:
    seats, add_ons = subscription.scheduled_seats, subscription.scheduled_add_ons
    if seats is None or (seats, add_ons) == (subscription.seats, subscription.add_ons):
        return ""
    words = [] if seats == subscription.seats else [f"{seats:,} {'seat' if seats == 1 else 'seats'}"]
    if add_ons != subscription.add_ons:
        words += add_on_words(add_ons, policy) or ["no add-ons"]
    return f" with {', '.join(words)}"


async def plan_choices(visit: Visit, policy: Policy, access: Access) -> list[PlanChoice]:
    """Every other plan on sale, but those that are sold in no currency of the one that there is."""
    if not policy.plans or not visit.runtime.billing.is_configured:
        return []
    prices = await read_prices(visit.runtime, policy) or {}
    choices = []
    for plan in policy.plans.values():
        price = price_words(prices.get(plan.plan_id))
        own, other = prices.get(access.plan_id or ""), prices.get(plan.plan_id)
        if plan.plan_id != access.plan_id and await shares_currency(visit.runtime, own, other):
            label = plan.title if price is None else f"{plan.title} ({price[0]} {price[1]})"
            choices.append(PlanChoice(plan_id=plan.plan_id, label=label))
    return choices


def seats_had(access: Access, subscription: Subscription | None, policy: Policy) -> int | None:
    """How many there are; None: the plan is not sold by the seat."""
    if subscription is None or access.plan_id is None:
        return None
    plan = policy.find_plan(access.plan_id)
    is_by_seat = (plan is not None and plan.seats is not None) or subscription.seats != 1
    return subscription.seats if is_by_seat else None


async def extras_to_change(
    visit: Visit, policy: Policy, access: Access, subscription: Subscription | None
) -> ExtrasForm | None:
    """The form for what is beside the plan, while there is a plan that runs."""
    plan = policy.plans.get(access.plan_id or "")
    if subscription is None or plan is None or plan_of_record(subscription, policy) != plan:
        return None
    if subscription.status not in GOOD_STATUSES:
        return None
    own = (await read_prices(visit.runtime, policy) or {}).get(plan.plan_id)
    prices = await read_add_on_prices(visit.runtime, policy) or {}
    sold = [
        name
        for name in plan.add_ons
        if renew_together(own, prices.get(name)) and await shares_currency(visit.runtime, own, prices.get(name))
    ]
    return extras_form(policy, replace(plan, add_ons=tuple(sold)), subscription, prices)
