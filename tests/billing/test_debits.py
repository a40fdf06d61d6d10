"""Changes of a subscription that is paid by bank debit: what asks for money at once is not sold by it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import stripe

from gateway.billing.means import read_means
from gateway.core.errors import PaymentRequired
from gateway.core.switching import Proration, SwitchTerms
from gateway.sync import PlanChanges

pytestmark = pytest.mark.slow

DAY = 86_400
ARRIVES_LATER = "000123456789"
METHOD = {"object": "payment_method", "id": "pm_1"}


async def payer(shop: Any, proration: Proration) -> tuple[str, PlanChanges]:
    """A customer of pro whose first debit has arrived."""
    customer_id = await shop.buyer("pro-monthly", ARRIVES_LATER)
    await shop.sandbox.control("clock/advance", seconds=5 * DAY)
    await shop.settle()
    held = shop.sync._policy
    terms = SwitchTerms(proration=proration, upgrade=("now", "period-end"), downgrade=("now",))
    held.current = replace(held.current, switching=terms)
    return customer_id, PlanChanges(sync=shop.sync, clock=shop.sandbox.clock)


@pytest.mark.parametrize(
    ("plan_id", "proration"), [("pro-yearly", "next invoice"), ("enterprise-monthly", "now")], ids=["interval", "now"]
)
async def test_more_that_is_paid_at_once_asks_for_a_card(shop: Any, plan_id: str, proration: Proration) -> None:
    customer_id, changes = await payer(shop, proration)
    with pytest.raises(PaymentRequired, match="Choose a card"):
        await changes.apply(customer_id, plan_id, actor="customer")
    assert (await shop.load(customer_id)).plan_id == "pro-monthly"
    assert (await changes.apply(customer_id, plan_id, actor="customer", when="period-end")).when == "period-end"
    row = await shop.ledger.find_customer(customer_id)
    v1 = shop.sandbox.stripe.v1
    card = await v1.payment_methods.attach_async("pm_card_visa", {"customer": row.stripe_customer_id})
    subscription_id = (await shop.load(customer_id)).subscription_id
    await v1.subscriptions.update_async(subscription_id, {"default_payment_method": card.id})
    assert not (await changes.apply(customer_id, plan_id, actor="customer", when="now")).result.is_pending
    assert (await shop.load(customer_id)).plan_id == plan_id


async def test_what_is_settled_on_the_next_invoice_is_changed_by_debit_too(shop: Any) -> None:
    customer_id, changes = await payer(shop, "next invoice")
    assert not (await changes.apply(customer_id, "enterprise-monthly", actor="customer")).result.is_pending
    assert (await shop.load(customer_id)).plan_id == "enterprise-monthly"


async def test_less_is_changed_by_debit_at_once(shop: Any) -> None:
    customer_id, changes = await payer(shop, "next invoice")
    await changes.apply(customer_id, "enterprise-monthly", actor="customer")
    held = shop.sync._policy
    held.current = replace(held.current, switching=replace(held.current.switching, proration="now"))
    assert not (await changes.apply(customer_id, "pro-monthly", actor="customer")).result.is_pending
    assert (await shop.load(customer_id)).plan_id == "pro-monthly"


@pytest.mark.parametrize(
    ("own", "old", "of_customer", "told"),
    [
        ({**METHOD, "type": "card"}, None, {**METHOD, "type": "sepa_debit"}, ("card", False)),
        ({**METHOD, "type": "sepa_debit"}, None, {**METHOD, "type": "card"}, ("sepa_debit", True)),
        (None, None, {**METHOD, "type": "bacs_debit"}, ("bacs_debit", True)),
        (None, "ba_1", {**METHOD, "type": "card"}, ("ba", True)),
        (None, "card_1", {**METHOD, "type": "sepa_debit"}, ("card", False)),
        (None, None, None, (None, False)),
    ],
)
def test_means_are_looked_for_as_stripe_does(
    own: Any, old: Any, of_customer: Any, told: tuple[str | None, bool]
) -> None:
    customer = {
        "object": "customer",
        "id": "cus_1",
        "default_source": None,
        "invoice_settings": {"default_payment_method": of_customer},
    }
    subscription = {"object": "subscription", "id": "sub_1", "default_payment_method": own, "default_source": old}
    means = read_means(stripe.Subscription.construct_from({**subscription, "customer": customer}, None))
    assert (means.kind, means.takes_days) == told
