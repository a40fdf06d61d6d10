"""Items that a change gives up are gone once it is made: also if it waits for a payment, or was cut off."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from gateway.core.offer import AddOn
from gateway.core.overage import Overage, PriceName
from gateway.core.switching import SwitchTerms
from gateway.sync import ExtrasOrder, PlanChanges

pytestmark = pytest.mark.slow

FAILS_LATER = "4000000000000341"
PAYS = "4242424242424242"
EXTRA = AddOn(name="extra", title="Extra", price_id=None, lookup_key="gone_extra", features=frozenset({"more"}))


async def make_prices(shop: Any) -> None:
    v1 = shop.sandbox.stripe.v1
    if (await v1.prices.list_async({"lookup_keys": ["gone_extra"]})).data:
        return
    product = await v1.products.create_async({"name": "Beside"})
    common: Any = {"product": product.id, "currency": "usd"}
    await v1.prices.create_async(
        {**common, "unit_amount": 500, "recurring": {"interval": "month"}, "lookup_key": "gone_extra"}
    )
    metered: Any = {"interval": "month", "usage_type": "metered", "meter": "mtr_api_overage"}
    for name, amount in (("pro_overage", 3), ("enterprise_overage", 2)):
        await v1.prices.create_async({**common, "unit_amount": amount, "recurring": metered, "lookup_key": name})
    yearly: Any = {**metered, "interval": "year"}
    await v1.prices.create_async({**common, "unit_amount": 3, "recurring": yearly, "lookup_key": "pro_overage_yearly"})


async def changes_of(shop: Any, **terms: Any) -> PlanChanges:
    """The changes of a seller who bills overage at a price of each tier, and sells an add-on beside each plan."""
    await make_prices(shop)
    held = shop.sync._policy
    policy = held.current
    tiers = {
        name: tier if name == "free" else replace(tier, overages=(_overage(f"{name}_overage"),))
        for name, tier in policy.tiers.items()
    }
    plans = {name: replace(plan, add_ons=("extra",)) for name, plan in policy.plans.items()}
    of_a_year = ("requests", PriceName(lookup_key="pro_overage_yearly"))
    plans["pro-yearly"] = replace(plans["pro-yearly"], overage_prices=(of_a_year,))
    switching = SwitchTerms(downgrade=("now", "period-end"), **terms)
    held.current = replace(policy, tiers=tiers, plans=plans, add_ons={"extra": EXTRA}, switching=switching)
    return PlanChanges(sync=shop.sync, clock=shop.sandbox.clock)


def _overage(lookup_key: str) -> Overage:
    return Overage(meter="requests", stripe_meter="api_overage", price=PriceName(lookup_key=lookup_key))


async def half_a_period_later(shop: Any, customer_id: str) -> None:
    recorded = await shop.load(customer_id)
    middle = (recorded.period_starts_at + recorded.period_ends_at) // 2
    await shop.sandbox.control("clock/advance", until=middle)


async def mend_card(shop: Any, customer_id: str) -> None:
    """In the portal, which pays what is owed with the new card."""
    row = await shop.ledger.find_customer(customer_id)
    portal = await shop.sandbox.stripe.v1.billing_portal.sessions.create_async({"customer": row.stripe_customer_id})
    answer = await shop.sandbox.http.post(f"{portal.url}/card", data={"card_number": PAYS})
    assert answer.status_code == 303
    await shop.settle()


async def items(shop: Any, customer_id: str) -> dict[str, str]:
    """By lookup key of the price, the item's id."""
    subscription_id = (await shop.load(customer_id)).subscription_id
    subscription = await shop.sandbox.stripe.v1.subscriptions.retrieve_async(subscription_id)
    return {item.price.lookup_key: item.id for item in subscription["items"].data}


async def seller_adds(shop: Any, customer_id: str, lookup_key: str) -> None:
    v1 = shop.sandbox.stripe.v1
    [price] = (await v1.prices.list_async({"lookup_keys": [lookup_key]})).data
    subscription_id = (await shop.load(customer_id)).subscription_id
    await v1.subscriptions.update_async(subscription_id, {"items": [{"price": price.id}]})
    await shop.settle()


@pytest.mark.parametrize("card", [PAYS, FAILS_LATER])
async def test_one_price_of_overage_bills_once_a_change_is_made(shop: Any, card: str) -> None:
    customer_id = await shop.buyer("pro-monthly", card)
    changes = await changes_of(shop, proration="now")
    await seller_adds(shop, customer_id, "pro_overage")
    await half_a_period_later(shop, customer_id)
    changed = await changes.apply(customer_id, "enterprise-monthly", actor="customer")
    assert changed.result.is_pending is (card == FAILS_LATER)
    if changed.result.is_pending:
        assert set(await items(shop, customer_id)) == {"pro_monthly", "pro_overage"}
        await mend_card(shop, customer_id)
    assert set(await items(shop, customer_id)) == {"enterprise_monthly", "enterprise_overage"}


async def test_an_add_on_dropped_with_a_change_that_waits_goes_when_that_is_paid(shop: Any) -> None:
    customer_id = await shop.buyer("pro-monthly", FAILS_LATER)
    changes = await changes_of(shop, proration="next invoice")
    await changes.apply(customer_id, None, actor="customer", extras=ExtrasOrder(add_ons=("extra",)))
    order = ExtrasOrder(add_ons=())
    first = await changes.apply(customer_id, "pro-yearly", actor="customer", when="now", extras=order)
    again = await changes.apply(customer_id, "pro-yearly", actor="customer", when="now", extras=order)
    assert first.result.is_pending
    assert again.result.payment_url == first.result.payment_url
    assert "gone_extra" in await items(shop, customer_id)
    await mend_card(shop, customer_id)
    assert set(await items(shop, customer_id)) == {"pro_yearly", "pro_overage_yearly"}
    await shop.settle()
    assert (await shop.load(customer_id)).add_ons == ()


