"""A sweep of what Stripe could not deliver: all of it, at the pace of background work, also after a break."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from gateway.core.errors import BillingRefused, BillingUnavailable
from gateway.ledger import Ledger
from gateway.sync import EventWorker, Sync
from tests.billing.conftest import Answer, Request, StandIn, event

PAGE = 100


class Undelivered:
    """Stripe's list of events, newest first, page by page."""

    def __init__(self, stand_in: StandIn, events: list[dict[str, Any]]) -> None:
        self.events = events
        self.asked_behind: list[str | None] = []
        self.fails_behind: dict[str, int] = {}
        """Status of the answer to what is asked behind an event."""
        stand_in.handler = self.answer

    async def answer(self, request: Request) -> Answer:
        wanted = {value[0] for name, value in request.query.items() if name.startswith("types")}
        rows = [one for one in self.events if one["type"] in wanted]
        after = request.query.get("starting_after", [None])[0]
        self.asked_behind.append(after)
        if after in self.fails_behind:
            return Answer(
                status=self.fails_behind[after],
                headers={"Stripe-Should-Retry": "false"},
                body={"error": {"type": "api_error", "message": "broken"}},
            )
        if after is not None:
            rows = rows[[one["id"] for one in rows].index(after) + 1 :]
        data, has_more = rows[:PAGE], len(rows) > PAGE
        return Answer(body={"object": "list", "data": data, "has_more": has_more, "url": "/v1/events"})


def paid(number: int, **changes: Any) -> dict[str, Any]:
    return event(f"evt_{number}", "invoice.paid", {"id": f"in_{number}", "object": "invoice"}, **changes)


DISPUTE = event("evt_dispute", "charge.dispute.created", {"id": "du_1", "object": "dispute"})


async def test_a_sweep_comes_to_the_end_however_many_there_are_and_each_page_has_a_turn(
    new_worker: Callable[..., EventWorker], stand_in: StandIn, ledger: Ledger, sync: Sync
) -> None:
    of_live_mode = [paid(number, livemode=True) for number in range(5_100)]
    stripe = Undelivered(stand_in, [*of_live_mode, paid(5_100), DISPUTE])
    worker = new_worker()
    assert await worker.sweep() == 2
    assert await ledger.find_event("evt_dispute") is not None
    assert sync.billing.pace.turns == len(stripe.asked_behind)
    assert (await worker.sweep(), worker.swept) == (0, 2)


async def test_a_sweep_that_an_outage_broke_off_goes_on_behind_the_last_page(
    new_worker: Callable[..., EventWorker], stand_in: StandIn
) -> None:
    stripe = Undelivered(stand_in, [*(paid(number) for number in range(250)), DISPUTE])
    stripe.fails_behind["evt_199"] = 503
    worker = new_worker()
    for found in (200, 200):
        with pytest.raises(BillingUnavailable):
            await worker.sweep()
        assert worker.swept == found
    stripe.fails_behind.clear()
    stripe.asked_behind.clear()
    assert await worker.sweep() == 51
    assert stripe.asked_behind[0] == "evt_199"
    assert (await worker.sweep(), worker.swept) == (0, 251)


async def test_a_place_that_stripe_does_not_know_any_more_is_left(
    new_worker: Callable[..., EventWorker], stand_in: StandIn
) -> None:
    stripe = Undelivered(stand_in, [paid(number) for number in range(150)])
    stripe.fails_behind["evt_99"] = 400
    worker = new_worker()
    with pytest.raises(BillingRefused):
        await worker.sweep()
    stripe.fails_behind.clear()
    stripe.asked_behind.clear()
    assert await worker.sweep() == 50
    assert stripe.asked_behind[:2] == [None, "evt_99"]
