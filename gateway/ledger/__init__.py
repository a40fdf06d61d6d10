"""The record: customers, keys, subscriptions, the webhook inbox, usage totals and the audit log.

The only package that speaks SQL. `Ledger` is everything that is asked of it; `migrate` makes or
updates its tables. Everything else the program keeps can be rebuilt from here and from Stripe.
"""

from __future__ import annotations

from gateway.ledger.alerts import KEPT_S as ALERTS_KEPT_S
from gateway.ledger.backup import back_up
from gateway.ledger.checkouts import KEPT_S as CHECKOUTS_KEPT_S
from gateway.ledger.customers import Binding
from gateway.ledger.database import describe
from gateway.ledger.errors import (
    BackupRefused,
    CheckoutClaimed,
    CustomerExists,
    CustomerUnknown,
    GrantsFull,
    KeyEnded,
    KeyExists,
    KeysFull,
    LedgerConflict,
    LedgerUrlInvalid,
    LooksBackFull,
    UserExists,
)
from gateway.ledger.history import DAY_S, HOUR_S
from gateway.ledger.inbox_care import KEPT_S as EVENTS_KEPT_S
from gateway.ledger.installation import STRIPE_ACCOUNT
from gateway.ledger.keys import EXPIRED_KEYS_LEAVE_AFTER_S
from gateway.ledger.ledger import Ledger, Tables
from gateway.ledger.meter_proof import KEPT_S as REPORTS_KEPT_S
from gateway.ledger.meter_rows import (
    EndedWindowRow,
    MeteredWindowRow,
    MeterReportRow,
    MeterTurn,
    SentUnits,
    SpendCapRow,
    UnbilledFilter,
)
from gateway.ledger.migrate import migrate
from gateway.ledger.plan_checks import PlanClaim, PlanTraits
from gateway.ledger.rows import (
    LAST_POSITION,
    AlertRow,
    AuditFilter,
    AuditRow,
    CheckoutRow,
    CustomerRow,
    GrantRow,
    HistoryRow,
    HourUsage,
    InboxCounts,
    InboxRow,
    KeyRow,
    NewKey,
    ReconciliationNote,
    ReconciliationRow,
    Swept,
    TierGrantRow,
    UsageTotal,
)

__all__ = [
    "ALERTS_KEPT_S",
    "CHECKOUTS_KEPT_S",
    "DAY_S",
    "EVENTS_KEPT_S",
    "EXPIRED_KEYS_LEAVE_AFTER_S",
    "HOUR_S",
    "LAST_POSITION",
    "REPORTS_KEPT_S",
    "STRIPE_ACCOUNT",
    "AlertRow",
    "AuditFilter",
    "AuditRow",
    "BackupRefused",
    "Binding",
    "CheckoutClaimed",
    "CheckoutRow",
    "CustomerExists",
    "CustomerRow",
    "CustomerUnknown",
    "EndedWindowRow",
    "GrantRow",
    "GrantsFull",
    "HistoryRow",
    "HourUsage",
    "InboxCounts",
    "InboxRow",
    "KeyEnded",
    "KeyExists",
    "KeyRow",
    "KeysFull",
    "Ledger",
    "LedgerConflict",
    "LedgerUrlInvalid",
    "LooksBackFull",
    "MeterReportRow",
    "MeterTurn",
    "MeteredWindowRow",
    "NewKey",
    "PlanClaim",
    "PlanTraits",
    "ReconciliationNote",
    "ReconciliationRow",
    "SentUnits",
    "SpendCapRow",
    "Swept",
    "Tables",
    "TierGrantRow",
    "UnbilledFilter",
    "UsageTotal",
    "UserExists",
    "back_up",
    "describe",
    "migrate",
]
