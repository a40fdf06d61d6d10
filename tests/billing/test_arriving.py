"""What became of a checkout: asked of Stripe until it is known for good, and then no more."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.ledger import CheckoutRow, Ledger
from gateway.sync import Arrivals, Sync
from tests.billing.conftest import CUS, NOW, Answer, Request, StandIn

SESSION = {
    "id": "cs_1",
    "object": "checkout.session",
    "metadata": {},
    "customer": CUS,
    "client_reference_id": None,
    "subscription": None,
    "expires_at": NOW,
}


class Session:
    """A checkout at Stripe; everything else is the account's."""

    def __init__(self, stand_in: StandIn, account: Any) -> None:
        self.fields = {"status": "open", "payment_status": "unpaid"}
        self.is_hidden = False
        self._stand_in, self._account = stand_in, account
        stand_in.handler = self.answer

    async def answer(self, request: Request) -> Answer:
        if request.path == "/v1/checkout/sessions/cs_1":
            return Answer(body=SESSION | self.fields)
        if self.is_hidden:
            return Answer(status=403, body={"error": {"type": "invalid_request_error", "message": "no permission"}})
        answer: Answer = await self._account.answer(request)
        return answer

    @property
    def asked(self) -> int:
        return len(self._stand_in.requests)


@pytest.fixture
async def checkout(ledger: Ledger, customer: str) -> CheckoutRow:
    await ledger.add_checkout(
        session_id="cs_1", customer_id=customer, plan_id="pro-monthly", claim_digest=None, now=NOW
    )
    found = await ledger.find_checkout("cs_1")
    assert found is not None
    return found


async def test_a_checkout_that_is_paid_and_recorded_is_not_asked_for_again(
    sync: Sync, stand_in: StandIn, account: Any, checkout: CheckoutRow
) -> None:
    session, arrivals = Session(stand_in, account), Arrivals(sync)
    assert [await arrivals.arrive(checkout) for _ in range(2)] == ["waiting", "waiting"]
    assert (session.asked, arrivals.find("cs_1")) == (2, None)
    session.fields = {"status": "complete", "payment_status": "paid"}
    assert await arrivals.arrive(checkout) == "paid"
    assert sync.applied == 1
    before = session.asked
    assert [await arrivals.arrive(checkout) for _ in range(20)] == ["paid"] * 20
    assert (session.asked, sync.applied) == (before, 1)


async def test_what_was_paid_and_could_not_be_recorded_is_tried_again(
    sync: Sync, stand_in: StandIn, account: Any, checkout: CheckoutRow
) -> None:
    session, arrivals = Session(stand_in, account), Arrivals(sync)
    session.fields, session.is_hidden = {"status": "complete", "payment_status": "paid"}, True
    assert await arrivals.arrive(checkout) == "paid"
    assert (sync.applied, arrivals.find("cs_1")) == (0, None)
    session.is_hidden = False
    assert await arrivals.arrive(checkout) == "paid"
    assert (sync.applied, arrivals.find("cs_1")) == (1, "paid")


async def test_a_checkout_that_expired_is_remembered(
    sync: Sync, stand_in: StandIn, account: Any, checkout: CheckoutRow
) -> None:
    session, arrivals = Session(stand_in, account), Arrivals(sync)
    session.fields = {"status": "expired", "payment_status": "unpaid"}
    assert [await arrivals.arrive(checkout) for _ in range(3)] == ["expired"] * 3
    assert session.asked == 1
