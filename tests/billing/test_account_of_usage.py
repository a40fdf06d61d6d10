"""A key of another account of Stripe, in the same mode: it is told of no usage, and asked about none."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from typing import Any

import pytest

from gateway.billing import StripeOptions
from gateway.core.errors import StripeAccountWrong, StripeCustomerMissing
from gateway.core.overage import Overage, PriceName, overage_field
from gateway.core.statement_period import Span
from gateway.ledger import UsageTotal
from gateway.reporting import Reporter, ReportingOptions
from gateway.statements import draw_up
from gateway.sync import Sync
from gateway.sync.account import LedgerAccount
from gateway.telemetry import Metrics
from gateway.unbilled import Unbilled
from tests.billing.conftest import Answer, Request, StandIn, opened, through

pytestmark = pytest.mark.slow


@dataclass(kw_only=True)
class Asked:
    """A statement of a customer whom Stripe does not know under a key."""

    shop: Any
    stripe: StandIn
    customer_id: str = ""
    stripe_customer_id: str = ""

    async def begin(self) -> None:
        self.customer_id = await self.shop.new_customer()
        row = await self.shop.ledger.find_customer(self.customer_id)
        self.stripe_customer_id = row.stripe_customer_id
        await self.shop.sync.account.check()  # the ledger learns its account

        async def without(request: Request) -> Answer:
            if self.stripe_customer_id in request.target:
                error = {"type": "invalid_request_error", "code": "resource_missing", "message": "No such customer"}
                return Answer(status=404, body={"error": error})
            return await through(self.shop.sandbox.url)(request)

        self.stripe.handler, self.stripe.account_id = without, None  # as the sandbox says

    async def draw_up(self) -> None:
        now, ledger = int(self.shop.sandbox.clock.now()), self.shop.ledger
        async with (
            self.stripe.listening(),
            opened(StripeOptions(secret_key=self.shop.sandbox.key, base_url=self.stripe.url)) as billing,
        ):
            check = LedgerAccount(ledger=ledger, billing=billing, clock=self.shop.sandbox.clock).check
            span = Span(since=now - 86_400, until=now)
            await draw_up(self.customer_id, span, ledger=ledger, billing=billing, check_account=check, now=now)


async def test_a_statement_under_the_key_of_another_account_says_so_and_compares_nothing(shop: Any) -> None:
    asked = Asked(shop=shop, stripe=StandIn())
    await asked.begin()
    asked.stripe.account_id = "acct_elsewhere"
    with pytest.raises(StripeAccountWrong) as refused:
        await asked.draw_up()
    assert "acct_elsewhere" in refused.value.what


async def test_a_statement_of_one_whom_the_ledgers_own_account_never_had_says_that_and_doubts_no_key(shop: Any) -> None:
    asked = Asked(shop=shop, stripe=StandIn())
    await asked.begin()
    with pytest.raises(StripeCustomerMissing) as refused:
        await asked.draw_up()
    assert refused.value.stripe_customer_id == asked.stripe_customer_id


UNITS = 40


@dataclass(kw_only=True)
class Gateway:
    """A process that was started again, and what it asks Stripe."""

    shop: Any
    stripe: StandIn
    sync: Sync
    metrics: Metrics

    async def report(self) -> int:
        return await Reporter(
            ledger=self.shop.ledger,
            billing=self.sync.billing,
            check_account=self.sync.account.check,
            policy=self.shop.sync._policy,
            clock=self.shop.sandbox.clock,
            metrics=self.metrics,
            options=ReportingOptions(hold_s=60, refusals=1),
        ).report_due()

    async def find(self) -> int:
        return await Unbilled(
            ledger=self.shop.ledger,
            billing=self.sync.billing,
            check_account=self.sync.account.check,
            clock=self.shop.sandbox.clock,
        ).find()

    async def use(self) -> str:
        """A customer with usage that is to be reported now."""
        customer_id: str = await self.shop.buyer("pro-monthly")
        starts_at = (await self.shop.load(customer_id)).period_starts_at
        field = overage_field("requests")
        used = UsageTotal(customer_id=customer_id, field=field, window_starts_at=starts_at, used=UNITS, seq=1)
        await self.shop.ledger.settle([used])
        await self.report()
        await self.pass_by(61)
        return customer_id

    async def pass_by(self, seconds: float) -> None:
        await self.shop.sandbox.control("clock/advance", until=int(self.shop.sandbox.clock.now()) + seconds)
        await self.shop.settle()

    def told(self) -> list[str]:
        """What it asked, beside whose key it is."""
        return [request.path for request in self.stripe.requests]

    def waiting(self, status: str) -> float | None:
        return self.metrics.registry.get_sample_value("tiergate_meter_reports_waiting", {"status": status})


@pytest.fixture
async def gateway(shop: Any) -> AsyncIterator[Gateway]:
    """With the key of another account, in which everything would be taken."""
    held = shop.sync._policy
    tiers = dict(held.current.tiers)
    overage = Overage(meter="requests", stripe_meter="api_overage", price=PriceName(lookup_key="api_overage"))
    tiers["pro"] = replace(tiers["pro"], overages=(overage,))
    held.current = replace(held.current, tiers=tiers)
    elsewhere = StandIn()
    elsewhere.account_id, elsewhere.handler = "acct_elsewhere", through(shop.sandbox.url)

    async def publish(_: str) -> None:
        return None

    async with elsewhere.listening():
        options = StripeOptions(secret_key=shop.sandbox.key, base_url=elsewhere.url)
        async with opened(options) as billing:
            sync = Sync(ledger=shop.ledger, billing=billing, policy=held, publish=publish, clock=shop.sandbox.clock)
            yield Gateway(shop=shop, stripe=elsewhere, sync=sync, metrics=Metrics())


def put_right(gateway: Gateway) -> None:
    """The right key again, which takes a restart."""
    gateway.stripe.account_id = None
    gateway.sync.billing.account._account_id = None


async def test_no_usage_is_reported_to_another_account_and_all_of_it_waits(gateway: Gateway) -> None:
    await gateway.use()
    for _ in range(4):
        assert await gateway.report() == 0
        await gateway.pass_by(301)
    assert gateway.told() == []
    [waiting] = await gateway.shop.ledger.list_reports()
    assert (waiting.status, waiting.attempts, waiting.tried_at) == ("pending", 0, None)
    assert "this key is of acct_elsewhere" in waiting.error
    assert (gateway.waiting("pending"), gateway.waiting("dead")) == (1, 0)
    assert "acct_elsewhere" in str(gateway.sync.account.trouble)
    put_right(gateway)
    assert await gateway.report() == 1
    [sent] = await gateway.shop.ledger.list_reports()
    assert (sent.status, sent.units) == ("sent", UNITS)


async def test_a_report_that_is_too_old_by_then_is_not_given_up_under_the_key_of_another_account(
    gateway: Gateway,
) -> None:
    await gateway.use()
    await gateway.report()
    await gateway.pass_by(36 * 86_400)
    await gateway.report()
    assert {row.status for row in await gateway.shop.ledger.list_reports()} == {"pending"}


async def test_whose_key_it_is_is_asked_once_for_all_reports_of_a_run_and_not_without_any(gateway: Gateway) -> None:
    asked = 0
    put_right(gateway)
    check = gateway.sync.account.check

    async def counting() -> None:
        nonlocal asked
        asked += 1
        await check()

    gateway.sync.account.check = counting  # type: ignore[method-assign, assignment]
    for _ in range(3):
        await gateway.use()
    asked = 0
    assert (await gateway.report(), asked) == (1, 1)
    assert (await gateway.report(), asked) == (0, 1)


async def test_nobody_is_called_unbilled_because_another_account_has_no_invoices(gateway: Gateway) -> None:
    customer_id = await gateway.use()
    recorded = await gateway.shop.load(customer_id)
    await gateway.shop.sandbox.stripe.v1.subscriptions.cancel_async(recorded.subscription_id)
    await gateway.shop.settle()
    await gateway.pass_by(700)
    assert await gateway.find() == 0
    assert (gateway.told(), await gateway.shop.ledger.list_unbilled()) == ([], [])
    put_right(gateway)
    assert await gateway.find() == 1
