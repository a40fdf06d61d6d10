"""`tiergate customers usage`: what an operator sees of what a customer used."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable

from click.testing import Result

from gateway.ledger import DAY_S, HOUR_S, HourUsage, Ledger

Run = Callable[..., Result]


def record(environment: dict[str, str], customer_id: str) -> None:
    """Two routes today, one of them also long ago."""

    async def do() -> None:
        ledger = await Ledger.open(f"sqlite:///{environment['TIERGATE_DATA_DIR']}/ledger.sqlite3")
        this_hour = int(time.time()) // HOUR_S * HOUR_S
        rows = [
            HourUsage(
                customer_id=customer_id,
                starts_at=starts_at,
                meter="requests",
                key_id="k1",
                route=route,
                requests=1_000,
                denied=2,
                units=999,
            )
            for starts_at, route in ((this_hour, "GET /a"), (this_hour, "GET /b"), (this_hour - 90 * DAY_S, "GET /a"))
        ]
        await ledger.add_usage("w1", 1, rows, now=this_hour)
        await ledger.aclose()

    asyncio.run(do())


def test_an_operator_sees_what_a_customer_used(migrated: Run, environment: dict[str, str]) -> None:
    created = migrated("customers", "create", "--user-id", "ada", "--json")
    record(environment, json.loads(created.stdout)["customer_id"])
    (line,) = json.loads(migrated("customers", "usage", "--user-id", "ada", "--json").stdout)["lines"]
    assert (line["requests"], line["denied"], line["units"], line["route"]) == (2_000, 4, 1_998, None)
    shown = migrated("customers", "usage", "--user-id", "ada", "--by", "hour", "--per", "route", "--per", "key").stdout
    assert next(row.split() for row in shown.splitlines())[:4] == ["HOUR", "METER", "ROUTE", "KEY"]
    assert sum("1,000" in row for row in shown.splitlines()) == 2
    longer = json.loads(migrated("customers", "usage", "--user-id", "ada", "--last", "100", "--json").stdout)
    assert len(longer["lines"]) == 2


def test_a_customer_who_called_nothing_has_no_lines(migrated: Run) -> None:
    migrated("customers", "create", "--user-id", "ada")
    assert json.loads(migrated("customers", "usage", "--user-id", "ada", "--json").stdout)["lines"] == []
