"""Active checks: a GET to every server of every group that asks for them.

Each check is a short connection of its own: a busy pool fails no server, and what it finds out is
whether a new connection works. A server's checks never overlap, and at most `AT_ONCE` run together.
The time between two of one server varies by a tenth, so that workers do not check in step. The
first check comes at once. A response of 2xx or 3xx, head complete within the time-out, passes.
"""

from __future__ import annotations

import asyncio
import random
import ssl
from functools import partial
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from collections.abc import Iterable

    from gateway.core.upstream_policy import ActiveCheck
    from gateway.upstream.group import Group
    from gateway.upstream.upstream import Upstream

AT_ONCE = 16
_JITTER = 0.1
_SHORTEST_LOOK_S, _LONGEST_LOOK_S = 0.1, 1.0
"""How late a new group may get its first check."""
_MAX_HEAD_BYTES = 65_536
_MAX_INTERIM = 16
_END_OF_HEAD = b"\r\n\r\n"
_FIRST_FINAL, _FIRST_GOOD, _FIRST_BAD = 200, 200, 400


class HealthChecker:
    """The checks of one worker. `gateway.background` keeps `run` running.

    Args:
        groups: The groups in force; asked again at each look, as policy may change them.
    """

    def __init__(self, groups: Iterable[Group]) -> None:
        self._groups = groups
        self._due_at: dict[Upstream, float] = {}
        self._running: dict[Upstream, asyncio.Task[None]] = {}
        self._places = asyncio.Semaphore(AT_ONCE)

    async def run(self) -> None:
        """Check until cancelled."""
        loop = asyncio.get_running_loop()
        try:
            while True:
                now = loop.time()
                self._start_due(now)
                soonest = min(self._due_at.values(), default=now + _LONGEST_LOOK_S)
                await asyncio.sleep(min(max(soonest - now, _SHORTEST_LOOK_S), _LONGEST_LOOK_S))
        finally:
            for task in self._running.values():
                task.cancel()
            await asyncio.gather(*self._running.values(), return_exceptions=True)

    async def run_once(self, now: float) -> None:
        """Check every server that is due, and wait for the results.

        Args:
            now: The event loop's time, or a later one to have servers due.
        """
        self._start_due(now)
        if self._running:
            await asyncio.wait(self._running.values())

    def _start_due(self, now: float) -> None:
        checked = {
            upstream: (group, group.definition.check)
            for group in self._groups
            if group.definition.check is not None
            for upstream in group.upstreams
        }
        self._due_at = {upstream: self._due_at.get(upstream, now) for upstream in checked}
        for upstream, (group, check) in checked.items():
            if self._due_at[upstream] <= now and upstream not in self._running:
                self._due_at[upstream] = now + check.every_s * random.uniform(1 - _JITTER, 1 + _JITTER)  # noqa: S311 - spreads load
                task = asyncio.create_task(self._check(group, upstream, check), name="upstream check")
                self._running[upstream] = task
                task.add_done_callback(partial(self._ended, upstream))

    def _ended(self, upstream: Upstream, _: asyncio.Task[None]) -> None:
        del self._running[upstream]

    async def _check(self, group: Group, upstream: Upstream, check: ActiveCheck) -> None:
        async with self._places:
            reason = await probe(upstream, check)
        group.checked(upstream, reason, asyncio.get_running_loop().time())


async def probe(upstream: Upstream, check: ActiveCheck) -> str | None:
    """Ask one server once; None if it is well, else what is wrong."""
    try:
        async with asyncio.timeout(check.timeout_s):
            status = await _ask(upstream, check.path)
    except TimeoutError:
        return f"no answer within {check.timeout_s:g} s"
    except asyncio.IncompleteReadError:
        return "closed the connection without an answer"
    except ssl.SSLError as error:  # before ValueError: a certificate that does not verify is both
        return f"TLS failed: {error.reason or 'refused'}"
    except OSError as error:
        return f"no connection: {error.strerror or error}"
    except (asyncio.LimitOverrunError, ValueError):
        return "answered something that is not HTTP"
    return None if _FIRST_GOOD <= status < _FIRST_BAD else f"answered {status}"


async def _ask(upstream: Upstream, path: str) -> int:
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader(limit=_MAX_HEAD_BYTES, loop=loop)
    connection = await upstream.dialer.dial(lambda: _Connection(reader, loop=loop))
    try:
        connection.transport.write(
            b"GET %b HTTP/1.1\r\nhost: %b\r\nuser-agent: tiergate-health\r\naccept: */*\r\nconnection: close\r\n\r\n"
            % (path.encode("ascii"), upstream.host)
        )
        for _ in range(_MAX_INTERIM):
            status = _parse_status(await reader.readuntil(_END_OF_HEAD))
            if status >= _FIRST_FINAL:
                return status
    finally:
        connection.transport.abort()
    raise ValueError("interim responses without end")


class _Connection(asyncio.StreamReaderProtocol):
    """Keeps the transport: a check writes once and needs no flow control."""

    transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self.transport = cast("asyncio.Transport", transport)


def _parse_status(head: bytes) -> int:
    """The status in the first line.

    Raises:
        ValueError: It is not that of an HTTP/1 response.
    """
    version, _, rest = head.partition(b"\r\n")[0].partition(b" ")
    digits, _, _ = rest.partition(b" ")
    if version not in {b"HTTP/1.1", b"HTTP/1.0"} or len(digits) != len("200") or not digits.isdigit():
        raise ValueError("not a status line")
    return int(digits)
