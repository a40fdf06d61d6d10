"""Which failures of a database mean that the ledger is unavailable, in words fit for a caller.

Everything an operator can repair (connection, lock, disk, permission, missing tables) becomes
`LedgerUnavailable` with the cause chained. What only a change of code can repair stays what it is.
"""

from __future__ import annotations

import sqlite3
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

import asyncpg  # type: ignore[import-untyped] # it ships no type information
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError, NotSupportedError
from sqlalchemy.exc import TimeoutError as PoolExhausted

from gateway.core.errors import LedgerUnavailable

if TYPE_CHECKING:
    from collections.abc import Iterator

BUSY: Final = "The ledger is busy."
CLOSED: Final = "The ledger is closed."
FULL: Final = "The ledger's disk is full."
NOT_MIGRATED: Final = "The ledger's tables are missing or of another version."
NEWER: Final = "The ledger's tables are of a newer version of tiergate. Use that version or a later one."
NO_FILE: Final = "There is no ledger file yet."
NO_ANSWER: Final = "The ledger did not answer."
READ_ONLY: Final = "The ledger cannot be written."
UNREADABLE: Final = "The ledger's file cannot be read."

_SQLITE: Final = {
    sqlite3.SQLITE_ERROR: NOT_MIGRATED,  # our statements are fixed: only the tables can disagree with them
    sqlite3.SQLITE_PERM: READ_ONLY,
    sqlite3.SQLITE_BUSY: BUSY,
    sqlite3.SQLITE_LOCKED: BUSY,
    sqlite3.SQLITE_READONLY: READ_ONLY,
    sqlite3.SQLITE_IOERR: UNREADABLE,
    sqlite3.SQLITE_CORRUPT: UNREADABLE,
    sqlite3.SQLITE_FULL: FULL,
    sqlite3.SQLITE_CANTOPEN: UNREADABLE,
    sqlite3.SQLITE_SCHEMA: NOT_MIGRATED,
    sqlite3.SQLITE_NOTADB: UNREADABLE,
}
_POSTGRESQL: Final = {
    "25006": READ_ONLY,
    "40001": BUSY,
    "40P01": BUSY,
    "42501": READ_ONLY,
    "42703": NOT_MIGRATED,
    "42P01": NOT_MIGRATED,
    "53100": FULL,
    "55P03": BUSY,
    "57014": BUSY,
}
"""By SQLSTATE. Source: PostgreSQL documentation, appendix A."""
_UNDONE: Final = ("40001", "40P01")
_POSTGRESQL_OURS: Final = ("0A", "22", "23", "42")
"""Classes that accuse our statement or its values, not the server."""


@contextmanager
def ledger_faults() -> Iterator[None]:
    """Turn what an operator can repair into `LedgerUnavailable`.

    Raises:
        LedgerUnavailable: With the database's own error as its cause.
    """
    try:
        yield
    except DBAPIError as error:
        sentence = _sentence(error)
        if sentence is None:
            raise
        raise LedgerUnavailable(sentence) from error
    except asyncpg.PostgresError as error:
        raise LedgerUnavailable(_POSTGRESQL.get(error.sqlstate or "", NO_ANSWER)) from error
    except PoolExhausted as error:
        raise LedgerUnavailable(BUSY) from error
    except (OSError, asyncpg.InterfaceError) as error:  # refused, reset, unresolvable, timed out
        raise LedgerUnavailable(NO_ANSWER) from error


def is_undone(error: LedgerUnavailable) -> bool:
    """Whether PostgreSQL undid the transaction for the sake of another, and asks that it be tried again."""
    cause = error.__cause__
    return isinstance(cause, DBAPIError) and getattr(cause.orig, "sqlstate", None) in _UNDONE


def _sentence(error: DBAPIError) -> str | None:
    if isinstance(error.orig, sqlite3.Error):
        return _sqlite_sentence(error)
    code = getattr(error.orig, "sqlstate", None) or ""
    if code in _POSTGRESQL:
        return _POSTGRESQL[code]
    if code.startswith(_POSTGRESQL_OURS) or isinstance(error, IntegrityError | DataError | NotSupportedError):
        return None
    return NO_ANSWER


def _sqlite_sentence(error: DBAPIError) -> str | None:
    if isinstance(error, IntegrityError | DataError):
        return None
    extended = getattr(error.orig, "sqlite_errorcode", None)
    if extended is None:  # raised by the driver itself: the connection is gone
        return NO_ANSWER
    return _SQLITE.get(extended & 0xFF)
