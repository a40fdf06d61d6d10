"""One database, SQLite or PostgreSQL: how to reach it, and four ways to talk to it.

    reading         statements that each see one instant
    looking_back    one such statement that may take long; they wait for each other, and nothing else for them
    writing_once    one statement that is its own transaction
    writing         one transaction

SQLite: WAL, so readers never wait. Writers of one process queue in order; between processes the one
that comes second waits inside SQLite. A transaction takes the write lock at its start, because a
reader that turns into a writer in mid-transaction is refused at once. `synchronous=FULL`: what was
answered as stored survives a power cut.
"""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar
from urllib.parse import parse_qs, quote, urlsplit

import aiosqlite
import asyncpg  # type: ignore[import-untyped] # it ships no type information
from sqlalchemy import Connection, Table, event
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import URL
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from gateway.core.errors import LedgerUnavailable
from gateway.ledger.errors import LedgerUrlInvalid
from gateway.ledger.faults import BUSY, CLOSED, ledger_faults
from gateway.ledger.turn import Turn

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Coroutine


_Result = TypeVar("_Result")
_SQLITE_PREFIXES: Final = ("sqlite+aiosqlite:///", "sqlite:///")
_POSTGRESQL_SCHEMES: Final = frozenset({"postgresql", "postgres", "postgresql+asyncpg"})
_SQLITE_CONNECTIONS: Final = 5
_POSTGRESQL_CONNECTIONS: Final = 5
_POSTGRESQL_OVERFLOW: Final = 5
_PRAGMAS: Final = ("PRAGMA foreign_keys = ON", "PRAGMA synchronous = FULL")
_TAKES_WRITE_LOCK: Final = "tiergate_takes_write_lock"


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Place:
    """Where the ledger is. Exactly one of the two is set."""

    file: Path | None = None
    """SQLite's file."""
    dsn: str | None = None
    """PostgreSQL's URL, with its password."""

    def __repr__(self) -> str:
        return f"Place({self.description})"

    @property
    def description(self) -> str:
        """The place in words fit for a log: no password and no other parameter."""
        if self.dsn is None:
            return f"SQLite file {self.file}"
        parts, options = urlsplit(self.dsn), parse_qs(urlsplit(self.dsn).query)
        host = parts.hostname or options.get("host", ["localhost"])[0]
        return f"PostgreSQL database {parts.path.lstrip('/') or 'of the user'} on {host}"


def parse_place(url: str) -> Place:
    """Read the ledger's URL.

    `sqlite:///relative/path`, `sqlite:////absolute/path` (everything after the third slash is the path,
    verbatim), or any URL that libpq understands: `postgresql://user:password@host:port/database?sslmode=...`.

    Raises:
        LedgerUrlInvalid: Neither of these, or a database in memory, which two workers could not share.
    """
    for prefix in _SQLITE_PREFIXES:
        if url.startswith(prefix):
            path = url.removeprefix(prefix)
            if not path or path.startswith(":memory:"):
                raise LedgerUrlInvalid("the ledger needs a file: sqlite:////path/to/ledger.sqlite3")
            return Place(file=Path(path).absolute())
    scheme, separator, rest = url.partition("://")
    if scheme in _POSTGRESQL_SCHEMES and separator:
        _check_postgresql(rest)
        return Place(dsn=f"postgresql://{rest}")
    raise LedgerUrlInvalid("a ledger URL starts with sqlite:/// or postgresql://")


def _check_postgresql(rest: str) -> None:
    try:
        parts = urlsplit(f"postgresql://{rest}")
        _ = parts.port
    except ValueError:
        raise LedgerUrlInvalid("the ledger's PostgreSQL URL has a malformed host or port") from None
    if parse_qs(parts.query).get("channel_binding", ["disable"])[-1] == "require":
        raise LedgerUrlInvalid(
            "channel_binding=require is not supported by the PostgreSQL driver; "
            "take it out of the ledger's URL and use sslmode=verify-full"
        )


def describe(url: str) -> str:
    """The ledger's URL in words fit for a log: no password.

    Raises:
        LedgerUrlInvalid: It is no such URL.
    """
    return parse_place(url).description


def create_engine(place: Place, *, deadline_s: float) -> AsyncEngine:
    """An engine that has not connected yet."""
    return _sqlite_engine(place.file, deadline_s) if place.file else _postgresql_engine(place.dsn or "", deadline_s)


def writing_options() -> dict[str, Any]:
    """Execution options under which a transaction takes SQLite's write lock at its start."""
    return {_TAKES_WRITE_LOCK: True}


def _sqlite_engine(file: Path, deadline_s: float) -> AsyncEngine:
    # mode=rw: only `migrate` creates the file, so a mistyped path is an error and no empty ledger.
    uri = f"file:{quote(str(file))}?mode=rw"

    async def connect(*_: Any, **__: Any) -> aiosqlite.Connection:
        connection = aiosqlite.connect(uri, uri=True, isolation_level=None, timeout=deadline_s)
        thread = connection._thread  # noqa: SLF001 - the driver shows it nowhere else
        thread.daemon = True  # a process that dies must not wait for it
        try:
            await connection
            for pragma in _PRAGMAS:
                await connection.execute(pragma)
        except BaseException:
            await connection.close()
            # The thread's last act is to answer this event loop, which may be about to close.
            await asyncio.to_thread(thread.join)
            raise
        return connection

    engine = create_async_engine(
        URL.create("sqlite+aiosqlite", database=str(file)),
        async_creator=connect,
        pool_size=_SQLITE_CONNECTIONS,
        max_overflow=0,
        pool_timeout=deadline_s,
        hide_parameters=True,
    )
    event.listen(engine.sync_engine, "begin", _take_write_lock)
    return engine