async def test_what_waits_and_keeps_an_add_on_is_no_answer_to_an_order_that_drops_it(shop: Any) -> None:
    customer_id = await shop.buyer("pro-monthly", FAILS_LATER)
    changes = await changes_of(shop, proration="now")
    await seller_adds(shop, customer_id, "gone_extra")
    await half_a_period_later(shop, customer_id)
    kept = await changes.apply(customer_id, "enterprise-monthly", actor="customer")
    order = ExtrasOrder(add_ons=())
    dropped = await changes.apply(customer_id, "enterprise-monthly", actor="customer", when="now", extras=order)
    assert (kept.result.is_pending, dropped.result.is_pending) == (True, True)
    await mend_card(shop, customer_id)
    assert set(await items(shop, customer_id)) == {"enterprise_monthly", "enterprise_overage"}


async def test_a_change_that_is_given_up_gives_up_no_item(shop: Any) -> None:
    customer_id = await shop.buyer("pro-monthly", FAILS_LATER)
    changes = await changes_of(shop, proration="next invoice")
    await changes.apply(customer_id, None, actor="customer", extras=ExtrasOrder(add_ons=("extra",)))
    await changes.apply(customer_id, "pro-yearly", actor="customer", when="now", extras=ExtrasOrder(add_ons=()))
    await changes.keep(customer_id, actor="customer")
    await mend_card(shop, customer_id)
    assert set(await items(shop, customer_id)) >= {"pro_monthly", "gone_extra"}


async def cut_off(shop: Any, customer_id: str) -> None:
    """A change was made, and the connection broke before what it gives up was removed."""
    there = await items(shop, customer_id)
    await shop.sandbox.stripe.v1.subscriptions.update_async(
        (await shop.load(customer_id)).subscription_id,
        {
            "items": [{"id": there["pro_monthly"], "price": "price_enterprise_monthly"}],
            "metadata": {"tiergate_gives_up": f"{there['gone_extra']},si_gone_long_ago"},
        },
    )


async def test_a_change_that_was_cut_off_is_made_whole_by_the_next_sync(shop: Any) -> None:
    customer_id = await shop.buyer("pro-monthly")
    changes = await changes_of(shop)
    await changes.apply(customer_id, None, actor="customer", extras=ExtrasOrder(add_ons=("extra",)))
    await cut_off(shop, customer_id)
    await shop.settle()
    await shop.settle()
    assert "gone_extra" not in await items(shop, customer_id)
    assert (await shop.load(customer_id)).add_ons == ()


async def test_an_add_on_that_a_change_left_behind_can_be_bought_again(shop: Any) -> None:
    customer_id = await shop.buyer("pro-monthly")
    changes = await changes_of(shop)
    await changes.apply(customer_id, None, actor="customer", extras=ExtrasOrder(add_ons=("extra",)))
    before = (await items(shop, customer_id))["gone_extra"]
    await cut_off(shop, customer_id)
    await changes.apply(customer_id, None, actor="customer", extras=ExtrasOrder(add_ons=("extra",)))
    await shop.settle()
    after = (await items(shop, customer_id))["gone_extra"]
    assert after != before
    assert (await shop.load(customer_id)).add_ons == (("extra", 1),)


async def test_another_price_of_overage_goes_when_the_plan_that_there_is_is_asked_for(shop: Any) -> None:
    customer_id = await shop.buyer("enterprise-monthly")
    changes = await changes_of(shop)
    for lookup_key in ("enterprise_overage", "pro_overage"):
        await seller_adds(shop, customer_id, lookup_key)
    changed = await changes.apply(customer_id, "enterprise-monthly", actor="customer")
    assert (changed.when, changed.result.is_pending) == ("now", False)
    assert set(await items(shop, customer_id)) == {"enterprise_monthly", "enterprise_overage"}


@pytest.mark.parametrize("proration", ["now", "next invoice", "none"])
async def test_what_is_collected_for_a_change_that_drops_something_is_what_its_preview_said(
    shop: Any, proration: Any
) -> None:
    customer_id = await shop.buyer("pro-monthly")
    changes = await changes_of(shop, proration=proration)
    await changes.apply(customer_id, None, actor="customer", extras=ExtrasOrder(add_ons=("extra",)))
    await half_a_period_later(shop, customer_id)
    order, before = ExtrasOrder(add_ons=()), await paid(shop, customer_id)
    preview = await changes.preview(customer_id, "pro-yearly", when="now", extras=order)
    await changes.apply(customer_id, "pro-yearly", actor="customer", when="now", extras=order)
    assert set(await items(shop, customer_id)) == {"pro_yearly", "pro_overage_yearly"}
    assert await paid(shop, customer_id) - before == preview.cost.next_invoice
    row = await shop.ledger.find_customer(customer_id)
    v1 = shop.sandbox.stripe.v1
    assert (await v1.customers.retrieve_async(row.stripe_customer_id)).balance == 0
    subscription_id = (await shop.load(customer_id)).subscription_id
    renewal = await v1.invoices.create_preview_async({"subscription": subscription_id})
    assert renewal.amount_due == 29_000, "nothing is left to be settled"


async def paid(shop: Any, customer_id: str) -> int:
    row = await shop.ledger.find_customer(customer_id)
    found = await shop.sandbox.stripe.v1.invoices.list_async({"customer": row.stripe_customer_id})
    return sum(invoice.amount_paid for invoice in found.data)
