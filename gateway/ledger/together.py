"""Group commit: what comes while a write is under way waits for it, and is written together then.

A commit costs a flush of the disk, however much it holds. So under load the number of commits stays what the
disk takes, and a row that comes alone is written at once. Whoever adds a row is told only after the commit
that holds it. A row that the database refuses must not take the others with it: after a refusal each is written
by itself.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeAlias, TypeVar

from gateway.core.errors import LedgerUnavailable

Row = TypeVar("Row")
Result = TypeVar("Result")

WriteAll: TypeAlias = Callable[[Sequence[Row]], Awaitable[Sequence[Result]]]
"""Writes rows in one transaction, and tells what became of each. An error means that none of them is known to be."""


class Together(Generic[Row, Result]):
    """Rows of one kind on their way into the ledger.

    Args:
        write: Writes some.
        most: Rows of one transaction.
    """

    def __init__(self, write: WriteAll[Row, Result], *, most: int) -> None:
        self._write = write
        self._most = most
        self._waiting: deque[tuple[Row, asyncio.Future[Result]]] = deque()
        self._writer: asyncio.Task[None] | None = None

    async def add(self, row: Row) -> Result:
        """Write a row, with others if there are any. When this returns, it is committed.

        Raises:
            LedgerUnavailable: It was not written, or nobody knows.
        """
        written: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        self._waiting.append((row, written))
        if self._writer is None:
            self._writer = asyncio.create_task(self._write_on())
        return await written

    async def _write_on(self) -> None:
        """Until nobody waits."""
        try:
            while self._waiting:
                batch = [self._waiting.popleft() for _ in range(min(self._most, len(self._waiting)))]
                await self._write_batch(batch)
        finally:
            self._writer = None

    async def _write_batch(self, batch: list[tuple[Row, asyncio.Future[Result]]]) -> None:
        try:
            results = await self._write([row for row, _ in batch])
        except Exception as error:  # noqa: BLE001 - whoever waits is told, each of them
            if len(batch) > 1 and not isinstance(error, LedgerUnavailable):
                for one in batch:
                    await self._write_batch([one])
                return
            for _, written in batch:
                if not written.done():
                    written.set_exception(error)
            return
        for (_, written), result in zip(batch, results, strict=True):
            if not written.done():
                written.set_result(result)
