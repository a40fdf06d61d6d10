"""Events that come rarely, sent by the simulator to a webhook that hears of nothing else: each alone brings the record
in step with Stripe.
"""

from __future__ import annotations

from typing import Any

import pytest

from gateway.core.access import decide_access
from gateway.core.policy import Plan

pytestmark = pytest.mark.slow

ASKS_ALWAYS = "4000002760003184"
HOUR_S = 3600
GOLD = Plan(plan_id="gold-monthly", tier="pro", title="Gold", price_id=None, lookup_key="gold_monthly")


async def hear_only(shop: Any, event_type: str) -> None:
    v1 = shop.sandbox.stripe.v1
    for endpoint in (await v1.webhook_endpoints.list_async()).data:
        await v1.webhook_endpoints.update_async(endpoint.id, {"enabled_events": [event_type]})


async def renew(shop: Any, customer_id: str) -> None:
    """Until its invoice was to be final and paid."""
    recorded = await shop.load(customer_id)
    await shop.sandbox.control("clock/advance", until=recorded.period_ends_at + 2 * HOUR_S)
    await shop.settle()


async def had(shop: Any, customer_id: str) -> tuple[str | None, str]:
    account = await shop.ledger.load_account(customer_id)
    access = decide_access(account, shop.sync.policy, shop.sandbox.clock.now())
    return access.tier and access.tier.name, access.standing


async def test_a_renewal_that_must_be_confirmed_begins_grace(shop: Any) -> None:
    customer_id = await shop.buyer(card=ASKS_ALWAYS)
    await hear_only(shop, "invoice.payment_action_required")
    before = await shop.load(customer_id)
    await renew(shop, customer_id)
    after = await shop.load(customer_id)
    assert (after.status, after.period_starts_at) == ("past_due", before.period_ends_at)
    assert after.unconfirmed_since is not None
    assert await had(shop, customer_id) == ("pro", "grace")


async def test_a_first_payment_that_must_be_confirmed_has_bought_nothing_yet(shop: Any) -> None:
    customer_id = await shop.new_customer()
    await hear_only(shop, "invoice.payment_action_required")
    row = await shop.ledger.find_customer(customer_id)
    v1 = shop.sandbox.stripe.v1
    method = await v1.payment_methods.attach_async(
        "pm_card_authenticationRequired", {"customer": row.stripe_customer_id}
    )
    await v1.subscriptions.create_async(
        {
            "customer": row.stripe_customer_id,
            "items": [{"price": "price_pro_monthly"}],
            "default_payment_method": method.id,
        }
    )
    await shop.settle()
    recorded = await shop.load(customer_id)
    assert (recorded.status, recorded.is_unconfirmed) == ("incomplete", True)
    assert await had(shop, customer_id) == ("free", "lapsed")


@pytest.mark.parametrize("code", ["customer_tax_location_invalid", "taxes_calculation_failed"])
async def test_a_renewal_whose_invoice_cannot_be_made_takes_nothing_from_the_customer(shop: Any, code: str) -> None:
    customer_id = await shop.buyer()
    await hear_only(shop, "invoice.finalization_failed")
    before = await shop.load(customer_id)
    await shop.sandbox.control("rules", finalization_error=code)
    try:
        await renew(shop, customer_id)
    finally:
        await shop.sandbox.control("rules", finalization_error="")
    after = await shop.load(customer_id)
    assert (after.status, after.period_starts_at) == ("active", before.period_ends_at)
    assert await had(shop, customer_id) == ("pro", "good")
    [draft, _] = (await shop.sandbox.stripe.v1.invoices.list_async({"subscription": after.subscription_id})).data
    assert (draft.status, draft.last_finalization_error.code) == ("draft", code)


async def test_a_price_that_is_deleted_is_sold_no_more(shop: Any) -> None:
    await hear_only(shop, "price.deleted")
    price = await shop.sandbox.stripe.v1.prices.create_async(
        {
            "currency": "usd",
            "product": "prod_pro",
            "unit_amount": 9900,
            "recurring": {"interval": "month"},
            "lookup_key": GOLD.lookup_key,
        }
    )
    shown = await shop.billing.fetch_prices([GOLD])
    assert {name: one.price_id for name, one in shown.items()} == {GOLD.plan_id: price.id}
    (await shop.sandbox.http.delete(f"/_sandbox/prices/{price.id}")).raise_for_status()
    assert await shop.billing.fetch_prices([GOLD]) == shown, "it is remembered until the event has come"
    await shop.settle()
    assert await shop.billing.fetch_prices([GOLD]) == {}


async def test_whoever_could_not_be_read_is_read_again_when_a_price_goes(shop: Any) -> None:
    """A plan's lookup key had been moved to a successor that is deleted: what has it still keeps its plan."""
    customer_id = await shop.buyer()
    kept = await shop.load(customer_id)
    v1 = shop.sandbox.stripe.v1
    successor = await v1.prices.create_async(
        {
            "currency": "usd",
            "product": "prod_pro",
            "unit_amount": 3900,
            "recurring": {"interval": "month"},
            "lookup_key": "pro_monthly",
            "transfer_lookup_key": True,
        }
    )
    try:
        await shop.settle()
        await hear_only(shop, "price.deleted")
        (await shop.sandbox.http.delete(f"/_sandbox/prices/{successor.id}")).raise_for_status()
        await shop.settle()
        assert await shop.billing.fetch_prices([shop.sync.policy.plans["pro-monthly"]]) == {}
        assert (await shop.load(customer_id)).plan_id == kept.plan_id == "pro-monthly"
        assert await had(shop, customer_id) == ("pro", "good")
    finally:
        await v1.prices.update_async("price_pro_monthly", {"lookup_key": "pro_monthly"})
