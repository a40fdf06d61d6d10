"""The audit log: who changed what, when and why. Rows are added, and nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import Select, func, select, text

from gateway.ledger.part import LedgerPart, append_audit, unbroken
from gateway.ledger.rows import AuditFilter, AuditRow
from gateway.ledger.tables import AUDIT_LOG

if TYPE_CHECKING:
    from collections.abc import Mapping

EVERYTHING: Final = AuditFilter()
POLICY_CHANGED: Final = "policy-changed"


class Audit(LedgerPart):
    """What the ledger changes itself is audited in the same transaction; other changes come through here."""

    @unbroken
    async def record_audit(
        self,
        *,
        at: int,
        customer_id: str | None,
        actor: str,
        action: str,
        because: str,
        before: Mapping[str, Any] | None = None,
        after: Mapping[str, Any] | None = None,
        event_id: str | None = None,
    ) -> int:
        """Add one row, and return its number. `before` and `after` are JSON objects without secrets.

        Raises:
            LedgerUnavailable: The ledger cannot be used.
        """
        async with self._database.writing_once() as connection:
            return await append_audit(
                connection,
                at=at,
                customer_id=customer_id,
                actor=actor,
                action=action,
                because=because,
                before=before,
                after=after,
                event_id=event_id,
            )

    @unbroken
    async def list_audit(
        self,
        customer_id: str | None = None,
        limit: int = 100,
        *,
        before: int | None = None,
        which: AuditFilter = EVERYTHING,
    ) -> list[AuditRow]:
        """Newest rows first, of one customer or of all. `before`: only rows older than this `audit_id`."""
        rows = _filtered(which).order_by(AUDIT_LOG.c.audit_id.desc()).limit(limit)
        if customer_id is not None:
            rows = rows.where(AUDIT_LOG.c.customer_id == customer_id)
        if before is not None:
            rows = rows.where(AUDIT_LOG.c.audit_id < before)
        return await self._read_rows(rows)

    @unbroken
    async def page_audit(self, which: AuditFilter, *, after: int, upto: int, limit: int) -> list[AuditRow]:
        """Oldest rows first: those behind `after`, up to and with `upto`, which `last_audit_id` gave."""
        rows = _filtered(which).where(AUDIT_LOG.c.audit_id > after, AUDIT_LOG.c.audit_id <= upto)
        return await self._read_rows(rows.order_by(AUDIT_LOG.c.audit_id).limit(limit))

    @unbroken
    async def last_audit_id(self) -> int:
        """The newest row; none with a lower number is still to come. 0: there is none.

        PostgreSQL numbers rows when they are written, and shows them when their transactions end, so a later
        one may be seen first. Whoever writes is waited for, and new writers wait meanwhile: milliseconds.
        """
        async with self._database.writing() as connection:
            if not self._database.is_sqlite:
                await connection.execute(text("LOCK TABLE audit_log IN SHARE MODE"))
            return int(await connection.scalar(select(func.max(AUDIT_LOG.c.audit_id))) or 0)

    @unbroken
    async def note_policy(self, facts: Mapping[str, Any], *, now: int) -> bool:
        """Record that a policy is in force, unless the last one that was recorded is this one.

        Of many workers that take the same edit, the first one records it.

        Args:
            facts: Of the policy: its hash as `policy`, and what access hangs on.
            now: Unix seconds.

        Returns:
            Whether it was recorded.
        """
        last = (
            select(AUDIT_LOG.c.after)
            .where(AUDIT_LOG.c.action == POLICY_CHANGED)
            .order_by(AUDIT_LOG.c.audit_id.desc())
            .limit(1)
        )
        async with self._database.writing() as connection:
            if not self._database.is_sqlite:
                await connection.execute(text("LOCK TABLE audit_log IN SHARE ROW EXCLUSIVE MODE"))
            before = await connection.scalar(last)
            if before is not None and before.get("policy") == facts["policy"]:
                return False
            await append_audit(
                connection,
                at=now,
                customer_id=None,
                actor="policy",
                action=POLICY_CHANGED,
                because="the policy files say so",
                before=before,
                after=facts,
            )
        return True

    async def _read_rows(self, rows: Select[Any]) -> list[AuditRow]:
        async with self._database.reading() as connection:
            return [AuditRow(**row) for row in (await connection.execute(rows)).mappings()]


def _filtered(which: AuditFilter) -> Select[Any]:
    rows, log = select(AUDIT_LOG), AUDIT_LOG.c
    for column, value in ((log.customer_id, which.customer_id), (log.actor, which.actor), (log.action, which.action)):
        if value is not None:
            rows = rows.where(column == value)
    if which.since is not None:
        rows = rows.where(log.at >= which.since)
    if which.until is not None:
        rows = rows.where(log.at < which.until)
    return rows
