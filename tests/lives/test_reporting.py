"""Something goes wrong at each step of reporting overage, one after the other: nothing is lost, nothing is double."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import count

import pytest

from gateway.core.account import Subscription
from gateway.core.errors import TiergateError
from gateway.core.overage import overage_field
from gateway.core.policy import Policy
from gateway.ledger import MeterReportRow, UsageTotal
from gateway.reporting import ReportingOptions
from gateway.sandbox.rules import Rules
from tests.lives.acts import pay_at
from tests.lives.beyond import INCLUDED
from tests.lives.conftest import NewTown, move_in
from tests.lives.steps import Fate, Process, run_in
from tests.lives.test_steps import FATES, disturbed_at
from tests.lives.town import Buyer, Town

DAY_S = 86_400


@dataclass
class HeldPolicy:
    """In the place of the town's."""

    current: Policy


class Seen:
    """What is settled of a buyer, in order."""

    def __init__(self) -> None:
        self.seq = 0

    async def settle(self, town: Town, buyer: Buyer, starts_at: int, used: int) -> None:
        self.seq += 1
        total = UsageTotal(
            customer_id=buyer.customer_id,
            field=overage_field("requests"),
            window_starts_at=starts_at,
            used=used,
            seq=self.seq,
        )
        await town.ledger.settle([total])


async def at_rest(town: Town) -> None:
    """Nothing goes wrong any more; whatever waits is waited for."""
    for _ in range(8):
        await town.calling.reporter().report_due()
        await town.simulator.advance(130)


async def reports(town: Town, buyer: Buyer, starts_at: int) -> list[MeterReportRow]:
    """Of one window, in the order of their totals."""
    rows = await town.ledger.list_reports(limit=1000)
    found = [row for row in rows if (row.customer_id, row.window_starts_at) == (buyer.customer_id, starts_at)]
    return sorted(found, key=lambda row: row.total)


def counted(town: Town, stripe_customer_id: str) -> int:
    events = town.simulator.world.tables.meter_events.values()
    return sum(one.value for one in events if one.customer_id == stripe_customer_id and not one.cancelled)


async def moved_in(town: Town) -> tuple[Buyer, str, int]:
    buyer = await move_in(town)
    account = await town.ledger.load_account(buyer.customer_id)
    assert account is not None
    return buyer, await town.stripe_customer(buyer), account.created_at


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("fate", FATES)
@pytest.mark.parametrize("ends", [False, True], ids=["in the window", "when it has ended"])
async def test_a_report_that_is_disturbed_at_any_step_bills_every_unit_once(
    new_town: NewTown, fate: Fate, *, ends: bool
) -> None:
    town = await new_town(1, 0, ())
    for number in count():
        buyer, cus, starts_at = await moved_in(town)
        seen = Seen()
        await seen.settle(town, buyer, starts_at, 5)
        await town.calling.reporter().report_due()
        await town.simulator.advance(32 * DAY_S if ends else 61)
        process = disturbed_at(number, fate)
        with suppress(TiergateError):
            await run_in(process, town.calling.reporter().report_due())
        await seen.settle(town, buyer, starts_at, 7)
        await at_rest(town)
        assert counted(town, cus) == 7, process.steps
        rows = await reports(town, buyer, starts_at)
        assert {row.status for row in rows} == {"sent"}, rows
        assert sum(row.units for row in rows) == 7
        if len(process.steps) <= number:
            break
    assert number >= 10


async def test_only_what_has_stood_is_reported_while_the_window_is_open(new_town: NewTown) -> None:
    town = await new_town(1, 0, ())
    buyer, cus, starts_at = await moved_in(town)
    seen = Seen()
    await seen.settle(town, buyer, starts_at, 5)
    await town.calling.reporter().report_due()
    assert counted(town, cus) == 0
    await seen.settle(town, buyer, starts_at, 3)
    await town.simulator.advance(61)
    await town.calling.reporter().report_due()
    assert counted(town, cus) == 3, "two units were given back in time"
    await seen.settle(town, buyer, starts_at, 1)
    await at_rest(town)
    assert counted(town, cus) == 3, "what was reported is not taken back"
    await seen.settle(town, buyer, starts_at, 4)
    await at_rest(town)
    assert counted(town, cus) == 4, "and is made up for by what is used next"


async def test_every_report_counts_within_its_window_and_says_what_it_includes(new_town: NewTown) -> None:
    town = await new_town(1, 0, ())
    buyer, cus, starts_at = await moved_in(town)
    await Seen().settle(town, buyer, starts_at, 5)
    await town.calling.reporter().report_due()
    await town.simulator.advance(40 * DAY_S)
    await town.calling.reporter().report_due()
    (window,) = await town.ledger.list_metered_windows(buyer.customer_id, starts_at, starts_at + 1)
    assert (window.reported, window.included, window.stripe_meter) == (5, INCLUDED["free"], "api_overage")
    assert window.window_ends_at is not None
    (event,) = [one for one in town.simulator.world.tables.meter_events.values() if one.customer_id == cus]
    assert event.at == window.window_ends_at - 1


