"""The ways to sentinels and to the servers they name, over TLS; whoever comes this way is sent no other."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from tests.fakes.cluster_line import Way
from tests.fakes.sentinels import NAME

if TYPE_CHECKING:
    import ssl
    from types import TracebackType
    from typing import Self

    from tests.fakes.sentinels import Sentinels


class SentinelLine:
    """What sentinels tell of masters names these lines.

    Args:
        sentinels: Who are behind it.
        tls: What is spoken with who comes this way.
    """

    def __init__(self, sentinels: Sentinels, tls: ssl.SSLContext) -> None:
        self.servers = {
            server.port: Way(server.port, _as_it_is, tls) for server in (sentinels.master, sentinels.replica)
        }
        self.sentinels = [Way(sentinel.port, self._change, tls) for sentinel in sentinels.sentinels]

    async def __aenter__(self) -> Self:
        await asyncio.gather(*(way.open() for way in self._ways))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await asyncio.gather(*(way.close() for way in self._ways))

    def url(self, user: str, host: str, options: str) -> str:
        """How a client names it.

        Args:
            user: Of the servers, with the `@`.
            host: What the sentinels are called.
            options: What follows the `?`.
        """
        hosts = ",".join(f"{host}:{way.port}" for way in self.sentinels)
        return f"rediss+sentinel://{user}{hosts}/{NAME}?{options}"

    @property
    def accepted(self) -> int:
        """Connections with which a handshake was ended."""
        return sum(way.accepted for way in self._ways)

    @property
    def _ways(self) -> list[Way]:
        return [*self.servers.values(), *self.sentinels]

    def _change(self, data: bytes) -> bytes:
        for port, way in self.servers.items():
            told, line = str(port).encode(), str(way.port).encode()
            data = data.replace(_bulk(told), _bulk(line))
        return data


def _bulk(text: bytes) -> bytes:
    return b"$%d\r\n%b\r\n" % (len(text), text)


def _as_it_is(data: bytes) -> bytes:
    return data
