"""Several servers that answer alike: who is asked, who is left alone, and what a policy edit changes."""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
import structlog

from gateway.core.errors import BodyTooLarge, UpstreamBusy, UpstreamInvalid, UpstreamTimeout, UpstreamUnreachable
from gateway.core.upstream_policy import Ejection, Server, UpstreamGroup, UpstreamTls
from gateway.telemetry import Metrics
from gateway.upstream import AsgiCaller as GatewayCaller
from gateway.upstream import (
    ClientFaulty,
    ClientLeft,
    Exchange,
    ExchangeBroken,
    ExchangeRequest,
    Group,
    GroupOptions,
    Groups,
    Outcome,
    Upstream,
    UpstreamTimeouts,
    verdict,
)
from gateway.upstream.errors import DiedUnanswered, NotConnected
from tests.fakes.alone import relayed
from tests.fakes.asgi_caller import AsgiCaller
from tests.fakes.authority import Authority
from tests.fakes.raw_upstream import Peer, RawUpstream, Script, answering

OPTIONS = GroupOptions(timeouts=UpstreamTimeouts(connect_s=30, first_byte_s=30, idle_s=30, pool_wait_s=30))
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
WRONG = b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n"
FAILING = b"HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n"
REFUSES = "http://127.0.0.1:9"


def now() -> float:
    return asyncio.get_running_loop().time()


def a_group(*urls: str, **options: Any) -> UpstreamGroup:
    name = options.pop("name", "api")
    return UpstreamGroup(name=name, servers=tuple(Server(url=url) for url in urls), **options)


async def relay(upstream: Upstream, caller: AsgiCaller) -> Outcome:
    request = ExchangeRequest(method="GET", target=b"/", lines=[])
    return await relayed(upstream, request, caller.receive, caller.send, max_body=100)


async def ask(group: Group, body: bytes = b"") -> bytes:
    caller = AsgiCaller(body)
    request = ExchangeRequest(method="POST" if body else "GET", target=b"/", lines=[], body_framing=len(body) or None)
    exchange = Exchange(request, on_start=lambda head: head.lines, max_body=100)
    await exchange.run(GatewayCaller(caller.receive, caller.send), group)
    return caller.body


class Park:
    """Servers and groups that are closed at the end."""

    def __init__(self, stack: AsyncExitStack, directory: Path) -> None:
        self.stack = stack
        self.metrics = Metrics()
        self.authority = Authority(directory / "ca")

    async def server(self, *scripts: Script, **options: Any) -> RawUpstream:
        return await self.stack.enter_async_context(RawUpstream(*(scripts or (answering(OK),)), **options))

    def group(self, *urls: str, **options: Any) -> Group:
        group = Group(a_group(*urls, **options), OPTIONS, self.metrics)
        self.stack.push_async_callback(group.aclose)
        return group

    def groups(self, *default_urls: str) -> Groups:
        groups = Groups(OPTIONS, default_urls, self.metrics)
        self.stack.push_async_callback(groups.aclose)
        return groups

    def healthy(self, group: str, url: str) -> float | None:
        return self.metrics.registry.get_sample_value("tiergate_upstream_healthy", {"group": group, "server": url})


@pytest.fixture
async def park(tmp_path: Path) -> AsyncIterator[Park]:
    before = asyncio.all_tasks()
    async with AsyncExitStack() as stack:
        yield Park(stack, tmp_path)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    left = {task for task in asyncio.all_tasks() - before if task.get_name().startswith("upstream")}
    assert not left, f"tasks left behind: {left}"


async def test_servers_get_requests_by_their_weights(park):
    one, other = await park.server(), await park.server()
    servers = (Server(url=one.url, weight=3), Server(url=other.url))
    group = Group(UpstreamGroup(name="api", servers=servers), OPTIONS)
    park.stack.push_async_callback(group.aclose)
    for _ in range(8):
        await ask(group)
    assert (len(one.requests), len(other.requests)) == (6, 2)


