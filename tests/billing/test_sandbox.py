"""The billing half of a gateway against the Stripe simulator: the real SDK, real webhooks, a test clock."""

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from gateway.core.access import decide_access
from gateway.core.errors import BillingRefused, PaymentRequired
from gateway.core.policy import Standing
from gateway.sync import NoSubscription, PlanChanges, SubscriptionEnding, UnknownPlan
from tests.billing.conftest import bill_later

pytestmark = pytest.mark.slow

DAY = 86_400
FAILS_LATER = "4000000000000341"


def changes_of(shop: Any) -> PlanChanges:
    return PlanChanges(sync=shop.sync, clock=shop.sandbox.clock)


async def granted(shop: Any, customer_id: str) -> str | None:
    account = await shop.ledger.load_account(customer_id)
    access = decide_access(account, shop.sync.policy, shop.sandbox.clock.now())
    return None if access.tier is None else access.tier.name


async def test_a_paid_checkout_grants_its_plan(shop: Any) -> None:
    customer_id = await shop.buyer("pro-monthly")
    recorded = await shop.load(customer_id)
    assert (recorded.status, recorded.plan_id, recorded.cancel_at) == ("active", "pro-monthly", None)
    assert 28 * DAY <= recorded.period_ends_at - recorded.period_starts_at <= 31 * DAY
    assert await granted(shop, customer_id) == "pro"
    assert "stored" in shop.fates


async def test_a_checkout_says_whose_it_is(shop: Any) -> None:
    customer_id = await shop.new_customer()
    link = await shop.checkout(customer_id, "pro-yearly")
    facts = await shop.billing.fetch_checkout(link.session_id)
    assert facts is not None
    assert (facts.customer_id, facts.client_reference_id, facts.plan_id) == (customer_id, customer_id, "pro-yearly")
    assert (facts.status, facts.payment_status, facts.subscription_id) == ("open", "unpaid", None)
    assert facts.expires_at == link.expires_at
    await shop.sandbox.pay(link.url)
    paid = await shop.billing.fetch_checkout(link.session_id)
    assert (paid.status, paid.payment_status) == ("complete", "paid")
    assert paid.subscription_id is not None


async def test_an_unknown_checkout_is_nothing(shop: Any) -> None:
    assert await shop.billing.fetch_checkout("cs_test_nothing") is None


async def test_one_of_our_customers_is_one_stripe_customer_however_often_it_is_made(shop: Any) -> None:
    made = await asyncio.gather(*(shop.billing.create_customer("twice0000001", "u") for _ in range(5)))
    assert len(set(made)) == 1


async def test_a_declined_card_buys_nothing(shop: Any) -> None:
    customer_id = await shop.new_customer()
    answer = await shop.sandbox.pay((await shop.checkout(customer_id)).url, "4000000000009995")
    assert answer.status_code == 402
    await shop.settle()
    assert await granted(shop, customer_id) == "free"


async def test_an_upgrade_costs_what_was_previewed_and_holds_at_once(shop: Any, published: list[str]) -> None:
    customer_id = await shop.buyer("pro-monthly")
    bill_later(shop)
    preview = (await changes_of(shop).preview(customer_id, "enterprise-monthly")).cost
    assert preview.prorated > 0
    assert preview.next_invoice > preview.prorated
    published.clear()
    changed = await changes_of(shop).apply(customer_id, "enterprise-monthly", actor="customer")
    assert (changed.result.is_pending, changed.is_recorded) == (False, True)
    assert await granted(shop, customer_id) == "enterprise"
    assert published == [customer_id]
    again = (await changes_of(shop).preview(customer_id, "enterprise-monthly")).cost
    assert again.next_invoice == preview.next_invoice


