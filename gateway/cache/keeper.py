"""Keeps the embedded cache server running for as long as a process needs it.

A server that has died is started again. One that was adopted is taken over when its owner
ends: so of the processes that share a data directory, whichever is left has a cache. It works
in a thread, because starting a server blocks, and not everyone who needs one has an event
loop: the supervisor of several workers has none.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import structlog

from gateway.cache.errors import CacheServerError
from gateway.cache.server import CacheServer

if TYPE_CHECKING:
    from pathlib import Path

_PAUSE_S = 1.0
_ASKED_EVERY = 5
"""Looks at a server of our own: whether it lives is seen at each, whether it answers at every fifth."""
_END_S = 30.0
"""A server that is just being started when the keeper ends."""

log = structlog.get_logger(__name__)


class CacheKeeper:
    """A cache server that stays. Made by `start`."""

    def __init__(self, server: CacheServer) -> None:
        self._server = server
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._keep, name="cache keeper", daemon=True)

    @classmethod
    def start(cls, data_dir: Path) -> CacheKeeper:
        """Start or adopt the server of a data directory, and keep it.

        Raises:
            CacheServerError: As `CacheServer.start`.
        """
        keeper = cls(CacheServer.start(data_dir))
        keeper._thread.start()
        return keeper

    @property
    def url(self) -> str:
        """For `Cache.connect`."""
        return self._server.url

    @property
    def is_owned(self) -> bool:
        """Whether this process owns the server now."""
        return self._server.is_owned

    def stop(self) -> None:
        """Keep it no longer, and stop it if it is owned: its data is on disk afterwards."""
        self._ended.set()
        self._thread.join(_END_S)
        self._server.stop()

    def _keep(self) -> None:
        looks = 0
        while not self._ended.wait(_PAUSE_S):
            looks += 1
            try:
                if self._server.ensure(asks=looks % _ASKED_EVERY == 0):
                    log.warning("the cache server had gone and was started again")
            except (CacheServerError, OSError) as error:
                log.error("the cache server has gone and cannot be started", reason=str(error))  # noqa: TRY400 - the reason says it
