"""Events that come seldom: an invoice that cannot be made final, and a price that is deleted."""

from __future__ import annotations

from typing import Any

import pytest
import stripe

pytestmark = pytest.mark.slow

HOUR_S = 3_600
CODE = "taxes_calculation_failed"


async def renew(sandbox: Any, subscription: Any) -> Any:
    """The renewal's invoice, when it was to become final."""
    await sandbox.advance_to(subscription["items"].data[0].current_period_end + HOUR_S + 1)
    return await sandbox.v1.subscriptions.retrieve_async(subscription.id, {"expand": ["latest_invoice"]})


async def test_an_invoice_that_cannot_be_made_final_stays_a_draft_and_the_subscription_goes_on(sandbox: Any) -> None:
    bought = await sandbox.subscribe()
    await sandbox.control("rules", finalization_error=CODE)
    renewed = await renew(sandbox, bought)
    invoice = renewed.latest_invoice
    assert (renewed.status, invoice.status, invoice.attempt_count) == ("active", "draft", 0)
    assert (invoice.last_finalization_error.code, invoice.hosted_invoice_url) == (CODE, None)
    [event] = await sandbox.events(type="invoice.finalization_failed")
    assert event.data.object.id == invoice.id
    assert event.data.object.last_finalization_error.type == "invalid_request_error"
    await sandbox.advance(40 * 86_400)
    assert (await sandbox.subscription(bought.id)).status == "active"
    assert len(await sandbox.events(type="invoice.finalization_failed")) == 2, "and so does the next one"


async def test_the_seller_finalizes_it_when_what_was_in_the_way_is_gone(sandbox: Any) -> None:
    bought = await sandbox.subscribe()
    await sandbox.control("rules", finalization_error=CODE)
    invoice = (await renew(sandbox, bought)).latest_invoice
    with pytest.raises(stripe.InvalidRequestError) as refused:
        await sandbox.v1.invoices.finalize_invoice_async(invoice.id)
    assert refused.value.code == CODE
    assert len(await sandbox.events(type="invoice.finalization_failed")) == 2
    await sandbox.control("rules", finalization_error="")
    final = await sandbox.v1.invoices.finalize_invoice_async(invoice.id)
    assert (final.status, final.last_finalization_error) == ("open", None)
    assert (await sandbox.v1.invoices.pay_async(invoice.id)).status == "paid"


async def test_a_reason_that_stripe_does_not_know_is_not_taken(sandbox: Any) -> None:
    url = f"{sandbox.running.stripe_url}/_sandbox/rules"
    assert (await sandbox.http.post(url, json={"finalization_error": "bad_weather"})).status_code == 400


async def new_price(sandbox: Any) -> str:
    price = await sandbox.v1.prices.create_async(
        {"currency": "usd", "product": "prod_pro", "unit_amount": 500, "recurring": {"interval": "month"}}
    )
    return str(price.id)


async def test_a_price_that_was_never_used_can_be_deleted(sandbox: Any) -> None:
    price_id = await new_price(sandbox)
    answer = await sandbox.http.delete(f"{sandbox.running.stripe_url}/_sandbox/prices/{price_id}")
    assert (answer.status_code, answer.json()["id"]) == (200, price_id)
    [event] = await sandbox.events(type="price.deleted")
    assert (event.data.object.id, event.data.object.active) == (price_id, True)
    with pytest.raises(stripe.InvalidRequestError, match="No such price"):
        await sandbox.v1.prices.retrieve_async(price_id)


@pytest.mark.parametrize("way", ["subscribed", "offered"])
async def test_a_price_that_is_or_was_used_stays(sandbox: Any, way: str) -> None:
    price_id = await new_price(sandbox)
    await (sandbox.subscribe(price=price_id) if way == "subscribed" else sandbox.open_checkout(price=price_id))
    answer = await sandbox.http.delete(f"{sandbox.running.stripe_url}/_sandbox/prices/{price_id}")
    assert (answer.status_code, "has been used" in answer.text) == (400, True)
    assert (await sandbox.v1.prices.retrieve_async(price_id)).id == price_id