async def test_a_preview_tells_what_this_change_costs_whatever_else_waits_for_the_invoice(shop: Any) -> None:
    customer_id = await shop.buyer("pro-monthly")
    first = (await changes_of(shop).preview(customer_id, "enterprise-monthly")).cost
    for plan_id in ("enterprise-monthly", "pro-monthly"):
        await changes_of(shop).apply(customer_id, plan_id, actor="customer")
        await shop.sandbox.control("clock/advance", seconds=3600)
    again = (await changes_of(shop).preview(customer_id, "enterprise-monthly")).cost
    assert 0.98 * first.prorated < again.prorated < first.prorated


async def test_an_hour_on_a_higher_tier_is_paid_for_and_a_change_made_twice_is_made_once(shop: Any) -> None:
    customer_id = await shop.buyer("pro-monthly")
    bill_later(shop)
    preview = (await changes_of(shop).preview(customer_id, "pro-yearly")).cost
    for _ in range(2):
        await changes_of(shop).apply(customer_id, "enterprise-monthly", actor="customer")
    await shop.sandbox.control("clock/advance", seconds=3600)
    await changes_of(shop).apply(customer_id, "pro-monthly", actor="customer")
    due = (await changes_of(shop).preview(customer_id, "pro-yearly")).cost.next_invoice - preview.next_invoice
    an_hour = (49_900 - 2_900) / (31 * 24)
    assert 0.5 * an_hour < due < 3 * an_hour


async def test_a_downgrade_is_a_credit_and_keeps_the_period(shop: Any) -> None:
    customer_id = await shop.buyer("enterprise-monthly")
    before = await shop.load(customer_id)
    preview = (await changes_of(shop).preview(customer_id, "pro-monthly")).cost
    assert preview.prorated < 0
    assert preview.prorated_text.startswith("-")
    await changes_of(shop).apply(customer_id, "pro-monthly", actor="customer")
    after = await shop.load(customer_id)
    assert (after.plan_id, after.period_starts_at) == ("pro-monthly", before.period_starts_at)


async def test_a_change_that_must_be_paid_at_once_and_is_not_leaves_the_old_plan(shop: Any) -> None:
    customer_id = await shop.buyer("pro-monthly", FAILS_LATER)
    changed = await changes_of(shop).apply(customer_id, "pro-yearly", actor="customer")
    assert changed.result.is_pending is True
    assert changed.result.payment_url is not None
    await shop.settle()
    recorded = await shop.load(customer_id)
    assert (recorded.plan_id, recorded.status) == ("pro-monthly", "active")


async def test_a_change_needs_a_plan_and_a_running_subscription(shop: Any) -> None:
    customer_id = await shop.new_customer()
    with pytest.raises(UnknownPlan):
        await changes_of(shop).preview(customer_id, "gold")
    with pytest.raises(NoSubscription):
        await changes_of(shop).preview(customer_id, "pro-monthly")


async def test_a_plan_without_a_price_is_not_sold(shop: Any, held_policy: Any) -> None:
    customer_id = await shop.new_customer()
    lost = held_policy.current.plans["pro-monthly"]
    object.__setattr__(lost, "lookup_key", "no_such_key")
    with pytest.raises(BillingRefused, match="no price for sale"):
        await shop.checkout(customer_id, "pro-monthly")


async def test_a_failed_renewal_is_grace_then_fallback_then_back_when_it_is_paid(shop: Any) -> None:
    customer_id = await shop.buyer("pro-monthly", FAILS_LATER)
    await shop.sandbox.control("clock/advance", seconds=32 * DAY)
    await shop.settle()
    late = await shop.load(customer_id)
    assert late.status == "past_due"
    assert late.past_due_since is not None
    assert await granted(shop, customer_id) == "pro"
    with pytest.raises(PaymentRequired):
        await changes_of(shop).preview(customer_id, "enterprise-monthly")
    await shop.sandbox.control("clock/advance", seconds=8 * DAY)
    assert await granted(shop, customer_id) == "free"
    await shop.settle()
    assert (await shop.load(customer_id)).past_due_since == late.past_due_since
    await pay_what_is_due(shop, customer_id)
    await shop.settle()
    paid = await shop.load(customer_id)
    assert (paid.status, paid.past_due_since) == ("active", None)
    assert await granted(shop, customer_id) == "pro"


