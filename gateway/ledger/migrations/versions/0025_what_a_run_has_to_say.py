"""What a reconciliation has to say of single customers, and since when it ends nobody: whoever goes on tells of all."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0025"
down_revision = "0024"

IDENTIFIER = sa.Text().with_variant(postgresql.TEXT(collation="C"), "postgresql")


def upgrade() -> None:
    op.add_column("reconciliation", sa.Column("unbound", sa.BigInteger, nullable=False, server_default="0"))
    op.add_column("reconciliation", sa.Column("audited_from", sa.BigInteger, nullable=False, server_default="0"))
    op.add_column("reconciliation", sa.Column("held_since", sa.BigInteger))
    op.execute(
        "UPDATE reconciliation SET audited_from ="
        " (SELECT coalesce(max(audit_id), 0) FROM audit_log WHERE audit_log.at < reconciliation.started_at)"
    )
    op.create_table(
        "reconciliation_notes",
        sa.Column("customer_id", IDENTIFIER, nullable=False),
        sa.Column("is_missing", sa.Boolean, nullable=False),
        sa.Column("is_held", sa.Boolean, nullable=False),
        sa.Column("is_planned", sa.Boolean, nullable=False),
        sa.Column("findings", sa.JSON, nullable=False),
        sa.PrimaryKeyConstraint("customer_id", name="pk_reconciliation_notes"),
        sa.ForeignKeyConstraint(["customer_id"], ["customers.customer_id"], name="fk_reconciliation_notes_customer_id"),
    )
