"""Units beyond what is included: reported to a Billing Meter, counted there, invoiced, and proven by the statement.

A meter takes what happened within 35 days and at most five minutes ahead. So all of it is reported in the first minutes
of the period, before the test clock goes on.
"""

from __future__ import annotations

import pytest

from gateway.core.metering import report_identifier
from gateway.core.overage import overage_field
from gateway.core.statement_period import find_span
from gateway.ledger import UsageTotal
from gateway.reporting import Reporter
from gateway.statements import draw_up
from gateway.sync.account import LedgerAccount
from gateway.telemetry import Metrics
from tests.live.catalog import INCLUDED, OVERAGE, OVERAGE_AMOUNT, PRICES

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

BEYOND, METER = 37, "requests"
AFTER_S = 2 * 3600
STANDS_S = 70
"""A total is reported when it has stood for a minute."""


async def use(life, window, units):
    """So many units in all, as settlement adds them up."""
    counters = {f"q:{METER}:period": min(units, INCLUDED), overage_field(METER): max(0, units - INCLUDED)}
    await life.ledger.settle(
        [
            UsageTotal(customer_id=life.customer_id, field=name, window_starts_at=window, used=used, seq=units)
            for name, used in counters.items()
        ]
    )


async def report(life):
    """By the gateway's clock, which may be some minutes ahead of Stripe's."""
    reporter = Reporter(
        ledger=life.ledger,
        billing=life.billing,
        check_account=life.sync.account.check,
        policy=life.policy,
        clock=life.clock,
        metrics=Metrics(),
    )
    for _ in range(3):
        life.clock.at += STANDS_S
        await reporter.report_due()


async def test_overage_is_reported_once_counted_invoiced_and_proven(life):
    await life.subscribe("volume-monthly", OVERAGE)
    first = await life.ledger.load_subscription(life.customer_id)
    window, ends_at = first.period_starts_at, first.period_ends_at
    await use(life, window, INCLUDED + BEYOND)
    await report(life)

    identifier = report_identifier(life.customer_id, METER, window, BEYOND)
    now = int(life.clock.now())
    again = await life.billing.meter_events.send(
        event_name=life.account.names.meter,
        stripe_customer_id=life.cus,
        identifier=identifier,
        units=BEYOND,
        at=now,
        tried_at=now + 1,
    )
    assert not again
    meters = await life.billing.invoices.fetch_meters()
    wanted = (life.account.names.meter, window, ends_at)

    async def counted():
        return sum((await life.billing.invoices.fetch_counted(life.cus, [wanted], meters)).values())

    assert await life.eventually(counted) == BEYOND

    await life.advance_to(ends_at + AFTER_S)
    await life.until(lambda found: found.period_starts_at == ends_at)

    async def proven():
        account = await life.ledger.load_account(life.customer_id)
        at = life.clock.now()
        statement = await draw_up(
            life.customer_id,
            find_span("last", account, at),
            ledger=life.ledger,
            billing=life.billing,
            check_account=LedgerAccount(ledger=life.ledger, billing=life.billing, clock=life.clock).check,
            now=int(at),
        )
        return statement if [one.verdict for one in statement.usage] == ["agrees"] else None

    statement = await life.eventually(proven)
    [proof] = statement.usage
    assert (proof.window.used, proof.window.overage, proof.window.reported) == (INCLUDED + BEYOND, BEYOND, BEYOND)
    assert (proof.counted, proof.invoiced, proof.amount) == (BEYOND, BEYOND, BEYOND * OVERAGE_AMOUNT)
    assert not statement.differs
    totals = [one.total for one in statement.invoices]
    assert totals == [PRICES["volume-monthly"][1], PRICES["volume-monthly"][1] + BEYOND * OVERAGE_AMOUNT]


async def test_the_meter_of_a_metered_price_is_read_as_the_doctor_reads_it(life):
    price = await life.billing.find_overage_price(life.sync.policy.tiers["volume"].overages[0].price)
    assert (price.price_id, price.meter_id) == (life.account.prices[OVERAGE], life.account.meter_id)
    meter = await life.billing.fetch_meter(life.account.meter_id)
    assert (meter.event_name, meter.is_active, meter.formula) == (life.account.names.meter, True, "sum")
    assert (meter.customer_key, meter.value_key) == ("stripe_customer_id", "value")
