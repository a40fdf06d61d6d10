from __future__ import annotations

import asyncio

from gateway.ledger import CheckoutRow


async def test_a_checkout_comes_back_as_it_was_stored(ledger, customer):
    await ledger.add_checkout(
        session_id="cs_1", customer_id=customer, plan_id="pro-monthly", claim_digest="d" * 64, now=7
    )
    assert await ledger.find_checkout("cs_1") == CheckoutRow(
        session_id="cs_1",
        customer_id=customer,
        plan_id="pro-monthly",
        claim_digest="d" * 64,
        created_at=7,
        claimed_at=None,
        key_id=None,
    )
    assert await ledger.find_checkout("cs_2") is None
    assert await ledger.find_checkout("cs_\x00") is None


async def test_a_repeated_checkout_keeps_its_first_claim_secret(ledger, customer):
    for digest in ("first", "second"):
        await ledger.add_checkout(session_id="cs_1", customer_id=customer, plan_id="pro", claim_digest=digest, now=7)
    assert (await ledger.find_checkout("cs_1")).claim_digest == "first"


async def test_of_many_claims_at_once_one_gets_the_key(ledger, customer, ledger_url, open_ledger):
    other = await open_ledger(ledger_url)
    await ledger.add_checkout(session_id="cs_1", customer_id=customer, plan_id="pro", claim_digest=None, now=7)
    answers = await asyncio.gather(*((ledger, other)[i % 2].claim_checkout("cs_1", f"k{i}", now=8) for i in range(10)))
    assert sorted(answers) == [False] * 9 + [True]
    row = await ledger.find_checkout("cs_1")
    assert (row.claimed_at, row.key_id) == (8, f"k{answers.index(True)}")


async def test_an_unknown_checkout_cannot_be_claimed(ledger):
    assert not await ledger.claim_checkout("cs_1", "k1", now=8)


async def test_old_checkouts_are_forgotten_in_small_steps(ledger, customer, monkeypatch):
    monkeypatch.setattr("gateway.ledger.checkouts._FORGOTTEN_AT_ONCE", 2)
    monkeypatch.setattr("gateway.ledger.checkouts._FORGOTTEN_A_CALL", 4)
    for number in range(7):
        await ledger.add_checkout(
            session_id=f"cs_{number}", customer_id=customer, plan_id="pro", claim_digest=None, now=number
        )
    assert [await ledger.forget_checkouts(5) for _ in range(3)] == [4, 1, 0]
    assert await ledger.find_checkout("cs_4") is None
    assert await ledger.find_checkout("cs_5") is not None
