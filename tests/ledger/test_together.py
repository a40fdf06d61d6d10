"""Group commit: what is told to whom, and when. With a writer that can be watched, not a database."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from gateway.core.errors import LedgerUnavailable
from gateway.ledger.together import Together


class Writer:
    """Writes numbers, ten times as large; each transaction waits until it is let through."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.may_commit = asyncio.Event()
        self.fault: Exception | None = None
        self.refused: set[int] = set()

    async def write(self, rows: Sequence[int]) -> list[int]:
        self.batches.append(list(rows))
        await self.may_commit.wait()
        if self.fault is not None:
            raise self.fault
        if self.refused & set(rows):
            raise ValueError("cannot be stored")
        return [row * 10 for row in rows]


async def begun(*work: asyncio.Task[int]) -> None:
    """As far as they come without a commit."""
    for _ in range(10 * len(work)):
        await asyncio.sleep(0)


async def test_what_comes_during_a_commit_is_written_together_with_the_next() -> None:
    writer = Writer()
    together = Together(writer.write, most=10)
    tasks = [asyncio.create_task(together.add(1))]
    await begun(*tasks)
    tasks += [asyncio.create_task(together.add(number)) for number in range(2, 6)]
    await begun(*tasks)
    assert writer.batches == [[1]]
    writer.may_commit.set()
    assert await asyncio.gather(*tasks) == [10, 20, 30, 40, 50]
    assert writer.batches == [[1], [2, 3, 4, 5]]


async def test_nobody_is_answered_before_the_commit() -> None:
    writer = Writer()
    together = Together(writer.write, most=10)
    tasks = [asyncio.create_task(together.add(number)) for number in range(3)]
    await begun(*tasks)
    assert not any(task.done() for task in tasks)
    writer.may_commit.set()
    await asyncio.gather(*tasks)


async def test_a_transaction_holds_no_more_rows_than_it_may() -> None:
    writer = Writer()
    writer.may_commit.set()
    together = Together(writer.write, most=3)
    await asyncio.gather(*(together.add(number) for number in range(8)))
    assert [len(batch) for batch in writer.batches] == [3, 3, 2]


async def test_a_commit_that_failed_is_told_to_all_whose_rows_it_held_and_the_next_is_tried() -> None:
    writer = Writer()
    writer.may_commit.set()
    together = Together(writer.write, most=10)
    writer.fault = LedgerUnavailable("away")
    answers = await asyncio.gather(*(together.add(number) for number in range(3)), return_exceptions=True)
    assert [type(answer) for answer in answers] == [LedgerUnavailable] * 3
    assert len(writer.batches) == 1
    writer.fault = None
    assert await together.add(4) == 40


async def test_a_row_that_is_refused_takes_no_other_with_it() -> None:
    writer = Writer()
    writer.may_commit.set()
    writer.refused = {1}
    together = Together(writer.write, most=10)
    answers = await asyncio.gather(*(together.add(number) for number in range(3)), return_exceptions=True)
    assert (answers[0], answers[2]) == (0, 20)
    assert isinstance(answers[1], ValueError)


async def test_whoever_does_not_wait_any_more_keeps_nobody_from_being_told() -> None:
    writer = Writer()
    together = Together(writer.write, most=10)
    tasks = [asyncio.create_task(together.add(number)) for number in range(3)]
    await begun(*tasks)
    tasks[1].cancel()
    await begun(*tasks)
    writer.may_commit.set()
    assert (await tasks[0], await tasks[2]) == (0, 20)
    with pytest.raises(asyncio.CancelledError):
        await tasks[1]
