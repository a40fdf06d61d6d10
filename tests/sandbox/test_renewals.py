from __future__ import annotations

from typing import Any

import pytest

pytestmark = pytest.mark.slow

DAY_S = 86_400
HOUR_S = 3_600
FAILS_AT_RENEWAL = "4000 0000 0000 0341"


def _period_end(subscription: Any) -> int:
    return int(subscription["items"].data[0].current_period_end)


async def _fail_renewal(sandbox: Any) -> Any:
    subscription = await sandbox.subscribe(card=FAILS_AT_RENEWAL)
    await sandbox.advance_to(_period_end(subscription) + HOUR_S + 1)
    return await sandbox.subscription(subscription.id)


async def test_a_renewal_rolls_the_period_first_and_is_paid_an_hour_later(sandbox: Any) -> None:
    bought = await sandbox.subscribe()
    await sandbox.advance_to(_period_end(bought) + 1)
    rolled = await sandbox.v1.subscriptions.retrieve_async(bought.id, {"expand": ["latest_invoice"]})
    item = rolled["items"].data[0]
    assert item.current_period_start == _period_end(bought)
    assert rolled.status == "active"
    assert (rolled.latest_invoice.status, rolled.latest_invoice.amount_due) == ("draft", 2900)

    await sandbox.advance(HOUR_S)

    invoice = await sandbox.v1.invoices.retrieve_async(rolled.latest_invoice.id)
    assert (invoice.status, invoice.billing_reason) == ("paid", "subscription_cycle")
    assert invoice.parent.subscription_details.subscription == bought.id
    assert invoice.created == _period_end(bought)
    assert invoice.status_transitions.paid_at == _period_end(bought) + HOUR_S


async def test_a_failed_renewal_makes_the_subscription_past_due(sandbox: Any) -> None:
    subscription = await _fail_renewal(sandbox)
    assert subscription.status == "past_due"
    invoice = await sandbox.v1.invoices.retrieve_async(subscription.latest_invoice)
    assert (invoice.status, invoice.attempt_count) == ("open", 1)
    assert invoice.next_payment_attempt == invoice.status_transitions.finalized_at + 3 * DAY_S
    customer = await sandbox.v1.customers.retrieve_async(subscription.customer)
    assert customer.delinquent
    types = [event.type for event in await sandbox.events()]
    assert types[-2:] == ["invoice.payment_failed", "customer.subscription.updated"]


async def test_a_failed_payment_is_tried_again_after_3_5_and_7_days(sandbox: Any) -> None:
    subscription = await _fail_renewal(sandbox)
    await sandbox.advance(20 * DAY_S)
    failures = await sandbox.events(type="invoice.payment_failed")
    first = failures[0].created
    assert [(event.created - first) / DAY_S for event in failures] == [0, 3, 8, 15]
    assert (await sandbox.subscription(subscription.id)).status == "past_due"


@pytest.mark.parametrize(
    ("action", "status", "event_type"),
    [
        ("cancel", "canceled", "customer.subscription.deleted"),
        ("unpaid", "unpaid", "customer.subscription.updated"),
        ("leave", "past_due", None),
    ],
)
async def test_what_nobody_pays_for_three_weeks_is_given_up_as_configured(
    sandbox: Any, action: str, status: str, event_type: str | None
) -> None:
    await sandbox.control("rules", final_action=action)
    subscription = await _fail_renewal(sandbox)
    await sandbox.advance(22 * DAY_S)
    given_up = await sandbox.subscription(subscription.id)
    assert given_up.status == status
    if event_type is not None:
        assert [e for e in await sandbox.events(type=event_type) if e.data.object.status == status]
    if status == "canceled":
        assert given_up.cancellation_details.reason == "payment_failed"


async def test_a_paid_invoice_makes_a_past_due_subscription_active_again(sandbox: Any) -> None:
    subscription = await _fail_renewal(sandbox)
    paid = await sandbox.v1.invoices.pay_async(subscription.latest_invoice, {"payment_method": "pm_card_visa"})
    assert paid.status == "paid"
    assert (await sandbox.subscription(subscription.id)).status == "active"


async def test_a_new_default_card_pays_at_the_next_attempt(sandbox: Any) -> None:
    subscription = await _fail_renewal(sandbox)
    method = await sandbox.v1.payment_methods.attach_async("pm_card_visa", {"customer": subscription.customer})
    await sandbox.v1.subscriptions.update_async(subscription.id, {"default_payment_method": method.id})
    assert (await sandbox.subscription(subscription.id)).status == "past_due"
    await sandbox.advance(3 * DAY_S)
    assert (await sandbox.subscription(subscription.id)).status == "active"


async def test_an_unpaid_subscription_goes_on_making_drafts_that_nobody_collects(sandbox: Any) -> None:
    await sandbox.control("rules", final_action="unpaid")
    subscription = await _fail_renewal(sandbox)
    await sandbox.advance(45 * DAY_S)
    invoices = await sandbox.v1.invoices.list_async({"subscription": subscription.id, "status": "draft"})
    assert [(one.auto_advance, one.attempt_count) for one in invoices.data] == [(False, 0)]


