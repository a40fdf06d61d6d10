"""`tiergate meters`: what an operator sees and does about overage that Stripe does not have."""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import Callable
from dataclasses import replace

import pytest
from click.testing import Result

from gateway.core.overage import overage_field
from gateway.ledger import EndedWindowRow, Ledger, MeterReportRow, UsageTotal

pytestmark = pytest.mark.slow

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


def record_unbilled(environment: dict[str, str], customer_id: str = "c1") -> None:
    async def do() -> None:
        ledger = await Ledger.open(f"sqlite:///{environment['TIERGATE_DATA_DIR']}/ledger.sqlite3")
        now = int(time.time())
        field = overage_field("requests")
        used = UsageTotal(customer_id=customer_id, field=field, window_starts_at=now - 9, used=1_234, seq=1)
        await ledger.settle([used])
        (turn,) = await ledger.claim_meters(worker="w", now=now, lease_s=60, limit=1)
        (window,) = await ledger.list_unreported(turn)
        await ledger.note_window(replace(window, window_ends_at=now + 9, stripe_meter="api_requests"))
        row = EndedWindowRow(
            customer_id=customer_id,
            meter="requests",
            window_starts_at=now - 9,
            stripe_meter="api_requests",
            total=1_234,
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


def test_what_was_seen_to_is_ticked_off_with_who_and_why_and_the_doctor_is_silent(
    environment: dict[str, str], migrated: Run
) -> None:
    record_unbilled(environment)
    assert migrated("meters", "acknowledge", "--all").exit_code == 2, "without a reason"
    assert migrated("meters", "acknowledge", "--because", "x").exit_code == 2, "of whom?"
    assert migrated("meters", "acknowledge", "--all", "--meter", "requests", "--because", "x").exit_code == 2
    said = migrated("meters", "acknowledge", "--all", "--because", "on invoice 17")
    assert said.stdout == "1,000 units in 1 periods are acknowledged.\n"
    assert "ended at once" not in migrated("meters", "list", "--status", "unbilled").output
    for arguments in ((), ("--status", "acknowledged")):
        assert "acknowledged" in migrated("meters", "list", *arguments).output
    shown = json.loads(migrated("meters", "list", "--json").stdout)
    assert (shown["unbilled"], shown["acknowledged"][0]["unbilled"]) == ([], 1_000)
    findings = json.loads(migrated("doctor", "--json").stdout)["findings"]
    assert [one for one in findings if one["subject"] == "overage"] == []
    (row,) = json.loads(migrated("audit", "list", "--action", "overage-acknowledged", "--json").stdout)["entries"]
    assert (row["customer_id"], row["actor"], row["because"]) == ("c1", "operator", "on invoice 17")


def test_one_customers_units_are_ticked_off_by_meter_and_period_as_they_are_listed(
    environment: dict[str, str], migrated: Run
) -> None:
    customer_id = json.loads(migrated("customers", "create", "--user-id", "ada", "--json").stdout)["customer_id"]
    record_unbilled(environment, customer_id)
    (listed,) = re.findall(r"period since (\S+):", migrated("meters", "list", "--status", "unbilled").output)
    named = ("meters", "acknowledge", "--user-id", "ada", "--because", "waived")
    missed = migrated(*named, "--window", "2020-01-01")
    assert missed.exit_code == 1
    assert "Nothing of that waits" in missed.output
    ticked = migrated(*named, "--meter", "requests", "--window", listed, "--json")
    assert [one["customer_id"] for one in json.loads(ticked.stdout)["acknowledged"]] == [customer_id]
    assert migrated(*named).exit_code == 1


def test_the_doctor_warns_of_reports_that_were_given_up(environment: dict[str, str], migrated: Run) -> None:
    record_dead(environment, None)
    findings = json.loads(migrated("doctor", "--json").stdout)["findings"]
    assert [one["what"] for one in findings if one["subject"] == "overage"] == ["1 reports of overage were given up"]


def test_a_report_that_is_not_there_cannot_be_sent(migrated: Run) -> None:
    assert "There is no report 'x'" in migrated("meters", "retry", "x").output
