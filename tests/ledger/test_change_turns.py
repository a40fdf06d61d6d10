"""Whose turn it is to change a subscription."""

from __future__ import annotations

import asyncio

import pytest

NOW = 1_800_000_000


@pytest.fixture
async def customer_id(ledger):
    await ledger.create_customer(customer_id="customer0001", user_id="user", now=NOW, actor="test")
    return "customer0001"


async def test_one_of_many_has_the_turn(ledger, customer_id):
    asked = [ledger.take_change_turn(customer_id, f"holder-{n}", now=NOW, until=NOW + 60) for n in range(8)]
    assert sorted(await asyncio.gather(*asked)) == [False] * 7 + [True]


async def test_a_turn_that_was_given_back_or_is_over_is_the_next_ones(ledger, customer_id):
    assert await ledger.take_change_turn(customer_id, "first", now=NOW, until=NOW + 60)
    assert not await ledger.take_change_turn(customer_id, "second", now=NOW + 59, until=NOW + 119)
    await ledger.give_change_turn_back(customer_id, "first")
    assert await ledger.take_change_turn(customer_id, "second", now=NOW + 59, until=NOW + 119)
    assert await ledger.take_change_turn(customer_id, "third", now=NOW + 119, until=NOW + 179)


async def test_nobody_gives_back_what_is_another_ones_by_now(ledger, customer_id):
    assert await ledger.take_change_turn(customer_id, "first", now=NOW, until=NOW + 60)
    assert await ledger.take_change_turn(customer_id, "second", now=NOW + 60, until=NOW + 120)
    await ledger.give_change_turn_back(customer_id, "first")
    assert not await ledger.take_change_turn(customer_id, "third", now=NOW + 61, until=NOW + 121)


async def test_turns_of_different_customers_have_nothing_to_do_with_each_other(ledger, customer_id):
    await ledger.create_customer(customer_id="customer0002", user_id="other", now=NOW, actor="test")
    assert await ledger.take_change_turn(customer_id, "first", now=NOW, until=NOW + 60)
    assert await ledger.take_change_turn("customer0002", "second", now=NOW, until=NOW + 60)


async def test_whether_somebody_has_the_turn_can_be_seen_without_taking_it(ledger, customer_id):
    assert not await ledger.is_change_turn_taken(customer_id, NOW)
    assert await ledger.take_change_turn(customer_id, "first", now=NOW, until=NOW + 60)
    assert await ledger.is_change_turn_taken(customer_id, NOW + 59)
    assert not await ledger.is_change_turn_taken(customer_id, NOW + 60)
    await ledger.give_change_turn_back(customer_id, "first")
    assert not await ledger.is_change_turn_taken(customer_id, NOW)
