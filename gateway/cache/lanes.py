"""Script calls of one event-loop tick travel together, in one write and one read.

A lane is one connection that carries one batch at a time. Calls that arrive while every
lane is busy wait for the next batch, so batches grow with load and a quiet gateway waits
for nothing. Laws:

- nothing is sent twice, except after NOSCRIPT, which means that nothing was done;
- a call is answered, or fails, by its deadline; a call whose caller has gone is not sent;
- after a late or broken answer every lane is dropped: a reply can never be taken for the
  reply to something else.
"""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import structlog
from redis.exceptions import NoScriptError, ReadOnlyError, RedisError, ResponseError

from gateway.cache.errors import CacheUnavailable, NotSent
from gateway.cache.scripts import CHARGE, PUBLISH, REFUND, load_command

if TYPE_CHECKING:
    from collections.abc import Callable

    from redis.asyncio.connection import AbstractConnection

_BATCH = 256
"""Calls per write. A full batch keeps the server busy for about 5 ms."""

_LEAST_S = 0.01
"""The server gets this long from the write on, also if the calls have waited here for most of their time."""

_PASSES = 4
"""Turns of the event loop between the deadline and the verdict. A loop that stood still would
otherwise blame the server for an answer that lies in the socket, unread."""

log = structlog.get_logger(__name__)

_LOAD_SCRIPTS = b"".join(load_command(script) for script in (CHARGE, REFUND, PUBLISH))
_SCRIPTS = 3


@dataclass(slots=True, eq=False)
class _Call:
    command: bytes
    reply: asyncio.Future[Any]
    due: float


@dataclass(slots=True, eq=False)
class _Lane:
    connection: AbstractConnection
    batch: list[_Call] = field(default_factory=list)
    task: asyncio.Task[None] | None = None
    timer: asyncio.Handle | None = None


