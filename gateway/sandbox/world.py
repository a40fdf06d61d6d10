"""The simulated Stripe account: its tables, its time, its names. No I/O, no clock.

`now` is moved by `gateway.sandbox.engine.timeline.reach` only, and never back.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, fields
from hashlib import sha256
from typing import TypeVar

from gateway.sandbox.coupons import Coupon, PromotionCode
from gateway.sandbox.event_records import Event, WebhookEndpoint
from gateway.sandbox.invoice_records import Invoice, PendingLine
from gateway.sandbox.meters import Meter, MeterEvent
from gateway.sandbox.records import (
    Charge,
    CheckoutSession,
    Customer,
    Dispute,
    Feature,
    PaymentMethod,
    PortalConfiguration,
    PortalSession,
    Price,
    Product,
    ProductFeature,
    Refund,
    Subscription,
    TestClock,
)
from gateway.sandbox.rules import Rules
from gateway.sandbox.schedule_records import Schedule

Record = TypeVar("Record")


class NoSuchRecord(LookupError):
    """An id that names nothing. `kind` is the object's name as Stripe's message has it."""

    def __init__(self, kind: str, record_id: str) -> None:
        super().__init__(f"No such {kind}: '{record_id}'")
        self.kind = kind


@dataclass(slots=True)
class Tables:
    """Every record by id, in the order of creation."""

    products: dict[str, Product] = field(default_factory=dict)
    prices: dict[str, Price] = field(default_factory=dict)
    customers: dict[str, Customer] = field(default_factory=dict)
    test_clocks: dict[str, TestClock] = field(default_factory=dict)
    payment_methods: dict[str, PaymentMethod] = field(default_factory=dict)
    meters: dict[str, Meter] = field(default_factory=dict)
    meter_events: dict[str, MeterEvent] = field(default_factory=dict)
    coupons: dict[str, Coupon] = field(default_factory=dict)
    promotion_codes: dict[str, PromotionCode] = field(default_factory=dict)
    subscriptions: dict[str, Subscription] = field(default_factory=dict)
    schedules: dict[str, Schedule] = field(default_factory=dict)
    pending_lines: dict[str, PendingLine] = field(default_factory=dict)
    invoices: dict[str, Invoice] = field(default_factory=dict)
    features: dict[str, Feature] = field(default_factory=dict)
    product_features: dict[str, ProductFeature] = field(default_factory=dict)
    charges: dict[str, Charge] = field(default_factory=dict)
    refunds: dict[str, Refund] = field(default_factory=dict)
    disputes: dict[str, Dispute] = field(default_factory=dict)
    checkouts: dict[str, CheckoutSession] = field(default_factory=dict)
    portal_configurations: dict[str, PortalConfiguration] = field(default_factory=dict)
    portals: dict[str, PortalSession] = field(default_factory=dict)
    endpoints: dict[str, WebhookEndpoint] = field(default_factory=dict)
    events: dict[str, Event] = field(default_factory=dict)

    def copy(self) -> Tables:
        """A snapshot; the records are shared, since they never change."""
        return Tables(**{column.name: dict(getattr(self, column.name)) for column in fields(self)})


@dataclass(frozen=True, slots=True, kw_only=True)
class Cause:
    """The API request that is being carried out; its marks go on the events it makes."""

    request_id: str
    idempotency_key: str | None = None


class World:
    """One simulated account.

    Ids read `cus_<run>0001`: counted, so that a log can be followed, and `run` keeps two lives of the
    sandbox apart, so that what a gateway remembers of the first is not taken for the second's.
    `taken` holds (event id, endpoint id) of every delivery that was answered with success. `advance_to` is where
    an act wants the time to be moved when it is done.
    """

    def __init__(self, *, now: int, run: str, public_url: str = "http://127.0.0.1") -> None:
        self.now = now
        self.run = run
        self.public_url = public_url
        self.rules = Rules()
        self.tables = Tables()
        self.cause: Cause | None = None
        self.advance_to: int | None = None
        self.fresh_events: list[Event] = []
        self.agenda: list[tuple[int, str, str]] = []
        self.taken: set[tuple[str, str]] = set()
        self._counts: Counter[str] = Counter()

    def new_id(self, prefix: str) -> str:
        """The next id of a kind: `new_id("sub")`."""
        self._counts[prefix] += 1
        return f"{prefix}_{self.run}{self._counts[prefix]:04d}"

    def new_unordered_id(self, prefix: str) -> str:
        """As `new_id`, but their order, as at Stripe, does not tell which was made first."""
        counted = self.new_id(prefix)
        mark = sha256(f"{prefix}{self._counts[prefix]}".encode()).hexdigest()[:8]
        return f"{prefix}_{mark}{counted.removeprefix(prefix)[1:]}"

    def pending_webhooks(self, event: Event) -> int:
        """How many endpoints were to be told of the event and have not taken it. Thin events are another API's."""
        told = [one for one in event.endpoint_ids if not self._is_told_thinly(one)]
        return sum((event.id, endpoint_id) not in self.taken for endpoint_id in told)

    def _is_told_thinly(self, endpoint_id: str) -> bool:
        endpoint = self.tables.endpoints.get(endpoint_id)
        return endpoint is not None and endpoint.thin

    def take_fresh_events(self) -> list[Event]:
        """The events since the last call, oldest first."""
        taken, self.fresh_events = self.fresh_events, []
        return taken

    def snapshot(self) -> tuple[Tables, list[Event], Counter[str]]:
        """All there is to go back to, for `restore`."""
        return self.tables.copy(), list(self.fresh_events), Counter(self._counts)

    def restore(self, snapshot: tuple[Tables, list[Event], Counter[str]]) -> None:
        """Undo everything since the snapshot, events and ids included.

        The agenda may keep what was noted since; an entry that is not true is dropped when it is reached.
        """
        self.tables, self.fresh_events, self._counts = snapshot
        self.advance_to = None

    def customer(self, customer_id: str) -> Customer:
        """Raises NoSuchRecord, also for a deleted customer."""
        found = self.tables.customers.get(customer_id)
        if found is None or found.deleted:
            raise NoSuchRecord("customer", customer_id)
        return found

    def price(self, price_id: str) -> Price:
        """Raises NoSuchRecord."""
        return find(self.tables.prices, "price", price_id)

    def product(self, product_id: str) -> Product:
        """Raises NoSuchRecord."""
        return find(self.tables.products, "product", product_id)

    def subscription(self, subscription_id: str) -> Subscription:
        """Raises NoSuchRecord."""
        return find(self.tables.subscriptions, "subscription", subscription_id)

    def invoice(self, invoice_id: str) -> Invoice:
        """Raises NoSuchRecord."""
        return find(self.tables.invoices, "invoice", invoice_id)

    def subscriptions_of(self, customer_id: str) -> list[Subscription]:
        """Oldest first, ended ones included."""
        return [one for one in self.tables.subscriptions.values() if one.customer_id == customer_id]


def find(table: dict[str, Record], kind: str, record_id: str) -> Record:
    """The record of that id.

    Raises:
        NoSuchRecord: there is none.
    """
    found = table.get(record_id)
    if found is None:
        raise NoSuchRecord(kind, record_id)
    return found
