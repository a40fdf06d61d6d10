"""What becomes of payments: given back, disputed with the bank, or not collected for a while."""

from __future__ import annotations

import pytest

from gateway.core.lifecycle import DISPUTED
from tests.live.catalog import PRICES
from tests.live.life import DISPUTES, GOOD_CARD

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

AFTER_S = 2 * 3600


def flags(found):
    return {name for name, _ in found.flags}


async def charge_of(life):
    """The customer's only payment."""
    page = await life.stripe.v1.charges.list_async({"customer": life.cus})
    [charge] = page.data
    assert charge.amount == PRICES["pro-monthly"][1]
    return charge


async def test_a_refund_is_in_the_audit_log_and_changes_no_access(life):
    await life.subscribe()
    charge = await charge_of(life)
    await life.stripe.v1.refunds.create_async({"charge": charge.id, "amount": 900})

    async def recorded():
        await life.hear()
        return "payment-refunded" in await life.audited()

    assert await life.eventually(recorded)
    refund = await life.billing.facts.fetch_refund(charge.id)
    assert (refund["amount_refunded"], refund["refunded"]) == (900, False)
    assert await life.standing() == ("good", "pro")


@pytest.mark.parametrize(
    ("way", "status"), [("winning_evidence", "won"), ("losing_evidence", "lost"), ("accept", "lost")]
)
async def test_a_dispute_is_a_flag_until_it_is_closed(life, way, status):
    await life.subscribe(card=DISPUTES)
    await life.until(lambda found: DISPUTED in flags(found))
    access = await life.access()
    assert (access.standing, access.tier.name) == ("good", "pro")
    assert access.warning is not None
    charge = await charge_of(life)
    [dispute] = (await life.stripe.v1.disputes.list_async({"charge": charge.id})).data
    assert (dispute.reason, dispute.status) == ("fraudulent", "needs_response")
    assert dispute.id in {
        one.dispute_id for one in (await life.billing.facts.fetch_open_disputes(life.began_at - 60))[0]
    }
    if way == "accept":
        await life.stripe.v1.disputes.close_async(dispute.id)
    else:
        await life.stripe.v1.disputes.update_async(dispute.id, {"evidence": {"uncategorized_text": way}})
    await life.until(lambda found: DISPUTED not in flags(found))
    assert (await life.stripe.v1.disputes.retrieve_async(dispute.id)).status == status
    assert (await life.access()).warning is None


@pytest.mark.parametrize(
    ("behavior", "flag"), [("void", "pause_collection_void"), ("keep_as_draft", "pause_collection")]
)
async def test_while_collection_is_paused_nothing_is_charged_and_the_tier_stays(life, behavior, flag):
    subscription_id = await life.subscribe()
    first = await life.ledger.load_subscription(life.customer_id)
    await life.stripe.v1.subscriptions.update_async(subscription_id, {"pause_collection": {"behavior": behavior}})
    await life.until(lambda found: flag in flags(found))
    await life.advance_to(first.period_ends_at + AFTER_S)
    await life.until(lambda found: found.period_starts_at == first.period_ends_at)
    assert await life.standing() == ("good", "pro")
    assert await life.eventually(lambda: set_aside(life, behavior))
    assert (await charge_of(life)).refunded is False
    await life.stripe.v1.subscriptions.update_async(subscription_id, {"pause_collection": ""})
    await life.until(lambda found: not flags(found))


async def set_aside(life, behavior):
    """Whether the renewal's invoice is what it is to be while collection is paused."""
    statuses = [one.status for one in await life.invoices()]
    return statuses == ["paid", {"void": "void", "keep_as_draft": "draft"}[behavior]]


async def test_who_was_deleted_at_stripe_has_what_nobody_has(life):
    await life.subscribe(on_clock=False)
    await life.stripe.v1.customers.delete_async(life.cus)
    life.made.discard(life.cus)
    await life.until(lambda found: found.status in {"canceled", "customer_deleted"})
    life.clock.at += 60  # the sandbox's time goes on meanwhile
    assert await life.standing() == ("lapsed", "free")


async def test_a_subscription_whose_first_payment_waits_grants_nothing_until_it_is_made(life):
    await life.new_customer()
    await life.new_card(GOOD_CARD)
    order = {
        "customer": life.cus,
        "items": [{"price": life.account.prices["pro-monthly"]}],
        "payment_behavior": "default_incomplete",
    }
    subscription = await life.stripe.v1.subscriptions.create_async(order)
    await life.until(lambda found: found is not None and found.status == "incomplete")
    assert await life.standing() == ("lapsed", "free")
    await life.settle_latest(subscription.id)
    await life.until(lambda found: found.status == "active")
    assert await life.standing() == ("good", "pro")