async def test_one_server_has_the_same_candidates_each_time(park):
    group = park.group((await park.server()).url)
    assert group.candidates(1.0) is group.candidates(2.0)
    assert await ask(group) == b"ok"


async def test_the_least_loaded_is_the_one_with_the_fewest_requests_in_progress(park):
    holding, done = asyncio.Event(), asyncio.Event()

    async def slow(peer: Peer) -> None:
        await peer.request()
        holding.set()
        await done.wait()
        await peer.send(OK)
        await peer.until_closed()

    busy, free = await park.server(slow), await park.server()
    group = park.group(busy.url, free.url, balance="least-loaded")
    held = asyncio.create_task(ask(group))
    await holding.wait()
    for _ in range(5):
        await ask(group)
    done.set()
    await held
    assert (len(busy.requests), len(free.requests)) == (1, 5)
    assert [upstream.load for upstream in group.upstreams] == [0, 0]


async def test_requests_that_wait_for_a_connection_count_as_load(park):
    holding, done = asyncio.Event(), asyncio.Event()

    async def slow(peer: Peer) -> None:
        await peer.request()
        holding.set()
        await done.wait()
        await peer.send(OK)
        await answering(OK)(peer)

    server = await park.server(slow)
    upstream = Upstream(server.url, timeouts=OPTIONS.timeouts, max_connections=1)
    park.stack.push_async_callback(upstream.aclose)
    asking = [asyncio.create_task(relay(upstream, AsgiCaller())) for _ in range(3)]
    await holding.wait()
    assert upstream.load == 3
    asking[2].cancel()
    await asyncio.gather(asking[2], return_exceptions=True)
    done.set()
    await asyncio.gather(*asking[:2])
    assert upstream.load == 0


async def test_a_server_that_refuses_costs_no_request_and_is_left_alone_after_three(park):
    server = await park.server()
    group = park.group(REFUSES, server.url)
    for _ in range(20):
        assert await ask(group) == b"ok"
    dead, alive = group.stats
    assert (dead.opened, alive.opened) == (0, 1)
    failures = dead.connect_failures
    assert [state.is_in for state in group.states()] == [False, True]
    assert group.states()[0].failures == 3
    for _ in range(20):
        assert await ask(group) == b"ok"
    assert group.stats[0].connect_failures == failures


async def test_a_body_goes_to_the_next_server_as_long_as_nothing_was_sent(park):
    server = await park.server()
    group = park.group(REFUSES, server.url)
    for _ in range(2):
        assert await ask(group, b"body") == b"ok"
    assert [request.body for request in server.requests] == [b"body", b"body"]


async def test_a_request_that_was_sent_goes_to_no_other_server(park):
    async def hangs_up(peer: Peer) -> None:
        await peer.request()

    dying, well = await park.server(hangs_up), await park.server()
    group = park.group(dying.url, well.url)
    with pytest.raises(DiedUnanswered):
        await ask(group)
    assert (len(dying.requests), len(well.requests)) == (1, 0)


async def test_a_server_without_a_free_connection_is_passed_over(park):
    holding, done = asyncio.Event(), asyncio.Event()

    async def slow(peer: Peer) -> None:
        await peer.request()
        holding.set()
        await done.wait()
        await answering(OK)(peer)

    busy, free = await park.server(slow), await park.server()
    options = GroupOptions(timeouts=UpstreamTimeouts(pool_wait_s=0.05), max_connections=1)
    group = Group(a_group(busy.url, free.url), options)
    park.stack.push_async_callback(group.aclose)
    held = asyncio.create_task(ask(group))
    await holding.wait()
    for _ in range(4):
        assert await ask(group) == b"ok"
    assert [state.failures for state in group.states()] == [0, 0]
    held.cancel()
    await asyncio.gather(held, return_exceptions=True)