def _take_write_lock(connection: Connection) -> None:
    if connection.get_execution_options().get(_TAKES_WRITE_LOCK):
        connection.exec_driver_sql("BEGIN IMMEDIATE")


def _postgresql_engine(dsn: str, deadline_s: float) -> AsyncEngine:
    async def connect(*_: Any, **__: Any) -> asyncpg.Connection:
        # asyncpg reads the URL itself, so that sslmode, host=/socket and so on mean what they mean to libpq.
        return await asyncpg.connect(dsn, timeout=deadline_s, command_timeout=deadline_s)

    return create_async_engine(
        "postgresql+asyncpg://",
        async_creator=connect,
        pool_size=_POSTGRESQL_CONNECTIONS,
        max_overflow=_POSTGRESQL_OVERFLOW,
        pool_timeout=deadline_s,
        pool_pre_ping=True,
        hide_parameters=True,
    )


class Database:
    """Connections to one database, and the order in which this process writes.

    Args:
        place: Where it is.
        deadline_s: Longest wait for a connection, for the write lock, and for one statement's answer.
    """

    def __init__(self, place: Place, *, deadline_s: float) -> None:
        self.place = place
        self.is_sqlite = place.file is not None
        self._deadline_s = deadline_s
        self._engine = create_engine(place, deadline_s=deadline_s)
        if self.is_sqlite:
            self._single = self._engine  # without BEGIN, SQLite commits each statement
            self._transactional = self._engine.execution_options(**writing_options())
        else:
            self._single = self._engine.execution_options(isolation_level="AUTOCOMMIT")
            self._transactional = self._engine
        self._turn = Turn()
        self._look_back = Turn()
        self._running: set[asyncio.Task[Any]] = set()
        self._closed = False

    def insert(self, table: Table) -> sqlite.Insert | postgresql.Insert:
        """An INSERT that knows ON CONFLICT."""
        return sqlite.insert(table) if self.is_sqlite else postgresql.insert(table)

    async def see_through(self, work: Coroutine[Any, Any, _Result]) -> _Result:
        """Run `work` to its end, even if the caller is cancelled meanwhile."""
        task = asyncio.create_task(work)
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        return await asyncio.shield(task)

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[AsyncConnection]:
        """A connection on which each statement sees one instant, and two may see different ones.

        Raises:
            LedgerUnavailable: The database cannot be used.
        """
        with ledger_faults():
            self._refuse_if_closed()
            async with self._single.connect() as connection:
                yield connection

    @asynccontextmanager
    async def looking_back(self) -> AsyncIterator[AsyncConnection]:
        """As `reading`, for a statement that reads much: this process runs one at a time.

        However many ask, the other connections stay free for webhooks, accounts and fences.

        Raises:
            LedgerUnavailable: The database cannot be used, or those who wait are too many.
        """
        async with self._in_turn(self._look_back), self.reading() as connection:
            yield connection

    @asynccontextmanager
    async def writing_once(self, *, goes_first: bool = False) -> AsyncIterator[AsyncConnection]:
        """A connection for one statement that is its own transaction: stored when `execute` returns.

        `goes_first`: before whoever else waits to write (`turn`).

        Raises:
            LedgerUnavailable: The database cannot be used.
        """
        with ledger_faults():
            async with self._taking_turns(goes_first=goes_first), self._single.connect() as connection:
                yield connection

    @asynccontextmanager
    async def writing(self) -> AsyncIterator[AsyncConnection]:
        """A transaction: stored at the end of the block, undone if an error leaves it.

        Raises:
            LedgerUnavailable: The database cannot be used.
        """
        with ledger_faults():
            async with self._taking_turns(), self._transactional.begin() as connection:
                yield connection

    async def aclose(self) -> None:
        """Close every connection when what runs has ended. What is asked afterwards is refused."""
        self._closed = True
        while self._running:
            await asyncio.wait(self._running)
        await self._engine.dispose()

    @asynccontextmanager
    async def _taking_turns(self, *, goes_first: bool = False) -> AsyncIterator[None]:
        self._refuse_if_closed()
        if not self.is_sqlite:
            yield
            return
        async with self._in_turn(self._turn, goes_first=goes_first):
            yield

    @asynccontextmanager
    async def _in_turn(self, turn: Turn, *, goes_first: bool = False) -> AsyncIterator[None]:
        try:
            async with asyncio.timeout(self._deadline_s):
                await turn.acquire(goes_first=goes_first)
        except TimeoutError as error:
            raise LedgerUnavailable(BUSY) from error
        try:
            yield
        finally:
            turn.release()

    def _refuse_if_closed(self) -> None:
        if self._closed:
            raise LedgerUnavailable(CLOSED)
