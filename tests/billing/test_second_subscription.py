"""Two subscriptions are never paid beside each other: what could begin to run is ended before another is sold."""

from __future__ import annotations

from typing import Any

import pytest
import stripe

from gateway.billing import CheckoutLink
from gateway.checkout import AlreadySubscribed, Checkouts
from tests.billing.test_trial_changes import trying

pytestmark = pytest.mark.slow

DAY = 86_400


def checkouts_of(shop: Any) -> Checkouts:
    unused: Any = {"provisioning": None, "signups": None, "codec": None}
    return Checkouts(
        ledger=shop.ledger,
        billing=shop.billing,
        policy=shop.sync._policy,
        sync=shop.sync,
        clock=shop.sandbox.clock,
        base_url="http://localhost",
        **unused,
    )


async def paused(shop: Any) -> tuple[str, str]:
    """A customer whose trial ended without a card, and the subscription."""
    customer_id = await trying(shop, card=False)
    await shop.sandbox.control("clock/advance", seconds=14 * DAY + 2 * 3600)
    await shop.settle()
    record = await shop.load(customer_id)
    assert record.status == "paused"
    return customer_id, record.subscription_id


async def incomplete(shop: Any) -> tuple[str, str]:
    """A customer who has not made a first payment, and the subscription."""
    customer_id = await shop.new_customer()
    row = await shop.ledger.find_customer(customer_id)
    order = {
        "customer": row.stripe_customer_id,
        "items": [{"price": "price_pro_monthly"}],
        "payment_behavior": "default_incomplete",
    }
    made = await shop.sandbox.stripe.v1.subscriptions.create_async(order)
    await shop.settle()
    assert made.status == "incomplete"
    return customer_id, made.id


async def begin_to_run(shop: Any, customer_id: str, subscription_id: str) -> None:
    """A card comes, and the customer or the seller has the subscription run: by its invoice, or by resuming it."""
    row = await shop.ledger.find_customer(customer_id)
    v1 = shop.sandbox.stripe.v1
    card = await v1.payment_methods.attach_async("pm_card_visa", {"customer": row.stripe_customer_id})
    default = {"invoice_settings": {"default_payment_method": card.id}}
    await v1.customers.update_async(row.stripe_customer_id, default)
    one = await v1.subscriptions.retrieve_async(subscription_id)
    if one.status == "paused":
        await v1.subscriptions.resume_async(subscription_id, {"billing_cycle_anchor": {"type": "now"}})
    else:
        await v1.invoices.pay_async(one.latest_invoice)


async def statuses(shop: Any, customer_id: str) -> list[str]:
    row = await shop.ledger.find_customer(customer_id)
    found = await shop.sandbox.stripe.v1.subscriptions.list_async({"customer": row.stripe_customer_id, "status": "all"})
    return sorted(one.status for one in found.data)


@pytest.mark.parametrize(("idle", "ended"), [(paused, "canceled"), (incomplete, "incomplete_expired")])
async def test_what_does_not_run_is_ended_before_another_is_sold(shop: Any, idle: Any, ended: str) -> None:
    customer_id, subscription_id = await idle(shop)
    link = await checkouts_of(shop).for_customer(customer_id, "pro-monthly")
    with pytest.raises(stripe.InvalidRequestError):
        await begin_to_run(shop, customer_id, subscription_id)
    assert (await shop.sandbox.pay(link.url)).status_code == 303
    with pytest.raises(stripe.InvalidRequestError):
        await begin_to_run(shop, customer_id, subscription_id)
    await shop.settle()
    assert await statuses(shop, customer_id) == sorted(["active", ended])
    assert (await shop.load(customer_id)).status == "active"


@pytest.mark.parametrize("idle", [paused, incomplete])
async def test_beside_one_that_has_begun_to_run_nothing_is_sold(shop: Any, idle: Any) -> None:
    customer_id, subscription_id = await idle(shop)
    await begin_to_run(shop, customer_id, subscription_id)
    with pytest.raises(AlreadySubscribed):
        await checkouts_of(shop).for_customer(customer_id, "pro-monthly")
    assert await statuses(shop, customer_id) == ["active"]


@pytest.mark.parametrize("idle", [paused, incomplete])
async def test_a_page_is_closed_if_one_begins_to_run_while_it_is_made(
    shop: Any, idle: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    customer_id, subscription_id = await idle(shop)
    pages: list[CheckoutLink] = []
    make = shop.billing.create_checkout

    async def make_slowly(*args: Any) -> CheckoutLink:
        pages.append(await make(*args))
        await begin_to_run(shop, customer_id, subscription_id)
        return pages[0]

    monkeypatch.setattr(shop.billing, "create_checkout", make_slowly)
    with pytest.raises(AlreadySubscribed):
        await checkouts_of(shop).for_customer(customer_id, "pro-monthly")
    assert (await shop.billing.fetch_checkout(pages[0].session_id)).status == "expired"
    assert await statuses(shop, customer_id) == ["active"]


@pytest.mark.parametrize("idle", [paused, incomplete])
async def test_one_that_runs_by_now_is_not_ended(shop: Any, idle: Any) -> None:
    customer_id, subscription_id = await idle(shop)
    await begin_to_run(shop, customer_id, subscription_id)
    assert not await shop.billing.idle.end(subscription_id)
    assert await statuses(shop, customer_id) == ["active"]


async def test_one_that_is_over_or_gone_stays_as_it_is(shop: Any) -> None:
    _, subscription_id = await paused(shop)
    assert await shop.billing.idle.end(subscription_id)
    assert await shop.billing.idle.end(subscription_id)
    assert await shop.billing.idle.end("sub_none")
