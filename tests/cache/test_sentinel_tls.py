"""Sentinels and the master that they name, over TLS."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import pytest

from gateway.cache import Cache, CacheUnavailable, explain_trouble
from gateway.cache.inspection import inspect_cache
from tests.fakes.authority import Authority
from tests.fakes.caller import Caller
from tests.fakes.port_server import until
from tests.fakes.refusal import why_refused
from tests.fakes.sentinel_line import SentinelLine
from tests.fakes.sentinels import PASSWORD, Sentinels

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

pytestmark = [
    pytest.mark.slow,
    pytest.mark.not_on("cluster", because="is about the one master that sentinels name"),
]

PATIENT_S = 30.0
LOGIN = ":p%40ss%2Fword@"
ASKER, ASKERS = "asker", "their/own"
OF_SENTINELS = f"sentinel_username={ASKER}&sentinel_password=their%2Fown"


@pytest.fixture
async def sentinels(short_dir: Path) -> AsyncIterator[Sentinels]:
    async with Sentinels(short_dir) as sentinels:
        for sentinel in sentinels.sentinels:
            await sentinel.client.execute_command("ACL", "SETUSER", ASKER, "on", f">{ASKERS}", "+@all", "&*")
        yield sentinels


@contextlib.asynccontextmanager
async def line(sentinels: Sentinels, authority: Authority, name: str) -> AsyncIterator[SentinelLine]:
    async with SentinelLine(sentinels, authority.server_context(name)) as made:
        yield made


async def test_the_master_is_found_charged_and_followed_over_tls_with_a_password_for_each(
    sentinels: Sentinels, tmp_path: Path, customer_id: str
) -> None:
    authority = Authority(tmp_path)
    async with line(sentinels, authority, "127.0.0.1") as secure:
        url = secure.url(LOGIN, "127.0.0.1", f"ssl_ca_certs={authority.ca_file}&{OF_SENTINELS}")
        cache = await Cache.connect(url, deadline_s=PATIENT_S)
        assert await cache.wait_ready(20)
        caller = Caller(cache, customer_id, 1000)
        await caller.publish()
        assert await caller.call()
        assert caller.charged == 1
        assert await cache.read_usage(customer_id) is not None
        assert secure.servers[sentinels.master.port].accepted >= 2
        assert secure.servers[sentinels.replica.port].accepted == 0
        clients = [one for sentinel in sentinels.sentinels for one in await sentinel.client.client_list()]
        assert {client["user"] for client in clients if client["name"] == "tiergate"} == {ASKER}
        report = await inspect_cache(url)
        assert report.sentinels == (3, 3)
        await sentinels.take_over()

        async def is_charged() -> bool:
            await caller.call()
            return caller.charged == 2

        await until(is_charged)
        assert secure.servers[sentinels.replica.port].accepted >= 1
        await cache.aclose()


@pytest.mark.parametrize(
    ("certified", "knows", "what"),
    [
        ("127.0.0.1", "", "not trust"),
        ("cache.example", "ssl_ca_certs={ca}", "another name"),
        ("127.0.0.1", "ssl_ca_certs={ca}.gone", "cannot be used"),
    ],
    ids=["unknown authority", "other name", "no such file"],
)
async def test_why_sentinels_are_not_believed_is_said(
    sentinels: Sentinels, tmp_path: Path, certified: str, knows: str, what: str
) -> None:
    authority = Authority(tmp_path)
    async with line(sentinels, authority, certified) as secure:
        options = "&".join([OF_SENTINELS, *([knows.format(ca=authority.ca_file)] if knows else [])])
        url = secure.url(LOGIN, "127.0.0.1", options)
        reason = await why_refused(url)
        with pytest.raises(CacheUnavailable) as refusal:
            await inspect_cache(url)
        assert secure.accepted == 0, "no handshake was ended, so nothing was said"
    for text in (reason, refusal.value.reason):
        assert what in explain_trouble(text).what
        assert PASSWORD not in text
        assert ASKERS not in text
    assert PASSWORD not in str(refusal.value)


async def test_a_wrong_password_of_sentinels_is_said_without_it(sentinels: Sentinels, tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    async with line(sentinels, authority, "127.0.0.1") as secure:
        wrong = f"sentinel_username={ASKER}&sentinel_password=guessed&ssl_ca_certs={authority.ca_file}"
        reason = await why_refused(secure.url(LOGIN, "127.0.0.1", wrong))
    assert "user or password" in explain_trouble(reason).what
    assert "guessed" not in reason


async def test_a_master_whose_certificate_is_for_another_name_is_refused(sentinels: Sentinels, tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    async with line(sentinels, authority, "localhost") as secure:
        url = secure.url(LOGIN, "localhost", f"ssl_ca_certs={authority.ca_file}&{OF_SENTINELS}")
        reason = await why_refused(url)
        with pytest.raises(CacheUnavailable) as refusal:
            await inspect_cache(url)
        assert [way.accepted for way in secure.servers.values()] == [0, 0]
    for text in (reason, refusal.value.reason):
        assert "IP address mismatch" in text
        assert "announce-hostnames" in explain_trouble(text).fix
