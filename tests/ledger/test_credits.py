"""Grants of credits: once for each reference, and in the account while they can be spent."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from gateway.core.account import Grant
from gateway.ledger import CustomerUnknown, GrantRow, GrantsFull, UsageTotal

DAY_S = 86_400


def row(grant_id="g1", **changes):
    grant = {"meter": "requests", "units": 5, "granted_at": 100, "expires_at": None}
    grant |= {name: changes.pop(name) for name in list(changes) if name in grant}
    return GrantRow(
        customer_id="c1",
        grant=Grant(grant_id=grant_id, **grant),
        **{"reference": f"order {grant_id}", "reason": "an apology"} | changes,
    )


async def add(ledger, one, now=100, most=50):
    return await ledger.add_grant(one, now=now, actor="test", most=most)


async def use(ledger, grant_id, used, seq):
    total = UsageTotal(customer_id="c1", field=f"q:credit:{grant_id}", window_starts_at=100, used=used, seq=seq)
    await ledger.settle([total])


@pytest.fixture
async def ledger_of_one(ledger):
    await ledger.create_customer(customer_id="c1", user_id="ada", now=1, actor="test")
    return ledger


async def granted(ledger):
    return [grant.grant_id for grant in (await ledger.load_account("c1")).grants]


async def test_grants_are_in_the_account_in_the_order_in_which_they_are_spent(ledger_of_one):
    ledger = ledger_of_one
    for one in (row("g1"), row("g2", expires_at=900), row("g3", expires_at=300), row("g4", granted_at=50)):
        assert await add(ledger, one) == one
    assert await granted(ledger) == ["g3", "g2", "g4", "g1"]
    account = await ledger.load_account("c1")
    assert (account.version, account.grants[0].expires_at) == (5, 300)


async def test_one_reference_is_one_grant_whoever_records_it(ledger_of_one, ledger_url, open_ledger):
    other = await open_ledger(ledger_url)
    rows = [row(f"g{number}", reference="order 7") for number in range(8)]
    made = await asyncio.gather(*(add((ledger_of_one, other)[n % 2], one) for n, one in enumerate(rows)))
    assert len({one.grant.grant_id for one in made}) == 1
    assert (await ledger_of_one.load_account("c1")).version == 2


async def test_nobody_is_granted_anything_who_is_not_there_or_is_full(ledger_of_one):
    with pytest.raises(CustomerUnknown):
        await add(ledger_of_one, replace(row(), customer_id="c2"))
    await add(ledger_of_one, row("g1", expires_at=200))
    with pytest.raises(GrantsFull):
        await add(ledger_of_one, row("g2"), most=1)
    await add(ledger_of_one, row("g2"), now=200, most=1)


async def test_what_expired_a_day_ago_leaves_the_account_with_the_next_grant(ledger_of_one):
    await add(ledger_of_one, row("g1", expires_at=200))
    await add(ledger_of_one, row("g2"), now=200 + DAY_S)
    assert await granted(ledger_of_one) == ["g1", "g2"]
    await add(ledger_of_one, row("g3"), now=201 + DAY_S)
    assert await granted(ledger_of_one) == ["g2", "g3"]
    ended = (await ledger_of_one.list_grants("c1", include_ended=True))[0]
    assert (ended.ended, ended.ended_at) == ("expired", 200)


async def test_used_up_is_what_the_totals_say_and_a_refund_takes_it_back(ledger_of_one):
    ledger = ledger_of_one
    await add(ledger, row("g1"))
    await add(ledger, row("g2"))
    await use(ledger, "g1", 4, 1)
    assert await ledger.settle_grants(["c1"], now=110) == 0
    await use(ledger, "g1", 5, 2)
    assert await ledger.settle_grants(["c1", "c9"], now=110) == 1
    assert await ledger.settle_grants(["c1"], now=111) == 0
    assert await granted(ledger) == ["g2"]
    assert [(one.used, one.ended, one.ended_at) for one in await ledger.list_grants("c1", include_ended=True)] == [
        (5, "spent", 110),
        (0, None, None),
    ]
    await use(ledger, "g1", 3, 3)
    assert await ledger.settle_grants(["c1"], now=112) == 1
    assert await granted(ledger) == ["g1", "g2"]
    assert (await ledger.load_account("c1")).version == 5


async def test_a_revoked_grant_has_ended_for_good(ledger_of_one):
    ledger = ledger_of_one
    await add(ledger, row("g1"))
    await use(ledger, "g1", 5, 1)
    await ledger.settle_grants(["c1"], now=110)
    assert not await ledger.revoke_grant("c1", "g2", now=111, actor="test", because="test")
    assert await ledger.revoke_grant("c1", "g1", now=111, actor="test", because="test")
    assert not await ledger.revoke_grant("c1", "g1", now=112, actor="test", because="test")
    await use(ledger, "g1", 1, 2)
    assert await ledger.settle_grants(["c1"], now=113) == 0
    assert await granted(ledger) == []
