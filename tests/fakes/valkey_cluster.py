"""A real cluster of three masters, with or without a replica of each, on one machine."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from typing import TYPE_CHECKING, Any, TypeVar

from redis.asyncio import RedisCluster
from redis.exceptions import RedisError

from gateway.cache.slots import SLOTS, slot_of_tag
from gateway.cli.ports import free_port
from tests.fakes.port_server import PATIENCE_S, PortServer, until

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator
    from pathlib import Path
    from types import TracebackType
    from typing import Self

T = TypeVar("T")

_MASTERS = 3
_NODE_TIMEOUT_MS = 2000
_ACQUAINTED_S = 5.0


class ValkeyCluster:
    """Three or six processes.

    Args:
        directory: Where they live.
        has_replicas: Whether each master has one, in the same order.
    """

    def __init__(self, directory: Path, *, has_replicas: bool = False) -> None:
        self._buses: dict[int, int] = {}
        self.masters = [self._server(directory / f"m{number}") for number in range(_MASTERS)]
        self.replicas = [self._server(directory / f"r{number}") for number in range(_MASTERS if has_replicas else 0)]
        self.url = "redis+cluster://" + ",".join(f"127.0.0.1:{server.port}" for server in self.masters)
        self.ids: dict[int, str] = {}

    async def __aenter__(self) -> Self:
        await asyncio.gather(*(server.start() for server in self.servers))
        step = SLOTS // _MASTERS
        for number, server in enumerate(self.masters):
            last = SLOTS - 1 if number == _MASTERS - 1 else (number + 1) * step - 1
            await ask(server, "CLUSTER", "ADDSLOTSRANGE", number * step, last)
        for server in self.servers:
            self.ids[server.port] = await ask(server, "CLUSTER", "MYID")
        await self._acquaint()
        for replica, master in zip(self.replicas, self.masters, strict=False):
            await ask(replica, "CLUSTER", "REPLICATE", self.ids[master.port])
        await until(self._is_well)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for server in self.servers:
            await server.aclose()

    @classmethod
    @contextlib.contextmanager
    def running(
        cls, directory: Path, *, has_replicas: bool = False
    ) -> Iterator[tuple[ValkeyCluster, Callable[[Coroutine[Any, Any, T]], T]]]:
        """A cluster beside event loops that come and go, and how to have it do something."""
        loop = asyncio.new_event_loop()
        thread = threading.Thread(target=loop.run_forever, daemon=True)
        thread.start()

        def do(work: Coroutine[Any, Any, Any]) -> Any:
            return asyncio.run_coroutine_threadsafe(work, loop).result(2 * PATIENCE_S)

        async def start() -> ValkeyCluster:
            return await cls(directory, has_replicas=has_replicas).__aenter__()

        cluster: ValkeyCluster = do(start())
        try:
            yield cluster, do
        finally:
            do(cluster.__aexit__(None, None, None))
            loop.call_soon_threadsafe(loop.stop)
            thread.join()
            loop.close()

    @property
    def ports(self) -> list[int]:
        """Where its servers listen, masters and replicas."""
        return [server.port for server in self.servers]

    def client(self) -> RedisCluster:
        """All of it, without our code in between."""
        return RedisCluster(host="127.0.0.1", port=self.masters[0].port, decode_responses=True)

    async def owner(self, tag: str) -> PortServer:
        """The server that has the keys of a customer now."""
        for server in self.servers:
            try:
                if (await ask(server, "ROLE"))[0] == "master" and await self._has(server, slot_of_tag(tag)):
                    return server
            except (RedisError, OSError):
                continue
        raise LookupError(tag)

    async def begin_to_move(self, tag: str, source: PortServer, target: PortServer) -> None:
        """Open the slot of a customer on both sides."""
        slot = slot_of_tag(tag)
        await ask(target, "CLUSTER", "SETSLOT", slot, "IMPORTING", self.ids[source.port])
        await ask(source, "CLUSTER", "SETSLOT", slot, "MIGRATING", self.ids[target.port])

    async def move_keys(self, tag: str, source: PortServer, target: PortServer) -> None:
        """Move all keys of the customer's slot."""
        while keys := await ask(source, "CLUSTER", "GETKEYSINSLOT", slot_of_tag(tag), 100):
            await ask(source, "MIGRATE", "127.0.0.1", target.port, "", 0, 5000, "KEYS", *keys)

    async def end_move(self, tag: str, source: PortServer, target: PortServer) -> None:
        """Give the slot to the target."""
        for server in (target, source, *self.masters):
            await ask(server, "CLUSTER", "SETSLOT", slot_of_tag(tag), "NODE", self.ids[target.port])

    @property
    def servers(self) -> list[PortServer]:
        """Masters and replicas, as they were at the beginning."""
        return [*self.masters, *self.replicas]

    def _server(self, directory: Path) -> PortServer:
        bus = free_port()
        server = PortServer(
            directory,
            "--cluster-enabled", "yes", "--cluster-node-timeout", str(_NODE_TIMEOUT_MS), "--cluster-port", str(bus),
            "--cluster-require-full-coverage", "no", "--repl-diskless-sync-delay", "0",
        )  # fmt: skip
        self._buses[server.port] = bus
        return server

    async def _has(self, server: PortServer, slot: int) -> bool:
        mine = self.ids[server.port]
        slots = await ask(server, "CLUSTER", "SLOTS")
        return any(first <= slot <= last and master[2] == mine for first, last, master, *_ in slots)

    async def _acquaint(self) -> None:
        """Introduce them to each other, again if a busy machine let it fail."""
        first = self.masters[0].port
        async with asyncio.timeout(PATIENCE_S):
            while True:
                for server in self.servers:
                    await ask(server, "CLUSTER", "MEET", "127.0.0.1", first, self._buses[first])
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(_ACQUAINTED_S):
                        await until(lambda: self._all_know(len(self.servers)))
                    return

    async def _all_know(self, count: int) -> bool:
        return all([int((await info(server))["cluster_known_nodes"]) == count for server in self.servers])

    async def _is_well(self) -> bool:
        for server in self.servers:
            if (await info(server))["cluster_state"] != "ok":
                return False
            shown = {node[2] for _, _, *nodes in await ask(server, "CLUSTER", "SLOTS") for node in nodes}
            if len(shown) != len(self.servers):
                return False
        return all(
            [(await replica.client.info("replication"))["master_link_status"] == "up" for replica in self.replicas]
        )


async def ask(server: PortServer, *command: Any) -> Any:
    """One command, and the answer as it came."""
    return await server.client.execute_command(*command)


async def info(server: PortServer) -> dict[str, str]:
    """`CLUSTER INFO`."""
    lines = str(await ask(server, "CLUSTER", "INFO")).splitlines()
    return dict(line.split(":", 1) for line in lines if ":" in line)
