"""Fixtures of the ledger's tests: each test runs on SQLite and on PostgreSQL, in a migrated database of its own.

The PostgreSQL server is ours: on a unix socket, in a directory of its own, under a shell that ends it
when this process's end of a pipe closes, so that it stops however the test run ends. It does not run
as root, because PostgreSQL refuses to. TIERGATE_TEST_POSTGRES_URL names a server to use instead; its
user must be allowed to create databases.
"""

from __future__ import annotations

import asyncio
import os
import pwd
import shutil
import subprocess
import sys
import tempfile
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

import asyncpg
import pytest

import gateway
from gateway.core.account import KeyRecord, Subscription
from gateway.ledger import Ledger, NewKey, migrate
from tests.conftest import PATIENT_S
from tests.optional import not_tested

_START = """
"$1/initdb" -D "$2/data" -U postgres -A trust -E UTF8 --locale=C --no-sync >"$2/initdb.log" 2>&1 || exit 1
"$1/postgres" -D "$2/data" -k "$2" -c listen_addresses= -c fsync=$3 -c synchronous_commit=$3 \
    -c full_page_writes=$3 -c max_connections=60 -c shared_buffers=16MB -c autovacuum=off >"$2/server.log" 2>&1 &
server=$!
tries=0
until "$1/pg_isready" -q -h "$2"; do
    tries=$((tries + 1))
    if [ $tries -gt 1200 ] || ! kill -0 $server 2>/dev/null; then kill -KILL $server 2>/dev/null; exit 1; fi
    sleep 0.05
done
echo ready
read -r _
kill -QUIT $server # at once: nothing of it is kept
wait $server
rm -rf "$2" & # tens of thousands of files: nobody waits for that
"""


def find_binaries() -> Path | None:
    """The directory of the newest installed server, if one is installed."""
    on_path = shutil.which("initdb")
    if on_path is not None:
        return Path(on_path).resolve().parent
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3].split(".")[0]))
    return found[-1].parent if found else None


