"""Script calls of one event-loop tick travel together, in one write, on one connection.

Nobody waits for anybody: the next tick's calls are written while the replies to the last are on
their way. So a call costs its worker a future, its share of a write and of a read, and no task or
timer. Laws, besides those of a wire:

- a call is answered, or fails, by its deadline; a call whose caller has gone is not sent;
- after a late answer the connection is dropped. An event loop that stood still is not blamed on
  the server: what lies in the socket is read first, and what may not have left is given time;
- a call that was not sent when the connection broke was not done, and is handed back for another;
- at most `_FLYING` calls are on their way and `_HELD` wait for one of them; more are refused at once.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Any

from gateway.cache.wire import Call, Wire, fail_call

if TYPE_CHECKING:
    from collections.abc import Callable

    from gateway.cache.endpoint import Endpoint

_FLYING = 512
"""They keep the server busy for 5 to 10 ms, and are what may have been charged in vain when it hangs."""

_HELD = 4096
"""More could not be answered by their deadline anyway."""

_LEAST_S = 0.01
"""The server gets this long from the write on, also if the calls have waited here for most of their time."""

_PASSES = 4
"""Turns of the event loop between the deadline and the verdict, so that replies in the socket are read."""


class Lane:
    """The connection for scripts, and who waits for it.

    Args:
        endpoint: Where to connect.
        deadline_s: How long a call may take.
        lost: Told when the connection is dropped: why, whether the server hangs, and the calls that
            were not sent.
        elsewhere: Told of a call that the server has not done because it belongs to another, or has to wait, and
            how it said so. Returns whether it sees to the call.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        deadline_s: float,
        lost: Callable[[BaseException, bool, list[Call]], None],
        elsewhere: Callable[[Call, str], bool],
    ) -> None:
        self._endpoint = endpoint
        self._deadline_s = deadline_s
        self._lost = lost
        self.elsewhere = elsewhere
        self._loop = asyncio.get_running_loop()
        self._make_future = self._loop.create_future
        self._wire: Wire | None = None
        self._new: list[Call] = []
        self._due = 0.0
        self._held: deque[Call] = deque()
        self._timer: asyncio.Handle | None = None
        self._looks_at = 0.0
        self._spared: Call | None = None
        self._closing: set[asyncio.Future[None]] = set()
        self.round_trips = 0
        """Writes made so far."""

    async def open(self) -> None:
        """Connect and load the scripts. The caller sets the time limit.

        Raises:
            OSError: The server cannot be reached, or refused.
        """
        for call in self._drop("reconnecting"):
            fail_call(call, "reconnecting")
        wire = await self._endpoint.connect(lambda: Wire(self))
        self._closing.add(wire.closed)
        wire.closed.add_done_callback(self._closing.discard)
        try:
            self._endpoint.check(await wire.greet(self._endpoint.greeting()))
        except BaseException:
            wire.end("it was not opened")
            raise
        self._wire = wire

    def send(self, command: bytes) -> asyncio.Future[Any]:
        """Send a script call with the others of this tick.

        Args:
            command: Packed EVALSHA.

        Returns:
            Done within the deadline, with the reply or CacheUnavailable.
        """
        reply = self._make_future()
        if not self._new:
            self._due = self._loop.time() + self._deadline_s
            self._loop.call_soon(self._flush)
        self._new.append((command, reply, self._due, False))
        return reply

    def send_held(self, call: Call) -> None:
        """Send a call that has waited for a connection, before those of this tick."""
        if not self._held:
            self._loop.call_soon(self._flush)
        self._held.append(call)

    def give_up(self, reason: str) -> None:
        """Drop the connection: it is not to the server that it should be."""
        if self._wire is not None:
            self._lose(ConnectionResetError(reason), hangs=False)

    async def aclose(self) -> None:
        """Fail every call, and wait until every connection is closed."""
        for call in self._drop("shutting down"):
            fail_call(call, "shutting down")
        await asyncio.gather(*self._closing)

    # What the wire calls.

    def heard(self, wire: Wire) -> None:
        """There is room for calls that wait."""
        if self._held and wire is self._wire:
            self._flush()

    def lost(self, wire: Wire, error: BaseException) -> None:
        """The connection broke."""
        if wire is self._wire:
            self._lose(error, hangs=False)

    def _flush(self) -> None:
        new, self._new = self._new, []
        wire = self._wire
        if wire is None or (not wire.flying and wire.has_closed()):
            self._new = new
            self._lose(ConnectionResetError("the server closed the connection"), hangs=False)
            return
        if self._held or len(wire.flying) + len(new) > _FLYING:
            new = self._hold(new, _FLYING - len(wire.flying))
        least = self._loop.time() + _LEAST_S
        commands, calls = [], []
        for call in new:
            if call[1].done():
                continue
            commands.append(call[0])
            calls.append(call if call[2] >= least else (call[0], call[1], least, False))
        if calls:
            wire.send(commands, calls)
            self.round_trips += 1
            if self._timer is None or self._held:
                self._look_at(self._oldest(wire)[2])

    def _hold(self, new: list[Call], room: int) -> list[Call]:
        """Let calls wait for `room` to be made. Returns those that need not."""
        held = self._held
        held.extend(new)
        sent = [held.popleft() for _ in range(min(room, len(held)))]
        while len(held) > _HELD:
            fail_call(held.pop(), "too many calls wait for the server")
        return sent

    def _drop(self, reason: str) -> list[Call]:
        """End the connection. Returns the calls that were not sent."""
        wire, self._wire = self._wire, None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        unsent = [*self._held, *self._new]
        self._held.clear()
        self._new.clear()
        if wire is not None:
            wire.end(reason)
        return unsent

    def _lose(self, error: BaseException, *, hangs: bool) -> None:
        was_open = self._wire is not None
        unsent = self._drop(str(error) or type(error).__name__)
        if was_open or unsent:
            self._lost(error, hangs, unsent)

    # One timer looks at the oldest call: the others are due later.

    def _look_at(self, due: float) -> None:
        """Look at the oldest call then, or before."""
        if self._timer is not None:
            if self._looks_at <= due:
                return
            self._timer.cancel()
        self._looks_at = due
        self._timer = self._loop.call_at(due, self._look)

    def _look(self) -> None:
        self._timer = None
        wire = self._wire
        if wire is None or not (wire.flying or self._held):
            return
        now, oldest = self._loop.time(), self._oldest(wire)
        due = oldest[2]
        if due > now:
            self._look_at(due)
        elif now - due > _LEAST_S and self._spared is not oldest:
            self._spared = oldest
            self._look_at(now + _LEAST_S)
        else:
            self._judge(wire, _PASSES, wire.reads)

    def _judge(self, wire: Wire, passes: int, reads: int) -> None:
        if passes:
            self._timer = self._loop.call_soon(self._judge, wire, passes - 1, reads)
            return
        self._timer = None
        if wire.reads > reads or not wire.flying or wire.flying[0][2] > self._loop.time():
            self._refuse_late()
            self._look()
        else:
            self._lose(TimeoutError("no answer in time"), hangs=True)

    def _refuse_late(self) -> None:
        now = self._loop.time()
        while self._held and self._held[0][2] <= now:
            fail_call(self._held.popleft(), "too many calls were before it")

    def _oldest(self, wire: Wire) -> Call:
        if self._held and (not wire.flying or self._held[0][2] < wire.flying[0][2]):
            return self._held[0]
        return wire.flying[0]
