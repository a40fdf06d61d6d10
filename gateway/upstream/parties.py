"""Who takes part in an exchange: a caller on one side, servers on the other, and the exchange as the caller sees it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Sequence

    from gateway.upstream.errors import ClientFaulty
    from gateway.upstream.response_head import ResponseHead
    from gateway.upstream.upstream import Upstream


class Listener(Protocol):
    """Whom a caller tells what it does: an exchange."""

    def body(self, data: bytes, *, ended: bool) -> None:
        """A part of the request's body has come."""
        ...

    def left(self) -> None:
        """The caller has gone."""
        ...

    def fault(self, error: ClientFaulty) -> None:
        """The caller sent what no caller may send."""
        ...

    def blocked(self) -> None:
        """The caller does not take what was sent."""
        ...

    def unblocked(self) -> None:
        """It does again."""
        ...

    def touch(self) -> None:
        """Something goes on: idleness begins anew."""
        ...


class Caller(Protocol):
    """The caller's side of an exchange."""

    loop: asyncio.AbstractEventLoop
    """Where it lives. Asking asyncio for the running loop is a system call, before Python 3.12."""
    waits: bool
    """Whether `until` has to be used to wait for the end, because writing to this caller means waiting."""

    def attach(self, listener: Listener) -> None:
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
