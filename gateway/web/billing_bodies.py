"""What the billing routes take and give."""

from __future__ import annotations

from typing import Literal

import msgspec

from gateway.billing import PortalFlowName


class CheckoutOrder(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """What to buy, and for whom. Prices come from policy: there is no field for one."""

    plan_id: str
    seats: int | None = None
    """How many, if the plan is sold by the seat; null: the least number. The buyer may change it on the page."""
    add_ons: list[str] = []
    """Names of add-ons that the plan is sold with."""
    user_id: str | None = None
    customer_id: str | None = None


class CheckoutStarted(msgspec.Struct, kw_only=True):
    """Send the buyer to `checkout_url`, which is good until `expires_at` (Unix seconds)."""

    checkout_url: str
    session_id: str
    expires_at: int


class Price(msgspec.Struct, kw_only=True):
    """What a plan costs, for people to read; the checkout page tells what is charged."""

    amount: int | None
    """In the currency's smallest unit."""
    currency: str
    interval: str | None
    interval_count: int
    text: str | None


class SeatsOffer(msgspec.Struct, kw_only=True):
    """How many seats are sold, both ends included."""

    least: int
    most: int


class PlanOffer(msgspec.Struct, kw_only=True):
    """One plan on sale."""

    plan_id: str
    title: str
    tier: str
    tier_title: str
    description: str
    limits: list[str]
    features: list[str]
    price: Price | None
    seats: SeatsOffer | None
    """What its price is multiplied by; null: it is not sold by the seat."""
    add_ons: list[str]
    """Names of what may be bought with it."""
    trial_days: int | None
    """How long it is free for who has not had a trial before."""


class AddOnOffer(msgspec.Struct, kw_only=True):
    """Something that is bought beside a plan that names it."""

    add_on: str
    title: str
    limits: list[str]
    """What each one adds to the quota of the same meter and window."""
    features: list[str]
    price: Price | None


class TierOffer(msgspec.Struct, kw_only=True):
    """One tier, lowest first; what it is sold as is in `plans`."""

    tier: str
    title: str
    description: str
    limits: list[str]
    features: list[str]
    is_default: bool
    """What customers have without a subscription."""


class Plans(msgspec.Struct, kw_only=True):
    """Everything on sale. `prices_as_of` is null when no price could be read."""

    plans: list[PlanOffer]
    add_ons: list[AddOnOffer]
    tiers: list[TierOffer]
    policy: str
    prices_as_of: int | None


class Named(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """A customer, by one of its ids. A caller with an API key needs neither."""

    user_id: str | None = None
    customer_id: str | None = None


class PortalOrder(Named, kw_only=True, forbid_unknown_fields=True):
    """Whose portal, and the one act it is to open at."""

    flow: PortalFlowName | None = None
    """What the customer is led to; then back to the account page. Without it: the beginning of the portal."""
    plan_id: str | None = None
    """The plan to be confirmed, with subscription_update_confirm only."""


class PortalLink(msgspec.Struct, kw_only=True):
    """Send the customer to `portal_url` at once: it is good for minutes."""

    portal_url: str


class TierGrantView(msgspec.Struct, kw_only=True):
    """A tier that the seller granted by hand. Instants are Unix seconds."""

    tier: str
    granted_at: int
    ends_at: int
    state: str
    """in-force; below: the subscription grants as much; over; unknown-tier; suspended: nothing holds now."""


class AddOnCount(msgspec.Struct, kw_only=True):
    """An add-on, and how many of it."""

    add_on: str
    count: int


class ScheduledChange(msgspec.Struct, kw_only=True):
    """A change that comes by itself."""

    plan_id: str | None
    """Null: a price that no plan sells."""
    at: int
    seats: int | None
    """How many there will be; null: not known."""
    add_ons: list[AddOnCount] | None
    """What there will be beside it; null: not known."""


class SubscriptionView(msgspec.Struct, kw_only=True):
    """What a customer has, and how it stands. Instants are Unix seconds."""

    customer_id: str
    user_id: str
    standing: str
    """good, grace, lapsed, suspended or unreadable."""
    tier: str | None
    plan_id: str | None
    """The plan that grants the tier; null when the tier is a fallback."""
    status: str | None
    """Stripe's own word; null without a subscription."""
    subscribed_plan_id: str | None
    """The plan of the subscription, also while it grants nothing."""
    seats: int | None
    """Of that plan, as Stripe has them; null without a subscription."""
    add_ons: list[AddOnCount]
    """What else is paid for."""
    period_starts_at: int | None
    period_ends_at: int | None
    cancel_at: int | None
    scheduled_change: ScheduledChange | None
    """What becomes of the plan at the end of the period; null: it stays."""
    grace_until: int | None
    flags: list[str]
    """What else holds: dispute_lost, disputed, first_payment_pending, pause_collection, pause_collection_void,
    pending_update, refunded."""
    confirmation_needed: bool
    """A payment waits for the customer to confirm it with the bank, where
    /_tiergate/account/portal/payment_confirmation leads to."""
    tier_grant: TierGrantView | None
    """Null: nothing was granted by hand."""
    warning: str | None


class ChangeOrder(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """A change of plan, seats or add-ons, to be previewed or made. What is left out stays as it is."""

    plan_id: str | None = None
    seats: int | None = None
    add_ons: list[str] | None = None
    """Exactly these, beside the plan."""
    preview: bool = True
    when: Literal["now", "period-end"] | None = None
    """When it is to take effect, if policy leaves the choice; without it, policy has its usual way."""
    user_id: str | None = None
    customer_id: str | None = None


class InvoiceLine(msgspec.Struct, kw_only=True):
    """Part of the next invoice."""

    kind: str
    """change: the rest of this period is settled; period: a whole period; earlier: another change's, which waits for
    the same invoice; tax, discount; balance: credit of the account that is used, or that is kept."""
    description: str
    amount: int
    text: str


class ChangeAnswer(msgspec.Struct, kw_only=True, omit_defaults=True):
    """What a change would cost (`applied` false), or what became of it. Amounts are in the smallest unit."""

    plan_id: str
    applied: bool
    direction: str | None = None
    """upgrade, downgrade, or same: it is the plan that there is."""
    when: str | None = None
    """now or period-end."""
    when_allowed: list[str] = []
    """What the next request may say as `when`, the usual first."""
    takes_effect_at: int | None = None
    currency: str | None = None
    amount_due: int | None = None
    """What the next invoice will ask for: the sum of `lines`."""
    amount_due_text: str | None = None
    lines: list[InvoiceLine] = []
    """As Stripe computes them."""
    next_invoice_at: int | None = None
    scheduled: bool = False
    """It is planned for the end of the period; until then it can be taken back."""
    pending: bool = False
    """The change waits for a payment; until then the old plan stays."""
    payment_url: str | None = None
    subscription: SubscriptionView | None = None
