"""A cluster that is spoken to over TLS: real servers behind lines that speak it, as hosted ones are."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import tempfile
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from gateway.cache import Cache, CacheUnavailable
from gateway.cache.inspection import inspect_cluster
from gateway.cache.trouble import explain_trouble
from gateway.cli.deployment_checks import judge_cluster
from gateway.core.cache_url import parse_cache_url
from tests.fakes.authority import Authority
from tests.fakes.caller import Caller
from tests.fakes.cluster_line import ClusterLine
from tests.fakes.listener import Listener
from tests.fakes.port_server import until
from tests.fakes.refusal import why_refused
from tests.fakes.valkey_cluster import ValkeyCluster, ask

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

pytestmark = [
    pytest.mark.slow,
]

PATIENT_S = 30.0
USER, PASSWORD = "walker", "p@ss/w0rd"
LOGIN = "walker:p%40ss%2Fw0rd@"

Run = tuple[ValkeyCluster, "Callable[[Any], Any]"]


@pytest.fixture(scope="module")
def running() -> Iterator[Run]:
    with tempfile.TemporaryDirectory(prefix="tg") as folder, ValkeyCluster.running(Path(folder)) as (cluster, do):
        for master in cluster.masters:
            do(ask(master, "ACL", "SETUSER", USER, "on", f">{PASSWORD}", "~*", "&*", "+@all"))
        yield cluster, do


@pytest.fixture
def cluster(running: Run) -> Iterator[ValkeyCluster]:
    """Its servers are told of by their addresses, unless a test has `announce`d something else."""
    cluster, do = running
    yield cluster
    do(announced(cluster, "ip", "", "127.0.0.1"))


@pytest.fixture
def announce(running: Run) -> Callable[[str, str, str], None]:
    cluster, do = running
    return lambda kind, name, told: do(announced(cluster, kind, name, told))


async def announced(cluster: ValkeyCluster, kind: str, name: str, told: str) -> None:
    """Tell of every server by its address (`ip`), its name (`hostname`) or not at all, and wait until all do."""

    async def all_say_so() -> bool:
        answers = [await ask(master, "CLUSTER", "SLOTS") for master in cluster.masters]
        return {node[0] or "" for answer in answers for _, _, *nodes in answer for node in nodes} == {told}

    for master in cluster.masters:
        await ask(master, "CONFIG", "SET", "cluster-preferred-endpoint-type", kind, "cluster-announce-hostname", name)
    await until(all_say_so)


class Door:
    """The lines, their certificate, and which names were asked for."""

    def __init__(self, cluster: ValkeyCluster, directory: Path, *, host: str, certified: str) -> None:
        self.authority = Authority(directory / certified)
        self.asked_for: Counter[str | None] = Counter()
        context = self.authority.server_context(certified)
        context.sni_callback = self._note
        self.line = ClusterLine(cluster.ports, context, host)

    @property
    def url(self) -> str:
        """With a user, and with the authority."""
        return f"{self.url_without_authority}?ssl_ca_certs={self.authority.ca_file}"

    @property
    def url_without_authority(self) -> str:
        return self.line.url.replace("://", f"://{LOGIN}")

    def _note(self, _: ssl.SSLObject, name: str | None, __: ssl.SSLContext) -> None:
        self.asked_for[name] += 1


@contextlib.asynccontextmanager
async def door(
    cluster: ValkeyCluster, directory: Path, *, host: str = "127.0.0.1", certified: str = ""
) -> AsyncIterator[Door]:
    made = Door(cluster, directory, host=host, certified=certified or host)
    async with made.line:
        yield made


@contextlib.asynccontextmanager
async def connected(url: str, *, within_s: float = 20) -> AsyncIterator[Cache]:
    cache = await Cache.connect(url, deadline_s=PATIENT_S)
    try:
        assert await cache.wait_ready(within_s)
        yield cache
    finally:
        await cache.aclose()


async def callers_everywhere(cluster: ValkeyCluster, running: Run, cache: Cache, name: str) -> list[Caller]:
    """One customer at each master, published."""
    found: dict[int, Caller] = {}
    number = 0
    while len(found) < len(cluster.masters):
        tag, number = f"{name}-{number}", number + 1
        owner = await elsewhere(running, cluster.owner(tag))
        if owner.port not in found:
            found[owner.port] = Caller(cache, tag, 1000)
            await found[owner.port].publish()
    return [found[master.port] for master in cluster.masters]


async def elsewhere(running: Run, work: Any) -> Any:
    """Have the cluster's own loop do something."""
    return await asyncio.to_thread(running[1], work)


async def doctor_says(url: str) -> str:
    try:
        report = await inspect_cluster(parse_cache_url(url))
    except CacheUnavailable as error:
        return f"{error} {explain_trouble(error.reason).what} {explain_trouble(error.reason).fix}"
    return "\n".join(f"{finding.what} {finding.fix}" for finding in judge_cluster(report))


