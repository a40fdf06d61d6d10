"""Whose turn it is to use the database in this process: one at a time, and whom Stripe waits for before the others.

A transaction has many statements, and each of them waits for the event loop: a webhook that stands behind those of
all customers who are being read is answered late. Only one at a time may go first, and a new one only after the turn
of another, or the others would wait for good: events are stored by one writer (`together`).
"""

from __future__ import annotations

import asyncio
from collections import deque


class Turn:
    """A lock with two rows of those who wait."""

    def __init__(self) -> None:
        self._is_taken = False
        self._first: deque[asyncio.Future[None]] = deque()
        self._others: deque[asyncio.Future[None]] = deque()

    async def acquire(self, *, goes_first: bool = False) -> None:
        """Wait for the turn. `goes_first`: before those who wait and do not."""
        if not self._is_taken:
            self._is_taken = True
            return
        row = self._first if goes_first else self._others
        given: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        row.append(given)
        try:
            await given
        except asyncio.CancelledError:
            if given.cancelled():
                row.remove(given)
            else:  # it was given as whoever waited for it left
                self.release()
            raise

    def release(self) -> None:
        """Let the next one have it."""
        for row in (self._first, self._others):
            while row:
                given = row.popleft()
                if not given.done():
                    given.set_result(None)
                    return
        self._is_taken = False
