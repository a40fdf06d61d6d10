"""The connection of a caller, as the request that is answered on it sees it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import asyncio

    from gateway.core.errors import TiergateError


class Line(Protocol):
    """What a request asks of its connection, and tells it."""

    loop: asyncio.AbstractEventLoop
    is_writing_paused: bool
    """The caller does not take what was written."""

    def write(self, data: bytes) -> None:
        """To the caller."""
        ...

    async def drained(self) -> None:
        """Wait until the caller keeps up, or has gone."""
        ...

    def hold(self) -> None:
        """Read no more for now."""
        ...

    def release(self) -> None:
        """Read on."""
        ...

    def notice_leaving(self) -> None:
        """Find out whether the caller has gone, while nothing is read that would tell."""
        ...

    def cut(self, *, reset: bool = False) -> None:
        """End the connection in the middle of a response.

        Args:
            reset: By a reset, for a response whose end would be the connection's.
        """
        ...

    def refuse(self, error: TiergateError, *, to_head: bool = False) -> None:
        """Answer with a refusal, and close.

        Args:
            to_head: It is a HEAD request, so its answer has no body.
        """
        ...

    def forget_task(self, task: asyncio.Task[None] | None) -> None:
        """The request's task ends."""
        ...

    def done(self, served: object, *, keep_alive: bool, body_ended: bool) -> None:
        """The response of `served` is complete.

        Args:
            keep_alive: Another request may follow.
            body_ended: All of the request's body has come.
        """
        ...
