"""What does not fit together is not sold: at a checkout, at a change of plan, and the doctor says so beforehand."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from gateway.billing import StripeOptions
from gateway.cli.offer_checks import check_offers
from gateway.core.errors import BillingRefused
from gateway.core.offer import AddOn
from gateway.core.overage import Overage, PriceName
from gateway.core.purchase import AddOnNotSold, Extras
from gateway.core.switching import SwitchTerms
from gateway.sync import ExtrasOrder, PlanChanges
from tests.billing.conftest import StandIn, opened, through

USAGE = {"usage_type": "metered", "meter": "mtr_api_overage"}


async def make_price(shop: Any, **changes: Any) -> str:
    v1 = shop.sandbox.stripe.v1
    product = await v1.products.create_async({"name": "Beside"})
    wanted = {"product": product.id, "currency": "usd", "unit_amount": 3, "recurring": {"interval": "month"}}
    return (await v1.prices.create_async(wanted | changes)).id


def sell(shop: Any, *, overage: str | None = None, meter: str = "api_overage", add_on: str | None = None) -> None:
    """Both tiers that are sold have that overage, and each plan that add-on."""
    held = shop.sync._policy
    tiers, plans = dict(held.current.tiers), dict(held.current.plans)
    if overage is not None:
        sold = Overage(meter="requests", stripe_meter=meter, price=PriceName(price_id=overage))
        tiers |= {name: replace(tiers[name], overages=(sold,)) for name in ("pro", "enterprise")}
    add_ons = {}
    if add_on is not None:
        add_ons["extra"] = AddOn(name="extra", title="Extra", price_id=add_on, lookup_key=None)
        plans = {name: replace(plan, add_ons=("extra",)) for name, plan in plans.items()}
    held.current = replace(held.current, tiers=tiers, plans=plans, add_ons=add_ons, switching=SwitchTerms())


def changes_of(shop: Any) -> PlanChanges:
    return PlanChanges(sync=shop.sync, clock=shop.sandbox.clock)


async def test_overage_that_bills_another_meter_is_not_sold_by_a_checkout(shop: Any) -> None:
    sell(shop, overage=await make_price(shop, recurring={"interval": "month", **USAGE}), meter="api_other")
    with pytest.raises(BillingRefused, match="not for sale at the moment: its price of overage bills another meter"):
        await shop.checkout(await shop.new_customer())


async def test_overage_that_bills_another_meter_is_not_sold_by_a_change_of_plan(shop: Any) -> None:
    customer_id = await shop.buyer("pro-monthly")
    sell(shop, overage=await make_price(shop, recurring={"interval": "month", **USAGE}), meter="api_other")
    for ask in (changes_of(shop).preview(customer_id, "enterprise-monthly"), enterprise(shop, customer_id)):
        with pytest.raises(BillingRefused, match="bills another meter"):
            await ask
    assert (await shop.load(customer_id)).plan_id == "pro-monthly"


async def test_what_fits_is_sold(shop: Any) -> None:
    sell(shop, overage="price_api_overage", add_on=await make_price(shop))
    customer_id = await shop.new_customer()
    link = await shop.checkout(customer_id, extras=Extras(add_ons=("extra",)))
    assert (await shop.sandbox.pay(link.url, "4242424242424242")).status_code == 303
    await shop.settle()
    assert await enterprise(shop, customer_id) == "enterprise-monthly"


async def test_a_meter_is_asked_for_once(shop: Any) -> None:
    sell(shop, overage="price_api_overage")
    between = StandIn()
    between.handler = through(shop.sandbox.url)
    async with between.listening(), opened(StripeOptions(secret_key=shop.sandbox.key, base_url=between.url)) as billing:
        for _ in range(3):
            await replace(shop, billing=billing).checkout(await shop.new_customer())
    asked = [one.path for one in between.requests]
    assert asked.count("/v1/billing/meters/mtr_api_overage") == 1
    assert asked.count("/v1/checkout/sessions") == 3


@pytest.mark.parametrize(
    "recurring", [{"interval": "year"}, {"interval": "month", "interval_count": 3}], ids=["another", "more-of-it"]
)
async def test_overage_of_another_interval_is_not_sold(shop: Any, recurring: dict[str, Any]) -> None:
    sell(shop, overage=await make_price(shop, recurring={**recurring, **USAGE}))
    with pytest.raises(BillingRefused, match="different intervals"):
        await shop.checkout(await shop.new_customer())


async def test_a_change_to_a_plan_of_another_interval_does_not_take_the_overage_along(shop: Any) -> None:
    sell(shop, overage="price_api_overage")
    customer_id = await shop.buyer("pro-monthly")
    with pytest.raises(BillingRefused, match="different intervals"):
        await changes_of(shop).apply(customer_id, "pro-yearly", actor="customer")
    assert (await shop.load(customer_id)).plan_id == "pro-monthly"


async def test_an_add_on_of_another_interval_is_not_sold(shop: Any) -> None:
    customer_id = await shop.buyer("pro-monthly")
    sell(shop, add_on=await make_price(shop, recurring={"interval": "year"}))
    with pytest.raises(AddOnNotSold, match="paid at another interval than the plan 'pro-monthly'"):
        await shop.checkout(await shop.new_customer(), extras=Extras(add_ons=("extra",)))
    with pytest.raises(AddOnNotSold, match="paid at another interval than the plan 'pro-monthly'"):
        await changes_of(shop).apply(customer_id, None, actor="customer", extras=ExtrasOrder(add_ons=("extra",)))


async def test_the_plan_is_sold_without_an_add_on_that_does_not_fit(shop: Any) -> None:
    sell(shop, add_on=await make_price(shop, recurring={"interval": "year"}))
    assert (await shop.checkout(await shop.new_customer())).url


async def test_the_doctor_says_of_each_plan_which_add_on_is_never_sold_with_it(shop: Any) -> None:
    sell(shop, add_on=await make_price(shop))
    found = await check_offers(shop.billing, shop.sync.policy)
    assert [(one.grade.value, one.what) for one in found if "never sold" in one.what] == [
        (
            "fail",
            "add-on 'extra' is never sold with plan 'pro-yearly': it is paid every 1 month, and the plan every 1 year",
        )
    ]


async def enterprise(shop: Any, customer_id: str) -> str | None:
    await changes_of(shop).apply(customer_id, "enterprise-monthly", actor="customer")
    return (await shop.load(customer_id)).plan_id