async def test_a_cancelled_subscription_keeps_its_tier_until_it_ends(shop: Any) -> None:
    customer_id = await shop.buyer("pro-monthly")
    subscription_id = (await shop.load(customer_id)).subscription_id
    await shop.sandbox.stripe.v1.subscriptions.update_async(subscription_id, {"cancel_at_period_end": True})
    await shop.settle()
    ending = await shop.load(customer_id)
    assert ending.cancel_at == ending.period_ends_at
    assert await granted(shop, customer_id) == "pro"
    with pytest.raises(SubscriptionEnding):
        await changes_of(shop).preview(customer_id, "enterprise-monthly")
    await shop.sandbox.control("clock/advance", seconds=32 * DAY)
    await shop.settle()
    assert (await shop.load(customer_id)).status == "canceled"
    assert await granted(shop, customer_id) == "free"


async def test_a_deleted_customer_has_no_plan(shop: Any) -> None:
    customer_id = await shop.buyer("pro-monthly")
    row = await shop.ledger.find_customer(customer_id)
    await shop.sandbox.stripe.v1.customers.delete_async(row.stripe_customer_id)
    await shop.settle()
    assert await granted(shop, customer_id) == "free"


@pytest.mark.parametrize("order", ["reverse", "shuffle"])
async def test_events_delivered_twice_and_out_of_order_end_in_the_same_state(shop: Any, order: str) -> None:
    await shop.sandbox.control("faults", duplicate=1, order=order)
    customer_id = await shop.buyer("pro-monthly")
    await changes_of(shop).apply(customer_id, "enterprise-monthly", actor="customer")
    subscription_id = (await shop.load(customer_id)).subscription_id
    await shop.sandbox.stripe.v1.subscriptions.cancel_async(subscription_id)
    await shop.settle()
    assert (await shop.load(customer_id)).status == "canceled"
    assert "duplicate" in shop.fates


async def test_events_that_were_never_delivered_are_swept_up(shop: Any) -> None:
    await shop.sandbox.control("faults", drop=["*"])
    customer_id = await shop.buyer("pro-monthly")
    assert await shop.ledger.load_subscription(customer_id) is None
    assert await shop.worker.sweep() > 0
    await shop.settle()
    assert await granted(shop, customer_id) == "pro"


async def test_an_answer_that_a_slow_network_holds_back_never_wins(shop: Any, slow_billing: Any) -> None:
    customer_id = await shop.buyer("pro-monthly")
    slow_sync, reached, release = slow_billing
    older = asyncio.create_task(slow_sync(shop).sync_customer(customer_id, "slow"))
    await reached.wait()
    await changes_of(shop).apply(customer_id, "enterprise-monthly", actor="customer")
    release.set()
    assert (await older).result == "superseded"
    assert await granted(shop, customer_id) == "enterprise"


async def test_prices_are_read_once_and_read_again_when_forgotten(shop: Any) -> None:
    plans = shop.sync.policy.plans.values()
    prices = await shop.billing.fetch_prices(plans)
    assert {name: price.amount_text for name, price in prices.items()} == {
        "pro-monthly": "29.00 USD",
        "pro-yearly": "290.00 USD",
        "enterprise-monthly": "499.00 USD",
    }
    assert (prices["pro-yearly"].interval, prices["pro-yearly"].product_name) == ("year", "Pro")
    await shop.sandbox.control("faults", api=[{"path": "/v1/prices", "status": 503, "times": 100}])
    assert await shop.billing.fetch_prices(plans) == prices
    shop.billing.forget_prices()
    assert await shop.billing.fetch_prices(plans) == prices