async def test_everything_a_gateway_does_with_a_cluster_goes_over_tls(
    running: Run, cluster: ValkeyCluster, tmp_path: Path
) -> None:
    heard: list[str] = []
    async with door(cluster, tmp_path) as secure, connected(secure.url) as cache:
        callers = await callers_everywhere(cluster, running, cache, "all")
        informed = asyncio.Event()
        news = asyncio.create_task(cache.news(heard.append, lambda well: informed.set() if well else None).run())
        await asyncio.wait_for(informed.wait(), PATIENT_S)
        before = cache.round_trips
        for caller in callers:
            assert await caller.call()
            assert caller.charged == 1
        assert cache.round_trips == before + len(callers)
        ids = {caller.account.customer_id for caller in callers}
        assert {reading.customer_id for reading in await cache.read_usages(sorted(ids))} == ids
        assert {reading.customer_id async for reading in cache.scan_usage()} >= ids
        for caller in callers:
            await cache.publish(caller.account, counters={}, seq_floor=0)
        for _ in range(500):
            if set(heard) >= ids:
                break
            await cache.publish(callers[0].account, counters={}, seq_floor=0)
            await asyncio.sleep(0.02)
        news.cancel()
        await asyncio.gather(news, return_exceptions=True)
        assert await cache.try_write(everywhere=True) > 0
        assert secure.line.accepted > 2 * len(cluster.masters)
        found = await doctor_says(secure.url)
    assert "a cluster of 3 masters; 3 of the 3 servers in the URL answer" in found
    assert "do not answer" not in found


async def test_user_and_password_are_told_to_every_server(running: Run, cluster: ValkeyCluster, tmp_path: Path) -> None:
    async with door(cluster, tmp_path) as secure:
        one = secure.url.replace(secure.line.url.partition("://")[2], secure.line.url.partition("://")[2].split(",")[0])
        async with connected(one) as cache:
            for caller in await callers_everywhere(cluster, running, cache, "user"):
                assert await caller.call()
            for master in cluster.masters:
                clients = await elsewhere(running, master.client.client_list())
                ours = [client for client in clients if client["name"] == "tiergate"]
                assert {client["user"] for client in ours} == {USER}


async def test_keys_and_slots_that_move_are_followed_over_tls(
    running: Run, cluster: ValkeyCluster, tmp_path: Path
) -> None:
    async with door(cluster, tmp_path) as secure, connected(secure.url) as cache:
        await moved_and_followed(running, cluster, cache, "moved")


async def charge(caller: Caller) -> None:
    """Once. Another server's history is not believed: where the customer has moved to, he is published again."""
    goal = caller.charged + 1
    assert await caller.call()
    if caller.charged < goal:
        assert await caller.call()
    assert caller.charged == goal


async def moved_and_followed(running: Run, cluster: ValkeyCluster, cache: Cache, name: str) -> None:
    """One customer's slot moves to another master; charges and readings follow with `ASK`, then with `MOVED`."""
    source, target = cluster.masters[:2]
    caller = (await callers_everywhere(cluster, running, cache, name))[0]
    tag = caller.account.customer_id
    await charge(caller)
    await elsewhere(running, cluster.begin_to_move(tag, source, target))
    await elsewhere(running, cluster.move_keys(tag, source, target))
    await charge(caller)  # ASK
    assert await cache.read_usage(tag) is not None
    await elsewhere(running, cluster.end_move(tag, source, target))
    assert await cache.read_usage(tag) is not None, "MOVED"
    await charge(caller)
    before = cache.round_trips
    await charge(caller)
    assert cache.round_trips == before + 1, "who has the slot is known"
    assert (caller.charged, caller.missing, caller.unavailable) == (4, 1, 0)
    reading = await cache.read_usage(tag)
    assert reading is not None
    assert reading.quotas["q:m:period"][1] == 4


async def test_a_redirection_alone_is_followed_over_tls(running: Run, cluster: ValkeyCluster, tmp_path: Path) -> None:
    async with door(cluster, tmp_path) as secure, connected(secure.url) as cache:
        caller = (await callers_everywhere(cluster, running, cache, "alone"))[1]
        tag, target = caller.account.customer_id, cluster.masters[2]
        await charge(caller)
        await elsewhere(running, cluster.begin_to_move(tag, cluster.masters[1], target))
        await elsewhere(running, cluster.move_keys(tag, cluster.masters[1], target))
        await elsewhere(running, cluster.end_move(tag, cluster.masters[1], target))
        await charge(caller)  # MOVED
        secure.line.cut()
        await charge(caller)


async def test_names_that_servers_announce_are_dialled_and_verified(
    running: Run, cluster: ValkeyCluster, announce: Callable[[str, str, str], None], tmp_path: Path
) -> None:
    await asyncio.to_thread(announce, "hostname", "localhost", "localhost")
    async with door(cluster, tmp_path, host="localhost") as secure, connected(secure.url) as cache:
        await moved_and_followed(running, cluster, cache, "named")
        assert set(secure.asked_for) == {"localhost"}


