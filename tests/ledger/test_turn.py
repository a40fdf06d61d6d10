"""Who is next at the database: whom Stripe waits for, and nobody is forgotten."""

from __future__ import annotations

import asyncio

import pytest

from gateway.ledger.turn import Turn


async def queue(turn: Turn, told: list[str], name: str, *, goes_first: bool = False) -> asyncio.Task[None]:
    """Somebody who waits for the turn, has it for a moment, and says so."""

    async def have_it() -> None:
        await turn.acquire(goes_first=goes_first)
        told.append(name)
        await asyncio.sleep(0)
        turn.release()

    task = asyncio.create_task(have_it())
    await asyncio.sleep(0)
    return task


async def test_who_goes_first_has_the_next_turn_and_the_others_keep_their_order() -> None:
    turn, told = Turn(), list[str]()
    await turn.acquire()
    waiting = [await queue(turn, told, name) for name in ("a", "b")]
    waiting += [await queue(turn, told, name, goes_first=True) for name in ("x", "y")]
    waiting.append(await queue(turn, told, "c"))
    assert told == []
    turn.release()
    await asyncio.gather(*waiting)
    assert told == ["x", "y", "a", "b", "c"]
    await turn.acquire()


@pytest.mark.parametrize("goes_first", [False, True])
async def test_whoever_leaves_while_waiting_holds_up_nobody(goes_first: bool) -> None:  # noqa: FBT001 - a row of the table
    turn, told = Turn(), list[str]()
    await turn.acquire()
    leaver = await queue(turn, told, "leaver", goes_first=goes_first)
    other = await queue(turn, told, "other")
    leaver.cancel()
    turn.release()
    await asyncio.wait([leaver])
    await other
    assert told == ["other"]


async def test_a_turn_that_is_given_to_somebody_who_just_left_goes_on() -> None:
    turn, told = Turn(), list[str]()
    await turn.acquire()
    leaver, other = await queue(turn, told, "leaver"), await queue(turn, told, "other")
    turn.release()
    leaver.cancel()
    await asyncio.wait([leaver])
    await other
    assert told == ["other"]


async def test_no_two_have_it_at_once() -> None:
    turn, inside, most = Turn(), 0, 0

    async def have_it(number: int) -> None:
        nonlocal inside, most
        for _ in range(20):
            await turn.acquire(goes_first=number == 0)
            inside += 1
            most = max(most, inside)
            await asyncio.sleep(0)
            inside -= 1
            turn.release()

    await asyncio.gather(*(have_it(number) for number in range(5)))
    assert most == 1
