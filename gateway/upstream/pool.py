"""A bounded set of connections to one upstream address.

An idle connection is handed out last in, first out, so that few stay warm and the rest expire.
When none is idle, one is opened while there is room; a request takes whichever comes first,
the new connection or one that another request returns. When there is no room it waits, in
order, for a bounded time.

Opening resolves the host's name each time, and `max_age_s` bounds how long a connection to what it
meant then is used. One timer looks at every connection a few times a
second: it expires idle ones and lets exchanges look at their deadlines, so a request costs no
timer of its own. It runs only while there are connections, and faster while an exchange has
deadlines that need it.
"""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass
from ssl import SSLError

from gateway.core.errors import UpstreamUnreachable
from gateway.upstream.connection import Connection, Owner
from gateway.upstream.dialing import Dialer
from gateway.upstream.errors import NotConnected

_CONNECT_ATTEMPTS = 2
_KEEP_ALIVE_MARGIN_S = 1.0
"""Closed this much before the upstream says it would close, so that no request crosses its close."""

Waiter = asyncio.Future[Connection]


@dataclass(slots=True, kw_only=True)
class PoolCounts:
    """What the pool has done since it was made."""

    opened: int = 0
    reused: int = 0
    failed: int = 0
    """Connects that did not succeed, retries counted one by one."""
    expired: int = 0
    waited: int = 0
    """Requests that found every connection busy."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolLimits:
    """Bounds of one pool."""

    max_connections: int
    connect_s: float
    wait_s: float
    """How long a request may wait for a connection when all are busy."""
    keepalive_s: float
    """How long an idle connection is kept. 0 keeps none."""
    tick_s: float
    """Seconds between looks at deadlines, unless an exchange needs more of them."""
    max_age_s: float | None = None
    """How old a connection may be when a request takes it. None: any age."""


class Pool:
    """Connections to one server. Lives on the event loop of its first use.

    Args:
        dialer: Opens them.
        limits: Bounds.
    """

    def __init__(self, dialer: Dialer, *, limits: PoolLimits) -> None:
        self._dialer = dialer
        self._limits = limits
        self._is_bounded_in_age = limits.max_age_s is not None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._connections: dict[Connection, float] = {}
        """With the loop time of each one's opening."""
        self._idle: list[Connection] = []
        self._waiters: deque[Waiter] = deque()
        self._dials: set[asyncio.Task[None]] = set()
        self._timer: asyncio.TimerHandle | None = None
        self.tick_s = limits.tick_s
        """Seconds between looks at deadlines, just now."""
        self._closed = False
        self._retired = False
        self._all_gone: asyncio.Event | None = None
        self.counts = PoolCounts()
        self.lingering: set[Owner] = set()
        """Exchanges that have returned their connection and still wait for a slow caller."""

    @property
    def open_connections(self) -> int:
        """Connections in use or idle."""
        return len(self._connections)

    @property
    def idle_connections(self) -> int:
        """Connections that wait for a request."""
        return len(self._idle)

    @property
    def load(self) -> int:
        """Requests that use a connection or wait for one."""
        while self._waiters and self._waiters[0].done():
            self._waiters.popleft()
        return len(self._connections) - len(self._idle) + len(self._waiters)

    @property
    def is_unused(self) -> bool:
        """No connection is open or being opened, and nobody waits."""
        return not (self._connections or self._dials or self.lingering or self.load)

    def take_idle(self) -> Connection | None:
        """An idle connection on which nothing has arrived, or None."""
        idle = self._idle
        while idle:
            connection = idle.pop()
            if self._is_bounded_in_age and self._is_too_old(connection):
                self.counts.expired += 1
            elif connection.is_quiet():
                self.counts.reused += 1
                return connection
            connection.abort()
        return None

    def request(self, *, new_only: bool = False, connect_s: float | None = None) -> tuple[Waiter, float]:
        """A future of a connection, for when none is idle, and how many seconds to wait for it.

        Args:
            new_only: Only a new connection will do, if there is room for one.
            connect_s: How long it may take to open. None: as the limits say.

        The future fails with UpstreamUnreachable. Whoever no longer wants it cancels it.
        """
        loop = self._loop
        if loop is None:
            loop = self._loop = asyncio.get_running_loop()
        waiter: Waiter = loop.create_future()
        limits = self._limits
        connect_s = limits.connect_s if connect_s is None else connect_s
        if self._closed:
            waiter.set_exception(UpstreamUnreachable("The gateway is shutting down."))
            return waiter, limits.wait_s
        has_room = len(self._connections) + len(self._dials) < limits.max_connections
        if has_room:
            self._dial(loop, waiter, connect_s)
        else:
            self.counts.waited += 1
        if not (new_only and has_room):
            self._waiters.append(waiter)
        return waiter, limits.wait_s + connect_s if has_room else limits.wait_s

    def give_back(self, connection: Connection) -> None:
        """Take a connection whose exchange has ended; keep it if it can be used again."""
        if not connection.finish():
            return
        if self._closed or self._loop is None:
            connection.abort()
            return
        if self._is_bounded_in_age and self._is_too_old(connection):
            self.counts.expired += 1
            connection.abort()
            return
        if self._waiters and self._hand_over(connection):
            self.counts.reused += 1
            return
        lasts_s = self._limits.keepalive_s
        if connection.keep_alive_s is not None:
            lasts_s = min(lasts_s, connection.keep_alive_s - _KEEP_ALIVE_MARGIN_S)
        self._keep(connection, lasts_s)

    def look_every(self, tick_s: float) -> None:
        """Look at deadlines so often, as long as an exchange is there that needs it."""
        if tick_s >= self.tick_s:
            return
        self.tick_s = tick_s
        if self._timer is not None and self._loop is not None:
            self._timer.cancel()
            self._timer = self._loop.call_later(tick_s, self._tick)

    def retire(self) -> None:
        """Keep no connection from now on. Exchanges in progress finish, and requests that still come are served."""
        self._retired = True
        while self._idle:
            self._idle.pop().abort()

    def gone(self, connection: Connection) -> None:
        """A connection has closed: forget it, and use its place for whoever waits."""
        self._connections.pop(connection, None)
        if connection in self._idle:
            self._idle.remove(connection)
        if self._all_gone is not None and not self._connections:
            self._all_gone.set()
        self._use_room()

    async def aclose(self) -> None:
        """Close every connection; exchanges in progress break off."""
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_exception(UpstreamUnreachable("The gateway is shutting down."))
        for dial in self._dials:
            dial.cancel()
        if self._dials:
            await asyncio.wait(self._dials)
        for connection in tuple(self._connections):
            connection.abort()
        if self._connections:
            self._all_gone = asyncio.Event()
            await self._all_gone.wait()

    def _use_room(self) -> None:
        while self._waiters and self._waiters[0].done():
            self._waiters.popleft()
        waiting = len(self._waiters) - len(self._dials)
        room = self._limits.max_connections - len(self._connections) - len(self._dials)
        if waiting > 0 and room > 0 and not self._closed and self._loop is not None:
            self._dial(self._loop, None, self._limits.connect_s)

    def _dial(self, loop: asyncio.AbstractEventLoop, waiter: Waiter | None, connect_s: float) -> None:
        dial = loop.create_task(self._open(loop, waiter, connect_s), name="upstream connect")
        self._dials.add(dial)
        dial.add_done_callback(self._dialled)

    def _dialled(self, dial: asyncio.Task[None]) -> None:
        self._dials.discard(dial)
        self._use_room()

    async def _open(self, loop: asyncio.AbstractEventLoop, waiter: Waiter | None, connect_s: float) -> None:
        """Open a connection for `waiter`, or for whoever waits first by then."""
        try:
            connection = await self._connect(connect_s)
        except UpstreamUnreachable as error:
            waiter = waiter if waiter is not None else self._next_waiter()
            if waiter is not None and not waiter.done():
                waiter.set_exception(error)
            return
        except asyncio.CancelledError:
            if waiter is not None and not waiter.done():
                waiter.set_exception(UpstreamUnreachable("The gateway is shutting down."))
            raise
        self.counts.opened += 1
        self._connections[connection] = loop.time()
        if self._timer is None:
            self._timer = loop.call_later(self.tick_s, self._tick)
        if waiter is not None and not waiter.done():
            waiter.set_result(connection)
        elif not self._hand_over(connection):
            self._keep(connection, self._limits.keepalive_s)

    async def _connect(self, connect_s: float) -> Connection:
        last: Exception | None = None
        try:
            async with asyncio.timeout(connect_s):
                for _ in range(_CONNECT_ATTEMPTS):
                    try:
                        return await self._dialer.dial(lambda: Connection(self))
                    except OSError as error:
                        self.counts.failed += 1
                        last = error
                        if isinstance(error, SSLError):
                            break  # the same certificate again
        except TimeoutError as error:
            self.counts.failed += 1
            last = error
        raise NotConnected("The upstream does not accept connections.") from last

    def _is_too_old(self, connection: Connection) -> bool:
        max_age_s = self._limits.max_age_s
        if max_age_s is None or self._loop is None:
            return False
        return self._loop.time() >= self._connections.get(connection, 0.0) + max_age_s

    def _keep(self, connection: Connection, lasts_s: float) -> None:
        """Let it wait for a request, unless it would not wait at all."""
        if lasts_s <= 0 or self._retired or self._loop is None:
            connection.abort()
            return
        connection.expires_at = self._loop.time() + lasts_s
        if self._limits.max_age_s is not None:
            connection.expires_at = min(connection.expires_at, self._connections[connection] + self._limits.max_age_s)
        self._idle.append(connection)

    def _next_waiter(self) -> Waiter | None:
        while self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.done():
                return waiter
        return None

    def _hand_over(self, connection: Connection) -> bool:
        waiter = self._next_waiter()
        if waiter is None:
            return False
        waiter.set_result(connection)
        return True

    def _tick(self) -> None:
        """Look at every connection's deadline."""
        self._timer = None
        self.tick_s = self._limits.tick_s
        if self._loop is None or not (self._connections or self.lingering):
            return
        now = self._loop.time()
        for exchange in tuple(self.lingering):
            self.tick_s = min(self.tick_s, exchange.tick_s)
            exchange.tick(now)
        for connection in tuple(self._connections):
            owner = connection.owner
            if owner is not None:
                self.tick_s = min(self.tick_s, owner.tick_s)
                owner.tick(now)
            elif connection.expires_at and now >= connection.expires_at and connection in self._idle:
                self._idle.remove(connection)
                self.counts.expired += 1
                connection.abort()
        self._timer = self._loop.call_later(self.tick_s, self._tick)
