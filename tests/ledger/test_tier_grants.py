"""Tiers by hand: one for each customer, in the account, audited."""

from __future__ import annotations

import asyncio

import pytest

from gateway.core.account import TierGrant
from gateway.ledger import CustomerUnknown, TierGrantRow


def row(tier="pro", ends_at=900, granted_at=100, reason="pays by invoice"):
    grant = TierGrant(tier=tier, granted_at=granted_at, ends_at=ends_at)
    return TierGrantRow(customer_id="c1", grant=grant, reason=reason)


@pytest.fixture
async def ledger_of_one(ledger):
    await ledger.create_customer(customer_id="c1", user_id="ada", now=1, actor="test")
    return ledger


async def grant(ledger, one):
    return await ledger.grant_tier(one, now=one.grant.granted_at, actor="test")


async def test_a_granted_tier_is_in_the_account_and_another_replaces_it(ledger_of_one):
    ledger = ledger_of_one
    assert await grant(ledger, row()) is None
    account = await ledger.load_account("c1")
    assert (account.tier_grant, account.version) == (row().grant, 2)
    assert await grant(ledger, row("max", 800)) == row()
    account = await ledger.load_account("c1")
    assert (account.tier_grant, account.version) == (row("max", 800).grant, 3)
    newest, older, _ = await ledger.list_audit("c1")
    assert (newest.action, newest.because) == ("tier-granted", "pays by invoice")
    assert newest.before == older.after == {"tier": "pro", "granted_at": 100, "ends_at": 900}
    assert newest.after == {"tier": "max", "granted_at": 100, "ends_at": 800}


async def test_the_same_grant_again_changes_nothing_however_many_ask(ledger_of_one, ledger_url, open_ledger):
    other = await open_ledger(ledger_url)
    rows = [row(granted_at=100 + number) for number in range(8)]
    await asyncio.gather(*(grant((ledger_of_one, other)[n % 2], one) for n, one in enumerate(rows)))
    assert (await ledger_of_one.load_account("c1")).version == 2
    assert len(await ledger_of_one.list_audit("c1")) == 2


async def test_a_grant_is_taken_back_once(ledger_of_one):
    ledger = ledger_of_one
    await grant(ledger, row())
    assert await ledger.take_tier_back("c1", now=200, actor="test", because="pays no more")
    assert not await ledger.take_tier_back("c1", now=201, actor="test", because="pays no more")
    account = await ledger.load_account("c1")
    assert (account.tier_grant, account.version) == (None, 3)
    assert await ledger.find_tier_grant("c1") is None
    taken = (await ledger.list_audit("c1"))[0]
    assert (taken.action, taken.because, taken.after) == ("tier-ungranted", "pays no more", None)
    assert taken.before == {"tier": "pro", "granted_at": 100, "ends_at": 900}


async def test_nobody_is_granted_a_tier_who_is_not_a_customer(ledger):
    with pytest.raises(CustomerUnknown):
        await grant(ledger, row())
    with pytest.raises(CustomerUnknown):
        await ledger.take_tier_back("c1", now=200, actor="test", because="")
