"""Disputes and refunds: found by their events or by reconciliation, never lost between two reads."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from gateway.core.account import Subscription
from gateway.ledger import Ledger
from gateway.sync import EventWorker, Sync
from gateway.sync.everyone import sync_all
from tests.billing.conftest import CUS, DAY, NOW

Deliver = Callable[..., Awaitable[bool]]
NewWorker = Callable[..., EventWorker]
DISPUTE = {"id": "du_1", "object": "dispute", "charge": "ch_1"}


async def load(ledger: Ledger, customer_id: str) -> Subscription:
    found = await ledger.load_subscription(customer_id)
    assert found is not None
    return found


@pytest.mark.parametrize("end", ["won", "lost"])
async def test_a_dispute_is_flagged_while_it_is_open(
    *, new_worker: NewWorker, deliver: Deliver, ledger: Ledger, account: Any, customer: str, end: str
) -> None:
    worker = new_worker()
    account.dispute("du_1", "needs_response", created=NOW - DAY)
    await deliver("evt_1", "charge.dispute.created", DISPUTE)
    await worker.work_once()
    assert (await load(ledger, customer)).flags == (("disputed", NOW - DAY),)

    account.dispute("du_1", end)
    await deliver("evt_2", "charge.dispute.closed", DISPUTE)
    await worker.work_once()
    assert (await load(ledger, customer)).flags == ()
    assert await ledger.list_disputes(customer) == ()


async def test_a_dispute_that_is_appealed_is_open_again(
    *, new_worker: NewWorker, deliver: Deliver, ledger: Ledger, account: Any, customer: str
) -> None:
    worker = new_worker()
    account.dispute("du_1", "lost")
    await deliver("evt_1", "charge.dispute.closed", DISPUTE)
    await worker.work_once()
    account.dispute("du_1", "appeal_under_review")
    await deliver("evt_2", "charge.dispute.updated", DISPUTE)
    await worker.work_once()
    assert (await load(ledger, customer)).flags == (("disputed", NOW),)


async def test_any_later_read_knows_of_a_dispute(
    *, new_worker: NewWorker, deliver: Deliver, ledger: Ledger, sync: Sync, account: Any, customer: str
) -> None:
    account.dispute("du_1", "needs_response")
    await deliver("evt_1", "charge.dispute.created", DISPUTE)
    await new_worker().work_once()
    await sync.sync_customer(customer, "something else")
    assert (await load(ledger, customer)).flags == (("disputed", NOW),)


async def test_a_slow_read_from_before_the_dispute_does_not_undo_it(
    *, new_worker: NewWorker, deliver: Deliver, ledger: Ledger, sync: Sync, account: Any, customer: str
) -> None:
    gate = asyncio.Event()
    account.gates.append(gate)
    account.was_read.clear()
    slow = asyncio.create_task(sync.sync_customer(customer, "slow"))
    await account.was_read.wait()
    account.dispute("du_1", "needs_response")
    await deliver("evt_1", "charge.dispute.created", DISPUTE)
    await new_worker().work_once()
    gate.set()
    assert (await slow).result == "superseded"
    assert (await load(ledger, customer)).flags == (("disputed", NOW),)


async def test_a_dispute_whose_event_never_came_is_found_by_reconciliation(
    *, ledger: Ledger, sync: Sync, account: Any, customer: str
) -> None:
    account.dispute("du_1", "needs_response")
    account.dispute("du_2", "won")
    account.dispute("du_3", "needs_response", "cus_of_somebody_else")
    report = await sync_all(sync, per_second=1000)
    assert report.stopped_because is None
    assert (await load(ledger, customer)).flags == (("disputed", NOW),)
    assert await ledger.list_disputes(customer) == ("du_1",)


async def test_a_dispute_of_somebody_elses_payment_is_not_ours(
    *, new_worker: NewWorker, deliver: Deliver, ledger: Ledger, account: Any, customer: str
) -> None:
    account.dispute("du_1", "needs_response", "cus_of_somebody_else")
    await deliver("evt_1", "charge.dispute.created", DISPUTE)
    worker = new_worker()
    await worker.work_once()
    assert (await ledger.list_disputes(customer), worker.strangers) == ((), {"not-ours": 1})


async def test_a_refund_is_written_down_once_and_changes_no_access(
    *, new_worker: NewWorker, deliver: Deliver, ledger: Ledger, account: Any, customer: str
) -> None:
    charge = {"id": "ch_9", "object": "charge", "customer": CUS}
    worker = new_worker()
    await deliver("evt_1", "charge.refunded", charge)
    await worker.work_once()
    assert await ledger.replay_event("evt_1", NOW)
    await worker.work_once()
    rows = [row for row in await ledger.list_audit(customer) if row.action == "payment-refunded"]
    assert [(row.because, row.after) for row in rows] == [
        (
            "charge.refunded evt_1",
            {"charge": "ch_9", "amount": 2900, "amount_refunded": 900, "currency": "usd", "refunded": False},
        )
    ]
    assert (account.reads, await ledger.load_subscription(customer)) == (0, None)


async def test_a_refund_that_the_key_may_not_read_keeps_no_other_event_waiting(
    *, new_worker: NewWorker, deliver: Deliver, ledger: Ledger, account: Any, customer: str
) -> None:
    account.put(CUS, "active")
    account.hidden.add("ch_9")
    await deliver("evt_1", "charge.refunded", {"id": "ch_9", "object": "charge", "customer": CUS})
    await deliver("evt_2", "customer.subscription.updated", {"customer": CUS})
    await new_worker().work_once()
    recorded, refund, update = (
        await ledger.load_subscription(customer),
        await ledger.find_event("evt_1"),
        await ledger.find_event("evt_2"),
    )
    assert recorded is not None
    assert refund is not None
    assert update is not None
    assert (recorded.status, update.status, refund.status) == ("active", "done", "dead")
    assert "ch_9 could not be read" in (refund.error or "")
