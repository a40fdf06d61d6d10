"""All customers read again: by one worker of all, from where another broke off, and what it would change."""

import asyncio
import json
from itertools import product
from typing import Any

import pytest

from gateway.billing import StripeOptions
from gateway.ledger import Ledger
from gateway.sync import Comparing, Reconciler, ReconciliationBusy, Schedule, Sync
from gateway.sync.reporting import SyncReport
from tests.billing.conftest import (
    CUS,
    DAY,
    KEY,
    NOW,
    Answer,
    HeldPolicy,
    Request,
    SetClock,
    StandIn,
    charge,
    listed,
    opened,
    publishing,
)

pytestmark = pytest.mark.slow

FAST = Schedule(interval_s=DAY, per_second=1000)


def reconciler(sync: Sync, ledger: Ledger, clock: SetClock, schedule: Schedule = FAST) -> Reconciler:
    return Reconciler(ledger=ledger, sync=sync, clock=clock, schedule=schedule, channels=["webhook"])


async def add(ledger: Ledger, account: Any, number: int) -> str:
    customer_id = f"customer{number:04d}"
    await ledger.create_customer(
        customer_id=customer_id, user_id=f"u{number}", now=NOW, stripe_customer_id=f"cus_{number}", actor="test"
    )
    account.put(f"cus_{number}", "active")
    return customer_id


async def test_a_day_after_the_last_one_all_customers_are_read_and_what_drifted_is_told_once(
    sync: Sync, ledger: Ledger, customer: str, clock: SetClock
) -> None:
    one = reconciler(sync, ledger, clock)
    assert await one.run_if_due() is None
    clock.at += DAY
    report = await one.run_if_due()
    assert report is not None
    assert (report.checked, report.changed, one.drifted) == (1, 1, 1)
    assert await one.run_if_due() is None
    recorded = await ledger.load_subscription(customer)
    assert recorded is not None
    assert recorded.plan_id == "pro-monthly"
    [alert] = await ledger.list_alerts()
    body = json.loads(alert.body)
    assert (body["type"], body["data"]["drifted"], body["data"]["checked"]) == ("billing.drift_repaired", 1, 1)
    clock.at += DAY
    report = await one.run_if_due()
    assert report is not None
    assert (report.checked, report.changed) == (1, 0)
    assert len(await ledger.list_alerts()) == 1


@pytest.mark.usefixtures("customer")
async def test_of_several_workers_one_reads_all_customers(sync: Sync, ledger: Ledger, clock: SetClock) -> None:
    workers = [reconciler(sync, ledger, clock) for _ in range(4)]
    await workers[0].run_if_due()
    clock.at += DAY
    reports = await asyncio.gather(*(one.run_if_due() for one in workers))
    assert sum(report is not None for report in reports) == 1


@pytest.mark.usefixtures("customer")
async def test_an_interval_of_nothing_turns_it_off(sync: Sync, ledger: Ledger, clock: SetClock) -> None:
    one = reconciler(sync, ledger, clock, Schedule(interval_s=0))
    clock.at += 900 * DAY
    assert await one.run_if_due() is None
    assert await ledger.find_reconciliation() is None


async def test_one_that_was_broken_off_is_gone_on_with_by_another_when_its_claim_has_run_out(
    sync: Sync, ledger: Ledger, account: Any, customer: str, clock: SetClock
) -> None:
    second = await add(ledger, account, 2)
    await ledger.claim_reconciliation("a worker that dies", now=NOW, lease_s=900)
    await ledger.keep_reconciliation(
        "a worker that dies", now=NOW, lease_s=900, cursor=customer, checked=1, drifted=1, failed=0
    )
    other = reconciler(sync, ledger, clock)
    assert await other.run_if_due() is None
    with pytest.raises(ReconciliationBusy):
        await other.run()
    clock.at += 900
    report = await other.run_if_due()
    assert report is not None
    assert (report.checked, report.cursor) == (2, second)
    row = await ledger.find_reconciliation()
    assert row is not None
    assert (row.cursor, row.checked, row.finished_at) == (None, 2, int(clock.at))


