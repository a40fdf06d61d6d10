"""The upstream of the suite: answers as the case says, and keeps everything it was sent."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from tests.conformance.case import Upstream
from tests.fakes.raw_upstream import Peer, RawRequest, RawUpstream

SENTINEL = b"/sentinel"
"""Asked after a case, to see whether the connection takes another request. Always answered well."""


@dataclass(slots=True)
class Record:
    """One request."""

    head: RawRequest
    body: bytes = b""
    state: str = "reading"
    """`reading`, `whole` or `cut`."""

    @property
    def fields(self) -> list[tuple[bytes, bytes]]:
        """Names in lower case, values without the white space around them."""
        split = (line.partition(b":") for line in self.head.head.split(b"\r\n")[1:] if line)
        return [(name.lower(), value.strip(b" \t")) for name, _, value in split]

    @property
    def target(self) -> bytes:
        return self.head.line.split(b" ")[1]

    @property
    def method(self) -> bytes:
        return self.head.line.split(b" ")[0]


class Recorder:
    """Use `server` as an async context manager."""

    def __init__(self) -> None:
        self.server = RawUpstream(self._serve)
        self.records: list[Record] = []
        self.behaviour = Upstream()

    async def until(self, holds: Callable[[], bool], patience_s: float = 5.0) -> bool:
        """Wait for something that this server brings about."""
        try:
            async with asyncio.timeout(patience_s):
                while not holds():  # noqa: ASYNC110 - the list of records signals nothing
                    await asyncio.sleep(0.002)
        except TimeoutError:
            return False
        return True

    async def settled(self) -> bool:
        """Whether no request is half read, or soon is not."""
        return await self.until(lambda: all(record.state != "reading" for record in self.records), 2.0)

    async def _serve(self, peer: Peer) -> None:
        try:
            while True:
                record = Record(await peer.head())
                self.records.append(record)
                asked = Upstream() if record.target == SENTINEL else self.behaviour
                if not await self._answer(peer, record, asked):
                    return
        except (asyncio.IncompleteReadError, ConnectionError):
            pass

    async def _answer(self, peer: Peer, record: Record, asked: Upstream) -> bool:
        """Whether the connection takes another request."""
        if asked.early:
            await peer.send(_bytes(record, asked))
        try:
            await _read_body(peer, record)
        except (asyncio.IncompleteReadError, ConnectionError, ValueError):
            record.state = "cut"
            return False
        record.state = "whole"
        if not asked.early:
            await peer.send(_bytes(record, asked))
        return await _end(peer, asked)


async def _end(peer: Peer, asked: Upstream) -> bool:
    if asked.then == "close":
        await peer.close()
    elif asked.then == "reset":
        await asyncio.sleep(0.02)  # what was sent goes first
        peer.reset()
    elif asked.then == "hang":
        await peer.until_closed()
    return asked.then == "keep"


def _bytes(record: Record, asked: Upstream) -> bytes:
    if asked.sends is not None:
        return asked.sends + b"x" * asked.pads_to
    body = b"" if record.method == b"HEAD" else record.target
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(record.target), body)


async def _read_body(peer: Peer, record: Record) -> None:
    """Into the record, as far as it comes."""
    reader = peer.reader
    framing = [field for field in record.fields if field[0] in (b"content-length", b"transfer-encoding")]
    assert len(framing) < 2, record.head
    name, value = framing[0] if framing else (b"", b"")
    if name == b"content-length":
        length = value
        record.body = b""
        while len(record.body) < int(length):
            part = await reader.read(int(length) - len(record.body))
            if not part:
                raise asyncio.IncompleteReadError(record.body, int(length))
            record.body += part
    elif name:
        assert value == b"chunked", record.head
        while size := int(await reader.readuntil(b"\r\n"), 16):
            record.body += await reader.readexactly(size)
            assert await reader.readexactly(2) == b"\r\n"
        assert await reader.readexactly(2) == b"\r\n"
