"""Turns at a customer's subscription, and what becomes of those who wait for a worker that is lost."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from gateway.sync import turns
from gateway.web.problems import retry_after_s
from tests.billing.conftest import NOW


async def test_a_checkout_goes_on_when_it_has_waited_long_enough_and_a_change_does_not(
    ledger: Any, customer: str, clock: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(turns, "COURTESY_S", 0.2)
    monkeypatch.setattr(turns, "PATIENCE_S", 0.2)
    assert await ledger.take_change_turn(customer, "lost", now=NOW, until=NOW + turns.TURN_S)
    here, elsewhere = (turns.Turns(ledger=ledger, clock=clock) for _ in range(2))
    async with here.courteous(customer):
        with pytest.raises(turns.ChangeInProgress) as refused:
            async with elsewhere.own(customer):
                pass
        assert refused.value.retry_after_s == turns.TURN_S, "then it is over, if it was lost"
        assert retry_after_s(refused.value) == turns.TURN_S
    assert not await ledger.take_change_turn(customer, "next", now=NOW, until=NOW + 1), "it is still the lost one's"


async def test_checkouts_wait_for_one_another(ledger: Any, customer: str, clock: Any) -> None:
    inside: list[int] = []
    workers = [turns.Turns(ledger=ledger, clock=clock) for _ in range(2)]

    async def begin(number: int) -> None:
        async with workers[number % 2].courteous(customer):
            inside.append(number)
            await asyncio.sleep(0)
            assert inside == [number]
            inside.clear()

    await asyncio.gather(*(begin(number) for number in range(4)))


async def test_of_those_who_wait_in_one_process_one_asks_the_ledger_and_only_reads(
    ledger: Any, customer: str, clock: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    take, look = ledger.take_change_turn, ledger.is_change_turn_taken
    looked = asyncio.Event()

    async def taking(*args: Any, **options: Any) -> Any:
        asked.append("take")
        return await take(*args, **options)

    async def looking(*args: Any) -> Any:
        asked.append("look")
        if asked.count("look") >= 3:
            looked.set()
        return await look(*args)

    assert await ledger.take_change_turn(customer, "elsewhere", now=NOW, until=NOW + turns.TURN_S)
    monkeypatch.setattr(ledger, "take_change_turn", taking)
    monkeypatch.setattr(ledger, "is_change_turn_taken", looking)
    here = turns.Turns(ledger=ledger, clock=clock)
    waiting = [asyncio.create_task(change(here, customer)) for _ in range(turns.LINE)]
    await looked.wait()
    assert asked.count("take") == 1, "one of them asks, and waits without writing"
    await ledger.give_change_turn_back(customer, "elsewhere")
    await asyncio.gather(*waiting)
    assert asked.count("take") == 1 + turns.LINE


async def test_a_line_has_an_end_and_is_one_customers(ledger: Any, customer: str, clock: Any) -> None:
    here, leave = turns.Turns(ledger=ledger, clock=clock), asyncio.Event()
    inside = [asyncio.create_task(change(here, customer, leave)) for _ in range(turns.LINE)]
    await asyncio.sleep(0)
    with pytest.raises(turns.TooManyBillingRequests) as refused:
        await change(here, customer)
    assert refused.value.retry_after_s > 0
    await ledger.create_customer(customer_id="customer0002", user_id="another", now=NOW, actor="test")
    await change(here, "customer0002")
    leave.set()
    await asyncio.gather(*inside)
    await change(here, customer)


async def change(here: turns.Turns, customer_id: str, leave: asyncio.Event | None = None) -> None:
    async with here.own(customer_id):
        if leave is not None:
            await leave.wait()
