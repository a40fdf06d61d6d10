"""What the cache consists of, as a URL says: one server, the one that sentinels name, or a cluster."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from gateway.cache.cluster import Cluster
from gateway.cache.endpoint import Endpoint
from gateway.cache.library import connection_options, open_client
from gateway.cache.node import Node
from gateway.cache.sentinel import open_sentinels
from gateway.core.cache_url import is_of_several, parse_cache_url

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Awaitable, Callable, Sequence

    from redis.asyncio import Redis

T = TypeVar("T")

_OPERATION_S = 1.0
"""Time limit of everything that is not a script call."""


class Servers(Protocol):
    """Where keys are kept, whatever it is made of. CacheUnavailable is raised as a `Node` raises it."""

    @property
    def is_ready(self) -> bool:
        """Whether script calls pass right now."""
        ...

    @property
    def down(self) -> tuple[str, ...]:
        """Which of several servers are known not to answer, as host:port."""
        ...

    @property
    def round_trips(self) -> int:
        """Round trips made for script calls so far; many share one."""
        ...

    def send(self, command: bytes) -> asyncio.Future[Any]:
        """Send a script call to the server of its keys."""
        ...

    async def masters(self) -> Sequence[Node]:
        """Every server that keeps keys."""
        ...

    async def wait_ready(self, timeout_s: float) -> bool:
        """Connect, and wait until script calls pass everywhere. Returns whether they do."""
        ...

    async def run(self, key: str, operation: Callable[[Redis], Awaitable[T]]) -> T:
        """Do something at the server of a key. It may be done again where the key has moved to."""
        ...

    async def run_many(
        self, tags: Sequence[str], operation: Callable[[Redis, Sequence[str]], Awaitable[list[T]]]
    ) -> tuple[list[T], list[str]]:
        """Do something for many hash tags, at the server of each. Returns the results, and for whom there are none."""
        ...

    def is_reachable(self, tag: str) -> bool:
        """Whether the server of a hash tag is not known to be down."""
        ...

    def spread(self, key: str) -> Sequence[str]:
        """Names that begin with `key`, one for each server."""
        ...

    async def ping(self) -> None:
        """One round trip."""
        ...

    async def aclose(self) -> None:
        """Fail what is under way, and close every connection."""
        ...


def open_servers(url: str, deadline_s: float, on_reconnect: Callable[[], Awaitable[None]] | None) -> Servers:
    """What a URL names. It is connected by its first use.

    Raises:
        ValueError: It names nothing.
    """
    operation_s = max(_OPERATION_S, deadline_s)
    options: dict[str, Any] = {
        "deadline_s": deadline_s,
        "operation_s": operation_s,
        "on_connected": on_reconnect,
    }
    if is_of_several(url):
        address = parse_cache_url(url)
        return Cluster(address, **options) if address.kind == "cluster" else open_sentinels(address, **options)
    return Node(Endpoint(url, connection_options()), open_client(url, operation_s), **options)
