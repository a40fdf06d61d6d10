"""One server: a connection for scripts, a client for everything else, and whether it may be asked."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, TypeVar

from redis.exceptions import RedisError, ResponseError

from gateway.cache.breaker import Breaker
from gateway.cache.errors import CacheUnavailable
from gateway.cache.lane import Lane
from gateway.cache.wire import fail_call

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from redis.asyncio import Redis

    from gateway.cache.endpoint import Endpoint
    from gateway.cache.wire import Call

T = TypeVar("T")


class Node:
    """A server. One that is the whole cache is used as it is: `servers.Servers`.

    Args:
        endpoint: Where it is.
        client: The same server. Closed with the node.
        deadline_s: How long a script call may take, everything included.
        operation_s: How long anything else may take.
        on_connected: Awaited after each connection, before script calls pass.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        client: Redis,
        *,
        deadline_s: float,
        operation_s: float,
        on_connected: Callable[[], Awaitable[None]] | None,
    ) -> None:
        self.client = client
        self._deadline_s = deadline_s
        self._operation_s = operation_s
        self._endpoint = endpoint
        self._lane = Lane(endpoint, deadline_s, self._on_lost, self._elsewhere)
        self._breaker = Breaker(self._lane.open, on_connected)
        self._waiting: set[asyncio.Task[None]] = set()

    @property
    def is_ready(self) -> bool:
        """Whether script calls pass right now."""
        return self._breaker.is_ready

    @property
    def is_down(self) -> bool:
        """Whether it is known not to answer."""
        return self._breaker.is_down

    @property
    def down(self) -> tuple[str, ...]:
        """It is not one of several."""
        return ()

    @property
    def round_trips(self) -> int:
        """Round trips made for script calls so far; many share one."""
        return self._lane.round_trips

    def send(self, command: bytes) -> asyncio.Future[Any]:
        """Send a script call, once it may pass.

        Returns:
            Done within the deadline, with the reply or CacheUnavailable.
        """
        if self._breaker.is_ready:
            return self._lane.send(command)
        loop = asyncio.get_running_loop()
        call = (command, loop.create_future(), loop.time() + self._deadline_s, False)
        try:
            self._breaker.check_reachable()
        except CacheUnavailable as refusal:
            fail_call(call, refusal.reason)
        else:
            self.take(call)
        return call[1]

    def give_up(self, reason: str) -> None:
        """Connect anew: this is not the server that it should be."""
        self._lane.give_up(reason)

    def wake(self) -> None:
        """Begin to connect, unless that is done or under way."""
        self._breaker.wake()

    def take(self, *calls: Call) -> None:
        """Send calls that have waited elsewhere, one right after the other, once they may pass."""
        task = asyncio.get_running_loop().create_task(self._send_later(*calls))
        self._waiting.add(task)
        task.add_done_callback(self._waiting.discard)

    async def masters(self) -> Sequence[Node]:
        """Itself."""
        return (self,)

    async def wait_ready(self, timeout_s: float) -> bool:
        """Connect, and wait until script calls pass.

        Returns:
            Whether they do.
        """
        try:
            async with asyncio.timeout(timeout_s):
                while not self._breaker.is_ready:
                    due = asyncio.get_running_loop().time() + timeout_s
                    try:
                        await self._breaker.wait_ready(due, timeout_s)
                    except CacheUnavailable:
                        await asyncio.sleep(0.01)
        except TimeoutError:
            return False
        return True

    async def operate(self, operation: Callable[[Redis], Awaitable[T]]) -> T:
        """Do something with the client.

        Raises:
            CacheUnavailable: No answer in time, or a refusal, which is its cause. It may have happened.
        """
        self._breaker.check_reachable()
        try:
            async with asyncio.timeout(self._operation_s):
                return await operation(self.client)
        except (RedisError, OSError, TimeoutError) as error:
            reason, was_refused = str(error) or type(error).__name__, isinstance(error, ResponseError)
            raise CacheUnavailable(reason=reason, may_have_happened=not was_refused) from error

    async def run(self, key: str, operation: Callable[[Redis], Awaitable[T]]) -> T:
        """As `operate`: every key is here."""
        del key
        return await self.operate(operation)

    async def run_many(
        self, tags: Sequence[str], operation: Callable[[Redis, Sequence[str]], Awaitable[list[T]]]
    ) -> tuple[list[T], list[str]]:
        """As `operate`, for all at once: nobody is left out."""
        return await self.operate(lambda client: operation(client, tags)), []

    def is_reachable(self, tag: str) -> bool:
        """Whether it is worth asking."""
        del tag
        return not self._breaker.is_down

    def spread(self, key: str) -> Sequence[str]:
        """It needs no other name."""
        return (key,)

    async def ping(self) -> None:
        """One round trip. Also makes a server that is not connected be connected.

        Raises:
            CacheUnavailable: It does not answer.
        """
        await self.operate(lambda client: client.ping())

    async def aclose(self) -> None:
        """Fail what is under way, and close every connection."""
        await self._breaker.aclose()
        await self._lane.aclose()
        await asyncio.gather(*self._waiting)
        await self.client.aclose()
        await self.client.connection_pool.aclose()
        await self._endpoint.aclose()

    def _on_lost(self, error: BaseException, hangs: bool, unsent: list[Call]) -> None:  # noqa: FBT001 - the signature that the lane calls
        self._breaker.trip(error, hangs)
        for call in unsent:
            self.take(call)

    def _elsewhere(self, call: Call, text: str) -> bool:
        """Nobody sees to it: this is not a node of a cluster, or not used as one."""
        del call, text
        return False

    async def _send_later(self, *calls: Call) -> None:
        try:
            await self._breaker.wait_ready(calls[0][2], self._deadline_s)
        except CacheUnavailable as refusal:
            for call in calls:
                fail_call(call, refusal.reason)
        else:
            for call in calls:
                self._lane.send_held(call)
