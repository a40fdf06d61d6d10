"""Active checks: what is sent, what passes, what a verdict changes, and that they never pile up."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import pytest
import structlog

from gateway.background import Background
from gateway.core.upstream_policy import ActiveCheck, Server, UpstreamGroup, UpstreamTls
from gateway.telemetry import Metrics
from gateway.upstream import Group, GroupOptions, Groups, HealthChecker, UpstreamTimeouts
from gateway.upstream.checking import AT_ONCE, probe
from tests.fakes.authority import Authority
from tests.fakes.raw_upstream import Peer, RawUpstream, Script, answering

OPTIONS = GroupOptions(timeouts=UpstreamTimeouts())
FINE = b"HTTP/1.1 204 Fine\r\n\r\n"
ILL = b"HTTP/1.1 503 Ill\r\nContent-Length: 0\r\n\r\n"


def a_group(*urls: str, name: str = "api", **options: Any) -> UpstreamGroup:
    thresholds = {"path": "/up?deep=1", "every_s": 10.0, "timeout_s": 5.0} | options.pop("check", {})
    servers = tuple(Server(url=url) for url in urls)
    return UpstreamGroup(name=name, servers=servers, check=ActiveCheck(**thresholds), **options)


class Park:
    """Servers and groups that are closed at the end."""

    def __init__(self, stack: AsyncExitStack) -> None:
        self.stack = stack
        self.metrics = Metrics()

    async def server(self, *scripts: Script, **options: Any) -> RawUpstream:
        return await self.stack.enter_async_context(RawUpstream(*scripts, **options))

    def group(self, *urls: str, **options: Any) -> Group:
        group = Group(a_group(*urls, **options), OPTIONS, self.metrics)
        self.stack.push_async_callback(group.aclose)
        return group

    async def probe(self, script: Script, **options: Any) -> str | None:
        group = self.group((await self.server(script)).url, **options)
        return await probe(group.upstreams[0], group.definition.check)

    def healthy(self, url: str) -> float | None:
        return self.metrics.registry.get_sample_value("tiergate_upstream_healthy", {"group": "api", "server": url})


@pytest.fixture
async def park() -> AsyncIterator[Park]:
    before = asyncio.all_tasks()
    async with AsyncExitStack() as stack:
        yield Park(stack)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    left = {task for task in asyncio.all_tasks() - before if task.get_name().startswith("upstream")}
    assert not left, f"tasks left behind: {left}"


async def test_a_check_is_a_plain_get_that_says_who_asks_and_for_nobody(park):
    server = await park.server(answering(FINE))
    group = park.group(server.url + "/prefix", host="api.example.com")
    assert await probe(group.upstreams[0], group.definition.check) is None
    assert server.requests[0].head.split(b"\r\n") == [
        b"GET /up?deep=1 HTTP/1.1",
        b"host: api.example.com",
        b"user-agent: tiergate-health",
        b"accept: */*",
        b"connection: close",
    ]


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n",
        b"HTTP/1.0 200 OK\r\n\r\n",
        b"HTTP/1.1 301 Gone elsewhere\r\nLocation: /x\r\n\r\n",
        b"HTTP/1.1 399\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\n\r\n",
    ],
)
async def test_2xx_and_3xx_pass(park, answer):
    assert await park.probe(answering(answer)) is None


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (ILL, "answered 503"),
        (b"HTTP/1.1 404 No\r\n\r\n", "answered 404"),
        (b"SSH-2.0-x\r\n\r\n", "answered something that is not HTTP"),
        (b"HTTP/2 200\r\n\r\n", "answered something that is not HTTP"),
        (b"HTTP/1.1 2x0 OK\r\n\r\n", "answered something that is not HTTP"),
        (b"HTTP/1.1 2000 OK\r\n\r\n", "answered something that is not HTTP"),
        (b"HTTP/1.1 200 OK\r\nx: " + b"x" * 200_000, "answered something that is not HTTP"),
        (b"HTTP/1.1 100 Continue\r\n\r\n" * 100, "answered something that is not HTTP"),
    ],
)
async def test_everything_else_fails_and_says_why(park, answer, reason):
    assert await park.probe(answering(answer)) == reason


async def test_a_server_that_hangs_up_or_hangs_fails(park):
    async def hangs_up(peer: Peer) -> None:
        await peer.request()

    async def hangs(peer: Peer) -> None:
        await peer.request()
        await peer.send(b"HTTP/1.1 200 OK\r\n")
        await peer.until_closed()

    assert await park.probe(hangs_up) == "closed the connection without an answer"
    assert await park.probe(hangs, check={"timeout_s": 0.1}) == "no answer within 0.1 s"


async def test_a_server_that_is_not_there_fails(park):
    group = park.group("http://127.0.0.1:9")
    reason = await probe(group.upstreams[0], group.definition.check)
    assert reason is not None
    assert reason.startswith("no connection: ")


async def test_checks_speak_tls_as_requests_do(park, tmp_path):
    authority = Authority(tmp_path / "ca")
    server = await park.server(answering(FINE), ssl_context=authority.server_context("internal.example"))
    right = UpstreamTls(ca_file=str(authority.ca_file), server_name="internal.example")
    wrong = UpstreamTls(ca_file=str(authority.ca_file))
    reasons = []
    for tls in (right, wrong):
        group = park.group(server.url, tls=tls)
        reasons.append(await probe(group.upstreams[0], group.definition.check))
    assert reasons == [None, "TLS failed: CERTIFICATE_VERIFY_FAILED"]


async def test_a_busy_pool_does_not_fail_a_check(park):
    server = await park.server(answering(FINE))
    group = park.group(server.url)
    (upstream,) = group.upstreams
    upstream.pool._limits = type(upstream.pool._limits)(
        max_connections=0, connect_s=1, wait_s=0, keepalive_s=0, tick_s=1
    )
    assert await probe(upstream, group.definition.check) is None


async def test_a_server_goes_out_and_comes_back_at_its_thresholds_and_each_is_told_once(park):
    sick = await park.server(answering(ILL), answering(ILL), answering(ILL), answering(FINE))
    well = await park.server(answering(FINE))
    group = park.group(sick.url, well.url, check={"unhealthy_after": 2, "healthy_after": 2})
    checker = HealthChecker([group])
    seen = []
    with structlog.testing.capture_logs() as logs:
        for turn in range(5):
            await checker.run_once(asyncio.get_running_loop().time() + 11.0 * turn)
            seen.append((group.states()[0].is_in, park.healthy(sick.url)))
    assert seen == [(True, 1), (False, 0), (False, 0), (False, 0), (True, 1)]
    assert [line["event"] for line in logs] == ["upstream server is out", "upstream server is back"]
    assert (logs[0]["server"], logs[0]["cause"], logs[0]["reason"]) == (sick.url, "failed checks", "answered 503")
    assert park.healthy(well.url) == 1


async def test_a_server_that_fails_its_checks_gets_no_request_while_another_is_there(park):
    sick, well = await park.server(answering(ILL)), await park.server(answering(FINE))
    group = park.group(sick.url, well.url, check={"unhealthy_after": 1})
    await HealthChecker([group]).run_once(asyncio.get_running_loop().time())
    assert {group.candidates(10.0**9)[0].url for _ in range(4)} == {well.url}


async def test_checks_of_one_server_are_apart_by_their_interval_give_or_take_a_tenth(park):
    server = await park.server(answering(FINE))
    checker = HealthChecker([park.group(server.url, check={"every_s": 10.0})])
    start = asyncio.get_running_loop().time()
    for after_s, expected in ((0, 1), (8.9, 1), (11.1, 2), (20, 2), (22.2, 3)):
        await checker.run_once(start + after_s)
        assert server.accepted == expected


async def test_checks_of_one_server_never_overlap(park):
    asked, answer = asyncio.Event(), asyncio.Event()

    async def slow(peer: Peer) -> None:
        await peer.request()
        asked.set()
        await answer.wait()
        await peer.send(FINE)

    server = await park.server(slow)
    checker = HealthChecker([park.group(server.url, check={"timeout_s": 50.0})])
    first = asyncio.create_task(checker.run_once(asyncio.get_running_loop().time()))
    await asked.wait()
    second = asyncio.create_task(checker.run_once(asyncio.get_running_loop().time() + 1000))
    await asyncio.sleep(0)
    answer.set()
    await asyncio.gather(first, second)
    assert server.accepted == 1


async def test_only_so_many_checks_run_at_once(park):
    full, answer = asyncio.Event(), asyncio.Event()
    running, most = 0, 0

    async def slow(peer: Peer) -> None:
        nonlocal running, most
        await peer.request()
        running += 1
        most = max(most, running)
        if running == AT_ONCE:
            full.set()
        await answer.wait()
        running -= 1
        await peer.send(FINE)

    server = await park.server(slow)
    urls = [f"{server.url}/{number}" for number in range(AT_ONCE * 3)]
    checking = asyncio.create_task(HealthChecker([park.group(*urls)]).run_once(asyncio.get_running_loop().time()))
    await full.wait()
    answer.set()
    await checking
    assert (most, server.accepted) == (AT_ONCE, AT_ONCE * 3)


async def test_groups_without_a_check_are_not_asked(park):
    server = await park.server(answering(FINE))
    group = Group(UpstreamGroup(name="api", servers=(Server(url=server.url),)), OPTIONS)
    await HealthChecker([group]).run_once(asyncio.get_running_loop().time())
    assert server.accepted == 0


async def test_running_checks_follow_the_policy(park):
    first, second = await park.server(answering(FINE)), await park.server(answering(FINE))
    groups = Groups(OPTIONS, (), park.metrics)
    park.stack.push_async_callback(groups.aclose)
    groups.update({"api": a_group(first.url, check={"every_s": 0.05})})
    async with Background(park.metrics) as background:
        background.run("upstream checks", HealthChecker(groups).run)
        while first.accepted < 2:  # noqa: ASYNC110 - a fake server signals nothing
            await asyncio.sleep(0.01)
        groups.update({"api": a_group(second.url, check={"every_s": 0.05})})
        while second.accepted < 2:  # noqa: ASYNC110 - as above
            await asyncio.sleep(0.01)
        asked = first.accepted
        while second.accepted < 4:  # noqa: ASYNC110 - as above
            await asyncio.sleep(0.01)
    assert first.accepted == asked


async def test_ending_the_checks_breaks_off_those_in_progress(park):
    asked, left = asyncio.Event(), asyncio.Event()

    async def hangs(peer: Peer) -> None:
        await peer.request()
        asked.set()
        await peer.until_closed()
        left.set()

    group = park.group((await park.server(hangs)).url, check={"timeout_s": 1000.0})
    async with Background(park.metrics) as background:
        background.run("upstream checks", HealthChecker([group]).run)
        await asked.wait()
    await asyncio.wait_for(left.wait(), 10)
