"""A cluster: every master is a node with a connection, a state and a repair of its own.

Laws:

- a call goes to the server that has the slot of its keys, and one that is down concerns nobody else;
- who has a slot is learned from any server, again after a connection is lost, and from `MOVED`;
- a call that was answered with `MOVED`, `ASK`, `TRYAGAIN` or `CLUSTERDOWN` was not done: sending it
  to where it belongs, or once more, within its deadline, repeats nothing;
- with a slot that nobody has, servers are soon asked once a second at most, and its calls fail by their deadline;
- nobody waits for servers that do not say who has a slot, once somebody has for as long as a call may take;
- script calls pass at a server only after the repair has been awaited for it, also if `MOVED`
  has just named it.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

import structlog
from redis.asyncio import Redis
from redis.exceptions import AskError, ClusterDownError, MovedError, TryAgainError

from gateway.cache.asking import ask
from gateway.cache.cluster_node import ClusterNode
from gateway.cache.errors import CacheUnavailable
from gateway.cache.slots import (
    SLOTS,
    Range,
    named_host,
    read_redirection,
    slot_of_command,
    slot_of_key,
    slot_of_tag,
)
from gateway.cache.survey import Survey
from gateway.cache.wire import fail_call

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from gateway.cache.node import Node
    from gateway.cache.wire import Call
    from gateway.core.cache_url import CacheUrl, Host

T = TypeVar("T")

_MOST_HOPS = 4
"""Servers that disagree send a call back and forth: `MOVED`, `ASK` and another `MOVED` can be needed."""
_AGAIN_S = 0.01
_NAMES_TRIED = 200
_KEPT_S = 60.0
"""A server that `ASK` named is kept this long, also while it has no slots."""
_GRACE_S = 1.0
"""A server that has lost its slots may still answer what was sent to it."""

log = structlog.get_logger(__name__)


class Cluster:
    """All masters of a cluster, as `servers.Servers`.

    Args:
        address: Of some of its servers, masters or replicas.
        deadline_s: As a `Node`'s.
        operation_s: As a `Node`'s.
        on_connected: As a `Node`'s: awaited for each server by itself.

    Raises:
        ValueError: An option that cannot be used.
    """

    def __init__(
        self,
        address: CacheUrl,
        *,
        deadline_s: float,
        operation_s: float,
        on_connected: Callable[[], Awaitable[None]] | None,
    ) -> None:
        self._address = address
        self._deadline_s = deadline_s
        self._operation_s = operation_s
        self._on_connected = on_connected
        self._loop = asyncio.get_running_loop()
        self._nodes: dict[Host, ClusterNode] = {}
        self._masters: tuple[ClusterNode, ...] = ()
        self._owners: list[ClusterNode | None] = [None] * SLOTS
        self._replicas: tuple[Host, ...] = ()
        self._hops: dict[asyncio.Future[Any], int] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._surveying: asyncio.Task[None] | None = None
        self._is_doubted = self._is_lost = False
        self._patience_ends_at: float | None = None
        self._closed = asyncio.Event()
        self._survey = Survey(address, self._closed)
        self._changed = asyncio.Event()
        self._retired_trips = 0
        self._node(address.hosts[0])  # refuses at once what is wrong with the URL

    # What `Servers` promises.

    @property
    def is_ready(self) -> bool:
        """Whether script calls pass for some."""
        return any(node.is_ready for node in self._masters)

    @property
    def down(self) -> tuple[str, ...]:
        """Which masters are known not to answer, as host:port."""
        return tuple(f"{node.host[0]}:{node.host[1]}" for node in self._masters if node.is_down)

    @property
    def round_trips(self) -> int:
        """Round trips made for script calls so far, to all servers together."""
        return self._retired_trips + sum(node.round_trips for node in self._nodes.values())

    def send(self, command: bytes) -> asyncio.Future[Any]:
        """Send a script call to the server of its keys."""
        owner = self._owners[slot_of_command(command)]
        if owner is not None:
            return owner.send(command)
        call = (command, self._loop.create_future(), self._loop.time() + self._deadline_s, False)
        self.place(call)
        return call[1]

    async def masters(self) -> Sequence[Node]:
        """Every server that has slots, those that are well first."""
        await self._owner(None, self._loop.time() + self._operation_s)
        return sorted(self._masters, key=lambda node: not node.is_ready)

    async def wait_ready(self, timeout_s: float) -> bool:
        """Connect to all, and wait until script calls pass everywhere but where a server is down, and for some.

        Returns:
            Whether they pass for some.
        """
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                while not (self.is_ready and all(node.is_ready or node.is_down for node in self._masters)):
                    self.doubt()
                    await asyncio.sleep(_AGAIN_S)
        return self.is_ready

    async def run(self, key: str, operation: Callable[[Redis], Awaitable[T]]) -> T:
        """Do something at the server of a key, and where that says it is."""
        slot, due = slot_of_key(key), self._loop.time() + self._operation_s
        asked: ClusterNode | None = None
        for _ in range(int(self._operation_s / _AGAIN_S)):
            node = asked or await self._owner(slot, due)
            try:
                return await node.operate(partial(ask, operation=operation) if asked else operation)
            except CacheUnavailable as refusal:
                asked = await self._follow(refusal, slot, node, due)
        raise CacheUnavailable(reason="the servers of the cluster disagree who has a key")

    async def run_many(
        self, tags: Sequence[str], operation: Callable[[Redis, Sequence[str]], Awaitable[list[T]]]
    ) -> tuple[list[T], list[str]]:
        """Do something for many hash tags, one call to each server.

        Returns:
            The results, and for whom there are none: their server does not answer.

        Raises:
            CacheUnavailable: No server has answered.
        """
        due = self._loop.time() + self._operation_s
        groups: dict[ClusterNode, list[str]] = {}
        results: list[T] = []
        missed: list[str] = []
        for tag in tags:
            try:
                groups.setdefault(await self._owner(slot_of_tag(tag), due), []).append(tag)
            except CacheUnavailable:
                missed.append(tag)
        for found, left in await asyncio.gather(*(self._run_group(*group, operation) for group in groups.items())):
            results += found
            missed += left
        if tags and len(missed) == len(tags):
            raise CacheUnavailable(reason="no server of the cluster that was asked has answered")
        return results, missed

    def is_reachable(self, tag: str) -> bool:
        """Whether the server of a hash tag is not known to be down."""
        owner = self._owners[slot_of_tag(tag)]
        return owner is not None and not owner.is_down

    def spread(self, key: str) -> Sequence[str]:
        """Names that begin with `key`, one for each server that has more than a few slots."""
        names: dict[ClusterNode | None, str] = {}
        for number in range(_NAMES_TRIED):
            names.setdefault(self._owners[slot_of_key(f"{key}:{number}")], f"{key}:{number}")
            if len(names) == len(self._masters):
                break
        return list(names.values())

    async def ping(self) -> None:
        """One round trip to every server, at once.

        Raises:
            CacheUnavailable: Not one of them answers.
        """
        answers = await asyncio.gather(*(node.ping() for node in await self.masters()), return_exceptions=True)
        failures = [answer for answer in answers if answer is not None]
        if len(failures) == len(answers):
            raise failures[0]

    async def aclose(self) -> None:
        """Fail what is under way, and close every connection."""
        self._closed.set()
        self._changed.set()
        under_way = [*self._tasks, *([self._surveying] if self._surveying is not None else [])]
        await asyncio.gather(*under_way, return_exceptions=True)  # redis-py leaks what is cancelled while it closes
        await asyncio.gather(*(node.aclose() for node in self._nodes.values()))

    # What nodes call.

    def place(self, call: Call) -> None:
        """Send a call to whoever has its slot, once that is known."""
        self._begin(self._place(call))

    def redirect(self, host: Host, call: Call, text: str) -> bool:
        """A server has not done a call, and says why.

        Returns:
            Whether it is sent where it belongs, or once more.
        """
        call = (call[0], call[1], call[2], False)
        redirection = read_redirection(text, host)
        if redirection is None:  # TRYAGAIN, CLUSTERDOWN: they pass
            if text.startswith("CLUSTERDOWN"):
                self.doubt()
            if self._closed.is_set() or call[2] <= self._loop.time() + _AGAIN_S:
                return False
            self._loop.call_later(_AGAIN_S, self.place, call)
            return True
        hops = self._hops.get(call[1], 0)
        if hops == 0:
            call[1].add_done_callback(lambda reply: self._hops.pop(reply, None))
        elif hops >= _MOST_HOPS:
            return False
        self._hops[call[1]] = hops + 1
        if redirection.is_asking:
            self._kept(redirection.host).take_asking(call)
        else:
            self._moved(redirection.slot, redirection.host).take(call)
        return True

    def doubt(self) -> None:
        """Who has which slots may have changed: ask."""
        self._is_doubted = True
        if self._surveying is None and not self._closed.is_set():
            self._surveying = self._loop.create_task(self._look_around())

    # Who has what.

    async def _owner(self, slot: int | None, due: float) -> ClusterNode:
        """Who has a slot; of None: any."""
        while not self._closed.is_set():
            owner = self._owners[slot] if slot is not None else next(iter(self._masters), None)
            if owner is not None:
                return owner
            self.doubt()
            left_s = due - self._loop.time()
            if self._is_lost or left_s <= 0:
                break
            self._changed.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(left_s):
                    await self._changed.wait()
        why = f": {self._survey.silence}" if self._survey.silence else ""
        raise CacheUnavailable(reason=f"no server of the cluster says who has a key{why}")

    async def _look_around(self) -> None:
        """Ask who has which slots, until everybody who has some is there."""
        try:
            while not self._closed.is_set():
                if rest_s := self._survey.rest_s():
                    await self._pause(rest_s)
                    continue
                self._is_doubted = False
                ranges = await self._survey.ask(self._hosts())
                self._is_lost = ranges is None and not self._masters
                if ranges is not None:
                    self._take_over(ranges)
                self._changed.set()
                if ranges is not None and not self._is_doubted and all(node.is_ready for node in self._masters):
                    return
        finally:
            self._surveying = None

    def _hosts(self) -> list[Host]:
        """Whom to ask: masters that are well, before all others that were heard of."""
        well = [host for host, node in self._nodes.items() if node.is_ready]
        return list(dict.fromkeys((*well, *self._replicas, *self._nodes, *self._address.hosts)))

    def _take_over(self, ranges: list[Range]) -> None:
        self._patience_ends_at = None
        owners: list[ClusterNode | None] = [None] * SLOTS
        for span in ranges:
            owners[span.first : span.last + 1] = [self._node(span.master)] * (span.last + 1 - span.first)
        self._owners = owners
        self._masters = tuple(dict.fromkeys(self._node(span.master) for span in ranges))
        self._replicas = tuple(dict.fromkeys(replica for span in ranges for replica in span.replicas))
        now = self._loop.time()
        for node in [node for node in self._nodes.values() if node not in self._masters and node.kept_until <= now]:
            del self._nodes[node.host]
            self._retired_trips += node.round_trips
            self._begin(self._retire(node))
        for node in self._masters:
            node.wake()

    def _moved(self, slot: int, host: Host) -> ClusterNode:
        node = self._kept(host)
        self._owners[slot] = node
        self.doubt()
        return node

    def _kept(self, host: Host) -> ClusterNode:
        node = self._node(host)
        node.kept_until = self._loop.time() + _KEPT_S
        return node

    def _node(self, host: Host) -> ClusterNode:
        node = self._nodes.get(host)
        if node is None:
            node = self._nodes[host] = self._make_node(host)
        return node

    def _make_node(self, host: Host) -> ClusterNode:
        return ClusterNode(
            self,
            host,
            self._address.server(*host),
            deadline_s=self._deadline_s,
            operation_s=self._operation_s,
            on_connected=self._on_connected,
        )

    async def _retire(self, node: ClusterNode) -> None:
        await self._pause(_GRACE_S)
        await node.aclose()

    async def _pause(self, longest_s: float) -> None:
        """Wait, but not for longer than this is open."""
        with suppress(TimeoutError):
            async with asyncio.timeout(longest_s):
                await self._closed.wait()

    # What is under way.

    async def _place(self, call: Call) -> None:
        if self._patience_ends_at is None:
            self._patience_ends_at = self._loop.time() + self._deadline_s
        try:
            owner = await self._owner(slot_of_command(call[0]), min(call[2], self._patience_ends_at))
        except CacheUnavailable as refusal:
            fail_call(call, refusal.reason)
        else:
            owner.take(call)

    async def _follow(self, refusal: CacheUnavailable, slot: int, node: ClusterNode, due: float) -> ClusterNode | None:
        """Where to do what a server has refused, if there is such a place: a server to be asked, or None, its owner."""
        error = refusal.__cause__
        if isinstance(error, MovedError):
            self._moved(slot, named_host(error.host, error.port, node.host))
        elif isinstance(error, AskError):
            return self._kept(named_host(error.host, error.port, node.host))
        elif isinstance(error, (TryAgainError, ClusterDownError)) and self._loop.time() < due:
            self.doubt()
            await asyncio.sleep(_AGAIN_S)
        else:
            self.doubt()
            raise refusal
        return None

    async def _run_group(
        self, node: ClusterNode, tags: list[str], operation: Callable[[Redis, Sequence[str]], Awaitable[list[T]]]
    ) -> tuple[list[T], list[str]]:
        try:
            return await node.operate(lambda client: operation(client, tags)), []
        except CacheUnavailable as refusal:
            if not isinstance(refusal.__cause__, (AskError, TryAgainError)):
                self.doubt()
                return [], tags
        results: list[T] = []
        missed: list[str] = []
        for tag in tags:  # one of them has moved
            try:
                results += await self.run(f"{{{tag}}}", partial(_with_tags, operation=operation, tags=[tag]))
            except CacheUnavailable:
                missed.append(tag)
        return results, missed

    def _begin(self, work: Any) -> None:
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _with_tags(
    client: Redis, operation: Callable[[Redis, Sequence[str]], Awaitable[list[T]]], tags: list[str]
) -> Awaitable[list[T]]:
    return operation(client, tags)