async def test_a_change_is_logged_once_and_shown_by_the_gauge(park):
    back = RawUpstream(answering(OK))
    await back.open()
    await back.close()
    group = park.group(back.url, (await park.server()).url, ejection=Ejection(failures=2, for_s=0.05))
    assert park.healthy("api", back.url) == 1
    with structlog.testing.capture_logs() as logs:
        while park.healthy("api", back.url):
            await ask(group)
        await ask(group)
        out = list(logs)
        async with back:
            while not park.healthy("api", back.url):
                await ask(group)
            await ask(group)
    assert [(line["event"], line["server"], line["log_level"]) for line in out] == [
        ("upstream server is out", back.url, "warning")
    ]
    assert (out[0]["group"], out[0]["cause"], out[0]["others"]) == ("api", "failed requests", 1)
    assert out[0]["reason"].startswith("The upstream does not accept connections. (ConnectionRefusedError: ")
    assert [line["event"] for line in logs[1:]] == ["upstream server is back"]


async def test_the_only_server_is_never_left_alone_and_its_failing_is_told(park):
    server = RawUpstream(answering(OK))
    await server.open()
    await server.close()
    group = park.group(server.url)
    for _ in range(5):
        with pytest.raises(UpstreamUnreachable):
            await ask(group)
    assert park.healthy("api", server.url) == 0
    async with server:
        assert await ask(group) == b"ok"
    assert park.healthy("api", server.url) == 1


async def test_when_all_are_out_all_are_tried(park):
    server = RawUpstream(answering(OK))
    await server.open()
    await server.close()
    group = park.group(REFUSES, server.url, ejection=Ejection(failures=1, for_s=1000))
    with pytest.raises(UpstreamUnreachable):
        await ask(group)
    assert [state.is_in for state in group.states()] == [False, False]
    async with server:
        assert [await ask(group) for _ in range(4)] == [b"ok"] * 4
    assert [state.is_in for state in group.states()] == [False, True]


@pytest.mark.parametrize(
    ("script", "error"),
    [
        pytest.param(answering(WRONG), UpstreamInvalid, id="invalid"),
        pytest.param(answering(b"SSH-2.0-x\r\n\r\n"), UpstreamInvalid, id="another-protocol"),
    ],
)
async def test_answers_that_are_no_http_take_a_server_out(park, script, error):
    group = park.group((await park.server(script)).url)
    for _ in range(3):
        with pytest.raises(error):
            await ask(group)
    assert not group.states()[0].is_in


async def test_connections_that_die_unanswered_take_a_server_out(park):
    async def hangs_up(peer: Peer) -> None:
        await peer.request()

    group = park.group((await park.server(hangs_up)).url)
    for _ in range(3):
        with pytest.raises(DiedUnanswered):
            await ask(group)
    assert not group.states()[0].is_in


async def test_no_first_byte_in_time_takes_a_server_out(park):
    async def silent(peer: Peer) -> None:
        await peer.request()
        await peer.until_closed()

    options = GroupOptions(timeouts=UpstreamTimeouts(first_byte_s=0.1))
    group = Group(a_group((await park.server(silent)).url), options)
    park.stack.push_async_callback(group.aclose)
    for _ in range(3):
        with pytest.raises(UpstreamTimeout):
            await ask(group)
    assert not group.states()[0].is_in


async def test_an_answer_of_5xx_is_an_answer(park):
    group = park.group((await park.server(answering(FAILING))).url)
    for _ in range(10):
        await ask(group)
    assert group.states()[0].is_in


