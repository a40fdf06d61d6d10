"""A trial is of the plan it was given for: who takes more during it begins to pay, unless that is tried for as long."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from gateway.core.errors import PaymentRequired
from gateway.core.offer import AddOn, CheckoutTerms, SeatRange, Trial
from gateway.core.window import quota_window
from gateway.sync import ExtrasOrder, PlanChanges
from tests.billing.test_payments_of_changes import mend_card

pytestmark = pytest.mark.slow

DAY = 86_400
ENTERPRISE, SEATS_OF_PRO = ("enterprise-monthly", None), ("pro-monthly", 5)


async def trying(shop: Any, *, card: bool, days: int = 14, method: str = "pm_card_visa") -> str:
    """A customer on a trial of pro, with a card or without. `method`: another means of payment than a card."""
    customer_id: str = await shop.new_customer()
    row = await shop.ledger.find_customer(customer_id)
    v1 = shop.sandbox.stripe.v1
    order = {
        "customer": row.stripe_customer_id,
        "items": [{"price": "price_pro_monthly"}],
        "trial_period_days": days,
        "trial_settings": {"end_behavior": {"missing_payment_method": "pause"}},
    }
    if card:
        attached = await v1.payment_methods.attach_async(method, {"customer": row.stripe_customer_id})
        order["default_payment_method"] = attached.id
    await v1.subscriptions.create_async(order)
    await shop.settle()
    assert (await shop.load(customer_id)).status == "trialing"
    return customer_id


def sell(shop: Any, plan_id: str, **changes: Any) -> None:
    policy = shop.sync.policy
    sold = replace(policy.plans[plan_id], **changes)
    shop.sync._policy.current = replace(policy, plans=policy.plans | {plan_id: sold})


@pytest.mark.parametrize(("plan_id", "seats"), [ENTERPRISE, SEATS_OF_PRO], ids=["plan", "seats"])
async def test_more_during_a_trial_ends_it_and_is_paid_at_once(shop: Any, plan_id: str, seats: int | None) -> None:
    sell(shop, "pro-monthly", seats=SeatRange(least=1, most=9))
    customer_id = await trying(shop, card=True)
    changes = PlanChanges(sync=shop.sync, clock=shop.sandbox.clock)
    order = ExtrasOrder(seats=seats)
    cost = (await changes.preview(customer_id, plan_id, extras=order)).cost
    full = {"enterprise-monthly": 49900, "pro-monthly": 5 * 2900}[plan_id]
    assert cost.next_invoice == full
    assert cost.next_invoice_at is not None
    assert cost.next_invoice_at < shop.sandbox.clock.now() + DAY
    changed = await changes.apply(customer_id, plan_id, actor="customer", extras=order)
    assert not changed.result.is_pending
    record = await shop.load(customer_id)
    assert (record.status, record.plan_id) == ("active", plan_id)
    row = await shop.ledger.find_customer(customer_id)
    invoices = await shop.sandbox.stripe.v1.invoices.list_async({"customer": row.stripe_customer_id})
    assert (invoices.data[0].status, invoices.data[0].amount_paid) == ("paid", full)


async def test_without_a_card_more_waits_for_its_payment_and_the_trial_goes_on(shop: Any) -> None:
    customer_id = await trying(shop, card=False)
    changes = PlanChanges(sync=shop.sync, clock=shop.sandbox.clock)
    changed = await changes.apply(customer_id, "enterprise-monthly", actor="customer")
    assert changed.result.is_pending
    assert changed.result.payment_url is not None
    record = await shop.load(customer_id)
    assert (record.status, record.plan_id) == ("trialing", "pro-monthly")
    await mend_card(shop, customer_id)
    record = await shop.load(customer_id)
    assert (record.status, record.plan_id) == ("active", "enterprise-monthly")


@pytest.mark.parametrize(("days", "status"), [(14, "trialing"), (13, "active")])
async def test_a_plan_with_a_trial_as_long_is_tried_on(shop: Any, days: int, status: str) -> None:
    sell(shop, "enterprise-monthly", terms=CheckoutTerms(trial=Trial(days=days)))
    customer_id = await trying(shop, card=True)
    changes = PlanChanges(sync=shop.sync, clock=shop.sandbox.clock)
    await changes.apply(customer_id, "enterprise-monthly", actor="customer")
    record = await shop.load(customer_id)
    assert (record.status, record.plan_id) == (status, "enterprise-monthly")


async def test_less_during_a_trial_leaves_the_trial_as_it_is(shop: Any) -> None:
    sell(shop, "pro-monthly", seats=SeatRange(least=1, most=9))
    customer_id = await trying(shop, card=True)
    subscription_id = (await shop.load(customer_id)).subscription_id
    (item,) = (await shop.sandbox.stripe.v1.subscriptions.retrieve_async(subscription_id))["items"].data
    seats = {"items": [{"id": item.id, "quantity": 3}]}
    await shop.sandbox.stripe.v1.subscriptions.update_async(subscription_id, seats)
    await shop.settle()
    changes = PlanChanges(sync=shop.sync, clock=shop.sandbox.clock)
    await changes.apply(customer_id, "pro-monthly", actor="customer", when="now", extras=ExtrasOrder(seats=2))
    assert (await shop.load(customer_id)).status == "trialing"


async def test_who_pays_before_a_trial_is_over_has_one_quota_for_the_payment(shop: Any) -> None:
    """Of the same dates, so that a cap holds once on its invoice."""
    customer_id = await trying(shop, card=True)
    await shop.sandbox.control("clock/advance", seconds=DAY)
    await PlanChanges(sync=shop.sync, clock=shop.sandbox.clock).apply(customer_id, "enterprise-monthly", actor="c")
    account = await shop.ledger.load_account(customer_id)
    paid = account.subscription
    instants = range(paid.period_starts_at, paid.period_ends_at, 6 * 3600)
    assert {quota_window(account, at, None) for at in instants} == {(paid.period_starts_at, paid.period_ends_at)}


async def test_a_trial_without_a_card_is_none_of_a_plan_whose_trial_asks_for_one(shop: Any) -> None:
    sell(shop, "pro-monthly", terms=CheckoutTerms(trial=Trial(days=14, without_card="pause")))
    sell(shop, "enterprise-monthly", terms=CheckoutTerms(trial=Trial(days=14)))
    customer_id = await trying(shop, card=False)
    changes = PlanChanges(sync=shop.sync, clock=shop.sandbox.clock)
    assert (await changes.apply(customer_id, "enterprise-monthly", actor="customer")).result.is_pending
    record = await shop.load(customer_id)
    assert (record.status, record.plan_id) == ("trialing", "pro-monthly")
    await mend_card(shop, customer_id)
    record = await shop.load(customer_id)
    assert (record.status, record.plan_id) == ("active", "enterprise-monthly")


@pytest.mark.parametrize("asks", [None, "pause"], ids=["with a card", "without one"])
async def test_a_trial_goes_on_under_a_plan_that_asks_for_nothing_more(shop: Any, asks: Any) -> None:
    sell(shop, "enterprise-monthly", terms=CheckoutTerms(trial=Trial(days=14, without_card=asks)))
    customer_id = await trying(shop, card=asks is None)
    changes = PlanChanges(sync=shop.sync, clock=shop.sandbox.clock)
    assert not (await changes.apply(customer_id, "enterprise-monthly", actor="customer")).result.is_pending
    record = await shop.load(customer_id)
    assert (record.status, record.plan_id) == ("trialing", "enterprise-monthly")


@pytest.mark.parametrize("order", [ExtrasOrder(seats=9), ExtrasOrder(add_ons=("extra",))], ids=["seats", "add-on"])
@pytest.mark.parametrize(("trial", "status"), [(Trial(days=14), "trialing"), (None, "active")])
async def test_seats_and_add_ons_are_tried_with_a_plan_that_is_sold_with_a_trial(
    shop: Any, order: ExtrasOrder, trial: Trial | None, status: str
) -> None:
    extra = AddOn(name="extra", title="Extra", price_id="price_enterprise_monthly", lookup_key=None)
    seats = SeatRange(least=1, most=9)
    sell(shop, "pro-monthly", seats=seats, add_ons=("extra",), terms=CheckoutTerms(trial=trial))
    sell(shop, "enterprise-monthly", lookup_key="none_such")
    held = shop.sync._policy
    held.current = replace(held.current, add_ons={"extra": extra})
    customer_id = await trying(shop, card=True)
    changes = PlanChanges(sync=shop.sync, clock=shop.sandbox.clock)
    await changes.apply(customer_id, "pro-monthly", actor="customer", extras=order)
    assert (await shop.load(customer_id)).status == status


async def test_by_bank_debit_nobody_leaves_a_trial_for_more(shop: Any) -> None:
    customer_id = await trying(shop, card=True, method="pm_usBankAccount_success")
    changes = PlanChanges(sync=shop.sync, clock=shop.sandbox.clock)
    with pytest.raises(PaymentRequired, match="Choose a card"):
        await changes.preview(customer_id, "enterprise-monthly")
    with pytest.raises(PaymentRequired, match="Choose a card"):
        await changes.apply(customer_id, "enterprise-monthly", actor="customer")
    record = await shop.load(customer_id)
    assert (record.status, record.plan_id) == ("trialing", "pro-monthly")
