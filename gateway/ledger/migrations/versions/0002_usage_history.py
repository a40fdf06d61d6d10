"""Usage by the hour, and which batches of it are written."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0002"
down_revision = "0001"

IDENTIFIER = sa.Text().with_variant(postgresql.TEXT(collation="C"), "postgresql")


def upgrade() -> None:
    op.create_table(
        "usage_history",
        sa.Column("customer_id", IDENTIFIER, nullable=False),
        sa.Column("starts_at", sa.BigInteger, autoincrement=False, nullable=False),
        sa.Column("span_s", sa.BigInteger, autoincrement=False, nullable=False),
        sa.Column("meter", IDENTIFIER, nullable=False),
        sa.Column("key_id", IDENTIFIER, nullable=False),
        sa.Column("route", IDENTIFIER, nullable=False),
        sa.Column("requests", sa.BigInteger, nullable=False),
        sa.Column("denied", sa.BigInteger, nullable=False),
        sa.Column("units", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint(
            "customer_id", "starts_at", "span_s", "meter", "key_id", "route", name="pk_usage_history"
        ),
        sa.CheckConstraint("span_s IN (3600, 86400)", name=op.f("ck_usage_history_span")),
    )
    op.create_index("ix_usage_history_span_s_starts_at", "usage_history", ["span_s", "starts_at"])
    op.create_table(
        "usage_writers",
        sa.Column("writer", IDENTIFIER, nullable=False),
        sa.Column("batch", sa.BigInteger, nullable=False),
        sa.Column("written_at", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("writer", name="pk_usage_writers"),
    )
