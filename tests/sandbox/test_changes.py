from __future__ import annotations

from typing import Any

import pytest
import stripe

pytestmark = pytest.mark.slow

FAILS_AT_RENEWAL = "4000 0000 0000 0341"


async def _half_way(sandbox: Any, subscription: Any) -> int:
    """Advance to the middle of the period, give or take the second that the test itself takes."""
    item = subscription["items"].data[0]
    middle = (item.current_period_start + item.current_period_end) // 2
    await sandbox.advance_to(middle)
    return middle


def _switch(subscription: Any, price: str, **more: Any) -> dict[str, Any]:
    item = subscription["items"].data[0]
    return {"items": [{"id": item.id, "price": price}], **more}


async def test_an_upgrade_credits_the_unused_time_and_charges_the_remaining_time(sandbox: Any) -> None:
    subscription = await sandbox.subscribe()
    item = subscription["items"].data[0]
    period_s = item.current_period_end - item.current_period_start
    third = item.current_period_start + period_s // 3
    await sandbox.advance_to(third + 60)

    changed = await sandbox.v1.subscriptions.update_async(
        subscription.id,
        _switch(
            subscription,
            "price_enterprise_monthly",
            proration_behavior="always_invoice",
            proration_date=third,
        ),
        {"stripe_version": stripe.api_version},
    )

    invoice = await sandbox.v1.invoices.retrieve_async(changed.latest_invoice)
    remaining_s = item.current_period_end - third
    credit = round(2900 * remaining_s / period_s)
    charge = round(49_900 * remaining_s / period_s)
    assert [line.amount for line in invoice.lines.data] == [-credit, charge]
    assert (credit, charge) == (1933, 33_267)
    assert (invoice.amount_paid, invoice.billing_reason) == (31_334, "subscription_update")
    assert {line.parent.subscription_item_details.proration for line in invoice.lines.data} == {True}
    assert [(line.period.start, line.period.end) for line in invoice.lines.data] == [
        (third, item.current_period_end)
    ] * 2
    new = changed["items"].data[0]
    assert (new.id, new.price.id) == (item.id, "price_enterprise_monthly")
    assert (new.current_period_start, new.current_period_end) == (
        item.current_period_start,
        item.current_period_end,
    )


async def test_prorations_wait_for_the_renewal_when_they_are_not_invoiced_at_once(sandbox: Any) -> None:
    subscription = await sandbox.subscribe()
    at = await _half_way(sandbox, subscription)
    changed = await sandbox.v1.subscriptions.update_async(
        subscription.id, _switch(subscription, "price_enterprise_monthly", proration_date=at)
    )
    assert changed.latest_invoice == subscription.latest_invoice
    assert changed["items"].data[0].price.id == "price_enterprise_monthly"

    await sandbox.advance_to(subscription["items"].data[0].current_period_end + 1)

    renewed = await sandbox.v1.subscriptions.retrieve_async(subscription.id, {"expand": ["latest_invoice"]})
    amounts = [line.amount for line in renewed.latest_invoice.lines.data]
    assert amounts == [-1450, 24_950, 49_900]
    assert renewed.latest_invoice.amount_due == 73_400


async def test_a_change_without_proration_costs_nothing_until_the_renewal(sandbox: Any) -> None:
    subscription = await sandbox.subscribe()
    await _half_way(sandbox, subscription)
    await sandbox.v1.subscriptions.update_async(
        subscription.id, _switch(subscription, "price_enterprise_monthly", proration_behavior="none")
    )
    await sandbox.advance_to(subscription["items"].data[0].current_period_end + 1)
    invoices = await sandbox.v1.invoices.list_async({"subscription": subscription.id})
    assert [line.amount for line in invoices.data[0].lines.data] == [49_900]


