"""What Stripe says about a customer, as plain values: read by `gateway.billing`, judged by `core.projection`.

Nothing here is ours yet: statuses are Stripe's own words, also ones we do not know, and
prices are ids that policy may or may not map. Instants are Unix seconds.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from gateway.core.tariff import Tariff


class PriceTerms(Protocol):
    """What a price asks for, whether it is of an item that there is or on sale. It finds no plan."""

    @property
    def price_id(self) -> str:
        """Stripe's."""
        ...

    @property
    def amount(self) -> int | None:
        """For one of it and one interval, in the currency's smallest unit; None: it has no single one."""
        ...

    @property
    def interval(self) -> str | None:
        """Stripe's word for how often it is paid; None: once, or it is not known."""
        ...

    @property
    def interval_count(self) -> int:
        """How many intervals lie between."""
        ...

    @property
    def currency(self) -> str | None:
        """Of `amount`: three lower-case letters; None: it is not known. A price may ask in others beside it."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class ItemFacts:
    """One priced line of a subscription. Since API 2025-03-31 the billing period belongs to it."""

    item_id: str
    price_id: str
    lookup_key: str | None
    period_starts_at: int
    period_ends_at: int
    quantity: int = 1
    """How many were bought. A price that is billed by use has none; that counts as one."""
    product_id: str | None = None
    product_tier: str | None = None
    """`tier` in the product's metadata. None: it names none, or was not read because the price maps without it."""
    interval: str | None = None
    """Stripe's word for how often the price is paid; None: it is not known."""
    interval_count: int = 1
    amount: int | None = None
    """For one of it and one interval, in the smallest unit of the currency. It orders prices and finds no plan."""
    currency: str | None = None
    """Of the price's own amount: three lower-case letters. A subscription may pay another that the price asks in."""
    is_metered: bool = False
    """Its price bills usage, so it is no plan by its product: what a product sells is sold at its other prices."""
    meter_id: str | None = None
    """Of the Billing Meter whose usage its price bills; None: it bills no usage, or that was not read."""
    tariff: Tariff | None = None
    """Of a metered price; None too if it asks in a way that this version does not read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduleFacts:
    """What Stripe will make of a subscription by itself, later."""

    schedule_id: str
    is_ours: bool
    """Whether this program made it for the customer; else the seller did, or Stripe's portal."""
    next_at: int | None
    """When the next phase begins; None: the last one is running."""
    next_items: tuple[ItemFacts, ...] = ()
    """What the next phase is for. Their ids are places, and their period is the instant at which it begins."""
    is_outdated: bool = False
    """It is ours, would bring back how the subscription was paid or taxed, which was changed since, and can be planned
    anew: its prices are sold still."""
    is_term: bool = False
    """The subscription does not simply go on behind it: it ends then, for one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PendingFacts:
    """A change that waits for its payment."""

    items: tuple[tuple[str, int], ...]
    """Prices and how many of each, once it is paid."""
    invoice_id: str
    payment_url: str | None
    """Where it can be paid."""
    gives_up: tuple[str, ...] = ()
    """Items that go once it is paid, though `items` has them: by their ids."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SubscriptionFacts:
    """One subscription. An update that waits for its payment is not in `items` until it is applied."""

    subscription_id: str
    status: str
    anchor_at: int
    started_at: int
    items: tuple[ItemFacts, ...]
    currency: str | None = None
    """That it pays, for as long as it lasts: three lower-case letters; None: it is not known."""
    cancel_at: int | None = None
    cancel_at_period_end: bool = False
    ended_at: int | None = None
    paused_collection: str | None = None
    """What becomes of invoices while their collection is paused, in Stripe's word: `void`; None: it is not paused."""
    has_pending_update: bool = False
    """A change waits for its payment."""
    pending: PendingFacts | None = None
    """What it is, if its invoice is the latest one."""
    schedule: ScheduleFacts | None = None
    is_labelled: bool = False
    """Its metadata says that it was sold by a checkout of ours."""
    is_invoiced: bool = False
    """Its invoices are sent by mail and paid by hand: Stripe collects nothing by itself."""
    given_up: tuple[str, ...] = ()
    """Items that a change which is made gives up, and that are still here: by their ids."""
    planned_before: str = ""
    """What was planned until a change took its place that is not made yet, in the words of `gateway.sync.restoring`."""
    planned_as: str = ""
    """By what its plan is found if policy calls it otherwise by then, in the words of `gateway.sync.restoring`."""
    payment_url: str | None = None
    """Where what is owed can be paid: the page of the first invoice if that is not paid, else of the latest one."""
    confirmation_url: str | None = None
    """Where the customer confirms the latest invoice's payment, for which its bank waits; None: no payment waits so."""
    first_payment_missing: bool = False
    """The first invoice above 0 waits for a payment that takes days, or failed, or was given up: nothing is changed
    meanwhile."""
    ran_unpaid: bool = False
    """It ran for nothing before that invoice, on a trial: Stripe's status says what it is now. Else it runs ahead."""
    taken_back: tuple[tuple[str, int], ...] = ()
    """Lines of `lifecycle` that say how the payment of the newest period that was paid was lost again
    (`core.access.TAKEN_BACK`), and when it had been paid. Empty too if policy asks for none of them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PaymentsAsked:
    """What to find out about the payments of a customer's subscriptions."""

    rows: frozenset[str] = frozenset()
    """Of `core.access.TAKEN_BACK`; with none of them nothing is asked about what was taken back."""
    of_ended: bool = False
    """Also of those that were cancelled, and whether their first payment came."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DisputeFacts:
    """One payment that its payer disputes with the bank."""

    dispute_id: str
    stripe_customer_id: str | None
    """Whose payment it was."""
    is_open: bool
    created: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CustomerFacts:
    """Everything that one read of Stripe told about a customer."""

    stripe_customer_id: str
    exists: bool
    """False: this account and mode of Stripe has no such customer."""
    subscriptions: tuple[SubscriptionFacts, ...] = ()
    """All of them, ended ones too."""
    disputed_since: int | None = None
    """When the oldest open dispute began."""
    entitlements: tuple[str, ...] = ()
    """Lookup keys of active entitlements, sorted. Empty if policy asks for none."""
