"""The snapshot of one customer: everything a decision needs besides policy, counters and time.

It is built from the ledger, carried as JSON in the cache, and immutable here. `version`
orders snapshots of one customer: every change to the customer, its keys or its
subscription raises it, and the charge script refuses a decision made on an old one.
Instants are Unix seconds.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from gateway.core.limits import Limit
from gateway.core.tariff import Tariff

LAST_INSTANT = 253_402_300_799
"""The last second of the year 9999: dates are written up to here, and databases count further."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyRecord:
    """One live API key, without its secret. Revoked keys are simply absent from the account."""

    key_id: str
    name: str
    last4: str
    created_at: int
    expires_at: int | None = None
    scopes: tuple[str, ...] = ()
    """Empty: everything the tier allows. Otherwise route patterns (`GET /v1/**`), any of which must match."""
    limits: tuple[Limit, ...] = ()
    """The key's own smaller limits, besides the customer's."""
    allow: tuple[str, ...] = ()
    """Addresses and networks it may be used from (`core.allow_list`). Empty: from anywhere."""

    @property
    def may_manage(self) -> bool:
        """Whether it may do what the account may, where and while it works: keys and billing are for no other.

        A key with scopes or limits of its own could otherwise issue itself one without. What it issues is
        held to its own networks and expiry instead.
        """
        return not self.scopes and not self.limits


