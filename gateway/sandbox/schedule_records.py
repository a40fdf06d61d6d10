"""What a subscription schedule holds: phases that follow each other, each with the prices of its time."""

from __future__ import annotations

from dataclasses import dataclass, field

from gateway.sandbox.records import InvoiceWords, Labels


@dataclass(frozen=True, slots=True, kw_only=True)
class PhaseItem:
    """One price of a phase. A metered one has no quantity: 0 here."""

    price_id: str
    quantity: int = 1
    metadata: Labels = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How a subscription is paid and taxed. None: nothing is said."""

    payment_method_id: str | None = None
    collection_method: str | None = None
    days_until_due: int | None = None
    """Of an invoice that is sent by mail."""
    automatic_tax: bool | None = None
    description: str | None = None
    invoice_words: InvoiceWords | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Phase:
    """What a subscription is from one instant to another."""

    starts_at: int
    ends_at: int
    items: tuple[PhaseItem, ...]
    proration_behavior: str = "create_prorations"
    trial_ends_at: int | None = None
    discounts: tuple[str, ...] = ()
    """Ids of discounts that the subscription has already and keeps."""
    settings: Settings = field(default_factory=Settings)
    """What is not said in it is as the schedule has it."""
    metadata: Labels = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """A plan for one subscription. `subscription_id` is None once it was let go."""

    id: str
    customer_id: str
    created: int
    currency: str
    subscription_id: str | None
    phases: tuple[Phase, ...]
    entered_at: int
    """Where the phase begins that was carried out last; its end is what is due."""
    status: str = "active"
    end_behavior: str = "release"
    canceled_at: int | None = None
    completed_at: int | None = None
    released_at: int | None = None
    released_subscription_id: str | None = None
    defaults: Settings = field(default_factory=Settings)
    """What phases are to have that do not say it: a copy of what the subscription had as it was taken over."""
    metadata: Labels = field(default_factory=dict)

    @property
    def is_running(self) -> bool:
        """Whether it still has something to say about its subscription."""
        return self.status == "active"

    def phase_at(self, now: int) -> Phase | None:
        """The phase in force; None before the first and after the last."""
        return next((phase for phase in self.phases if phase.starts_at <= now < phase.ends_at), None)
