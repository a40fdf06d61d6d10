"""The rest of a response whose caller has left: read for what is told behind it, and thrown away.

Laws:

- nothing is kept but trailer fields, so it costs no memory, whatever comes;
- it ends by a time and a size of its own, and no later than the exchange would have ended with its caller;
- the connection stays with the exchange, and is used again if the response came to its end.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.core.errors import UpstreamTimeout
from gateway.upstream.values import tick_for

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Sequence

    from gateway.upstream.connection import Connection, Failure
    from gateway.upstream.response_head import ResponseHead
    from gateway.upstream.values import UpstreamTimeouts

READ_ON_BYTES = 16 * 1024 * 1024
"""Of a response whose caller has left, no more payload is read than this."""


class ReadingOn:
    """One response, from its caller's leaving. A connection's owner.

    Args:
        loop: Where it lives.
        connection: Its response has begun, and its request was sent.
        timeouts: Of the exchange.
        ends_at: Loop time at which the whole exchange is over. None: streams may last.
    """

    __slots__ = (
        "_deadline",
        "_ends_at",
        "_gives_up_at",
        "_idle_s",
        "_loop",
        "_size",
        "done",
        "failure",
        "tick_s",
        "trailers",
    )

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        connection: Connection,
        timeouts: UpstreamTimeouts,
        ends_at: float | None,
    ) -> None:
        self._loop = loop
        self._idle_s = timeouts.idle_s
        self._ends_at = ends_at
        now = loop.time()
        self._deadline = now + timeouts.idle_s
        self._gives_up_at = now + timeouts.read_on_s
        self._size = 0
        self.tick_s = min(timeouts.tick_s, tick_for(timeouts.read_on_s))
        """How often its deadlines have to be looked at."""
        self.trailers: Sequence[bytes] | None = None
        """What came behind the body. None: the response's end was not seen."""
        self.failure: Failure | UpstreamTimeout | None = None
        """How the upstream failed meanwhile."""
        self.done: asyncio.Future[None] = loop.create_future()
        connection.owner = self
        connection.resume()

    def received(self, head: ResponseHead | None, data: bytes, *, ended: bool) -> None:  # noqa: ARG002 - it is known
        """A part of the response has come."""
        self._size += len(data)
        self._deadline = self._loop.time() + self._idle_s
        if ended:
            self.trailers = self.trailers or ()
        if ended or self._size > READ_ON_BYTES:
            self._end()

    def trailed(self, lines: list[bytes]) -> None:
        """Trailer fields have come, with the end of the response."""
        self.trailers = lines

    def failed(self, error: Failure) -> None:
        """The connection broke."""
        self.failure = error
        self._end()

    def writable(self) -> None:
        """Nothing is left to send."""

    def tick(self, now: float) -> None:
        """Look at the deadlines."""
        if now >= self._deadline or (self._ends_at is not None and now >= self._ends_at):
            self.failed(UpstreamTimeout("The upstream did not go on in time."))
        elif now >= self._gives_up_at:
            self._end()

    def _end(self) -> None:
        if not self.done.done():
            self.done.set_result(None)
