"""Grants of credits: recorded once for each reference, and dropped from the account when they end.

A grant ends when it is used up, when it is revoked, and, with the customer's next grant, a day after it
expired. Used up is what the settled totals say: `settle_grants` compares both, also the other way round,
because a refund may give units back to a grant that was used up.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import RowMapping, and_, func, literal, or_, select, update

from gateway.core.account import Grant
from gateway.core.credits import grant_field
from gateway.ledger.errors import GrantsFull
from gateway.ledger.part import LedgerPart, append_audit, lock_customer, note, raise_version, unbroken
from gateway.ledger.rows import GrantRow
from gateway.ledger.tables import CREDIT_GRANTS, USAGE_TOTALS

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sqlalchemy import ColumnElement
    from sqlalchemy.ext.asyncio import AsyncConnection

EXPIRED_GRANTS_LEAVE_AFTER_S: Final = 86_400
"""As for keys: longer than any clock is wrong, and not for ever."""

_NAMED_A_STATEMENT: Final = 500
_IS_TOTAL: Final = and_(
    USAGE_TOTALS.c.customer_id == CREDIT_GRANTS.c.customer_id,
    USAGE_TOTALS.c.field == literal(grant_field("")).concat(CREDIT_GRANTS.c.grant_id),
    USAGE_TOTALS.c.window_starts_at == CREDIT_GRANTS.c.granted_at,
)
_USED: Final = func.coalesce(
    select(USAGE_TOTALS.c.used).where(_IS_TOTAL).correlate(CREDIT_GRANTS).scalar_subquery(), 0
).label("used")
_IS_NEWLY_SPENT: Final = and_(CREDIT_GRANTS.c.ended.is_(None), _USED.element >= CREDIT_GRANTS.c.units)
_IS_SPENT_NO_MORE: Final = and_(CREDIT_GRANTS.c.ended == "spent", _USED.element < CREDIT_GRANTS.c.units)

# Keys and customers have instants of the same names; these labels keep a grant's apart.
GRANT_COLUMNS: Final = (
    CREDIT_GRANTS.c.grant_id,
    CREDIT_GRANTS.c.meter.label("grant_meter"),
    CREDIT_GRANTS.c.units.label("grant_units"),
    CREDIT_GRANTS.c.granted_at,
    CREDIT_GRANTS.c.expires_at.label("grant_expires_at"),
)


def read_grant(row: RowMapping | dict[str, Any]) -> Grant | None:
    """The grant of a row that has `GRANT_COLUMNS`; None if an outer join found none."""
    if row["grant_id"] is None:
        return None
    return Grant(
        grant_id=row["grant_id"],
        meter=row["grant_meter"],
        units=row["grant_units"],
        granted_at=row["granted_at"],
        expires_at=row["grant_expires_at"],
    )


class Credits(LedgerPart):
    """The grants of every customer."""

    @unbroken
    async def add_grant(self, row: GrantRow, *, now: int, actor: str, most: int) -> GrantRow:
        """Record a grant, unless one of that customer and reference is recorded.

        Returns:
            The grant that has the reference: `row`, or the one before it.

        Raises:
            CustomerUnknown: No such customer.
            GrantsFull: There are `most` live grants already.
            LedgerUnavailable: The ledger cannot be used.
        """
        customer_id, grant = row.customer_id, row.grant
        async with self._database.writing() as connection:
            await lock_customer(connection, customer_id)
            before = await _find(connection, customer_id, CREDIT_GRANTS.c.reference == row.reference)
            if before is not None:
                return before
            live = await connection.scalar(select(func.count()).where(*_is_live(customer_id, now)))
            if live is not None and live >= most:
                raise GrantsFull(f"there are {live} live grants already")
            await raise_version(connection, customer_id)
            await _drop_long_expired(connection, customer_id, now)
            await connection.execute(
                self._database.insert(CREDIT_GRANTS).values(
                    grant_id=grant.grant_id,
                    customer_id=customer_id,
                    reference=row.reference,
                    meter=grant.meter,
                    units=grant.units,
                    granted_at=grant.granted_at,
                    expires_at=grant.expires_at,
                    reason=note(row.reason),
                )
            )
            await append_audit(
                connection,
                at=now,
                customer_id=customer_id,
                actor=actor,
                action="credits-granted",
                because=row.reason,
                after=_shown(row),
            )
        return row

    @unbroken
    async def list_grants(self, customer_id: str, *, include_ended: bool = False) -> list[GrantRow]:
        """The customer's grants in the order in which they were made; those that ended last year are there too."""
        query = (
            select(CREDIT_GRANTS, _USED)
            .where(CREDIT_GRANTS.c.customer_id == customer_id)
            .order_by(CREDIT_GRANTS.c.granted_at, CREDIT_GRANTS.c.grant_id)
        )
        if not include_ended:
            query = query.where(CREDIT_GRANTS.c.ended.is_(None))
        async with self._database.reading() as connection:
            return [_row(row) for row in (await connection.execute(query)).mappings()]

    @unbroken
    async def revoke_grant(self, customer_id: str, grant_id: str, *, now: int, actor: str, because: str) -> bool:
        """End a grant now; what was used of it stays used.

        Returns:
            Whether that changed anything. False if the customer has no such grant, or it has ended.

        Raises:
            LedgerUnavailable: The ledger cannot be used.
        """
        async with self._database.writing() as connection:
            await lock_customer(connection, customer_id)
            row = await _find(connection, customer_id, CREDIT_GRANTS.c.grant_id == grant_id)
            if row is None or row.ended in {"expired", "revoked"}:
                return False
            await connection.execute(
                update(CREDIT_GRANTS).where(CREDIT_GRANTS.c.grant_id == grant_id).values(ended="revoked", ended_at=now)
            )
            await raise_version(connection, customer_id)
            await append_audit(
                connection,
                at=now,
                customer_id=customer_id,
                actor=actor,
                action="credits-revoked",
                because=because,
                before=_shown(row),
            )
        return True

    @unbroken
    async def settle_grants(self, customer_ids: Iterable[str], *, now: int) -> int:
        """Drop from the accounts of these customers what is used up, and take back what is not any more.

        Returns:
            How many accounts changed: their versions were raised.

        Raises:
            LedgerUnavailable: The ledger cannot be used. Some of them may have changed.
        """
        named, due = sorted(customer_ids), []
        for start in range(0, len(named), _NAMED_A_STATEMENT):
            some = CREDIT_GRANTS.c.customer_id.in_(named[start : start + _NAMED_A_STATEMENT])
            query = select(CREDIT_GRANTS.c.customer_id).where(some, or_(_IS_NEWLY_SPENT, _IS_SPENT_NO_MORE)).distinct()
            async with self._database.reading() as connection:
                due += list((await connection.scalars(query)).all())
        changed = 0
        for customer_id in due:
            async with self._database.writing() as connection:
                changed += await _settle_within(connection, customer_id, now)
        return changed


