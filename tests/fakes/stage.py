"""Upstream servers that do what a path says, in a thread of their own.

So a gateway that serves many tests has servers that outlive each of them, and tests can call it
without an event loop.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import threading
import time
from collections.abc import Callable, Coroutine
from types import TracebackType
from typing import Any, Self, TypeVar

from tests.fakes.raw_upstream import Peer, RawRequest, RawUpstream

T = TypeVar("T")
CHUNKED = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
EVENT = b'd\r\ndata: {"n":1}\r\n'
BEAT_S = 0.05


class Player(RawUpstream):
    """One server. The last segment of a path says what it does; of any other it tells what it was asked."""

    def __init__(self, name: str) -> None:
        super().__init__(self._play)
        self.name = name
        self.is_well = True
        """What `healthz` says."""
        self.ends = asyncio.Event()
        """Streams come to their end."""
        self.busy: list[str] = []
        """Paths of requests that are being worked on."""
        self.left: dict[str, float] = {}
        """By path: when the gateway hung up on it, as `time.monotonic`."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def paths(self) -> list[str]:
        """Of every request but checks, in order."""
        lines = [request.line.split(b" ")[1].decode() for request in self.requests]
        return [line for line in lines if not line.endswith("healthz")]

    async def _play(self, peer: Peer) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = await peer.head()
                path = head.line.split(b" ")[1].decode().partition("?")[0]
                self.busy.append(path)
                try:
                    act = getattr(self, f"_{path.rpartition('/')[2].replace('-', '_')}", self._tell)
                    await act(peer, head, path)
                finally:
                    self.busy.remove(path)

    async def _tell(self, peer: Peer, head: RawRequest, _path: str) -> None:
        body = await self._take_body(peer, head)
        told = {
            "server": self.name,
            "line": head.line.decode(),
            "fields": [[name.decode(), value.decode("latin-1")] for name, value in head.fields],
            "body": body.decode("latin-1"),
        }
        await self.answer(peer, json.dumps(told).encode())

    async def answer(self, peer: Peer, body: bytes, status: str = "200 OK", *lines: str) -> None:
        fields = "".join(f"{line}\r\n" for line in (*lines, f"Content-Length: {len(body)}"))
        await peer.send(f"HTTP/1.1 {status}\r\n{fields}\r\n".encode() + body)

    async def _healthz(self, peer: Peer, _head: RawRequest, _path: str) -> None:
        await self.answer(peer, b"", "200 OK" if self.is_well else "503 No")

    async def _fields(self, peer: Peer, _head: RawRequest, _path: str) -> None:
        said = ("Server: secretive", "Set-Cookie: a=1", "Set-Cookie: b=2", "Cache-Control: public", "X-Powered-By: 1")
        await self.answer(peer, b"{}", "200 OK", *said, "Access-Control-Allow-Origin: *", "Vary: Accept")

    async def _hundred_kb(self, peer: Peer, _head: RawRequest, _path: str) -> None:
        await self.answer(peer, b"x" * 100_000)

    async def _failure(self, peer: Peer, _head: RawRequest, _path: str) -> None:
        await self.answer(peer, b"sorry", "500 No")

    async def _says(self, peer: Peer, head: RawRequest, path: str) -> None:
        """What the caller asks for: `x-status`, lines in `x-say`, bytes in `x-size`.

        Then `x-late`, a trailer field, or `x-end`, a cut or silence.
        """
        lines = [value.decode() for name, value in head.fields if name == b"x-say"]
        body = b"x" * int(head.field(b"x-size") or 0)
        await self._take_body(peer, head)
        end, late = head.field(b"x-end"), head.field(b"x-late")
        if late is not None:
            chunk = b"%x\r\n%b\r\n" % (len(body), body) if body else b""
            await peer.send(CHUNKED + chunk + b"0\r\n" + late + b"\r\n\r\n")
            return
        if end is None:
            await self.answer(peer, body, (head.field(b"x-status") or b"200 OK").decode(), *lines)
            return
        fields = "".join(f"{line}\r\n" for line in (*lines, "Content-Length: 100000"))
        await peer.send(f"HTTP/1.1 200 OK\r\n{fields}\r\n".encode() + body)
        if end == b"silence":
            await self._wait_for_end(peer, path)
        await asyncio.sleep(BEAT_S)
        await peer.close()
        raise ConnectionError

    async def _take_body(self, peer: Peer, head: RawRequest) -> bytes:
        if head.field(b"transfer-encoding") is not None:
            return await peer._chunks()
        return await peer.reader.readexactly(int(head.field(b"content-length") or 0))

    async def _missing(self, peer: Peer, _head: RawRequest, _path: str) -> None:
        await self.answer(peer, b"no", "404 No")

    async def _silence(self, peer: Peer, _head: RawRequest, path: str) -> None:
        await self._wait_for_end(peer, path)

    async def _part(self, peer: Peer, _head: RawRequest, path: str) -> None:
        """A response that goes silent after its first part."""
        await peer.send(CHUNKED + EVENT)
        await self._wait_for_end(peer, path)

    async def _cut(self, peer: Peer, _head: RawRequest, _path: str) -> None:
        await peer.send(CHUNKED + EVENT)
        await asyncio.sleep(BEAT_S)
        await peer.close()
        raise ConnectionError

    async def _stubborn(self, peer: Peer, _head: RawRequest, _path: str) -> None:
        """Reads no body and says nothing, until `ends` is set."""
        peer.writer.transport.pause_reading()
        await self.ends.wait()
        raise ConnectionError

    async def _stream(self, peer: Peer, _head: RawRequest, path: str) -> None:
        """Events, until the gateway hangs up or `ends` is set."""
        await peer.send(CHUNKED)
        watching = asyncio.ensure_future(self._wait_for_end(peer, path))
        while not watching.done() and not self.ends.is_set():
            await peer.send(EVENT)
            await asyncio.wait({watching}, timeout=BEAT_S)
        watching.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await watching
        await peer.send(b"0\r\n\r\n")

    async def _goes_on(self, peer: Peer, head: RawRequest, _path: str) -> None:
        """An event, `x-parts` times; then `x-late`, a trailer field, that `x-promise` announces; or `x-end`, a cut."""
        promise, late = head.field(b"x-promise"), head.field(b"x-late")
        line = b"" if promise is None else b"Trailer: %b\r\n" % promise
        await peer.send(CHUNKED.replace(b"\r\n\r\n", b"\r\n" + line + b"\r\n"))
        for _ in range(int(head.field(b"x-parts") or 1)):
            if self.ends.is_set():
                break
            await peer.send(EVENT)
            await asyncio.sleep(BEAT_S)
        if head.field(b"x-end") is not None:
            await peer.close()
            raise ConnectionError
        await peer.send(b"0\r\n" + (b"" if late is None else late + b"\r\n") + b"\r\n")

    async def _large(self, peer: Peer, _head: RawRequest, path: str) -> None:
        """A hundred megabytes, as fast as they are taken: more than the system buffers."""
        await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n")
        try:
            for _ in range(1000):
                await peer.send(b"x" * 100_000)
        except ConnectionError:
            self.left[path] = time.monotonic()
            raise

    async def _wait_for_end(self, peer: Peer, path: str) -> None:
        await peer.until_closed()
        self.left[path] = time.monotonic()
        raise ConnectionError


class Stage:
    """The thread, and every server in it."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._players: list[Player] = []

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for player in self._players:
            self.do(player.close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
        if error is None:
            for player in self._players:
                for failure in player.failures:
                    raise failure

    def do(self, work: Coroutine[Any, Any, T]) -> T:
        """Run something among the servers, and wait for it."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(20)

    def call(self, function: Callable[[], object]) -> None:
        """The same, of a function."""

        async def work() -> None:
            function()

        self.do(work())

    def add(self, name: str) -> Player:
        """A new server that listens."""

        async def enter() -> Player:
            player = Player(name)
            await player.open()
            return player

        player = self.do(enter())
        self._players.append(player)
        return player