@pytest.mark.parametrize("is_known", [False, True], ids=["not looked at yet", "looked at"])
async def test_units_of_a_subscription_that_was_cancelled_do_not_count_in_the_period_of_the_next(
    new_town: NewTown, *, is_known: bool
) -> None:
    town = await new_town(1, 1, ())
    [buyer] = town.buyers
    first = await subscribed(town, buyer)
    await Seen().settle(town, buyer, first.period_starts_at, 5)
    if is_known:
        await town.calling.reporter().report_due()
    town.stripe("DELETE", f"/v1/subscriptions/{first.subscription_id}")
    await town.sync.sync_customer(buyer.customer_id, "test")
    await town.simulator.advance(DAY_S)
    second = await subscribed(town, buyer)
    assert second.period_starts_at >= first.period_starts_at + DAY_S
    await town.simulator.advance(DAY_S)
    await at_rest(town)
    (event,) = town.simulator.world.tables.meter_events.values()
    assert (event.value, event.at) == (5, second.period_starts_at - 1)


async def subscribed(town: Town, buyer: Buyer) -> Subscription:
    link = await town.checkouts.for_customer(buyer.customer_id, "pro-monthly")
    pay_at(town, link.session_id, "4242424242424242")
    await town.sync.sync_customer(buyer.customer_id, "test")
    account = await town.ledger.load_account(buyer.customer_id)
    assert account is not None
    assert account.subscription is not None
    return account.subscription


async def test_what_is_too_old_for_stripe_and_whom_stripe_does_not_know_is_given_up_and_seen(new_town: NewTown) -> None:
    town = await new_town(1, 0, ())
    buyer, cus, starts_at = await moved_in(town)
    stranger = await move_in(town)
    await Seen().settle(town, buyer, starts_at, 5)
    await Seen().settle(town, stranger, starts_at, 5)
    await town.simulator.advance(70 * DAY_S)
    await at_rest(town)
    dead = await town.ledger.list_reports(status="dead")
    assert {row.customer_id for row in dead} == {buyer.customer_id, stranger.customer_id}
    assert all("35 days" in (row.error or "") for row in dead)
    assert counted(town, cus) == 0
    recent = int(town.now()) - 40 * DAY_S
    await Seen().settle(town, stranger, recent, 5)
    await at_rest(town)
    (row,) = await reports(town, stranger, recent)
    assert (row.status, row.error) == ("dead", "the customer has no account at Stripe")


async def test_a_meter_that_is_off_holds_reports_up_until_it_is_on_again(new_town: NewTown) -> None:
    town = await new_town(1, 0, ())
    buyer, cus, starts_at = await moved_in(town)
    await Seen().settle(town, buyer, starts_at, 5)
    town.stripe("POST", "/v1/billing/meters/mtr_api_overage/deactivate")
    await town.calling.reporter().report_due()
    await town.simulator.advance(32 * DAY_S)
    await town.calling.reporter().report_due()
    (row,) = await reports(town, buyer, starts_at)
    assert (row.status, row.attempts, row.tried_at) == ("pending", 1, None), "it is known that Stripe did not take it"
    town.stripe("POST", "/v1/billing/meters/mtr_api_overage/reactivate")
    await at_rest(town)
    assert counted(town, cus) == 5


async def test_nothing_is_sent_again_once_stripe_may_have_forgotten_that_it_took_it(new_town: NewTown) -> None:
    town = await new_town(1, 0, ())
    buyer, cus, starts_at = await moved_in(town)
    await Seen().settle(town, buyer, starts_at, 5)
    await town.calling.reporter().report_due()
    await town.simulator.advance(61)
    await town.sync.account.check()  # so that the first thing asked is to take the report
    process = Process(fate_of=lambda kind, _: "unknown" if kind == "stripe" else "done")
    await run_in(process, town.calling.reporter().report_due())
    (row,) = await reports(town, buyer, starts_at)
    assert (row.status, row.attempts) == ("pending", 1)
    assert row.tried_at is not None
    assert counted(town, cus) == 5
    await town.simulator.advance(2 * DAY_S)
    await at_rest(town)
    assert counted(town, cus) == 5
    (row,) = await reports(town, buyer, starts_at)
    assert (row.status, "nobody could tell" in (row.error or "")) == ("dead", True)