class Lanes:
    """A few connections for scripts.

    Args:
        make_connection: A new connection, not yet connected and without time-outs of its own.
        count: How many batches may be under way at once.
        lost: Told once when all lanes are dropped: why, and whether the server hangs.
    """

    def __init__(
        self,
        make_connection: Callable[[], AbstractConnection],
        count: int,
        lost: Callable[[BaseException, bool], None],
    ) -> None:
        self._make_connection = make_connection
        self._count = count
        self._lost = lost
        self._lanes: list[_Lane] = []
        self._idle: list[_Lane] = []
        self._pending: deque[_Call] = deque()
        self._is_scheduled = False
        self._closing: set[asyncio.Task[None]] = set()
        self.round_trips = 0
        """Writes that were answered so far."""

    async def open(self) -> None:
        """Connect every lane and load the scripts. The caller sets the time limit.

        Raises:
            RedisError, OSError: The server cannot be reached, or refused.
        """
        self.drop(CacheUnavailable(reason="reconnecting"))
        lanes = [_Lane(self._make_connection()) for _ in range(self._count)]
        try:
            for lane in lanes:
                await lane.connection.connect()  # type: ignore[no-untyped-call]  # redis-py leaves it out
            await lanes[0].connection.send_packed_command(_LOAD_SCRIPTS, check_health=False)
            for _ in range(_SCRIPTS):
                await lanes[0].connection.read_response()
        except BaseException:
            for lane in lanes:
                await lane.connection.disconnect(nowait=True)
            raise
        self._lanes, self._idle = lanes, list(lanes)

    def submit(self, command: bytes, due: float) -> asyncio.Future[Any]:
        """Send a script call with the others of this tick.

        Args:
            command: Packed EVALSHA.
            due: Loop time by which the future is done, with the reply or CacheUnavailable.
        """
        loop = asyncio.get_running_loop()
        reply: asyncio.Future[Any] = loop.create_future()
        if not self._lanes:
            reply.set_exception(NotSent(reason="not connected"))
            return reply
        self._pending.append(_Call(command, reply, due))
        if not self._is_scheduled:
            self._is_scheduled = True
            loop.call_soon(self._flush)
        return reply

    def drop(self, error: CacheUnavailable) -> None:
        """Fail every call and close every connection, at once."""
        lanes, self._lanes, self._idle = self._lanes, [], []
        for lane in lanes:
            if lane.timer is not None:
                lane.timer.cancel()
            if lane.task is not None and lane.task is not asyncio.current_task():
                lane.task.cancel()
            batch, lane.batch = lane.batch, []
            for call in batch:
                if not call.reply.done():
                    call.reply.set_exception(error)
            self._close(lane.connection)
        while self._pending:
            call = self._pending.popleft()
            if not call.reply.done():
                call.reply.set_exception(NotSent(reason="connection lost"))

    async def aclose(self) -> None:
        """Fail every call, and wait until every connection is closed."""
        self.drop(CacheUnavailable(reason="shutting down"))
        await asyncio.gather(*self._closing, return_exceptions=True)

    def _close(self, connection: AbstractConnection) -> None:
        task = asyncio.get_running_loop().create_task(connection.disconnect(nowait=True))
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)

    def _flush(self) -> None:
        self._is_scheduled = False
        while self._idle and (batch := self._take()):
            lane = self._idle.pop()
            lane.batch = batch
            lane.task = asyncio.get_running_loop().create_task(self._serve(lane))

    def _take(self) -> list[_Call]:
        batch: list[_Call] = []
        while self._pending and len(batch) < _BATCH:
            call = self._pending.popleft()
            if not call.reply.done():
                batch.append(call)
        return batch

    async def _serve(self, lane: _Lane) -> None:
        loop = asyncio.get_running_loop()
        try:
            while lane.batch:
                due = max(lane.batch[0].due, loop.time() + _LEAST_S)
                lane.timer = loop.call_at(due, self._expire, lane, lane.batch, _PASSES)
                await self._exchange(lane)
                lane.timer.cancel()
                lane.batch = self._take()
        except (RedisError, OSError) as error:
            self._fail(error, hangs=False)
        else:
            self._idle.append(lane)

    async def _exchange(self, lane: _Lane) -> None:
        if await _is_broken(lane.connection):
            unsent, lane.batch = lane.batch, []
            self._pending.extendleft(reversed(unsent))
            raise ConnectionResetError("the server closed the connection")
        unknown = await self._send(lane, lane.batch, b"", 0)
        if unknown:
            unknown = await self._send(lane, unknown, _LOAD_SCRIPTS, _SCRIPTS)
            for call in unknown:
                _fail_call(call, "the server forgets scripts as soon as they are loaded")

    async def _send(self, lane: _Lane, calls: list[_Call], preamble: bytes, preamble_replies: int) -> list[_Call]:
        """One round trip. Returns the calls whose script the server did not know."""
        connection = lane.connection
        await connection.send_packed_command(preamble + b"".join([call.command for call in calls]), check_health=False)
        for _ in range(preamble_replies):
            await connection.read_response()
        unknown = []
        for call in calls:
            try:
                reply = await connection.read_response()
            except NoScriptError:
                unknown.append(call)
            except ReadOnlyError:
                raise  # we are talking to a replica: somebody else is the primary now
            except ResponseError as error:
                _fail_call(call, str(error))
            else:
                if not call.reply.done():
                    call.reply.set_result(reply)
        self.round_trips += 1
        return unknown

    def _expire(self, lane: _Lane, batch: list[_Call], passes: int) -> None:
        if lane.batch is not batch:
            return
        if passes:
            lane.timer = asyncio.get_running_loop().call_soon(self._expire, lane, batch, passes - 1)
        else:
            self._fail(TimeoutError("no answer in time"), hangs=True)

    def _fail(self, error: BaseException, *, hangs: bool) -> None:
        if self._lanes:
            self.drop(CacheUnavailable(reason=str(error)))
            self._lost(error, hangs)


async def _is_broken(connection: AbstractConnection) -> bool:
    """Nothing was asked, so the only thing to read can be the end of the stream."""
    try:
        return bool(await connection.can_read())
    except (RedisError, OSError):
        return True


def _fail_call(call: _Call, reason: str) -> None:
    log.error("cache refused a script", reason=reason)
    if not call.reply.done():
        call.reply.set_exception(CacheUnavailable(reason=reason))