async def test_an_outage_of_stripe_leaves_it_to_be_gone_on_with(
    sync: Sync, ledger: Ledger, account: Any, clock: SetClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.sync.everyone._OUTAGE_PAUSES_S", (0.01,))
    await add(ledger, account, 2)
    one = reconciler(sync, ledger, clock)
    account.is_down = True
    assert (await one.run()).stopped_because is not None
    row = await ledger.find_reconciliation()
    assert row is not None
    assert (row.cursor, row.claimed_by, row.finished_at) == ("", None, None)
    account.is_down = False
    report = await one.run_if_due()
    assert report is not None
    assert (report.checked, report.stopped_because) == (1, None)


async def test_what_drifted_is_told_of_all_parts_of_one_that_was_broken_off(
    sync: Sync, ledger: Ledger, account: Any, clock: SetClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.sync.everyone._OUTAGE_PAUSES_S", (0.01,))
    monkeypatch.setattr("gateway.sync.everyone.PAGE", 1)
    customers = [await add(ledger, account, number) for number in (1, 2, 3)]

    def fail(report: SyncReport) -> None:
        account.is_down = report.cursor == customers[1]

    one = reconciler(sync, ledger, clock)
    assert (await one.run(fail, per_second=1000)).stopped_because is not None
    assert await ledger.list_alerts() == []
    account.is_down = False
    assert (await one.run(per_second=1000)).stopped_because is None
    [alert] = await ledger.list_alerts()
    body = json.loads(alert.body)
    assert (body["type"], body["data"]["drifted"], body["data"]["checked"]) == ("billing.drift_repaired", 3, 3)


@pytest.mark.parametrize("case", [*product([{1}, {2}, {3}, {1, 2}, {2, 3}], [1, 2])], ids=str)
async def test_whom_stripe_does_not_have_is_ended_also_if_it_was_broken_off(
    case: tuple[set[int], int],
    sync: Sync,
    ledger: Ledger,
    account: Any,
    clock: SetClock,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    missing, breaks_after = case
    monkeypatch.setattr("gateway.sync.everyone._OUTAGE_PAUSES_S", (0.01,))
    monkeypatch.setattr("gateway.sync.everyone.PAGE", 1)
    customers = {number: await add(ledger, account, number) for number in (1, 2, 3)}
    for customer_id in customers.values():
        await sync.sync_customer(customer_id, "before")
    for number in missing:
        del account.subscriptions[f"cus_{number}"]

    def fail(report: SyncReport) -> None:
        account.is_down = report.cursor == customers[breaks_after]

    assert (await reconciler(sync, ledger, clock).run(fail, per_second=1000)).stopped_because is not None
    account.is_down = False
    report = await reconciler(sync, ledger, clock).run(per_second=1000)
    assert report.stopped_because is None
    for number, customer_id in customers.items():
        recorded = await ledger.load_subscription(customer_id)
        assert recorded is not None
        assert (recorded.status == "customer_deleted") == (number in missing)


async def test_a_comparison_says_what_differs_and_writes_nothing(
    sync: Sync, ledger: Ledger, account: Any, customer: str, clock: SetClock
) -> None:
    second = await add(ledger, account, 2)
    await sync.sync_customer(second, "before")
    before = [await ledger.find_customer(one) for one in (customer, second)], await ledger.list_audit()
    report = await Comparing(sync=sync, ledger=ledger, clock=clock).compare_all(per_second=1000)
    assert (report.checked, report.failed, report.stopped_because) == (2, 0, None)
    [difference] = report.differences
    assert difference.customer_id == customer
    assert difference.changes["status"] == (None, "active")
    assert (difference.access_before["tier"], difference.access_after["tier"]) == ("free", "pro")
    assert ([await ledger.find_customer(one) for one in (customer, second)], await ledger.list_audit()) == before
    await sync.sync_customer(customer, "repaired")
    again = await Comparing(sync=sync, ledger=ledger, clock=clock).compare_all(per_second=1000)
    assert again.differences == []


async def test_a_comparison_tells_of_customers_that_stripe_does_not_have(
    sync: Sync, ledger: Ledger, account: Any, customer: str, clock: SetClock
) -> None:
    await sync.sync_customer(customer, "before")
    await add(ledger, account, 2)
    del account.subscriptions[CUS]
    report = await Comparing(sync=sync, ledger=ledger, clock=clock).compare_all(per_second=1000)
    assert [(one.customer_id, one.is_missing) for one in report.differences if one.is_missing] == [(customer, True)]


async def test_more_disputes_than_one_deadline_has_time_for_hold_up_no_customer(
    ledger: Ledger, account: Any, clock: SetClock, stand_in: StandIn, held_policy: HeldPolicy
) -> None:
    pages = 12

    async def answer(request: Request) -> Answer:
        if request.path != "/v1/disputes":
            answer: Answer = await account.answer(request)
            return answer
        number = int(request.query.get("starting_after", ["du_0"])[0].removeprefix("du_"))
        await asyncio.sleep(0.4)
        lost = {"object": "dispute", "status": "lost", "created": NOW, "charge": charge("ch_1", CUS)}
        rows = [lost | {"id": f"du_{number + 1}"}]
        return Answer(body=listed(rows, "/v1/disputes") | {"has_more": number + 1 < pages})

    stand_in.handler = answer
    await add(ledger, account, 1)
    options = StripeOptions(secret_key=KEY, base_url=stand_in.url, timeout_s=3, deadline_s=4)
    async with opened(options) as billing:
        sync = Sync(ledger=ledger, billing=billing, policy=held_policy, publish=publishing(ledger, []), clock=clock)
        report = await reconciler(sync, ledger, clock).run(per_second=1000)
    assert sum(request.path == "/v1/disputes" for request in stand_in.requests) == pages
    assert (report.checked, report.stopped_because) == (1, None)


async def test_a_sync_counts_every_request_that_it_sent(
    sync: Sync, account: Any, customer: str, stand_in: StandIn
) -> None:
    of_cycle = {"id": "in_2", "object": "invoice", "billing_reason": "subscription_cycle", "status": "draft"}
    account.put(CUS, "active", latest_invoice=of_cycle | {"created": NOW})

    async def answer(request: Request) -> Answer:
        if request.path == "/v1/invoices":
            return Answer(body=listed([], "/v1/invoices"))
        return await account.answer(request)  # type: ignore[no-any-return]

    stand_in.handler = answer
    outcome = await sync.sync_customer(customer, "a renewal")
    assert [request.path for request in stand_in.requests] == ["/v1/subscriptions", "/v1/invoices"]
    assert outcome.requests == 2
