"""A customer is bound to another customer of Stripe, or to none, while an answer about the old one is on its way."""

import asyncio
from typing import Any

import pytest

from gateway.core.audited import assess_by
from gateway.ledger import Binding, Ledger
from gateway.sync import Sync
from tests.billing.conftest import CUS, NOW


async def status_of(ledger: Ledger, customer_id: str) -> str | None:
    recorded = await ledger.load_subscription(customer_id)
    return None if recorded is None else recorded.status


async def test_a_sync_that_stalls_before_it_reads_does_not_end_whoever_paid_meanwhile(
    sync: Sync, ledger: Ledger, account: Any, customer: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    del account.subscriptions[CUS]
    real, reached, go_on = ledger.take_fence, asyncio.Event(), asyncio.Event()

    async def stall_once(customer_id: str) -> int:
        if not reached.is_set():
            reached.set()
            await go_on.wait()
        return await real(customer_id)

    monkeypatch.setattr(ledger, "take_fence", stall_once)
    stalled = asyncio.create_task(sync.sync_customer(customer, "an event about the old one"))
    await reached.wait()
    await ledger.bind_stripe_customer(customer, "cus_2", instead_of=CUS)
    account.put("cus_2", "active")
    await sync.sync_customer(customer, "back from the checkout")
    go_on.set()
    await stalled
    assert await status_of(ledger, customer) == "active"


async def test_what_was_read_of_the_old_one_is_not_recorded_of_the_new_one(
    sync: Sync, ledger: Ledger, account: Any, customer: str
) -> None:
    gate = asyncio.Event()
    account.gates.append(gate)
    late = asyncio.create_task(sync.sync_customer(customer, "an event about the old one"))
    await account.was_read.wait()
    await ledger.bind_stripe_customer(customer, "cus_2", instead_of=CUS)
    gate.set()
    assert (await late).result == "superseded"
    assert await status_of(ledger, customer) is None


async def test_an_answer_on_its_way_gives_nothing_to_a_customer_that_left_the_account(
    sync: Sync, ledger: Ledger, account: Any, customer: str
) -> None:
    await sync.sync_customer(customer, "before")
    account.subscriptions[CUS][0]["cancel_at_period_end"] = True
    account.was_read.clear()
    gate = asyncio.Event()
    account.gates.append(gate)
    late = asyncio.create_task(sync.sync_customer(customer, "an event"))
    await account.was_read.wait()
    await ledger.leave_stripe({"stripe-mode": "test"}, without=("stripe-account",), now=NOW, actor="operator")
    gate.set()
    assert (await late).result == "superseded"
    assert await status_of(ledger, customer) is None


async def test_every_way_by_which_a_binding_changes_has_its_row_in_the_audit_log(
    sync: Sync, ledger: Ledger, customer: str, new_worker: Any, deliver: Any
) -> None:
    await sync.sync_customer(customer, "before")
    assess = assess_by(sync.policy, NOW)
    await ledger.leave_stripe({"x": "y"}, without=(), now=NOW, actor="operator", assess=assess)
    [left] = [row for row in await ledger.list_audit(customer) if row.action == "stripe-customer-left"]
    assert (left.actor, left.before["stripe_customer_id"]) == ("operator", CUS)
    assert left.before["subscription"]["status"] == "active"
    assert (left.access_before["tier"], left.access_after["tier"]) == ("pro", "free")
    subject = {"id": "in_1", "object": "customer", "customer": CUS, "metadata": {"tiergate_customer_id": customer}}
    await deliver("evt_1", "customer.subscription.updated", subject)
    await new_worker().work_once()
    by = Binding(now=NOW, actor="checkout", because="Stripe does not have it any more")
    await ledger.bind_stripe_customer(customer, "cus_2", instead_of=CUS, by=by)
    await ledger.bind_stripe_customer(customer, "cus_3", by=by)
    bound = [row for row in await ledger.list_audit(customer) if row.action == "stripe-customer-bound"]
    assert {(row.actor, row.after["stripe_customer_id"], row.event_id) for row in bound} == {
        ("stripe", CUS, "evt_1"),
        ("checkout", "cus_2", None),
    }
