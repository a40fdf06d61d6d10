"""Whose thin events a sweep looks through, and from when on: since the last one ended, if it can."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import datetime
from typing import Any

import pytest

from gateway.core.errors import BillingUnavailable
from gateway.ledger import Ledger
from gateway.sync import EventWorker, Sync
from tests.billing.conftest import DAY, NOW, Answer, Request, SetClock, StandIn

HERE = "http://localhost/webhook"
THREE_DAYS_AGO = -3 * DAY
LATER_S = 1_000
PATIENCE_S, OVERLAP_S = 600, 60


def destination(*types: str, born: int = -100 * DAY, number: int = 1, **changes: Any) -> dict[str, Any]:
    """One that leads here, made so many seconds after `NOW`."""
    return {
        "id": f"ed_{number}",
        "object": "v2.core.event_destination",
        "created": f"{datetime.fromtimestamp(NOW + born).astimezone().isoformat()}",
        "enabled_events": list(types),
        "event_payload": "thin",
        "livemode": False,
        "name": "thin",
        "snapshot_api_version": None,
        "status": "enabled",
        "type": "webhook_endpoint",
        "webhook_endpoint": {"url": HERE},
        **changes,
    }


class Stripe:
    """Destinations, and what is asked of thin events."""

    def __init__(self, stand_in: StandIn) -> None:
        self.destinations: list[dict[str, Any]] = []
        self.pages = 1
        self.is_down = False
        self.may_read = True
        self.asked: list[Request] = []
        stand_in.handler = self.answer

    async def answer(self, request: Request) -> Answer:
        if request.path == "/v1/events":
            return Answer(body={"object": "list", "data": [], "has_more": False, "url": "/v1/events"})
        if request.path == "/v2/core/event_destinations" and not self.may_read:
            return Answer(status=403, body={"error": {"code": "forbidden", "message": "not with this key"}})
        if request.path == "/v2/core/event_destinations":
            return Answer(body={"data": self.destinations, "next_page_url": None, "previous_page_url": None})
        self.asked.append(request)
        page = int(request.query.get("page", ["1"])[0])
        if self.is_down and page > 1:
            return Answer(status=503, body={"error": {"type": "api_error", "message": "broken"}})
        following = f"/v2/core/events?page={page + 1}" if page < self.pages else None
        return Answer(body={"data": [], "next_page_url": following, "previous_page_url": None})

    def since(self) -> list[int]:
        """From when on it was asked for events since the last look, in seconds after `NOW`."""
        found = [one.query["created[gte]"][0] for one in self.asked if "created[gte]" in one.query]
        self.asked.clear()
        return [int(datetime.fromisoformat(one).timestamp()) - NOW for one in found]


@pytest.fixture
def stripe(stand_in: StandIn, sync: Sync) -> Stripe:
    assert sync.billing.is_configured
    return Stripe(stand_in)


@pytest.fixture
def start(ledger: Ledger, sync: Sync, clock: SetClock) -> Callable[[], EventWorker]:
    """The worker of a process that has just started."""
    return lambda: EventWorker(ledger=ledger, sync=sync, clock=clock, url=HERE)


async def test_the_first_sweep_is_of_three_days_or_since_the_first_destination_was_made(
    stripe: Stripe, start: Callable[[], EventWorker]
) -> None:
    stripe.destinations = [destination("v1.invoice.paid")]
    await start().sweep()
    assert stripe.since() == [THREE_DAYS_AGO]


async def test_a_destination_that_is_young_is_swept_for_since_it_was_made(
    stripe: Stripe, start: Callable[[], EventWorker]
) -> None:
    stripe.destinations = [destination("v1.invoice.paid", born=-DAY), destination("v1.invoice.voided", born=-DAY // 2)]
    await start().sweep()
    assert stripe.since() == [-DAY]


async def test_whoever_starts_goes_on_from_where_the_last_sweep_ended(
    stripe: Stripe, start: Callable[[], EventWorker], clock: SetClock
) -> None:
    stripe.destinations = [destination("v1.invoice.paid")]
    await start().sweep()
    clock.at += LATER_S
    await start().sweep()
    assert stripe.since() == [THREE_DAYS_AGO, -PATIENCE_S - OVERLAP_S]
    clock.at += 10 * DAY
    await start().sweep()
    assert stripe.since() == [LATER_S + 10 * DAY - 3 * DAY], "what is older is reconciliation's"


@pytest.mark.parametrize(
    ("before", "after", "goes_on"),
    [
        (("v1.invoice.paid", "v1.invoice.voided"), destination("v1.invoice.paid"), True),
        (("*",), destination("v1.invoice.paid"), True),
        (("v1.invoice.paid",), destination("v1.invoice.paid", number=2, born=-PATIENCE_S), True),
        (("v1.invoice.paid",), destination("v1.invoice.paid", "v1.invoice.voided"), False),
        (("v1.invoice.paid",), destination("*"), False),
        (("v1.invoice.paid",), destination("*", number=2, born=LATER_S - 1), True),
    ],
    ids=[
        "a type less",
        "not everything any more",
        "another in its place",
        "a type more",
        "everything now",
        "another that gets more",
    ],
)
async def test_what_was_swept_counts_for_the_types_that_it_was_of(
    before: tuple[str, ...],
    after: dict[str, Any],
    goes_on: bool,  # noqa: FBT001 - a parameter of the test
    stripe: Stripe,
    start: Callable[[], EventWorker],
    clock: SetClock,
) -> None:
    worker = start()
    stripe.destinations = [destination(*before)]
    await worker.sweep()
    stripe.since()
    stripe.destinations = [after]
    clock.at += LATER_S
    await worker.sweep()
    assert set(stripe.since()) == {-PATIENCE_S - OVERLAP_S if goes_on else LATER_S + THREE_DAYS_AGO}


async def test_where_none_leads_here_any_more_what_was_swept_is_forgotten(
    stripe: Stripe, start: Callable[[], EventWorker], clock: SetClock
) -> None:
    stripe.destinations = [destination("v1.invoice.paid")]
    await start().sweep()
    stripe.destinations = [destination("v1.invoice.paid", event_payload="snapshot")]
    clock.at += DAY
    await start().sweep()
    stripe.destinations = [destination("v1.invoice.paid", born=DAY)]
    clock.at += DAY
    stripe.since()
    await start().sweep()
    assert stripe.since() == [DAY], "an endpoint told the rest"


async def break_off(stripe: Stripe, worker: EventWorker) -> None:
    """Stripe answers the first page of three, and no other from then on."""
    stripe.destinations = [destination("v1.invoice.paid")]
    stripe.pages, stripe.is_down = 3, True
    with pytest.raises(BillingUnavailable):
        await worker.sweep()
    stripe.asked.clear()


async def test_a_sweep_that_was_broken_off_is_gone_on_with_by_whoever_starts(
    stripe: Stripe, start: Callable[[], EventWorker], clock: SetClock
) -> None:
    await break_off(stripe, start())
    stripe.is_down = False
    clock.at += LATER_S
    await start().sweep()
    assert [one.query.get("page") for one in stripe.asked] == [["2"], ["3"]]
    stripe.since()
    await start().sweep()
    assert stripe.since() == [-PATIENCE_S - OVERLAP_S], "where the one that was broken off had to end"


async def test_a_place_behind_which_all_is_too_old_is_none(
    stripe: Stripe, start: Callable[[], EventWorker], clock: SetClock
) -> None:
    await break_off(stripe, start())
    clock.at += 10 * DAY
    with pytest.raises(BillingUnavailable):
        await start().sweep()
    assert stripe.since() == [10 * DAY + THREE_DAYS_AGO], "the gateway was off for days, or Stripe never answers there"


async def test_who_is_cancelled_in_one_sweep_begins_no_other(
    stripe: Stripe, start: Callable[[], EventWorker], stand_in: StandIn
) -> None:
    stripe.destinations = [destination("v1.invoice.paid")]
    is_asked, answer = asyncio.Event(), stripe.answer

    async def answer_never(request: Request) -> Answer:
        if request.path == "/v1/events":
            is_asked.set()
            await asyncio.Event().wait()
        return await answer(request)

    stand_in.handler = answer_never
    sweeping = asyncio.create_task(start().sweep())
    await is_asked.wait()
    sweeping.cancel()
    with pytest.raises(asyncio.CancelledError):
        await sweeping
    assert [request.path for request in stand_in.requests] == ["/v1/events"]


async def test_who_could_not_read_destinations_leaves_what_others_have_swept(
    stripe: Stripe, start: Callable[[], EventWorker], clock: SetClock
) -> None:
    stripe.destinations = [destination("v1.invoice.paid")]
    refused, other = start(), start()
    stripe.may_read = False
    await refused.sweep()
    stripe.may_read = True
    await other.sweep()
    stripe.since()
    clock.at += LATER_S
    await refused.sweep()
    assert stripe.since() == [], "it asks once a day"
    await other.sweep()
    assert stripe.since() == [-PATIENCE_S - OVERLAP_S], "three days were listed by each sweep for as long"


async def test_a_key_that_may_not_read_destinations_is_not_asked_again_for_a_day(
    stripe: Stripe, start: Callable[[], EventWorker], stand_in: StandIn, clock: SetClock
) -> None:
    stripe.may_read = False
    worker = start()
    for times, later_s in ((1, 0), (1, DAY - 1), (2, 1)):
        clock.at += later_s
        assert await worker.sweep() == 0
        assert [one.path for one in stand_in.requests].count("/v2/core/event_destinations") == times


@pytest.mark.parametrize("is_live", [True, False], ids=["live", "test"])
async def test_only_a_destination_of_this_mode_is_swept_for(
    stripe: Stripe, start: Callable[[], EventWorker], *, is_live: bool
) -> None:
    stripe.destinations = [destination("*", livemode=is_live)]
    assert await start().sweep() == 0
    assert bool(stripe.asked) == (not is_live), "the key is of test mode"
