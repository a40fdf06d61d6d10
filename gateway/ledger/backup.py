"""A copy of a ledger in SQLite that is whole, taken while gateways go on writing.

The file alone is not the ledger: what was written last is in the `-wal` file beside it until
SQLite moves it over. So the copy is made by SQLite itself, of one instant.
"""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing, suppress
from typing import TYPE_CHECKING

from gateway.core.errors import LedgerUnavailable
from gateway.ledger.database import parse_place
from gateway.ledger.errors import BackupRefused
from gateway.ledger.faults import NO_FILE, UNREADABLE

if TYPE_CHECKING:
    from pathlib import Path

_WAIT_S = 30.0


def back_up(url: str, file: Path) -> None:
    """Copy the ledger to a new `file` that only its owner may read. It appears there whole or not at all.

    Raises:
        BackupRefused: The ledger is in PostgreSQL, which has tools of its own; or `file` exists or cannot be written.
        LedgerUnavailable: The ledger cannot be read.
        LedgerUrlInvalid: The URL names no database we can use.
    """
    place = parse_place(url)
    if place.file is None:
        raise BackupRefused("the ledger is in PostgreSQL: back it up with pg_dump, or as your provider does it")
    if not place.file.exists():
        raise LedgerUnavailable(NO_FILE)
    if file.exists():
        raise BackupRefused(f"{file} exists, and no backup is overwritten")
    part = file.with_name(f".{file.name}.part")
    try:
        part.unlink(missing_ok=True)
        os.close(os.open(part, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        _copy(place.file, part)
        os.link(part, file)  # unlike a rename, it never replaces what is there
        _sync_directory(file.parent)
    except OSError as error:
        raise BackupRefused(f"{file} cannot be written: {error.strerror}") from error
    finally:
        for left in (part, part.with_name(f"{part.name}-wal"), part.with_name(f"{part.name}-shm")):
            with suppress(OSError):
                left.unlink()


def _copy(source: Path, target: Path) -> None:
    try:
        with (
            closing(sqlite3.connect(f"{source.as_uri()}?mode=rw", uri=True, timeout=_WAIT_S)) as ledger,
            closing(sqlite3.connect(target)) as copy,
        ):
            ledger.backup(copy)  # in one step: one instant, and writers need not wait for it
            damage = copy.execute("PRAGMA quick_check(1)").fetchone()  # closing leaves one file, with nothing beside it
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode & 0xFF in {sqlite3.SQLITE_FULL, sqlite3.SQLITE_READONLY}:
            raise BackupRefused(f"the copy cannot be written: {error}") from error
        raise LedgerUnavailable(UNREADABLE) from error
    except sqlite3.DatabaseError as error:
        raise LedgerUnavailable(UNREADABLE) from error
    if damage != ("ok",):
        raise LedgerUnavailable(UNREADABLE)
    with target.open("rb") as written:
        os.fsync(written.fileno())


def _sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
