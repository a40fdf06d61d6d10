"""The caller's side of an exchange: its body, and whether it is still there.

ASGI tells that a caller has left only to who calls `receive`. An upload calls it anyway and
goes on calling it after the body's end; an exchange without a body starts a `watch` only when
its response takes a while, so that quick requests need no second task.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Protocol

from gateway.core.errors import BodyTooLarge
from gateway.core.request_gate import CHUNKED
from gateway.upstream.errors import ClientFaulty, ClientLeft

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from gateway.upstream.connection import Connection

    Receive = Callable[[], Awaitable[Any]]


class Progress(Protocol):
    """The exchange, as an upload sees it."""

    def waits_for_caller(self) -> None:
        """The next part of the body is being waited for."""
        ...

    def waits_for_upstream(self) -> None:
        """The upstream is being waited for: to take more, or to answer."""
        ...


class RequestBody:
    """The caller's body, counted and capped, part by part.

    Args:
        receive: ASGI `receive`.
        framing: The announced length, or `CHUNKED`.
        max_bytes: Cap.

    Raises:
        BodyTooLarge: The announced length exceeds the cap.
    """

    __slots__ = ("_first", "_framing", "_max_bytes", "_receive", "complete", "read_bytes")

    def __init__(self, receive: Receive, framing: int, max_bytes: int) -> None:
        if framing > max_bytes:
            raise _too_large()
        self._receive = receive
        self._framing = framing
        self._max_bytes = max_bytes
        self._first: bytes | None = None
        self.read_bytes = 0
        self.complete = False

    async def begin(self, within_s: float) -> bytes:
        """The first part that is not empty, or b"" if the body is.

        It is read once: an upstream that could not be reached has not taken it, so the next one gets it.

        Raises:
            ClientLeft, ClientFaulty, BodyTooLarge: As `read`, or nothing came within `within_s`.
        """
        if self._first is None:
            part = b""
            try:
                async with asyncio.timeout(within_s):
                    while not part and not self.complete:
                        part = await self.read()
            except TimeoutError:
                raise ClientFaulty("The caller sent none of its body.") from None
            self._first = part
        return self._first

    async def read(self) -> bytes:
        """The next part; may be empty.

        Raises:
            ClientLeft: The caller has gone.
            ClientFaulty: The body is not as long as announced.
            BodyTooLarge: It exceeds the cap.
        """
        message = await self._receive()
        if message["type"] != "http.request":
            raise ClientLeft("The caller left while sending its body.")
        part: bytes = message.get("body", b"")
        self.read_bytes += len(part)
        if self.read_bytes > self._max_bytes:
            raise _too_large()
        self.complete = not message.get("more_body", False)
        if self._framing != CHUNKED and (
            self.read_bytes > self._framing or (self.complete and self.read_bytes < self._framing)
        ):
            raise ClientFaulty("The caller's body is not as long as it announced.")
        return part


class Upload:
    """Sends the rest of a body while the response is awaited or already relayed.

    Run `run` as a task. It never raises: what goes wrong ends the connection's exchange.
    """

    __slots__ = ("_body", "_chunked", "_connection", "_progress", "_receive", "stopped")

    def __init__(
        self, body: RequestBody, connection: Connection, progress: Progress, receive: Receive, *, chunked: bool
    ) -> None:
        self._body = body
        self._connection = connection
        self._progress = progress
        self._receive = receive
        self._chunked = chunked
        self.stopped = False
        """The upstream has answered and wants no more: the rest is read and dropped."""

    def stop(self) -> None:
        """Write no more of the body."""
        self.stopped = True
        self._connection.release_writer()

    async def run(self) -> None:
        """Send until the body's end, then wait for the caller to leave."""
        try:
            await self._send_rest()
            await wait_until_left(self._receive)
        except BodyTooLarge as error:
            told = f"{error} A part had been passed on before that showed, so the call stays charged."
            self._connection.fail(ClientFaulty(told, BodyTooLarge))
        except Exception as error:  # noqa: BLE001 - the exchange that waits on the connection raises it
            self._connection.fail(error)

    async def _send_rest(self) -> None:
        connection, progress = self._connection, self._progress
        while not self._body.complete:
            progress.waits_for_caller()
            part = await self._body.read()
            progress.waits_for_upstream()
            if part and not self.stopped:
                connection.write(chunk(part) if self._chunked else part)
                await connection.drained()
        if not self.stopped:
            if self._chunked:
                connection.write(LAST_CHUNK)
            connection.request_sent = True
        progress.waits_for_upstream()


def _too_large() -> BodyTooLarge:
    return BodyTooLarge("The request body is larger than this gateway accepts.")


LAST_CHUNK = b"0\r\n\r\n"


def chunk(part: bytes) -> bytes:
    """A non-empty part in the chunked coding."""
    return b"%x\r\n%b\r\n" % (len(part), part)


async def wait_until_left(receive: Receive) -> None:
    """Return never, unless the caller leaves.

    Raises:
        ClientLeft: It did.
    """
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientLeft("The caller left before the response was complete.")


async def watch(receive: Receive, connection: Connection) -> None:
    """End the connection's exchange when the caller leaves. Run as a task."""
    try:
        await wait_until_left(receive)
    except Exception as error:  # noqa: BLE001 - the exchange that waits on the connection raises it
        connection.fail(error)
