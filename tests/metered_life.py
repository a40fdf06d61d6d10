"""One customer's life with overage: a real ledger, the real SDK, and a sandbox whose account is moved by hand."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from gateway.billing import Billing, StripeOptions
from gateway.core.overage import overage_field
from gateway.core.statement import Statement
from gateway.core.statement_period import Span
from gateway.core.window import month_window
from gateway.ledger import Ledger, MeteredWindowRow, MeterReportRow, UsageTotal
from gateway.sandbox import Listening, Simulator, running
from gateway.sandbox.cards import read_number
from gateway.sandbox.engine.changes import Change, ItemChange, apply_change
from gateway.sandbox.engine.metering import Sent, cancel_event, take
from gateway.sandbox.engine.methods import attach, new_method
from gateway.sandbox.engine.saving import add_customer, change_subscription
from gateway.sandbox.engine.subscriptions import Start, cancel, schedule_end, start
from gateway.sandbox.invoice_records import Invoice
from gateway.sandbox.records import Customer, Subscription
from gateway.statements import draw_up
from gateway.sync.account import LedgerAccount

METER, STRIPE_METER = "requests", "api_overage"
METERED, DEARER, YEARLY = "price_api_overage", "price_dearer", "price_overage_yearly"
INCLUDED = 1_000
CUSTOMER = "customer0001"


@dataclass(slots=True)
class Life:
    """The account at Stripe, what the ledger knows, and how much was used in each window."""

    ledger: Ledger
    billing: Billing
    simulator: Simulator
    prices: tuple[str, str] = ("price_pro_monthly", METERED)
    stripe_customer_id: str = ""
    subscription_id: str = ""
    seq: int = 0
    overage: dict[int, int] = field(default_factory=dict)
    """By window's start."""
    ends: dict[int, int] = field(default_factory=dict)
    sent: list[tuple[str, int]] = field(default_factory=list)
    """Identifier and when Stripe heard of it."""

    @property
    def world(self) -> Any:
        return self.simulator.world

    @property
    def now(self) -> int:
        return int(self.world.now)

    @property
    def subscription(self) -> Subscription:
        found: Subscription = self.world.subscription(self.subscription_id)
        return found

    @property
    def invoices(self) -> list[Invoice]:
        return list(self.world.tables.invoices.values())

    @property
    def window(self) -> int:
        """Where the window that runs begins: the item's own period, as Stripe has it, or a month of its year."""
        item = self.subscription.items[0]
        starts_at, ends_at = item.period_starts_at, item.period_ends_at
        if self.prices[1] == YEARLY:
            starts_at, ends_at = month_window(self.subscription.anchor, self.now)
        self.ends[starts_at] = ends_at
        return starts_at

    @property
    def windows(self) -> list[tuple[int, int]]:
        """Every window so far."""
        assert self.window in self.ends
        return sorted(self.ends.items())

    async def begin(self) -> None:
        def act(world: Any) -> None:
            customer = Customer(id=world.new_id("cus"), created=world.now)
            add_customer(world, customer)
            method = new_method(world, read_number("4242424242424242"), exp_month=12, exp_year=2090)
            attach(world, method.id, customer.id)
            begun = start(
                world,
                Start(
                    customer_id=customer.id,
                    prices=[(self.prices[0], 1), (self.prices[1], 0)],
                    payment_method_id=method.id,
                ),
            )
            self.stripe_customer_id, self.subscription_id = customer.id, begun.id

        self.simulator.carry_out(act)
        await self.ledger.create_customer(
            customer_id=CUSTOMER, user_id="ada", now=self.now, stripe_customer_id=self.stripe_customer_id, actor="test"
        )

    async def use(self, units: int) -> None:
        """Beyond what is included; negative: given back."""
        window = self.window
        self.seq += 1
        self.overage[window] = max(0, self.overage.get(window, 0) + units)
        await self.ledger.settle([self._total(overage_field(METER), window, self.overage[window])])
        await self.ledger.settle([self._total(f"q:{METER}:period", window, INCLUDED)])

    def _total(self, counter: str, window: int, used: int) -> UsageTotal:
        return UsageTotal(customer_id=CUSTOMER, field=counter, window_starts_at=window, used=used, seq=self.seq)

    async def report(self, outcome: str = "sent") -> None:
        """Report what no report was made of yet; `sent`, `dead` or `pending` is what becomes of it."""
        for turn in await self.ledger.claim_meters(worker="w", now=self.now, lease_s=60, limit=10):
            for found in await self.ledger.list_unreported(turn):
                window = replace(
                    found,
                    window_ends_at=self.ends[found.window_starts_at],
                    included=INCLUDED,
                    stripe_meter=STRIPE_METER,
                )
                await self.ledger.note_window(window)
                row = self._report(window)
                assert await self.ledger.begin_report(turn, window, row, self.now)
                await self._tell(row, outcome)
            await self.ledger.release_meter(turn)

    def _report(self, window: MeteredWindowRow) -> MeterReportRow:
        ends_at = self.ends[window.window_starts_at]
        return MeterReportRow(
            identifier=f"{window.window_starts_at}-{window.total}-{self.seq}",
            customer_id=CUSTOMER,
            meter=METER,
            stripe_meter=STRIPE_METER,
            window_starts_at=window.window_starts_at,
            total=window.total,
            units=window.total - window.reported,
            happened_at=min(self.now, ends_at - 1),
            made_at=self.now,
            due_at=self.now,
        )

    async def _tell(self, row: MeterReportRow, outcome: str) -> None:
        if outcome == "dead":
            await self.ledger.bury_report(row, error="no active meter")
        elif outcome == "sent":
            payload = {"stripe_customer_id": self.stripe_customer_id, "value": str(row.units)}
            sent = Sent(event_name=STRIPE_METER, payload=payload, identifier=row.identifier, at=row.happened_at)
            self.simulator.carry_out(lambda world: take(world, sent))
            self.sent.append((row.identifier, self.now))
            await self.ledger.finish_report(row, now=self.now)

    def cancel_last_event(self) -> None:
        """At Stripe, behind our back."""
        if self.sent and self.now - self.sent[-1][1] < 86_400:
            identifier, _ = self.sent.pop()
            self.simulator.carry_out(lambda world: cancel_event(world, STRIPE_METER, identifier))

    def change(self, place: int, price_id: str, behavior: str) -> None:
        """Change the price of one item."""
        item = ItemChange(item_id=self.subscription.items[place].id, price_id=price_id)
        change = Change(items=(item,), proration_behavior=behavior)
        self.simulator.carry_out(lambda world: apply_change(world, self.subscription, change))

    def end(self, *, at_once: bool, invoice_now: bool = False) -> None:
        if at_once:
            self.simulator.carry_out(lambda world: cancel(world, self.subscription_id, invoice_now=invoice_now))
            return
        ends_at = self.subscription.period_ends_at
        self.simulator.carry_out(
            lambda world: change_subscription(
                world, schedule_end(world, self.subscription, ends_at, at_period_end=True)
            )
        )

    async def advance(self, seconds: float) -> None:
        """By less than a window, so that none is overlooked."""
        await self.simulator.advance(seconds)
        assert self.window in self.ends

    async def advance_to(self, instant: int) -> None:
        await self.advance(max(0, instant - self.simulator.now()))

    async def state(self, since: int, until: int) -> Statement:
        return await draw_up(
            CUSTOMER,
            Span(since=since, until=until),
            ledger=self.ledger,
            billing=self.billing,
            check_account=LedgerAccount(ledger=self.ledger, billing=self.billing, clock=self.simulator).check,
            now=self.now,
        )


@asynccontextmanager
async def living(ledger_file: Path, **fields: Any) -> AsyncIterator[Life]:
    """A new life, subscribed to a plan and to what is used beyond it."""
    ledger = await Ledger.open(f"sqlite:///{ledger_file}", deadline_s=30.0)
    try:
        async with running(Listening(seeded=True, run="t")) as now:
            billing = await Billing.open(StripeOptions(secret_key=now.key, base_url=now.stripe_url))
            try:
                life = Life(ledger, billing, now.simulator, **fields)
                prices = life.world.tables.prices
                known = replace(prices[METERED], lookup_key=None)
                tariff = replace(known.rates, unit_amount=known.rates.unit_amount * 7)
                prices[DEARER] = replace(known, id=DEARER, tariff=tariff)
                prices[YEARLY] = replace(known, id=YEARLY, interval="year")
                await life.begin()
                yield life
            finally:
                await billing.aclose()
    finally:
        await ledger.aclose()
