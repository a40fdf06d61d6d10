"""The audit log: who changed what, when and why. Rows are added, and nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import select

from gateway.ledger.part import LedgerPart, append_audit, unbroken
from gateway.ledger.rows import AuditRow
from gateway.ledger.tables import AUDIT_LOG

if TYPE_CHECKING:
    from collections.abc import Mapping


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
            )

    @unbroken
    async def list_audit(
        self, customer_id: str | None = None, limit: int = 100, *, before: int | None = None
    ) -> list[AuditRow]:
        """Newest rows first, of one customer or of all. `before`: only rows older than this `audit_id`."""
        rows = select(AUDIT_LOG).order_by(AUDIT_LOG.c.audit_id.desc()).limit(limit)
        if customer_id is not None:
            rows = rows.where(AUDIT_LOG.c.customer_id == customer_id)
        if before is not None:
            rows = rows.where(AUDIT_LOG.c.audit_id < before)
        async with self._database.reading() as connection:
            return [AuditRow(**row) for row in (await connection.execute(rows)).mappings()]
