"""Prices and products change: whose plan hangs on them is read again, and nobody else."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

from gateway.billing.pace import Pace
from gateway.core.access import decide_access
from gateway.core.offer import AddOn
from gateway.ledger import Ledger
from gateway.sync import EventWorker, Sync
from tests.billing.conftest import CUS, NOW

Deliver = Callable[..., Awaitable[bool]]
NewWorker = Callable[..., EventWorker]
PRODUCT = {"id": "prod_1", "object": "product"}


async def test_a_product_that_names_a_tier_grants_it(sync: Sync, account: Any, customer: str) -> None:
    account.put(CUS, "active", "who_knows")
    account.product_metadata = {"tier": "pro"}
    outcome = await sync.sync_customer(customer, "test")
    assert outcome.subscription is not None
    assert (outcome.subscription.plan_id, outcome.findings) == ("tier:pro", ())


async def test_a_sold_price_costs_no_second_request(sync: Sync, stand_in: Any, customer: str) -> None:
    await sync.sync_customer(customer, "test")
    assert [request.path for request in stand_in.requests] == ["/v1/subscriptions"]


async def test_an_unmapped_price_keeps_the_tier_and_is_dead_until_its_product_is_mended(
    *, new_worker: NewWorker, deliver: Deliver, ledger: Ledger, sync: Sync, account: Any, customer: str
) -> None:
    await sync.sync_customer(customer, "test")
    account.put(CUS, "active", "who_knows")
    await deliver("evt_1", "customer.subscription.updated", {"customer": CUS})
    worker = new_worker()
    await worker.work_once()
    dead = await ledger.find_event("evt_1")
    assert dead is not None
    assert (dead.status, worker.in_hand.buried) == ("dead", 1)
    assert "unmapped-price" in (dead.error or "")
    stored = await ledger.load_account(customer)
    assert stored is not None
    access = decide_access(stored, sync.policy, NOW)
    assert (access.tier and access.tier.name, access.standing) == ("pro", "unreadable")

    account.product_metadata = {"tier": "pro"}
    await deliver("evt_2", "product.updated", PRODUCT)
    await worker.work_once()
    done = await ledger.find_event("evt_2")
    assert done is not None
    assert done.outcome == "prices-forgotten, 1 to sync"
    await worker.work_once()
    recorded = await ledger.load_subscription(customer)
    assert recorded is not None
    assert (recorded.plan_id, recorded.unreadable_since) == ("tier:pro", None)


async def test_a_lookup_key_that_moves_reads_the_customers_of_its_price_and_a_new_name_reads_none(
    *, new_worker: NewWorker, deliver: Deliver, ledger: Ledger, sync: Sync, account: Any, customer: str
) -> None:
    await sync.sync_customer(customer, "test")
    worker = new_worker()
    price = {"id": "price_pro_monthly", "object": "price"}
    named = {"object": price, "previous_attributes": {"nickname": None}}
    moved = {"object": price, "previous_attributes": {"lookup_key": "enterprise_monthly"}}
    await deliver("evt_named", "price.updated", price, data=named)
    await deliver("evt_moved", "price.updated", price, data=moved)
    await worker.work_once()
    outcomes = [(await ledger.find_event(one)).outcome for one in ("evt_named", "evt_moved")]  # type: ignore[union-attr]  # both are there
    assert outcomes == ["prices-forgotten", "prices-forgotten, 1 to sync"]
    reads = account.reads
    await worker.work_once()
    assert account.reads == reads + 1


async def test_a_price_event_that_comes_again_asks_for_no_second_sync(
    *, new_worker: NewWorker, deliver: Deliver, ledger: Ledger, sync: Sync, customer: str
) -> None:
    await sync.sync_customer(customer, "test")
    await deliver("evt_1", "price.updated", {"id": "price_pro_monthly", "object": "price"})
    worker = new_worker()
    await worker.work_once()
    await worker.work_once()
    assert await ledger.replay_event("evt_1", NOW)
    await worker.work_once()
    asked, told = await ledger.list_events()
    assert (told.event_id, told.outcome) == ("evt_1", "prices-forgotten, 1 to sync")
    assert (asked.event_id, asked.status) == ("evt_1.cus_1", "pending"), "whoever replays it means it"


async def test_who_hangs_on_a_price_is_synced_by_and_by_so_that_a_payment_does_not_wait_behind_all_of_them(
    *, new_worker: NewWorker, deliver: Deliver, ledger: Ledger, sync: Sync, account: Any, customer: str
) -> None:
    await sync.sync_customer(customer, "test")
    for number in range(2, 6):
        ours, stripe_customer_id = f"customer000{number}", f"cus_{number}"
        await ledger.create_customer(
            customer_id=ours, user_id=ours, now=NOW, stripe_customer_id=stripe_customer_id, actor="test"
        )
        account.put(stripe_customer_id, "active")
        await sync.sync_customer(ours, "test")
    sync.billing.pace = Pace(2.0)
    await deliver("evt_1", "price.updated", {"id": "price_pro_monthly", "object": "price"})
    await new_worker().work_once()
    events = await ledger.list_events(status="pending")
    assert sorted(one.due_at - NOW for one in events) == [0, 1, 2, 3, 4]


async def test_a_price_that_becomes_an_add_on_reads_the_customers_who_hold_it_and_nobody_else(
    *,
    new_worker: NewWorker,
    deliver: Deliver,
    ledger: Ledger,
    sync: Sync,
    account: Any,
    customer: str,
    held_policy: Any,
) -> None:
    extra = AddOn(name="extra", title="Extra", price_id=None, lookup_key="extra_now", features=frozenset({"more"}))
    held_policy.current = replace(held_policy.current, add_ons={"extra": extra})
    await ledger.create_customer(
        customer_id="customer0002", user_id="other", now=NOW, stripe_customer_id="cus_2", actor="test"
    )
    account.put("cus_2", "active")
    await sync.sync_customer("customer0002", "test")
    [subscription] = account.subscriptions[CUS]
    [base] = subscription["items"]["data"]
    price = base["price"] | {"id": "price_extra", "lookup_key": "extra_before"}
    subscription["items"]["data"] = [base, base | {"id": "si_2", "price": price}]
    outcome = await sync.sync_customer(customer, "test")
    assert [one.code for one in outcome.findings] == ["unmapped-item"]
    assert outcome.subscription is not None
    assert outcome.subscription.add_ons == ()

    price["lookup_key"] = "extra_now"
    moved = {"object": price, "previous_attributes": {"lookup_key": "extra_before"}}
    await deliver("evt_moved", "price.updated", price, data=moved)
    worker = new_worker()
    await worker.work_once()
    done = await ledger.find_event("evt_moved")
    assert done is not None
    assert done.outcome == "prices-forgotten, 1 to sync"
    await worker.work_once()
    recorded = await ledger.load_subscription(customer)
    assert recorded is not None
    assert recorded.add_ons == (("extra", 1),)