def broken(ended: Any) -> ExchangeBroken:
    return ExchangeBroken("x", Outcome(status=200, response_bytes=1, request_bytes=0, ended=ended))


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (None, True),
        (NotConnected("x"), False),
        (DiedUnanswered("x"), False),
        (UpstreamTimeout("x"), False),
        (UpstreamInvalid("x"), False),
        (broken("upstream-broke"), False),
        (broken("timeout"), True),
        (broken("client-left"), True),
        (UpstreamBusy("x"), None),
        (UpstreamUnreachable("The gateway is shutting down."), None),
        (ClientLeft(), None),
        (ClientFaulty("x"), None),
        (BodyTooLarge("x"), None),
        (asyncio.CancelledError(), None),
        (OSError(), None),
    ],
    ids=repr,
)
def test_only_what_the_server_did_speaks_against_it(error, expected):
    assert verdict(error) is expected


async def test_a_full_pool_and_a_caller_that_leaves_take_no_server_out(park):
    group = park.group((await park.server()).url, ejection=Ejection(failures=1))
    (upstream,) = group.upstreams
    for error in (UpstreamBusy("x"), ClientLeft()):
        group.report(upstream, error, began_at=now(), now=now())
    assert group.states()[0].is_in


# Host and TLS.


@pytest.mark.parametrize(("host", "sent"), [(None, "localhost:{port}"), ("api.example.com", "api.example.com")])
async def test_the_host_field_is_the_servers_own_or_the_one_in_policy(park, host, sent):
    server = await park.server()
    await ask(park.group(server.url, host=host))
    assert server.requests[0].field(b"host") == sent.format(port=server.port).encode()


async def test_the_callers_host_is_preserved_where_policy_says_so(park):
    group = park.group((await park.server()).url, host="preserve")
    assert group.preserves_host
    assert group.upstreams[0].host != b"preserve"
    assert not park.group(REFUSES).preserves_host


async def test_a_group_trusts_its_own_authority_and_shows_its_certificate(park):
    server = await park.server(ssl_context=park.authority.server_context("localhost", demands_client=True))
    certificate, key = park.authority.issue("gateway", client=True)
    tls = UpstreamTls(ca_file=str(park.authority.ca_file), certificate_file=str(certificate), key_file=str(key))
    group = park.group(server.url, tls=tls)
    assert await ask(group) == b"ok"
    assert await ask(group) == b"ok"


async def test_without_the_certificate_that_a_server_demands_nothing_is_answered(park):
    server = await park.server(ssl_context=park.authority.server_context("localhost", demands_client=True))
    group = park.group(server.url, tls=UpstreamTls(ca_file=str(park.authority.ca_file)))
    for _ in range(3):
        with pytest.raises(UpstreamUnreachable):
            await ask(group)
    assert server.requests == []
    assert not group.states()[0].is_in


async def test_a_server_with_another_authoritys_certificate_is_refused(park, tmp_path):
    stranger = Authority(tmp_path / "other")
    server = await park.server(ssl_context=park.authority.server_context("localhost"))
    for tls in (UpstreamTls(ca_file=str(stranger.ca_file)), None):
        with pytest.raises(UpstreamUnreachable):
            await ask(park.group(server.url, tls=tls))
    assert server.requests == []


async def test_the_name_in_policy_is_asked_for_and_verified(park):
    seen: list[str | None] = []
    context = park.authority.server_context("internal.example")
    context.sni_callback = lambda _sock, name, _context: seen.append(name)
    server = await park.server(ssl_context=context)
    ca_file = str(park.authority.ca_file)
    with pytest.raises(UpstreamUnreachable):
        await ask(park.group(server.url, tls=UpstreamTls(ca_file=ca_file)))
    tls = UpstreamTls(ca_file=ca_file, server_name="internal.example")
    assert await ask(park.group(server.url, tls=tls)) == b"ok"
    assert seen[-1] == "internal.example"
    assert server.requests[0].field(b"host") == b"localhost:%d" % server.port


# Age.


async def test_a_connection_that_is_too_old_is_not_used_again(park):
    server = await park.server()
    group = park.group(server.url, max_age_s=1000.0)
    await ask(group)
    await ask(group)
    assert server.accepted == 1
    opened_at = group.upstreams[0].pool._connections
    (connection,) = opened_at
    opened_at[connection] -= 1000.0
    await ask(group)
    assert server.accepted == 2


