"""Money that is taken back: what a refund and a lost dispute do to access, where policy has a line for them."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from gateway.billing import Billing
from gateway.core.access import decide_access
from gateway.core.access_value import Access
from gateway.core.billing_facts import PaymentsAsked
from gateway.core.errors import PaymentRequired
from gateway.core.lifecycle import DISPUTE_LOST, DISPUTED, REFUNDED, TAKEN_BACK
from gateway.core.policy import Standing
from gateway.core.switching import SwitchTerms
from gateway.sync import PlanChanges, Sync, refuse_suspended
from gateway.sync.comparing import Comparing
from tests.billing.conftest import CUS, NOW, Answer, Request, StandIn, event, listed

pytestmark = pytest.mark.slow

DAY = 86_400
DOWN = Standing(keep_s=0, then="free", refusal="payment-required")
SUSPEND = Standing(keep_s=0, then=None, refusal="account-suspended")


def lines(shop: Any, **rows: Standing) -> None:
    held = shop.sync._policy
    held.current = replace(held.current, lifecycle=held.current.lifecycle | rows)


async def access(shop: Any, customer_id: str) -> Access:
    account = await shop.ledger.load_account(customer_id)
    return decide_access(account, shop.sync.policy, shop.sandbox.clock.now())


async def tier(shop: Any, customer_id: str) -> str | None:
    granted = (await access(shop, customer_id)).tier
    return None if granted is None else granted.name


async def flags(shop: Any, customer_id: str) -> list[str]:
    return [flag for flag, _ in (await shop.load(customer_id)).flags]


async def newest_charge(shop: Any, customer_id: str) -> Any:
    row = await shop.ledger.find_customer(customer_id)
    return (await shop.sandbox.stripe.v1.charges.list_async({"customer": row.stripe_customer_id})).data[0]


async def refund(shop: Any, customer_id: str, **amount: int) -> Any:
    charge = await newest_charge(shop, customer_id)
    made = await shop.sandbox.stripe.v1.refunds.create_async({"charge": charge.id, **amount})
    await shop.settle()
    return made


async def lose(shop: Any, customer_id: str) -> None:
    charge = await newest_charge(shop, customer_id)
    opened = await shop.sandbox.control("disputes", charge=charge.id)
    await shop.settle()
    await shop.sandbox.stripe.v1.disputes.close_async(opened["id"])
    await shop.settle()


async def renew(shop: Any, customer_id: str) -> None:
    ends_at = (await shop.load(customer_id)).period_ends_at
    await shop.sandbox.control("clock/advance", until=ends_at + 2 * 3600)
    await shop.settle()


async def test_a_full_refund_lowers_access_until_the_next_period_is_paid(shop: Any) -> None:
    lines(shop, refunded=DOWN)
    customer_id = await shop.buyer("pro-monthly")
    assert await tier(shop, customer_id) == "pro"
    await refund(shop, customer_id, amount=900)
    assert (await flags(shop, customer_id), await tier(shop, customer_id)) == ([], "pro")
    await refund(shop, customer_id)
    assert (await flags(shop, customer_id), await tier(shop, customer_id)) == ([REFUNDED], "free")
    told = await access(shop, customer_id)
    assert (told.standing, told.warning) == ("lapsed", "The payment for this period was refunded.")
    audited = [one.after for one in await shop.ledger.list_audit(customer_id) if one.action == "payment-refunded"]
    assert sorted(one["amount_refunded"] for one in audited) == [900, 2_900]
    await renew(shop, customer_id)
    assert (await flags(shop, customer_id), await tier(shop, customer_id)) == ([], "pro")


async def put_on_an_unmapped_price(shop: Any, customer_id: str) -> None:
    v1 = shop.sandbox.stripe.v1
    product = await v1.products.create_async({"name": "Nobody's"})
    amount = {"currency": "usd", "unit_amount": 7_700, "recurring": {"interval": "month"}}
    price = await v1.prices.create_async({"product": product.id, **amount})
    subscription_id = (await shop.load(customer_id)).subscription_id
    [item] = (await v1.subscriptions.retrieve_async(subscription_id))["items"].data
    moved = {"items": [{"id": item.id, "price": price.id}], "proration_behavior": "none"}
    await v1.subscriptions.update_async(subscription_id, moved)
    await shop.settle()


async def test_a_refund_is_written_down_also_where_the_read_it_asks_for_found_what_somebody_must_see(shop: Any) -> None:
    lines(shop, refunded=DOWN)
    customer_id = await shop.buyer()
    await put_on_an_unmapped_price(shop, customer_id)
    row, charge = await shop.ledger.find_customer(customer_id), await newest_charge(shop, customer_id)
    subject = {"id": charge.id, "object": "charge", "customer": row.stripe_customer_id}
    await shop.ledger.store_event(
        event_id="evt_refunded",
        type="charge.refunded",
        stripe_customer_id=row.stripe_customer_id,
        livemode=False,
        api_version=None,
        payload=json.dumps(event("evt_refunded", "charge.refunded", subject)),
        now=int(shop.sandbox.clock.now()),
    )
    await shop.worker.work_once()
    told = await shop.ledger.find_event("evt_refunded")
    assert (told.status, "unmapped-price" in told.error) == ("dead", True)
    audited = [one for one in await shop.ledger.list_audit(customer_id) if one.action == "payment-refunded"]
    assert [one.because for one in audited] == ["charge.refunded evt_refunded"]


async def test_who_is_refunded_is_sold_nothing_more_that_could_not_be_used_and_can_have_less(shop: Any) -> None:
    lines(shop, refunded=DOWN)
    customer_id = await shop.buyer("enterprise-monthly")
    await refund(shop, customer_id)
    changes = PlanChanges(sync=shop.sync, clock=shop.sandbox.clock)
    assert (await changes.preview(customer_id, "pro-monthly")).plan_id == "pro-monthly"
    other = await shop.buyer("pro-monthly")
    await refund(shop, other)
    with pytest.raises(PaymentRequired, match="was taken back"):
        await changes.preview(other, "enterprise-monthly")


async def test_a_fall_credits_nothing_of_a_period_whose_money_is_gone(shop: Any) -> None:
    lines(shop, refunded=DOWN)
    shop.sync._policy.current = replace(shop.sync.policy, switching=SwitchTerms(proration="now"))
    customer_id = await shop.buyer("enterprise-monthly")
    await refund(shop, customer_id)
    changes = PlanChanges(sync=shop.sync, clock=shop.sandbox.clock)
    await changes.apply(customer_id, "pro-monthly", actor="customer", when="now")
    await shop.settle()
    assert await tier(shop, customer_id) == "free"
    await renew(shop, customer_id)
    assert (await newest_charge(shop, customer_id)).amount == 2_900
    assert (await flags(shop, customer_id), await tier(shop, customer_id)) == ([], "pro")


@pytest.mark.parametrize("rows", [{DISPUTED: SUSPEND}, {DISPUTE_LOST: SUSPEND}])
async def test_a_fall_during_a_dispute_credits_nothing_that_may_be_lost(shop: Any, rows: dict[str, Standing]) -> None:
    lines(shop, **rows)
    customer_id = await shop.buyer("enterprise-monthly")
    await shop.sandbox.control("disputes", charge=(await newest_charge(shop, customer_id)).id)
    await shop.settle()
    changes = PlanChanges(sync=shop.sync, clock=shop.sandbox.clock)
    await changes.apply(customer_id, "pro-monthly", actor="customer", when="now")
    await renew(shop, customer_id)
    assert (await newest_charge(shop, customer_id)).amount == 2_900


async def test_a_refund_that_fails_gives_the_tier_back(shop: Any) -> None:
    lines(shop, refunded=DOWN)
    customer_id = await shop.buyer("pro-monthly")
    made = await refund(shop, customer_id)
    assert await tier(shop, customer_id) == "free"
    await shop.sandbox.control(f"refunds/{made.id}/fail")
    await shop.settle()
    assert (await flags(shop, customer_id), await tier(shop, customer_id)) == ([], "pro")


async def test_a_dispute_that_is_lost_suspends_until_the_next_period_is_paid(shop: Any) -> None:
    lines(shop, disputed=SUSPEND, dispute_lost=SUSPEND)
    customer_id = await shop.buyer("pro-monthly")
    await lose(shop, customer_id)
    assert await flags(shop, customer_id) == [DISPUTE_LOST]
    told = await access(shop, customer_id)
    assert (told.tier, told.standing, told.refusal) == (None, "suspended", "account-suspended")
    assert told.warning == "The payment for this period was taken back by its bank."
    with pytest.raises(PaymentRequired, match="was taken back"):
        await PlanChanges(sync=shop.sync, clock=shop.sandbox.clock).preview(customer_id, "enterprise-monthly")
    await renew(shop, customer_id)
    assert (await flags(shop, customer_id), await tier(shop, customer_id)) == ([], "pro")


async def test_a_dispute_that_is_won_loses_nothing(shop: Any) -> None:
    lines(shop, dispute_lost=SUSPEND)
    customer_id = await shop.buyer("pro-monthly")
    opened = await shop.sandbox.control("disputes", charge=(await newest_charge(shop, customer_id)).id)
    await shop.settle()
    assert (await flags(shop, customer_id), await tier(shop, customer_id)) == ([DISPUTED], "pro")
    await shop.sandbox.control(f"disputes/{opened['id']}", status="won")
    await shop.settle()
    assert (await flags(shop, customer_id), await tier(shop, customer_id)) == ([], "pro")


async def test_an_earlier_period_that_is_lost_takes_nothing_from_one_that_is_paid(shop: Any) -> None:
    lines(shop, dispute_lost=SUSPEND, refunded=DOWN)
    customer_id = await shop.buyer("pro-monthly")
    before = await newest_charge(shop, customer_id)
    await renew(shop, customer_id)
    opened = await shop.sandbox.control("disputes", charge=before.id)
    await shop.sandbox.stripe.v1.disputes.close_async(opened["id"])
    await shop.settle()
    assert (await flags(shop, customer_id), await tier(shop, customer_id)) == ([], "pro")


async def test_a_change_in_mid_period_pays_for_no_period_that_was_refunded(shop: Any) -> None:
    lines(shop, refunded=DOWN)
    customer_id = await shop.buyer("pro-monthly")
    first, subscription_id = await newest_charge(shop, customer_id), (await shop.load(customer_id)).subscription_id
    await shop.sandbox.control("clock/advance", seconds=3 * DAY)
    v1 = shop.sandbox.stripe.v1
    (item,) = (await v1.subscriptions.retrieve_async(subscription_id))["items"].data
    change = {"items": [{"id": item.id, "price": "price_enterprise_monthly"}], "proration_behavior": "always_invoice"}
    await v1.subscriptions.update_async(subscription_id, change)
    await refund(shop, customer_id)  # of what the change cost
    assert (await flags(shop, customer_id), await tier(shop, customer_id)) == ([], "enterprise")
    await v1.refunds.create_async({"charge": first.id})
    await shop.settle()
    assert (await flags(shop, customer_id), await tier(shop, customer_id)) == ([REFUNDED], "free")


async def test_a_change_that_begins_a_period_is_its_payment(shop: Any) -> None:
    lines(shop, refunded=DOWN)
    customer_id = await shop.buyer("pro-monthly")
    first, subscription_id = await newest_charge(shop, customer_id), (await shop.load(customer_id)).subscription_id
    await shop.sandbox.stripe.v1.refunds.create_async({"charge": first.id})
    await shop.settle()
    assert await tier(shop, customer_id) == "free"
    await shop.sandbox.control("clock/advance", seconds=3 * DAY)
    v1 = shop.sandbox.stripe.v1
    (item,) = (await v1.subscriptions.retrieve_async(subscription_id))["items"].data
    await v1.subscriptions.update_async(subscription_id, {"items": [{"id": item.id, "price": "price_pro_yearly"}]})
    await shop.settle()
    assert (await flags(shop, customer_id), await tier(shop, customer_id)) == ([], "pro")
    await refund(shop, customer_id)
    assert (await flags(shop, customer_id), await tier(shop, customer_id)) == ([REFUNDED], "free")


async def test_who_is_refunded_and_cancelled_has_none_of_the_days_after_the_end_and_can_buy_anew(shop: Any) -> None:
    days = Standing(keep_s=3 * DAY, then="free", refusal="subscription-required")
    lines(shop, refunded=replace(DOWN, then=None), dispute_lost=SUSPEND, canceled=days)
    for give_back in (refund, lose, None):
        customer_id = await shop.buyer("pro-monthly")
        await shop.sandbox.stripe.v1.subscriptions.cancel_async((await shop.load(customer_id)).subscription_id)
        await shop.settle()
        assert await tier(shop, customer_id) == "pro"
        if give_back is not None:
            await give_back(shop, customer_id)
            told = await access(shop, customer_id)
            assert (told.tier and told.tier.name, told.standing) == ("free", "lapsed")
            await refuse_suspended(shop.sync, customer_id)


async def test_payments_of_what_is_over_are_not_read_where_nothing_is_kept(shop: Any) -> None:
    lines(shop, refunded=DOWN)
    customer_id = await shop.buyer("pro-monthly")
    await refund(shop, customer_id)
    await shop.sandbox.stripe.v1.subscriptions.cancel_async((await shop.load(customer_id)).subscription_id)
    await shop.settle()
    assert await flags(shop, customer_id) == []
    assert (await shop.sync.sync_customer(customer_id, "test")).requests == 1


async def test_refunds_told_in_thin_events_are_heard(shop: Any) -> None:
    lines(shop, refunded=DOWN)
    await shop.hear_thinly()
    customer_id = await shop.buyer("pro-monthly")
    made = await refund(shop, customer_id)
    assert await tier(shop, customer_id) == "free"
    await shop.sandbox.control(f"refunds/{made.id}/fail")
    await shop.settle()
    assert await tier(shop, customer_id) == "pro"


async def test_reconciliation_finds_what_no_event_told_of(shop: Any) -> None:
    customer_id = await shop.buyer("pro-monthly")
    await refund(shop, customer_id)
    assert (await flags(shop, customer_id), await tier(shop, customer_id)) == ([], "pro")
    lines(shop, refunded=DOWN)
    comparing = Comparing(sync=shop.sync, ledger=shop.ledger, clock=shop.sandbox.clock)
    [difference] = (await comparing.compare_all(per_second=1000)).differences
    assert (difference.customer_id, *difference.changes) == (customer_id, "flags")
    await shop.sync.sync_customer(customer_id, "reconciliation")
    assert await tier(shop, customer_id) == "free"


async def test_payments_cost_a_request_only_where_policy_has_a_line_for_them(shop: Any) -> None:
    customer_id = await shop.buyer("pro-monthly")
    assert (await shop.sync.sync_customer(customer_id, "test")).requests == 1
    lines(shop, refunded=DOWN, dispute_lost=SUSPEND)
    assert (await shop.sync.sync_customer(customer_id, "test")).requests == 2
    lines(shop, refunded=shop.sync.policy.lifecycle["active"], dispute_lost=shop.sync.policy.lifecycle["active"])
    await refund(shop, customer_id)
    done = {one.type: one.outcome for one in await shop.ledger.list_events() if "refund" in one.type}
    assert done == {"charge.refunded": "recorded", "refund.created": "ignored"}


@pytest.mark.parametrize(
    ("refunds", "amount_paid", "rows"),
    [
        ([("succeeded", 2_900)], 2_900, [REFUNDED]),
        ([("succeeded", 2_900)], 5_800, []),
        ([("pending", 2_000), ("requires_action", 900)], 2_900, [REFUNDED]),
        ([("failed", 2_900)], 2_900, []),
        ([("canceled", 900), ("succeeded", 2_000)], 2_900, []),
        ([("failed", 2_900), ("succeeded", 2_900)], 2_900, [REFUNDED]),
    ],
    ids=["arrived", "half was paid by hand", "on their way", "failed", "a part was taken back", "made anew"],
)
async def test_a_charge_is_refunded_by_what_the_payer_has_whatever_the_charge_says(
    *,
    stand_in: StandIn,
    billing: Billing,
    account: Any,
    refunds: list[tuple[str, int]],
    amount_paid: int,
    rows: list[str],
) -> None:
    invoice = {
        "id": "in_1",
        "object": "invoice",
        "status": "paid",
        "billing_reason": "subscription_cycle",
        "amount_paid": amount_paid,
        "total": amount_paid,
        "created": NOW,
        "status_transitions": {"paid_at": NOW + 60},
        "hosted_invoice_url": None,
    }
    paid = {"id": "ch_1", "object": "charge", "amount": 2_900, "amount_refunded": 2_900, "disputed": False}
    intent = {"id": "pi_1", "object": "payment_intent", "latest_charge": paid}
    payment = {"id": "inpay_1", "object": "invoice_payment", "payment": {"payment_intent": intent}}
    made = [
        {"id": f"re_{number}", "object": "refund", "status": status, "amount": amount}
        for number, (status, amount) in enumerate(refunds)
    ]
    account.put(CUS, "active", latest_invoice=invoice)
    lists = {"/v1/invoice_payments": [payment], "/v1/refunds": made}

    async def answer(request: Request) -> Answer:
        found = lists.get(request.path)
        return await account.answer(request) if found is None else Answer(body=listed(found, request.path))

    stand_in.handler = answer
    asked = PaymentsAsked(rows=frozenset(TAKEN_BACK))
    [facts] = (await billing.facts.fetch_subscriptions(CUS, asked)).subscriptions
    assert facts.taken_back == tuple((row, NOW + 60) for row in rows)


async def test_a_refund_of_no_charge_is_nobodys(sync: Sync, stand_in: StandIn) -> None:
    refund = {"id": "re_1", "object": "refund", "amount": 500, "charge": None, "payment_intent": None}
    stand_in.always(Answer(body=refund))
    assert await sync.billing.facts.find_owner("refund", "re_1") is None, "what a customer had on account, given back"
