"""The tables of the ledger, as SQLAlchemy Core sees them.

Instants are Unix seconds and end in `_at` or `_since`; amounts are whole units. Identifiers compare
by byte on both databases, so that pages and locks have one order. The migrations say the same again,
and a test keeps the two in agreement.
"""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
    literal_column,
)
from sqlalchemy.dialects import postgresql

SCHEMA_REVISION: Final = "0030"
"""The newest migration: what `alembic_version` holds when the tables are those below.

Revisions are four digits and rise, so that one which is not known here is known to be newer.
"""

METADATA: Final = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)

IDENTIFIER: Final = Text().with_variant(postgresql.TEXT(collation="C"), "postgresql")
_SERIAL: Final = BigInteger().with_variant(Integer, "sqlite")  # SQLite numbers rows only in an INTEGER key


def _instant(name: str, *, optional: bool = False) -> Column[Any]:
    return Column(name, BigInteger, nullable=optional)


CUSTOMERS: Final = Table(
    "customers",
    METADATA,
    Column("customer_id", IDENTIFIER, primary_key=True),
    Column("user_id", IDENTIFIER, nullable=False, unique=True),
    Column("stripe_customer_id", IDENTIFIER, unique=True),
    _instant("created_at"),
    Column("blocked", Boolean, nullable=False),
    # Raised by every change to what the account contains; the cache is behind while published_version is.
    Column("version", BigInteger, nullable=False),
    Column("published_version", BigInteger, nullable=False),
    # Numbers handed out before reads of Stripe, and the number of the read that was last written.
    Column("sync_fence", BigInteger, nullable=False),
    Column("applied_fence", BigInteger, nullable=False),
    # When a read of Stripe was last recorded; when it was created, as long as none was. Null: never came near Stripe.
    _instant("synced_at", optional=True),
    CheckConstraint("published_version <= version", name="published"),
    CheckConstraint("applied_fence <= sync_fence", name="fence"),
)
Index(
    "ix_customers_unpublished",
    CUSTOMERS.c.customer_id,
    sqlite_where=CUSTOMERS.c.published_version < CUSTOMERS.c.version,
    postgresql_where=CUSTOMERS.c.published_version < CUSTOMERS.c.version,
)

Index("ix_customers_synced_at", CUSTOMERS.c.synced_at)

