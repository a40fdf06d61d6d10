"""The server that sentinels name: whoever is the master now.

They are asked before each connection, and who is connected is asked what it is: a sentinel may
not have heard yet, and a master that was demoted answers reads as before. One that refuses a
write ends the connection (`wire`), and the next one begins here again.

A master whose place was taken while it lived goes on taking writes for ten seconds, and all of
them are lost. So the sentinels are asked again all the time.
"""

from __future__ import annotations

import asyncio
from copy import copy
from typing import TYPE_CHECKING, Any

import hiredis
from redis.asyncio import Redis
from redis.asyncio.connection import parse_url
from redis.asyncio.sentinel import MasterNotFoundError, Sentinel, SentinelConnectionPool
from redis.exceptions import RedisError

from gateway.cache.endpoint import Endpoint
from gateway.cache.library import connection_options, time_limits
from gateway.cache.node import Node

if TYPE_CHECKING:
    from gateway.core.cache_url import CacheUrl, Host

_ANSWER_S = 0.5
"""A sentinel that needs longer is passed over: the next one knows as much."""
_ASK_EVERY_S = 0.25
"""For so long a master may go on after its place was taken."""
_MOST_CONNECTIONS = 100
_ROLE = hiredis.pack_command(("ROLE",))


class SentinelEndpoint(Endpoint):
    """The master of one name.

    Args:
        address: Who to ask, and who we are to the master.
        sentinels: Whom to ask. Closed with this.
    """

    def __init__(self, address: CacheUrl, sentinels: Sentinel) -> None:
        super().__init__(address.server(*address.hosts[0]), connection_options())
        self.found: Host | None = None
        """Whom the last connection was to."""
        self._service = address.service
        self._sentinels = sentinels

    async def find(self) -> Host:
        """Ask one sentinel after the other.

        Raises:
            ConnectionError: None of them knows a master that is up.
        """
        try:
            host, port = await self._sentinels.discover_master(self._service)
        except MasterNotFoundError:
            self.load_tls()
            asked = (sentinel for sentinel in self._sentinels.sentinels if isinstance(sentinel, _Asked))
            why = next((f": {sentinel.silence}" for sentinel in asked if sentinel.silence), "")
            raise ConnectionRefusedError(f"no sentinel names a master that is up{why}") from None
        except RedisError as error:
            raise ConnectionRefusedError(f"a sentinel refused: {error}") from None
        self.found = str(host), int(port)
        return self.found

    async def count_answering(self) -> int:
        """How many of the sentinels answer."""
        pings = [sentinel.ping() for sentinel in self._sentinels.sentinels]
        return sum(answer is True for answer in await asyncio.gather(*pings, return_exceptions=True))

    def greeting(self) -> list[bytes]:
        """As everywhere, and what it is."""
        return [*super().greeting(), _ROLE]

    def check(self, replies: list[Any]) -> None:
        """Refuse a replica.

        Raises:
            ConnectionError: It is one.
        """
        if replies[-1][0] != b"master":
            raise ConnectionRefusedError("the server that the sentinels name is not a master")

    async def aclose(self) -> None:
        """Close the connections to the sentinels."""
        await self._sentinels.aclose()


class SentinelNode(Node):
    """Whoever is the master, as a node."""

    def __init__(self, endpoint: SentinelEndpoint, pool: SentinelConnectionPool, **options: Any) -> None:
        super().__init__(endpoint, Redis(connection_pool=pool), **options)
        self._pool = pool
        self._place = endpoint
        self._following = asyncio.get_running_loop().create_task(self._follow())

    async def aclose(self) -> None:
        """Ask no more, and close."""
        self._following.cancel()
        await asyncio.gather(self._following, return_exceptions=True)
        await super().aclose()

    async def _follow(self) -> None:
        """Leave a master that the sentinels name no longer."""
        while True:
            await asyncio.sleep(_ASK_EVERY_S)
            if not self.is_ready:
                continue
            try:
                host, port = await self._pool.get_master_address()  # type: ignore[no-untyped-call]
            except (RedisError, OSError):
                continue
            if (host, port) != self._place.found:
                self.give_up("the sentinels name another master")


class _Asked(Redis):
    """One sentinel, and why it did not answer last time: redis-py tells the kind of error only."""

    silence = ""

    async def execute_command(self, *args: Any, **options: Any) -> Any:
        self.silence = ""
        try:
            return await super().execute_command(*args, **options)  # type: ignore[no-untyped-call]
        except (RedisError, OSError) as error:
            self.silence = str(error) or type(error).__name__
            raise


class _Sentinels(Sentinel):
    """Those of a URL, whoever was right last first.

    redis-py exchanges two places of the list that it goes through. Of two that ask at once the second would put one
    sentinel in both places, and the other were never asked again, nor closed. So each goes through a list of its own.
    """

    async def discover_master(self, service_name: str) -> tuple[str, int]:
        """Raises as in redis-py."""
        asking = copy(self)
        asking.sentinels = list(self.sentinels)
        found: tuple[str, int] = await Sentinel.discover_master(asking, service_name)
        right = asking.sentinels[0]
        self.sentinels.sort(key=lambda sentinel: sentinel is not right)
        return found


def ask_sentinels(address: CacheUrl) -> Sentinel:
    """All sentinels of a URL, to be asked one after the other.

    Raises:
        ValueError: An option that cannot be used.
    """
    sentinels = _Sentinels([])  # type: ignore[no-untyped-call]
    limits = {**connection_options(), **time_limits(_ANSWER_S)}
    sentinels.sentinels = [_Asked.from_url(address.sentinel(*host), **limits) for host in address.hosts]
    return sentinels


def open_sentinels(address: CacheUrl, operation_s: float, **options: Any) -> SentinelNode:
    """The master that sentinels name. Connected by its first use.

    Args:
        address: Of sentinels.
        operation_s: As a `Node`'s.
        options: As a `Node`'s.

    Raises:
        ValueError: An option that cannot be used.
    """
    sentinels = ask_sentinels(address)
    endpoint = SentinelEndpoint(address, sentinels)
    connection: dict[str, Any] = {
        **connection_options(),
        **time_limits(operation_s),
        **parse_url(address.server(*address.hosts[0])),
        "max_connections": _MOST_CONNECTIONS,
        "ssl": address.scheme == "rediss",
    }
    for name in ("connection_class", "host", "port"):  # the sentinels say
        connection.pop(name, None)
    pool = SentinelConnectionPool(address.service, sentinels, **connection)  # type: ignore[no-untyped-call]
    return SentinelNode(endpoint, pool, operation_s=operation_s, **options)
