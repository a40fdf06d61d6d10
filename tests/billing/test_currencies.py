"""A subscription pays one currency: what is not sold in it is refused before Stripe is asked, with what to do."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
import stripe

from gateway.billing import StripeOptions
from gateway.core.errors import BillingRefused
from gateway.core.offer import AddOn
from gateway.core.overage import Overage, PriceName
from gateway.core.policy import Plan
from gateway.core.purchase import CurrencyDiffers, Extras
from gateway.sync import ExtrasOrder, PlanChanges, portal_flow
from tests.billing.conftest import Answer, Request, StandIn, opened, through

pytestmark = pytest.mark.slow


@pytest.fixture
async def euros(shop: Any) -> str:
    """A price in EUR only, which the plan `enterprise-eur` is sold at."""
    v1 = shop.sandbox.stripe.v1
    product = await v1.products.create_async({"name": "Enterprise in Europe"})
    wanted = {"product": product.id, "currency": "eur", "unit_amount": 50_000, "recurring": {"interval": "month"}}
    price = await v1.prices.create_async(wanted)
    plan = Plan(plan_id="enterprise-eur", tier="enterprise", title="Europe", price_id=price.id, lookup_key=None)
    held = shop.sync._policy
    held.current = replace(held.current, plans=held.current.plans | {plan.plan_id: plan})
    return str(price.id)


def sold_beside(shop: Any, price_id: str) -> None:
    """Every plan has an add-on at that price."""
    held = shop.sync._policy
    extra = AddOn(name="extra", title="Extra", price_id=price_id, lookup_key=None)
    plans = {name: replace(plan, add_ons=("extra",)) for name, plan in held.current.plans.items()}
    held.current = replace(held.current, plans=plans, add_ons={"extra": extra})


async def test_a_plan_in_another_currency_is_refused_with_what_to_do(shop: Any, euros: str) -> None:
    customer_id = await shop.buyer("pro-monthly")
    changes = PlanChanges(sync=shop.sync, clock=shop.sandbox.clock)
    for act in (
        changes.preview(customer_id, "enterprise-eur"),
        changes.apply(customer_id, "enterprise-eur", actor="customer"),
        portal_flow(shop.sync, customer_id, "subscription_update_confirm", "http://localhost/", "enterprise-eur"),
    ):
        with pytest.raises(CurrencyDiffers, match=r"in EUR only, and this subscription pays USD.* Cancel it"):
            await act
    row = await shop.ledger.find_customer(customer_id)
    found = await shop.sandbox.stripe.v1.invoices.list_async({"customer": row.stripe_customer_id})
    assert [one.currency for one in found.data] == ["usd"], euros


async def test_an_add_on_in_another_currency_is_refused_at_checkout_and_beside_a_plan(shop: Any, euros: str) -> None:
    sold_beside(shop, euros)
    with pytest.raises(CurrencyDiffers, match=r"'extra' is sold in EUR.* 'pro-monthly' in USD.* Buy the plan without"):
        await shop.checkout(await shop.new_customer(), extras=Extras(add_ons=("extra",)))
    customer_id = await shop.buyer("pro-monthly")
    changes = PlanChanges(sync=shop.sync, clock=shop.sandbox.clock)
    for act in (
        changes.preview(customer_id, None, extras=ExtrasOrder(add_ons=("extra",))),
        changes.apply(customer_id, None, actor="customer", extras=ExtrasOrder(add_ons=("extra",))),
        changes.apply(customer_id, "enterprise-monthly", actor="customer", extras=ExtrasOrder(add_ons=("extra",))),
    ):
        with pytest.raises(CurrencyDiffers, match=r"'extra' is sold in EUR only, and this subscription pays USD"):
            await act
    recorded = await shop.load(customer_id)
    assert (recorded.plan_id, recorded.add_ons) == ("pro-monthly", ())


async def test_a_plan_whose_overage_is_in_another_currency_is_refused_with_what_to_do(shop: Any) -> None:
    customer_id = await shop.buyer("pro-monthly")
    v1 = shop.sandbox.stripe.v1
    product = await v1.products.create_async({"name": "Beyond"})
    usage = {"interval": "month", "usage_type": "metered", "meter": "mtr_api_overage"}
    wanted = {"product": product.id, "currency": "eur", "unit_amount": 3, "recurring": usage}
    price = await v1.prices.create_async(wanted)
    held = shop.sync._policy
    sold = Overage(meter="requests", stripe_meter="api_overage", price=PriceName(price_id=price.id))
    enterprise = replace(held.current.tiers["enterprise"], overages=(sold,))
    held.current = replace(held.current, tiers=held.current.tiers | {"enterprise": enterprise})
    changes = PlanChanges(sync=shop.sync, clock=shop.sandbox.clock)
    with pytest.raises(CurrencyDiffers, match=r"overage of the plan 'enterprise-monthly' is sold in EUR only"):
        await changes.apply(customer_id, "enterprise-monthly", actor="customer")


async def test_what_has_an_option_for_the_currency_is_asked_of_stripe(shop: Any, euros: str) -> None:
    customer_id = await shop.buyer("pro-monthly")
    sold_beside(shop, euros)
    ask = through(shop.sandbox.url)

    async def with_option(request: Request) -> Answer:
        got = await ask(request)
        if "currency_options" not in str(request.query):
            return got
        price = json.loads(got.body)  # type: ignore[arg-type]
        price["currency_options"]["usd"] = price["currency_options"]["eur"]
        return Answer(status=got.status, body=price)

    between = StandIn()
    between.account_id, between.handler = None, with_option
    async with (
        between.listening(),
        opened(StripeOptions(secret_key=shop.sandbox.key, base_url=between.url)) as billing,
    ):
        shop.sync.billing = billing
        flow = await portal_flow(
            shop.sync, customer_id, "subscription_update_confirm", "http://localhost/", "enterprise-eur"
        )
        changes = PlanChanges(sync=shop.sync, clock=shop.sandbox.clock)
        with pytest.raises(BillingRefused):  # the sandbox has no options, and refuses it as Stripe does
            await changes.preview(customer_id, None, extras=ExtrasOrder(add_ons=("extra",)))
    assert flow.price_id == euros


async def test_the_sandbox_refuses_a_price_in_another_currency_as_stripe_does(shop: Any, euros: str) -> None:
    customer_id = await shop.buyer("pro-monthly")
    v1 = shop.sandbox.stripe.v1
    one = await v1.subscriptions.retrieve_async((await shop.load(customer_id)).subscription_id)
    items = [{"id": one["items"].data[0].id, "price": euros}]
    schedule = await v1.subscription_schedules.create_async({"from_subscription": one.id})
    now = schedule.phases[0]
    phases = [
        {"items": [{"price": "price_pro_monthly"}], "start_date": now.start_date, "end_date": now.end_date},
        {"items": [{"price": euros}], "duration": {"interval": "month"}},
    ]
    order = {"customer": one.customer, "items": [{"price": "price_pro_monthly"}, {"price": euros}]}
    for act in (
        v1.subscriptions.create_async(order),
        v1.invoices.create_preview_async({"subscription": one.id, "subscription_details": {"items": items}}),
        v1.subscription_schedules.update_async(schedule.id, {"phases": phases}),
        v1.subscriptions.update_async(one.id, {"items": items}),
    ):
        with pytest.raises(stripe.InvalidRequestError, match="`eur` which doesn't include the expected currency"):
            await act
    assert (await v1.subscriptions.retrieve_async(one.id))["items"].data[0].price.id == "price_pro_monthly"
