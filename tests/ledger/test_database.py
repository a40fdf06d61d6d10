from __future__ import annotations

import asyncio
import contextlib
import inspect
import sqlite3
import time
import traceback
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from sqlalchemy import text

from gateway.cli.ports import free_port
from gateway.core.errors import LedgerUnavailable
from gateway.ledger import Ledger, LedgerUrlInvalid, describe, migrate
from gateway.ledger.database import parse_place
from tests.fakes.line import Line
from tests.optional import not_tested

PASSWORD = "s3cret-p4ssw0rd"


def file_of(url: str) -> Path:
    return Path(url.removeprefix("sqlite:///"))


@pytest.fixture
def sqlite_url(migrated_sqlite, tmp_path):
    file = tmp_path / "ledger.sqlite3"
    file.write_bytes(migrated_sqlite.read_bytes())
    return f"sqlite:///{file}"


@pytest.fixture
def only_postgresql_url(postgresql_database, migrated_postgresql):
    return postgresql_database(migrated_postgresql)


@pytest.fixture
async def sqlite_ledger(sqlite_url, open_ledger):
    return await open_ledger(sqlite_url, deadline_s=0.3)


@contextlib.contextmanager
def write_lock(url: str):
    holder = sqlite3.connect(file_of(url), isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    try:
        yield
    finally:
        holder.close()


class LineToPostgresql(Line):
    def __init__(self, socket_path, path):
        super().__init__(socket_path)
        self._path = path

    @property
    def url(self):
        return f"postgresql://postgres@127.0.0.1:{self.port}{self._path}?sslmode=disable"


@pytest.fixture
async def relay(postgresql_database, migrated_postgresql):
    url = await asyncio.to_thread(postgresql_database, migrated_postgresql)
    parts = urlsplit(url)
    host = parse_qs(parts.query).get("host", [""])[0]
    if not host.startswith("/"):
        not_tested("through a line that can be cut", "it stands before a unix socket, and this server has none")
    async with LineToPostgresql(f"{host}/.s.PGSQL.5432", parts.path) as line:
        yield line


@pytest.mark.parametrize(
    "url",
    [
        f"postgresql://tier:{PASSWORD}@db.example:5433/ledger?sslmode=require",
        f"postgres://db.example/ledger?user=tier&password={PASSWORD}",
        f"postgresql+asyncpg://tier:{PASSWORD}@db.example/ledger",
    ],
)
def test_a_description_names_the_place_and_no_password(url):
    assert describe(url) == "PostgreSQL database ledger on db.example"
    assert PASSWORD not in repr(parse_place(url))


def test_a_description_of_a_file_is_its_path(tmp_path):
    assert describe(f"sqlite:///{tmp_path}/x y.sqlite3") == f"SQLite file {tmp_path}/x y.sqlite3"
    assert describe("sqlite+aiosqlite:///x.sqlite3") == f"SQLite file {Path('x.sqlite3').absolute()}"


@pytest.mark.parametrize(
    "url",
    [
        f"postgresql://tier:{PASSWORD}@db.example:port/ledger",
        f"postgresql://tier:{PASSWORD}@[db.example/ledger",
        f"postgresql://tier:{PASSWORD}@db.example/ledger?channel_binding=require",
        f"mysql://tier:{PASSWORD}@db.example/ledger",
    ],
    ids=["port", "host", "channel binding", "another database"],
)
def test_a_refused_url_is_not_repeated(url):
    with pytest.raises(LedgerUrlInvalid) as caught:
        describe(url)
    assert PASSWORD not in "".join(traceback.format_exception(caught.value))


async def test_a_migrated_ledger_answers(ledger, ledger_url):
    await ledger.ping()
    assert ledger.description == describe(ledger_url)


async def test_an_unmigrated_ledger_says_so(backend, empty_url, open_ledger):
    if backend == "sqlite":
        file_of(empty_url).parent.mkdir()
        file_of(empty_url).touch()
    ledger = await open_ledger(empty_url)
    with pytest.raises(LedgerUnavailable, match="tables are missing"):
        await ledger.ping()
    with pytest.raises(LedgerUnavailable, match="tables are missing"):
        await ledger.find_customer("c1")


async def test_a_closed_ledger_refuses_and_opens_nothing(ledger):
    await ledger.ping()
    await ledger.aclose()
    with pytest.raises(LedgerUnavailable, match="closed"):
        await ledger.ping()
    with pytest.raises(LedgerUnavailable, match="closed"):
        await ledger.take_fence("c1")
    with pytest.raises(LedgerUnavailable, match="closed"):
        await ledger.create_customer(customer_id="c1", user_id="u1", now=1, actor="operator")


async def test_an_error_in_a_transaction_undoes_it(ledger, customer):
    async def fail() -> None:
        async with ledger._database.writing() as connection:
            await connection.execute(text("UPDATE customers SET version = 99"))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await fail()
    assert (await ledger.find_customer(customer)).version == 1


async def test_cancelled_calls_leave_a_working_ledger(ledger_url, open_ledger, new_customer, new_key):
    ledger = await open_ledger(ledger_url, deadline_s=20)
    customer = await new_customer(ledger)

    async def work() -> None:
        while True:
            await ledger.take_fence(customer)
            await new_key(ledger, customer)
            await ledger.load_account(customer)

    for step in range(100):
        tasks = [asyncio.create_task(work()) for _ in range(2)]
        await asyncio.sleep(step * 0.000_1)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert all(task.cancelled() for task in tasks)
    fence = await ledger.take_fence(customer)
    assert await ledger.take_fence(customer) > fence  # what was cancelled may still be ending
    account = await ledger.load_account(customer)
    assert account.version == len(account.keys) + 1


async def test_a_cancelled_write_is_finished_before_the_ledger_closes(ledger_url, open_ledger, new_customer):
    ledger = await open_ledger(ledger_url)
    customer = await new_customer(ledger)
    task = asyncio.create_task(ledger.take_fence(customer))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await ledger.aclose()
    after = await open_ledger(ledger_url)
    assert (await after.find_customer(customer)).sync_fence == 1


async def test_settings_of_sqlite_hold_on_every_connection(sqlite_ledger):
    async with contextlib.AsyncExitStack() as stack:
        for _ in range(3):
            connection = await stack.enter_async_context(sqlite_ledger._database.reading())
            found = [
                await connection.scalar(text(f"PRAGMA {name}"))
                for name in ("journal_mode", "foreign_keys", "synchronous", "busy_timeout")
            ]
            assert found == ["wal", 1, 2, 300]


async def test_a_writer_waits_for_another_process(sqlite_url, open_ledger):
    ledger = await open_ledger(sqlite_url)
    with write_lock(sqlite_url):
        task = asyncio.create_task(ledger.create_customer(customer_id="c1", user_id="u1", now=1, actor="operator"))
        await asyncio.sleep(0.1)
        assert not task.done()
        assert await ledger.list_customers() == []
    await task
    assert len(await ledger.list_customers()) == 1


async def test_a_writer_that_waits_too_long_says_busy_and_readers_never_wait(sqlite_url, open_ledger):
    ledger = await open_ledger(sqlite_url, deadline_s=1)
    with write_lock(sqlite_url):
        began = time.monotonic()
        results = await asyncio.gather(
            *(ledger.record_audit(at=1, customer_id=None, actor="x", action="x", because="x") for _ in range(8)),
            return_exceptions=True,
        )
        assert time.monotonic() - began < 8 * 1, "all wait at once, not one after the other"
        assert {str(result) for result in results} == {"The ledger is busy."}
        assert all(isinstance(result, LedgerUnavailable) and result.__cause__ for result in results)
        await ledger.ping()
    await ledger.record_audit(at=1, customer_id=None, actor="x", action="x", because="x")


async def test_a_full_disk_is_reported_as_such(sqlite_ledger, new_customer):
    async with sqlite_ledger._database.reading() as connection:
        # One connection: the page limit is a property of it.
        await connection.execute(text("PRAGMA max_page_count = 1"))

    async def fill() -> None:
        for _ in range(1_000):
            await new_customer(sqlite_ledger)

    with pytest.raises(LedgerUnavailable, match="disk is full"):
        await fill()


async def test_a_ledger_that_cannot_be_written_is_reported_as_such(sqlite_ledger):
    async with sqlite_ledger._database.reading() as connection:
        await connection.execute(text("PRAGMA query_only = ON"))
    with pytest.raises(LedgerUnavailable, match="cannot be written"):
        await sqlite_ledger.add_checkout(session_id="cs", customer_id="c1", plan_id="p", claim_digest=None, now=1)


async def test_a_damaged_file_is_reported_as_such(sqlite_url, open_ledger):
    file = file_of(sqlite_url)
    damaged = bytearray(file.read_bytes())
    damaged[4096:] = bytes(len(damaged) - 4096)
    file.write_bytes(damaged)
    ledger = await open_ledger(sqlite_url)
    with pytest.raises(LedgerUnavailable, match="cannot be read"):
        await ledger.list_customers()


@pytest.mark.postgres
async def test_a_port_where_nobody_listens_is_reported_without_the_password(open_ledger):
    ledger = await open_ledger(f"postgresql://tier:{PASSWORD}@127.0.0.1:{free_port()}/ledger", deadline_s=2)
    for call in (ledger.ping(), ledger.is_migrated(), ledger.take_fence("c1")):
        with pytest.raises(LedgerUnavailable, match="did not answer") as caught:
            await call
        assert caught.value.__cause__ is not None
        assert PASSWORD not in "".join(traceback.format_exception(caught.value))


@pytest.mark.postgres
def test_migrating_where_nobody_listens_is_reported_without_the_password():
    with pytest.raises(LedgerUnavailable) as caught:
        migrate(f"postgresql://tier:{PASSWORD}@127.0.0.1:{free_port()}/ledger")
    assert PASSWORD not in "".join(traceback.format_exception(caught.value))


@pytest.mark.postgres
async def test_a_missing_database_is_reported(postgresql_url, open_ledger):
    ledger = await open_ledger(postgresql_url("no_such_database"))
    with pytest.raises(LedgerUnavailable, match="did not answer"):
        await ledger.ping()


@pytest.mark.postgres
async def test_after_a_lost_connection_the_next_call_has_a_new_one(relay, open_ledger, new_customer):
    ledger = await open_ledger(relay.url)
    await new_customer(ledger)
    relay.cut()
    await asyncio.sleep(0.05)
    await new_customer(ledger)
    assert len(await ledger.list_customers()) == 2


@pytest.mark.postgres
async def test_a_connection_lost_in_mid_transaction_is_reported(relay, open_ledger, customer_in_relay):
    ledger = await open_ledger(relay.url)

    async def lose() -> None:
        async with ledger._database.writing() as connection:
            await connection.execute(text("UPDATE customers SET version = 99"))
            relay.cut()
            await connection.execute(text("UPDATE customers SET version = 100"))

    with pytest.raises(LedgerUnavailable, match="did not answer"):
        await lose()
    assert (await ledger.find_customer(customer_in_relay)).version == 1


@pytest.fixture
async def customer_in_relay(relay, open_ledger, new_customer):
    return await new_customer(await open_ledger(relay.url))


@pytest.mark.postgres
async def test_a_server_that_stops_answering_is_given_up_at_the_deadline(relay, open_ledger):
    ledger = await open_ledger(relay.url, deadline_s=0.3)
    await ledger.ping()
    relay.hang()
    began = time.monotonic()
    with pytest.raises(LedgerUnavailable, match="did not answer"):
        await ledger.take_fence("c1")
    assert time.monotonic() - began < 60, "not the system's patience, which is minutes"
    relay.cut()


@pytest.mark.postgres
async def test_a_stuck_lock_is_given_up_at_the_deadline(only_postgresql_url, open_ledger, new_customer):
    patient = await open_ledger(only_postgresql_url)
    impatient = await open_ledger(only_postgresql_url, deadline_s=0.3)
    customer = await new_customer(patient)
    async with patient._database.writing() as connection:
        await connection.execute(text("SELECT 1 FROM customers FOR UPDATE"))
        with pytest.raises(LedgerUnavailable):
            await impatient.take_fence(customer)
    assert await impatient.take_fence(customer) == 1


@pytest.mark.postgres
async def test_a_read_only_server_is_reported_as_such(only_postgresql_url, open_ledger, new_customer):
    ledger = await open_ledger(f"{only_postgresql_url}&default_transaction_read_only=on")
    await ledger.ping()
    with pytest.raises(LedgerUnavailable, match="cannot be written"):
        await new_customer(ledger)


def test_every_method_of_the_ledger_runs_to_its_end():
    methods = dict(inspect.getmembers(Ledger, inspect.iscoroutinefunction))
    broken = {name for name, one in methods.items() if name[0] != "_" and not hasattr(one, "__wrapped__")}
    assert broken == {"open", "aclose"}