@pytest.mark.parametrize("way", ["cancel_at_period_end", "min_period_end", "timestamp"])
async def test_a_cancellation_at_the_period_end_ends_access_then_and_not_before(sandbox: Any, way: str) -> None:
    subscription = await sandbox.subscribe()
    end = _period_end(subscription)
    params = {
        "cancel_at_period_end": {"cancel_at_period_end": True},
        "min_period_end": {"cancel_at": "min_period_end"},
        "timestamp": {"cancel_at": end},
    }[way]
    updated = await sandbox.v1.subscriptions.update_async(subscription.id, params)
    assert (updated.status, updated.cancel_at) == ("active", end)
    assert updated.cancel_at_period_end == (way == "cancel_at_period_end")

    await sandbox.advance_to(end - 5)
    assert (await sandbox.subscription(subscription.id)).status == "active"
    await sandbox.advance_to(end + 1)

    ended = await sandbox.subscription(subscription.id)
    assert (ended.status, ended.ended_at) == ("canceled", end)
    assert (await sandbox.events())[-1].type in {"customer.subscription.deleted", "invoice.updated"}
    invoices = await sandbox.v1.invoices.list_async({"subscription": subscription.id})
    assert len(invoices.data) == 1


async def test_a_scheduled_cancellation_can_be_taken_back(sandbox: Any) -> None:
    subscription = await sandbox.subscribe()
    await sandbox.v1.subscriptions.update_async(subscription.id, {"cancel_at_period_end": True})
    kept = await sandbox.v1.subscriptions.update_async(subscription.id, {"cancel_at_period_end": False})
    assert (kept.cancel_at, kept.canceled_at) == (None, None)
    await sandbox.advance_to(_period_end(subscription) + HOUR_S + 1)
    assert (await sandbox.subscription(subscription.id)).status == "active"


async def test_a_cancellation_now_ends_it_at_once(sandbox: Any) -> None:
    subscription = await sandbox.subscribe()
    ended = await sandbox.v1.subscriptions.cancel_async(
        subscription.id, {"cancellation_details": {"comment": "too dear"}}
    )
    assert (ended.status, ended.cancellation_details.comment) == ("canceled", "too dear")
    await sandbox.advance(60 * DAY_S)
    assert len((await sandbox.v1.invoices.list_async({"subscription": subscription.id})).data) == 1


async def test_a_deleted_customer_loses_its_subscriptions(sandbox: Any) -> None:
    subscription = await sandbox.subscribe()
    deleted = await sandbox.v1.customers.delete_async(subscription.customer)
    assert deleted.deleted
    assert (await sandbox.subscription(subscription.id)).status == "canceled"
    assert (await sandbox.v1.customers.retrieve_async(subscription.customer)).deleted
    types = [event.type for event in await sandbox.events()]
    assert types.index("customer.subscription.deleted") < types.index("customer.deleted")


async def test_a_first_payment_that_fails_leaves_it_incomplete_and_then_expires_it(sandbox: Any) -> None:
    customer = await sandbox.customer()
    method = await sandbox.v1.payment_methods.attach_async("pm_card_chargeCustomerFail", {"customer": customer.id})
    subscription = await sandbox.v1.subscriptions.create_async(
        {
            "customer": customer.id,
            "items": [{"price": "price_pro_monthly"}],
            "default_payment_method": method.id,
        }
    )
    assert subscription.status == "incomplete"
    await sandbox.advance(23 * HOUR_S + 1)
    assert (await sandbox.subscription(subscription.id)).status == "incomplete_expired"


async def test_a_paused_collection_voids_the_invoice_and_keeps_the_status(sandbox: Any) -> None:
    subscription = await sandbox.subscribe(card=FAILS_AT_RENEWAL)
    await sandbox.v1.subscriptions.update_async(subscription.id, {"pause_collection": {"behavior": "void"}})
    await sandbox.advance_to(_period_end(subscription) + HOUR_S + 1)
    after = await sandbox.v1.subscriptions.retrieve_async(subscription.id, {"expand": ["latest_invoice"]})
    assert (after.status, after.latest_invoice.status) == ("active", "void")


@pytest.mark.parametrize("way", ["void", "uncollectible"])
async def test_a_latest_invoice_that_is_given_up_makes_the_subscription_active_again(sandbox: Any, way: str) -> None:
    due = await _fail_renewal(sandbox)
    await _give_up(sandbox, due.latest_invoice, way)
    assert (await sandbox.subscription(due.id)).status == "active"


async def test_behind_an_invoice_that_is_void_the_one_before_it_counts(sandbox: Any) -> None:
    await sandbox.control("rules", final_action="leave")
    due = await _fail_renewal(sandbox)
    await sandbox.advance(62 * DAY_S)
    later = await sandbox.subscription(due.id)
    found = await sandbox.v1.invoices.list_async({"subscription": due.id})
    assert [one.status for one in found.data] == ["open", "open", "open", "paid"]
    await _give_up(sandbox, found.data[2].id, "uncollectible")
    assert (await sandbox.subscription(due.id)).status == "past_due", "it is not the latest"
    await _give_up(sandbox, later.latest_invoice, "void")
    assert (await sandbox.subscription(due.id)).status == "past_due", "the one before is open"
    await _give_up(sandbox, found.data[1].id, "void")
    assert (await sandbox.subscription(due.id)).status == "active", "one that is uncollectible counts as paid"


async def _give_up(sandbox: Any, invoice_id: str, way: str) -> None:
    invoices = sandbox.v1.invoices
    await (invoices.void_invoice_async if way == "void" else invoices.mark_uncollectible_async)(invoice_id)
