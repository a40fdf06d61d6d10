"""`python -m benchmarks.generator PORT PATH KEYS CONNECTIONS SECONDS RATE keep|close`: load, and one line of figures.

RATE 0: every connection sends again as soon as it is answered. Else requests are due at
random instants (exponential gaps, the same ones in every run) and their time counts from
then, also while none of the connections is free: a slow answer cannot hide the wait of the
requests behind it. Instants are kept to the millisecond, for every candidate alike.
"""

from __future__ import annotations

import asyncio
import json
import random
import sys
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import cast

import uvloop

from benchmarks.upstream_server import UPLOADS, method_of

_TICK_S = 0.001
_DRAIN_S = 5.0
_SEED = 1


class Caller(asyncio.Protocol):
    """One connection with at most one request on it. Believes the server's framing: Content-Length only.

    Args:
        on_answer: Called with the connection and whether the answer was whole and below 400.
    """

    def __init__(self, on_answer: Callable[[Caller, bool], None]) -> None:
        self._on_answer = on_answer
        self._head = b""
        self._left = 0
        self._is_good = False
        self._is_busy = False
        self._transport: asyncio.Transport | None = None
        self.due_at = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's has another base class

    def send(self, request: bytes, due_at: float) -> None:
        """Send the next request, which was due at that instant."""
        self.due_at, self._is_busy, self._head, self._left = due_at, True, b"", 0
        if self._transport is None or self._transport.is_closing():
            self._answered(is_good=False)
        else:
            self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        if not self._left:
            self._head += data
            end = self._head.find(b"\r\n\r\n")
            if end < 0:
                return
            head, data = self._head[:end].lower(), self._head[end + 4 :]
            self._is_good = int(head[9:12]) < 400
            at = head.find(b"\r\ncontent-length:")
            self._left = int(head[at + 17 :].split(b"\r\n", 1)[0]) if at >= 0 else 0
        self._left -= len(data)
        if not self._left:
            self._answered(is_good=self._is_good)

    def connection_lost(self, _error: Exception | None) -> None:
        if self._is_busy:
            self._answered(is_good=False)

    def close(self) -> None:
        """End the connection."""
        if self._transport is not None:
            self._transport.close()

    def _answered(self, *, is_good: bool) -> None:
        if self._is_busy:
            self._is_busy = False
            self._on_answer(self, is_good)


class Generator:
    """One run of load."""

    def __init__(self, port: int, path: str, keys: list[str], *, closes: bool) -> None:
        self._port = port
        size, method = UPLOADS.get(path, 0), method_of(path)
        more = (f"Content-Length: {size}\r\n" if size else "") + ("Connection: close\r\n" if closes else "")
        heads = [f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nX-API-Key: {key}\r\n" for key in keys]
        self._requests = [f"{head}{more}\r\n".encode() + b"x" * size for head in heads]
        self._closes = closes
        self._next = 0
        self._taken_us: list[float] = []
        self._errors = 0
        self._stops = False
        self._free: list[Caller] = []
        self._waiting: deque[float] = deque()
        self._tasks: set[asyncio.Task[None]] = set()

    async def at_full_speed(self, connections: int, seconds: float) -> dict[str, float]:
        """Figures of that many connections that never pause."""
        started = time.perf_counter()
        for _ in range(connections):
            await self._again()
        await asyncio.sleep(seconds)
        self._stops = True
        return self._figures(time.perf_counter() - started)

    async def at_rate(self, connections: int, seconds: float, rate: float) -> dict[str, float]:
        """Figures of requests that are due at random instants."""
        loop, gaps = asyncio.get_running_loop(), random.Random(_SEED)
        for _ in range(connections):
            _, caller = await loop.create_connection(lambda: Caller(self._on_rated), "127.0.0.1", self._port)
            self._free.append(caller)
        started = due_at = time.perf_counter()
        while due_at < started + seconds:
            now = time.perf_counter()
            while due_at <= now and due_at < started + seconds:
                self._send_due(due_at)
                due_at += gaps.expovariate(rate)
            await asyncio.sleep(_TICK_S)
        await self._drain(connections, started + seconds + _DRAIN_S)
        self._errors += connections - len(self._free)
        return self._figures(seconds)

    async def _drain(self, connections: int, until: float) -> None:
        while len(self._free) < connections and time.perf_counter() < until:  # noqa: ASYNC110 - the run is over
            await asyncio.sleep(_TICK_S)

    async def _again(self, caller: Caller | None = None) -> None:
        if caller is None:
            loop = asyncio.get_running_loop()
            _, caller = await loop.create_connection(lambda: Caller(self._on_answer), "127.0.0.1", self._port)
        caller.send(self._request(), time.perf_counter())

    def _on_answer(self, caller: Caller, is_good: bool) -> None:  # noqa: FBT001 - the signature that callers call
        self._note(caller, is_good=is_good)
        if self._stops:
            return
        if is_good and not self._closes:
            caller.send(self._request(), time.perf_counter())
            return
        caller.close()
        task = asyncio.get_running_loop().create_task(self._again())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _send_due(self, due_at: float) -> None:
        if self._free:
            self._free.pop().send(self._request(), due_at)
        else:
            self._waiting.append(due_at)

    def _on_rated(self, caller: Caller, is_good: bool) -> None:  # noqa: FBT001 - as above
        self._note(caller, is_good=is_good)
        if self._waiting:
            caller.send(self._request(), self._waiting.popleft())
        else:
            self._free.append(caller)

    def _note(self, caller: Caller, *, is_good: bool) -> None:
        self._taken_us.append((time.perf_counter() - caller.due_at) * 1e6)
        self._errors += not is_good

    def _request(self) -> bytes:
        self._next = (self._next + 1) % len(self._requests)
        return self._requests[self._next]

    def _figures(self, seconds: float) -> dict[str, float]:
        taken = sorted(self._taken_us) or [0.0]
        return {
            "requests": len(self._taken_us),
            "seconds": seconds,
            "p50_us": taken[len(taken) // 2],
            "p99_us": taken[int(len(taken) * 0.99)],
            "errors": self._errors,
        }


async def _run(keys: list[str], words: list[str]) -> dict[str, float]:
    port, path, connections, seconds, rate, end = words
    generator = Generator(int(port), path, keys, closes=end == "close")
    if float(rate):
        return await generator.at_rate(int(connections), float(seconds), float(rate))
    return await generator.at_full_speed(int(connections), float(seconds))


if __name__ == "__main__":
    _port, _path, _keys, *_words = sys.argv[1:]
    print("FIGURES", json.dumps(uvloop.run(_run(Path(_keys).read_text().split(), [_port, _path, *_words]))))
