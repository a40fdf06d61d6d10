"""The connection for scripts, against a server that answers what a test says, when it says so."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING

import hiredis
import pytest
from redis import Redis as BlockingRedis

from gateway.cache import Cache, CacheUnavailable
from gateway.core.account import Account
from gateway.core.charge import Charged, ChargeRequest, QuotaClaim
from tests.fakes.listener import Listener

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

DEADLINE_S = 0.4
FLYING, HELD = 512, 4096
READONLY_7 = b"-READONLY You can't write against a read only replica. script: f00, on @user_script:1.\r\n"
READONLY_6 = b"-ERR Error running script (call to f_f00): @user_script:94: -READONLY You can't write against it\r\n"


class ScriptedServer(Listener):
    """Greets as a server does, and answers script calls with `answers`, in turn; once there are none, with nothing."""

    def __init__(self) -> None:
        super().__init__(self._talk)
        self.answers: deque[bytes] = deque()
        self.integers = b"9007199254740991"
        self.asked: list[bytes] = []
        self.accepted = 0
        self.writer: asyncio.StreamWriter | None = None

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.accepted += 1
        self.writer = writer
        commands = hiredis.Reader()
        while data := await reader.read(1 << 20):
            commands.feed(data)
            while (command := commands.gets()) is not False:
                writer.write(self._answer(command))

    def _answer(self, command: list[bytes]) -> bytes:
        if command[0] == b"EVALSHA":
            self.asked.append(command[1])
            return self.answers.popleft() if self.answers else b""
        if command[0] == b"EVAL":
            return b"$%d\r\n%b\r\n" % (len(self.integers), self.integers)
        return b"+OK\r\n"

    async def got(self, count: int) -> None:
        async with asyncio.timeout(30):
            while len(self.asked) < count:  # noqa: ASYNC110 - it waits for another connection's end
                await asyncio.sleep(0.005)


@pytest.fixture
async def server() -> AsyncIterator[ScriptedServer]:
    async with ScriptedServer() as server:
        yield server


@pytest.fixture
async def calling(server: ScriptedServer) -> AsyncIterator[Cache]:
    cache = await Cache.connect(f"redis://127.0.0.1:{server.port}", deadline_s=DEADLINE_S)
    assert await cache.wait_ready(30)
    yield cache
    await cache.aclose()


def command(name: object = "x") -> bytes:
    return hiredis.pack_command(("EVALSHA", str(name), 0))


async def test_answers_go_to_their_calls_in_order(server: ScriptedServer, calling: Cache) -> None:
    server.answers.extend(b":%d\r\n" % n for n in range(100))
    assert await asyncio.gather(*(calling.settle_packed(command(n)) for n in range(100))) == list(range(100))
    assert calling.round_trips == 1


@pytest.mark.parametrize(
    "answer",
    [b"?what\r\n", READONLY_7, READONLY_6, b"-LOADING the dataset\r\n", b"-NOAUTH Authentication required.\r\n"],
    ids=["no protocol", "replica", "replica of 6.2", "starting", "logged out"],
)
async def test_an_answer_that_shows_the_wrong_server_ends_the_connection(
    server: ScriptedServer, calling: Cache, answer: bytes
) -> None:
    server.answers.extend([answer, b":2\r\n", b":3\r\n"])
    calls = [calling.settle_packed(command(n)) for n in range(2)]
    for call in calls:
        with pytest.raises(CacheUnavailable):
            await call
    assert await calling.wait_ready(30)
    assert await calling.settle_packed(command()) == 3
    assert (server.accepted, len(server.asked)) == (2, 3), "nothing was sent twice"


async def test_an_answer_too_many_ends_the_connection(server: ScriptedServer, calling: Cache) -> None:
    server.answers.extend([b":1\r\n:7\r\n", b":2\r\n"])
    assert await calling.settle_packed(command()) == 1
    await asyncio.sleep(0)
    assert await calling.settle_packed(command()) == 2
    assert server.accepted == 2


async def test_a_late_answer_is_nobody_elses(server: ScriptedServer, calling: Cache) -> None:
    with pytest.raises(CacheUnavailable) as refusal:
        await calling.settle_packed(command())
    assert refusal.value.reason == "no answer in time"
    assert server.writer is not None
    server.writer.write(b":1\r\n")
    server.answers.append(b":2\r\n")
    assert await calling.wait_ready(30)
    assert await calling.settle_packed(command()) == 2


async def test_who_is_refused_is_told_why_and_others_are_not_concerned(server: ScriptedServer, calling: Cache) -> None:
    server.answers.extend([b"-OOM command not allowed\r\n", b":2\r\n"])
    refused, answered = calling.settle_packed(command()), calling.settle_packed(command())
    with pytest.raises(CacheUnavailable) as refusal:
        await refused
    assert refusal.value.reason == "OOM command not allowed"
    assert await answered == 2
    assert server.accepted == 1


async def test_a_script_that_is_forgotten_again_and_again_is_not_sent_forever(
    server: ScriptedServer, calling: Cache
) -> None:
    server.answers.extend([b"-NOSCRIPT No matching script.\r\n"] * 3)
    with pytest.raises(CacheUnavailable):
        await calling.settle_packed(command())
    assert len(server.asked) == 2


async def test_so_many_calls_fly_and_so_many_wait_and_more_are_refused_at_once(
    server: ScriptedServer, calling: Cache, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(calling._servers._lane, "_deadline_s", 30.0)
    calls = [calling.settle_packed(command(n)) for n in range(FLYING + HELD + 10)]
    await server.got(FLYING)
    assert [call.done() for call in calls] == [False] * (FLYING + HELD) + [True] * 10
    with pytest.raises(CacheUnavailable, match="limits"):
        await calls[-1]
    for call in calls[-10:-1]:
        assert call.exception() is not None
    calls[FLYING].cancel()
    server.answers.extend(b":%d\r\n" % n for n in range(FLYING, FLYING + HELD))
    assert server.writer is not None
    server.writer.write(b"".join(b":%d\r\n" % n for n in range(FLYING)))
    answers = await asyncio.gather(*calls[:FLYING], *calls[FLYING + 1 : FLYING + HELD])
    assert answers == list(range(FLYING + HELD - 1))
    assert str(FLYING).encode() not in server.asked, "its caller had gone"


async def test_who_waits_too_long_for_others_is_refused_and_the_connection_goes_on(
    server: ScriptedServer, calling: Cache, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.cache.lane._LEAST_S", 30.0)
    calls = [calling.settle_packed(command(n)) for n in range(FLYING + 1)]
    await server.got(FLYING)
    with pytest.raises(CacheUnavailable) as refusal:
        await calls[-1]
    assert refusal.value.reason == "too many calls were before it"
    assert server.writer is not None
    server.writer.write(b":0\r\n" * FLYING)
    assert await asyncio.gather(*calls[:-1]) == [0] * FLYING
    assert server.accepted == 1


async def test_a_server_that_cannot_count_as_far_as_we_is_refused(server: ScriptedServer) -> None:
    server.integers = b"-2147483648"
    cache = await Cache.connect(f"redis://127.0.0.1:{server.port}", deadline_s=30)
    with pytest.raises(CacheUnavailable) as refusal:
        await cache.settle_packed(command())
    assert "64-bit" in refusal.value.reason
    await cache.aclose()


@pytest.mark.not_on("cluster", because="closes every connection of one server")
async def test_a_connection_that_closed_while_the_loop_stood_still_is_replaced_unnoticed(
    cache: Cache, cache_url: str, customer_id: str
) -> None:
    account = Account(customer_id=customer_id, user_id="u", version=1, created_at=0)
    await cache.publish(account, counters={}, seq_floor=0, expires_s=60)
    claim = QuotaClaim(field="q:m:period", cost=1, limit=9, starts_at=0, ends_at=2**33)
    request = ChargeRequest(customer_id=customer_id, version=1, claims=(claim,))
    assert isinstance(await cache.charge(request), Charged)
    with BlockingRedis.from_url(cache_url) as client:
        client.client_kill_filter(_type="normal", skipme=True)
    answer = await cache.charge(request)
    assert isinstance(answer, Charged)
    assert answer.states[0].remaining == 7
