"""Who takes part in an exchange, as the exchange sees them: a caller on one side, servers on the other."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Sequence

    from gateway.upstream.exchange import Exchange
    from gateway.upstream.response_head import ResponseHead
    from gateway.upstream.upstream import Upstream


class Caller(Protocol):
    """The caller's side of an exchange. It calls `body`, `left`, `blocked` and `unblocked` here."""

    loop: asyncio.AbstractEventLoop
    """Where it lives. Asking asyncio for the running loop is a system call, before Python 3.12."""
    waits: bool
    """Whether `until` has to be used to wait for the end, because writing to this caller means waiting."""

    def attach(self, exchange: Exchange) -> None:
        """Where to tell what the caller does."""
        ...

    def detach(self) -> None:
        """Tell no more."""
        ...

    def start_body(self) -> None:
        """The body is wanted: read it, and ask for it if the caller waits to be asked."""
        ...

    def hold(self) -> None:
        """Read no more of it for now."""
        ...

    def release(self) -> None:
        """Read on."""
        ...

    def watch(self) -> None:
        """The exchange takes a while: notice if the caller leaves."""
        ...

    def respond(self, head: ResponseHead, lines: list[bytes], data: bytes, *, ended: bool) -> None:
        """Begin the response."""
        ...

    def send_part(self, data: bytes, *, ended: bool) -> None:
        """Go on with it."""
        ...

    @property
    def is_stuck(self) -> bool:
        """Whether the caller does not take what was sent."""
        ...

    def cut(self, error: Exception) -> None:
        """Wait for a stuck caller no longer: what waits for it gets `error`."""
        ...

    async def until(self, done: asyncio.Future[None]) -> None:
        """Send until the exchange ends."""
        ...


class Servers(Protocol):
    """Where requests go: the servers of a group."""

    def candidates(self, now: float) -> Sequence[Upstream]:
        """At least one, in the order in which they are tried: the next only while nothing was sent to anybody."""
        ...

    def report(self, upstream: Upstream, error: BaseException | None, *, began_at: float, now: float) -> None:
        """How one of them did: what ended the exchange, or None if it answered."""
        ...
