"""`python -m benchmarks.listeners PORT PATH KEYS COUNT`: connections that stay.

Opens COUNT connections with one request each, prints `READY` when all have their
answer's head, listens until its input ends, and prints how many events came meanwhile and
how long they were under way. Without events in the answers these are idle connections.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import cast

import uvloop

from benchmarks.candidate import Running
from benchmarks.ground import Ground, our_python
from benchmarks.processes import NotMeasured, last_words, running

_AT_ONCE = 20
_ANSWER_S = 30.0


class Listener(asyncio.Protocol):
    """One connection that sent one request, and listens."""

    def __init__(self, request: bytes, delays_us: list[float]) -> None:
        self._request = request
        self._delays_us = delays_us
        self._buffer = b""
        self.head: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        """Whether the answer has status 200."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        cast("asyncio.Transport", transport).write(self._request)  # uvloop's has another base class

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        if not self.head.done():
            end = self._buffer.find(b"\r\n\r\n")
            if end < 0:
                return
            self.head.set_result(self._buffer[9:12] == b"200")
            self._buffer = self._buffer[end + 4 :]
        while (at := self._buffer.find(b"data: ")) >= 0:
            end = self._buffer.find(b"\n\n", at)
            if end < 0:
                return
            sent_ns = int(self._buffer[at + 6 : end])
            self._delays_us.append((time.monotonic_ns() - sent_ns) / 1000)
            self._buffer = self._buffer[end + 2 :]
        self._buffer = self._buffer[-6:]

    def connection_lost(self, _error: Exception | None) -> None:
        if not self.head.done():
            self.head.set_result(False)


async def _listen(port: int, path: str, key: str, count: int) -> dict[str, float]:
    delays_us: list[float] = []
    loop, slots = asyncio.get_running_loop(), asyncio.Semaphore(_AT_ONCE)
    request = f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nX-API-Key: {key}\r\n\r\n".encode()

    async def open_one() -> bool:
        async with slots, asyncio.timeout(_ANSWER_S):
            _, listener = await loop.create_connection(lambda: Listener(request, delays_us), "127.0.0.1", port)
            return await listener.head

    good = await asyncio.gather(*(open_one() for _ in range(count)))
    if not all(good):
        raise SystemExit(f"{good.count(False)} of {count} connections were not answered with 200")
    print("READY", flush=True)
    delays_us.clear()
    await loop.run_in_executor(None, sys.stdin.read)
    taken = sorted(delays_us) or [0.0]
    middle, late = taken[len(taken) // 2], taken[int(len(taken) * 0.99)]
    return {"events": len(delays_us), "p50_us": middle, "p99_us": late}


@contextmanager
def listening(ground: Ground, candidate: Running, path: str, count: int) -> Iterator[subprocess.Popen[str]]:
    """Connections to a candidate, all answered, for as long as the context lasts.

    Raises:
        NotMeasured: One of them was not answered.
    """
    log = ground.subdirectory("listeners") / "log"
    command = our_python("benchmarks.listeners", str(candidate.port), path, str(candidate.key_file), str(count))
    with running(command, cores=ground.cores.others, log=log, stdout=subprocess.PIPE) as process:
        if process.stdout is None or process.stdout.readline().strip() != "READY":
            raise NotMeasured(f"connections failed: {last_words(log)}")
        yield process


def end_listening(process: subprocess.Popen[str]) -> dict[str, float]:
    """Close the connections. Returns `events`, `p50_us` and `p99_us` since all were open."""
    figures, _ = process.communicate("")
    counted: dict[str, float] = json.loads(figures)
    return counted


if __name__ == "__main__":
    _port, _path, _keys, _count = sys.argv[1:]
    print(json.dumps(uvloop.run(_listen(int(_port), _path, Path(_keys).read_text().split()[0], int(_count)))))