@pytest.mark.parametrize("behavior", ["always_invoice", "create_prorations"])
async def test_a_preview_tells_exactly_what_the_change_will_cost(sandbox: Any, behavior: str) -> None:
    subscription = await sandbox.subscribe()
    at = await _half_way(sandbox, subscription)
    change = _switch(subscription, "price_enterprise_monthly", proration_behavior=behavior, proration_date=at)
    events = len(await sandbox.events())

    preview = await sandbox.v1.invoices.create_preview_async(
        {"customer": subscription.customer, "subscription": subscription.id, "subscription_details": change}
    )

    assert preview.id.startswith("upcoming_in_")
    assert len(await sandbox.events()) == events
    prorations = [line.amount for line in preview.lines.data if line.parent.subscription_item_details.proration]
    assert prorations == [-1450, 24_950]
    assert preview.amount_due == {"always_invoice": 23_500, "create_prorations": 73_400}[behavior]
    with pytest.raises(stripe.InvalidRequestError, match="No such invoice"):
        await sandbox.v1.invoices.retrieve_async(preview.id)

    await sandbox.v1.subscriptions.update_async(subscription.id, change)
    if behavior == "create_prorations":
        await sandbox.advance_to(subscription["items"].data[0].current_period_end + 1)
    made = await sandbox.v1.invoices.list_async({"subscription": subscription.id})
    assert [line.amount for line in made.data[0].lines.data] == [line.amount for line in preview.lines.data]


async def test_a_downgrade_is_credited_and_the_credit_is_used_up_by_the_next_invoice(sandbox: Any) -> None:
    subscription = await sandbox.subscribe(price="price_enterprise_monthly")
    at = await _half_way(sandbox, subscription)
    changed = await sandbox.v1.subscriptions.update_async(
        subscription.id,
        _switch(subscription, "price_pro_monthly", proration_behavior="always_invoice", proration_date=at),
    )
    invoice = await sandbox.v1.invoices.retrieve_async(changed.latest_invoice)
    assert (invoice.total, invoice.amount_due, invoice.status) == (-23_500, 0, "paid")
    bought = await sandbox.v1.invoices.retrieve_async(subscription.latest_invoice)
    credited, charged = [one.parent.subscription_item_details.proration_details for one in invoice.lines.data]
    assert (credited.credited_items.invoice, credited.credited_items.invoice_line_items) == (
        bought.id,
        [bought.lines.data[0].id],
    )
    assert charged.credited_items is None
    assert (await sandbox.v1.customers.retrieve_async(subscription.customer)).balance == -23_500

    await sandbox.advance_to(subscription["items"].data[0].current_period_end + 3_601)

    renewed = await sandbox.v1.invoices.list_async({"subscription": subscription.id, "limit": 1})
    assert (renewed.data[0].total, renewed.data[0].amount_due) == (2900, 0)
    assert renewed.data[0].ending_balance == -20_600


async def test_a_new_interval_starts_a_new_period_and_is_billed_at_once(sandbox: Any) -> None:
    subscription = await sandbox.subscribe()
    at = await _half_way(sandbox, subscription)
    changed = await sandbox.v1.subscriptions.update_async(
        subscription.id, _switch(subscription, "price_pro_yearly", proration_date=at)
    )
    invoice = await sandbox.v1.invoices.retrieve_async(changed.latest_invoice)
    assert [line.amount for line in invoice.lines.data] == [-1450, 29_000]
    item = changed["items"].data[0]
    assert changed.billing_cycle_anchor == item.current_period_start >= at
    assert 365 <= (item.current_period_end - item.current_period_start) / 86_400 <= 366


async def test_a_quantity_is_prorated_like_a_price(sandbox: Any) -> None:
    subscription = await sandbox.subscribe()
    at = await _half_way(sandbox, subscription)
    item = subscription["items"].data[0]
    changed = await sandbox.v1.subscriptions.update_async(
        subscription.id,
        {
            "items": [{"id": item.id, "quantity": 3}],
            "proration_behavior": "always_invoice",
            "proration_date": at,
        },
    )
    invoice = await sandbox.v1.invoices.retrieve_async(changed.latest_invoice)
    assert [line.amount for line in invoice.lines.data] == [-1450, 4350]


async def _failing_upgrade(sandbox: Any, payment_behavior: str) -> Any:
    subscription = await sandbox.subscribe(card=FAILS_AT_RENEWAL)
    await _half_way(sandbox, subscription)
    change = _switch(
        subscription,
        "price_enterprise_monthly",
        proration_behavior="always_invoice",
        payment_behavior=payment_behavior,
    )
    return subscription, change


async def test_an_upgrade_that_cannot_be_paid_leaves_it_past_due_by_default(sandbox: Any) -> None:
    subscription, change = await _failing_upgrade(sandbox, "allow_incomplete")
    changed = await sandbox.v1.subscriptions.update_async(subscription.id, change)
    assert (changed.status, changed["items"].data[0].price.id) == ("past_due", "price_enterprise_monthly")


