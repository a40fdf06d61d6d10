"""What a change did to access, and which event brought it, in the audit log."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0008"
down_revision = "0007"

IDENTIFIER = sa.Text().with_variant(postgresql.TEXT(collation="C"), "postgresql")


def upgrade() -> None:
    op.add_column("audit_log", sa.Column("access_before", sa.JSON))
    op.add_column("audit_log", sa.Column("access_after", sa.JSON))
    op.add_column("audit_log", sa.Column("event_id", IDENTIFIER))
    op.create_index("ix_audit_log_action_audit_id", "audit_log", ["action", "audit_id"])
