"""Servers of a cluster that send a call elsewhere: how often, and what is told."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING

import hiredis
import pytest

from gateway.cache import Cache, CacheUnavailable
from gateway.cache.scripts import RELEASE, RENEW
from gateway.cache.slots import SLOTS, read_redirection, read_slots
from gateway.clock import SystemClock
from gateway.live_calls import LiveCalls
from tests.cache.conftest import PATIENT_S
from tests.fakes.listener import Listener

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


class ClusterServer(Listener):
    """Says that it has every slot, greets as a server does, and answers script calls with `answers`, in turn."""

    def __init__(self) -> None:
        super().__init__(self._talk)
        self.answers: deque[bytes] = deque()
        self.asked: list[list[bytes]] = []

    def send_to(self, other: ClusterServer, word: bytes = b"MOVED") -> bytes:
        return b"-%b 1 127.0.0.1:%d\r\n" % (word, other.port)

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        commands = hiredis.Reader()
        while data := await reader.read(1 << 20):
            commands.feed(data)
            while (command := commands.gets()) is not False:
                writer.write(self._answer(command))

    def _answer(self, command: list[bytes]) -> bytes:
        if command[0] == b"CLUSTER":
            return b"*1\r\n*3\r\n:0\r\n:%d\r\n*3\r\n$0\r\n\r\n:%d\r\n$1\r\nx\r\n" % (SLOTS - 1, self.port)
        if command[0] in {b"EVALSHA", b"ASKING"}:
            self.asked.append(command)
            return b"+OK\r\n" if command[0] == b"ASKING" else self.answers.popleft()
        return b"$16\r\n9007199254740991\r\n" if command[0] == b"EVAL" else b"+OK\r\n"


@pytest.fixture
async def servers() -> AsyncIterator[tuple[ClusterServer, ClusterServer]]:
    async with ClusterServer() as first, ClusterServer() as second:
        yield first, second


@pytest.fixture
async def calling(servers: tuple[ClusterServer, ClusterServer]) -> AsyncIterator[Cache]:
    cache = await Cache.connect(f"redis+cluster://127.0.0.1:{servers[0].port}", deadline_s=2.0)
    assert await cache.wait_ready(30)
    yield cache
    await cache.aclose()


COMMAND = hiredis.pack_command(("EVALSHA", "sha", 1, "tg:{c}:use"))


async def test_a_call_that_belongs_elsewhere_is_sent_there_once(
    servers: tuple[ClusterServer, ClusterServer], calling: Cache
) -> None:
    first, second = servers
    first.answers.append(first.send_to(second))
    second.answers.append(b":7\r\n")
    assert await calling.settle_packed(COMMAND) == 7
    assert [len(server.asked) for server in servers] == [1, 1]


async def test_asking_and_its_command_go_together(servers: tuple[ClusterServer, ClusterServer], calling: Cache) -> None:
    first, second = servers
    first.answers += [first.send_to(second, b"ASK"), b":8\r\n"]
    second.answers.append(b":7\r\n")
    assert await calling.settle_packed(COMMAND) == 7
    assert [command[0] for command in second.asked] == [b"ASKING", b"EVALSHA"]
    assert await calling.settle_packed(COMMAND) == 8, "the slot is not there yet"


async def test_servers_that_send_a_call_to_each_other_are_given_up(
    servers: tuple[ClusterServer, ClusterServer], calling: Cache
) -> None:
    first, second = servers
    first.answers += [first.send_to(second)] * 9
    second.answers += [second.send_to(first)] * 9
    with pytest.raises(CacheUnavailable) as refusal:
        await calling.settle_packed(COMMAND)
    assert refusal.value.reason.startswith("MOVED")
    assert sum(len(server.asked) for server in servers) == 5


@pytest.mark.parametrize("word", [b"TRYAGAIN Multiple keys request during rehashing of slot", b"CLUSTERDOWN Hash slot"])
async def test_what_passes_is_waited_for(
    servers: tuple[ClusterServer, ClusterServer], calling: Cache, word: bytes
) -> None:
    servers[0].answers += [b"-%b\r\n" % word] * 3 + [b":7\r\n"]
    assert await calling.settle_packed(COMMAND) == 7


class MovingServer(ClusterServer):
    """Puts off renewals until a release has come: the slot moves meanwhile."""

    def _answer(self, command: list[bytes]) -> bytes:
        if command[0] == b"EVALSHA" and not (self._was_asked(RELEASE.sha) or command[1] == RELEASE.sha):
            self.answers.append(b"-TRYAGAIN\r\n")
        elif command[0] == b"EVALSHA":
            self.answers.append(b":1\r\n")
        return super()._answer(command)

    def _was_asked(self, sha: bytes) -> bool:
        return any(command[1] == sha for command in self.asked)


async def test_a_place_that_was_given_back_is_not_held_by_a_renewal_that_is_sent_again() -> None:
    async with MovingServer() as server:
        cache = await Cache.connect(f"redis+cluster://127.0.0.1:{server.port}", deadline_s=PATIENT_S)
        assert await cache.wait_ready(PATIENT_S)
        live = LiveCalls(cache, SystemClock())
        live.begin("dec_1", "c", ("live",))
        await live.renew()
        renewing = asyncio.create_task(live.renew())
        while not server.asked:  # noqa: ASYNC110 - it waits for another connection's end
            await asyncio.sleep(0.001)
        live.end("dec_1")
        await renewing
        renewed_last = max(place for place, command in enumerate(server.asked) if command[1] == RENEW.sha)
        async with asyncio.timeout(PATIENT_S):
            while len(server.asked) == renewed_last + 1:  # noqa: ASYNC110 - as above
                await asyncio.sleep(0.001)
        assert server.asked[-1][1] == RELEASE.sha
        await cache.aclose()


async def test_what_does_not_pass_is_told_by_the_deadline(
    servers: tuple[ClusterServer, ClusterServer],
) -> None:
    servers[0].answers += [b"-TRYAGAIN\r\n"] * 999
    cache = await Cache.connect(f"redis+cluster://127.0.0.1:{servers[0].port}", deadline_s=1.0)
    assert await cache.wait_ready(30)
    with pytest.raises(CacheUnavailable) as refusal:
        await cache.settle_packed(COMMAND)
    assert refusal.value.reason == "TRYAGAIN"
    await cache.aclose()


async def test_a_call_whose_caller_has_gone_is_not_asked_for(
    servers: tuple[ClusterServer, ClusterServer], calling: Cache
) -> None:
    first, second = servers
    first.answers.append(b"-TRYAGAIN\r\n")
    call = calling.settle_packed(COMMAND)
    while not first.asked:  # noqa: ASYNC110 - it waits for another connection's end
        await asyncio.sleep(0.001)
    call.cancel()
    await asyncio.sleep(0.1)
    assert (len(first.asked), second.asked) == (1, [])


def test_a_server_that_does_not_know_its_name_is_where_it_was_found() -> None:
    asked = ("10.0.0.1", 6379)
    [span] = read_slots([[0, 5, [b"", 6380, b"id"], [b"10.0.0.2", 6379, b"id", []]]], asked)
    assert (span.master, span.replicas) == (("10.0.0.1", 6380), (("10.0.0.2", 6379),))
    redirection = read_redirection("MOVED 7 :6381", asked)
    assert redirection is not None
    assert redirection.host == ("10.0.0.1", 6381)
    redirection = read_redirection("MOVED 7 ?:6381", asked)
    assert redirection is not None
    assert redirection.host == ("10.0.0.1", 6381)
    redirection = read_redirection("ASK 7 fe80::1:6381", asked)
    assert redirection is not None
    assert (redirection.host, redirection.is_asking) == (("fe80::1", 6381), True)


@pytest.mark.parametrize("reply", [[], b"OK", [[0, 5]], [[0, 5, None]]], ids=["none", "text", "no master", "nobody"])
def test_what_is_no_map_of_slots_is_refused(reply: object) -> None:
    with pytest.raises(ValueError, match=r"slots|SLOTS"):
        read_slots(reply, ("h", 1))  # type: ignore[arg-type]
