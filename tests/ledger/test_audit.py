from __future__ import annotations

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from gateway.ledger import NewKey


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
    "sqlite": (
        "INSERT OR REPLACE INTO audit_log SELECT audit_id, at, 'c', 'nobody', 'x', 'x', '{}', '{}' FROM audit_log",
    ),
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
