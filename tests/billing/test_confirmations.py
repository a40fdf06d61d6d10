"""Payments that a bank wants confirmed (3-D Secure), from the simulator to what the customer is told."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from gateway.billing import StripeOptions
from gateway.core.access import decide_access
from gateway.core.errors import PaymentRequired
from gateway.core.standing_words import CONFIRMATION_PAGE
from gateway.core.switching import SwitchTerms
from gateway.sync import PlanChanges, find_confirmation
from tests.billing.conftest import Answer, StandIn, opened, through

pytestmark = pytest.mark.slow

ASKS_ONCE, ASKS_ALWAYS = "4000002500003155", "4000002760003184"
DAY_S, HOUR_S = 86_400, 3600


def changes_of(shop: Any) -> PlanChanges:
    held = shop.sync._policy
    held.current = replace(held.current, switching=SwitchTerms(proration="now"))
    return PlanChanges(sync=shop.sync, clock=shop.sandbox.clock)


async def renew(shop: Any, customer_id: str) -> None:
    recorded = await shop.load(customer_id)
    await shop.sandbox.control("clock/advance", until=recorded.period_ends_at + 2 * HOUR_S)
    await shop.settle()


async def warning(shop: Any, customer_id: str) -> str:
    account = await shop.ledger.load_account(customer_id)
    return decide_access(account, shop.sync.policy, shop.sandbox.clock.now()).warning or ""


async def test_a_card_that_was_set_up_at_the_checkout_renews_in_silence(shop: Any) -> None:
    customer_id = await shop.buyer(card=ASKS_ONCE)
    await renew(shop, customer_id)
    recorded = await shop.load(customer_id)
    assert (recorded.status, recorded.unconfirmed_since) == ("active", None)


async def test_a_renewal_that_waits_says_what_to_do_until_it_is_done(shop: Any) -> None:
    customer_id = await shop.buyer(card=ASKS_ALWAYS)
    await renew(shop, customer_id)
    words = await warning(shop, customer_id)
    assert words.startswith(f"The last payment waits to be confirmed with its bank. Confirm it at {CONFIRMATION_PAGE}")
    assert "Access at this level ends at" in words
    url = await find_confirmation(shop.sync, customer_id)
    assert url is not None
    await shop.sandbox.confirm(url)
    await shop.settle()
    recorded = await shop.load(customer_id)
    assert (recorded.status, recorded.unconfirmed_since) == ("active", None)
    assert await warning(shop, customer_id) == ""
    assert await find_confirmation(shop.sync, customer_id) is None


async def test_since_when_it_waits_is_noted_once(shop: Any) -> None:
    customer_id = await shop.buyer(card=ASKS_ALWAYS)
    await renew(shop, customer_id)
    first = await shop.load(customer_id)
    await shop.sandbox.control("clock/advance", seconds=4 * DAY_S)
    await shop.settle()
    await shop.sync.sync_customer(customer_id, "test")
    again = await shop.load(customer_id)
    assert (again.unconfirmed_since, again.past_due_since) == (first.unconfirmed_since, first.past_due_since)


async def test_a_confirmation_that_fails_is_a_failed_payment_like_any_other(shop: Any) -> None:
    customer_id = await shop.buyer(card=ASKS_ALWAYS)
    await renew(shop, customer_id)
    url = await find_confirmation(shop.sync, customer_id)
    await shop.sandbox.answer_bank(await shop.sandbox.http.post(f"{url}/confirm"), "fail")
    await shop.settle()
    recorded = await shop.load(customer_id)
    assert (recorded.status, recorded.unconfirmed_since) == ("past_due", None)
    assert (await warning(shop, customer_id)).startswith("The last payment failed.")


async def test_an_upgrade_waits_for_its_confirmation_with_the_old_plan(shop: Any) -> None:
    customer_id = await shop.buyer(card=ASKS_ALWAYS)
    changed = await changes_of(shop).apply(customer_id, "enterprise-monthly", actor="customer")
    assert changed.result.is_pending
    waiting = await shop.load(customer_id)
    assert (waiting.plan_id, waiting.is_unconfirmed) == ("pro-monthly", True)
    assert "waits for its payment to be confirmed with its bank; until then the old plan stays." in await warning(
        shop, customer_id
    )
    assert changed.result.payment_url == await find_confirmation(shop.sync, customer_id)
    again = await changes_of(shop).apply(customer_id, "enterprise-monthly", actor="customer")
    assert again.result == changed.result
    await shop.sandbox.confirm(changed.result.payment_url)
    await shop.settle()
    applied = await shop.load(customer_id)
    assert (applied.plan_id, applied.unconfirmed_since, applied.flags) == ("enterprise-monthly", None, ())


async def test_an_upgrade_that_is_not_confirmed_is_given_up_after_23_hours(shop: Any) -> None:
    customer_id = await shop.buyer(card=ASKS_ALWAYS)
    await changes_of(shop).apply(customer_id, "enterprise-monthly", actor="customer")
    await shop.sandbox.control("clock/advance", seconds=23 * HOUR_S + 60)
    await shop.settle()
    given_up = await shop.load(customer_id)
    assert (given_up.plan_id, given_up.unconfirmed_since, given_up.flags) == ("pro-monthly", None, ())
    assert await warning(shop, customer_id) == ""


async def test_whoever_owes_a_confirmation_is_led_there_before_anything_is_changed(shop: Any) -> None:
    customer_id = await shop.buyer(card=ASKS_ALWAYS)
    await renew(shop, customer_id)
    with pytest.raises(PaymentRequired, match="waits to be confirmed with its bank") as refused:
        await changes_of(shop).apply(customer_id, "enterprise-monthly", actor="customer")
    assert refused.value.is_unconfirmed
    assert refused.value.payment_url == await find_confirmation(shop.sync, customer_id)


async def test_a_key_that_may_not_see_payments_reads_everything_else(shop: Any) -> None:
    """Restricted keys of before have no such permission, and nobody is to lose a tier by it."""
    customer_id = await shop.buyer(card=ASKS_ALWAYS)
    await renew(shop, customer_id)
    row = await shop.ledger.find_customer(customer_id)
    ask = through(shop.sandbox.url)
    refusal = {"error": {"type": "invalid_request_error", "message": "The key does not have the required permissions"}}

    async def restricted(request: Any) -> Answer:
        return Answer(status=403, body=refusal) if request.path == "/v1/invoice_payments" else await ask(request)

    proxy = StandIn()
    proxy.handler = restricted
    async with proxy.listening(), opened(StripeOptions(secret_key=shop.sandbox.key, base_url=proxy.url)) as billing:
        found = await billing.facts.fetch_subscriptions(row.stripe_customer_id)
    [facts] = found.subscriptions
    assert (facts.status, facts.confirmation_url) == ("past_due", None)
    assert facts.payment_url is not None
