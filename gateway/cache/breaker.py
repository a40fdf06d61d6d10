"""Keeps a dead cache from costing every request its deadline, and opens the way again safely.

    unknown --attempt ok--> connected --hook done--> ready
       ^                        |                      |
       |  connection broken     v                      |
       +---------------------- down <--server hangs----+
                     (tried again in the background, 50 ms to 1 s apart)

Charges pass in `ready` only: after any interruption, also the first connection, the hook is
awaited before. It publishes what the cache has missed, so that no charge is decided on an
account that the ledger has changed meanwhile. Everything else passes unless it is `down`.
"""

from __future__ import annotations

import asyncio
from enum import Enum, auto
from typing import TYPE_CHECKING

import structlog

from gateway.cache.errors import CacheUnavailable

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

_CONNECT_S = 2.0
"""An attempt to connect may take this long; requests wait for it no longer than their deadline."""
_FIRST_PAUSE_S = 0.05
_LONGEST_PAUSE_S = 1.0

log = structlog.get_logger(__name__)


class _State(Enum):
    UNKNOWN = auto()
    CONNECTED = auto()
    READY = auto()
    DOWN = auto()


class Breaker:
    """Whether the cache may be asked.

    Args:
        connect: One attempt to connect.
        on_connected: Awaited after each connection, before charges pass.
    """

    def __init__(
        self,
        connect: Callable[[], Awaitable[None]],
        on_connected: Callable[[], Awaitable[None]] | None,
    ) -> None:
        self._connect = connect
        self._on_connected = on_connected
        self._state = _State.UNKNOWN
        self._reason = "it has not been connected yet"
        self._patience_ends_at: float | None = None
        self._changed = asyncio.Event()
        self._recovery: asyncio.Task[None] | None = None
        self._is_closed = False
        self.is_ready = False
        """Whether charges pass. An attribute: every charge asks."""

    @property
    def is_down(self) -> bool:
        """Whether the cache is known not to answer."""
        return self._state is _State.DOWN

    async def wait_ready(self, due: float, patience_s: float) -> None:
        """Return once charges pass.

        Args:
            due: Loop time at which to give up.
            patience_s: Nobody waits when the interruption is older than this.

        Raises:
            CacheUnavailable: At once if the cache is known to be down.
        """
        loop = asyncio.get_running_loop()
        self.wake()
        if self._patience_ends_at is None:
            self._patience_ends_at = loop.time() + patience_s
        while not self.is_ready:
            left_s = min(due, self._patience_ends_at or due) - loop.time()
            if self._state is _State.DOWN or left_s <= 0:
                raise CacheUnavailable(reason=self._reason)
            self._changed.clear()
            try:
                async with asyncio.timeout(left_s):
                    await self._changed.wait()
            except TimeoutError:
                continue

    def check_reachable(self) -> None:
        """For operations that do not have to wait for the hook.

        Raises:
            CacheUnavailable: The cache is known to be down.
        """
        self.wake()
        if self._state is _State.DOWN:
            raise CacheUnavailable(reason=self._reason)

    def trip(self, error: BaseException, hangs: bool) -> None:  # noqa: FBT001 - the signature that the lane calls
        """The connection is lost. `hangs`: there is no use in waiting for a new one."""
        self._reason = str(error) or type(error).__name__
        self._patience_ends_at = None
        self._enter(_State.DOWN if hangs else _State.UNKNOWN)
        log.warning("cache lost", reason=self._reason)
        self.wake()

    def wake(self) -> None:
        """Begin to connect, unless that is done or under way."""
        if self._state is not _State.READY and self._recovery is None and not self._is_closed:
            self._recovery = asyncio.get_running_loop().create_task(self._recover())

    async def aclose(self) -> None:
        """Stop trying."""
        self._is_closed = True
        self._reason = "the gateway is shutting down"
        self._enter(_State.DOWN)
        if self._recovery is not None:
            self._recovery.cancel()
            await asyncio.gather(self._recovery, return_exceptions=True)

    async def _recover(self) -> None:
        pause_s = _FIRST_PAUSE_S
        try:
            while not await self._attempt():
                await asyncio.sleep(pause_s)
                pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)
        finally:
            self._recovery = None
        if not self.is_ready:
            self.wake()

    async def _attempt(self) -> bool:
        try:
            async with asyncio.timeout(_CONNECT_S):
                await self._connect()
            self._reason = "it was away, and what it has missed is being published"
            self._enter(_State.CONNECTED)
            if self._on_connected is not None:
                await self._on_connected()
        except Exception as error:  # noqa: BLE001 - whatever fails here, the answer is to try again
            self._reason = str(error) or type(error).__name__
            if self._state is not _State.DOWN:
                log.warning("cache unavailable", reason=self._reason, error=type(error).__name__)
            self._enter(_State.DOWN)
            return False
        if self._state is not _State.CONNECTED:  # lost again while the hook ran
            return False
        self._patience_ends_at = None
        self._enter(_State.READY)
        log.info("cache connected")
        return True

    def _enter(self, state: _State) -> None:
        self._state = state
        self.is_ready = state is _State.READY
        self._changed.set()
