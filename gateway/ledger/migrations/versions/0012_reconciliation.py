"""How far the reconciliation of all customers is, and when each was last in step with Stripe."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0012"
down_revision = "0011"

IDENTIFIER = sa.Text().with_variant(postgresql.TEXT(collation="C"), "postgresql")


def upgrade() -> None:
    op.add_column("customers", sa.Column("synced_at", sa.BigInteger))
    op.execute("UPDATE customers SET synced_at = created_at WHERE stripe_customer_id IS NOT NULL")
    op.create_index("ix_customers_synced_at", "customers", ["synced_at"])
    op.create_table(
        "reconciliation",
        sa.Column("name", IDENTIFIER, nullable=False),
        sa.Column("started_at", sa.BigInteger, nullable=False),
        sa.Column("cursor", IDENTIFIER),
        sa.Column("checked", sa.BigInteger, nullable=False),
        sa.Column("drifted", sa.BigInteger, nullable=False),
        sa.Column("failed", sa.BigInteger, nullable=False),
        sa.Column("finished_at", sa.BigInteger),
        sa.Column("claimed_by", sa.Text),
        sa.Column("claimed_until", sa.BigInteger),
        sa.PrimaryKeyConstraint("name", name="pk_reconciliation"),
        sa.CheckConstraint("(claimed_by IS NULL) = (claimed_until IS NULL)", name="claim"),
    )
