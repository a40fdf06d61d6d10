"""Since when a status holds, what else holds beside it, what Stripe entitles to, and open disputes."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0006"
down_revision = "0005"

IDENTIFIER = sa.Text().with_variant(postgresql.TEXT(collation="C"), "postgresql")


def upgrade() -> None:
    op.add_column("subscriptions", sa.Column("status_since", sa.BigInteger))
    op.add_column("subscriptions", sa.Column("flags", sa.JSON))
    op.add_column("subscriptions", sa.Column("entitlements", sa.JSON))
    op.create_table(
        "disputes",
        sa.Column("dispute_id", IDENTIFIER, nullable=False),
        sa.Column("customer_id", IDENTIFIER, nullable=False),
        sa.Column("noted_at", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("dispute_id", name="pk_disputes"),
        sa.ForeignKeyConstraint(["customer_id"], ["customers.customer_id"], name="fk_disputes_customer_id"),
    )
    op.create_index("ix_disputes_customer_id", "disputes", ["customer_id"])
