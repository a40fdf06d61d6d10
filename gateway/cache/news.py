"""What the other workers publish reaches this one: which accounts have changed, and whether any word of it was lost.

Every publication of an account is told on one channel (`publish.lua`). A worker subscribes to it, and to a
channel of its own on which it tells itself a number, again and again: one server, one connection, one order, so
while its own numbers come without a gap, so does everything else. A gap, silence or a broken
connection means that something may have been missed.
"""

from __future__ import annotations

import asyncio
import secrets
from typing import TYPE_CHECKING, Any

import structlog
from redis.exceptions import RedisError

from gateway.cache.errors import CacheUnavailable
from gateway.cache.keyspace import CHANGED_CHANNEL, beat_channel, customer_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from gateway.cache.node import Node

BEAT_S = 0.5
"""Between two numbers."""
SILENCE_S = 1.5
"""Without any number for so long, news are taken to be lost."""
_PAUSE_S = 0.2

log = structlog.get_logger(__name__)


class News:
    """One worker's ear.

    Args:
        servers: Says which servers keep keys. One connection of the first one's pool is taken for as long as it hears:
            it tells what is published at any of them.
        changed: Told whose account was published.
        informed: Told whether news come in: True with every number, False when some may have been missed.
    """

    def __init__(
        self,
        servers: Callable[[], Awaitable[Sequence[Node]]],
        changed: Callable[[str], None],
        informed: Callable[[bool], None],
    ) -> None:
        self._servers = servers
        self._changed = changed
        self._informed = informed
        self._beat = beat_channel(secrets.token_hex(4))

    async def run(self) -> None:
        """Hear, for ever; after every loss begin anew."""
        reported = ""
        while True:
            try:
                await self._hear()
            except (CacheUnavailable, RedisError, OSError, TimeoutError) as error:
                reason = str(error) or type(error).__name__
                if reason != reported:
                    log.warning("news of other workers are lost; every call is charged by itself", reason=reason)
                    reported = reason
            finally:
                self._informed(False)  # noqa: FBT003 - the signature of who is told
            await asyncio.sleep(_PAUSE_S)

    async def _hear(self) -> None:
        loop = asyncio.get_running_loop()
        client = (await self._servers())[0].client
        async with client.pubsub(ignore_subscribe_messages=True) as heard:
            await heard.subscribe(CHANGED_CHANNEL, self._beat)
            number, expected = 0, 0
            beats_at = heard_at = loop.time()
            while True:
                if loop.time() >= beats_at:
                    await client.publish(self._beat, number)
                    number += 1
                    beats_at = loop.time() + BEAT_S
                message = await heard.get_message(timeout=max(0.0, beats_at - loop.time()))
                if message is None:
                    if loop.time() - heard_at > SILENCE_S:
                        raise TimeoutError("silence")
                elif message["channel"] == self._beat.encode():
                    expected, heard_at = self._count(message, expected), loop.time()
                else:
                    self._changed(customer_of(message["data"]))

    def _count(self, message: dict[str, Any], expected: int) -> int:
        number = int(message["data"])
        if number != expected:
            self._informed(False)  # noqa: FBT003 - the signature of who is told
        self._informed(True)  # noqa: FBT003 - as above
        return number + 1
