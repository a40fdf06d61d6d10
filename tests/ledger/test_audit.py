from __future__ import annotations

import asyncio

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from gateway.ledger import AuditFilter, NewKey


@pytest.fixture
async def entry(ledger):
    return await ledger.record_audit(
        at=5,
        customer_id=None,
        actor="operator",
        action="policy-reloaded",
        because="file changed",
        before={"hash": "a", "tiers": ["free"]},
        after={"hash": "b", "tiers": ["free", "pro"]},
    )


async def test_an_entry_comes_back_as_it_was_recorded(ledger, entry):
    [row] = await ledger.list_audit()
    assert row.audit_id == entry
    assert (row.at, row.customer_id, row.actor, row.action) == (5, None, "operator", "policy-reloaded")
    assert row.before == {"hash": "a", "tiers": ["free"]}
    assert row.after == {"hash": "b", "tiers": ["free", "pro"]}


@pytest.mark.usefixtures("entry")
async def test_entries_are_listed_newest_first_of_one_customer_or_all(ledger, customer, new_customer):
    await new_customer(ledger)
    assert [row.action for row in await ledger.list_audit(customer)] == ["customer-created"]
    everything = await ledger.list_audit()
    assert [row.audit_id for row in everything] == sorted((row.audit_id for row in everything), reverse=True)
    assert len(everything) == 3
    assert [row.audit_id for row in await ledger.list_audit(None, 10, before=everything[0].audit_id)] == [
        row.audit_id for row in everything[1:]
    ]
    assert len(await ledger.list_audit(limit=1)) == 1


ATTEMPTS = {
    "both": (
        "UPDATE audit_log SET actor = 'nobody'",
        "UPDATE audit_log SET audit_id = audit_id + 1",
        "DELETE FROM audit_log",
    ),
    "sqlite": ("INSERT OR REPLACE INTO audit_log (audit_id, at, actor, action, because) SELECT 1, 1, 'x', 'x', 'x'",),
    "postgresql": ("TRUNCATE audit_log",),
}


@pytest.mark.usefixtures("entry")
async def test_no_statement_alters_or_removes_an_entry(ledger, backend):
    before = await ledger.list_audit()
    for statement in (*ATTEMPTS["both"], *ATTEMPTS[backend]):
        with pytest.raises(DBAPIError, match="append-only"):
            async with ledger._database.writing() as connection:
                await connection.execute(text(statement))
        assert await ledger.list_audit() == before, statement


async def test_a_change_that_fails_leaves_no_entry(ledger, customer, new_key):
    entries = await ledger.list_audit()
    record = await new_key(ledger, customer)
    with pytest.raises(Exception, match="recorded already"):
        await ledger.add_key(customer, NewKey(record=record, digest="x", mode="test"), now=1, actor="customer")
    assert len(await ledger.list_audit()) == len(entries) + 1


async def add(ledger, number, **changes):
    row = {"at": number, "customer_id": None, "actor": "operator", "action": "noted", "because": f"row {number}"}
    return await ledger.record_audit(**row | changes)


async def numbers(ledger, **wanted):
    return [row.at for row in await ledger.list_audit(which=AuditFilter(**wanted))]


async def test_entries_are_found_by_customer_actor_action_and_time(ledger):
    await add(ledger, 1, customer_id="c1", actor="stripe")
    await add(ledger, 2, customer_id="c1", action="tier-granted")
    await add(ledger, 3, customer_id="c2", actor="stripe")
    assert await numbers(ledger) == [3, 2, 1]
    assert await numbers(ledger, customer_id="c1") == [2, 1]
    assert await numbers(ledger, actor="stripe") == [3, 1]
    assert await numbers(ledger, action="tier-granted") == [2]
    assert await numbers(ledger, since=2) == [3, 2]
    assert await numbers(ledger, until=2) == [1]
    assert await numbers(ledger, customer_id="c1", actor="stripe", since=2) == []


async def test_pages_go_on_where_the_one_before_ended(ledger):
    made = [await add(ledger, number) for number in range(1, 8)]
    upto, after, seen = await ledger.last_audit_id(), 0, []
    await add(ledger, 8)
    while page := await ledger.page_audit(AuditFilter(), after=after, upto=upto, limit=3):
        seen += [row.audit_id for row in page]
        after = page[-1].audit_id
    assert seen == made
    assert upto == made[-1]


async def test_an_empty_log_ends_at_nothing(ledger):
    assert await ledger.last_audit_id() == 0


async def test_no_entry_is_left_out_of_exports_that_follow_each_other_while_others_write(
    ledger, ledger_url, open_ledger
):
    other = await open_ledger(ledger_url)
    seen, after = [], 0
    writing = [asyncio.create_task(add((ledger, other)[number % 2], number)) for number in range(60)]
    is_over = False
    while not is_over:
        is_over = all(task.done() for task in writing)
        upto = await other.last_audit_id()
        seen += [row.at for row in await ledger.page_audit(AuditFilter(), after=after, upto=upto, limit=1000)]
        after = upto
    assert sorted(seen) == list(range(60))
    await asyncio.gather(*writing)


async def test_a_policy_is_noted_once_however_many_workers_take_it(ledger, ledger_url, open_ledger):
    other = await open_ledger(ledger_url)
    first, second = {"policy": "a" * 12, "default_tier": "free"}, {"policy": "b" * 12, "default_tier": None}
    for facts in (first, second, first):
        noted = await asyncio.gather(*((ledger, other)[n % 2].note_policy(facts, now=n) for n in range(6)))
        assert sum(noted) == 1
    rows = await ledger.list_audit(which=AuditFilter(action="policy-changed"))
    assert [(row.before, row.after) for row in rows] == [(second, first), (first, second), (None, first)]


async def test_a_change_says_what_it_did_to_access_and_which_event_brought_it(ledger, customer, subscription):
    def assess(account):
        return {"tier": None if account.blocked else account.subscription and account.subscription.status}

    fence = await ledger.take_fence(customer)
    await ledger.apply_subscription(
        customer, fence, lambda _: subscription, now=9, actor="stripe", because="it", event_id="evt_1", assess=assess
    )
    await ledger.set_blocked(customer, blocked=True, now=9, actor="operator", because="abuse", assess=assess)
    blocked, synced, _ = await ledger.list_audit(customer)
    assert (synced.access_before, synced.access_after) == ({"tier": None}, {"tier": subscription.status})
    assert (blocked.access_before, blocked.access_after) == ({"tier": subscription.status}, {"tier": None})
    assert (synced.event_id, blocked.event_id) == ("evt_1", None)
