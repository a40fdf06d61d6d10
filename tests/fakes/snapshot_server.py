"""A real Valkey or Redis that keeps snapshots only: killed, it comes back as old as the last one."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from redis.asyncio import Redis
from redis.exceptions import RedisError

from gateway.cache.server import _find_binary

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path
    from types import TracebackType
    from typing import Self

_ANSWER_S = 60.0


class SnapshotServer:
    """One server on a directory and a unix socket in it.

    Args:
        directory: Where it lives.
        binary: The server's program; None: the embedded Valkey.
        options: How it keeps its data, and whatever else.
    """

    def __init__(self, directory: Path, binary: str | None = None, options: Sequence[str] = ("--save", "")) -> None:
        self.directory = directory
        self.options = options
        self._binary = binary or str(_find_binary())
        self._socket = directory / "s"
        self._process: asyncio.subprocess.Process | None = None
        self.url = f"unix://{self._socket}"
        self.client = Redis.from_url(self.url, decode_responses=True)
        """Without our code in between."""

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.client.aclose()
        await self.kill()

    @property
    def pid(self) -> int:
        """Of its process."""
        assert self._process is not None
        return self._process.pid

    async def start(self, *more: str) -> None:
        """Start it on what it has kept, and wait until it answers. `more`: options of this start only."""
        self.directory.mkdir(exist_ok=True)
        self._process = await asyncio.create_subprocess_exec(
            self._binary, "--port", "0", "--unixsocket", self._socket, "--dir", self.directory,
            *self.options,
            *more,
            stdout=asyncio.subprocess.DEVNULL,
        )  # fmt: skip
        async with asyncio.timeout(_ANSWER_S):
            while not await self._answers():  # noqa: ASYNC110 - it waits for another process
                await asyncio.sleep(0.02)

    async def listen(self, port: int) -> None:
        """Be there for replicas too."""
        await self.client.config_set("port", port)

    async def kill(self) -> None:
        """End it as a power cut does: nothing is saved."""
        if self._process is not None:
            self._process.kill()
            await self._process.wait()

    async def fall_back(self) -> None:
        """Lose everything since the last snapshot."""
        await self.kill()
        await self.start()

    async def become_copy_of(self, port: int) -> None:
        """Take over another server's data and be on one's own again, without closing a connection."""
        await self.client.replicaof("127.0.0.1", str(port))
        async with asyncio.timeout(_ANSWER_S):
            while (await self.client.info("replication"))["master_link_status"] != "up":  # noqa: ASYNC110 - as above
                await asyncio.sleep(0.02)
        await self.client.replicaof("NO", "ONE")

    async def _answers(self) -> bool:
        try:
            return bool(await self.client.ping())
        except (RedisError, OSError):
            return False
