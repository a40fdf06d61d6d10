"""What the parts of the ledger share: the database, the audit row, the version of an account."""

from __future__ import annotations

from functools import wraps
from typing import TYPE_CHECKING, Any, Concatenate, Final, ParamSpec, TypeVar

from sqlalchemy import bindparam, insert, select, update

from gateway.ledger.errors import CustomerUnknown
from gateway.ledger.tables import AUDIT_LOG, CUSTOMERS

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Mapping

    from sqlalchemy.ext.asyncio import AsyncConnection

    from gateway.core.account import Account
    from gateway.core.audited import Assess, AuditedAccess
    from gateway.ledger.database import Database

NOTE_LENGTH = 2000
"""Longest free text that is kept, in characters: reasons, outcomes, errors."""

# Statements that every read of Stripe runs are made once: to make one costs more than to run it.
_RAISE_VERSION: Final = (
    update(CUSTOMERS)
    .where(CUSTOMERS.c.customer_id == bindparam("whose"))
    .values(version=CUSTOMERS.c.version + 1)
    .returning(CUSTOMERS.c.version)
)
_APPEND_AUDIT: Final = insert(AUDIT_LOG).returning(AUDIT_LOG.c.audit_id)


class LedgerPart:
    """One subject of the ledger. All parts of one ledger share one database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def _read_account(self, connection: AsyncConnection, customer_id: str) -> Account | None:
        """The account as the caller's transaction sees it. `Accounts` knows."""
        raise NotImplementedError

    async def _access(
        self, connection: AsyncConnection, customer_id: str, assess: Assess | None
    ) -> AuditedAccess | None:
        """What the account grants as the caller's transaction sees it; None if `assess` is."""
        account = None if assess is None else await self._read_account(connection, customer_id)
        return None if assess is None or account is None else assess(account)


_Part = TypeVar("_Part", bound=LedgerPart)
_Arguments = ParamSpec("_Arguments")
_Result = TypeVar("_Result")


def unbroken(
    method: Callable[Concatenate[_Part, _Arguments], Coroutine[Any, Any, _Result]],
) -> Callable[Concatenate[_Part, _Arguments], Coroutine[Any, Any, _Result]]:
    """Run a method of a part to its end even if its caller is cancelled in the middle.

    A connection that is dropped between BEGIN and COMMIT keeps its locks until it is collected, and
    nobody could write meanwhile. The deadlines of the database bound how long the end may take.
    """

    @wraps(method)
    async def call(part: _Part, /, *args: _Arguments.args, **kwargs: _Arguments.kwargs) -> _Result:
        database = part._database  # noqa: SLF001 - this is the method itself, wrapped
        return await database.see_through(method(part, *args, **kwargs))

    return call


def is_storable(text: str) -> bool:
    """Whether both databases can hold `text`: no NUL (PostgreSQL), no half of a surrogate pair (UTF-8)."""
    return "\x00" not in text and not any("\ud800" <= character <= "\udfff" for character in text)


def note(text: str) -> str:
    """Free text, cut to `NOTE_LENGTH`, with what cannot be stored replaced."""
    cut = text[:NOTE_LENGTH]
    return cut if is_storable(cut) else cut.replace("\x00", "�").encode(errors="replace").decode()


async def lock_customer(connection: AsyncConnection, customer_id: str) -> None:
    """Keep the customer's row locked to the transaction's end, before it is known whether anything changes.

    Raises:
        CustomerUnknown: No such customer.
    """
    query = select(CUSTOMERS.c.customer_id).where(CUSTOMERS.c.customer_id == customer_id).with_for_update()
    if await connection.scalar(query) is None:
        raise CustomerUnknown(customer_id)


async def raise_version(connection: AsyncConnection, customer_id: str, **changes: Any) -> int:
    """Write `changes` to the customer, raise its version, and keep its row locked to the transaction's end.

    The order of versions is the order in which their contents are seen, because whoever changes an
    account holds this lock.

    Returns:
        The new version.

    Raises:
        CustomerUnknown: Nothing was written.
    """
    raise_ = _RAISE_VERSION.values(**changes) if changes else _RAISE_VERSION
    version = await connection.scalar(raise_, {"whose": customer_id})
    if version is None:
        raise CustomerUnknown(customer_id)
    return int(version)


async def append_audit(  # noqa: PLR0913 - by name: as many as a row has columns
    connection: AsyncConnection,
    *,
    at: int,
    customer_id: str | None,
    actor: str,
    action: str,
    because: str,
    before: Mapping[str, Any] | None = None,
    after: Mapping[str, Any] | None = None,
    access_before: AuditedAccess | None = None,
    access_after: AuditedAccess | None = None,
    event_id: str | None = None,
) -> int:
    """Add one row to the audit log within the caller's transaction, and return its number."""
    row = {
        "at": at,
        "customer_id": customer_id,
        "actor": note(actor),
        "action": action,
        "because": note(because),
        "before": None if before is None else dict(before),
        "after": None if after is None else dict(after),
        "access_before": access_before,
        "access_after": access_after,
        "event_id": event_id,
    }
    audit_id = await connection.scalar(_APPEND_AUDIT, row)
    return int(audit_id or 0)
