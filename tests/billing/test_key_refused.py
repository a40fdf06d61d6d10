"""Stripe does not accept the key: what waits for another key is neither dead nor done."""

from typing import Any

import pytest

from gateway.ledger import Ledger
from gateway.sync import EventWorker, Reconciler, Schedule, Sync
from tests.billing.conftest import CUS, DAY, NOW, Answer, Request, SetClock, StandIn

FAST = Schedule(interval_s=DAY, per_second=1000)


def refuse(stand_in: StandIn, status: int) -> None:
    stand_in.account_id = None
    stand_in.always(
        Answer(status=status, body={"error": {"type": "invalid_request_error", "message": "Expired API Key provided"}})
    )


@pytest.mark.parametrize("status", [401, 403])
async def test_events_wait_for_a_key_that_works(  # noqa: PLR0913 - a case and fixtures
    *,
    status: int,
    sync: Sync,
    ledger: Ledger,
    account: Any,
    customer: str,
    clock: SetClock,
    stand_in: StandIn,
    new_worker: Any,
    deliver: Any,
) -> None:
    await sync.sync_customer(customer, "before")
    await deliver("evt_1", "customer.subscription.updated", {"id": "sub_1", "object": "subscription", "customer": CUS})
    refuse(stand_in, status)
    worker: EventWorker = new_worker(tries=2)
    for _ in range(6):
        await worker.work_once()
        clock.at += 600
    waiting = await ledger.find_event("evt_1")
    assert waiting is not None
    assert (waiting.status, waiting.failures) == ("pending", 0)
    assert waiting.attempts > 2
    stand_in.handler = account.answer
    await worker.work_once()
    done = await ledger.find_event("evt_1")
    assert done is not None
    assert done.outcome == "applied"


async def test_a_reconciliation_under_a_rejected_key_is_not_done(
    sync: Sync, ledger: Ledger, account: Any, customer: str, clock: SetClock, stand_in: StandIn
) -> None:
    await sync.sync_customer(customer, "before")
    await sync.account.check()
    refuse(stand_in, 401)
    one = Reconciler(ledger=ledger, sync=sync, clock=clock, schedule=FAST)
    report = await one.run()
    assert (report.failed, report.checked) == (1, 0)
    assert "credentials" in str(report.stopped_because)
    row = await ledger.find_reconciliation()
    assert row is not None
    assert (row.finished_at, row.cursor) == (None, "")
    stand_in.handler = account.answer
    again = await one.run_if_due()
    assert again is not None
    assert (again.checked, again.stopped_because) == (1, None)


@pytest.mark.parametrize(("refused", "stops"), [("all", True), ("one", False)])
async def test_a_permission_that_is_missing_stops_it_only_if_it_is_missing_for_everybody(
    *,
    refused: str,
    stops: bool,
    sync: Sync,
    ledger: Ledger,
    account: Any,
    clock: SetClock,
    stand_in: StandIn,
) -> None:
    for number in range(1, 13):
        await ledger.create_customer(
            customer_id=f"c{number:02d}",
            user_id=f"u{number}",
            now=NOW,
            stripe_customer_id=f"cus_{number}",
            actor="test",
        )
        account.put(f"cus_{number}", "active")

    async def answer(request: Request) -> Answer:
        whose = request.query.get("customer", [""])[0]
        if request.path == "/v1/subscriptions" and (refused == "all" or whose == "cus_1"):
            return Answer(status=403, body={"error": {"type": "invalid_request_error", "message": "not permitted"}})
        return await account.answer(request)  # type: ignore[no-any-return]

    stand_in.handler = answer
    report = await Reconciler(ledger=ledger, sync=sync, clock=clock, schedule=FAST).run()
    assert (report.failed, report.checked) == ((10, 0) if stops else (1, 11))
    assert (report.stopped_because is not None) is stops
    row = await ledger.find_reconciliation()
    assert row is not None
    assert (row.finished_at is None) is stops
