"""Tiers that are granted by hand, for a time."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0007"
down_revision = "0006"

IDENTIFIER = sa.Text().with_variant(postgresql.TEXT(collation="C"), "postgresql")


def upgrade() -> None:
    op.create_table(
        "tier_grants",
        sa.Column("customer_id", IDENTIFIER, nullable=False),
        sa.Column("tier", sa.Text, nullable=False),
        sa.Column("granted_at", sa.BigInteger, nullable=False),
        sa.Column("ends_at", sa.BigInteger, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("customer_id", name="pk_tier_grants"),
        sa.ForeignKeyConstraint(["customer_id"], ["customers.customer_id"], name="fk_tier_grants_customer_id"),
        sa.CheckConstraint("ends_at > granted_at", name="lasts"),
    )