@pytest.mark.parametrize(("kind", "told"), [("hostname", "?"), ("unknown-endpoint", "")])
async def test_a_server_that_announces_nothing_is_where_it_was_found(
    running: Run,
    cluster: ValkeyCluster,
    announce: Callable[[str, str, str], None],
    tmp_path: Path,
    kind: str,
    told: str,
) -> None:
    await asyncio.to_thread(announce, kind, "", told)
    async with door(cluster, tmp_path, host="localhost") as secure, connected(secure.url) as cache:
        await moved_and_followed(running, cluster, cache, kind)
        assert set(secure.asked_for) == {"localhost"}


async def test_an_unknown_authority_is_refused_and_told_nothing(cluster: ValkeyCluster, tmp_path: Path) -> None:
    stranger = Authority(tmp_path / "stranger")
    async with door(cluster, tmp_path) as secure:
        for url in (secure.url_without_authority, f"{secure.url_without_authority}?ssl_ca_certs={stranger.ca_file}"):
            reason, found = await why_refused(url), await doctor_says(url)
            assert "certificate verify failed" in reason
            assert "not trust" in explain_trouble(reason).what
            assert "ssl_ca_certs" in explain_trouble(reason).fix
            assert "certificate verify failed" in found
            assert "ssl_ca_certs" in found
            assert PASSWORD not in reason + found
            assert "p%40ss" not in reason + found
        assert secure.line.accepted == 0, "no handshake was ended, so nothing was said"


async def test_a_certificate_for_another_name_is_refused(cluster: ValkeyCluster, tmp_path: Path) -> None:
    async with door(cluster, tmp_path, host="localhost", certified="cache.example") as secure:
        reason, found = await why_refused(secure.url), await doctor_says(secure.url)
        assert "'localhost'" in reason
        assert "another name" in explain_trouble(reason).what
        assert "another name" in found
        assert secure.line.accepted == 0


async def test_servers_that_are_told_of_by_another_name_than_their_certificates_are_said_to_be(
    cluster: ValkeyCluster, tmp_path: Path
) -> None:
    async with door(cluster, tmp_path, host="localhost") as secure:
        reason, found = await why_refused(secure.url), await doctor_says(secure.url)
    assert "IP address mismatch" in reason
    assert "cluster-preferred-endpoint-type hostname" in explain_trouble(reason).fix
    assert "3 of the 3 servers in the URL answer" in found
    assert "IP address mismatch" in found
    assert "cluster-preferred-endpoint-type hostname" in found


async def test_a_server_without_tls_is_told_no_password() -> None:
    said = bytearray()

    async def listen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65_536):
            said.extend(data)
            writer.write(b"-ERR unknown command\r\n")

    async with Listener(listen) as plain:
        url = f"rediss+cluster://{LOGIN}127.0.0.1:{plain.port}"
        found = await doctor_says(url)
        await why_refused(url)
    assert "It does not speak TLS" in found
    assert said.startswith(b"\x16\x03")
    assert PASSWORD.encode() not in said
    assert b"AUTH" not in said


async def test_real_servers_without_tls_are_told_no_password(cluster: ValkeyCluster) -> None:
    url = f"rediss+cluster://{LOGIN}" + cluster.url.partition("://")[2]
    reason, found = await why_refused(url), await doctor_says(url)
    assert "redis" in explain_trouble(reason).fix
    assert "TLS" in found
    assert PASSWORD not in reason + found


async def test_names_are_not_compared_where_the_url_says_so_and_the_authority_still_is(
    running: Run, cluster: ValkeyCluster, tmp_path: Path
) -> None:
    async with door(cluster, tmp_path, certified="cache.example") as secure:
        async with connected(f"{secure.url}&ssl_check_hostname=false") as cache:
            for caller in await callers_everywhere(cluster, running, cache, "unnamed"):
                await charge(caller)
        assert "certificate verify failed" in await why_refused(
            f"{secure.url_without_authority}?ssl_check_hostname=false"
        )


async def test_tls_where_none_is_asked_for_is_said(cluster: ValkeyCluster, tmp_path: Path) -> None:
    async with door(cluster, tmp_path) as secure:
        found = await doctor_says(secure.url_without_authority.replace("rediss+", "redis+"))
    assert "rediss+cluster://" in found


@pytest.mark.parametrize("content", [None, "no certificate"], ids=["missing", "of something else"])
async def test_a_file_of_authorities_that_cannot_be_read_is_said(
    cluster: ValkeyCluster, tmp_path: Path, content: str | None
) -> None:
    file = tmp_path / "ca.pem"
    if content is not None:
        file.write_text(content)
    async with door(cluster, tmp_path) as secure:
        url = f"{secure.url_without_authority}?ssl_ca_certs={file}"
        reason, found = await why_refused(url), await doctor_says(url)
        assert secure.line.accepted == 0
    assert "ssl_ca_certs" in explain_trouble(reason).fix
    assert "ssl_ca_certs" in found
    assert "socket" not in explain_trouble(reason).what
