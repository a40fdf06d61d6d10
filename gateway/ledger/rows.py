"""What the ledger hands out, one value per row. Instants are Unix seconds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from gateway.core.account import Grant, KeyRecord, TierGrant

LAST_POSITION = 2**63 - 1
"""Rows of the inbox and of the audit log are numbered from 1, in 64 bits."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CustomerRow:
    """Who is billed, and how far its account is synchronised and published."""

    customer_id: str
    user_id: str
    """The seller's own id for this customer, unique."""
    stripe_customer_id: str | None
    created_at: int
    blocked: bool
    version: int
    """Raised by every change to what the account contains."""
    published_version: int
    """Newest version known to be in the cache; never above `version`."""
    sync_fence: int
    """Newest fence handed out."""
    applied_fence: int
    """Fence of the read of Stripe that was last written; never above `sync_fence`."""
    synced_at: int | None = None
    """When a read of Stripe was last recorded; None: it never came near Stripe."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NewKey:
    """A key to be recorded. Its secret is kept nowhere."""

    record: KeyRecord
    digest: str
    """The only form of the key that is kept."""
    mode: str
    """`live` or `test`."""
    limit_texts: tuple[str, ...] = ()
    """`record.limits` as they were written."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyRow:
    """One API key with what only its owner and operators see. The secret is kept nowhere."""

    customer_id: str
    record: KeyRecord
    digest: str
    mode: str
    """`live` or `test`."""
    limit_texts: tuple[str, ...]
    """The key's own limits as they were written; `record.limits` holds what they mean."""
    revoked_at: int | None
    last_used_at: int | None
    replaced_by: str | None
    """Key id of its successor. Until its overlap ends it still works."""


