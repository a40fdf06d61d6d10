"""Connections without sockets: transports that keep what is written, and bring what the other end sends.

They keep the promises of asyncio's: nothing is delivered while reading is paused, nothing after
`close` or `abort`, `connection_lost` comes once and in a later turn, and writing after `write_eof`
is an error. Pieces arrive in turns of the real event loop, so no time passes.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any

_MOST_TURNS = 20_000
_HIGH_WATER = 2000
"""Bytes after which a slow reader stops taking what is written, until nothing else goes on."""
MOST_UNASKED = 1000
"""Bytes that may be written all the same: a refusal, the end of a body."""
RESET = ConnectionResetError("reset")


async def settle() -> None:
    """Let everything happen that can happen without time passing."""
    ready = asyncio.get_running_loop()._ready  # type: ignore[attr-defined]
    for _ in range(_MOST_TURNS):
        await asyncio.sleep(0)
        if not ready:
            return
    raise AssertionError("the event loop does not come to rest")


class FakeTransport(asyncio.Transport):
    """Our side's transport; the fuzzer is the other side."""

    def __init__(self, protocol: Any, *, on_write: Callable[[], None] | None = None, is_slow: bool = False) -> None:
        super().__init__()
        self._loop = asyncio.get_running_loop()
        self._protocol = protocol
        self._on_write = on_write
        self._is_slow = is_slow
        self._paused = False
        self._incoming: deque[bytes | Exception | None] = deque()
        self._delivering = False
        self._undrained = 0
        self._writing_paused = False
        self.written = bytearray()
        self.written_late = bytearray()
        """Written after the connection was closed."""
        self.written_unasked = 0
        """Bytes written while writing was paused."""
        self.sent_eof = False
        self.closing = False
        self.aborted = False
        self.lost = False

    # The other side.

    def bring(self, *pieces: bytes) -> None:
        """Bytes, each in a turn of its own."""
        self._incoming.extend(pieces)
        self._schedule()

    def bring_end(self, error: Exception | None = None) -> None:
        """A clean end, or a reset."""
        self._incoming.append(error)
        self._schedule()

    @property
    def undelivered(self) -> int:
        return len(self._incoming)

    @property
    def is_held_back(self) -> bool:
        return self._writing_paused and not self.lost

    def take(self) -> None:
        """A slow reader takes what was written."""
        self._undrained = 0
        if self._writing_paused and not self.lost:
            self._writing_paused = False
            self._protocol.resume_writing()

    def _schedule(self) -> None:
        if not self._delivering and self._incoming and not self._paused and not self.closing:
            self._delivering = True
            self._loop.call_soon(self._deliver)

    def _deliver(self) -> None:
        self._delivering = False
        if self.closing or self._paused or not self._incoming:
            return
        piece = self._incoming.popleft()
        if isinstance(piece, bytes):
            self._protocol.data_received(piece)
        elif piece is None:
            if not self._protocol.eof_received():
                self.close()
        else:
            self._lose(piece)
        self._schedule()

    # What the protocol calls.

    def write(self, data: Any) -> None:
        if self.sent_eof:
            raise RuntimeError("Cannot call write() after write_eof()")
        if self.closing:
            self.written_late += data
            return
        self.written += data
        self.written_unasked += len(data) * self._writing_paused
        self._undrained += len(data)
        if self._is_slow and self._undrained > _HIGH_WATER and not self._writing_paused:
            self._writing_paused = True
            self._protocol.pause_writing()
        if self._on_write is not None:
            self._on_write()

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        self.sent_eof = True

    def pause_reading(self) -> None:
        self._paused = True

    def resume_reading(self) -> None:
        self._paused = False
        self._schedule()

    def is_closing(self) -> bool:
        return self.closing

    def close(self) -> None:
        if not self.closing:
            self._lose(None)

    def abort(self) -> None:
        self.aborted = True
        if not self.closing:
            self._lose(None)

    def _lose(self, error: Exception | None) -> None:
        self.closing = True
        self._loop.call_soon(self._lost, error)

    def _lost(self, error: Exception | None) -> None:
        if not self.lost:
            self.lost = True
            self._protocol.connection_lost(error)

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return {"peername": ("127.0.0.1", 50_000)}.get(name, default)

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self._protocol = protocol

    def get_protocol(self) -> asyncio.BaseProtocol:
        protocol: asyncio.BaseProtocol = self._protocol
        return protocol
