"""The first tables, and the triggers that keep the audit log append-only."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None

IDENTIFIER = sa.Text().with_variant(postgresql.TEXT(collation="C"), "postgresql")
SERIAL = sa.BigInteger().with_variant(sa.Integer, "sqlite")

SQLITE_TRIGGERS = (
    """
    CREATE TRIGGER audit_log_no_update BEFORE UPDATE ON audit_log
    BEGIN SELECT RAISE(ABORT, 'audit_log is append-only'); END
    """,
    """
    CREATE TRIGGER audit_log_no_delete BEFORE DELETE ON audit_log
    BEGIN SELECT RAISE(ABORT, 'audit_log is append-only'); END
    """,
    # INSERT OR REPLACE deletes without firing the delete trigger.
    """
    CREATE TRIGGER audit_log_no_replace BEFORE INSERT ON audit_log
    WHEN EXISTS (SELECT 1 FROM audit_log WHERE audit_id = NEW.audit_id)
    BEGIN SELECT RAISE(ABORT, 'audit_log is append-only'); END
    """,
)
POSTGRESQL_TRIGGERS = (
    """
    CREATE FUNCTION audit_log_refuse() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN
        RAISE EXCEPTION 'audit_log is append-only' USING ERRCODE = 'integrity_constraint_violation';
    END $$
    """,
    """
    CREATE TRIGGER audit_log_no_change BEFORE UPDATE OR DELETE ON audit_log
    FOR EACH ROW EXECUTE FUNCTION audit_log_refuse()
    """,
    """
    CREATE TRIGGER audit_log_no_truncate BEFORE TRUNCATE ON audit_log
    FOR EACH STATEMENT EXECUTE FUNCTION audit_log_refuse()
    """,
)


def upgrade() -> None:
    create_customers()
    create_api_keys()
    create_subscriptions()
    create_inbox()
    create_checkouts()
    create_usage_totals()
    create_installation()
    create_audit_log()


def create_customers() -> None:
    op.create_table(
        "customers",
        sa.Column("customer_id", IDENTIFIER, nullable=False),
        sa.Column("user_id", IDENTIFIER, nullable=False),
        sa.Column("stripe_customer_id", IDENTIFIER),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("blocked", sa.Boolean, nullable=False),
        sa.Column("version", sa.BigInteger, nullable=False),
        sa.Column("published_version", sa.BigInteger, nullable=False),
        sa.Column("sync_fence", sa.BigInteger, nullable=False),
        sa.Column("applied_fence", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("customer_id", name="pk_customers"),
        sa.UniqueConstraint("user_id", name="uq_customers_user_id"),
        sa.UniqueConstraint("stripe_customer_id", name="uq_customers_stripe_customer_id"),
        sa.CheckConstraint("published_version <= version", name=op.f("ck_customers_published")),
        sa.CheckConstraint("applied_fence <= sync_fence", name=op.f("ck_customers_fence")),
    )
    behind = sa.text("published_version < version")
    op.create_index(
        "ix_customers_unpublished", "customers", ["customer_id"], sqlite_where=behind, postgresql_where=behind
    )


def create_api_keys() -> None:
    op.create_table(
        "api_keys",
        sa.Column("key_id", IDENTIFIER, nullable=False),
        sa.Column("customer_id", IDENTIFIER, nullable=False),
        sa.Column("digest", IDENTIFIER, nullable=False),
        sa.Column("mode", sa.Text, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("last4", sa.Text, nullable=False),
        sa.Column("scopes", sa.JSON, nullable=False),
        sa.Column("limits", sa.JSON, nullable=False),
        sa.Column("limit_texts", sa.JSON, nullable=False),
        sa.Column("allow", sa.JSON, nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("expires_at", sa.BigInteger),
        sa.Column("revoked_at", sa.BigInteger),
        sa.Column("last_used_at", sa.BigInteger),
        sa.Column("replaced_by", IDENTIFIER),
        sa.PrimaryKeyConstraint("key_id", name="pk_api_keys"),
        sa.ForeignKeyConstraint(["customer_id"], ["customers.customer_id"], name="fk_api_keys_customer_id"),
        sa.UniqueConstraint("digest", name="uq_api_keys_digest"),
        sa.CheckConstraint("mode IN ('live', 'test')", name=op.f("ck_api_keys_mode")),
    )
    op.create_index("ix_api_keys_customer_id", "api_keys", ["customer_id"])


def create_subscriptions() -> None:
    op.create_table(
        "subscriptions",
        sa.Column("customer_id", IDENTIFIER, nullable=False),
        sa.Column("subscription_id", IDENTIFIER, nullable=False),
        sa.Column("status", sa.Text, nullable=False),
        sa.Column("plan_id", sa.Text),
        sa.Column("period_starts_at", sa.BigInteger, nullable=False),
        sa.Column("period_ends_at", sa.BigInteger, nullable=False),
        sa.Column("anchor_at", sa.BigInteger, nullable=False),
        sa.Column("quota_anchor_at", sa.BigInteger),
        sa.Column("cancel_at", sa.BigInteger),
        sa.Column("past_due_since", sa.BigInteger),
        sa.Column("last_good_plan_id", sa.Text),
        sa.Column("unreadable_since", sa.BigInteger),
        sa.Column("price_id", IDENTIFIER),
        sa.Column("changed_at", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("customer_id", name="pk_subscriptions"),
        sa.ForeignKeyConstraint(["customer_id"], ["customers.customer_id"], name="fk_subscriptions_customer_id"),
    )


def create_inbox() -> None:
    op.create_table(
        "inbox",
        sa.Column("position", SERIAL, autoincrement=True, nullable=False),
        sa.Column("event_id", IDENTIFIER, nullable=False),
        sa.Column("type", sa.Text, nullable=False),
        sa.Column("stripe_customer_id", IDENTIFIER),
        sa.Column("livemode", sa.Boolean, nullable=False),
        sa.Column("api_version", sa.Text),
        sa.Column("payload", sa.Text, nullable=False),
        sa.Column("received_at", sa.BigInteger, nullable=False),
        sa.Column("status", sa.Text, nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("failures", sa.Integer, nullable=False),
        sa.Column("due_at", sa.BigInteger, nullable=False),
        sa.Column("claimed_by", sa.Text),
        sa.Column("finished_at", sa.BigInteger),
        sa.Column("outcome", sa.Text),
        sa.Column("error", sa.Text),
        sa.PrimaryKeyConstraint("position", name="pk_inbox"),
        sa.UniqueConstraint("event_id", name="uq_inbox_event_id"),
        sa.CheckConstraint("status IN ('pending', 'claimed', 'done', 'dead')", name=op.f("ck_inbox_status")),
        sa.CheckConstraint("(status = 'claimed') = (claimed_by IS NOT NULL)", name=op.f("ck_inbox_claim")),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_inbox_status_position", "inbox", ["status", "position"])
    op.create_index("ix_inbox_status_finished_at", "inbox", ["status", "finished_at"])
    is_open = sa.text("status IN ('pending', 'claimed')")
    op.create_index("ix_inbox_open", "inbox", ["position", "due_at"], sqlite_where=is_open, postgresql_where=is_open)


def create_checkouts() -> None:
    op.create_table(
        "checkouts",
        sa.Column("session_id", IDENTIFIER, nullable=False),
        sa.Column("customer_id", IDENTIFIER, nullable=False),
        sa.Column("plan_id", sa.Text, nullable=False),
        sa.Column("claim_digest", IDENTIFIER),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("claimed_at", sa.BigInteger),
        sa.Column("key_id", IDENTIFIER),
        sa.PrimaryKeyConstraint("session_id", name="pk_checkouts"),
        sa.ForeignKeyConstraint(["customer_id"], ["customers.customer_id"], name="fk_checkouts_customer_id"),
    )
    op.create_index("ix_checkouts_customer_id", "checkouts", ["customer_id"])


def create_usage_totals() -> None:
    op.create_table(
        "usage_totals",
        sa.Column("customer_id", IDENTIFIER, nullable=False),
        sa.Column("field", IDENTIFIER, nullable=False),
        sa.Column("window_starts_at", sa.BigInteger, autoincrement=False, nullable=False),
        sa.Column("used", sa.BigInteger, nullable=False),
        sa.Column("seq", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("customer_id", "field", "window_starts_at", name="pk_usage_totals"),
        sa.CheckConstraint("used >= 0", name=op.f("ck_usage_totals_used")),
    )


def create_installation() -> None:
    op.create_table(
        "installation",
        sa.Column("name", IDENTIFIER, nullable=False),
        sa.Column("value", sa.Text, nullable=False),
        sa.Column("recorded_at", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_installation"),
    )


def create_audit_log() -> None:
    op.create_table(
        "audit_log",
        sa.Column("audit_id", SERIAL, autoincrement=True, nullable=False),
        sa.Column("at", sa.BigInteger, nullable=False),
        sa.Column("customer_id", IDENTIFIER),
        sa.Column("actor", sa.Text, nullable=False),
        sa.Column("action", sa.Text, nullable=False),
        sa.Column("because", sa.Text, nullable=False),
        sa.Column("before", sa.JSON),
        sa.Column("after", sa.JSON),
        sa.PrimaryKeyConstraint("audit_id", name="pk_audit_log"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_audit_log_customer_id_audit_id", "audit_log", ["customer_id", "audit_id"])
    is_sqlite = op.get_bind().dialect.name == "sqlite"
    for trigger in SQLITE_TRIGGERS if is_sqlite else POSTGRESQL_TRIGGERS:
        op.execute(trigger)
