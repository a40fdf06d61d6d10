"""Turns at a customer's subscription, and what becomes of those who wait for a worker that is lost."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from gateway.sync import turns
from tests.billing.conftest import NOW


async def test_a_checkout_goes_on_when_it_has_waited_long_enough_and_a_change_does_not(
    ledger: Any, customer: str, clock: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(turns, "COURTESY_S", 0.2)
    monkeypatch.setattr(turns, "PATIENCE_S", 0.2)
    assert await ledger.take_change_turn(customer, "lost", now=NOW, until=NOW + turns.TURN_S)
    async with turns.courteous_turn(ledger, clock, customer):
        with pytest.raises(turns.ChangeInProgress):
            async with turns.own_turn(ledger, clock, customer):
                pass
    assert not await ledger.take_change_turn(customer, "next", now=NOW, until=NOW + 1), "it is still the lost one's"


async def test_checkouts_wait_for_one_another(ledger: Any, customer: str, clock: Any) -> None:
    inside: list[int] = []

    async def begin(number: int) -> None:
        async with turns.courteous_turn(ledger, clock, customer):
            inside.append(number)
            await asyncio.sleep(0)
            assert inside == [number]
            inside.clear()

    await asyncio.gather(*(begin(number) for number in range(3)))