API_KEYS: Final = Table(
    "api_keys",
    METADATA,
    Column("key_id", IDENTIFIER, primary_key=True),
    Column("customer_id", IDENTIFIER, ForeignKey("customers.customer_id"), nullable=False),
    Column("digest", IDENTIFIER, nullable=False, unique=True),
    Column("mode", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("last4", Text, nullable=False),
    Column("scopes", JSON, nullable=False),
    Column("limits", JSON, nullable=False),
    Column("limit_texts", JSON, nullable=False),
    Column("allow", JSON, nullable=False),
    _instant("created_at"),
    _instant("expires_at", optional=True),
    _instant("revoked_at", optional=True),
    _instant("last_used_at", optional=True),
    # The successor's key_id. An overlap's end goes into expires_at, so that alone does not tell a replaced key.
    Column("replaced_by", IDENTIFIER),
    CheckConstraint("mode IN ('live', 'test')", name="mode"),
    Index("ix_api_keys_customer_id_created_at_key_id", "customer_id", "created_at", "key_id"),
)

SUBSCRIPTIONS: Final = Table(
    "subscriptions",
    METADATA,
    Column("customer_id", IDENTIFIER, ForeignKey("customers.customer_id"), primary_key=True),
    Column("subscription_id", IDENTIFIER, nullable=False),
    Column("status", Text, nullable=False),
    Column("plan_id", Text),
    _instant("period_starts_at"),
    _instant("period_ends_at"),
    _instant("anchor_at"),
    _instant("quota_anchor_at", optional=True),
    _instant("cancel_at", optional=True),
    Column("scheduled_plan_id", Text),
    _instant("scheduled_at", optional=True),
    Column("scheduled_seats", BigInteger),
    Column("scheduled_add_ons", JSON(none_as_null=True)),
    _instant("past_due_since", optional=True),
    Column("last_good_plan_id", Text),
    _instant("unreadable_since", optional=True),
    Column("price_id", IDENTIFIER),
    Column("plan_changes", JSON(none_as_null=True)),
    _instant("status_since", optional=True),
    Column("flags", JSON(none_as_null=True)),
    Column("entitlements", JSON(none_as_null=True)),
    Column("metered", JSON(none_as_null=True)),
    Column("seats", BigInteger),
    Column("add_ons", JSON(none_as_null=True)),
    Column("add_on_prices", JSON(none_as_null=True)),
    Column("extras_changes", JSON(none_as_null=True)),
    Column("beneath", JSON(none_as_null=True)),
    Column("sold_as", Text),
    _instant("unconfirmed_since", optional=True),
    Column("last_good_tier", Text),
    Column("scheduled_sold_as", Text),
    _instant("changed_at"),
)

DISPUTES: Final = Table(
    "disputes",
    METADATA,
    Column("dispute_id", IDENTIFIER, primary_key=True),
    Column("customer_id", IDENTIFIER, ForeignKey("customers.customer_id"), nullable=False, index=True),
    _instant("noted_at"),
)

INBOX: Final = Table(
    "inbox",
    METADATA,
    Column("position", _SERIAL, primary_key=True, autoincrement=True),
    Column("event_id", IDENTIFIER, nullable=False, unique=True),
    Column("type", Text, nullable=False),
    Column("stripe_customer_id", IDENTIFIER),
    Column("livemode", Boolean, nullable=False),
    Column("api_version", Text),
    Column("payload", Text, nullable=False),
    _instant("received_at"),
    Column("status", Text, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("failures", Integer, nullable=False),
    # Pending: not before this instant. Claimed: the claim ends here. One index serves both.
    _instant("due_at"),
    Column("claimed_by", Text),
    _instant("finished_at", optional=True),
    Column("outcome", Text),
    Column("error", Text),
    # What events that one sync serves have in common: the Stripe customer, or an object that does not name it.
    Column("about", IDENTIFIER),
    CheckConstraint("status IN ('pending', 'claimed', 'done', 'dead')", name="status"),
    CheckConstraint("(status = 'claimed') = (claimed_by IS NOT NULL)", name="claim"),
    Index("ix_inbox_status_position", "status", "position"),
    Index("ix_inbox_status_finished_at", "status", "finished_at"),
    sqlite_autoincrement=True,
)
INBOX_IS_OPEN: Final = INBOX.c.status.not_in((literal_column("'done'"), literal_column("'dead'")))
"""Pending or claimed, said so that SQLite uses the two indexes below: it takes a status that equals something for rare
and would read every open event to claim a few. As literals, because it plans before it knows a parameter."""
Index("ix_inbox_waiting", INBOX.c.position, INBOX.c.due_at, sqlite_where=INBOX_IS_OPEN, postgresql_where=INBOX_IS_OPEN)
Index(
    "ix_inbox_waiting_about",
    INBOX.c.about,
    INBOX.c.position,
    sqlite_where=INBOX_IS_OPEN,
    postgresql_where=INBOX_IS_OPEN,
)

CHECKOUTS: Final = Table(
    "checkouts",
    METADATA,
    Column("session_id", IDENTIFIER, primary_key=True),
    Column("customer_id", IDENTIFIER, ForeignKey("customers.customer_id"), nullable=False, index=True),
    Column("plan_id", Text, nullable=False),
    Column("claim_digest", IDENTIFIER),
    _instant("created_at"),
    _instant("claimed_at", optional=True),
    Column("key_id", IDENTIFIER),
    Index("ix_checkouts_created_at", "created_at"),
)

USAGE_TOTALS: Final = Table(
    "usage_totals",
    METADATA,
    # No foreign key: a total that the cache counted is a fact, and one unknown customer must not
    # refuse a whole settlement.
    Column("customer_id", IDENTIFIER, primary_key=True),
    Column("field", IDENTIFIER, primary_key=True),
    Column("window_starts_at", BigInteger, primary_key=True, autoincrement=False),
    Column("used", BigInteger, nullable=False),
    Column("seq", BigInteger, nullable=False),
    CheckConstraint("used >= 0", name="used"),
)

USAGE_HISTORY: Final = Table(
    "usage_history",
    METADATA,
    # For looking back, not for deciding. A row is an hour (span_s 3600), or a day (86400) once its hours are old.
    Column("customer_id", IDENTIFIER, primary_key=True),
    Column("starts_at", BigInteger, primary_key=True, autoincrement=False),
    Column("span_s", BigInteger, primary_key=True, autoincrement=False),
    Column("meter", IDENTIFIER, primary_key=True),
    Column("key_id", IDENTIFIER, primary_key=True),
    Column("route", IDENTIFIER, primary_key=True),
    Column("requests", BigInteger, nullable=False),
    Column("denied", BigInteger, nullable=False),
    # Below 0 for a moment: what is given back may be written before what was spent, by another worker.
    Column("units", BigInteger, nullable=False),
    CheckConstraint("span_s IN (3600, 86400)", name="span"),
    Index("ix_usage_history_span_s_starts_at", "span_s", "starts_at"),
)

USAGE_WRITERS: Final = Table(
    "usage_writers",
    METADATA,
    # The last batch of each worker's lifetime that is in the history: one that is repeated adds nothing.
    Column("writer", IDENTIFIER, primary_key=True),
    Column("batch", BigInteger, nullable=False),
    _instant("written_at"),
)

ALERTS: Final = Table(
    "alerts",
    METADATA,
    # One row per way it is sent. The rows are also the memory of what was told.
    Column("alert_id", IDENTIFIER, primary_key=True),
    Column("channel", IDENTIFIER, primary_key=True),
    Column("customer_id", IDENTIFIER, nullable=False),
    Column("counter", IDENTIFIER, nullable=False),
    _instant("window_starts_at"),
    Column("percent", Integer, nullable=False),
    Column("used", BigInteger, nullable=False),
    Column("body", Text, nullable=False),
    _instant("noticed_at"),
    Column("status", Text, nullable=False),
    Column("attempts", Integer, nullable=False),
    # Pending: not before this instant. Claimed: the claim ends here.
    _instant("due_at"),
    Column("claimed_by", Text),
    _instant("finished_at", optional=True),
    Column("error", Text),
    CheckConstraint("status IN ('pending', 'claimed', 'done', 'dead')", name="status"),
    CheckConstraint("(status = 'claimed') = (claimed_by IS NOT NULL)", name="claim"),
    Index("ix_alerts_told", "customer_id", "counter", "window_starts_at"),
    Index("ix_alerts_status_due_at", "status", "due_at"),
    Index("ix_alerts_noticed_at", "noticed_at"),
)

CREDIT_GRANTS: Final = Table(
    "credit_grants",
    METADATA,
    Column("grant_id", IDENTIFIER, primary_key=True),
    Column("customer_id", IDENTIFIER, ForeignKey("customers.customer_id"), nullable=False),
    # Whoever grants names the grant, so that the same one asked for again is not a second one.
    Column("reference", IDENTIFIER, nullable=False),
    Column("meter", Text, nullable=False),
    Column("units", BigInteger, nullable=False),
    _instant("granted_at"),
    _instant("expires_at", optional=True),
    Column("reason", Text, nullable=False),
    # Why it is no part of the account any more; what was used of it is in usage_totals.
    Column("ended", Text),
    _instant("ended_at", optional=True),
    UniqueConstraint("customer_id", "reference"),
    CheckConstraint("units >= 1", name="units"),
    CheckConstraint("expires_at IS NULL OR expires_at > granted_at", name="lasts"),
    CheckConstraint("ended IN ('spent', 'expired', 'revoked')", name="ended"),
    CheckConstraint("(ended IS NULL) = (ended_at IS NULL)", name="end"),
)

TIER_GRANTS: Final = Table(
    "tier_grants",
    METADATA,
    # The tier that a customer has by hand. At most one: another replaces it, and the audit log has those before.
    Column("customer_id", IDENTIFIER, ForeignKey("customers.customer_id"), primary_key=True),
    Column("tier", Text, nullable=False),
    _instant("granted_at"),
    _instant("ends_at"),
    Column("reason", Text, nullable=False),
    CheckConstraint("ends_at > granted_at", name="lasts"),
)

RECONCILIATION: Final = Table(
    "reconciliation",
    METADATA,
    # One row: how far the reconciliation of all customers is, and who has it in hand.
    Column("name", IDENTIFIER, primary_key=True),
    _instant("started_at"),
    # The last customer that is done. Null: none is going on.
    Column("cursor", IDENTIFIER),
    Column("checked", BigInteger, nullable=False),
    Column("drifted", BigInteger, nullable=False),
    Column("failed", BigInteger, nullable=False),
    Column("ended", BigInteger, nullable=False, server_default="0"),
    Column("unbound", BigInteger, nullable=False, server_default="0"),
    # The newest row of the audit log when it began: what it changed stands behind.
    Column("audited_from", BigInteger, nullable=False, server_default="0"),
    _instant("finished_at", optional=True),
    Column("claimed_by", Text),
    _instant("claimed_until", optional=True),
    # Since when somebody is to say how many may be ended before anybody is. Null: a few are without a word.
    _instant("held_since", optional=True),
    CheckConstraint("(claimed_by IS NULL) = (claimed_until IS NULL)", name="claim"),
)

RECONCILIATION_NOTES: Final = Table(
    "reconciliation_notes",
    METADATA,
    # What the reconciliation that goes on, or the last one, has to say of single customers.
    Column("customer_id", IDENTIFIER, ForeignKey("customers.customer_id"), primary_key=True),
    Column("is_missing", Boolean, nullable=False),
    Column("is_held", Boolean, nullable=False),
    Column("is_planned", Boolean, nullable=False),
    # Pairs of code and detail.
    Column("findings", JSON, nullable=False),
)

PLAN_CHECKS: Final = Table(
    "plan_checks",
    METADATA,
    # One row: against which policy the plans of all records were checked last, and who is checking them.
    Column("name", IDENTIFIER, primary_key=True),
    # Null: that goes on, or was broken off.
    Column("policy_hash", Text),
    Column("claimed_by", Text),
    _instant("claimed_until", optional=True),
    CheckConstraint("(claimed_by IS NULL) = (claimed_until IS NULL)", name="claim"),
)

CHANGE_TURNS: Final = Table(
    "change_turns",
    METADATA,
    # Who is changing a customer's subscription at Stripe, on whichever worker. Over at `until`, given back or not.
    Column("customer_id", IDENTIFIER, ForeignKey("customers.customer_id"), primary_key=True),
    Column("holder", IDENTIFIER, nullable=False),
    _instant("until"),
)

SWEEPS: Final = Table(
    "sweeps",
    METADATA,
    # How far each sweep for events that did not arrive is. In hand until `claimed_until`.
    Column("name", IDENTIFIER, primary_key=True),
    # Where one that was broken off goes on. Null: none was.
    Column("place", JSON(none_as_null=True)),
    # Up to which instant all was looked through, and of which types. Null: up to none.
    Column("swept_to", BigInteger),
    Column("types", JSON, nullable=False),
    Column("claimed_by", Text, nullable=False),
    _instant("claimed_until"),
)

INSTALLATION: Final = Table(
    "installation",
    METADATA,
    # What the ledger was made with: one Stripe account, one pepper (a MAC under it).
    Column("name", IDENTIFIER, primary_key=True),
    Column("value", Text, nullable=False),
    _instant("recorded_at"),
)

AUDIT_LOG: Final = Table(
    "audit_log",
    METADATA,
    # Append-only: triggers of the migration refuse UPDATE, DELETE, TRUNCATE and INSERT OR REPLACE.
    Column("audit_id", _SERIAL, primary_key=True, autoincrement=True),
    _instant("at"),
    Column("customer_id", IDENTIFIER),
    Column("actor", Text, nullable=False),
    Column("action", Text, nullable=False),
    Column("because", Text, nullable=False),
    Column("before", JSON(none_as_null=True)),
    Column("after", JSON(none_as_null=True)),
    # What the customer had, and has since: tier and standing, by the policy of that moment.
    Column("access_before", JSON(none_as_null=True)),
    Column("access_after", JSON(none_as_null=True)),
    # Stripe's, if an event brought it about.
    Column("event_id", IDENTIFIER),
    Index("ix_audit_log_customer_id_audit_id", "customer_id", "audit_id"),
    Index("ix_audit_log_action_audit_id", "action", "audit_id"),
    sqlite_autoincrement=True,
)