async def test_a_connection_that_is_never_idle_is_given_up_at_its_age_too(park):
    server = await park.server()
    options = GroupOptions(timeouts=OPTIONS.timeouts, max_connections=1)
    group = Group(a_group(server.url, max_age_s=0.1), options)
    park.stack.push_async_callback(group.aclose)

    async def keep_asking() -> None:
        while server.accepted < 3:
            await ask(group)

    await asyncio.wait_for(asyncio.gather(*(keep_asking() for _ in range(4))), 20)


async def test_an_idle_connection_is_closed_at_its_age(park):
    group = park.group((await park.server()).url, max_age_s=0.1)
    await ask(group)
    while group.stats[0].open_connections:  # noqa: ASYNC110 - looks at the pool's own figures, which signal nothing
        await asyncio.sleep(0.01)
    assert group.stats[0].expired == 1


# Policy edits.


async def test_the_settings_servers_are_the_default_group_unless_policy_has_one(park):
    groups = park.groups("http://settings.test")
    groups.update({})
    assert groups.find("default").upstreams[0].url == "http://settings.test"
    groups.update({"default": a_group("http://policy.test", name="default")})
    assert groups.find("default").upstreams[0].url == "http://policy.test"
    groups.update({})
    assert groups.find("default").upstreams[0].url == "http://settings.test"
    assert groups.find("nobody") is None


async def test_a_group_that_did_not_change_keeps_its_connections_and_health(park):
    server = await park.server()
    groups = park.groups()
    groups.update({"api": a_group(REFUSES, server.url), "old": a_group(REFUSES, name="old")})
    group = groups.find("api")
    for _ in range(8):
        await ask(group)
    groups.update({"api": a_group(REFUSES, server.url), "new": a_group(REFUSES, name="new")})
    assert groups.find("api") is group
    assert {each.name for each in groups} == {"api", "new"}
    assert not group.states()[0].is_in
    await ask(group)
    assert server.accepted == 1


async def test_the_same_policy_costs_no_look(park):
    groups = park.groups()
    definitions = {"api": a_group(REFUSES)}
    groups.update(definitions)
    definitions["more"] = a_group(REFUSES, name="more")
    groups.update(definitions)
    assert groups.find("more") is None


async def test_a_changed_group_finishes_what_is_in_progress_and_then_closes(park):
    begun, done = asyncio.Event(), asyncio.Event()

    async def streams(peer: Peer) -> None:
        await peer.request()
        await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nha")
        begun.set()
        await done.wait()
        await peer.send(b"lf")
        await peer.until_closed()

    old, new = await park.server(answering(OK), streams), await park.server()
    groups = park.groups()
    groups.update({"api": a_group(old.url)})
    before = groups.find("api")
    await ask(before)
    (upstream,) = before.upstreams
    idle = upstream.pool.take_idle()
    streaming = asyncio.create_task(ask(before))
    await begun.wait()
    upstream.pool._keep(idle, 30.0)
    assert (upstream.stats.open_connections, upstream.stats.idle_connections) == (2, 1)
    groups.update({"api": a_group(new.url)})
    assert groups.retiring == 1
    assert await ask(groups.find("api")) == b"ok"
    while upstream.stats.open_connections > 1:  # noqa: ASYNC110 - looks at the pool's own figures, which signal nothing
        await asyncio.sleep(0.01)
    assert not streaming.done()
    done.set()
    assert await streaming == b"half"
    while groups.retiring:  # noqa: ASYNC110 - as above
        await asyncio.sleep(0.01)
    assert upstream.stats.open_connections == 0


