"""Something goes wrong at each step of reporting overage, one after the other: nothing is lost, nothing is double."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path

import pytest

from gateway.core.errors import TiergateError
from gateway.core.overage import overage_field
from gateway.core.policy import Policy
from gateway.ledger import MeterReportRow, UsageTotal
from gateway.policyfiles import load_policy
from gateway.reporting import Reporter, ReportingOptions
from gateway.sandbox.rules import Rules
from gateway.telemetry import Metrics
from tests.lives.conftest import NewTown, move_in
from tests.lives.steps import Fate, Process, run_in
from tests.lives.test_steps import FATES, disturbed_at
from tests.lives.town import Buyer, SimulatorClock, Town

POLICY = """\
version: 1
default_tier: free
tiers:
  free: {limits: [10 requests per billing period]}
  pro:
    limits: [100 requests per billing period]
    overage: {stripe_meter: api_overage, price: lookup_key api_overage, cap: none}
plans:
  pro-monthly: {tier: pro, price: lookup_key pro_monthly}
routes:
  - match: "* /**"
"""
DAY_S = 86_400


@dataclass
class HeldPolicy:
    current: Policy


@pytest.fixture
def held_policy(tmp_path: Path) -> HeldPolicy:
    (tmp_path / "policy.yaml").write_text(POLICY)
    return HeldPolicy(load_policy(tmp_path))


def reporter(town: Town, policy: HeldPolicy, options: ReportingOptions | None = None) -> Reporter:
    """Of a process that has just started."""
    return Reporter(
        ledger=town.ledger,
        billing=town.billing,
        policy=policy,
        clock=SimulatorClock(town.simulator),
        metrics=Metrics(),
        options=options,
    )


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


async def at_rest(town: Town, policy: HeldPolicy) -> None:
    """Nothing goes wrong any more; whatever waits is waited for."""
    for _ in range(8):
        await reporter(town, policy).report_due()
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
    new_town: NewTown, held_policy: HeldPolicy, fate: Fate, *, ends: bool
) -> None:
    town = await new_town(1, 0, ())
    for number in count():
        buyer, cus, starts_at = await moved_in(town)
        seen = Seen()
        await seen.settle(town, buyer, starts_at, 5)
        await reporter(town, held_policy).report_due()
        await town.simulator.advance(32 * DAY_S if ends else 61)
        process = disturbed_at(number, fate)
        with suppress(TiergateError):
            await run_in(process, reporter(town, held_policy).report_due())
        await seen.settle(town, buyer, starts_at, 7)
        await at_rest(town, held_policy)
        assert counted(town, cus) == 7, process.steps
        rows = await reports(town, buyer, starts_at)
        assert {row.status for row in rows} == {"sent"}, rows
        assert sum(row.units for row in rows) == 7
        if len(process.steps) <= number:
            break
    assert number >= 10


async def test_only_what_has_stood_is_reported_while_the_window_is_open(
    new_town: NewTown, held_policy: HeldPolicy
) -> None:
    town = await new_town(1, 0, ())
    buyer, cus, starts_at = await moved_in(town)
    seen = Seen()
    await seen.settle(town, buyer, starts_at, 5)
    await reporter(town, held_policy).report_due()
    assert counted(town, cus) == 0
    await seen.settle(town, buyer, starts_at, 3)
    await town.simulator.advance(61)
    await reporter(town, held_policy).report_due()
    assert counted(town, cus) == 3, "two units were given back in time"
    await seen.settle(town, buyer, starts_at, 1)
    await at_rest(town, held_policy)
    assert counted(town, cus) == 3, "what was reported is not taken back"
    await seen.settle(town, buyer, starts_at, 4)
    await at_rest(town, held_policy)
    assert counted(town, cus) == 4, "and is made up for by what is used next"


async def test_every_report_counts_within_its_window_and_says_what_it_includes(
    new_town: NewTown, held_policy: HeldPolicy
) -> None:
    town = await new_town(1, 0, ())
    buyer, cus, starts_at = await moved_in(town)
    await Seen().settle(town, buyer, starts_at, 5)
    await reporter(town, held_policy).report_due()
    await town.simulator.advance(40 * DAY_S)
    await reporter(town, held_policy).report_due()
    (window,) = await town.ledger.list_metered_windows(buyer.customer_id, starts_at, starts_at + 1)
    assert (window.reported, window.included, window.stripe_meter) == (5, 10, "api_overage")
    assert window.window_ends_at is not None
    (event,) = [one for one in town.simulator.world.tables.meter_events.values() if one.customer_id == cus]
    assert event.at == window.window_ends_at - 1


async def test_what_is_too_old_for_stripe_and_whom_stripe_does_not_know_is_given_up_and_seen(
    new_town: NewTown, held_policy: HeldPolicy
) -> None:
    town = await new_town(1, 0, ())
    buyer, cus, starts_at = await moved_in(town)
    stranger = await move_in(town)
    await Seen().settle(town, buyer, starts_at, 5)
    await Seen().settle(town, stranger, starts_at, 5)
    await town.simulator.advance(70 * DAY_S)
    await at_rest(town, held_policy)
    dead = await town.ledger.list_reports(status="dead")
    assert {row.customer_id for row in dead} == {buyer.customer_id, stranger.customer_id}
    assert all("35 days" in (row.error or "") for row in dead)
    assert counted(town, cus) == 0
    recent = int(town.now()) - 40 * DAY_S
    await Seen().settle(town, stranger, recent, 5)
    await at_rest(town, held_policy)
    (row,) = await reports(town, stranger, recent)
    assert (row.status, row.error) == ("dead", "the customer has no account at Stripe")


async def test_a_meter_that_is_off_holds_reports_up_until_it_is_on_again(
    new_town: NewTown, held_policy: HeldPolicy
) -> None:
    town = await new_town(1, 0, ())
    buyer, cus, starts_at = await moved_in(town)
    await Seen().settle(town, buyer, starts_at, 5)
    town.stripe("POST", "/v1/billing/meters/mtr_api_overage/deactivate")
    await reporter(town, held_policy).report_due()
    await town.simulator.advance(32 * DAY_S)
    await reporter(town, held_policy).report_due()
    (row,) = await reports(town, buyer, starts_at)
    assert (row.status, row.attempts, row.tried_at) == ("pending", 1, None), "it is known that Stripe did not take it"
    town.stripe("POST", "/v1/billing/meters/mtr_api_overage/reactivate")
    await at_rest(town, held_policy)
    assert counted(town, cus) == 5


async def test_nothing_is_sent_again_once_stripe_may_have_forgotten_that_it_took_it(
    new_town: NewTown, held_policy: HeldPolicy
) -> None:
    town = await new_town(1, 0, ())
    buyer, cus, starts_at = await moved_in(town)
    await Seen().settle(town, buyer, starts_at, 5)
    await reporter(town, held_policy).report_due()
    await town.simulator.advance(61)
    process = Process(fate_of=lambda kind, _: "unknown" if kind == "stripe" else "done")
    await run_in(process, reporter(town, held_policy).report_due())
    (row,) = await reports(town, buyer, starts_at)
    assert (row.status, row.attempts) == ("pending", 1)
    assert row.tried_at is not None
    assert counted(town, cus) == 5
    await town.simulator.advance(2 * DAY_S)
    await at_rest(town, held_policy)
    assert counted(town, cus) == 5
    (row,) = await reports(town, buyer, starts_at)
    assert (row.status, "nobody could tell" in (row.error or "")) == ("dead", True)


async def test_what_stripe_took_and_does_not_count_is_marked_with_its_reason_and_can_be_sent_again(
    new_town: NewTown, held_policy: HeldPolicy
) -> None:
    town = await new_town(1, 0, ("v1.billing.meter.error_report_triggered",))
    town.simulator.set_rules(Rules(meter_errors="reported"))
    endpoints = town.simulator.world.tables.endpoints
    endpoints.update({name: replace(one, thin=True) for name, one in endpoints.items()})
    buyer, cus, starts_at = await moved_in(town)
    await Seen().settle(town, buyer, starts_at, 5)
    town.stripe("DELETE", f"/v1/customers/{cus}")
    await reporter(town, held_policy).report_due()
    await town.simulator.advance(61)
    await reporter(town, held_policy).report_due()
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


async def test_sending_again_does_not_forget_that_stripe_may_have_taken_the_first_try(
    new_town: NewTown, held_policy: HeldPolicy
) -> None:
    town = await new_town(1, 0, ())
    buyer, cus, starts_at = await moved_in(town)
    await Seen().settle(town, buyer, starts_at, 5)
    await reporter(town, held_policy).report_due()
    await town.simulator.advance(61)
    process = Process(fate_of=lambda kind, _: "unknown" if kind == "stripe" else "done")
    await run_in(process, reporter(town, held_policy).report_due())
    (first,) = await reports(town, buyer, starts_at)
    await town.simulator.advance(20 * 3600)
    assert await town.ledger.retry_report(first.identifier, int(town.now()))
    process = Process(fate_of=lambda kind, _: "refused" if kind == "stripe" else "done")
    await run_in(process, reporter(town, held_policy).report_due())
    (row,) = await reports(town, buyer, starts_at)
    assert row.tried_at == first.tried_at
    await town.simulator.advance(5 * 3600)
    await at_rest(town, held_policy)
    assert counted(town, cus) == 5
    (row,) = await reports(town, buyer, starts_at)
    assert (row.status, "nobody could tell" in (row.error or "")) == ("dead", True)


async def test_a_report_that_was_refused_and_is_sent_again_is_asked_anew(
    new_town: NewTown, held_policy: HeldPolicy
) -> None:
    town = await new_town(1, 0, ())
    buyer, cus, starts_at = await moved_in(town)
    options = ReportingOptions(refusals=2)
    await Seen().settle(town, buyer, starts_at, 5)
    town.stripe("POST", "/v1/billing/meters/mtr_api_overage/deactivate")
    for _ in range(4):
        await reporter(town, held_policy, options).report_due()
        await town.simulator.advance(61)
    (row,) = await reports(town, buyer, starts_at)
    assert (row.status, row.tried_at) == ("dead", None)
    town.stripe("POST", "/v1/billing/meters/mtr_api_overage/reactivate")
    await town.ledger.retry_report(row.identifier, int(town.now()))
    await reporter(town, held_policy, options).report_due()
    assert counted(town, cus) == 5


async def test_a_customer_whose_report_waits_keeps_nobody_from_being_reported(
    new_town: NewTown, held_policy: HeldPolicy
) -> None:
    town = await new_town(1, 0, ())
    options = ReportingOptions(batch=1, pauses_s=(300,))
    bought = [await moved_in(town) for _ in range(2)]
    (held_up, _, since), (other, cus, starts_at) = sorted(bought, key=lambda one: one[0].customer_id)
    seen = Seen()
    await seen.settle(town, held_up, since, 5)
    await reporter(town, held_policy, options).report_due()
    await town.simulator.advance(61)
    town.stripe("POST", "/v1/billing/meters/mtr_api_overage/deactivate")
    await reporter(town, held_policy, options).report_due()
    town.stripe("POST", "/v1/billing/meters/mtr_api_overage/reactivate")
    await seen.settle(town, held_up, since, 9)
    await Seen().settle(town, other, starts_at, 7)
    async with asyncio.timeout(30):
        await reporter(town, held_policy, options).report_due()
        await town.simulator.advance(61)
        await reporter(town, held_policy, options).report_due()
    assert counted(town, cus) == 7
    (row,) = await reports(town, held_up, since)
    assert row.status == "pending"


async def test_a_pass_ends_where_what_it_saw_stays_due(new_town: NewTown, held_policy: HeldPolicy) -> None:
    town = await new_town(1, 0, ())
    buyer, _, starts_at = await moved_in(town)
    await Seen().settle(town, buyer, starts_at, 5)
    options = ReportingOptions(batch=1, hold_s=0)
    async with asyncio.timeout(30):
        await reporter(town, HeldPolicy(replace(held_policy.current, tiers={})), options).report_due()
