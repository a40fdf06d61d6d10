"""Caps on what customers pay for overage. On SQLite and PostgreSQL."""

from __future__ import annotations

import pytest

from gateway.core.account import SpendCap
from gateway.ledger import CustomerUnknown, SpendCapRow


def row(customer_id, amount, *, meter="requests", at=5):
    return SpendCapRow(customer_id=customer_id, cap=SpendCap(meter=meter, amount=amount, currency="usd"), set_at=at)


async def test_a_cap_is_part_of_the_account_and_raises_its_version(ledger, customer):
    before = await ledger.load_account(customer)
    assert await ledger.set_spend_cap(row(customer, 5000), actor="customer", because="asked")
    await ledger.set_spend_cap(row(customer, 7, meter="gets"), actor="customer", because="asked")
    account = await ledger.load_account(customer)
    assert [(cap.meter, cap.amount) for cap in account.spend_caps] == [("gets", 7), ("requests", 5000)]
    assert account.version == before.version + 2


async def test_the_same_cap_again_changes_nothing(ledger, customer):
    await ledger.set_spend_cap(row(customer, 5000), actor="customer", because="asked")
    version = (await ledger.load_account(customer)).version
    assert not await ledger.set_spend_cap(row(customer, 5000, at=9), actor="customer", because="asked")
    assert (await ledger.load_account(customer)).version == version


async def test_a_cap_is_audited_when_it_is_set_and_when_it_goes(ledger, customer):
    await ledger.set_spend_cap(row(customer, 5000), actor="customer", because="page")
    await ledger.set_spend_cap(row(customer, 0), actor="customer", because="page")
    assert await ledger.drop_spend_cap(customer, "requests", now=7, actor="operator", because="cli")
    assert not await ledger.drop_spend_cap(customer, "requests", now=8, actor="operator", because="cli")
    gone, changed, first = (await ledger.list_audit(customer))[:3]
    assert (first.action, first.before, first.after["amount"]) == ("spend-cap-set", None, 5000)
    assert (changed.before["amount"], changed.after["amount"]) == (5000, 0)
    assert (gone.action, gone.before["amount"], gone.actor) == ("spend-cap-removed", 0, "operator")
    assert (await ledger.load_account(customer)).spend_caps == ()


async def test_nobody_has_no_cap(ledger):
    with pytest.raises(CustomerUnknown):
        await ledger.set_spend_cap(row("nobody", 1), actor="a", because="b")
    with pytest.raises(CustomerUnknown):
        await ledger.drop_spend_cap("nobody", "requests", now=1, actor="a", because="b")
