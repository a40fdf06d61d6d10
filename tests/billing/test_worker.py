"""Stored events, worked off: whatever order they come in, however often, and whoever dies meanwhile."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from gateway.core.errors import LedgerUnavailable
from gateway.ledger import InboxRow, Ledger
from gateway.ledger.database import Database
from gateway.sync import EventWorker, Sync

NOW = 1_800_000_000
DAY = 86_400
CUS = "cus_1"
SUB = {"object": "subscription", "id": "sub_1", "customer": CUS}

NewWorker = Callable[..., EventWorker]
Deliver = Callable[..., Awaitable[bool]]


async def fate(ledger: Ledger, event_id: str) -> tuple[str, str | None]:
    row = await ledger.find_event(event_id)
    assert row is not None
    return row.status, row.outcome if row.status == "done" else row.error


async def test_an_event_leads_to_what_stripe_says_now(
    new_worker: NewWorker, deliver: Deliver, ledger: Ledger, account: Any, customer: str
) -> None:
    await deliver("evt_1", "customer.subscription.updated", SUB | {"status": "trialing"})
    account.put(CUS, "past_due")
    worker = new_worker()
    assert await worker.work_once() == 1
    recorded = await ledger.load_subscription(customer)
    assert recorded is not None
    assert (recorded.status, recorded.past_due_since) == ("past_due", NOW)
    assert await fate(ledger, "evt_1") == ("done", "applied")
    assert worker.in_hand.processed == 1


async def test_many_events_of_one_customer_are_one_sync(
    new_worker: NewWorker, deliver: Deliver, ledger: Ledger, account: Any, customer: str
) -> None:
    for number in range(7):
        await deliver(f"evt_{number}", "invoice.paid", {"object": "invoice", "customer": CUS})
    worker = new_worker()
    await worker.work_once()
    assert account.reads == 1
    assert (worker.in_hand.processed, worker.coalesced) == (7, 6)
    assert (await ledger.find_customer(customer)).sync_fence == 1


@pytest.mark.usefixtures("customer")
async def test_more_events_of_one_customer_than_a_batch_holds_are_one_sync(
    new_worker: NewWorker, deliver: Deliver, account: Any
) -> None:
    for number in range(50):
        await deliver(f"evt_{number}", "invoice.paid", {"object": "invoice", "customer": CUS})
    worker = new_worker(batch=20)
    assert await worker.work_once() == 50
    assert account.reads == 1
    assert worker.in_hand.processed == 50


@pytest.mark.usefixtures("customer")
async def test_no_customer_is_read_without_a_turn(new_worker: NewWorker, deliver: Deliver, sync: Sync) -> None:
    await deliver("evt_1", "invoice.paid", {"object": "invoice", "customer": CUS})
    before = sync.billing.pace.turns
    await new_worker().work_once()
    assert sync.billing.pace.turns == before + 1


@pytest.mark.usefixtures("customer")
async def test_a_duplicate_is_kept_once_and_worked_once(new_worker: NewWorker, deliver: Deliver, account: Any) -> None:
    assert await deliver("evt_1", "invoice.paid", SUB) is True
    worker = new_worker()
    await worker.work_once()
    assert await deliver("evt_1", "invoice.paid", SUB) is False
    assert await worker.work_once() == 0
    assert account.reads == 1


HISTORY = (
    ("customer.subscription.created", "active", "pro_monthly"),
    ("customer.subscription.updated", "active", "enterprise_monthly"),
    ("invoice.payment_failed", "past_due", "enterprise_monthly"),
    ("invoice.paid", "active", "enterprise_monthly"),
    ("customer.subscription.deleted", "canceled", "enterprise_monthly"),
)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(order=st.permutations([*range(len(HISTORY))] * 2), batch=st.integers(1, 10), length=st.integers(1, len(HISTORY)))
async def test_every_event_twice_and_in_any_order_ends_in_the_same_state(
    *,
    new_worker: NewWorker,
    deliver: Deliver,
    ledger: Ledger,
    account: Any,
    order: list[int],
    batch: int,
    length: int,
) -> None:
    number = len(await ledger.list_customers(limit=1000))
    owner, cus = f"c{number:011d}", f"cus_{number}"
    await ledger.create_customer(customer_id=owner, user_id=owner, now=NOW, stripe_customer_id=cus, actor="test")
    last = HISTORY[length - 1]
    account.put(cus, last[1], last[2])
    worker = new_worker(batch=batch)
    for index in order:
        if index < length:
            await deliver(f"evt_{number}_{index}", HISTORY[index][0], SUB | {"customer": cus})
            await worker.work_once()
    while await worker.work_once():
        pass
    recorded = await ledger.load_subscription(owner)
    assert recorded is not None
    assert (recorded.status, recorded.plan_id) == (last[1], last[2].replace("_", "-"))


async def test_a_worker_that_died_between_claim_and_finish_is_taken_over(
    new_worker: NewWorker, deliver: Deliver, ledger: Ledger, clock: Any, customer: str
) -> None:
    await deliver("evt_1", "customer.subscription.updated", SUB)
    await ledger.claim_events(worker="crashed", now=NOW, lease_s=60, limit=10)
    worker = new_worker()
    assert await worker.work_once() == 0
    clock.at = NOW + 61
    assert await worker.work_once() == 1
    assert await fate(ledger, "evt_1") == ("done", "applied")
    assert await ledger.load_subscription(customer) is not None


@pytest.mark.usefixtures("customer")
async def test_a_claim_that_ran_out_meanwhile_is_not_finished_by_its_old_owner(
    new_worker: NewWorker, deliver: Deliver, ledger: Ledger, account: Any, clock: Any
) -> None:
    await deliver("evt_1", "customer.subscription.updated", SUB)
    gate = asyncio.Event()
    account.gates = [gate]
    slow, quick = new_worker(lease_s=60), new_worker(lease_s=60)
    running = asyncio.create_task(slow.work_once())
    await account.was_read.wait()
    clock.at = NOW + 61
    await quick.work_once()
    gate.set()
    await running
    assert (slow.in_hand.processed, slow.in_hand.lost, quick.in_hand.processed) == (0, 1, 1)
    assert await fate(ledger, "evt_1") == ("done", "applied")


async def test_an_outage_is_waited_for_and_never_kills_a_young_event(
    new_worker: NewWorker, deliver: Deliver, ledger: Ledger, account: Any, clock: Any, customer: str
) -> None:
    await deliver("evt_1", "customer.subscription.updated", SUB)
    account.is_down = True
    worker = new_worker()
    for _ in range(6):
        assert await worker.work_once() == 1
        clock.at += 600
    assert (worker.in_hand.retried, worker.in_hand.buried) == (6, 0)
    assert (await fate(ledger, "evt_1"))[0] == "pending"
    assert await ledger.load_subscription(customer) is None
    account.is_down = False
    await worker.work_once()
    assert await fate(ledger, "evt_1") == ("done", "applied")


async def test_an_outage_of_days_kills_an_event(
    new_worker: NewWorker, deliver: Deliver, ledger: Ledger, account: Any, clock: Any
) -> None:
    await ledger.create_customer(customer_id="c", user_id="u", now=NOW, stripe_customer_id=CUS, actor="test")
    await deliver("evt_1", "customer.subscription.updated", SUB)
    account.is_down = True
    worker = new_worker()
    for _ in range(3):
        await worker.work_once()
        clock.at += 2 * DAY
    assert (await fate(ledger, "evt_1"))[0] == "dead"


async def test_pauses_grow_and_are_bounded(new_worker: NewWorker) -> None:
    worker = new_worker()
    for attempts, mean_s in ((1, 2), (2, 4), (5, 32), (50, 300), (10_000, 300)):
        assert mean_s / 2 <= worker.in_hand._pause_s(attempts) <= mean_s * 1.5


async def test_what_keeps_failing_is_set_aside_and_can_be_replayed(
    new_worker: NewWorker, deliver: Deliver, ledger: Ledger, account: Any, clock: Any, customer: str
) -> None:
    await deliver("evt_1", "customer.subscription.updated", SUB)
    broken = account.subscriptions.pop(CUS)
    account.subscriptions[CUS] = [{"object": "subscription", "id": "sub_1"}]
    worker = new_worker()
    for _ in range(3):
        assert await worker.work_once() == 1
        clock.at += 600
    status, error = await fate(ledger, "evt_1")
    assert (status, worker.in_hand.retried, worker.in_hand.buried) == ("dead", 2, 1)
    assert error is not None
    assert error.startswith("BillingRefused")
    account.subscriptions[CUS] = broken
    assert await ledger.replay_event("evt_1", int(clock.at)) is True
    await worker.work_once()
    assert await fate(ledger, "evt_1") == ("done", "applied")
    assert await ledger.load_subscription(customer) is not None


@pytest.mark.usefixtures("customer")
async def test_neither_outages_nor_crashes_use_up_the_tries_of_an_event(
    new_worker: NewWorker, deliver: Deliver, ledger: Ledger, account: Any, clock: Any
) -> None:
    await deliver("evt_1", "customer.subscription.updated", SUB)
    for crash in range(8):
        assert await ledger.claim_events(worker=f"crashed {crash}", now=int(clock.at), lease_s=60, limit=1)
        clock.at += 61
    worker = new_worker()
    account.is_down = True
    for _ in range(8):
        assert await worker.work_once() == 1
        clock.at += 600
    account.is_down = False
    account.subscriptions[CUS] = [{"object": "subscription", "id": "sub_1"}]
    for _ in range(2):
        assert await worker.work_once() == 1
        assert (await fate(ledger, "evt_1"))[0] == "pending"
        clock.at += 600
    assert await worker.work_once() == 1
    assert (await fate(ledger, "evt_1"))[0] == "dead"


@pytest.mark.usefixtures("customer")
async def test_a_fault_of_our_own_loses_no_event_and_stops_no_worker(
    new_worker: NewWorker, deliver: Deliver, ledger: Ledger, sync: Sync, held_policy: Any
) -> None:
    await deliver("evt_1", "customer.subscription.updated", SUB)
    policy, held_policy.current = held_policy.current, None
    worker = new_worker()
    assert await worker.work_once() == 1
    assert await fate(ledger, "evt_1") == ("pending", "AttributeError")
    held_policy.current = policy
    assert sync.applied == 0


@pytest.mark.usefixtures("customer")
async def test_one_customers_failure_does_not_hold_up_another(
    new_worker: NewWorker, deliver: Deliver, ledger: Ledger, account: Any
) -> None:
    await ledger.create_customer(customer_id="c", user_id="u", now=NOW, stripe_customer_id="cus_2", actor="test")
    account.subscriptions["cus_2"] = [{"object": "subscription", "id": "sub_2"}]
    await deliver("evt_1", "customer.subscription.updated", SUB | {"customer": "cus_2"})
    await deliver("evt_2", "customer.subscription.updated", SUB)
    await new_worker().work_once()
    assert (await fate(ledger, "evt_1"))[0] == "pending"
    assert (await fate(ledger, "evt_2"))[0] == "done"


async def test_an_unmapped_price_keeps_the_tier_and_leaves_a_dead_letter(
    new_worker: NewWorker, deliver: Deliver, ledger: Ledger, account: Any, sync: Sync, customer: str
) -> None:
    await sync.sync_customer(customer, "before")
    account.put(CUS, "active", "who_knows")
    await deliver("evt_1", "customer.subscription.updated", SUB)
    await deliver("evt_2", "invoice.paid", SUB)
    await new_worker().work_once()
    recorded = await ledger.load_subscription(customer)
    assert recorded is not None
    assert (recorded.plan_id, recorded.last_good_plan_id) == (None, "pro-monthly")
    assert await fate(ledger, "evt_1") == ("done", "applied")
    status, error = await fate(ledger, "evt_2")
    assert status == "dead"
    assert "price_who_knows" in str(error)


IGNORED = {
    "of the other mode": ("invoice.paid", {"livemode": True}, "wrong-mode"),
    "of a type we do not know": ("balance.available", {}, "ignored"),
    "about prices": ("price.updated", {}, "prices-forgotten"),
}


@pytest.mark.parametrize(("event_type", "changes", "outcome"), IGNORED.values(), ids=IGNORED.keys())
async def test_some_events_ask_for_no_sync(
    *,
    new_worker: NewWorker,
    deliver: Deliver,
    ledger: Ledger,
    account: Any,
    event_type: str,
    changes: dict[str, Any],
    outcome: str,
) -> None:
    await deliver("evt_1", event_type, SUB, **changes)
    await new_worker().work_once()
    assert await fate(ledger, "evt_1") == ("done", outcome)
    assert account.reads == 0


async def test_an_event_without_a_customer_is_done(new_worker: NewWorker, deliver: Deliver, ledger: Ledger) -> None:
    await deliver("evt_1", "invoice.voided", {"object": "invoice"})
    await new_worker().work_once()
    assert await fate(ledger, "evt_1") == ("done", "no-customer")


async def test_an_event_about_somebody_elses_customer_is_done(
    new_worker: NewWorker, deliver: Deliver, ledger: Ledger, account: Any
) -> None:
    await deliver("evt_1", "customer.subscription.updated", SUB)
    worker = new_worker()
    await worker.work_once()
    assert await fate(ledger, "evt_1") == ("done", "not-ours")
    assert (worker.strangers, account.reads) == ({"not-ours": 1}, 0)


async def unbound(ledger: Ledger, customer_id: str = "customer0007") -> str:
    await ledger.create_customer(customer_id=customer_id, user_id=customer_id, now=NOW, actor="test")
    return customer_id


CHECKOUT = {"object": "checkout.session", "id": "cs_1", "customer": CUS}


async def test_a_customer_is_adopted_by_metadata(new_worker: NewWorker, deliver: Deliver, ledger: Ledger) -> None:
    owner = await unbound(ledger)
    await deliver("evt_1", "checkout.session.completed", CHECKOUT | {"metadata": {"tiergate_customer_id": owner}})
    await new_worker().work_once()
    assert (await ledger.find_customer(owner)).stripe_customer_id == CUS
    assert (await ledger.load_subscription(owner)).plan_id == "pro-monthly"


async def test_a_customer_is_adopted_by_the_reference_of_a_checkout_that_we_began(
    new_worker: NewWorker, deliver: Deliver, ledger: Ledger
) -> None:
    owner = await unbound(ledger)
    await ledger.add_checkout(session_id="cs_1", customer_id=owner, plan_id="pro-monthly", claim_digest=None, now=NOW)
    await deliver("evt_1", "checkout.session.completed", CHECKOUT | {"client_reference_id": owner})
    await new_worker().work_once()
    assert (await ledger.find_customer(owner)).stripe_customer_id == CUS


async def test_a_reference_that_a_buyer_made_up_adopts_nobody(
    new_worker: NewWorker, deliver: Deliver, ledger: Ledger
) -> None:
    owner = await unbound(ledger)
    await deliver("evt_1", "checkout.session.completed", CHECKOUT | {"client_reference_id": owner})
    await new_worker().work_once()
    assert await fate(ledger, "evt_1") == ("done", "not-ours")
    assert (await ledger.find_customer(owner)).stripe_customer_id is None


async def test_a_second_stripe_customer_for_one_of_ours_is_set_aside_for_people(
    new_worker: NewWorker, deliver: Deliver, ledger: Ledger, account: Any, customer: str
) -> None:
    account.put("cus_2", "active")
    other = CHECKOUT | {"customer": "cus_2", "metadata": {"tiergate_customer_id": customer}}
    await deliver("evt_1", "checkout.session.completed", other)
    await new_worker().work_once()
    status, error = await fate(ledger, "evt_1")
    assert status == "dead"
    assert "cus_1" in str(error)
    assert "cus_2" in str(error)
    assert (await ledger.find_customer(customer)).stripe_customer_id == CUS


@pytest.mark.usefixtures("customer")
async def test_a_wake_up_is_heard_at_once(new_worker: NewWorker, deliver: Deliver, ledger: Ledger) -> None:
    worker = new_worker(poll_s=30)
    running = asyncio.create_task(worker.run())
    await asyncio.sleep(0.05)
    await deliver("evt_1", "customer.subscription.updated", SUB)
    worker.wake()
    async with asyncio.timeout(60):
        while (await fate(ledger, "evt_1"))[0] != "done":  # noqa: ASYNC110 - the ledger has no event to wait for
            await asyncio.sleep(0.01)
    await ended(running)


@pytest.mark.usefixtures("customer")
async def test_an_unheard_event_is_found_by_polling(new_worker: NewWorker, deliver: Deliver, ledger: Ledger) -> None:
    running = asyncio.create_task(new_worker().run())
    await deliver("evt_1", "customer.subscription.updated", SUB)
    async with asyncio.timeout(60):
        while (await fate(ledger, "evt_1"))[0] != "done":  # noqa: ASYNC110 - the ledger has no event to wait for
            await asyncio.sleep(0.01)
    await ended(running)


@pytest.mark.usefixtures("customer")
async def test_a_shutdown_waits_for_the_work_in_progress(
    new_worker: NewWorker, deliver: Deliver, ledger: Ledger, account: Any
) -> None:
    await deliver("evt_1", "customer.subscription.updated", SUB)
    gate = asyncio.Event()
    account.gates = [gate]
    running = asyncio.create_task(new_worker(drain_s=60).run())
    await account.was_read.wait()
    running.cancel()
    await asyncio.sleep(0.05)
    gate.set()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert await fate(ledger, "evt_1") == ("done", "applied")


@pytest.mark.usefixtures("customer")
async def test_work_that_does_not_end_at_shutdown_is_given_back(
    new_worker: NewWorker, deliver: Deliver, ledger: Ledger, account: Any
) -> None:
    await deliver("evt_1", "customer.subscription.updated", SUB)
    account.gates = [asyncio.Event()]
    running = asyncio.create_task(new_worker(drain_s=0.1).run())
    await account.was_read.wait()
    await ended(running)
    assert await fate(ledger, "evt_1") == ("pending", "shut down")
    await new_worker().work_once()
    assert (await fate(ledger, "evt_1"))[0] == "done"


@pytest.mark.usefixtures("customer")
async def test_a_shutdown_that_asks_twice_gets_the_events_back_all_the_same(
    new_worker: NewWorker, deliver: Deliver, ledger: Ledger, account: Any
) -> None:
    """As the group of background tasks does after a second: its claim would hold the event for two minutes."""
    await deliver("evt_1", "customer.subscription.updated", SUB)
    await deliver("evt_2", "customer.subscription.updated", SUB)
    account.gates = [asyncio.Event()]
    running = asyncio.create_task(new_worker(drain_s=0.1).run())
    await account.was_read.wait()
    while not running.done():
        running.cancel()
        await asyncio.sleep(0)
    assert await fate(ledger, "evt_1") == await fate(ledger, "evt_2") == ("pending", "shut down")


@pytest.mark.usefixtures("customer")
async def test_a_ledger_that_is_away_does_not_end_the_worker(
    new_worker: NewWorker, deliver: Deliver, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    claim = ledger.claim_events
    tries = 0

    async def claim_later(**arguments: Any) -> list[InboxRow]:
        nonlocal tries
        tries += 1
        if tries < 3:
            raise LedgerUnavailable("The ledger does not answer.")
        return await claim(**arguments)

    monkeypatch.setattr(ledger, "claim_events", claim_later)
    await deliver("evt_1", "customer.subscription.updated", SUB)
    running = asyncio.create_task(new_worker().run())
    async with asyncio.timeout(60):
        while (await fate(ledger, "evt_1"))[0] != "done":  # noqa: ASYNC110 - the ledger has no event to wait for
            await asyncio.sleep(0.01)
    await ended(running)


async def test_a_ledger_that_stays_away_is_told_less_and_less_often_and_its_return_once(
    new_worker: NewWorker, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    claim, tries = ledger.claim_events, 0

    async def claim_later(**arguments: Any) -> list[InboxRow]:
        nonlocal tries
        tries += 1
        if tries <= 20:
            raise LedgerUnavailable("The ledger does not answer.")
        return await claim(**arguments)

    monkeypatch.setattr(ledger, "claim_events", claim_later)
    with capture_logs() as logs:
        running = asyncio.create_task(new_worker(poll_s=0.001).run())
        async with asyncio.timeout(60):
            while tries < 23:  # noqa: ASYNC110 - the ledger has no event to wait for
                await asyncio.sleep(0.01)
        await ended(running)
    told = [(entry["event"], entry["tries"]) for entry in logs]
    assert told == [("events cannot be claimed", tries) for tries in (1, 2, 4, 8, 16)] + [
        ("events are claimed again", 20)
    ]


async def test_a_sweep_stores_what_was_never_delivered_once(
    new_worker: NewWorker, ledger: Ledger, account: Any, customer: str
) -> None:
    fields = {"object": "event", "created": NOW, "livemode": False, "api_version": None}
    account.undelivered = [
        fields | {"id": "evt_1", "type": "invoice.paid", "data": {"object": {"object": "invoice", "customer": CUS}}},
        fields | {"id": "evt_2", "type": "invoice.voided", "data": {"object": {"object": "invoice"}}},
        fields | {"id": "evt_3", "type": "invoice.paid", "livemode": True, "data": {"object": {"object": "invoice"}}},
    ]
    worker = new_worker()
    assert await worker.sweep() == 2
    assert await worker.sweep() == 0
    assert await ledger.find_event("evt_3") is None
    await worker.work_once()
    assert await fate(ledger, "evt_1") == ("done", "applied")
    assert await ledger.load_subscription(customer) is not None


async def ended(running: asyncio.Task[None]) -> None:
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running


@pytest.mark.usefixtures("customer")
async def test_a_sweep_that_the_ledger_refused_finds_the_event_again(
    new_worker: NewWorker, account: Any, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    lost = {"object": "event", "created": NOW, "livemode": False, "api_version": None, "data": {"object": SUB}}
    account.undelivered = [lost | {"id": "evt_lost", "type": "customer.subscription.updated"}]
    worker = new_worker()
    with monkeypatch.context() as away:
        away.setattr(Database, "see_through", unavailable)
        with pytest.raises(LedgerUnavailable):
            await worker.sweep()
    assert await worker.sweep() == 1
    assert await ledger.find_event("evt_lost") is not None


async def unavailable(_: Database, work: Coroutine[Any, Any, object]) -> None:
    work.close()
    raise LedgerUnavailable("The ledger does not answer.")
