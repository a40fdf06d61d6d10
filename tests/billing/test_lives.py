"""Lives of subscriptions that are neither plainly paid nor plainly over, played against the sandbox."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from gateway.core.access import decide_access
from gateway.core.access_value import Access
from gateway.core.policy import Standing
from gateway.sync import PlanChanges

DAY = 86_400
FAILS_LATER = "4000000000000341"
ARRIVES_LATER = "000123456789"
NEVER_ARRIVES = "000111111113"


async def access(shop: Any, customer_id: str, **lines: Standing) -> Access:
    account = await shop.ledger.load_account(customer_id)
    policy = replace(shop.sync.policy, lifecycle=shop.sync.policy.lifecycle | lines)
    return decide_access(account, policy, shop.sandbox.clock.now())


async def tier(shop: Any, customer_id: str) -> str | None:
    granted = (await access(shop, customer_id)).tier
    return None if granted is None else granted.name


async def flags(shop: Any, customer_id: str) -> list[str]:
    return [flag for flag, _ in (await shop.load(customer_id)).flags]


async def test_a_delayed_payment_buys_nothing_until_it_arrives(shop: Any) -> None:
    customer_id = await shop.buyer("pro-monthly", ARRIVES_LATER)
    assert (await shop.load(customer_id)).status == "active"
    assert (await flags(shop, customer_id), await tier(shop, customer_id)) == (["first_payment_pending"], "free")
    await shop.sandbox.control("clock/advance", seconds=4 * DAY + 60)
    await shop.settle()
    assert (await flags(shop, customer_id), await tier(shop, customer_id)) == ([], "pro")


async def test_a_delayed_payment_that_fails_brings_no_days_of_grace(shop: Any) -> None:
    customer_id = await shop.buyer("pro-monthly", NEVER_ARRIVES)
    await shop.sandbox.control("clock/advance", seconds=4 * DAY + 60)
    await shop.settle()
    assert (await shop.load(customer_id)).status == "past_due"
    assert await tier(shop, customer_id) == "free"


async def test_a_renewal_that_takes_days_keeps_the_tier(shop: Any) -> None:
    customer_id = await shop.buyer("pro-monthly", ARRIVES_LATER)
    await shop.sandbox.control("clock/advance", seconds=32 * DAY)
    await shop.settle()
    assert (await flags(shop, customer_id), await tier(shop, customer_id)) == ([], "pro")


async def test_a_pause_of_collection_keeps_the_tier_unless_policy_says_otherwise(shop: Any) -> None:
    customer_id = await shop.buyer("pro-monthly")
    subscription_id = (await shop.load(customer_id)).subscription_id
    update = shop.sandbox.stripe.v1.subscriptions.update_async
    await update(subscription_id, {"pause_collection": {"behavior": "void"}})
    await shop.settle()
    assert (await flags(shop, customer_id), await tier(shop, customer_id)) == (["pause_collection_void"], "pro")
    strict = await access(
        shop, customer_id, pause_collection_void=Standing(keep_s=0, then=None, refusal="payment-required")
    )
    assert (strict.tier, strict.refusal) == (None, "payment-required")
    await update(subscription_id, {"pause_collection": ""})
    await shop.settle()
    assert await flags(shop, customer_id) == []


async def test_a_change_that_waits_keeps_the_old_plan_until_it_is_given_up(shop: Any) -> None:
    customer_id = await shop.buyer("pro-monthly", FAILS_LATER)
    changes = PlanChanges(sync=shop.sync, clock=shop.sandbox.clock)
    assert (await changes.apply(customer_id, "pro-yearly", actor="customer")).result.is_pending
    assert await flags(shop, customer_id) == ["pending_update"]
    assert (await shop.load(customer_id)).plan_id == "pro-monthly"
    await shop.sandbox.control("clock/advance", seconds=DAY)
    await shop.settle()
    assert (await flags(shop, customer_id), (await shop.load(customer_id)).plan_id) == ([], "pro-monthly")


async def test_a_trial_that_ends_without_a_card_is_paused_and_can_be_resumed(shop: Any) -> None:
    customer_id = await shop.new_customer()
    row = await shop.ledger.find_customer(customer_id)
    v1 = shop.sandbox.stripe.v1
    trial = await v1.subscriptions.create_async(
        {
            "customer": row.stripe_customer_id,
            "items": [{"price": "price_pro_monthly"}],
            "trial_period_days": 5,
            "trial_settings": {"end_behavior": {"missing_payment_method": "pause"}},
        }
    )
    await shop.settle()
    assert (await shop.load(customer_id)).status == "trialing"
    assert await tier(shop, customer_id) == "pro"
    await shop.sandbox.control("clock/advance", seconds=6 * DAY)
    await shop.settle()
    assert (await shop.load(customer_id)).status == "paused"
    refuse = Standing(keep_s=0, then=None, refusal="payment-required")
    assert (await access(shop, customer_id, paused=refuse)).refusal == "payment-required"
    method = await v1.payment_methods.attach_async("pm_card_visa", {"customer": row.stripe_customer_id})
    await v1.subscriptions.update_async(trial.id, {"default_payment_method": method.id})
    await v1.subscriptions.resume_async(trial.id, {"billing_cycle_anchor": {"type": "now"}})
    await shop.settle()
    assert (await shop.load(customer_id)).status == "active"
    assert await tier(shop, customer_id) == "pro"


async def test_a_customer_deleted_at_stripe_loses_its_tier(shop: Any) -> None:
    customer_id = await shop.buyer("pro-monthly")
    row = await shop.ledger.find_customer(customer_id)
    await shop.sandbox.stripe.v1.customers.delete_async(row.stripe_customer_id)
    await shop.settle()
    assert (await shop.load(customer_id)).status == "canceled"
    assert await tier(shop, customer_id) == "free"
