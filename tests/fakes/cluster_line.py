"""The ways to all servers of a cluster, cut and slowed down together; whoever comes this way is sent no other.

A cluster tells its callers where its servers are. What it tells is changed on the way, so that it names these
lines: same length, other port. They may speak TLS, which the servers behind them do not.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from tests.fakes.line import Line

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Sequence
    from types import TracebackType
    from typing import Self


_TEXTS = (b"$", b"=", b"!")
_GROUPS = {b"*": 1, b"~": 1, b">": 1, b"%": 2}
"""Kinds of RESP2 and RESP3, and how many values each counted one has."""
_NAMES = (b"127.0.0.1", b"localhost", b"?", b"$-1", b" ")
"""What comes before the port where a server is told of, also one that does not know its own name."""


class Way(Line):
    """To one server.

    Args:
        port: Where it listens.
        change: What is done to what it says.
        tls: What is spoken with who comes this way, if not plain text.
    """

    def __init__(self, port: int, change: Callable[[bytes], bytes], tls: ssl.SSLContext | None = None) -> None:
        super().__init__("")
        self._target = port
        self._change = change
        self._options = {"ssl": tls} if tls else {}

    async def _dial(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection("127.0.0.1", self._target)

    def _hearing(self) -> Callable[[bytes], bytes]:
        return Whole(self._change).hear


class Whole:
    """Passes replies on when they are whole: a name that is cut in two would lead past the lines.

    Args:
        change: What is done to whole replies.
    """

    def __init__(self, change: Callable[[bytes], bytes]) -> None:
        self._change = change
        self._kept = b""

    def hear(self, data: bytes) -> bytes:
        """What can be passed on now."""
        self._kept += data
        end = 0
        while (next_end := _end_of_reply(self._kept, end)) is not None:
            end = next_end
        whole, self._kept = self._kept[:end], self._kept[end:]
        return self._change(whole)


def _end_of_reply(data: bytes, start: int) -> int | None:
    """Where the reply that begins there ends; None: that is not here yet."""
    line_end = data.find(b"\r\n", start)
    if line_end < 0:
        return None
    kind, said, end = data[start : start + 1], data[start + 1 : line_end], line_end + 2
    if kind in _TEXTS and int(said) >= 0:
        end += int(said) + 2
        return end if end <= len(data) else None
    if kind in _GROUPS:
        for _ in range(int(said) * _GROUPS[kind]):
            inner = _end_of_reply(data, end)
            if inner is None:
                return None
            end = inner
    return end


class ClusterLine:
    """As `Line`, and what is done to it is done to all.

    Args:
        ports: Where the servers listen.
        tls: As a `Way`'s.
        host: What `url` calls them.
    """

    def __init__(self, ports: Sequence[int], tls: ssl.SSLContext | None = None, host: str = "127.0.0.1") -> None:
        self._ways = {port: Way(port, self._change, tls) for port in ports}
        self._scheme = "rediss+cluster" if tls else "redis+cluster"
        self._host = host

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    @property
    def url(self) -> str:
        """How a client names it."""
        return f"{self._scheme}://" + ",".join(f"{self._host}:{way.port}" for way in self._ways.values())

    @property
    def is_open(self) -> bool:
        """Whether it can be dialled."""
        return all(way.is_open for way in self._ways.values())

    @property
    def accepted(self) -> int:
        """Connections so far."""
        return sum(way.accepted for way in self._ways.values())

    async def open(self) -> None:
        """Listen, always on the same ports."""
        for way in self._ways.values():
            await way.open()

    async def stop_listening(self) -> None:
        """Refuse new connections; open ones go on."""
        for way in self._ways.values():
            await way.stop_listening()

    async def close(self) -> None:
        """Refuse new connections, break the open ones, and wait until their handlers have ended."""
        for way in self._ways.values():
            await way.close()

    def cut(self) -> None:
        """Break the open connections."""
        for way in self._ways.values():
            way.cut()

    def hang(self) -> None:
        """Accept everything, pass nothing on."""
        for way in self._ways.values():
            way.hang()

    def heal(self) -> None:
        """Pass on what came meanwhile, and what comes."""
        for way in self._ways.values():
            way.heal()

    def deafen(self) -> None:
        """Pass on what is asked, and cut the connection instead of answering."""
        for way in self._ways.values():
            way.deafen()

    def swallow(self) -> None:
        """Pass on nothing of what is asked, and cut the connection."""
        for way in self._ways.values():
            way.swallow()

    def cut_answers_after(self, count: int) -> None:
        """Pass on what is asked, and cut the connection after so many bytes of each answer."""
        for way in self._ways.values():
            way.cut_answers_after(count)

    def hear(self) -> None:
        """Questions and answers arrive again."""
        for way in self._ways.values():
            way.hear()

    def slow_down(self, delay_s: float) -> None:
        """Pass on everything, so much later."""
        for way in self._ways.values():
            way.slow_down(delay_s)

    def _change(self, data: bytes) -> bytes:
        """Name these lines where the servers are named: in `CLUSTER SLOTS`, and in `MOVED` and `ASK`."""
        for name in _NAMES:
            if name in data:
                for port, way in self._ways.items():
                    data = data.replace(b"%b\r\n:%d\r\n" % (name, port), b"%b\r\n:%d\r\n" % (name, way.port))
                    data = data.replace(b"%b:%d\r\n" % (name, port), b"%b:%d\r\n" % (name, way.port))
        return data
