"""What the parts of the cache share: the servers that are asked."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gateway.cache.servers import Servers


class CachePart:
    """One subject of the cache."""

    def __init__(self, servers: Servers) -> None:
        self._servers = servers
