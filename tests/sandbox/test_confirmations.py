"""Payments that a bank wants confirmed (3-D Secure): at the checkout, at a renewal, on a change, in the portal."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

import pytest
import stripe

pytestmark = pytest.mark.slow

DAY_S = 86_400
HOUR_S = 3_600
ONCE = "4000 0025 0000 3155"
ALWAYS = "4000 0027 6000 3184"
SET_UP_BEFORE = "4000 0038 0000 0446"
DECLINES = "4000 0000 0000 9995"


async def answer(sandbox: Any, asked: Any, act: str = "complete") -> Any:
    """Press a button on the page of the bank that an answer leads to."""
    assert (asked.status_code, urlsplit(asked.headers["location"]).path[:5]) == (303, "/3ds/")
    page = sandbox.running.stripe_url + asked.headers["location"]
    assert "Your bank asks whether it is you" in (await sandbox.http.get(page)).text
    return await sandbox.http.post(page, data={"act": act})


async def buy(sandbox: Any, card: str) -> Any:
    customer = await sandbox.customer()
    session = await sandbox.open_checkout(customer=customer.id)
    done = await answer(sandbox, await sandbox.pay(session, card))
    assert (done.status_code, done.headers["location"]) == (303, f"http://127.0.0.1/done?session={session.id}")
    bought = await sandbox.v1.checkout.sessions.retrieve_async(session.id)
    return await sandbox.subscription(bought.subscription)


async def renewed(sandbox: Any, card: str) -> Any:
    bought = await buy(sandbox, card)
    await sandbox.advance_to(bought["items"].data[0].current_period_end + HOUR_S + 1)
    return await sandbox.subscription(bought.id)


async def payment_of(sandbox: Any, invoice_id: str) -> Any:
    """The PaymentIntent, found as a program finds it."""
    page = await sandbox.v1.invoice_payments.list_async(
        {"invoice": invoice_id, "expand": ["data.payment.payment_intent"]}
    )
    [payment] = page.data
    return payment.payment.payment_intent


async def subscribe_by_api(sandbox: Any, method: str, **params: Any) -> Any:
    customer = await sandbox.customer()
    attached = await sandbox.v1.payment_methods.attach_async(method, {"customer": customer.id})
    return await sandbox.v1.subscriptions.create_async(
        {
            "customer": customer.id,
            "items": [{"price": "price_pro_monthly"}],
            "default_payment_method": attached.id,
            **params,
        }
    )


@pytest.mark.parametrize("card", [ONCE, ALWAYS, SET_UP_BEFORE])
async def test_whoever_is_at_the_checkout_confirms_before_it_completes(sandbox: Any, card: str) -> None:
    session = await sandbox.open_checkout()
    asked = await sandbox.pay(session, card)
    waiting = await sandbox.v1.checkout.sessions.retrieve_async(session.id)
    assert (waiting.status, waiting.subscription) == ("open", None)
    await answer(sandbox, asked)
    done = await sandbox.v1.checkout.sessions.retrieve_async(session.id)
    assert (done.status, done.payment_status) == ("complete", "paid")
    assert (await sandbox.subscription(done.subscription)).status == "active"


async def test_a_payment_that_is_not_confirmed_leaves_the_checkout_open_and_says_so(sandbox: Any) -> None:
    session = await sandbox.open_checkout()
    failed = await answer(sandbox, await sandbox.pay(session, ONCE), "fail")
    assert (failed.status_code, "unable to authenticate your payment method" in failed.text) == (402, True)
    assert (await sandbox.v1.checkout.sessions.retrieve_async(session.id)).status == "open"
    assert (await sandbox.v1.subscriptions.list_async()).data == []
    assert (await sandbox.pay(session)).headers["location"].startswith("http://127.0.0.1/done")


async def test_a_bank_is_answered_once_and_only_while_the_checkout_is_open(sandbox: Any) -> None:
    session = await sandbox.open_checkout()
    first, second = await sandbox.pay(session, ONCE), await sandbox.pay(session, ALWAYS)
    await answer(sandbox, first)
    page = sandbox.running.stripe_url + first.headers["location"]
    assert (await sandbox.http.post(page, data={"act": "complete"})).status_code == 404
    late = await answer(sandbox, second)
    assert "complete: nothing more will be charged" in late.text
    assert len((await sandbox.v1.subscriptions.list_async()).data) == 1


@pytest.mark.parametrize("card", [ONCE, SET_UP_BEFORE])
async def test_a_card_that_is_set_up_renews_without_the_customer(sandbox: Any, card: str) -> None:
    subscription = await renewed(sandbox, card)
    assert subscription.status == "active"
    assert (await payment_of(sandbox, subscription.latest_invoice)).status == "succeeded"


async def test_a_renewal_that_must_be_confirmed_is_past_due_and_its_payment_waits(sandbox: Any) -> None:
    subscription = await renewed(sandbox, ALWAYS)
    assert subscription.status == "past_due"
    invoice = await sandbox.v1.invoices.retrieve_async(subscription.latest_invoice)
    assert (invoice.status, invoice.attempt_count) == ("open", 1)
    intent = await payment_of(sandbox, invoice.id)
    assert (intent.status, intent.next_action.type, intent.amount) == ("requires_action", "use_stripe_sdk", 2900)
    assert (await sandbox.v1.payment_intents.retrieve_async(intent.id)).status == "requires_action"
    types = [event.type for event in await sandbox.events()]
    assert types[-4:-1] == ["invoice.updated", "invoice.payment_action_required", "invoice.payment_failed"]
    assert types[-1] == "customer.subscription.updated"


async def test_the_hosted_invoice_page_lets_the_customer_confirm_and_that_pays(sandbox: Any) -> None:
    subscription = await renewed(sandbox, ALWAYS)
    invoice = await sandbox.v1.invoices.retrieve_async(subscription.latest_invoice)
    assert "wants the payment confirmed" in (await sandbox.http.get(invoice.hosted_invoice_url)).text
    await answer(sandbox, await sandbox.http.post(f"{invoice.hosted_invoice_url}/confirm"))
    assert (await sandbox.v1.invoices.retrieve_async(invoice.id)).status == "paid"
    assert (await payment_of(sandbox, invoice.id)).status == "succeeded"
    assert (await sandbox.subscription(subscription.id)).status == "active"
    assert "nothing more is due" in (await sandbox.http.get(invoice.hosted_invoice_url)).text


async def test_a_confirmation_that_fails_is_a_failed_payment_that_another_card_makes_up(sandbox: Any) -> None:
    subscription = await renewed(sandbox, ALWAYS)
    invoice = await sandbox.v1.invoices.retrieve_async(subscription.latest_invoice)
    failed = await answer(sandbox, await sandbox.http.post(f"{invoice.hosted_invoice_url}/confirm"), "fail")
    assert (failed.status_code, "unable to authenticate" in failed.text) == (402, True)
    assert (await payment_of(sandbox, invoice.id)).status == "requires_payment_method"
    assert len(await sandbox.events(type="invoice.payment_failed")) == 2
    declined = await sandbox.http.post(invoice.hosted_invoice_url, data={"card_number": DECLINES})
    assert (declined.status_code, "insufficient funds" in declined.text) == (402, True)
    await sandbox.http.post(invoice.hosted_invoice_url, data={"card_number": "4242424242424242"})
    assert (await sandbox.subscription(subscription.id)).status == "active"


async def test_what_waits_for_the_customer_is_not_charged_again_by_itself(sandbox: Any) -> None:
    subscription = await renewed(sandbox, ALWAYS)
    await sandbox.advance(9 * DAY_S)
    invoice = await sandbox.v1.invoices.retrieve_async(subscription.latest_invoice)
    assert (invoice.status, invoice.attempt_count) == ("open", 3)
    assert (await payment_of(sandbox, invoice.id)).status == "requires_action"
    assert len(await sandbox.events(type="invoice.payment_action_required")) == 1
    await sandbox.advance(13 * DAY_S)
    assert (await sandbox.subscription(subscription.id)).status == "canceled"


async def test_the_next_attempt_charges_a_card_that_came_since(sandbox: Any) -> None:
    subscription = await renewed(sandbox, ALWAYS)
    method = await sandbox.v1.payment_methods.attach_async("pm_card_visa", {"customer": subscription.customer})
    await sandbox.v1.subscriptions.update_async(subscription.id, {"default_payment_method": method.id})
    await sandbox.advance(3 * DAY_S)
    assert (await sandbox.subscription(subscription.id)).status == "active"


@pytest.mark.parametrize("method", ["pm_card_authenticationRequired", "pm_card_authenticationRequiredOnSetup"])
async def test_a_first_payment_by_the_api_that_must_be_confirmed_is_incomplete_until_it_is(
    sandbox: Any, method: str
) -> None:
    subscription = await subscribe_by_api(sandbox, method)
    assert subscription.status == "incomplete"
    invoice = await sandbox.v1.invoices.retrieve_async(subscription.latest_invoice)
    await answer(sandbox, await sandbox.http.post(f"{invoice.hosted_invoice_url}/confirm"))
    active = await sandbox.subscription(subscription.id)
    assert active.status == "active"
    await sandbox.advance_to(active["items"].data[0].current_period_end + HOUR_S + 1)
    expected = "active" if method.endswith("OnSetup") else "past_due"
    assert (await sandbox.subscription(subscription.id)).status == expected


async def test_a_first_payment_that_is_never_confirmed_expires(sandbox: Any) -> None:
    subscription = await subscribe_by_api(sandbox, "pm_card_authenticationRequired")
    await sandbox.advance(23 * HOUR_S + 1)
    assert (await sandbox.subscription(subscription.id)).status == "incomplete_expired"
    assert (await payment_of(sandbox, subscription.latest_invoice)).status == "canceled"


async def test_where_nothing_may_be_incomplete_it_is_an_error(sandbox: Any) -> None:
    with pytest.raises(stripe.CardError) as refused:
        await subscribe_by_api(sandbox, "pm_card_authenticationRequired", payment_behavior="error_if_incomplete")
    assert (refused.value.code, refused.value.http_status) == ("subscription_payment_intent_requires_action", 402)
    subscription = await subscribe_by_api(sandbox, "pm_card_authenticationRequired")
    with pytest.raises(stripe.CardError) as unpaid:
        await sandbox.v1.invoices.pay_async(subscription.latest_invoice)
    assert unpaid.value.code == "invoice_payment_intent_requires_action"


async def upgrade(sandbox: Any, subscription: Any) -> Any:
    return await sandbox.v1.subscriptions.update_async(
        subscription.id,
        {
            "items": [{"id": subscription["items"].data[0].id, "price": "price_enterprise_monthly"}],
            "proration_behavior": "always_invoice",
            "payment_behavior": "pending_if_incomplete",
        },
    )


async def test_an_upgrade_waits_for_its_confirmation_with_the_old_plan(sandbox: Any) -> None:
    subscription = await buy(sandbox, ALWAYS)
    waiting = await upgrade(sandbox, subscription)
    assert (waiting.status, waiting["items"].data[0].price.id) == ("active", "price_pro_monthly")
    assert waiting.pending_update.subscription_items[0].price.id == "price_enterprise_monthly"
    assert (await payment_of(sandbox, waiting.latest_invoice)).status == "requires_action"
    invoice = await sandbox.v1.invoices.retrieve_async(waiting.latest_invoice)
    await answer(sandbox, await sandbox.http.post(f"{invoice.hosted_invoice_url}/confirm"))
    applied = await sandbox.subscription(subscription.id)
    assert (applied["items"].data[0].price.id, applied.pending_update) == ("price_enterprise_monthly", None)
    assert await sandbox.events(type="customer.subscription.pending_update_applied")


async def test_an_upgrade_that_is_never_confirmed_is_given_up_after_23_hours(sandbox: Any) -> None:
    subscription = await buy(sandbox, ALWAYS)
    waiting = await upgrade(sandbox, subscription)
    invoice = await sandbox.v1.invoices.retrieve_async(waiting.latest_invoice)
    asked = await sandbox.http.post(f"{invoice.hosted_invoice_url}/confirm")
    await sandbox.advance(23 * HOUR_S + 1)
    expired = await sandbox.subscription(subscription.id)
    assert (expired.status, expired.pending_update) == ("active", None)
    assert await sandbox.events(type="customer.subscription.pending_update_expired")
    await answer(sandbox, asked)
    late = await sandbox.http.get(invoice.hosted_invoice_url)
    assert (late.status_code, "was withdrawn" in late.text) == (410, True)
    assert (await sandbox.subscription(subscription.id))["items"].data[0].price.id == "price_pro_monthly"


async def portal_of(sandbox: Any, subscription: Any) -> Any:
    return await sandbox.v1.billing_portal.sessions.create_async({"customer": subscription.customer})


async def test_the_portal_asks_the_bank_before_it_keeps_a_card_and_pays_what_is_owed(sandbox: Any) -> None:
    subscription = await renewed(sandbox, ALWAYS)
    portal = await portal_of(sandbox, subscription)
    failed = await answer(sandbox, await sandbox.http.post(f"{portal.url}/card", data={"card_number": ONCE}), "fail")
    assert failed.status_code == 402
    assert (await sandbox.subscription(subscription.id)).status == "past_due"
    await answer(sandbox, await sandbox.http.post(f"{portal.url}/card", data={"card_number": ONCE}))
    assert (await sandbox.subscription(subscription.id)).status == "active"


async def test_the_portal_leads_from_what_is_owed_to_its_confirmation(sandbox: Any) -> None:
    subscription = await renewed(sandbox, ALWAYS)
    portal = await portal_of(sandbox, subscription)
    shown = await sandbox.http.get(portal.url)
    assert f'<a href="/i/{subscription.latest_invoice}">Confirm the payment</a>' in shown.text
    saved = await answer(sandbox, await sandbox.http.post(f"{portal.url}/card", data={"card_number": ALWAYS}))
    assert "The card was saved, but the open invoice could not be paid with it." in saved.text


async def test_the_portal_changes_the_plan_once_the_bank_has_been_asked(sandbox: Any) -> None:
    subscription = await buy(sandbox, ALWAYS)
    portal = await portal_of(sandbox, subscription)
    form = {"subscription": subscription.id, "price": "price_enterprise_monthly"}
    await answer(sandbox, await sandbox.http.post(f"{portal.url}/plan", data=form), "fail")
    assert (await sandbox.subscription(subscription.id))["items"].data[0].price.id == "price_pro_monthly"
    await answer(sandbox, await sandbox.http.post(f"{portal.url}/plan", data=form))
    changed = await sandbox.subscription(subscription.id)
    assert (changed["items"].data[0].price.id, changed.status) == ("price_enterprise_monthly", "active")