async def test_an_upgrade_that_must_be_paid_is_an_error_and_changes_nothing(sandbox: Any) -> None:
    subscription, change = await _failing_upgrade(sandbox, "error_if_incomplete")
    events = len(await sandbox.events())
    with pytest.raises(stripe.CardError) as refused:
        await sandbox.v1.subscriptions.update_async(subscription.id, change)
    assert (refused.value.code, refused.value.http_status) == ("card_declined", 402)
    after = await sandbox.subscription(subscription.id)
    assert after.to_dict() == subscription.to_dict()
    assert len(await sandbox.events()) == events


async def test_a_pending_update_keeps_the_old_plan_until_it_is_paid(sandbox: Any) -> None:
    subscription, change = await _failing_upgrade(sandbox, "pending_if_incomplete")
    waiting = await sandbox.v1.subscriptions.update_async(subscription.id, change)
    assert (waiting.status, waiting["items"].data[0].price.id) == ("active", "price_pro_monthly")
    assert waiting.pending_update.subscription_items[0].price.id == "price_enterprise_monthly"

    await sandbox.v1.invoices.pay_async(waiting.latest_invoice, {"payment_method": "pm_card_visa"})

    applied = await sandbox.subscription(subscription.id)
    assert applied["items"].data[0].price.id == "price_enterprise_monthly"
    assert applied.pending_update is None
    assert await sandbox.events(type="customer.subscription.pending_update_applied")


async def test_a_pending_update_that_nobody_pays_expires(sandbox: Any) -> None:
    subscription, change = await _failing_upgrade(sandbox, "pending_if_incomplete")
    waiting = await sandbox.v1.subscriptions.update_async(subscription.id, change)
    await sandbox.advance(23 * 3_600 + 1)
    expired = await sandbox.subscription(subscription.id)
    assert (expired.status, expired.pending_update) == ("active", None)
    assert (await sandbox.v1.invoices.retrieve_async(waiting.latest_invoice)).status == "void"
    assert await sandbox.events(type="customer.subscription.pending_update_expired")


@pytest.mark.parametrize("price", ["price_pro_yearly", "price_enterprise_monthly"])
async def test_what_was_never_paid_cannot_be_changed_into_something_else(sandbox: Any, price: str) -> None:
    customer = await sandbox.customer()
    started = await sandbox.v1.subscriptions.create_async(
        {
            "customer": customer.id,
            "items": [{"price": "price_pro_monthly"}],
            "payment_behavior": "default_incomplete",
        }
    )
    assert started.status == "incomplete"
    with pytest.raises(stripe.InvalidRequestError, match="in `incomplete` status"):
        await sandbox.v1.subscriptions.update_async(started.id, _switch(started, price))
    assert (await sandbox.subscription(started.id)).to_dict() == started.to_dict()

    changed = await sandbox.v1.subscriptions.update_async(
        started.id, _switch(started, "price_enterprise_monthly", proration_behavior="none", metadata={"a": "b"})
    )
    assert (changed.status, changed.metadata.to_dict()) == ("incomplete", {"a": "b"})


async def test_items_can_be_added_and_removed_but_never_all(sandbox: Any) -> None:
    subscription = await sandbox.subscribe()
    extra = await sandbox.v1.prices.create_async(
        {
            "currency": "usd",
            "product": "prod_pro",
            "unit_amount": 500,
            "recurring": {"interval": "month"},
            "lookup_key": "extra",
        }
    )
    both = await sandbox.v1.subscriptions.update_async(subscription.id, {"items": [{"price": extra.id}]})
    assert len(both["items"].data) == 2
    first, second = both["items"].data
    one = await sandbox.v1.subscriptions.update_async(subscription.id, {"items": [{"id": second.id, "deleted": True}]})
    assert [item.id for item in one["items"].data] == [first.id]
    with pytest.raises(stripe.InvalidRequestError, match="at least one"):
        await sandbox.v1.subscriptions.update_async(subscription.id, {"items": [{"id": first.id, "deleted": True}]})
    with pytest.raises(stripe.InvalidRequestError, match="No such subscription item"):
        await sandbox.v1.subscriptions.update_async(subscription.id, {"items": [{"id": "si_none"}]})


async def test_a_proration_date_outside_the_period_is_refused(sandbox: Any) -> None:
    subscription = await sandbox.subscribe()
    with pytest.raises(stripe.InvalidRequestError, match="proration_date"):
        await sandbox.v1.subscriptions.update_async(
            subscription.id, _switch(subscription, "price_enterprise_monthly", proration_date=1)
        )
