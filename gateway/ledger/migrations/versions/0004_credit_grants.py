"""Credits: grants of units with an expiry."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0004"
down_revision = "0003"

IDENTIFIER = sa.Text().with_variant(postgresql.TEXT(collation="C"), "postgresql")


def upgrade() -> None:
    op.create_table(
        "credit_grants",
        sa.Column("grant_id", IDENTIFIER, nullable=False),
        sa.Column("customer_id", IDENTIFIER, nullable=False),
        sa.Column("reference", IDENTIFIER, nullable=False),
        sa.Column("meter", sa.Text, nullable=False),
        sa.Column("units", sa.BigInteger, nullable=False),
        sa.Column("granted_at", sa.BigInteger, nullable=False),
        sa.Column("expires_at", sa.BigInteger),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("ended", sa.Text),
        sa.Column("ended_at", sa.BigInteger),
        sa.PrimaryKeyConstraint("grant_id", name="pk_credit_grants"),
        sa.ForeignKeyConstraint(["customer_id"], ["customers.customer_id"], name="fk_credit_grants_customer_id"),
        sa.UniqueConstraint("customer_id", "reference", name="uq_credit_grants_customer_id_reference"),
        sa.CheckConstraint("units >= 1", name=op.f("ck_credit_grants_units")),
        sa.CheckConstraint("expires_at IS NULL OR expires_at > granted_at", name=op.f("ck_credit_grants_lasts")),
        sa.CheckConstraint("ended IN ('spent', 'expired', 'revoked')", name=op.f("ck_credit_grants_ended")),
        sa.CheckConstraint("(ended IS NULL) = (ended_at IS NULL)", name=op.f("ck_credit_grants_end")),
    )
