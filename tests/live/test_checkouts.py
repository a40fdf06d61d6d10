"""What a checkout sells, as Stripe has it, and what its payment leaves behind.

Stripe's own page is for people: it cannot be paid by the API. So the session is made by the use case, the subscription
is made of what the session says, as the page would, and then all goes the usual way.
"""

from __future__ import annotations

from dataclasses import replace

import pytest

from gateway.billing.webhook import METADATA_CUSTOMER, METADATA_PLAN
from gateway.checkout import AlreadySubscribed
from gateway.core.errors import BillingRefused
from gateway.core.purchase import NO_EXTRAS, Extras
from gateway.sync import Arrivals
from tests.live.catalog import EXPORTS, OVERAGE, PERCENT_OFF, PRICES
from tests.live.life import GOOD_CARD

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

TEAM = Extras(seats=3, add_ons=(EXPORTS,))


@pytest.mark.parametrize(
    ("plan_id", "extras", "sold"),
    [
        ("pro-monthly", NO_EXTRAS, [("pro-monthly", 1)]),
        ("reduced-monthly", NO_EXTRAS, [("reduced-monthly", 1)]),
        ("team-monthly", TEAM, [("team-monthly", 3), (EXPORTS, 1)]),
        ("volume-monthly", NO_EXTRAS, [("volume-monthly", 1), (OVERAGE, None)]),
    ],
    ids=["a plan", "with a coupon", "with seats and an add-on", "with overage"],
)
async def test_a_checkout_sells_what_policy_says_and_its_payment_grants_it(life, plan_id, extras, sold):
    await life.new_customer()
    link = await life.checkouts.for_customer(life.customer_id, plan_id, extras)
    assert link.url.startswith("http")
    session = await life.stripe.v1.checkout.sessions.retrieve_async(link.session_id)
    assert (session.status, session.mode, session.client_reference_id) == ("open", "subscription", life.customer_id)
    labels = session.metadata.to_dict()
    assert (labels[METADATA_CUSTOMER], labels[METADATA_PLAN]) == (life.customer_id, plan_id)
    coupons = [one.coupon for one in session.discounts or ()]
    assert coupons == ([life.account.names.coupon] if plan_id == "reduced-monthly" else [])
    lines = await life.stripe.v1.checkout.sessions.line_items.list_async(link.session_id, {"limit": 100})
    assert {(line.price.id, line.quantity) for line in lines.data if line.quantity} == {
        (life.account.prices[name], quantity) for name, quantity in sold if quantity
    }
    assert {line.price.id for line in lines.data} == {life.account.prices[name] for name, _ in sold}

    checkout = await life.ledger.find_checkout(link.session_id)
    assert await Arrivals(life.sync).arrive(checkout) == "waiting"
    await life.new_card(GOOD_CARD)
    await life.pay_as_the_page_does(link.session_id)
    outcome = await life.sync.sync_customer(life.customer_id, f"return from {link.session_id}")
    assert outcome.changed
    assert await life.standing() == ("good", PRICES[plan_id][0])
    found = await life.until(lambda found: found.status == "active")
    assert (found.seats, found.add_ons) == (extras.seats or 1, tuple((name, 1) for name in extras.add_ons))
    with pytest.raises(AlreadySubscribed):
        await life.checkouts.for_customer(life.customer_id, "enterprise-monthly")
    await life.billing.close_checkout(link.session_id)
    assert await Arrivals(life.sync).arrive(checkout) == "expired"


async def test_a_coupon_of_the_plan_is_on_its_invoice(life):
    await life.new_customer()
    link = await life.checkouts.for_customer(life.customer_id, "reduced-monthly")
    await life.new_card(GOOD_CARD)
    await life.pay_as_the_page_does(link.session_id)
    await life.until(lambda found: found is not None and found.status == "active")
    [invoice] = await life.invoices()
    amount = PRICES["reduced-monthly"][1]
    assert (invoice.subtotal, invoice.total) == (amount, amount * (100 - PERCENT_OFF) // 100)
    assert [one.amount for one in invoice.total_discount_amounts] == [amount * PERCENT_OFF // 100]
    await life.billing.close_checkout(link.session_id)


async def test_a_checkout_of_a_coupon_that_is_gone_is_refused(life):
    await life.new_customer()
    policy, gone = life.policy.current, "tiergate_test_no_such_coupon"
    plan = policy.plans["reduced-monthly"]
    plan = replace(plan, terms=replace(plan.terms, coupon=gone))
    life.policy.current = replace(policy, plans={**policy.plans, plan.plan_id: plan})
    with pytest.raises(BillingRefused):
        await life.checkouts.for_customer(life.customer_id, "reduced-monthly")
    assert await life.billing.find_coupon(gone) is None
    assert (await life.billing.find_coupon(life.account.names.coupon)).is_valid


async def test_a_checkout_makes_the_customer_at_stripe_once_and_the_search_finds_it_by_and_by(life):
    await life.begin()
    first = await life.checkouts.for_customer(life.customer_id, "pro-monthly")
    life.cus = (await life.ledger.find_customer(life.customer_id)).stripe_customer_id
    life.made.add(life.cus)
    second = await life.checkouts.for_customer(life.customer_id, "enterprise-monthly")
    assert (await life.ledger.find_customer(life.customer_id)).stripe_customer_id == life.cus
    sessions = [await life.billing.fetch_checkout(one.session_id) for one in (first, second)]
    assert [one.status for one in sessions] == ["expired", "open"]

    async def searched():
        return await life.billing.customers.find_labelled(life.customer_id, life.user_id)

    assert [one.stripe_customer_id for one in await life.eventually(searched)] == [life.cus]
    await life.billing.close_checkout(second.session_id)
