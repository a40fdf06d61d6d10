from __future__ import annotations

import re
from typing import Any

import pytest
import stripe

pytestmark = pytest.mark.slow

PAYS = "4242 4242 4242 4242"
DECLINED = "4000 0000 0000 9995"


async def test_a_paid_checkout_makes_an_active_subscription_for_that_customer(sandbox: Any) -> None:
    customer = await sandbox.customer(metadata={"user_id": "u-1"})
    session = await sandbox.open_checkout(
        customer=customer.id,
        client_reference_id="u-1",
        metadata={"plan": "pro"},
        subscription_data={"metadata": {"user_id": "u-1"}},
        allow_promotion_codes=True,
    )
    assert (session.status, session.payment_status, session.subscription) == ("open", "unpaid", None)

    answer = await sandbox.pay(session)

    assert answer.status_code == 303
    assert answer.headers["location"] == f"http://127.0.0.1/done?session={session.id}"
    done = await sandbox.v1.checkout.sessions.retrieve_async(
        session.id, {"expand": ["subscription", "line_items", "invoice"]}
    )
    assert (done.status, done.payment_status, done.url) == ("complete", "paid", None)
    assert (done.client_reference_id, done.metadata["plan"]) == ("u-1", "pro")
    assert done.subscription.status == "active"
    assert done.subscription.customer == customer.id
    assert done.subscription.metadata["user_id"] == "u-1"
    assert done.line_items.data[0].price.lookup_key == "pro_monthly"
    assert (done.invoice.amount_paid, done.invoice.billing_reason) == (2900, "subscription_create")
    item = done.subscription["items"].data[0]
    assert item.current_period_start == done.subscription.created
    assert 28 * 86_400 <= item.current_period_end - item.current_period_start <= 31 * 86_400


async def test_a_checkout_without_a_customer_creates_one(sandbox: Any) -> None:
    session = await sandbox.open_checkout(customer_email="new@example.com")
    await sandbox.http.post(session.url, data={"card_number": PAYS})
    done = await sandbox.v1.checkout.sessions.retrieve_async(session.id, {"expand": ["customer"]})
    assert done.customer.email == "new@example.com"
    assert done.customer_details.email == "new@example.com"


async def test_a_declined_card_changes_nothing_and_another_card_may_be_tried(sandbox: Any) -> None:
    session = await sandbox.open_checkout()
    before = await sandbox.events()

    refused = await sandbox.pay(session, DECLINED)

    assert refused.status_code == 402
    assert 'role="alert"' in refused.text
    assert "insufficient funds" in refused.text
    assert len(await sandbox.events()) == len(before)
    assert (await sandbox.pay(session)).status_code == 303


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"card_number": "4242 4242 4242 4241"}, "card number is invalid"),
        ({"card_number": "12"}, "card number is invalid"),
        ({"card_number": ""}, "card number is invalid"),
        ({"card_number": "4111 1111 1111 1111"}, "test cards only"),
        ({"card_number": PAYS, "expiry": "01 / 20"}, "has expired"),
        ({"card_number": PAYS, "expiry": "13 / 40"}, "expiration date is invalid"),
        ({"card_number": PAYS, "cvc": "1"}, "security code is invalid"),
    ],
    ids=["luhn", "too-short", "empty", "real-card", "expired", "month-13", "short-code"],
)
async def test_what_cannot_be_a_card_is_refused_with_a_reason(
    sandbox: Any, fields: dict[str, str], message: str
) -> None:
    session = await sandbox.open_checkout()
    answer = await sandbox.http.post(session.url, data=fields)
    assert answer.status_code == 402
    assert message in answer.text
    assert (await sandbox.v1.checkout.sessions.retrieve_async(session.id)).status == "open"


async def test_the_page_works_without_script_on_a_phone_and_labels_every_field(sandbox: Any) -> None:
    session = await sandbox.open_checkout()
    page = (await sandbox.http.get(session.url)).text
    assert "width=device-width" in page
    assert "<script" not in page
    assert "$29.00 per month" in page
    fields = set(re.findall(r'<input id="(\w+)"', page))
    assert fields == set(re.findall(r'<label for="(\w+)"', page))


async def test_a_payers_input_is_escaped_on_the_page(sandbox: Any) -> None:
    session = await sandbox.open_checkout()
    answer = await sandbox.http.post(session.url, data={"card_number": DECLINED, "name": '"><script>'})
    assert "<script" not in answer.text


async def test_a_session_is_paid_once(sandbox: Any) -> None:
    customer = await sandbox.customer()
    session = await sandbox.open_checkout(customer=customer.id)
    await sandbox.pay(session)
    again = await sandbox.pay(session)
    assert again.status_code == 200
    assert "nothing more will be charged" in again.text
    subscriptions = await sandbox.v1.subscriptions.list_async({"customer": customer.id, "status": "all"})
    assert len(subscriptions.data) == 1


async def test_an_open_session_can_be_expired_and_takes_no_payment_afterwards(sandbox: Any) -> None:
    session = await sandbox.open_checkout()
    expired = await sandbox.v1.checkout.sessions.expire_async(session.id)
    assert (expired.status, expired.url) == ("expired", None)
    assert (await sandbox.pay(session)).status_code == 410
    with pytest.raises(stripe.InvalidRequestError, match="expired"):
        await sandbox.v1.checkout.sessions.expire_async(session.id)


async def test_a_session_expires_by_itself_after_a_day(sandbox: Any) -> None:
    session = await sandbox.open_checkout()
    await sandbox.advance(86_401)
    assert (await sandbox.v1.checkout.sessions.retrieve_async(session.id)).status == "expired"
    assert [event.type for event in await sandbox.events()][-1] == "checkout.session.expired"


async def test_a_checkout_needs_an_active_recurring_price(sandbox: Any) -> None:
    await sandbox.v1.prices.update_async("price_pro_yearly", {"active": False})
    with pytest.raises(stripe.InvalidRequestError, match="inactive"):
        await sandbox.open_checkout(price="price_pro_yearly")
    once = await sandbox.v1.prices.create_async({"currency": "usd", "product": "prod_pro", "unit_amount": 5})
    with pytest.raises(stripe.InvalidRequestError, match="one_time"):
        await sandbox.open_checkout(price=once.id)


async def test_a_trial_starts_without_a_charge_and_is_billed_when_it_ends(sandbox: Any) -> None:
    session = await sandbox.open_checkout(subscription_data={"trial_period_days": 7})
    await sandbox.pay(session)
    done = await sandbox.v1.checkout.sessions.retrieve_async(session.id, {"expand": ["subscription"]})
    assert done.payment_status == "no_payment_required"
    assert done.subscription.status == "trialing"
    await sandbox.advance_to(done.subscription.trial_end + 3_601)
    after = await sandbox.v1.subscriptions.retrieve_async(done.subscription.id, {"expand": ["latest_invoice"]})
    assert (after.status, after.latest_invoice.amount_paid) == ("active", 2900)
    assert "customer.subscription.trial_will_end" in {event.type for event in await sandbox.events()}
