from __future__ import annotations


async def test_a_noted_dispute_is_looked_at_until_it_is_forgotten(ledger, customer):
    for dispute in ("du_2", "du_1", "du_2"):
        await ledger.note_dispute(dispute, customer, 5)
    assert await ledger.list_disputes(customer) == ("du_1", "du_2")
    assert await ledger.list_disputes("somebody else") == ()
    await ledger.forget_disputes(("du_1",))
    assert await ledger.list_disputes(customer) == ("du_2",)
