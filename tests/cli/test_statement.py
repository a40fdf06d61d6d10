"""`tiergate statement`: what an operator is told, and the exit code."""

from __future__ import annotations

import asyncio
import csv
import io
import json
from collections.abc import Callable
from dataclasses import replace

import pytest
from click.testing import Result

from gateway.core.overage import overage_field
from gateway.ledger import Ledger, UsageTotal

Run = Callable[..., Result]
DAY_S = 86_400


def overuse(environment: dict[str, str], customer_id: str, starts_at: int) -> None:
    """Units beyond the plan of which nobody told Stripe."""

    async def do() -> None:
        ledger = await Ledger.open(f"sqlite:///{environment['TIERGATE_DATA_DIR']}/ledger.sqlite3")
        counter = overage_field("requests")
        total = UsageTotal(customer_id=customer_id, field=counter, window_starts_at=starts_at, used=500, seq=1)
        await ledger.settle([total])
        (turn,) = await ledger.claim_meters(worker="w", now=starts_at, lease_s=60, limit=10)
        (window,) = await ledger.list_unreported(turn)
        ends_at = starts_at + 30 * DAY_S
        await ledger.note_window(replace(window, window_ends_at=ends_at, included=1_000, stripe_meter="api_overage"))
        await ledger.aclose()

    asyncio.run(do())


@pytest.fixture
def customer_id(migrated: Run) -> str:
    created: str = json.loads(migrated("customers", "create", "--user-id", "ada", "--json").stdout)["customer_id"]
    return created


def test_a_customer_who_used_nothing_beyond_and_pays_nothing_agrees(migrated: Run, customer_id: str) -> None:
    result = migrated("statement", "--customer", customer_id)
    assert result.exit_code == 0
    assert result.stdout.splitlines()[0].endswith("agrees")


def test_what_differs_is_said_with_its_reason_and_the_exit_code(
    migrated: Run, environment: dict[str, str], customer_id: str
) -> None:
    overuse(environment, customer_id, 1_700_000_000)
    period = ("--period", "1690000000..1710000000")
    result = migrated("statement", "--user-id", "ada", *period)
    assert result.exit_code == 1
    assert "differs by +500" in result.stdout
    assert "no invoice has a line for it" in result.stderr
    told = json.loads(migrated("statement", "--user-id", "ada", *period, "--json").stdout)
    assert (told["verdict"], told["usage"][0]["difference"]) == ("differs", 500)
    rows = list(csv.DictReader(io.StringIO(migrated("statement", "--user-id", "ada", *period, "--csv").stdout)))
    assert [(row["kind"], row["overage"], row["verdict"]) for row in rows] == [("proof", "500", "differs")]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--period", "soon"), "a period is written as current, last"),
        (("--json", "--csv"), "Choose one of --json and --csv"),
    ],
)
def test_what_cannot_be_meant_is_refused(
    migrated: Run, customer_id: str, arguments: tuple[str, ...], message: str
) -> None:
    result = migrated("statement", "--customer", customer_id, *arguments)
    assert (result.exit_code, message in result.stderr) == (2, True)
