"""Payments that are given back, or disputed with the bank."""

from __future__ import annotations

from typing import Any

import pytest
import stripe

pytestmark = pytest.mark.slow


async def paid(sandbox: Any) -> Any:
    subscription = await sandbox.subscribe()
    return (await sandbox.v1.charges.list_async({"customer": subscription.customer})).data[0]


async def types(sandbox: Any, beginning: str) -> list[str]:
    return [event.type for event in await sandbox.events() if event.type.startswith(beginning)]


async def test_a_payment_is_a_charge_of_what_was_due(sandbox: Any) -> None:
    charge = await paid(sandbox)
    assert (charge.amount, charge.currency, charge.disputed, charge.refunded) == (2_900, "usd", False, False)


async def test_a_refund_is_at_most_what_is_left(sandbox: Any) -> None:
    charge = await paid(sandbox)
    await sandbox.v1.refunds.create_async({"charge": charge.id, "amount": 900})
    with pytest.raises(stripe.InvalidRequestError):
        await sandbox.v1.refunds.create_async({"charge": charge.id, "amount": 2_001})
    await sandbox.v1.refunds.create_async({"charge": charge.id})
    after = await sandbox.v1.charges.retrieve_async(charge.id)
    assert (after.amount_refunded, after.refunded) == (2_900, True)
    with pytest.raises(stripe.InvalidRequestError) as refused:
        await sandbox.v1.refunds.create_async({"charge": charge.id})
    assert refused.value.code == "charge_already_refunded"
    assert await types(sandbox, "charge.") == ["charge.refunded", "charge.refunded"]
    assert await types(sandbox, "refund.") == ["refund.created", "refund.created"]


async def test_a_refund_that_fails_is_the_sellers_again_and_can_be_made_anew(sandbox: Any) -> None:
    charge = await paid(sandbox)
    refund = await sandbox.v1.refunds.create_async({"charge": charge.id})
    assert (refund.status, refund.payment_intent) == ("succeeded", charge.payment_intent)
    await sandbox.control(f"refunds/{refund.id}/fail", reason="declined")
    failed = await sandbox.v1.refunds.retrieve_async(refund.id, {"expand": ["charge"]})
    assert (failed.status, failed.failure_reason) == ("failed", "declined")
    assert (failed.charge.amount_refunded, failed.charge.refunded) == (0, False)
    assert await types(sandbox, "refund.") == ["refund.created", "refund.updated", "refund.failed"]
    again = await sandbox.http.post(f"{sandbox.running.stripe_url}/_sandbox/refunds/{refund.id}/fail", json={})
    assert again.status_code == 400
    await sandbox.v1.refunds.create_async({"charge": charge.id})
    assert (await sandbox.v1.charges.retrieve_async(charge.id)).refunded is True


async def test_what_a_bank_took_back_cannot_be_refunded_and_what_was_refunded_cannot_be_disputed(sandbox: Any) -> None:
    charge = await paid(sandbox)
    opened = await sandbox.control("disputes", charge=charge.id)
    for status in ("needs_response", "lost"):
        await sandbox.control(f"disputes/{opened['id']}", status=status)
        with pytest.raises(stripe.InvalidRequestError) as refused:
            await sandbox.v1.refunds.create_async({"charge": charge.id})
        assert refused.value.code == "charge_disputed"
    other = await paid(sandbox)
    await sandbox.v1.refunds.create_async({"charge": other.id})
    answer = await sandbox.http.post(f"{sandbox.running.stripe_url}/_sandbox/disputes", json={"charge": other.id})
    assert answer.status_code == 400


async def test_the_payments_of_an_invoice_lead_to_its_charge(sandbox: Any) -> None:
    subscription = await sandbox.subscribe()
    charge = (await sandbox.v1.charges.list_async({"customer": subscription.customer})).data[0]
    [found] = (
        await sandbox.v1.invoice_payments.list_async(
            {
                "invoice": subscription.latest_invoice,
                "status": "paid",
                "expand": ["data.payment.payment_intent.latest_charge"],
            }
        )
    ).data
    assert found.payment.payment_intent.latest_charge.id == charge.id


