"""`tiergate meters`: what an operator sees and does about overage that Stripe does not have."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from dataclasses import replace

from click.testing import Result

from gateway.core.overage import overage_field
from gateway.ledger import Ledger, MeterReportRow, UsageTotal

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


def test_a_report_that_is_not_there_cannot_be_sent(migrated: Run) -> None:
    assert "There is no report 'x'" in migrated("meters", "retry", "x").output