@dataclass(frozen=True, slots=True, kw_only=True)
class MeteredItem:
    """An item of a subscription at whose price usage is billed that Stripe's Billing Meters counted."""

    price_id: str
    lookup_key: str | None = None
    tariff: Tariff | None = None
    """What it asks for; None: in a way that this version does not read."""
    known_as: str | None = None
    """The last lookup key that it had and policy names: kept when Stripe has moved the key to a successor."""
    gone_at: int | None = None
    """Unix seconds when it was seen to be gone; it is kept for a month, because usage was billed at it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SpendCap:
    """The most that a customer wants to pay for the overage of a meter in a billing period."""

    meter: str
    amount: int
    """In the currency's smallest unit; 0: no overage."""
    currency: str
    """Three lower-case letters."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExtrasChange:
    """What was bought beside the plan of a subscription, until it was seen to change."""

    at: int
    """Unix seconds at which it was no longer so."""
    seats: int
    add_ons: tuple[tuple[str, int], ...] = ()
    """As those of a subscription."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Subscription:
    """What we know of a customer's Stripe subscription. Facts only: access is decided by `core.access`."""

    subscription_id: str
    status: str
    """Stripe's own word, also one we do not know."""
    plan_id: str | None
    """Our plan, mapped from the price; None if the price is not mapped by policy."""
    period_starts_at: int
    period_ends_at: int
    anchor_at: int
    """Billing cycle anchor: quota windows of yearly plans step monthly from here."""
    quota_anchor_at: int | None = None
    """Where quota windows step from since Stripe moved the billing anchor of this subscription; None: it never did."""
    cancel_at: int | None = None
    past_due_since: int | None = None
    """First time we saw `past_due`, kept until the status is another one that we know."""
    last_good_plan_id: str | None = None
    """Last mapped plan seen in good standing: what an unmapped price or unknown status falls back on."""
    unreadable_since: int | None = None
    """First time we saw a status or price we cannot read."""
    price_id: str | None = None
    """Stripe price that `plan_id` was read from. The same price keeps its plan after Stripe has moved
    the lookup key to a successor, so a price rise strands nobody."""
    plan_changes: tuple[tuple[int, str], ...] = ()
    """When we saw the plan of this subscription change, and the plan before; oldest first (`core.seen_changes`)."""
    status_since: int | None = None
    """First time we saw a status that is neither trialing nor active, or when Stripe says that it ended."""
    flags: tuple[tuple[str, int], ...] = ()
    """What else policy has a line for, and since when, in the order of names (`core.access.FLAG_ROWS`)."""
    scheduled_plan_id: str | None = None
    """The plan that Stripe will change to by itself, at `scheduled_at`; None with an instant: one that is not sold."""
    scheduled_at: int | None = None
    """None: no change is planned, or the subscription ends before."""
    scheduled_seats: int | None = None
    """Of `scheduled_plan_id`; None: not known, or no change is planned."""
    scheduled_add_ons: tuple[tuple[str, int], ...] = ()
    """What there will be beside it, as `add_ons`; nothing while `scheduled_seats` is None."""
    entitlements: tuple[str, ...] = ()
    """Lookup keys of the features that Stripe entitles the customer to. They count beside a plan's tier only."""
    metered: tuple[MeteredItem, ...] = ()
    """Its metered items, in the order of their prices' ids (`core.overage`)."""
    seats: int = 1
    """Quantity of the plan's price, as Stripe has it, whatever policy sells."""
    add_ons: tuple[tuple[str, int], ...] = ()
    """What else is paid for, by policy's names, and how many of each; in the order of names."""
    add_on_prices: tuple[tuple[str, str], ...] = ()
    """Stripe prices beside the plan's that are not billed by use, and the name of the add-on that each was read as:
    kept as `price_id` is. An empty name: nothing in policy explains it, and a change of the price may."""
    extras_changes: tuple[ExtrasChange, ...] = ()
    """When we saw its seats or add-ons change, and what there was before; oldest first (`core.seen_changes`)."""
    sold_as: str | None = None
    """What policy named the price of `plan_id` by when it was read, an id or a lookup key; without a `plan_id`, that of
    `last_good_plan_id`. A plan that policy calls otherwise since is found by it (`core.plan_map`)."""
    unconfirmed_since: int | None = None
    """First time we saw that a payment waits for the customer to confirm it with the bank; None: none does. Where that
    is done is asked of Stripe when the customer wants to (`gateway.sync.confirming`)."""
    last_good_tier: str | None = None
    """What `last_good_plan_id` granted when it was read: kept for a while if policy has no such plan any more."""
    scheduled_sold_as: str | None = None
    """As `sold_as`, of `scheduled_plan_id`."""
    beneath: Subscription | None = None
    """Another one of the customer's that is not over, or grants a tier all the same. It counts where this one's time
    has run out, which no event says (`core.access.in_force`)."""

    @property
    def is_unconfirmed(self) -> bool:
        """Whether a payment waits for the customer to confirm it. It changes what is said, not what is granted."""
        return self.unconfirmed_since is not None

    def all(self) -> tuple[Subscription, ...]:
        """This one and those beneath it, best first."""
        return (self,) if self.beneath is None else (self, *self.beneath.all())

    def find(self, subscription_id: str) -> Subscription | None:
        """What is recorded of a subscription, here or beneath; None: nothing."""
        return next((one for one in self.all() if one.subscription_id == subscription_id), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """Credits: units of one meter, good once and for a time, for what the meter's quota cannot cover."""

    grant_id: str
    meter: str
    units: int
    """>= 1. How many of them are used is counted like a quota, in the window of the grant."""
    granted_at: int
    expires_at: int | None = None
    """None: never."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TierGrant:
    """A tier that the seller gives a customer by hand, for a time. What it does is said in `core.tier_grant`."""

    tier: str
    """As policy called it when it was granted; a later policy may have no tier of that name."""
    granted_at: int
    ends_at: int
    """The first second at which it grants nothing; no event says so."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """A customer as decisions see it."""

    customer_id: str
    user_id: str
    version: int
    created_at: int
    blocked: bool = False
    """Set by an operator: suspended whatever Stripe says."""
    subscription: Subscription | None = None
    keys: dict[str, KeyRecord] = field(default_factory=dict)
    """Live keys by digest (64 hex digits). Never mutated after construction."""
    grants: tuple[Grant, ...] = ()
    """Credits that are not used up or revoked, in the order in which they are spent (`core.credits`)."""
    spend_caps: tuple[SpendCap, ...] = ()
    """Those that the customer set, in the order of meters (`core.overage`)."""
    tier_grant: TierGrant | None = None
    """The last tier that was granted by hand and not taken back, also after its end."""