@dataclass(frozen=True, slots=True, kw_only=True)
class InboxRow:
    """One Stripe event and what became of it."""

    position: int
    """Order of arrival; what pages of `list_events` continue from."""
    event_id: str
    type: str
    stripe_customer_id: str | None
    livemode: bool
    api_version: str | None
    payload: str
    received_at: int
    status: str
    """`pending`, `claimed`, `done` or `dead`."""
    attempts: int
    """Claims so far, this one included."""
    failures: int
    """Claims that ended in a failure of the event's own: outages, shutdowns and crashes do not count."""
    due_at: int
    """Pending: not before. Claimed: when the claim ends."""
    claimed_by: str | None
    finished_at: int | None
    outcome: str | None
    error: str | None
    """Why the last attempt failed."""
    about: str | None = None
    """What events that one sync serves have in common: the Stripe customer, or an object that does not name it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class InboxCounts:
    """How much of the inbox needs work or a look."""

    by_status: dict[str, int]
    """Every status but `done` is present. Never mutated after construction."""
    oldest_open_at: int | None
    """When the oldest event that is neither done nor dead arrived."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckoutRow:
    """One checkout session, and whether its first key was handed out."""

    session_id: str
    customer_id: str
    plan_id: str
    claim_digest: str | None
    """Digest of the secret that only the browser of an anonymous checkout got; None for a known caller."""
    created_at: int
    claimed_at: int | None
    key_id: str | None
    """The key that its page showed last."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GrantRow:
    """One grant of credits, and what became of it."""

    customer_id: str
    grant: Grant
    reference: str
    """What whoever granted calls it; unique for the customer."""
    reason: str
    used: int = 0
    """As of the last settlement."""
    ended: str | None = None
    """Why it is no part of the account any more: `spent`, `expired` or `revoked`."""
    ended_at: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TierGrantRow:
    """The tier that a customer has by hand, in force or over."""

    customer_id: str
    grant: TierGrant
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class UsageTotal:
    """Units that one counter of one customer has counted in one window."""

    customer_id: str
    field: str
    """Name of the counter, from `core.limits.limit_field`."""
    window_starts_at: int
    used: int
    seq: int
    """Order of readings of one customer: a higher one is later."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptCounters:
    """What was settled of one customer's counters last; without those of keys that left the account."""

    counters: dict[str, tuple[int, int]]
    """Per counter the start of its newest window, and the units used in it."""
    ended: dict[str, tuple[int, int]]
    """The same of the window before that, where there is one."""
    seq: int
    """The highest that was settled; 0 if none was."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HourUsage:
    """What one key did on one route within one hour, seen by one meter; or a part of it that is to be added."""

    customer_id: str
    starts_at: int
    """Start of the hour (UTC)."""
    meter: str
    key_id: str
    route: str
    requests: int
    """Calls that were let through."""
    denied: int
    """Calls that a limit refused."""
    units: int
    """Units that were charged and not given back."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryRow:
    """One line of a look back: an hour or a day, of one meter, and of one key and route if they are told apart."""

    starts_at: int
    meter: str
    key_id: str | None
    route: str | None
    requests: int
    denied: int
    units: int


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertRow:
    """One alert on one way to the seller."""

    alert_id: str
    channel: str
    """`webhook` or `email`."""
    customer_id: str
    counter: str
    window_starts_at: int
    percent: int
    used: int
    body: str
    """The event, as JSON."""
    noticed_at: int
    status: str
    """`pending`, `claimed`, `done` or `dead`."""
    attempts: int
    """Claims so far, this one included."""
    due_at: int
    """Pending: not before. Claimed: when the claim ends."""
    claimed_by: str | None
    finished_at: int | None
    error: str | None
    """Why the last attempt failed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReconciliationRow:
    """The reconciliation that goes on, or the last one."""

    started_at: int
    cursor: str | None
    """The last customer that is done; None: it is complete, or was never begun."""
    checked: int
    drifted: int
    """Customers that were not as Stripe has them."""
    failed: int
    ended: int
    """Customers that Stripe does not have, and that lost what they had, or were about to: of this one, and of parts
    that somebody had read by hand since it began."""
    unbound: int
    """Customers that have nothing to do with Stripe yet."""
    audited_from: int
    """The newest row of the audit log when it began."""
    finished_at: int | None
    """When the last complete one ended, also while another goes on."""
    claimed_by: str | None
    claimed_until: int | None
    held_since: int | None
    """Since when nobody is ended until somebody says how many may be; None: it is not so."""
    held: int
    """Customers that Stripe does not have, and that keep what they have."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReconciliationNote:
    """What a reconciliation has to say of one customer."""

    customer_id: str
    is_missing: bool = False
    """Stripe does not have it."""
    is_held: bool = False
    """It keeps what it has all the same."""
    is_planned: bool = False
    """What was planned for it is planned again."""
    findings: tuple[tuple[str, str], ...] = ()
    """Code and detail of each."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Swept:
    """How far a sweep for events that did not arrive is."""

    place: dict[str, Any] | None = None
    """Where one that was broken off goes on, as the sweep says; None: none was."""
    swept_to: int | None = None
    """Up to which instant all was looked through; None: up to none."""
    types: tuple[str, ...] = ()
    """Of which types."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditFilter:
    """Which rows of the audit log are asked for. None: whatever it is."""

    customer_id: str | None = None
    actor: str | None = None
    action: str | None = None
    since: int | None = None
    """Unix seconds; rows of that second and later."""
    until: int | None = None
    """Unix seconds; rows before that second."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditRow:
    """Who changed what, when and why. Rows are never altered or removed."""

    audit_id: int
    at: int
    customer_id: str | None
    actor: str
    """`stripe`, `operator`, `customer:<id>`, `server` or another name for who acted."""
    action: str
    because: str
    before: dict[str, Any] | None
    after: dict[str, Any] | None
    access_before: dict[str, Any] | None
    """`tier`, `standing`, `plan_id`, `refusal`, `until` and `policy`; None: it was not asked, or nobody could say."""
    access_after: dict[str, Any] | None
    event_id: str | None
    """Of the Stripe event that brought it about."""
