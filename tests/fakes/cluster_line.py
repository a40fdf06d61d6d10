"""The ways to all servers of a cluster, cut and slowed down together; whoever comes this way is sent no other.

A cluster tells its callers where its servers are. What it tells is changed on the way, so that it names these
lines: same length, other port.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from tests.fakes.line import Line

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import TracebackType
    from typing import Self


class _Way(Line):
    """To one server."""

    def __init__(self, port: int, change: Callable[[bytes], bytes]) -> None:
        super().__init__("")
        self._target = port
        self._change = change

    async def _dial(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection("127.0.0.1", self._target)

    def _heard(self, data: bytes) -> bytes:
        return self._change(data)


class ClusterLine:
    """As `Line`, and what is done to it is done to all.

    Args:
        ports: Where the servers listen.
    """

    def __init__(self, ports: Sequence[int]) -> None:
        self._ways = {port: _Way(port, self._change) for port in ports}

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
        return "redis+cluster://" + ",".join(f"127.0.0.1:{way.port}" for way in self._ways.values())

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

    def cut_answers_after(self, count: int) -> None:
        """Pass on what is asked, and cut the connection after so many bytes of each answer."""
        for way in self._ways.values():
            way.cut_answers_after(count)

    def hear(self) -> None:
        """Answers arrive again."""
        for way in self._ways.values():
            way.hear()

    def slow_down(self, delay_s: float) -> None:
        """Pass on everything, so much later."""
        for way in self._ways.values():
            way.slow_down(delay_s)

    def _change(self, data: bytes) -> bytes:
        """Name these lines where the servers are named: in `CLUSTER SLOTS`, and in `MOVED` and `ASK`."""
        if b"127.0.0.1" not in data:
            return data
        for port, way in self._ways.items():
            data = data.replace(b"127.0.0.1\r\n:%d\r\n" % port, b"127.0.0.1\r\n:%d\r\n" % way.port)
            data = data.replace(b"127.0.0.1:%d\r\n" % port, b"127.0.0.1:%d\r\n" % way.port)
        return data
