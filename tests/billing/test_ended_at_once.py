"""A subscription ends in the middle of its period: what was used beyond the plan is billed, or seen not to be."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import pytest

from gateway.billing import StripeOptions
from gateway.core.overage import Overage, PriceName, overage_field
from gateway.core.statement import Because
from gateway.core.statement_period import Span
from gateway.core.switching import SwitchTerms
from gateway.ledger import UnbilledFilter, UsageTotal
from gateway.reporting import Reporter, ReportingOptions
from gateway.statements import draw_up
from gateway.sync import LedgerAccount, PlanChanges
from gateway.telemetry import Metrics
from gateway.unbilled import Unbilled
from tests.billing.conftest import opened

pytestmark = pytest.mark.slow

UNITS = 40


@dataclass(kw_only=True)
class Seller:
    """A shop whose customers may exceed their quota."""

    shop: Any
    metrics: Metrics

    @property
    def now(self) -> int:
        return int(self.shop.sandbox.clock.now())

    async def used(self) -> str:
        """A customer whose overage was reported."""
        customer_id: str = await self.shop.buyer("pro-monthly")
        recorded = await self.shop.load(customer_id)
        total = UsageTotal(
            customer_id=customer_id,
            field=overage_field("requests"),
            window_starts_at=recorded.period_starts_at,
            used=UNITS,
            seq=1,
        )
        await self.shop.ledger.settle([total])
        for _ in range(2):
            await self.report()
            await self.pass_by(61)
        return customer_id

    async def report(self) -> None:
        reporter = Reporter(
            ledger=self.shop.ledger,
            billing=self.shop.billing,
            check_account=self.shop.sync.account.check,
            policy=self.shop.sync._policy,
            clock=self.shop.sandbox.clock,
            metrics=self.metrics,
            options=ReportingOptions(hold_s=60),
        )
        await reporter.report_due()

    async def pass_by(self, seconds: float) -> None:
        await self.shop.sandbox.control("clock/advance", until=self.now + seconds)
        await self.shop.settle()

    async def find(self) -> int:
        return await Unbilled(
            ledger=self.shop.ledger,
            billing=self.shop.billing,
            check_account=self.shop.sync.account.check,
            clock=self.shop.sandbox.clock,
        ).find()

    async def lost(self) -> list[tuple[str, int | None]]:
        return [(row.customer_id, row.unbilled) for row in await self.shop.ledger.list_unbilled()]

    async def told(self) -> float | None:
        """What the metric says."""
        await self.report()
        return self.metrics.registry.get_sample_value("tiergate_overage_unbilled_units", {"meter": "requests"})

    async def cancel(self, customer_id: str, **params: Any) -> None:
        recorded = await self.shop.load(customer_id)
        await self.shop.sandbox.stripe.v1.subscriptions.cancel_async(recorded.subscription_id, params)
        await self.shop.settle()

    async def reasons(self, customer_id: str) -> tuple[str, tuple[Because, ...]]:
        recorded = await self.shop.load(customer_id)
        span = Span(since=recorded.period_starts_at, until=recorded.period_ends_at)
        statement = await draw_up(
            customer_id,
            span,
            ledger=self.shop.ledger,
            billing=self.shop.billing,
            check_account=self.shop.sync.account.check,
            now=self.now,
        )
        [proof] = statement.usage
        return proof.verdict, proof.because


@pytest.fixture
def seller(shop: Any) -> Seller:
    held = shop.sync._policy
    tiers = dict(held.current.tiers)
    overage = Overage(meter="requests", stripe_meter="api_overage", price=PriceName(lookup_key="api_overage"))
    tiers["pro"] = replace(tiers["pro"], overages=(overage,))
    held.current = replace(held.current, tiers=tiers)
    return Seller(shop=shop, metrics=Metrics())


async def test_what_nobody_is_billed_for_after_an_end_at_once_is_seen(seller: Seller) -> None:
    customer_id = await seller.used()
    await seller.cancel(customer_id)
    assert await seller.find() == 0, "calls in progress are settled, and invoices made, first"
    await seller.pass_by(700)
    assert await seller.find() == 1
    assert await seller.lost() == [(customer_id, UNITS)]
    assert await seller.reasons(customer_id) == ("differs", (Because(reason="ended-at-once", units=UNITS),))
    assert await seller.told() == UNITS


async def test_what_the_seller_has_seen_to_calls_for_nothing_any_more_and_stays_on_the_statement(
    seller: Seller,
) -> None:
    customer_id = await seller.used()
    await seller.cancel(customer_id)
    await seller.pass_by(700)
    await seller.find()
    ledger = seller.shop.ledger
    which = UnbilledFilter(customer_id=customer_id)
    assert await ledger.acknowledge_unbilled(which, now=seller.now, actor="operator", because="on invoice 17") != []
    assert await seller.reasons(customer_id) == ("agrees", (Because(reason="acknowledged", units=UNITS),))
    assert await seller.told() == 0
    assert await seller.lost() == [(customer_id, UNITS)]


async def test_it_is_counted_once_whoever_looks(seller: Seller) -> None:
    customer_id = await seller.used()
    await seller.cancel(customer_id)
    await seller.pass_by(700)
    assert [await seller.find() for _ in range(3)] == [1, 0, 0]
    assert await seller.told() == UNITS


async def test_an_end_with_a_final_invoice_bills_all_that_was_reported(seller: Seller) -> None:
    customer_id = await seller.used()
    await seller.cancel(customer_id, invoice_now=True)
    await seller.pass_by(700)
    assert await seller.find() == 1
    assert await seller.lost() == []
    assert (await seller.reasons(customer_id))[0] == "agrees"


async def test_a_customer_that_is_deleted_is_billed_for_nothing_and_that_is_seen(seller: Seller) -> None:
    customer_id = await seller.used()
    row = await seller.shop.ledger.find_customer(customer_id)
    await seller.shop.sandbox.stripe.v1.customers.delete_async(row.stripe_customer_id)
    await seller.shop.settle()
    await seller.pass_by(700)
    assert await seller.find() == 1
    assert await seller.lost() == [(customer_id, UNITS)]


@pytest.mark.parametrize("is_seen_between", [True, False], ids=["later", "before-anybody-reads-of-the-end"])
async def test_whoever_subscribes_again_at_once_does_not_hide_what_nobody_is_billed_for(
    seller: Seller, *, is_seen_between: bool
) -> None:
    customer_id = await seller.used()
    before = await seller.shop.load(customer_id)
    await seller.shop.sandbox.stripe.v1.subscriptions.cancel_async(before.subscription_id)
    if is_seen_between:
        await seller.pass_by(60)
    await seller.shop.sandbox.control("clock/advance", until=seller.now + 1)
    await seller.shop.sandbox.pay((await seller.shop.checkout(customer_id)).url)
    await seller.shop.settle()
    assert (await seller.shop.load(customer_id)).subscription_id != before.subscription_id
    await seller.pass_by(700)
    assert await seller.find() == 1
    assert await seller.lost() == [(customer_id, UNITS)]
    span = Span(since=before.period_starts_at, until=seller.now)
    ledger, billing, check = seller.shop.ledger, seller.shop.billing, seller.shop.sync.account.check
    found = await draw_up(customer_id, span, ledger=ledger, billing=billing, check_account=check, now=seller.now)
    [proof] = found.usage
    assert (proof.verdict, proof.because) == ("differs", (Because(reason="ended-at-once", units=UNITS),))


async def test_whoever_is_bound_to_another_stripe_customer_since_is_looked_for_where_it_was(seller: Seller) -> None:
    customer_id = await seller.used()
    await seller.cancel(customer_id, invoice_now=True)
    ledger, billing = seller.shop.ledger, seller.shop.billing
    made = await billing.create_customer(customer_id, "user", instead_of="cus_before")
    row = await ledger.find_customer(customer_id)
    assert await ledger.bind_stripe_customer(customer_id, made, instead_of=row.stripe_customer_id)
    await seller.pass_by(700)
    assert await seller.find() == 1
    assert await seller.lost() == []


async def test_an_end_with_the_period_is_billed_as_ever(seller: Seller) -> None:
    customer_id = await seller.used()
    recorded = await seller.shop.load(customer_id)
    await seller.shop.sandbox.stripe.v1.subscriptions.update_async(
        recorded.subscription_id, {"cancel_at_period_end": True}
    )
    await seller.pass_by(recorded.period_ends_at - seller.now + 2 * 3600)
    assert (await seller.shop.load(customer_id)).status == "canceled"
    assert await seller.find() == 0
    assert await seller.lost() == []


async def test_a_subscription_that_runs_is_not_looked_at(seller: Seller) -> None:
    await seller.used()
    await seller.pass_by(700)
    assert await seller.find() == 0


@pytest.mark.parametrize("proration", ["none", "next invoice", "now"])
async def test_overage_that_a_change_of_plan_ends_is_billed_however_the_plan_is_settled(
    seller: Seller, proration: Any
) -> None:
    held = seller.shop.sync._policy
    held.current = replace(held.current, switching=SwitchTerms(proration=proration))
    customer_id = await seller.used()
    recorded = await seller.shop.load(customer_id)
    changes = PlanChanges(sync=seller.shop.sync, clock=seller.shop.sandbox.clock)
    await changes.apply(customer_id, "enterprise-monthly", actor="customer")
    await seller.pass_by(recorded.period_ends_at - seller.now + 2 * 3600)
    v1 = seller.shop.sandbox.stripe.v1
    invoices = await v1.invoices.list_async({"subscription": recorded.subscription_id, "limit": 100})
    lines = [line for invoice in invoices.data for line in invoice.lines.data]
    assert sum(line.quantity for line in lines if line.pricing.price_details.price == "price_api_overage") == UNITS


async def test_reports_wait_for_a_key_that_works(seller: Seller) -> None:
    shop = seller.shop
    customer_id = await shop.buyer("pro-monthly")
    starts_at = (await shop.load(customer_id)).period_starts_at
    field = overage_field("requests")
    await shop.ledger.settle(
        [UsageTotal(customer_id=customer_id, field=field, window_starts_at=starts_at, used=UNITS, seq=1)]
    )
    await seller.report()
    await seller.pass_by(61)
    async with opened(StripeOptions(secret_key="sk_test_revoked", base_url=shop.sandbox.url)) as revoked:
        reporter = Reporter(
            ledger=shop.ledger,
            billing=revoked,
            check_account=LedgerAccount(ledger=shop.ledger, billing=revoked, clock=shop.sandbox.clock).check,
            policy=shop.sync._policy,
            clock=shop.sandbox.clock,
            metrics=seller.metrics,
            options=ReportingOptions(hold_s=60, refusals=2),
        )
        for _ in range(4):
            await reporter.report_due()
            await seller.pass_by(301)
    [waiting] = await shop.ledger.list_reports()
    assert (waiting.status, waiting.attempts, waiting.tried_at) == ("pending", 0, None)
    assert "credentials" in waiting.error
    await seller.report()
    [sent] = await shop.ledger.list_reports()
    assert sent.status == "sent"
