"""From a call to the cent: admission, settlement, the reporter, Stripe's invoice, and the statement that proves it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import pytest

from gateway.billing import Billing, StripeOptions
from gateway.core.statement import Statement
from gateway.core.statement_period import find_span
from gateway.reporting import Reporter
from gateway.sandbox import ApiFault, Faults, Listening, Simulator, running
from gateway.sandbox.cards import read_number
from gateway.sandbox.engine.methods import attach, new_method
from gateway.sandbox.engine.subscriptions import Start, start
from gateway.statements import draw_up
from gateway.sync import Sync
from gateway.sync.account import LedgerAccount
from tests.conftest import Parts
from tests.steps import admit
from tests.test_plan_change import edit

DAY_S, HOUR_S = 86_400, 3_600
POLICY = """\
version: 1
default_tier: free
tiers:
  free: {limits: [1_000 per second burst 1_000, 4 requests per billing period]}
  pro:
    limits: [1_000 per second burst 1_000, 10 requests per billing period]
    overage: {stripe_meter: api_overage, price: lookup_key api_overage, cap: none}
plans:
  pro-monthly: {tier: pro, price: lookup_key pro_monthly}
routes:
  - {match: "POST /v1/**", cost: 4}
  - match: "* /v1/**"
"""


@dataclass(slots=True)
class Shop:
    """The gateway's parts, and Stripe, at one time."""

    parts: Parts
    billing: Billing
    simulator: Simulator
    reporter: Reporter
    sync: Sync
    customer_id: str = ""
    key: bytes = b""

    async def sell(self) -> None:
        """A customer with the plan and the metered item, as the checkout sells them."""
        self.customer_id, self.key, _ = await self.parts.customer()
        cus = await self.billing.create_customer(self.customer_id, "ada")
        await self.parts.ledger.bind_stripe_customer(self.customer_id, cus)

        def act(world: Any) -> None:
            method = new_method(world, read_number("4242424242424242"), exp_month=12, exp_year=2090)
            attach(world, method.id, cus)
            prices = [("price_pro_monthly", 1), ("price_api_overage", 0)]
            start(world, Start(customer_id=cus, prices=prices, payment_method_id=method.id))

        self.simulator.carry_out(act)
        self.parts.clock.time = self.simulator.now()
        await self.look_again()

    async def look_again(self) -> None:
        await self.sync.sync_customer(self.customer_id, "test")

    async def call(self, times: int, method: str = "GET") -> None:
        for _ in range(times):
            await admit(self.parts.admission, self.key, method)

    async def pass_time(self, seconds: float) -> None:
        """Here and at Stripe; then what the gateway does by itself."""
        await self.simulator.advance(seconds)
        self.parts.clock.time = self.simulator.now()
        await self.work()

    async def work(self) -> None:
        await self.parts.settlement.settle_all()
        while await self.reporter.report_due():
            pass

    async def state(self, period: str) -> Statement:
        account = await self.parts.ledger.load_account(self.customer_id)
        assert account is not None
        now = self.parts.clock.now()
        span = find_span(period, account, now)
        account_check = LedgerAccount(ledger=self.parts.ledger, billing=self.billing, clock=self.parts.clock)
        return await draw_up(
            self.customer_id,
            span,
            ledger=self.parts.ledger,
            billing=self.billing,
            check_account=account_check.check,
            now=int(now),
        )


@pytest.fixture
async def shop(parts: Parts) -> AsyncIterator[Shop]:
    edit(parts, POLICY)
    async with running(Listening(seeded=True, run="t")) as now:
        billing = await Billing.open(StripeOptions(secret_key=now.key, base_url=now.stripe_url))
        parts.clock.time = now.simulator.now()
        try:
            sync = Sync(
                ledger=parts.ledger,
                billing=billing,
                policy=parts.policy,
                publish=parts.publisher.publish,
                clock=parts.clock,
            )
            reporter = Reporter(
                ledger=parts.ledger,
                billing=billing,
                check_account=sync.account.check,
                policy=parts.policy,
                clock=parts.clock,
                metrics=parts.metrics,
            )
            made = Shop(parts, billing, now.simulator, reporter, sync)
            await made.sell()
            yield made
        finally:
            await billing.aclose()


async def test_calls_beyond_the_quota_are_on_the_invoice_to_the_unit_and_the_statement_proves_it(shop: Shop) -> None:
    await shop.call(7)
    await shop.pass_time(120)
    await shop.call(3, "POST")
    await shop.pass_time(120)
    await shop.pass_time(120)
    await shop.call(30)
    now = await shop.state("current")
    [proof] = now.usage
    assert (proof.verdict, proof.window.used, proof.window.included, proof.window.overage) == (
        "not-yet-invoiced",
        19,
        10,
        9,
    )

    end = proof.window.ends_at
    await shop.pass_time(end + 60 - shop.parts.clock.now())
    await shop.look_again()
    await shop.pass_time(HOUR_S)
    statement = await shop.state("last")

    [proof] = statement.usage
    assert (proof.verdict, proof.because) == ("agrees", ())
    assert (proof.window.overage, proof.window.reported, proof.invoiced) == (39, 39, 39)
    assert proof.amount == 4
    assert [invoice.total for invoice in statement.invoices] == [2_900, 2_900 + 4]
    assert not statement.differs


async def test_what_the_reporter_could_not_tell_in_time_is_a_late_report_on_the_statement(shop: Shop) -> None:
    end = (await shop.state("current")).until
    await shop.pass_time(end - HOUR_S - shop.parts.clock.now())
    await shop.call(110)
    fault = ApiFault(path="/v1/billing/meter_events", method="POST", status=503, times=0)
    shop.simulator.set_faults(Faults(api=(fault,)))
    await shop.pass_time(120)
    await shop.pass_time(end + 2 * HOUR_S - shop.parts.clock.now())
    await shop.look_again()
    [waits] = (await shop.state("last")).usage
    assert (waits.verdict, [(one.reason, one.units) for one in waits.because]) == (
        "differs",
        [("pending-report", 100)],
    )
    shop.simulator.set_faults(Faults())
    await shop.pass_time(600)
    [late] = (await shop.state("last")).usage
    assert [(one.reason, one.units) for one in late.because] == [("late-report", 100)]
