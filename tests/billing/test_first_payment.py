"""A first payment that takes days: until it is there nothing is had for it, whatever becomes of the subscription."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from gateway.core.access import decide_access
from gateway.core.errors import PaymentRequired
from gateway.core.policy import Standing
from gateway.sync import NoSubscription, PlanChanges
from gateway.sync.portal_flows import portal_flow
from tests.billing.conftest import bill_later
from tests.billing.test_trial_changes import trying

pytestmark = pytest.mark.slow

DAY = 86_400
ARRIVES_LATER = "000123456789"
FAILS_LATER = "4000000000000341"
NEVER_ARRIVES = "000111111113"


async def tier(shop: Any, customer_id: str) -> str | None:
    access = decide_access(await shop.ledger.load_account(customer_id), shop.sync.policy, shop.sandbox.clock.now())
    return None if access.tier is None else access.tier.name


async def flags(shop: Any, customer_id: str) -> list[str]:
    return [flag for flag, _ in (await shop.load(customer_id)).flags]


@pytest.mark.parametrize("plan_id", ["pro-yearly", "enterprise-monthly"])
async def test_no_plan_is_changed_before_the_first_one_is_paid(shop: Any, plan_id: str) -> None:
    customer_id = await shop.buyer("pro-monthly", ARRIVES_LATER)
    bill_later(shop)  # no change waits for a bank debit
    changes = PlanChanges(sync=shop.sync, clock=shop.sandbox.clock)
    with pytest.raises(PaymentRequired, match="first payment"):
        await changes.preview(customer_id, plan_id)
    with pytest.raises(PaymentRequired, match="first payment"):
        await changes.apply(customer_id, plan_id, actor="customer")
    for flow in ("subscription_update", "subscription_update_confirm"):
        with pytest.raises(PaymentRequired, match="first payment"):
            await portal_flow(shop.sync, customer_id, flow, "https://api.example.com/done", plan_id)
    await shop.settle()
    assert (await flags(shop, customer_id), await tier(shop, customer_id)) == (["first_payment_pending"], "free")
    await shop.sandbox.control("clock/advance", seconds=4 * DAY + 60)
    await shop.settle()
    assert (await changes.apply(customer_id, "enterprise-monthly", actor="customer")).plan_id == "enterprise-monthly"


async def test_a_change_that_was_made_elsewhere_does_not_pay_for_the_first_period(shop: Any) -> None:
    customer_id = await shop.buyer("pro-monthly", ARRIVES_LATER)
    v1, subscription_id = shop.sandbox.stripe.v1, (await shop.load(customer_id)).subscription_id
    (item,) = (await v1.subscriptions.retrieve_async(subscription_id))["items"].data
    change = {"items": [{"id": item.id, "price": "price_pro_yearly"}]}
    changed = await v1.subscriptions.update_async(subscription_id, {**change, "expand": ["latest_invoice"]})
    assert changed.latest_invoice.billing_reason == "subscription_update"
    await shop.settle()
    assert "first_payment_pending" in await flags(shop, customer_id)
    assert await tier(shop, customer_id) == "free"
    await shop.sandbox.control("clock/advance", seconds=4 * DAY + 60)
    await shop.settle()
    assert (await flags(shop, customer_id), await tier(shop, customer_id)) == ([], "pro")


async def test_whoever_has_not_paid_yet_is_told_where(shop: Any) -> None:
    customer_id = await shop.buyer("pro-monthly", ARRIVES_LATER)
    subscription_id = (await shop.load(customer_id)).subscription_id
    found = await shop.sandbox.stripe.v1.invoices.list_async({"subscription": subscription_id})
    [first] = found.data
    changes = PlanChanges(sync=shop.sync, clock=shop.sandbox.clock)
    with pytest.raises(PaymentRequired) as refused:
        await changes.preview(customer_id, "enterprise-monthly")
    assert refused.value.payment_url == first.hosted_invoice_url is not None
    with pytest.raises(PaymentRequired) as refused:
        await portal_flow(shop.sync, customer_id, "subscription_update", "https://api.example.com/done")
    assert refused.value.payment_url == first.hosted_invoice_url


async def test_whoever_owes_for_a_renewal_is_told_where(shop: Any) -> None:
    customer_id = await shop.buyer("pro-monthly", FAILS_LATER)
    recorded = await shop.load(customer_id)
    await shop.sandbox.control("clock/advance", until=recorded.period_ends_at + 2 * 3600)
    await shop.settle()
    found = await shop.sandbox.stripe.v1.invoices.list_async({"subscription": recorded.subscription_id})
    with pytest.raises(PaymentRequired, match="is due") as refused:
        await PlanChanges(sync=shop.sync, clock=shop.sandbox.clock).preview(customer_id, "enterprise-monthly")
    assert refused.value.payment_url == found.data[0].hosted_invoice_url is not None


async def test_a_subscription_whose_first_payment_was_not_made_leads_to_its_invoice(shop: Any) -> None:
    customer_id = await shop.new_customer()
    row = await shop.ledger.find_customer(customer_id)
    made = await shop.sandbox.stripe.v1.subscriptions.create_async(
        {
            "customer": row.stripe_customer_id,
            "items": [{"price": "price_pro_monthly"}],
            "payment_behavior": "default_incomplete",
            "expand": ["latest_invoice"],
        }
    )
    await shop.settle()
    assert (await shop.load(customer_id)).status == made.status == "incomplete"
    changes = PlanChanges(sync=shop.sync, clock=shop.sandbox.clock)
    for act in (
        changes.preview(customer_id, "enterprise-monthly"),
        changes.apply(customer_id, "enterprise-monthly", actor="customer"),
        portal_flow(shop.sync, customer_id, "subscription_update", "https://api.example.com/done"),
    ):
        with pytest.raises(PaymentRequired, match="was not made") as refused:
            await act
        assert refused.value.payment_url == made.latest_invoice.hosted_invoice_url is not None
    await shop.sandbox.control("clock/advance", seconds=23 * 3600 + 60)
    await shop.settle()
    with pytest.raises(NoSubscription):
        await changes.preview(customer_id, "enterprise-monthly")


@pytest.mark.parametrize("method", ["pm_usBankAccount_success", "pm_usBankAccount_insufficientFunds"])
async def test_after_a_trial_the_plan_goes_on_and_no_other_is_had_before_it_is_paid(shop: Any, method: str) -> None:
    customer_id = await trying(shop, card=True, method=method)
    assert (await flags(shop, customer_id), await tier(shop, customer_id)) == ([], "pro")
    await shop.sandbox.control("clock/advance", seconds=14 * DAY + 2 * 3600)
    await shop.settle()
    assert (await shop.load(customer_id)).status == "active"
    assert (await flags(shop, customer_id), await tier(shop, customer_id)) == ([], "pro")
    changes = PlanChanges(sync=shop.sync, clock=shop.sandbox.clock)
    with pytest.raises(PaymentRequired, match="first payment"):
        await changes.apply(customer_id, "enterprise-monthly", actor="customer")
    await shop.sandbox.control("clock/advance", seconds=5 * DAY)
    await shop.settle()
    arrived = method == "pm_usBankAccount_success"
    record = await shop.load(customer_id)
    assert record.status == ("active" if arrived else "past_due")
    assert await tier(shop, customer_id) == "pro", "policy says how long it is kept after a payment that failed"


async def test_a_change_within_a_trial_that_waits_for_its_payment_leaves_the_trial_its_tier(shop: Any) -> None:
    customer_id = await trying(shop, card=False)
    await PlanChanges(sync=shop.sync, clock=shop.sandbox.clock).apply(
        customer_id, "enterprise-monthly", actor="customer"
    )
    await shop.settle()
    assert (await flags(shop, customer_id), await tier(shop, customer_id)) == (["pending_update"], "pro")
    row = await shop.ledger.find_customer(customer_id)
    (facts,) = (await shop.billing.facts.fetch_subscriptions(row.stripe_customer_id)).subscriptions
    assert not facts.first_payment_missing


async def test_a_first_payment_that_never_came_is_owed_in_later_periods_too(shop: Any) -> None:
    await shop.sandbox.control("rules", final_action="unpaid")
    customer_id = await shop.buyer("pro-monthly", "000111111113")
    await shop.sandbox.control("clock/advance", seconds=70 * DAY)
    await shop.settle()
    record = await shop.load(customer_id)
    assert record.status == "unpaid"
    assert record.period_starts_at - record.anchor_at > 28 * DAY
    assert "first_payment_pending" in await flags(shop, customer_id)


async def test_a_renewal_that_takes_days_is_no_first_payment(shop: Any) -> None:
    customer_id = await shop.buyer("pro-monthly", ARRIVES_LATER)
    await shop.sandbox.control("clock/advance", until=(await shop.load(customer_id)).period_ends_at + 2 * 3600)
    await shop.settle()
    row = await shop.ledger.find_customer(customer_id)
    found = await shop.sandbox.stripe.v1.invoices.list_async({"customer": row.stripe_customer_id})
    assert [one.status for one in found.data] == ["open", "paid"]
    assert (await flags(shop, customer_id), await tier(shop, customer_id)) == ([], "pro")


async def fail_first(shop: Any, plan_id: str = "enterprise-monthly") -> tuple[str, Any]:
    """A customer whose bank refused the first debit, and its subscription with the invoice of that."""
    customer_id = await shop.buyer(plan_id, NEVER_ARRIVES)
    await shop.sandbox.control("clock/advance", seconds=4 * DAY + 60)
    await shop.settle()
    return customer_id, await subscription_of(shop, customer_id)


async def subscription_of(shop: Any, customer_id: str) -> Any:
    recorded = await shop.load(customer_id)
    expand = {"expand": ["latest_invoice"]}
    return await shop.sandbox.stripe.v1.subscriptions.retrieve_async(recorded.subscription_id, expand)


async def give_up(shop: Any, invoice_id: str, way: str) -> None:
    invoices = shop.sandbox.stripe.v1.invoices
    await (invoices.void_invoice_async if way == "void" else invoices.mark_uncollectible_async)(invoice_id)
    await shop.settle()


@pytest.mark.parametrize("way", ["void", "uncollectible"])
async def test_a_first_payment_that_was_given_up_buys_nothing_though_stripe_calls_it_active(
    shop: Any, way: str
) -> None:
    customer_id, subscription = await fail_first(shop)
    await give_up(shop, subscription.latest_invoice.id, way)
    after = await subscription_of(shop, customer_id)
    assert (after.status, after.latest_invoice.status, after.latest_invoice.amount_paid) == ("active", way, 0)
    assert (await flags(shop, customer_id), await tier(shop, customer_id)) == (["first_payment_pending"], "free")
    with pytest.raises(PaymentRequired) as refused:
        await PlanChanges(sync=shop.sync, clock=shop.sandbox.clock).preview(customer_id, "pro-monthly")
    can_be_paid = way == "uncollectible"
    assert (refused.value.payment_url is not None) == can_be_paid
    assert ("given up" in str(refused.value)) != can_be_paid


async def test_a_first_invoice_that_was_written_off_and_is_paid_later_buys_what_it_is_for(shop: Any) -> None:
    customer_id, subscription = await fail_first(shop)
    await give_up(shop, subscription.latest_invoice.id, "uncollectible")
    await shop.sandbox.stripe.v1.invoices.pay_async(subscription.latest_invoice.id, {"paid_out_of_band": True})
    await shop.settle()
    assert (await flags(shop, customer_id), await tier(shop, customer_id)) == ([], "enterprise")


@pytest.mark.parametrize("way", ["void", "uncollectible"])
async def test_a_first_payment_that_was_given_up_is_made_up_for_by_the_next_renewal(shop: Any, way: str) -> None:
    customer_id, subscription = await fail_first(shop)
    await give_up(shop, subscription.latest_invoice.id, way)
    v1 = shop.sandbox.stripe.v1
    card = await v1.payment_methods.attach_async("pm_card_visa", {"customer": subscription.customer})
    await v1.subscriptions.update_async(subscription.id, {"default_payment_method": card.id})
    renews_at = (await shop.load(customer_id)).period_ends_at
    await shop.sandbox.control("clock/advance", until=renews_at + 60)
    await shop.settle()
    assert (await subscription_of(shop, customer_id)).latest_invoice.status == "draft"
    assert await tier(shop, customer_id) == "free", "its invoice is a draft: nothing is paid yet"
    await shop.sandbox.control("clock/advance", until=renews_at + 2 * 3600)
    await shop.settle()
    assert (await flags(shop, customer_id), await tier(shop, customer_id)) == ([], "enterprise")
    await shop.sandbox.control("clock/advance", until=(await shop.load(customer_id)).period_ends_at + 60)
    await shop.settle()
    assert (await subscription_of(shop, customer_id)).latest_invoice.status == "draft"
    assert (await flags(shop, customer_id), await tier(shop, customer_id)) == ([], "enterprise")


async def test_a_credit_for_what_was_never_paid_pays_for_no_renewal(shop: Any) -> None:
    customer_id, subscription = await fail_first(shop)
    await give_up(shop, subscription.latest_invoice.id, "void")
    v1 = shop.sandbox.stripe.v1
    items = [{"id": subscription["items"].data[0].id, "price": "price_pro_monthly"}]
    await v1.subscriptions.update_async(subscription.id, {"items": items, "proration_behavior": "create_prorations"})
    await shop.sandbox.control("clock/advance", seconds=70 * DAY)
    await shop.settle()
    found = await v1.invoices.list_async({"subscription": subscription.id})
    assert [(one.status, one.amount_paid) for one in found.data] == [("paid", 0), ("paid", 0), ("void", 0)]
    assert (await flags(shop, customer_id), await tier(shop, customer_id)) == (["first_payment_pending"], "free")


@pytest.mark.parametrize("way", ["void", "uncollectible"])
async def test_whoever_paid_once_keeps_the_tier_when_a_renewal_is_given_up(shop: Any, way: str) -> None:
    customer_id = await shop.buyer("pro-monthly", FAILS_LATER)
    await shop.sandbox.control("clock/advance", until=(await shop.load(customer_id)).period_ends_at + 2 * 3600)
    await shop.settle()
    due = await subscription_of(shop, customer_id)
    assert due.status == "past_due"
    await give_up(shop, due.latest_invoice.id, way)
    assert (await subscription_of(shop, customer_id)).status == "active"
    assert (await flags(shop, customer_id), await tier(shop, customer_id)) == ([], "pro")


@pytest.mark.parametrize("way", ["open", "void", "uncollectible"])
async def test_what_was_never_paid_is_not_kept_when_it_is_cancelled(shop: Any, held_policy: Any, way: str) -> None:
    customer_id, subscription = await fail_first(shop)
    if way != "open":
        await give_up(shop, subscription.latest_invoice.id, way)
    keep = Standing(keep_s=3 * DAY, then="free", refusal="subscription-required")
    held_policy.current = replace(shop.sync.policy, lifecycle=shop.sync.policy.lifecycle | {"canceled": keep})
    await shop.sandbox.stripe.v1.subscriptions.cancel_async(subscription.id)
    await shop.settle()
    assert (await shop.load(customer_id)).status == "canceled"
    with pytest.raises(NoSubscription):
        await PlanChanges(sync=shop.sync, clock=shop.sandbox.clock).preview(customer_id, "pro-monthly")
    assert (await flags(shop, customer_id), await tier(shop, customer_id)) == (["first_payment_pending"], "free")


async def test_nothing_is_asked_about_what_is_over_where_nothing_is_kept(shop: Any) -> None:
    customer_id, subscription = await fail_first(shop)
    await shop.sandbox.stripe.v1.subscriptions.cancel_async(subscription.id)
    await shop.settle()
    assert (await shop.load(customer_id)).status == "canceled"
    assert (await flags(shop, customer_id), await tier(shop, customer_id)) == ([], "free")


async def test_what_was_paid_is_kept_after_it_is_cancelled_as_policy_says(shop: Any, held_policy: Any) -> None:
    customer_id = await shop.buyer("pro-monthly")
    keep = Standing(keep_s=3 * DAY, then="free", refusal="subscription-required")
    held_policy.current = replace(shop.sync.policy, lifecycle=shop.sync.policy.lifecycle | {"canceled": keep})
    await shop.sandbox.stripe.v1.subscriptions.cancel_async((await shop.load(customer_id)).subscription_id)
    await shop.settle()
    assert (await flags(shop, customer_id), await tier(shop, customer_id)) == ([], "pro")
