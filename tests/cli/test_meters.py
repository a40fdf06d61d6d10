"""`tiergate meters`: what an operator sees and does about overage that Stripe does not have."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from dataclasses import replace

import pytest
from click.testing import Result

from gateway.core.overage import overage_field
from gateway.ledger import EndedWindowRow, Ledger, MeterReportRow, UsageTotal

Run = Callable[..., Result]


def record_dead(environment: dict[str, str], tried_ago_s: int | None) -> str:
    async def do() -> str:
        ledger = await Ledger.open(f"sqlite:///{environment['TIERGATE_DATA_DIR']}/ledger.sqlite3")
        now = int(time.time())
        field = overage_field("requests")
        await ledger.settle([UsageTotal(customer_id="c1", field=field, window_starts_at=now - 9, used=5, seq=1)])
        (turn,) = await ledger.claim_meters(worker="w", now=now, lease_s=60, limit=1)
        (window,) = await ledger.list_unreported(turn)
        row = MeterReportRow(
            identifier="tiergate-1",
            customer_id="c1",
            meter="requests",
            stripe_meter="api_requests",
            window_starts_at=now - 9,
            total=5,
            units=5,
            happened_at=now,
            made_at=now,
            due_at=now,
            tried_at=None if tried_ago_s is None else now - tried_ago_s,
        )
        await ledger.begin_report(turn, window, row, now)
        await ledger.bury_report(replace(row, attempts=1), error="no active meter")
        await ledger.aclose()
        return row.identifier

    return asyncio.run(do())


def test_a_report_that_was_given_up_is_listed_with_its_reason_and_sent_again(
    environment: dict[str, str], migrated: Run
) -> None:
    identifier = record_dead(environment, None)
    listed = migrated("meters", "list", "--status", "dead")
    assert identifier in listed.output
    assert "no active meter" in listed.output
    assert "is due again" in migrated("meters", "retry", identifier).output
    shown = json.loads(migrated("meters", "list", "--json").stdout)
    assert [(one["identifier"], one["status"]) for one in shown["reports"]] == [(identifier, "pending")]
    assert shown["by_status"] == {"pending": 1, "dead": 0}


def test_a_report_that_stripe_may_have_is_sent_again_only_on_request(
    environment: dict[str, str], migrated: Run
) -> None:
    identifier = record_dead(environment, 2 * 86_400)
    refused = migrated("meters", "retry", identifier)
    assert refused.exit_code == 1
    assert "billed twice" in refused.output
    assert migrated("meters", "retry", identifier, "--although-unknown").exit_code == 0


@pytest.mark.parametrize(("tried_ago_s", "sent_again"), [(None, 1), (60, 0), (2 * 86_400, 0)])
def test_all_reports_that_stripe_refused_are_sent_again_and_none_in_doubt(
    tried_ago_s: int | None, sent_again: int, environment: dict[str, str], migrated: Run
) -> None:
    record_dead(environment, tried_ago_s)
    said = migrated("meters", "retry", "--all")
    assert f"{sent_again} reports are due again" in said.output
    shown = json.loads(migrated("meters", "list", "--json").stdout)
    assert shown["by_status"] == {"pending": sent_again, "dead": 1 - sent_again}
    assert migrated("meters", "retry").exit_code == 2
    assert migrated("meters", "retry", "--all", "--although-unknown").exit_code == 2


def record_unbilled(environment: dict[str, str]) -> None:
    async def do() -> None:
        ledger = await Ledger.open(f"sqlite:///{environment['TIERGATE_DATA_DIR']}/ledger.sqlite3")
        now = int(time.time())
        field = overage_field("requests")
        await ledger.settle([UsageTotal(customer_id="c1", field=field, window_starts_at=now - 9, used=1_234, seq=1)])
        (turn,) = await ledger.claim_meters(worker="w", now=now, lease_s=60, limit=1)
        (window,) = await ledger.list_unreported(turn)
        await ledger.note_window(replace(window, window_ends_at=now + 9, stripe_meter="api_requests"))
        row = EndedWindowRow(
            customer_id="c1", meter="requests", window_starts_at=now - 9, stripe_meter="api_requests", total=1_234
        )
        assert await ledger.close_window(row, unbilled=1_000, now=now)
        await ledger.aclose()

    asyncio.run(do())


def test_what_no_invoice_asks_for_is_listed_and_the_doctor_warns_of_it(
    environment: dict[str, str], migrated: Run
) -> None:
    record_unbilled(environment)
    for arguments in ((), ("--status", "unbilled")):
        listed = migrated("meters", "list", *arguments)
        assert "1,000" in listed.output
        assert "ended at once" in listed.output
    assert "ended at once" not in migrated("meters", "list", "--status", "dead").output
    [shown] = json.loads(migrated("meters", "list", "--json").stdout)["unbilled"]
    assert (shown["customer_id"], shown["unbilled"], shown["total"]) == ("c1", 1_000, 1_234)
    findings = json.loads(migrated("doctor", "--json").stdout)["findings"]
    [warned] = [one for one in findings if one["subject"] == "overage"]
    assert warned["what"].startswith("1,000 units of overage are on no invoice")


def test_the_doctor_warns_of_reports_that_were_given_up(environment: dict[str, str], migrated: Run) -> None:
    record_dead(environment, None)
    findings = json.loads(migrated("doctor", "--json").stdout)["findings"]
    assert [one["what"] for one in findings if one["subject"] == "overage"] == ["1 reports of overage were given up"]


def test_a_report_that_is_not_there_cannot_be_sent(migrated: Run) -> None:
    assert "There is no report 'x'" in migrated("meters", "retry", "x").output
