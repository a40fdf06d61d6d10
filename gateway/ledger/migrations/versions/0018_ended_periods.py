"""Periods that a subscription ended in the middle of, which outlast the record of the subscription."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0018"
down_revision = "0017"

IDENTIFIER = sa.Text().with_variant(postgresql.TEXT(collation="C"), "postgresql")


def upgrade() -> None:
    op.create_table(
        "ended_periods",
        sa.Column("customer_id", IDENTIFIER, nullable=False),
        sa.Column("subscription_id", IDENTIFIER, nullable=False),
        sa.Column("stripe_customer_id", sa.Text),
        sa.Column("starts_at", sa.BigInteger, nullable=False),
        sa.Column("ended_at", sa.BigInteger, nullable=False),
        sa.Column("ended_as", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("customer_id", "subscription_id", name="pk_ended_periods"),
    )
    op.execute(
        "INSERT INTO ended_periods"
        " SELECT s.customer_id, s.subscription_id, c.stripe_customer_id, s.period_starts_at, s.status_since, s.status"
        " FROM subscriptions s JOIN customers c ON c.customer_id = s.customer_id"
        " WHERE s.status IN ('canceled', 'incomplete_expired', 'customer_deleted')"
        " AND s.status_since < s.period_ends_at"
    )
