"""Who has which slots: asked of the servers of a cluster, one after the other, and not all the time.

Each question is a connection of its own. One that has changed nothing is followed by a pause that doubles, 50 ms to
1 s, however many calls doubt meanwhile: with a slot that nobody has, they never cease to.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import structlog
from redis.asyncio import Redis
from redis.exceptions import RedisError

from gateway.cache.endpoint import check_tls_files
from gateway.cache.library import connection_options, time_limits
from gateway.cache.slots import Range, read_slots

if TYPE_CHECKING:
    from collections.abc import Iterable

    from gateway.core.cache_url import CacheUrl, Host

_ANSWER_S = 0.5
_FIRST_PAUSE_S = 0.05
_LONGEST_PAUSE_S = 1.0

log = structlog.get_logger(__name__)


class Survey:
    """What is asked, how often, and why there was no answer.

    Args:
        address: Who we are to the servers.
        closed: Set when nobody wants to know any more.
    """

    def __init__(self, address: CacheUrl, closed: asyncio.Event) -> None:
        self._address = address
        self._closed = closed
        self._loop = asyncio.get_running_loop()
        self._known: set[tuple[int, int, Host]] = set()
        self._pause_s = _FIRST_PAUSE_S
        self._rests_until = 0.0
        self.silence = ""
        """Why the last server that was asked said nothing; empty once one does."""

    def rest_s(self) -> float:
        """For how long nobody is to be asked."""
        return max(0.0, self._rests_until - self._loop.time())

    async def ask(self, hosts: Iterable[Host]) -> list[Range] | None:
        """What the first of them says who answers; None if none does."""
        is_late = self._loop.time() > self._rests_until + _LONGEST_PAUSE_S
        ranges = await self._ask(hosts)
        known = self._known if ranges is None else {(span.first, span.last, span.master) for span in ranges}
        is_news, self._known = known != self._known, known
        self._pause_s = _FIRST_PAUSE_S if is_news or is_late else min(2 * self._pause_s, _LONGEST_PAUSE_S)
        self._rests_until = self._loop.time() + self._pause_s
        return ranges

    async def _ask(self, hosts: Iterable[Host]) -> list[Range] | None:
        told = self.silence
        for host in hosts:
            if self._closed.is_set():
                break
            try:
                ranges = await fetch_slots(self._address, host, _ANSWER_S)
            except (RedisError, OSError, ValueError) as error:
                self.silence = str(error) or type(error).__name__
                log.debug("a server of the cluster says nothing", server=host[0], port=host[1], reason=self.silence)
            else:
                self.silence = ""
                return ranges
        if self.silence != told:
            log.warning("no server of the cluster says who has which keys", reason=self.silence)
        return None


async def fetch_slots(address: CacheUrl, host: Host, limit_s: float) -> list[Range]:
    """Ask one server who has which slots.

    Raises:
        RedisError, OSError: It does not answer, or refuses.
        ValueError: It is no server of a cluster that has slots.
    """
    url, limits = address.server(*host), {**connection_options(), **time_limits(limit_s)}
    try:
        # The limit does not hold for closing: redis-py leaves open what is cancelled while it closes.
        async with Redis.from_url(url, **limits) as client, asyncio.timeout(limit_s):
            return read_slots(await client.execute_command("CLUSTER", "SLOTS"), host)  # type: ignore[no-untyped-call]
    except (RedisError, OSError):
        check_tls_files(url)
        raise
