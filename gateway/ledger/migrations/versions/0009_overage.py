"""Overage: caps that customers set, what is to be billed, and what Stripe's meters were told."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0009"
down_revision = "0008"

IDENTIFIER = sa.Text().with_variant(postgresql.TEXT(collation="C"), "postgresql")


def upgrade() -> None:
    op.add_column("subscriptions", sa.Column("metered", sa.JSON))
    op.create_table(
        "spend_caps",
        sa.Column("customer_id", IDENTIFIER, nullable=False),
        sa.Column("meter", IDENTIFIER, nullable=False),
        sa.Column("amount", sa.BigInteger, nullable=False),
        sa.Column("currency", sa.Text, nullable=False),
        sa.Column("set_at", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("customer_id", "meter", name="pk_spend_caps"),
        sa.ForeignKeyConstraint(["customer_id"], ["customers.customer_id"], name="fk_spend_caps_customer_id"),
        sa.CheckConstraint("amount >= 0", name="amount"),
    )
    op.create_table(
        "metered_windows",
        sa.Column("customer_id", IDENTIFIER, nullable=False),
        sa.Column("meter", IDENTIFIER, nullable=False),
        sa.Column("window_starts_at", sa.BigInteger, nullable=False),
        sa.Column("total", sa.BigInteger, nullable=False),
        sa.Column("seq", sa.BigInteger, nullable=False),
        sa.Column("reported", sa.BigInteger, nullable=False),
        sa.Column("stood", sa.BigInteger, nullable=False),
        sa.Column("stood_at", sa.BigInteger),
        sa.Column("look_at", sa.BigInteger, nullable=False),
        sa.Column("window_ends_at", sa.BigInteger),
        sa.Column("included", sa.BigInteger),
        sa.Column("stripe_meter", sa.Text),
        sa.PrimaryKeyConstraint("customer_id", "meter", "window_starts_at", name="pk_metered_windows"),
        sa.CheckConstraint("total >= 0", name="total"),
        sa.CheckConstraint("reported >= 0", name="reported"),
    )
    op.create_index(
        "ix_metered_windows_unreported",
        "metered_windows",
        ["look_at"],
        sqlite_where=sa.text("total > reported"),
        postgresql_where=sa.text("total > reported"),
    )
    op.create_table(
        "meter_turns",
        sa.Column("customer_id", IDENTIFIER, nullable=False),
        sa.Column("meter", IDENTIFIER, nullable=False),
        sa.Column("claimed_by", sa.Text, nullable=False),
        sa.Column("claimed_until", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("customer_id", "meter", name="pk_meter_turns"),
    )
    op.create_table(
        "meter_reports",
        sa.Column("identifier", IDENTIFIER, nullable=False),
        sa.Column("customer_id", IDENTIFIER, nullable=False),
        sa.Column("meter", IDENTIFIER, nullable=False),
        sa.Column("stripe_meter", sa.Text, nullable=False),
        sa.Column("window_starts_at", sa.BigInteger, nullable=False),
        sa.Column("total", sa.BigInteger, nullable=False),
        sa.Column("units", sa.BigInteger, nullable=False),
        sa.Column("happened_at", sa.BigInteger, nullable=False),
        sa.Column("made_at", sa.BigInteger, nullable=False),
        sa.Column("tried_at", sa.BigInteger),
        sa.Column("sent_at", sa.BigInteger),
        sa.Column("status", sa.Text, nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("due_at", sa.BigInteger, nullable=False),
        sa.Column("error", sa.Text),
        sa.PrimaryKeyConstraint("identifier", name="pk_meter_reports"),
        sa.CheckConstraint("units >= 1", name="units"),
        sa.CheckConstraint("status IN ('pending', 'sent', 'dead')", name="status"),
    )
    op.create_index("ix_meter_reports_window", "meter_reports", ["customer_id", "meter", "window_starts_at"])
    op.create_index("ix_meter_reports_status_due_at", "meter_reports", ["status", "due_at"])
