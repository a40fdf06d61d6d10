"""Deadlines of connections: one timer for all of a worker's, so that a request sets none of its own."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Protocol
from weakref import WeakKeyDictionary

if TYPE_CHECKING:
    from collections.abc import MutableMapping

_SLOWEST_S, _FASTEST_S, _LOOKS_PER_TIMEOUT = 1.0, 0.02, 4


class Swept(Protocol):
    """A connection that has deadlines."""

    def look(self, now: float) -> None:
        """Is one of them over? `now` is loop time."""
        ...


class Sweeper:
    """Looks at connections while there are any.

    Args:
        shortest_s: The shortest time-out among them: none is late by more than a quarter of it.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, shortest_s: float) -> None:
        self._loop = loop
        self._every_s = min(_SLOWEST_S, max(_FASTEST_S, shortest_s / _LOOKS_PER_TIMEOUT))
        self._timer: asyncio.TimerHandle | None = None
        self._swept: set[Swept] = set()

    def __len__(self) -> int:
        return len(self._swept)

    def add(self, connection: Swept) -> None:
        """Begin to look at it."""
        self._swept.add(connection)
        if self._timer is None:
            self._timer = self._loop.call_later(self._every_s, self._sweep)

    def discard(self, connection: Swept) -> None:
        """Look at it no more."""
        self._swept.discard(connection)
        if not self._swept and self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _sweep(self) -> None:
        self._timer = None
        now = self._loop.time()
        for connection in tuple(self._swept):
            connection.look(now)
        if self._swept:
            self._timer = self._loop.call_later(self._every_s, self._sweep)


_sweepers: MutableMapping[object, Sweeper] = WeakKeyDictionary()


def sweeper_of(server: object, loop: asyncio.AbstractEventLoop, shortest_s: float) -> Sweeper:
    """The one of a server; made by its first connection."""
    sweeper = _sweepers.get(server)
    if sweeper is None:
        sweeper = _sweepers[server] = Sweeper(loop, shortest_s)
    return sweeper
