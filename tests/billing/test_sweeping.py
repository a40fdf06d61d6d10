"""A sweep of what Stripe could not deliver: all of it, at the pace of background work, also after a break."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from gateway.core.errors import BillingRefused, BillingUnavailable, LedgerUnavailable
from gateway.ledger import Ledger, Swept
from gateway.ledger.database import Database
from gateway.settings import Settings
from gateway.sync import EventWorker, Sync
from gateway.sync.sweeping import LEASE_S
from tests.billing.conftest import Answer, Request, SetClock, StandIn, event

pytestmark = pytest.mark.slow

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


async def test_one_that_was_broken_off_is_gone_on_with_by_another_process(
    new_worker: Callable[..., EventWorker], stand_in: StandIn
) -> None:
    stripe = Undelivered(stand_in, [paid(number) for number in range(250)])
    stripe.fails_behind["evt_199"] = 503
    with pytest.raises(BillingUnavailable):
        await new_worker().sweep()
    stripe.fails_behind.clear()
    stripe.asked_behind.clear()
    assert await new_worker().sweep() == 50
    assert stripe.asked_behind[0] == "evt_199"


async def test_a_place_among_the_types_of_another_release_is_left(
    new_worker: Callable[..., EventWorker], stand_in: StandIn, ledger: Ledger
) -> None:
    stripe = Undelivered(stand_in, [paid(1)])
    for place in ({"types": 1, "after": "evt_9", "of": ["invoice.paid"]}, {"page": 2}):
        assert await ledger.claim_sweep("undelivered", "another", now=0, lease_s=1) is not None
        assert await ledger.end_sweep("undelivered", "another", Swept(place=place))
        stripe.asked_behind.clear()
        await new_worker().sweep()
        assert set(stripe.asked_behind) == {None}
    assert await ledger.find_event("evt_1") is not None


async def test_one_worker_sweeps_at_a_time(
    new_worker: Callable[..., EventWorker], stand_in: StandIn, ledger: Ledger
) -> None:
    stripe = Undelivered(stand_in, [paid(1)])
    begun, goes_on = asyncio.Event(), asyncio.Event()

    async def slowly(request: Request) -> Answer:
        begun.set()
        await goes_on.wait()
        return await stripe.answer(request)

    stand_in.handler = slowly
    first = asyncio.create_task(new_worker().sweep())
    await begun.wait()
    stand_in.handler = stripe.answer
    assert (await new_worker().sweep(), stripe.asked_behind) == (0, [])
    goes_on.set()
    assert await first == 1
    assert await new_worker().sweep() == 0
    assert len(stripe.asked_behind) > 2, "it swept"
    assert await ledger.find_event("evt_1") is not None


async def test_the_sweep_of_a_process_that_was_killed_is_gone_on_with_before_sweeps_are_due_again(
    new_worker: Callable[..., EventWorker], stand_in: StandIn, ledger: Ledger, clock: SetClock
) -> None:
    Undelivered(stand_in, [paid(1)])
    await ledger.claim_sweep("undelivered", "killed", now=clock.at, lease_s=LEASE_S)
    assert await new_worker().sweep() == 0
    clock.at += LEASE_S
    assert await new_worker().sweep() == 1
    assert Settings.model_fields["event_sweep_interval_s"].default > LEASE_S


async def test_a_sweep_that_was_cancelled_is_nobodys(
    new_worker: Callable[..., EventWorker], stand_in: StandIn, ledger: Ledger
) -> None:
    stripe = Undelivered(stand_in, [paid(1)])
    begun = asyncio.Event()

    async def never(_: Request) -> Answer:
        begun.set()
        return await asyncio.get_running_loop().create_future()

    stand_in.handler = never
    sweep = asyncio.create_task(new_worker().sweep())
    await begun.wait()
    sweep.cancel()
    with pytest.raises(asyncio.CancelledError):
        await sweep
    stand_in.handler = stripe.answer
    assert await new_worker().sweep() == 1
    assert await ledger.find_event("evt_1") is not None


async def test_a_page_that_the_ledger_could_not_store_is_swept_again(
    new_worker: Callable[..., EventWorker], stand_in: StandIn, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    Undelivered(stand_in, [paid(number) for number in range(150)])
    see_through = Database.see_through

    async def store_nothing(database: Database, work: Any) -> Any:
        if work.__name__ == "store_event":
            work.close()
            raise LedgerUnavailable("The ledger does not answer.")
        return await see_through(database, work)

    with monkeypatch.context() as away:
        away.setattr(Database, "see_through", store_nothing)
        with pytest.raises(LedgerUnavailable):
            await new_worker().sweep()
    assert await new_worker().sweep() == 150
    assert await ledger.find_event("evt_149") is not None


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