async def test_what_stripe_took_and_does_not_count_is_marked_with_its_reason_and_can_be_sent_again(
    new_town: NewTown,
) -> None:
    town = await new_town(1, 0, ("v1.billing.meter.error_report_triggered",))
    town.simulator.set_rules(Rules(meter_errors="reported"))
    endpoints = town.simulator.world.tables.endpoints
    endpoints.update({name: replace(one, thin=True) for name, one in endpoints.items()})
    buyer, cus, starts_at = await moved_in(town)
    await Seen().settle(town, buyer, starts_at, 5)
    town.stripe("DELETE", f"/v1/customers/{cus}")
    await town.calling.reporter().report_due()
    await town.simulator.advance(61)
    await town.calling.reporter().report_due()
    (row,) = await reports(town, buyer, starts_at)
    assert row.status == "sent"
    await town.work()
    (row,) = await reports(town, buyer, starts_at)
    assert row.status == "dead"
    assert (row.error or "").startswith("meter_event_customer_not_found")
    (event,) = await town.ledger.list_events(status="dead")
    assert f"5 units of customer {buyer.customer_id} are not billed" in (event.error or "")
    assert await town.ledger.retry_report(row.identifier, int(town.now()))
    (again,) = await reports(town, buyer, starts_at)
    assert again.identifier == f"{row.identifier}r"


async def test_sending_again_does_not_forget_that_stripe_may_have_taken_the_first_try(new_town: NewTown) -> None:
    town = await new_town(1, 0, ())
    buyer, cus, starts_at = await moved_in(town)
    await Seen().settle(town, buyer, starts_at, 5)
    await town.calling.reporter().report_due()
    await town.simulator.advance(61)
    await town.sync.account.check()  # so that the first thing asked is to take the report
    process = Process(fate_of=lambda kind, _: "unknown" if kind == "stripe" else "done")
    await run_in(process, town.calling.reporter().report_due())
    (first,) = await reports(town, buyer, starts_at)
    await town.simulator.advance(20 * 3600)
    assert await town.ledger.retry_report(first.identifier, int(town.now()))
    process = Process(fate_of=lambda kind, _: "refused" if kind == "stripe" else "done")
    await run_in(process, town.calling.reporter().report_due())
    (row,) = await reports(town, buyer, starts_at)
    assert row.tried_at == first.tried_at
    await town.simulator.advance(5 * 3600)
    await at_rest(town)
    assert counted(town, cus) == 5
    (row,) = await reports(town, buyer, starts_at)
    assert (row.status, "nobody could tell" in (row.error or "")) == ("dead", True)


async def test_a_report_that_was_refused_and_is_sent_again_is_asked_anew(new_town: NewTown) -> None:
    town = await new_town(1, 0, ())
    buyer, cus, starts_at = await moved_in(town)
    options = ReportingOptions(refusals=2)
    await Seen().settle(town, buyer, starts_at, 5)
    town.stripe("POST", "/v1/billing/meters/mtr_api_overage/deactivate")
    for _ in range(4):
        await town.calling.reporter(options).report_due()
        await town.simulator.advance(61)
    (row,) = await reports(town, buyer, starts_at)
    assert (row.status, row.tried_at) == ("dead", None)
    town.stripe("POST", "/v1/billing/meters/mtr_api_overage/reactivate")
    await town.ledger.retry_report(row.identifier, int(town.now()))
    await town.calling.reporter(options).report_due()
    assert counted(town, cus) == 5


async def test_a_customer_whose_report_waits_keeps_nobody_from_being_reported(new_town: NewTown) -> None:
    town = await new_town(1, 0, ())
    options = ReportingOptions(batch=1, pauses_s=(300,))
    bought = [await moved_in(town) for _ in range(2)]
    (held_up, _, since), (other, cus, starts_at) = sorted(bought, key=lambda one: one[0].customer_id)
    seen = Seen()
    await seen.settle(town, held_up, since, 5)
    await town.calling.reporter(options).report_due()
    await town.simulator.advance(61)
    town.stripe("POST", "/v1/billing/meters/mtr_api_overage/deactivate")
    await town.calling.reporter(options).report_due()
    town.stripe("POST", "/v1/billing/meters/mtr_api_overage/reactivate")
    await seen.settle(town, held_up, since, 9)
    await Seen().settle(town, other, starts_at, 7)
    async with asyncio.timeout(30):
        await town.calling.reporter(options).report_due()
        await town.simulator.advance(61)
        await town.calling.reporter(options).report_due()
    assert counted(town, cus) == 7
    (row,) = await reports(town, held_up, since)
    assert row.status == "pending"


async def test_a_pass_ends_where_what_it_saw_stays_due(new_town: NewTown) -> None:
    town = await new_town(1, 0, ())
    buyer, _, starts_at = await moved_in(town)
    await Seen().settle(town, buyer, starts_at, 5)
    options = ReportingOptions(batch=1, hold_s=0)
    async with asyncio.timeout(30):
        await town.calling.reporter(options, HeldPolicy(replace(town.policy, tiers={}))).report_due()