async def test_a_dispute_is_opened_moved_and_closed(sandbox: Any) -> None:
    charge = await paid(sandbox)
    opened = await sandbox.control("disputes", customer=charge.customer)
    assert (opened["charge"], opened["status"], opened["amount"]) == (charge.id, "needs_response", 2_900)
    await sandbox.control(f"disputes/{opened['id']}", status="under_review")
    await sandbox.control(f"disputes/{opened['id']}", status="won")
    await sandbox.control(f"disputes/{opened['id']}", status="appeal_under_review")
    found = await sandbox.v1.disputes.retrieve_async(opened["id"], {"expand": ["charge"]})
    assert (found.status, found.charge.disputed) == ("appeal_under_review", True)
    assert await types(sandbox, "charge.dispute") == [
        "charge.dispute.created",
        "charge.dispute.updated",
        "charge.dispute.closed",
        "charge.dispute.updated",
    ]


async def test_a_dispute_that_the_seller_accepts_is_lost_and_cannot_be_accepted_again(sandbox: Any) -> None:
    charge = await paid(sandbox)
    opened = await sandbox.control("disputes", charge=charge.id)
    assert (await sandbox.v1.disputes.close_async(opened["id"])).status == "lost"
    with pytest.raises(stripe.InvalidRequestError):
        await sandbox.v1.disputes.close_async(opened["id"])


@pytest.mark.parametrize(
    "body",
    [{"charge": "ch_none"}, {"customer": "cus_none"}, {"charge": "ch_none", "status": "whatever"}],
    ids=["no such charge", "nothing paid", "no such status"],
)
async def test_a_dispute_that_cannot_be_is_refused(sandbox: Any, body: dict[str, str]) -> None:
    answer = await sandbox.http.post(f"{sandbox.running.stripe_url}/_sandbox/disputes", json=body)
    assert answer.status_code == 400


async def disputed(sandbox: Any) -> Any:
    """The dispute of a payment with the card of those who dispute."""
    subscription = await sandbox.subscribe(card="4000 0000 0000 0259")
    [charge] = (await sandbox.v1.charges.list_async({"customer": subscription.customer})).data
    assert (subscription.status, charge.disputed) == ("active", True)
    [dispute] = (await sandbox.v1.disputes.list_async({"charge": charge.id})).data
    return dispute


async def test_who_pays_with_the_card_of_those_who_dispute_does_so_at_once(sandbox: Any) -> None:
    dispute = await disputed(sandbox)
    assert (dispute.status, dispute.reason) == ("needs_response", "fraudulent")
    told = await types(sandbox, "")
    assert told.index("invoice.paid") < told.index("charge.dispute.created")


@pytest.mark.parametrize(
    ("text", "status", "told"),
    [
        ("winning_evidence", "won", ["created", "updated", "closed"]),
        ("losing_evidence", "lost", ["created", "updated", "closed"]),
        ("They asked for it.", "under_review", ["created", "updated"]),
    ],
)
async def test_the_words_of_the_evidence_decide_a_dispute_as_stripe_tests_them(
    sandbox: Any, text: str, status: str, told: list[str]
) -> None:
    dispute = await disputed(sandbox)
    staged = await sandbox.v1.disputes.update_async(
        dispute.id, {"evidence": {"uncategorized_text": text}, "submit": False}
    )
    assert (staged.status, staged.evidence_details.submission_count) == ("needs_response", 0)
    await sandbox.v1.disputes.update_async(dispute.id, {"submit": True})
    found = await sandbox.v1.disputes.retrieve_async(dispute.id)
    assert (found.status, found.evidence.uncategorized_text) == (status, text)
    assert (found.evidence_details.has_evidence, found.evidence_details.submission_count) == (True, 1)
    assert await types(sandbox, "charge.dispute") == [f"charge.dispute.{word}" for word in told]


async def test_a_dispute_that_is_closed_takes_no_evidence(sandbox: Any) -> None:
    dispute = await disputed(sandbox)
    await sandbox.v1.disputes.close_async(dispute.id)
    with pytest.raises(stripe.InvalidRequestError):
        await sandbox.v1.disputes.update_async(dispute.id, {"evidence": {"uncategorized_text": "winning_evidence"}})
