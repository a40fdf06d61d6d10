"""A master, a replica of it, and three sentinels that put the one in the other's place."""

from __future__ import annotations

from typing import TYPE_CHECKING

from redis.exceptions import RedisError

from tests.fakes.port_server import PortServer, until

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType
    from typing import Self

NAME = "mymaster"
PASSWORD = "p@ss/word"
_DOWN_AFTER_MS = 500


class Sentinels:
    """Five processes in one directory.

    Attributes:
        master: Who is it at first.
        replica: Who follows it at first.
        sentinels: Who watch.
    """

    def __init__(self, directory: Path) -> None:
        secret = ("--requirepass", PASSWORD, "--masterauth", PASSWORD, "--repl-diskless-sync-delay", "0")
        self.master = PortServer(directory / "master", *secret)
        follows = ("--replicaof", f"127.0.0.1 {self.master.port}")
        self.replica = PortServer(directory / "replica", *secret, *follows)
        for server in (self.master, self.replica):
            server.client.connection_pool.connection_kwargs["password"] = PASSWORD
        self.sentinels = [self._sentinel(directory / f"sentinel{number}") for number in range(3)]
        self.url = f"redis+sentinel://:p%40ss%2Fword@{self._hosts()}/{NAME}"

    async def __aenter__(self) -> Self:
        for server in (self.master, self.replica, *self.sentinels):
            await server.start()
        await until(self._are_acquainted)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for server in (*self.sentinels, self.replica, self.master):
            await server.aclose()

    async def named(self) -> int:
        """Port of the master, as the first sentinel says."""
        _, port = await self.sentinels[0].client.sentinel_get_master_addr_by_name(NAME)
        return int(port)

    async def fail_over(self) -> None:
        """Let the replica take over while the master lives, and wait until that is done."""
        before = await self.named()

        async def done() -> bool:
            return await self.named() != before

        await self.sentinels[0].client.execute_command("SENTINEL", "FAILOVER", NAME)
        await until(done)

    async def take_over(self) -> None:
        """Kill the master, and wait until the replica is in its place."""
        await self.master.kill()

        async def done() -> bool:
            return (await self.replica.client.info("replication"))["role"] == "master"

        await until(done)

    def _hosts(self) -> str:
        return ",".join(f"127.0.0.1:{sentinel.port}" for sentinel in self.sentinels)

    def _sentinel(self, directory: Path) -> PortServer:
        directory.mkdir(parents=True)
        path = directory / "sentinel.conf"
        path.write_text(
            f"sentinel monitor {NAME} 127.0.0.1 {self.master.port} 2\n"
            f"sentinel auth-pass {NAME} {PASSWORD}\n"
            f"sentinel down-after-milliseconds {NAME} {_DOWN_AFTER_MS}\n"
            f"sentinel failover-timeout {NAME} 5000\n"
        )
        return PortServer(directory, str(path), "--sentinel")

    async def _are_acquainted(self) -> bool:
        """Whether every sentinel knows the others and the replica."""
        for sentinel in self.sentinels:
            try:
                state = (await sentinel.client.sentinel_masters())[NAME]
            except (RedisError, OSError, KeyError):
                return False
            if state["num-other-sentinels"] < len(self.sentinels) - 1 or state["num-slaves"] < 1:
                return False
        return (await self.replica.client.info("replication"))["master_link_status"] == "up"
