"""What somebody must act on is told, whoever found it: once a day of a customer and finding."""

from __future__ import annotations

import json
from typing import Any

import pytest

from gateway.sync import Reconciler, Schedule
from gateway.sync.attention import Attention

pytestmark = pytest.mark.slow

DAY = 86_400


@pytest.fixture
async def unmapped(shop: Any) -> str:
    """A customer whose price at Stripe is one that no plan sells, of which no event tells."""
    shop.sync.attention = Attention(ledger=shop.ledger, channels=("webhook",))
    customer_id: str = await shop.buyer("pro-monthly")
    v1 = shop.sandbox.stripe.v1
    await shop.sandbox.http.post("/_sandbox/faults", json={"drop": ["*"]})
    product = await v1.products.create_async({"name": "Hand-made"})
    price = await v1.prices.create_async(
        {"product": product.id, "currency": "usd", "unit_amount": 500, "recurring": {"interval": "month"}}
    )
    subscription = await v1.subscriptions.retrieve_async((await shop.load(customer_id)).subscription_id)
    items = [{"id": subscription["items"].data[0].id, "price": price.id}]
    await v1.subscriptions.update_async(subscription.id, {"items": items})
    return customer_id


async def told(shop: Any) -> list[dict[str, Any]]:
    bodies = [json.loads(alert.body) for alert in await shop.ledger.list_alerts()]
    return [body["data"] for body in bodies if body["type"] == "billing.needs_attention"]


async def test_a_price_that_a_reconciliation_finds_unmapped_is_told_and_counted(shop: Any, unmapped: str) -> None:
    clock = shop.sandbox.clock
    report = await Reconciler(
        ledger=shop.ledger, sync=shop.sync, clock=clock, schedule=Schedule(per_second=1000), channels=("webhook",)
    ).run()
    assert report.needing_attention == 1
    assert shop.sync.attention.found["unmapped-price"] == 1
    (one,) = await told(shop)
    assert (one["customer_id"], one["finding"]) == (unmapped, "unmapped-price")
    assert (await shop.load(unmapped)).subscription_id in one["detail"]
    assert "Map the price" in one["what_to_do"]


async def test_what_is_found_again_is_told_again_on_the_next_day_only(shop: Any, unmapped: str) -> None:
    for _ in range(3):
        await shop.sync.sync_customer(unmapped, "checkout returned")
    assert len(await told(shop)) == 1
    await shop.sandbox.control("clock/advance", seconds=DAY)
    await shop.sync.sync_customer(unmapped, "sync requested")
    assert len(await told(shop)) == 2


async def test_what_is_mended_is_told_no_more(shop: Any, unmapped: str) -> None:
    await shop.sync.sync_customer(unmapped, "sync requested")
    v1 = shop.sandbox.stripe.v1
    subscription = await v1.subscriptions.retrieve_async((await shop.load(unmapped)).subscription_id)
    items = [{"id": subscription["items"].data[0].id, "price": "price_pro_monthly"}]
    await v1.subscriptions.update_async(subscription.id, {"items": items})
    await shop.sandbox.control("clock/advance", seconds=DAY)
    await shop.sync.sync_customer(unmapped, "sync requested")
    assert len(await told(shop)) == 1


async def test_whoever_pays_twice_is_told_with_what_to_do(shop: Any, unmapped: str) -> None:
    row = await shop.ledger.find_customer(unmapped)
    card = await shop.sandbox.stripe.v1.payment_methods.attach_async(
        "pm_card_visa", {"customer": row.stripe_customer_id}
    )
    order = {"customer": row.stripe_customer_id, "default_payment_method": card.id}
    for _ in range(2):
        await shop.sandbox.stripe.v1.subscriptions.create_async({**order, "items": [{"price": "price_pro_monthly"}]})
    await shop.sync.sync_customer(unmapped, "sync requested")
    assert {one["finding"] for one in await told(shop)} == {"several-subscriptions"}
    assert "refund" in (await told(shop))[0]["what_to_do"]
