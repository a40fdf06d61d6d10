"""A process of `websocket_relay` under one of the real servers, and what a test asks of it."""

from __future__ import annotations

import asyncio
import json
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from websockets.asyncio.client import ClientConnection, connect

from gateway.cli.ports import free_port

_ROOT = Path(__file__).parents[2]
_START_S = 150.0


@dataclass(frozen=True)
class RelayServer:
    name: str
    port: int
    process: subprocess.Popen[bytes]

    def url(self, upstream_port: int, rest: str = "chat", **limits: object) -> str:
        query = "&".join(f"{name}={value}" for name, value in limits.items())
        return f"ws://127.0.0.1:{self.port}/{upstream_port}/{rest}" + (f"?{query}" if query else "")

    def open(self, upstream_port: int, rest: str = "chat", *, client: dict[str, Any] | None = None, **limits: object):
        """The library's own client, through the relay."""
        options: dict[str, Any] = {"proxy": None, "max_size": None, "open_timeout": 30, "close_timeout": 30}
        return connect(self.url(upstream_port, rest, **limits), **{**options, **(client or {})})

    async def outcome(self) -> dict[str, Any]:
        """How the one WebSocket since the last call ended; waits for it."""
        async with httpx.AsyncClient(trust_env=False, timeout=60) as client:
            for _ in range(400):
                found = json.loads((await client.get(f"http://127.0.0.1:{self.port}/outcomes")).content)
                if found:
                    assert len(found) == 1, found
                    return found[0]
                await asyncio.sleep(0.05)
        raise AssertionError("the relay has not ended")

    def stop(self) -> None:
        self.process.send_signal(signal.SIGTERM)


@contextmanager
def serving(name: str) -> Iterator[RelayServer]:
    port = free_port()
    command = [sys.executable, "-m", "tests.fakes.websocket_relay", name, str(port)]
    with subprocess.Popen(command, cwd=_ROOT) as process:
        try:
            _wait_until_up(process, port)
            yield RelayServer(name, port, process)
        finally:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()


def _wait_until_up(process: subprocess.Popen[bytes], port: int) -> None:
    until = time.monotonic() + _START_S
    while time.monotonic() < until:
        assert process.poll() is None, "the server has not started"
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise AssertionError("the server has not started in time")


async def ended(client: ClientConnection) -> tuple[int | None, str | None]:
    """The close that the client sees."""
    await asyncio.wait_for(client.wait_closed(), 60)
    return client.close_code, client.close_reason
