"""The tables of overage: what is to be billed through Stripe's Billing Meters, and what customers allow.

As `tables` says of all of them.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import BigInteger, CheckConstraint, Column, ForeignKey, Index, Integer, Table, Text

from gateway.ledger.tables import IDENTIFIER, METADATA

SPEND_CAPS: Final = Table(
    "spend_caps",
    METADATA,
    # The most that a customer pays for overage in a billing period; no row: what policy says.
    Column("customer_id", IDENTIFIER, ForeignKey("customers.customer_id"), primary_key=True),
    Column("meter", IDENTIFIER, primary_key=True),
    Column("amount", BigInteger, nullable=False),
    Column("currency", Text, nullable=False),
    Column("set_at", BigInteger, nullable=False),
    CheckConstraint("amount >= 0", name="amount"),
)

METERED_WINDOWS: Final = Table(
    "metered_windows",
    METADATA,
    # The overage of one meter in one billing period. No foreign key: as for usage_totals.
    Column("customer_id", IDENTIFIER, primary_key=True),
    Column("meter", IDENTIFIER, primary_key=True),
    Column("window_starts_at", BigInteger, primary_key=True, autoincrement=False),
    # The running total as it was settled last, and which settlement that was.
    Column("total", BigInteger, nullable=False),
    Column("seq", BigInteger, nullable=False),
    # The running total up to which reports were made. It never falls.
    Column("reported", BigInteger, nullable=False),
    # The total at a look before: what has stood for a while is reported, for calls in progress may be given back.
    Column("stood", BigInteger, nullable=False),
    Column("stood_at", BigInteger),
    Column("look_at", BigInteger, nullable=False),
    # Known since the first look.
    Column("window_ends_at", BigInteger),
    Column("included", BigInteger),
    Column("stripe_meter", Text),
    # Of a window whose subscription ended at once: when that was looked at, and units that no invoice asks for.
    Column("closed_at", BigInteger),
    Column("unbilled", BigInteger),
    # Since when somebody has seen to these: put them on an invoice by hand, or let them go.
    Column("acknowledged_at", BigInteger),
    CheckConstraint("total >= 0", name="total"),
    CheckConstraint("reported >= 0", name="reported"),
)
Index(
    "ix_metered_windows_unreported",
    METERED_WINDOWS.c.look_at,
    sqlite_where=METERED_WINDOWS.c.total > METERED_WINDOWS.c.reported,
    postgresql_where=METERED_WINDOWS.c.total > METERED_WINDOWS.c.reported,
)

Index(
    "ix_metered_windows_unbilled",
    METERED_WINDOWS.c.closed_at,
    sqlite_where=METERED_WINDOWS.c.unbilled > 0,
    postgresql_where=METERED_WINDOWS.c.unbilled > 0,
)

ENDED_PERIODS: Final = Table(
    "ended_periods",
    METADATA,
    # What subscriptions ended in the middle of. `subscriptions` forgets it when the customer subscribes again.
    Column("customer_id", IDENTIFIER, primary_key=True),
    Column("subscription_id", IDENTIFIER, primary_key=True),
    # Whose subscription it was at Stripe.
    Column("stripe_customer_id", Text),
    Column("starts_at", BigInteger, nullable=False),
    Column("ended_at", BigInteger, nullable=False),
    Column("ended_as", Text, nullable=False),
)

METER_TURNS: Final = Table(
    "meter_turns",
    METADATA,
    # Who reports for a customer and meter now: one at a time, until the claim ends.
    Column("customer_id", IDENTIFIER, primary_key=True),
    Column("meter", IDENTIFIER, primary_key=True),
    Column("claimed_by", Text, nullable=False),
    Column("claimed_until", BigInteger, nullable=False),
)

METER_REPORTS: Final = Table(
    "meter_reports",
    METADATA,
    # Written before Stripe is told, and sent with the same words until Stripe has it.
    Column("identifier", IDENTIFIER, primary_key=True),
    Column("customer_id", IDENTIFIER, nullable=False),
    Column("meter", IDENTIFIER, nullable=False),
    Column("stripe_meter", Text, nullable=False),
    Column("window_starts_at", BigInteger, nullable=False),
    # The running total that it brings Stripe to, and by how much.
    Column("total", BigInteger, nullable=False),
    Column("units", BigInteger, nullable=False),
    # The instant that Stripe counts the units at.
    Column("happened_at", BigInteger, nullable=False),
    Column("made_at", BigInteger, nullable=False),
    # When it was first tried: Stripe knows its identifier for a day from then on.
    Column("tried_at", BigInteger),
    Column("sent_at", BigInteger),
    Column("status", Text, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("due_at", BigInteger, nullable=False),
    Column("error", Text),
    CheckConstraint("units >= 1", name="units"),
    CheckConstraint("status IN ('pending', 'sent', 'dead')", name="status"),
    Index("ix_meter_reports_window", "customer_id", "meter", "window_starts_at"),
    Index("ix_meter_reports_status_due_at", "status", "due_at"),
)
