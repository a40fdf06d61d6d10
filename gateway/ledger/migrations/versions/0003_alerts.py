"""Alerts: what the seller was told, and what is still to be sent."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0003"
down_revision = "0002"

IDENTIFIER = sa.Text().with_variant(postgresql.TEXT(collation="C"), "postgresql")


def upgrade() -> None:
    op.create_table(
        "alerts",
        sa.Column("alert_id", IDENTIFIER, nullable=False),
        sa.Column("channel", IDENTIFIER, nullable=False),
        sa.Column("customer_id", IDENTIFIER, nullable=False),
        sa.Column("counter", IDENTIFIER, nullable=False),
        sa.Column("window_starts_at", sa.BigInteger, nullable=False),
        sa.Column("percent", sa.Integer, nullable=False),
        sa.Column("used", sa.BigInteger, nullable=False),
        sa.Column("body", sa.Text, nullable=False),
        sa.Column("noticed_at", sa.BigInteger, nullable=False),
        sa.Column("status", sa.Text, nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("due_at", sa.BigInteger, nullable=False),
        sa.Column("claimed_by", sa.Text),
        sa.Column("finished_at", sa.BigInteger),
        sa.Column("error", sa.Text),
        sa.PrimaryKeyConstraint("alert_id", "channel", name="pk_alerts"),
        sa.CheckConstraint("status IN ('pending', 'claimed', 'done', 'dead')", name=op.f("ck_alerts_status")),
        sa.CheckConstraint("(status = 'claimed') = (claimed_by IS NOT NULL)", name=op.f("ck_alerts_claim")),
    )
    op.create_index("ix_alerts_told", "alerts", ["customer_id", "counter", "window_starts_at"])
    op.create_index("ix_alerts_status_due_at", "alerts", ["status", "due_at"])
    op.create_index("ix_alerts_noticed_at", "alerts", ["noticed_at"])
