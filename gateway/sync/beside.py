"""The prices that a change of plan sells beside the plan's own: of overage, and of add-ons that are new."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.billing import check_rhythm
from gateway.core.item_map import add_on_of_item
from gateway.core.metered_items import find_metered, metered_beside, meters_reported_to
from gateway.core.purchase import AddOnNotSold

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from gateway.billing import Sales
    from gateway.core.billing_facts import PriceTerms
    from gateway.core.candidate import Candidate
    from gateway.core.offer import AddOn
    from gateway.core.overage import MeteredPrice
    from gateway.core.policy import Plan, Policy


async def overage_beside(sales: Sales, policy: Policy, plan: Plan, own: PriceTerms, current: Candidate) -> list[str]:
    """Ids of the prices of overage that a subscription to a plan carries.

    Args:
        sales: Reads and checks them.
        policy: It holds the plan.
        plan: To change to.
        own: Its price.
        current: The subscription. What it carries already keeps its price, also if the lookup key of that sells
            another by now, and is looked at only where the plan's price becomes another one.

    Raises:
        CurrencyDiffers: One is not sold in the currency of the subscription.
        BillingRefused: Also if one cannot be sold with that plan.
        BillingUnavailable: Stripe did not say.
    """
    return [await _price_id(sales, plan, own, current, one) for one in metered_beside(policy, plan)]


async def overage_to_go(
    sales: Sales, policy: Policy, current: Candidate, wanted: Collection[str]
) -> tuple[tuple[str, str], ...]:
    """The items that would bill overage beside what a plan carries, each with its price.

    What an item bills is told by its meter at Stripe, whatever policy calls its price by now: two prices of one
    meter bill every unit twice.

    Args:
        sales: Knows meters.
        policy: Says which meters hear of overage.
        current: The subscription.
        wanted: Prices that stay.

    Raises:
        BillingRefused, BillingUnavailable: Stripe did not say which meter one bills.
    """
    ours = meters_reported_to(policy)
    found = []
    for item in current.facts.items:
        if item.price_id in wanted or item.meter_id is None:
            continue
        if ours and await sales.meter_name(item.meter_id) in ours:
            found.append((item.item_id, item.price_id))
    return tuple(found)


async def add_ons_beside(
    sales: Sales, plan: Plan, own: PriceTerms, added: Iterable[AddOn], pays: str | None
) -> list[str]:
    """Ids of the prices of add-ons that come with a change to a subscription that `pays` this currency.

    Raises:
        AddOnNotSold: One is paid at another interval than the plan.
        CurrencyDiffers, BillingRefused, BillingUnavailable: As `overage_beside`.
    """
    return [(await sales.add_on(plan, own, add_on, pays=pays)).price_id for add_on in added]


def check_stay(policy: Policy, plan: Plan, own: PriceTerms, current: Candidate, gone: Collection[str]) -> None:
    """Refuse a change of interval that leaves an add-on beside the plan at the old one.

    It could not be given up before the plan's period ends, and Stripe lets it stand there in its flexible billing mode
    only. What stands so already is left alone.

    Args:
        policy: Knows add-ons.
        plan: To change to.
        own: Its price.
        current: The subscription.
        gone: Ids of the items that go.

    Raises:
        AddOnNotSold: It says which one to give up.
    """
    wanted, item = (own.interval, own.interval_count), current.item
    if item is None or (item.interval, item.interval_count) == wanted:
        return
    for one in current.facts.items:
        name = add_on_of_item(one, policy, current.record)
        if name is not None and one.item_id not in gone and (one.interval, one.interval_count) != wanted:
            raise AddOnNotSold(
                f"The add-on {name!r} is paid at another interval than the plan {plan.plan_id!r}: give it up with the"
                " change (name the add-ons that are to stay)."
            )


async def _price_id(sales: Sales, plan: Plan, own: PriceTerms, current: Candidate, sold: MeteredPrice) -> str:
    carried = find_metered(current.record.metered, sold.price)
    if carried is None:
        return (await sales.metered(plan, own, sold, pays=current.facts.currency)).price_id
    item = next((one for one in current.facts.items if one.price_id == carried.price_id), None)
    is_other_plan = current.item is None or current.item.price_id != own.price_id
    if item is not None and is_other_plan:
        check_rhythm(plan, own, (item.interval, item.interval_count), f"overage {carried.price_id}")
    return carried.price_id
