"""Where the cache server is, and how a connection of our own to it is opened.

redis-py reads the URL, so that it means here what it means to the pool beside us: its connection
object is asked for what it holds, and never connected.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from typing import TYPE_CHECKING, Any, TypeVar

import hiredis
from redis.asyncio import ConnectionPool, SSLConnection, UnixDomainSocketConnection
from redis.credentials import UsernamePasswordCredentialProvider
from redis.exceptions import RedisError

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable

    from gateway.core.cache_url import Host

P = TypeVar("P", bound=asyncio.Protocol)

_HANDSHAKE_S = 1.5
"""Less than an attempt to connect may take: so a server that knows no TLS, and waits for more, is told from others."""


class Endpoint:
    """One server, and who we are to it.

    Args:
        url: As `Cache.connect`.
        options: Of redis-py's connections, where the URL does not say otherwise.

    Raises:
        ValueError: Not a URL of a cache, or one with options that mean nothing.
    """

    def __init__(self, url: str, options: dict[str, Any]) -> None:
        source = ConnectionPool.from_url(url, **options)
        try:
            self._facts: Any = source.make_connection()  # type: ignore[no-untyped-call]  # redis-py leaves it out
        except (TypeError, RedisError) as error:
            raise ValueError(f"The cache's URL has an option that cannot be used: {error}") from None

    async def connect(self, make: Callable[[], P]) -> P:
        """Open a connection. Nothing has been said on it yet.

        Raises:
            OSError: It cannot be reached, or is not who it should be.
        """
        loop, facts = asyncio.get_running_loop(), self._facts
        if isinstance(facts, UnixDomainSocketConnection):
            return (await loop.create_unix_connection(make, facts.path))[1]
        host, port = await self.find()
        tls = self.load_tls()
        limit_s = _HANDSHAKE_S if tls else None
        transport, protocol = await loop.create_connection(make, host, port, ssl=tls, ssl_handshake_timeout=limit_s)
        if facts.socket_keepalive:
            _keep_alive(transport.get_extra_info("socket"), facts.socket_keepalive_options)
        return protocol

    async def find(self) -> Host:
        """Where it is now, if it is not a socket's path.

        Raises:
            OSError: Nobody knows.
        """
        return self._facts.host, self._facts.port

    def greeting(self) -> list[bytes]:
        """Packed commands that come first on a connection."""
        facts, commands = self._facts, []
        if facts.username or facts.password:
            credentials = UsernamePasswordCredentialProvider(facts.username, facts.password).get_credentials()  # type: ignore[no-untyped-call]
            commands.append(("AUTH", *credentials))
        if facts.client_name:
            commands.append(("CLIENT", "SETNAME", facts.client_name))
        if facts.db:
            commands.append(("SELECT", facts.db))
        return [hiredis.pack_command(command) for command in commands]

    def check(self, replies: list[Any]) -> None:
        """Judge what was answered to the greeting.

        Raises:
            OSError: It is not the server that was meant.
        """

    async def aclose(self) -> None:
        """Close what was needed to find it."""

    def load_tls(self) -> ssl.SSLContext | None:
        """What TLS is spoken with, if it is: the files that the URL names are read by the first call.

        Raises:
            OSError: They cannot be used.
        """
        if not isinstance(self._facts, SSLConnection):
            return None
        try:
            context: ssl.SSLContext = self._facts.ssl_context.get()
        except (OSError, ValueError) as error:  # which does not name the file
            reason = error.strerror if isinstance(error, OSError) else str(error)
            raise ConnectionRefusedError(
                f"a file of certificates or keys that the cache's URL names cannot be used: {reason}"
            ) from None
        return context


def check_tls_files(url: str) -> None:
    """See whether the files of certificates and keys that a server's URL names can be used: redis-py blames the server.

    Raises:
        OSError: They cannot.
    """
    Endpoint(url, {}).load_tls()


def _keep_alive(line: socket.socket, options: dict[int, int]) -> None:
    """What a system does not know of it, it goes without."""
    with contextlib.suppress(OSError):
        line.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for name, value in options.items():
            line.setsockopt(socket.IPPROTO_TCP, name, value)
