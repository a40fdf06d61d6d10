from __future__ import annotations

import asyncio
import fcntl
import os
import stat
from dataclasses import fields
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text

import gateway.ledger
from gateway.core.account import Grant, KeyRecord, Subscription
from gateway.core.errors import LedgerUnavailable
from gateway.ledger import Ledger, LedgerUrlInvalid, migrate
from gateway.ledger.database import create_engine, parse_place
from gateway.ledger.tables import API_KEYS, CREDIT_GRANTS, METADATA, SCHEMA_REVISION, SUBSCRIPTIONS

pytestmark = pytest.mark.slow


async def on_connection(url, function):
    engine = create_engine(parse_place(url), deadline_s=10)
    try:
        async with engine.begin() as connection:
            return await connection.run_sync(function)
    finally:
        await engine.dispose()


async def is_migrated(url):
    ledger = await Ledger.open(url)
    try:
        return await ledger.is_migrated()
    finally:
        await ledger.aclose()


def test_an_empty_ledger_is_migrated_and_a_migrated_one_is_left_alone(empty_url):
    assert not asyncio.run(is_migrated(empty_url))
    migrate(empty_url)
    assert asyncio.run(is_migrated(empty_url))
    migrate(empty_url)
    assert asyncio.run(is_migrated(empty_url))


def test_three_processes_may_migrate_at_once(empty_url, start_process):
    processes = [start_process("migrate", empty_url) for _ in range(3)]
    assert [process.stdout.readline() for process in processes] == ["ready\n"] * 3
    for process in processes:
        process.stdin.close()
    assert [process.stdout.read() for process in processes] == ["migrated\n"] * 3
    assert [process.wait() for process in processes] == [0, 0, 0]
    assert asyncio.run(is_migrated(empty_url))


async def test_the_tables_in_code_and_in_migrations_agree(ledger_url):
    def differences(connection: Connection):
        return compare_metadata(MigrationContext.configure(connection, opts={"compare_type": True}), METADATA)

    assert await on_connection(ledger_url, differences) == []


CONSTRAINTS = {
    "sqlite": "SELECT name, sql FROM sqlite_master WHERE type <> 'trigger' AND name NOT LIKE 'alembic%'"
    " AND name NOT LIKE 'sqlite_%'",
    "postgresql": "SELECT conrelid::regclass || '.' || conname, pg_get_constraintdef(oid) FROM pg_constraint"
    " WHERE conrelid::regclass::text NOT LIKE 'alembic%' AND connamespace = 'public'::regnamespace"
    " UNION ALL SELECT indexname, indexdef FROM pg_indexes"
    " WHERE schemaname = 'public' AND tablename NOT LIKE 'alembic%'"
    " UNION ALL SELECT table_name || '.' || column_name, concat_ws(' ', data_type, collation_name, is_nullable)"
    " FROM information_schema.columns WHERE table_schema = 'public' AND table_name NOT LIKE 'alembic%'",
}


async def test_checks_indexes_and_collations_in_code_and_in_migrations_agree(ledger_url, backend, request, tmp_path):
    def constraints(connection: Connection):
        # Only the clauses count, not their order or the way they are wrapped.
        rows = connection.execute(text(CONSTRAINTS[backend])).all()
        return {
            name: sorted(clause.strip() for clause in sql.replace("(\n", ",").removesuffix(")").split(","))
            for name, sql in rows
        }

    def make(connection: Connection):
        METADATA.create_all(connection)
        return constraints(connection)

    if backend == "sqlite":
        (tmp_path / "other").touch()
        other = f"sqlite:///{tmp_path}/other"
    else:
        other = await asyncio.to_thread(request.getfixturevalue("postgresql_database"), "template0")
    migrated, made = await on_connection(ledger_url, constraints), await on_connection(other, make)
    assert migrated == made


def test_the_newest_migration_is_the_one_the_code_expects():
    config = Config()
    config.set_main_option("script_location", str(Path(gateway.ledger.__file__).parent / "migrations"))
    assert ScriptDirectory.from_config(config).get_current_head() == SCHEMA_REVISION


@pytest.mark.parametrize(
    ("value", "table"),
    [(KeyRecord, API_KEYS), (Subscription, SUBSCRIPTIONS), (Grant, CREDIT_GRANTS)],
    ids=["key", "subscription", "grant"],
)
def test_every_field_of_the_account_has_a_column(value, table):
    assert {one.name for one in fields(value)} <= set(table.columns.keys())


