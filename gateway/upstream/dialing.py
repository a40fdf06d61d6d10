"""Opening one connection: the name is resolved each time, every address it has is tried.

Neither uvloop nor asyncio does what is needed alone: uvloop knows no Happy Eyeballs, so an address
that never answers would use up the whole time to connect, and the next one would not be tried. So
the addresses race here, each with a head start of `HEAD_START_S` before the next, or none if it
fails at once; the families take turns. Only TCP races; TLS is spoken by the winner.

Source: RFC 8305 sections 4 and 5.
"""

from __future__ import annotations

import asyncio
import socket
from itertools import chain, zip_longest
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

if TYPE_CHECKING:
    import ssl
    from collections.abc import Awaitable, Callable, Sequence

HEAD_START_S = 0.25
"""RFC 8305's recommended Connection Attempt Delay."""

Address: TypeAlias = tuple[socket.AddressFamily, tuple[Any, ...]]
"""A family and what `socket.connect` takes for it."""
Protocol = TypeVar("Protocol", bound=asyncio.BaseProtocol)


async def resolve(host: str, port: int) -> list[Address]:
    """All addresses of a name, in the system's order of preference.

    Raises:
        OSError: It has none, or nobody could be asked.
    """
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [(family, address) for family, _, _, _, address in found]


class Dialer:
    """The way to one server.

    Args:
        host: A name, or an IP address without brackets.
        port: TCP port.
        tls: How to speak TLS. None: plain.
        server_name: Name in SNI, and the one the certificate must have. None: `host`.
        resolve: Finds the addresses.
    """

    __slots__ = ("_host", "_port", "_resolve", "_server_name", "_tls")

    def __init__(
        self,
        host: str,
        port: int,
        *,
        tls: ssl.SSLContext | None = None,
        server_name: str | None = None,
        resolve: Callable[[str, int], Awaitable[list[Address]]] = resolve,
    ) -> None:
        self._host = host
        self._port = port
        self._tls = tls
        self._server_name = (server_name or host) if tls is not None else None
        self._resolve = resolve

    async def dial(self, factory: Callable[[], Protocol]) -> Protocol:
        """Open a connection and hand it to a protocol. Takes as long as it takes: bound it.

        Raises:
            OSError: Nobody answers there (an `ssl.SSLError` if TLS failed).
        """
        loop = asyncio.get_running_loop()
        addresses = await self._resolve(self._host, self._port)
        if len(addresses) == 1:
            ((_, (host, port, *_)),) = addresses
            _, protocol = await loop.create_connection(
                factory, host, port, ssl=self._tls, server_hostname=self._server_name
            )
            return protocol
        sock = await _race(_in_turns(addresses))
        # From here on the transport owns the socket, and closes it if TLS fails.
        _, protocol = await loop.create_connection(factory, sock=sock, ssl=self._tls, server_hostname=self._server_name)
        return protocol


def _in_turns(addresses: Sequence[Address]) -> list[Address]:
    """The first one's family and the others in turns, each in its own order."""
    if not addresses:
        raise OSError("the name has no address")
    first = [address for address in addresses if address[0] == addresses[0][0]]
    others = [address for address in addresses if address[0] != addresses[0][0]]
    return [address for address in chain.from_iterable(zip_longest(first, others)) if address is not None]


async def _race(addresses: list[Address]) -> socket.socket:
    """A connected socket to the first address that answers."""
    loop = asyncio.get_running_loop()
    running: set[asyncio.Task[socket.socket]] = set()
    failures: list[BaseException] = []
    try:
        while addresses or running:
            if addresses:
                running.add(loop.create_task(_connect(addresses.pop(0)), name="upstream address"))
            done, _ = await asyncio.wait(
                running, timeout=HEAD_START_S if addresses else None, return_when=asyncio.FIRST_COMPLETED
            )
            for task in done:
                failure = task.exception()
                if failure is None:
                    running.discard(task)
                    return task.result()
                running.discard(task)
                failures.append(failure)
        raise failures[0]
    finally:
        await _end(running)


async def _end(running: set[asyncio.Task[socket.socket]]) -> None:
    for task in running:
        task.cancel()
    for loser in await asyncio.gather(*running, return_exceptions=True):
        if isinstance(loser, socket.socket):
            loser.close()


async def _connect(address: Address) -> socket.socket:
    family, where = address
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.settimeout(0)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        await asyncio.get_running_loop().sock_connect(sock, where)
    except BaseException:
        sock.close()
        raise
    return sock