async def test_a_request_that_chose_a_group_before_it_went_is_still_served(park):
    server = await park.server()
    groups = park.groups()
    groups.update({"api": a_group(server.url)})
    (upstream,) = groups.find("api").candidates(now())
    groups.update({})
    while groups.retiring:  # noqa: ASYNC110 - looks at the groups' own figures, which signal nothing
        await asyncio.sleep(0.01)
    caller = AsgiCaller()
    await relay(upstream, caller)
    assert caller.body == b"ok"
    while upstream.stats.open_connections:  # noqa: ASYNC110 - as above
        await asyncio.sleep(0.01)


async def test_a_request_that_was_decided_before_its_group_went_still_finds_it(park):
    groups = park.groups()
    groups.update({"api": a_group((await park.server()).url)})
    groups.update({"other": a_group(REFUSES, name="other")})
    await asyncio.sleep(0)
    assert await ask(groups.find("api")) == b"ok"
    while groups.retiring:  # noqa: ASYNC110 - looks at the groups' own figures, which signal nothing
        await asyncio.sleep(0.01)
    assert groups.find("api") is None


async def test_closing_breaks_off_what_a_retired_group_still_does(park):
    begun = asyncio.Event()

    async def hangs(peer: Peer) -> None:
        await peer.request()
        begun.set()
        await peer.until_closed()

    groups = park.groups()
    groups.update({"api": a_group((await park.server(hangs)).url)})
    asking = asyncio.create_task(ask(groups.find("api")))
    await begun.wait()
    groups.update({})
    await asyncio.sleep(0)
    await groups.aclose()
    with pytest.raises(UpstreamUnreachable):
        await asking


async def test_a_group_that_cannot_be_opened_leaves_the_one_before_it(park, tmp_path):
    groups = park.groups()
    groups.update({"api": a_group(REFUSES)})
    group = groups.find("api")
    bad = UpstreamTls(ca_file=str(tmp_path / "missing.pem"))
    with structlog.testing.capture_logs() as logs:
        groups.update({"api": a_group("https://localhost", tls=bad), "new": a_group("https://x", name="new", tls=bad)})
        groups.renew()
    assert groups.find("api") is group
    assert groups.find("new") is None
    assert set(groups.faults) == {"api", "new"}
    assert [(line["event"], line["group"], line["keeps_old"]) for line in logs] == [
        ("upstream group cannot be opened", "api", True),
        ("upstream group cannot be opened", "new", False),
    ]
    groups.update({"api": a_group(REFUSES)})
    assert groups.find("api") is group
    assert groups.faults == {}


async def test_a_certificate_that_was_renewed_on_disk_is_taken_up(park):
    demanding = await park.server(ssl_context=park.authority.server_context("localhost", demands_client=True))
    files = park.authority.issue("gateway", client=True)
    tls = UpstreamTls(ca_file=str(park.authority.ca_file), certificate_file=str(files[0]), key_file=str(files[1]))
    groups = park.groups()
    groups.update({"api": a_group(demanding.url, tls=tls)})
    group = groups.find("api")
    groups.renew()
    assert groups.find("api") is group
    park.authority.issue("gateway", client=True)
    os.utime(files[0], (1, 1))
    groups.renew()
    assert groups.find("api") is not group
    assert await ask(groups.find("api")) == b"ok"


async def test_the_gauge_forgets_servers_that_policy_no_longer_has(park):
    groups = park.groups()
    groups.update({"api": a_group(REFUSES, "http://one.test")})
    groups.update({"api": a_group("http://one.test", "http://two.test")})
    assert park.healthy("api", REFUSES) is None
    assert park.healthy("api", "http://one.test") == park.healthy("api", "http://two.test") == 1


async def test_all_servers_are_named_once_in_each_order(park):
    group = park.group(*(f"http://{name}.test" for name in "abc"))
    firsts = Counter(group.candidates(1.0)[0].url for _ in range(9))
    assert set(firsts.values()) == {3}
    assert set(group.candidates(1.0)) == set(group.upstreams)
