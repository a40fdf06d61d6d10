"""Trials without a payment method."""

from __future__ import annotations

from typing import Any

import pytest
import stripe

pytestmark = pytest.mark.slow

DAY_S = 86_400


async def trial(sandbox: Any, end: str) -> Any:
    session = await sandbox.open_checkout(
        customer=(await sandbox.customer()).id,
        payment_method_collection="if_required",
        subscription_data={
            "trial_period_days": 7,
            "trial_settings": {"end_behavior": {"missing_payment_method": end}},
        },
    )
    assert (await sandbox.pay(session, "")).status_code == 303
    done = await sandbox.v1.checkout.sessions.retrieve_async(session.id)
    assert done.payment_status == "no_payment_required"
    subscription = await sandbox.subscription(done.subscription)
    assert (subscription.status, subscription.default_payment_method) == ("trialing", None)
    return subscription


async def test_a_page_that_asks_for_a_card_takes_no_submission_without_one(sandbox: Any) -> None:
    for fields in ({}, {"payment_method_collection": "if_required"}):
        assert (await sandbox.pay(await sandbox.open_checkout(**fields), "")).status_code == 402


@pytest.mark.parametrize(
    ("end", "status", "event"),
    [
        ("pause", "paused", "customer.subscription.paused"),
        ("cancel", "canceled", "customer.subscription.deleted"),
        ("create_invoice", "past_due", "invoice.payment_failed"),
    ],
)
async def test_a_trial_that_ends_without_a_card_does_what_was_asked(
    sandbox: Any, end: str, status: str, event: str
) -> None:
    subscription = await trial(sandbox, end)
    await sandbox.advance(7 * DAY_S + 3_700)
    assert (await sandbox.subscription(subscription.id)).status == status
    assert event in {one.type for one in await sandbox.events()}


async def test_a_paused_subscription_is_resumed_with_a_card_and_a_period_of_its_own(sandbox: Any) -> None:
    subscription = await trial(sandbox, "pause")
    await sandbox.advance(20 * DAY_S)
    with pytest.raises(stripe.InvalidRequestError):
        await sandbox.v1.subscriptions.resume_async(subscription.id, {"billing_cycle_anchor": {"type": "now"}})
    assert (await sandbox.subscription(subscription.id)).status == "paused"
    method = await sandbox.v1.payment_methods.attach_async("pm_card_visa", {"customer": subscription.customer})
    await sandbox.v1.subscriptions.update_async(subscription.id, {"default_payment_method": method.id})
    resumed = await sandbox.v1.subscriptions.resume_async(subscription.id, {"billing_cycle_anchor": {"type": "now"}})
    assert resumed.status == "active"
    assert resumed["items"].data[0].current_period_start == resumed.billing_cycle_anchor
    assert (await sandbox.events())[-1].type == "customer.subscription.resumed"


async def test_a_trial_with_a_card_on_file_goes_on(sandbox: Any) -> None:
    subscription = await trial(sandbox, "pause")
    method = await sandbox.v1.payment_methods.attach_async("pm_card_visa", {"customer": subscription.customer})
    await sandbox.v1.subscriptions.update_async(subscription.id, {"default_payment_method": method.id})
    await sandbox.advance(8 * DAY_S)
    assert (await sandbox.subscription(subscription.id)).status == "active"
