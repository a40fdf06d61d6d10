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
