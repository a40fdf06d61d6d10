"""Keeping what each customer may do in step with Stripe.

`customers` reads one customer and records what it found, in the order of fences. `everyone` does so with all of
them, `reconciling` every day, and `comparing` says what that would change.
`changing` changes the plan of a running subscription, one change at a time (`turns`), if what is asked for can be
made (`wishing`); what was planned, and was lost to a change that is not paid, comes back (`restoring`).
`binding` says which Stripe customer each has.
`arriving` says what became of a checkout, and remembers it.
`plan_checking` holds all records against a new policy, and writes into them since when it lacks their plans.
`portal_flows` finds what a link into Stripe's portal may open at.
`receiving` takes a webhook delivery: verified, stored, answered. `worker` works the stored
events off in the background, `sweeping` looks for those that never arrived.
"""

from __future__ import annotations

from gateway.sync.account import LedgerAccount
from gateway.sync.arriving import Arrival, Arrivals
from gateway.sync.binding import bind, find_or_make, is_replaced
from gateway.sync.change_values import (
    ChangePlanned,
    ChangeTimeRefused,
    CollectionPaused,
    IntervalsDiffer,
    NoSubscription,
    PlanChanged,
    PlanPreview,
    PortalCannotChange,
    SubscriptionEnding,
    SubscriptionScheduled,
    UnknownPlan,
    no_plan_words,
)
from gateway.sync.changing import PlanChanges
from gateway.sync.closing_pages import close_pages
from gateway.sync.comparing import Comparing, Comparison, Difference
from gateway.sync.confirming import find_confirmation
from gateway.sync.customers import HoldsPolicy, Sync, SyncOutcome
from gateway.sync.ending import TOO_MANY_MISSING
from gateway.sync.everyone import OF_A_PART, ON_COMMAND
from gateway.sync.extras import ExtrasOrder
from gateway.sync.old_debts import refuse_debtor
from gateway.sync.plan_checking import PlanChecking
from gateway.sync.portal_flows import portal_flow
from gateway.sync.receiving import Received, accepts, receive_event
from gateway.sync.reconciling import Reconciler, ReconciliationBusy, Schedule
from gateway.sync.refusing_more import refuse_suspended
from gateway.sync.reporting import MAX_PER_SECOND, Pace, SyncReport
from gateway.sync.turns import ChangeInProgress, TooManyBillingRequests, Turns
from gateway.sync.worker import EventWorker
from gateway.sync.worker_options import WorkerOptions

__all__ = [
    "MAX_PER_SECOND",
    "OF_A_PART",
    "ON_COMMAND",
    "TOO_MANY_MISSING",
    "Arrival",
    "Arrivals",
    "ChangeInProgress",
    "ChangePlanned",
    "ChangeTimeRefused",
    "CollectionPaused",
    "Comparing",
    "Comparison",
    "Difference",
    "EventWorker",
    "ExtrasOrder",
    "HoldsPolicy",
    "IntervalsDiffer",
    "LedgerAccount",
    "NoSubscription",
    "Pace",
    "PlanChanged",
    "PlanChanges",
    "PlanChecking",
    "PlanPreview",
    "PortalCannotChange",
    "Received",
    "Reconciler",
    "ReconciliationBusy",
    "Schedule",
    "SubscriptionEnding",
    "SubscriptionScheduled",
    "Sync",
    "SyncOutcome",
    "SyncReport",
    "TooManyBillingRequests",
    "Turns",
    "UnknownPlan",
    "WorkerOptions",
    "accepts",
    "bind",
    "close_pages",
    "find_confirmation",
    "find_or_make",
    "is_replaced",
    "no_plan_words",
    "portal_flow",
    "receive_event",
    "refuse_debtor",
    "refuse_suspended",
]
