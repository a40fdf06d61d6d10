"""Making and updating the tables: safe when every worker of every machine starts at once.

All steps to the newest revision happen in one transaction, which the first comer holds a lock for:
an advisory lock in PostgreSQL, a lock on the directory for SQLite (switching a new file to WAL
cannot wait inside SQLite). The others find nothing left to do.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

from sqlalchemy import Connection, text

from gateway.core.errors import LedgerUnavailable
from gateway.ledger.database import Database, Place, create_engine, parse_place, writing_options
from gateway.ledger.faults import NEWER, READ_ONLY, ledger_faults
from gateway.ledger.ledger import Ledger

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

_SCRIPTS: Final = Path(__file__).parent / "migrations"
_ADVISORY_LOCK: Final = int.from_bytes(b"tiergate"[:7])
_DEADLINE_S: Final = 300.0
"""A step may rewrite a large table, and the others wait for it."""


def migrate(url: str) -> None:
    """Create the ledger, or bring its tables to the newest revision. Call it outside an event loop.

    Raises:
        LedgerUnavailable: The database cannot be used, or a newer version of this program migrated it.
        LedgerUrlInvalid: The URL names no database we can use.
    """
    place = parse_place(url)
    if place.file is None:
        asyncio.run(_migrate(place))
        return
    with ledger_faults():
        _create_file(place.file)
        with _locked_directory(place.file.parent):
            asyncio.run(_migrate(place))


def _create_file(file: Path) -> None:
    """An empty file that only its owner may read: it will hold customers and the digests of their keys."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with suppress(FileExistsError):
        os.close(os.open(file, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))


@contextmanager
def _locked_directory(directory: Path) -> Iterator[None]:
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


async def _migrate(place: Place) -> None:
    ledger = Ledger(Database(place, deadline_s=_DEADLINE_S))
    try:
        tables = await ledger.find_tables()
    finally:
        await ledger.aclose()
    if tables == "current":
        return
    if tables == "newer":
        raise LedgerUnavailable(NEWER)
    engine = create_engine(place, deadline_s=_DEADLINE_S)
    try:
        with ledger_faults():
            await _upgrade(engine, is_sqlite=place.file is not None)
    finally:
        await engine.dispose()


async def _upgrade(engine: AsyncEngine, *, is_sqlite: bool) -> None:
    if is_sqlite:
        async with engine.connect() as connection:
            await _use_wal(connection)
    async with engine.execution_options(**writing_options()).begin() as connection:
        if not is_sqlite:
            await connection.execute(text("SELECT pg_advisory_xact_lock(:number)"), {"number": _ADVISORY_LOCK})
        await connection.run_sync(_run_migrations)


async def _use_wal(connection: AsyncConnection) -> None:
    mode = await connection.scalar(text("PRAGMA journal_mode = WAL"))
    if mode != "wal":
        raise LedgerUnavailable(READ_ONLY)


def _run_migrations(connection: Connection) -> None:
    # Importing Alembic takes as long as everything else here together, and most starts find nothing to do.
    from alembic import command  # noqa: PLC0415 - see above
    from alembic.config import Config  # noqa: PLC0415 - see above

    config = Config()
    config.set_main_option("script_location", str(_SCRIPTS).replace("%", "%%"))
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