async def test_a_ledger_of_a_newer_version_is_refused_and_left_alone(ledger_url):
    def age(connection: Connection):
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))

    await on_connection(ledger_url, age)
    assert not await is_migrated(ledger_url)
    with pytest.raises(LedgerUnavailable, match="of a newer version"):
        await asyncio.to_thread(migrate, ledger_url)


async def test_what_a_group_called_over_left_is_no_overage_any_more(ledger_url):
    row = "INSERT INTO metered_windows (customer_id, meter, window_starts_at, total, seq, reported, stood, look_at)"

    def leave(connection: Connection):
        for meter in ("requests", "requests:86400", "requests:period"):
            connection.execute(text(f"{row} VALUES ('c1', '{meter}', 1, 5, 1, 0, 0, 0)"))
        for table in ("reconciliation_notes", "plan_checks", "sweeps"):
            connection.execute(text(f"DROP TABLE {table}"))
        gone = {"reconciliation": ("unbound", "audited_from", "held_since")}
        gone["subscriptions"] = (
            "sold_as",
            "unconfirmed_since",
            "last_good_tier",
            "scheduled_sold_as",
            "extras_changes",
        )
        for table, columns in gone.items():
            for column in columns:
                connection.execute(text(f"ALTER TABLE {table} DROP COLUMN {column}"))
        connection.execute(text("UPDATE alembic_version SET version_num = '0022'"))

    def left(connection: Connection):
        return connection.execute(text("SELECT meter FROM metered_windows")).all()

    await on_connection(ledger_url, leave)
    await asyncio.to_thread(migrate, ledger_url)
    assert await on_connection(ledger_url, left) == [("requests",)]


@pytest.mark.parametrize(("revision", "tables"), [("0000", "older"), (SCHEMA_REVISION, "current"), ("9999", "newer")])
async def test_tables_are_known_to_be_of_an_older_or_a_newer_version(ledger, ledger_url, revision, tables):
    def mark(connection: Connection):
        connection.execute(text("UPDATE alembic_version SET version_num = :revision"), {"revision": revision})

    await on_connection(ledger_url, mark)
    assert await ledger.find_tables() == tables


async def test_a_database_that_nothing_was_done_to_has_no_tables(empty_url, open_ledger):
    assert await (await open_ledger(empty_url)).find_tables() == "none"


async def test_a_migration_of_a_file_waits_for_the_one_that_runs(tmp_path):
    running = os.open(tmp_path, os.O_RDONLY)
    fcntl.flock(running, fcntl.LOCK_EX)
    waiting = asyncio.create_task(asyncio.to_thread(migrate, f"sqlite:///{tmp_path}/ledger.sqlite3"))
    while not (tmp_path / "ledger.sqlite3").exists():  # noqa: ASYNC110 - another thread makes it
        await asyncio.sleep(0.005)
    await asyncio.sleep(0.3)
    assert (tmp_path / "ledger.sqlite3").stat().st_size == 0
    os.close(running)
    await waiting
    assert await is_migrated(f"sqlite:///{tmp_path}/ledger.sqlite3")


def test_the_file_is_readable_by_its_owner_only(tmp_path):
    before = os.umask(0o022)
    try:
        migrate(f"sqlite:///{tmp_path}/new/ledger.sqlite3")
    finally:
        os.umask(before)
    mode = (tmp_path / "new" / "ledger.sqlite3").stat().st_mode
    assert stat.S_IMODE(mode) == 0o600


@pytest.mark.parametrize("name", ["100%25 ours?.sqlite3", "a#b;c.sqlite3", "ünïcode ledger"])
def test_any_path_is_taken_verbatim(tmp_path, name):
    migrate(f"sqlite:///{tmp_path}/{name}")
    assert [path.name for path in tmp_path.iterdir() if "-" not in path.name] == [name]


async def test_opening_never_creates_a_file(tmp_path):
    ledger = await Ledger.open(f"sqlite:///{tmp_path}/mistyped.sqlite3")
    assert not await ledger.is_migrated()
    with pytest.raises(LedgerUnavailable):
        await ledger.ping()
    await ledger.aclose()
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_no_database_is_refused(tmp_path):
    (tmp_path / "letter").write_text("Dear ledger, " * 100)
    with pytest.raises(LedgerUnavailable, match="cannot be read"):
        migrate(f"sqlite:///{tmp_path}/letter")


@pytest.mark.parametrize(
    "url", ["", "mysql://host/x", "sqlite://", "sqlite:///", "sqlite:///:memory:", "postgresql:/x", "x.db"]
)
def test_a_url_of_no_usable_database_is_refused(url):
    with pytest.raises(LedgerUrlInvalid):
        migrate(url)