async def test_a_price_id_in_policy_is_read_too(shop: Any, held_policy: Any) -> None:
    plan = held_policy.current.plans["pro-monthly"]
    object.__setattr__(plan, "lookup_key", None)
    object.__setattr__(plan, "price_id", "price_pro_monthly")
    assert (await shop.billing.fetch_prices([plan]))["pro-monthly"].amount == 2900
    object.__setattr__(plan, "price_id", "price_nothing")
    assert await shop.billing.fetch_prices([plan]) == {}


async def test_the_portal_has_an_address(shop: Any) -> None:
    customer_id = await shop.new_customer()
    row = await shop.ledger.find_customer(customer_id)
    address = await shop.billing.create_portal_session(row.stripe_customer_id, "http://localhost/account")
    assert address.startswith("http")


async def test_the_account_is_described_for_the_doctor(shop: Any) -> None:
    report = await shop.billing.describe()
    assert report.refused == {}
    assert report.is_live is False
    assert report.account_id is not None
    assert [endpoint.missing_types for endpoint in report.endpoints] == [()]
    assert report.endpoints[0].url.endswith("/webhook")


async def pay_what_is_due(shop: Any, customer_id: str) -> None:
    row = await shop.ledger.find_customer(customer_id)
    v1 = shop.sandbox.stripe.v1
    await v1.payment_methods.attach_async("pm_card_visa", {"customer": row.stripe_customer_id})
    methods = await v1.customers.payment_methods.list_async(row.stripe_customer_id)
    newest = methods.data[0].id
    await v1.customers.update_async(row.stripe_customer_id, {"invoice_settings": {"default_payment_method": newest}})
    for invoice in (await v1.invoices.list_async({"customer": row.stripe_customer_id, "status": "open"})).data:
        await v1.invoices.pay_async(invoice.id, {"payment_method": newest})


async def test_a_dispute_suspends_where_policy_says_so_until_it_is_over(shop: Any) -> None:
    customer_id = await shop.buyer("pro-monthly")
    row = await shop.ledger.find_customer(customer_id)
    opened = await shop.sandbox.control("disputes", customer=row.stripe_customer_id)
    await shop.settle()
    disputed = await shop.ledger.load_account(customer_id)
    assert disputed.subscription.flags == (("disputed", opened["created"]),)
    now = shop.sandbox.clock.now()
    assert decide_access(disputed, shop.sync.policy, now).standing == "good"
    suspend = Standing(keep_s=0, then=None, refusal="account-suspended")
    strict = replace(shop.sync.policy, lifecycle=shop.sync.policy.lifecycle | {"disputed": suspend})
    assert decide_access(disputed, strict, now).refusal == "account-suspended"
    await shop.sandbox.control(f"disputes/{opened['id']}", status="won")
    await shop.settle()
    assert decide_access(await shop.ledger.load_account(customer_id), strict, now).standing == "good"


async def test_a_refund_is_recorded_and_changes_no_access(shop: Any) -> None:
    customer_id = await shop.buyer("pro-monthly")
    row = await shop.ledger.find_customer(customer_id)
    charge = (await shop.sandbox.stripe.v1.charges.list_async({"customer": row.stripe_customer_id})).data[0]
    await shop.sandbox.stripe.v1.refunds.create_async({"charge": charge.id})
    await shop.settle()
    assert await granted(shop, customer_id) == "pro"
    audited = [one for one in await shop.ledger.list_audit(customer_id) if one.action == "payment-refunded"]
    assert [one.after["amount_refunded"] for one in audited] == [2_900]


async def test_of_checkouts_begun_within_one_second_the_last_one_stays_open(shop: Any) -> None:
    customer_id = await shop.new_customer()
    cus = (await shop.ledger.find_customer(customer_id)).stripe_customer_id
    for _ in range(6):
        link = await shop.checkout(customer_id)
        await shop.billing.close_checkouts(cus, but=link)
    page = await shop.sandbox.stripe.v1.checkout.sessions.list_async({"customer": cus, "status": "open"})
    assert [one.id for one in page.data] == [link.session_id]
