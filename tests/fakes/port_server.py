"""A real Valkey on a port of its own, to build deployments of: replicas, sentinels, clusters."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from redis.asyncio import Redis
from redis.exceptions import RedisError

from gateway.cache.server import _find_binary
from gateway.cli.ports import free_port

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

PATIENCE_S = 60.0


class PortServer:
    """One server process.

    Args:
        directory: Where it lives. Made if it is missing.
        arguments: After the program's name, besides port and directory.
        port: Where it listens; 0: a free one.
    """

    def __init__(self, directory: Path, *arguments: str, port: int = 0) -> None:
        self.directory = directory
        self.port = port or free_port()
        self._arguments = arguments
        self._process: asyncio.subprocess.Process | None = None
        self.client = Redis(host="127.0.0.1", port=self.port, decode_responses=True)
        """Without our code in between."""

    async def start(self) -> None:
        """Start it, and wait until it answers."""
        self.directory.mkdir(exist_ok=True, parents=True)
        self._process = await asyncio.create_subprocess_exec(
            str(_find_binary()), *self._arguments,
            "--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self.directory), "--save", "",
            stdout=asyncio.subprocess.DEVNULL,
        )  # fmt: skip
        await until(self._answers)

    async def kill(self) -> None:
        """End it as a power cut does."""
        if self._process is not None and self._process.returncode is None:
            self._process.kill()
            await self._process.wait()

    async def aclose(self) -> None:
        """End it, and the client."""
        await self.client.aclose()
        await self.kill()

    async def _answers(self) -> bool:
        try:
            return bool(await self.client.ping())
        except (RedisError, OSError):
            return False


async def until(holds: Callable[[], Awaitable[bool]]) -> None:
    """Wait for other processes."""
    async with asyncio.timeout(PATIENCE_S):
        while not await holds():  # noqa: ASYNC110 - as said
            await asyncio.sleep(0.02)
