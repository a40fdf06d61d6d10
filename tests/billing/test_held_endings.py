"""A run that held somebody: none ends anybody after it until somebody says how many may be; and whole runs only."""

import json
from math import inf
from typing import Any

import pytest
from structlog.testing import capture_logs

from gateway.core.lifecycle import CUSTOMER_DELETED
from gateway.ledger import Ledger
from gateway.sync import OF_A_PART, Sync
from gateway.sync.ending import MOST_ENDED, TOO_MANY_MISSING
from gateway.sync.reporting import SyncReport
from tests.billing.conftest import DAY, NOW, SetClock, StandIn
from tests.billing.towns import Town

pytestmark = pytest.mark.slow


@pytest.fixture
def town(
    sync: Sync,
    ledger: Ledger,
    account: Any,
    stand_in: StandIn,
    clock: SetClock,
    monkeypatch: pytest.MonkeyPatch,
) -> Town:
    monkeypatch.setattr("gateway.sync.everyone._OUTAGE_PAUSES_S", (0.01,))
    return Town(sync, ledger, account, stand_in, clock)


def lose(town: Town, *numbers: int) -> dict[str, Any]:
    """Stripe does not have these any more. What it had."""
    return {f"cus_{number}": town.account.subscriptions.pop(f"cus_{number}") for number in numbers}


async def ended_of(town: Town) -> int:
    found = [await town.ledger.load_subscription(one) for one in town.ids]
    return sum(one is not None and one.status == CUSTOMER_DELETED for one in found)


async def a_day_later(town: Town) -> SyncReport:
    town.clock.at += DAY
    report = await town.reconciler().run_if_due()
    assert report is not None
    return report


async def alerts_of(town: Town, kind: str) -> list[dict[str, Any]]:
    told = [json.loads(one.body) for one in await town.ledger.list_alerts()]
    return [one["data"] for one in reversed(told) if one["type"] == kind]


async def test_a_fault_that_lasts_ends_a_few_on_its_first_day_and_nobody_after(town: Town) -> None:
    await town.settle(2 * MOST_ENDED + 5)
    await town.reconciler().run()
    lose(town, *range(1, 2 * MOST_ENDED + 6))
    for _ in range(3):
        report = await a_day_later(town)
        assert (report.stopped_because, len(report.held)) == (TOO_MANY_MISSING, MOST_ENDED + 5)
        assert await ended_of(town) == MOST_ENDED
    told = await alerts_of(town, "billing.customers_missing")
    assert [(one["ended"], one["held"]) for one in told] == [(10, 15), (0, 15), (0, 15)]
    row = await town.ledger.find_reconciliation()
    assert row is not None
    assert (row.held, row.held_since) == (MOST_ENDED + 5, NOW + DAY)


@pytest.mark.parametrize(
    ("allowed", "ended"), [(inf, 5), (5, 5), (3, 3), (0, 0)], ids=["all", "enough", "some", "none"]
)
async def test_the_hold_ends_with_a_run_that_held_nobody_of_whom_somebody_said_how_many_may_be_ended(
    allowed: float, ended: int, town: Town
) -> None:
    await town.settle(MOST_ENDED + 7)
    lose(town, *range(1, MOST_ENDED + 6))
    await town.reconciler().run()
    report = await town.reconciler().run(anew=True, may_end=allowed)
    assert (report.ended, len(report.held)) == (ended, 5 - ended)
    lose(town, MOST_ENDED + 6)
    report = await a_day_later(town)
    assert (report.ended, len(report.held)) == ((1, 0) if ended == 5 else (0, 6 - ended))


