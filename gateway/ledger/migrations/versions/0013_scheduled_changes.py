"""Changes of plan that come later, and whose turn it is to change a subscription."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0013"
down_revision = "0012"

IDENTIFIER = sa.Text().with_variant(postgresql.TEXT(collation="C"), "postgresql")


def upgrade() -> None:
    op.add_column("subscriptions", sa.Column("scheduled_plan_id", sa.Text))
    op.add_column("subscriptions", sa.Column("scheduled_at", sa.BigInteger))
    op.create_table(
        "change_turns",
        sa.Column("customer_id", IDENTIFIER, nullable=False),
        sa.Column("holder", IDENTIFIER, nullable=False),
        sa.Column("until", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("customer_id", name="pk_change_turns"),
        sa.ForeignKeyConstraint(["customer_id"], ["customers.customer_id"], name="fk_change_turns_customer_id"),
    )