class PostgresqlServer:
    """A running server. Stop it with `stop`. What it has written survives a power cut only if it `is_durable`."""

    def __init__(self, binaries: Path, *, is_durable: bool = False) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="tgpg", dir="/tmp"))
        identity: dict[str, object] = {}
        if os.geteuid() == 0:
            account = _unprivileged_account()
            os.chown(self.directory, account.pw_uid, account.pw_gid)
            identity = {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}
        self._shell = subprocess.Popen(
            ["/bin/sh", "-c", _START, "sh", str(binaries), str(self.directory), "on" if is_durable else "off"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=self.directory,
            env={"PATH": "/usr/bin:/bin", "LC_ALL": "C"},
            start_new_session=True,
            **identity,
        )
        if self._shell.stdout.readline() != b"ready\n":
            logs = "".join(path.read_text() for path in sorted(self.directory.glob("*.log")))
            self.stop()
            raise RuntimeError(f"PostgreSQL did not start:\n{logs}")

    def url(self, database: str) -> str:
        return f"postgresql://postgres@/{database}?host={self.directory}"

    @property
    def socket(self) -> Path:
        return self.directory / ".s.PGSQL.5432"

    def stop(self) -> None:
        self._shell.stdin.close()
        self._shell.wait(timeout=120)
        self._shell.stdout.close()


def _unprivileged_account() -> pwd.struct_passwd:
    for name in ("postgres", "nobody"):
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    raise RuntimeError("PostgreSQL refuses to run as root, and there is no user postgres or nobody")


@pytest.fixture(scope="session")
def postgresql_url() -> Iterator[Callable[[str], str]]:
    """The URL of a database of the given name on the test server."""
    given = os.environ.get("TIERGATE_TEST_POSTGRES_URL")
    if given:
        yield lambda database: urlsplit(given)._replace(path=f"/{database}").geturl()
        return
    binaries = find_binaries()
    if binaries is None:
        not_tested("on PostgreSQL", "no server is installed and TIERGATE_TEST_POSTGRES_URL is not set")
    server = PostgresqlServer(binaries)
    yield server.url
    server.stop()


@pytest.fixture(scope="session")
def postgresql_database(postgresql_url: Callable[[str], str]) -> Iterator[Callable[[str], str]]:
    """Creates a database, a copy of the named one, and returns its URL."""
    created: list[str] = []

    def create(template: str) -> str:
        name = f"tg_{uuid.uuid4().hex}"
        asyncio.run(_command(postgresql_url("postgres"), f"CREATE DATABASE {name} TEMPLATE {template}"))
        created.append(name)
        return postgresql_url(name)

    yield create
    if "TIERGATE_TEST_POSTGRES_URL" not in os.environ:
        return  # ours ends with all of them; to drop one takes a checkpoint
    for name in created:
        asyncio.run(_command(postgresql_url("postgres"), f"DROP DATABASE IF EXISTS {name} WITH (FORCE)"))


async def _command(url: str, command: str) -> None:
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(command)
    finally:
        await connection.close()


@pytest.fixture(scope="session")
def migrated_postgresql(postgresql_database: Callable[[str], str]) -> str:
    """The name of a database to copy."""
    url = postgresql_database("template0")
    migrate(url)
    return urlsplit(url).path.lstrip("/")


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=[pytest.mark.postgres, pytest.mark.slow])])
def backend(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def empty_url(backend: str, request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A ledger without tables."""
    if backend == "sqlite":
        return f"sqlite:///{tmp_path}/a seller's data/ledger.sqlite3"
    return request.getfixturevalue("postgresql_database")("template0")


@pytest.fixture
def ledger_url(backend: str, request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A migrated, empty ledger."""
    if backend == "sqlite":
        file = tmp_path / "a seller's ledger.sqlite3"
        shutil.copy(request.getfixturevalue("migrated_sqlite"), file)
        return f"sqlite:///{file}"
    return request.getfixturevalue("postgresql_database")(request.getfixturevalue("migrated_postgresql"))


@pytest.fixture
async def open_ledger() -> AsyncIterator[Callable[..., Awaitable[Ledger]]]:
    """Opens further ledgers, as other processes would; all are closed at the end."""
    opened: list[Ledger] = []

    async def open_one(url: str, *, deadline_s: float = PATIENT_S) -> Ledger:
        opened.append(await Ledger.open(url, deadline_s=deadline_s))
        return opened[-1]

    yield open_one
    for one in opened:
        await one.aclose()


@pytest.fixture
async def ledger(ledger_url: str, open_ledger: Callable[..., Awaitable[Ledger]]) -> Ledger:
    return await open_ledger(ledger_url)


@pytest.fixture
def new_customer() -> Callable[..., Awaitable[str]]:
    """Creates a customer with ids that no other has, and returns its customer id."""

    async def create(ledger: Ledger, *, stripe_customer_id: str | None = None) -> str:
        customer_id = uuid.uuid4().hex[:12]
        await ledger.create_customer(
            customer_id=customer_id,
            user_id=f"user of {customer_id}",
            now=1_000,
            stripe_customer_id=stripe_customer_id,
            actor="operator",
        )
        return customer_id

    return create


@pytest.fixture
async def customer(ledger: Ledger, new_customer: Callable[..., Awaitable[str]]) -> str:
    return await new_customer(ledger)


@pytest.fixture
def new_key() -> Callable[..., Awaitable[KeyRecord]]:
    """Adds a key to a customer, and returns its record."""

    async def add(ledger: Ledger, customer_id: str, *, now: int = 1_000, **changes: object) -> KeyRecord:
        key_id = uuid.uuid4().hex[:16]
        record = replace(KeyRecord(key_id=key_id, name="laptop", last4="Qx7z", created_at=now), **changes)
        await ledger.add_key(
            customer_id, NewKey(record=record, digest=key_id * 4, mode="test"), now=now, actor="customer"
        )
        return record

    return add


@pytest.fixture
def unrecorded_key() -> Callable[..., NewKey]:
    """Makes keys that are not in the ledger yet."""

    def make(key_id: str | None = None, **changes: object) -> NewKey:
        key_id = key_id or uuid.uuid4().hex[:16]
        record = replace(KeyRecord(key_id=key_id, name="laptop", last4="Zz9a", created_at=1_000), **changes)
        return NewKey(record=record, digest=f"digest of {key_id}", mode="test")

    return make


@pytest.fixture
def subscription() -> Subscription:
    return Subscription(
        subscription_id="sub_1",
        status="active",
        plan_id="pro-monthly",
        period_starts_at=1_000,
        period_ends_at=2_000,
        anchor_at=1_000,
    )


@pytest.fixture
def store(ledger: Ledger) -> Callable[..., Awaitable[bool]]:
    """Stores an event that is told from others by its id, and by a customer of its own unless one is given."""

    async def store_event(event_id: str, *, now: int = 100, payload: str = "{}", cus: str | None = None) -> bool:
        return await ledger.store_event(
            event_id=event_id,
            type="invoice.paid",
            stripe_customer_id=cus or f"cus_{event_id.removeprefix('evt_')}",
            livemode=False,
            api_version="2026-10-28.endive",
            payload=payload,
            now=now,
        )

    return store_event


@pytest.fixture
def start_process() -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Starts a command of processes.py in a process of its own; none outlives the test."""
    started: list[subprocess.Popen[str]] = []

    def start(command: str, *arguments: object) -> subprocess.Popen[str]:
        script = Path(__file__).with_name("processes.py")
        started.append(
            subprocess.Popen(
                [sys.executable, "-W", "error", script, command, *map(str, arguments)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                env={**os.environ, "PYTHONPATH": str(Path(gateway.__file__).parents[1])},
            )
        )
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.wait()
        process.stdin.close()
        process.stdout.close()