async def test_a_number_is_of_a_run_that_begins_so_whom_a_broken_one_held_is_ended_too(
    town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.sync.everyone.PAGE", 1)
    for most in ("MOST_ENDED", "MOST_SHARE"):
        monkeypatch.setattr(f"gateway.sync.ending.{most}", 0)
    await town.settle(4)
    lose(town, 1, 2, 3, 4)

    def fail(report: SyncReport) -> None:
        town.account.is_down = report.cursor == town.ids[1]

    assert (await town.reconciler().run(fail)).held == town.ids[:2]
    town.account.is_down = False
    report = await town.reconciler().run(may_end=inf)
    assert (report.ended, report.held, report.stopped_because) == (4, [], None)
    row = await town.ledger.find_reconciliation()
    assert row is not None
    assert row.held_since is None


async def test_a_fault_that_was_mended_is_over_when_somebody_says_so_and_not_before(town: Town) -> None:
    await town.settle(2 * MOST_ENDED)
    had = lose(town, *range(1, MOST_ENDED + 3))
    await town.reconciler().run()
    town.account.subscriptions |= had
    report = await a_day_later(town)
    assert (report.missing, report.held, report.stopped_because) == ([], [], None)
    lose(town, 1)
    assert (await a_day_later(town)).held == [town.ids[0]], "nobody has looked into it yet"
    town.account.subscriptions |= had
    assert (await town.reconciler().run(anew=True, may_end=0)).stopped_because is None
    lose(town, 1)
    report = await a_day_later(town)
    assert (report.ended, report.held) == (1, [])


async def test_one_customer_is_ended_by_its_id_or_by_an_event_also_while_others_are_held(town: Town) -> None:
    await town.settle(MOST_ENDED + 2)
    lose(town, *range(1, MOST_ENDED + 3))
    await town.reconciler().run()
    await town.sync.sync_customer(town.ids[-1], "customer.deleted evt_1")
    assert await ended_of(town) == MOST_ENDED + 1


@pytest.mark.parametrize("breaks_after", [1, 2, 3])
async def test_whoever_goes_on_reports_and_tells_of_the_whole_run(
    breaks_after: int, town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.sync.everyone.PAGE", 1)
    for most in ("MOST_ENDED", "MOST_SHARE"):
        monkeypatch.setattr(f"gateway.sync.ending.{most}", 0)
    await town.settle(4)
    unbound = await town.ledger.create_customer(customer_id="customer0000", user_id="u0", now=NOW, actor="test")
    lose(town, 1)
    town.account.put("cus_2", "active", lookup_key="nobody_knows")
    town.account.put("cus_3", "past_due")

    def fail(report: SyncReport) -> None:
        town.account.is_down = report.cursor == town.ids[breaks_after - 1]

    await town.reconciler().run(fail)
    town.account.is_down = False
    report = await town.reconciler().run()
    assert (report.unbound, report.checked, report.missing, report.held) == (1, 4, [town.ids[0]], [town.ids[0]])
    assert [(one, finding.code) for one, finding in report.findings] == [(town.ids[1], "unmapped-price")]
    assert (report.changed, report.needing_attention, report.stopped_because) == (2, 1, TOO_MANY_MISSING)
    assert [one["held"] for one in await alerts_of(town, "billing.customers_missing")] == [1]
    assert [one["drifted"] for one in await alerts_of(town, "billing.drift_repaired")] == [2]
    row = await town.ledger.find_reconciliation()
    assert row is not None
    assert (row.unbound, row.checked, row.drifted, row.held) == (1, 4, 2, 1)
    assert unbound.customer_id < report.cursor


async def test_what_was_changed_of_a_page_that_was_never_done_is_told_too(town: Town) -> None:
    await town.settle(3)
    town.account.put("cus_1", "past_due")

    def fail(report: SyncReport) -> None:
        town.account.is_down = report.cursor == town.ids[0]

    assert (await town.reconciler().run(fail)).stopped_because is not None
    town.account.is_down = False
    assert (await town.reconciler().run()).changed == 1
    assert [one["drifted"] for one in await alerts_of(town, "billing.drift_repaired")] == [1]


async def test_what_is_read_from_the_middle_is_no_reconciliation(town: Town) -> None:
    await town.settle(4)
    await town.reconciler().run()
    before = await town.ledger.find_reconciliation()
    town.clock.at += DAY // 2
    town.account.put("cus_4", "past_due")
    report = await town.reconciler().run(after=town.ids[1], cause=OF_A_PART)
    assert (report.checked, report.changed, report.is_complete) == (2, 1, True)
    assert await town.ledger.find_reconciliation() == before
    assert await alerts_of(town, "billing.drift_repaired") == []
    assert (await a_day_later(town)).checked == 4


async def test_one_that_was_broken_off_is_gone_on_with_whatever_is_read_from_the_middle_meanwhile(
    town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.sync.everyone.PAGE", 1)
    await town.settle(4)

    def fail(report: SyncReport) -> None:
        town.account.is_down = report.cursor == town.ids[1]

    await town.reconciler().run(fail)
    town.account.is_down = False
    await town.reconciler().run(after=town.ids[2], cause=OF_A_PART)
    row = await town.ledger.find_reconciliation()
    assert row is not None
    assert (row.cursor, row.checked, row.finished_at) == (town.ids[1], 2, None)
    report = await town.reconciler().run()
    assert (report.checked, report.is_complete) == (4, True)


async def test_a_hold_that_was_begun_by_what_is_read_from_the_middle_is_of_everybody_and_told(
    town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    for most in ("MOST_ENDED", "MOST_SHARE"):
        monkeypatch.setattr(f"gateway.sync.ending.{most}", 0)
    await town.settle(3)
    lose(town, 2, 3)
    with capture_logs() as logs:
        await town.reconciler().run(after=town.ids[0], cause=OF_A_PART)
    assert [one["log_level"] for one in logs if "until somebody says how many may be" in one["event"]] == ["warning"]
    row = await town.ledger.find_reconciliation()
    assert row is not None
    assert row.held_since == NOW
    monkeypatch.undo()
    assert (await a_day_later(town)).held == town.ids[1:]
    [told] = await alerts_of(town, "billing.customers_missing")
    assert told["held"] == 2


async def test_what_is_read_from_the_middle_ends_no_more_than_was_left_and_holds_the_others(town: Town) -> None:
    await town.settle(MOST_ENDED + 4)
    lose(town, *range(1, MOST_ENDED))
    await town.reconciler().run()
    lose(town, *range(MOST_ENDED, MOST_ENDED + 5))
    report = await town.reconciler().run(after=town.ids[5], cause=OF_A_PART)
    assert (report.ended, len(report.held), await ended_of(town)) == (1, 4, MOST_ENDED)
    report = await town.reconciler().run(after=town.ids[5], may_end=3, cause=OF_A_PART)
    assert (report.ended, len(report.held)) == (3, 1)
    assert (await a_day_later(town)).held == [town.ids[-1]]
