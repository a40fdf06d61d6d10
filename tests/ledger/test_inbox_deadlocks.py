"""Batches of events against another transaction of PostgreSQL that stores the same ones: nobody innocent is refused."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import text

from gateway.ledger import Ledger
from gateway.ledger.tables import INBOX

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection

pytestmark = pytest.mark.postgres


@pytest.fixture
def ledger_url(postgresql_database: Callable[[str], str], migrated_postgresql: str) -> str:
    """Only PostgreSQL has deadlocks: SQLite has one writer at a time."""
    return postgresql_database(migrated_postgresql)


async def until_one_waits(connection: AsyncConnection) -> None:
    """Until another connection to the same database waits for what this one has."""
    waiting = text(
        "SELECT count(*) FROM pg_stat_activity"
        " WHERE datname = current_database() AND cardinality(pg_blocking_pids(pid)) > 0"
    )
    while True:
        await connection.execute(text("SELECT pg_stat_clear_snapshot()"))
        if await connection.scalar(waiting):
            return
        await asyncio.sleep(0.02)


async def insert(connection: AsyncConnection, event_id: str) -> None:
    """What another worker's batch holds."""
    values = {"type": "invoice.paid", "livemode": False, "payload": "{}", "received_at": 1, "due_at": 1}
    values |= {"event_id": event_id, "status": "pending", "attempts": 0, "failures": 0}
    await connection.execute(INBOX.insert().values(values))


def store_all(store: Callable[[str], Awaitable[bool]], names: Sequence[str]) -> asyncio.Future[list[bool]]:
    """Deliveries that come at once, and are one batch."""
    return asyncio.gather(*(store(name) for name in names))


async def test_batches_that_hold_the_same_events_in_another_order_do_not_wait_for_each_other(
    ledger: Ledger, store: Callable[[str], Awaitable[bool]]
) -> None:
    async with ledger._database.writing() as connection:
        await insert(connection, "evt_a")
        storing = store_all(store, ("evt_d", "evt_c", "evt_b", "evt_a"))
        await until_one_waits(connection)
        await insert(connection, "evt_b")
        await insert(connection, "evt_c")
    assert await storing == [True, False, False, False]


async def test_a_deadlock_refuses_no_delivery(ledger: Ledger, store: Callable[[str], Awaitable[bool]]) -> None:
    async with ledger._database.writing() as connection:
        await connection.execute(text("SET LOCAL deadlock_timeout = '1h'"))  # so it is the batch that is broken off
        await insert(connection, "evt_b")
        storing = store_all(store, ("evt_a", "evt_b", "evt_c"))
        await until_one_waits(connection)
        await insert(connection, "evt_a")
    assert await storing == [False, False, True]
