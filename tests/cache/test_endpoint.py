"""What a cache's URL can say, against real servers."""

from __future__ import annotations

import datetime as dt
import ipaddress
import ssl
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from gateway.cache import Cache, CacheUnavailable
from gateway.cli.ports import free_port
from gateway.core.account import Account
from gateway.core.charge import Charged, ChargeRequest
from tests.fakes.line import Line
from tests.fakes.snapshot_server import SnapshotServer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

PATIENT_S = 30.0


class TlsLine(Line):
    def __init__(self, socket_path: str, context: ssl.SSLContext) -> None:
        super().__init__(socket_path)
        self._options = {"ssl": context}


async def charged(cache: Cache, customer_id: str) -> object:
    """The first charge of a customer who has been published."""
    account = Account(customer_id=customer_id, user_id="u", version=1, created_at=0)
    await cache.publish(account, counters={}, seq_floor=0, expires_s=60)
    return await cache.charge(nothing_for(customer_id))


def nothing_for(customer_id: str) -> ChargeRequest:
    return ChargeRequest(customer_id=customer_id, version=1, claims=())


@pytest.fixture
async def guarded(short_dir: Path) -> AsyncIterator[tuple[SnapshotServer, int]]:
    """A server with a password, on TCP."""
    port = free_port()
    async with SnapshotServer(short_dir) as server:
        await server.listen(port)
        await server.client.config_set("requirepass", "p@ss word")
        await server.client.acl_setuser("walker", enabled=True, passwords=["+own"], keys=["*"], commands=["+@all"])
        yield server, port


@pytest.mark.not_on("cluster", because="is about the URL of one server")
@pytest.mark.parametrize(
    ("user", "path", "db"),
    [(":p%40ss%20word", "/3", "3"), ("walker:own", "", "0"), ("walker:own", "?db=2&client_name=mine", "2")],
    ids=["password", "user", "options"],
)
async def test_password_user_and_database_are_those_of_the_url(
    guarded: tuple[SnapshotServer, int], customer_id: str, user: str, path: str, db: str
) -> None:
    server, port = guarded
    cache = await Cache.connect(f"redis://{user}@127.0.0.1:{port}{path}", deadline_s=PATIENT_S)
    assert isinstance(await charged(cache, customer_id), Charged)
    ours = [client for client in await server.client.client_list() if client["cmd"] == "evalsha"]
    assert {client["db"] for client in ours} == {db}
    assert {client["name"] for client in ours} == {"mine" if "mine" in path else "tiergate"}
    assert {client["user"] for client in ours} == {"walker" if "walker" in user else "default"}
    await cache.aclose()


@pytest.mark.not_on("cluster", because="is about the URL of one server")
async def test_a_wrong_password_is_said_without_it(guarded: tuple[SnapshotServer, int], customer_id: str) -> None:
    _, port = guarded
    cache = await Cache.connect(f"redis://:wrong@127.0.0.1:{port}", deadline_s=PATIENT_S)
    with pytest.raises(CacheUnavailable) as refusal:
        await cache.charge(nothing_for(customer_id))
    assert "WRONGPASS" in refusal.value.reason
    assert ":wrong" not in refusal.value.reason
    await cache.aclose()


@pytest.fixture
async def secure(cache_url: str, tmp_path: Path) -> AsyncIterator[Line]:
    """TLS in front of the server, with a certificate for 127.0.0.1 that nobody knows."""
    async with TlsLine(unquote(urlsplit(cache_url).path), certificate(tmp_path)) as line:
        yield line


@pytest.mark.not_on("cluster", because="speaks TLS with one server")
async def test_tls_is_spoken_to_who_has_the_right_certificate(secure: Line, tmp_path: Path, customer_id: str) -> None:
    url = f"rediss://127.0.0.1:{secure.port}?ssl_ca_certs={tmp_path / 'ca.pem'}"
    cache = await Cache.connect(url, deadline_s=PATIENT_S)
    assert isinstance(await charged(cache, customer_id), Charged)
    secure.cut()
    assert isinstance(await cache.charge(nothing_for(customer_id)), Charged)
    assert secure.accepted >= 3  # a connection to publish, and two to charge
    await cache.aclose()


@pytest.mark.not_on("cluster", because="speaks TLS with one server")
@pytest.mark.parametrize(
    ("host", "options"), [("127.0.0.1", ""), ("localhost", "?ssl_ca_certs=")], ids=["unknown issuer", "other name"]
)
async def test_a_certificate_that_does_not_fit_is_not_accepted(
    secure: Line, tmp_path: Path, customer_id: str, host: str, options: str
) -> None:
    options += str(tmp_path / "ca.pem") if options else ""
    cache = await Cache.connect(f"rediss://{host}:{secure.port}{options}", deadline_s=PATIENT_S)
    with pytest.raises(CacheUnavailable) as refusal:
        await cache.charge(nothing_for(customer_id))
    assert "certificate verify failed" in refusal.value.reason
    await cache.aclose()


@pytest.mark.not_on("cluster", because="speaks TLS with one server")
async def test_a_certificate_is_not_looked_at_where_the_url_says_so(secure: Line, customer_id: str) -> None:
    cache = await Cache.connect(f"rediss://127.0.0.1:{secure.port}?ssl_cert_reqs=none", deadline_s=PATIENT_S)
    assert isinstance(await charged(cache, customer_id), Charged)
    await cache.aclose()


@pytest.mark.parametrize("url", ["redis://localhost?colour=blue", "rediss://localhost?ssl_cert_reqs=perhaps"])
async def test_options_that_mean_nothing_are_refused_at_once(url: str) -> None:
    with pytest.raises(ValueError, match="option that cannot be used"):
        await Cache.connect(url)


def certificate(directory: Path) -> ssl.SSLContext:
    """A self-signed certificate for 127.0.0.1, also written to `directory/ca.pem`."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "cache")])
    now = dt.datetime.now(dt.UTC)
    built = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    (directory / "ca.pem").write_bytes(built.public_bytes(serialization.Encoding.PEM))
    (directory / "key.pem").write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(directory / "ca.pem", directory / "key.pem")
    return context