async def _settle_within(connection: AsyncConnection, customer_id: str, now: int) -> bool:
    await lock_customer(connection, customer_id)
    rows = update(CREDIT_GRANTS).where(CREDIT_GRANTS.c.customer_id == customer_id)
    spent = await connection.execute(rows.where(_IS_NEWLY_SPENT).values(ended="spent", ended_at=now))
    returned = await connection.execute(rows.where(_IS_SPENT_NO_MORE).values(ended=None, ended_at=None))
    if spent.rowcount + returned.rowcount == 0:
        return False
    await raise_version(connection, customer_id)
    return True


async def _find(connection: AsyncConnection, customer_id: str, which: ColumnElement[bool]) -> GrantRow | None:
    query = select(CREDIT_GRANTS, _USED).where(CREDIT_GRANTS.c.customer_id == customer_id, which)
    row = (await connection.execute(query)).mappings().one_or_none()
    return None if row is None else _row(row)


async def _drop_long_expired(connection: AsyncConnection, customer_id: str, now: int) -> None:
    await connection.execute(
        update(CREDIT_GRANTS)
        .where(
            CREDIT_GRANTS.c.customer_id == customer_id,
            CREDIT_GRANTS.c.ended.is_(None),
            CREDIT_GRANTS.c.expires_at < now - EXPIRED_GRANTS_LEAVE_AFTER_S,
        )
        .values(ended="expired", ended_at=CREDIT_GRANTS.c.expires_at)
    )


def _is_live(customer_id: str, now: int) -> tuple[ColumnElement[bool], ...]:
    return (
        CREDIT_GRANTS.c.customer_id == customer_id,
        CREDIT_GRANTS.c.ended.is_(None),
        or_(CREDIT_GRANTS.c.expires_at.is_(None), CREDIT_GRANTS.c.expires_at > now),
    )


def _row(row: RowMapping) -> GrantRow:
    return GrantRow(
        customer_id=row["customer_id"],
        grant=Grant(
            grant_id=row["grant_id"],
            meter=row["meter"],
            units=row["units"],
            granted_at=row["granted_at"],
            expires_at=row["expires_at"],
        ),
        reference=row["reference"],
        reason=row["reason"],
        used=row["used"],
        ended=row["ended"],
        ended_at=row["ended_at"],
    )


def _shown(row: GrantRow) -> dict[str, Any]:
    """A grant for the audit log."""
    grant = row.grant
    return {
        "grant_id": grant.grant_id,
        "reference": row.reference,
        "meter": grant.meter,
        "units": grant.units,
        "expires_at": grant.expires_at,
    }
