"""The statement of a customer: for whom, in which form, on which page; and that a browser shows it well."""

from __future__ import annotations

import contextlib
import csv
import io
import sqlite3

import pytest

from tests.web.browser import open_browser
from tests.web.page_steps import sign_in, signed_up

pytestmark = pytest.mark.slow

STATEMENT = "/api/v1/statement"
PAGE = "/_tiergate/account/statement"
METER = "api_overage"


def told(client, **params):
    return client.get(STATEMENT, params=params).raise_for_status().json()


def use_beyond_the_plan(world, client, units=1_234):
    """What settlement and the reporter leave in the ledger, in one stroke: the gateway's own reporter finds nothing
    to do. The report waits. Returns the customer's id."""
    shown = told(client, period="current")
    customer_id, start, end = shown["customer_id"], shown["from"], shown["to"]
    window = {
        "customer_id": customer_id,
        "meter": "requests",
        "window_starts_at": start,
        "total": units,
        "seq": 1,
        "reported": units,
        "stood": units,
        "look_at": end,
        "window_ends_at": end,
        "included": 1_000,
        "stripe_meter": METER,
    }
    report = {
        "identifier": f"{customer_id}-{start}-{units}",
        "customer_id": customer_id,
        "meter": "requests",
        "stripe_meter": METER,
        "window_starts_at": start,
        "total": units,
        "units": units,
        "happened_at": start,
        "made_at": start,
        "due_at": end,
        "status": "pending",
        "attempts": 0,
    }
    file = world["TIERGATE_LEDGER_URL"].removeprefix("sqlite:///")
    with contextlib.closing(sqlite3.connect(file, timeout=30)) as connection, connection:
        for table, row in (("metered_windows", window), ("meter_reports", report)):
            names, places = ", ".join(row), ", ".join(f":{name}" for name in row)
            connection.execute(f"INSERT INTO {table} ({names}) VALUES ({places})", row)
    return customer_id


def test_the_first_invoice_is_on_the_statement_of_the_period_that_it_begins(gateway):
    customer_id, user_id, client = gateway.subscribed()
    page = told(client, period="current")
    assert (page["customer_id"], page["user_id"], page["verdict"], page["usage"]) == (
        customer_id,
        user_id,
        "agrees",
        [],
    )
    (invoice,) = page["invoices"]
    (line,) = invoice["lines"]
    assert (line["kind"], line["quantity"], line["unit_amount_text"]) == ("fixed", 1, "29.00 USD")
    assert (invoice["total"], invoice["total_text"], invoice["unexplained"]) == (2_900, "29.00 USD", 0)
    assert told(client, period="last")["invoices"] == []
    around = told(client, period=f"{page['from']}..{page['to']}")
    assert around["invoices"] == page["invoices"]


def test_usage_beyond_the_plan_is_told_before_there_is_an_invoice(gateway, world):
    _, _, client = gateway.subscribed()
    customer_id = use_beyond_the_plan(world, client)
    page = told(client, period="current")
    (proof,) = page["usage"]
    assert (page["verdict"], proof["verdict"], proof["overage"], proof["included"]) == (
        "not-yet-invoiced",
        "not-yet-invoiced",
        1_234,
        1_000,
    )
    assert (proof["reported"], proof["counted"], proof["invoiced"]) == (1_234, 0, None)
    (because,) = proof["because"]
    assert (because["reason"], because["units"], because["advice"]) == ("running", 1_234, None)
    assert proof["reports"][0]["status"] == "pending"
    seller = told(gateway.server, customer_id=customer_id, period="current")
    assert seller["usage"][0]["because"][0]["advice"] == "nothing"


def test_a_statement_is_for_its_customer_and_the_seller(gateway, new_user):
    _, user_id, client = gateway.subscribed()
    _, _, other = gateway.subscribed()
    assert told(gateway.server, user_id=user_id, period="current")["user_id"] == user_id
    assert other.get(STATEMENT, params={"user_id": user_id}).status_code == 403
    assert gateway.browser().get(STATEMENT).status_code == 401
    assert gateway.server.get(STATEMENT, params={"user_id": new_user()}).status_code == 404
    _, _, limited = gateway.customer(limits=["2 per day"])
    answer = limited.get(STATEMENT)
    assert (answer.status_code, answer.json()["code"]) == (403, "scope-missing")
    assert client.get(STATEMENT).status_code == 200


@pytest.mark.parametrize("period", ["tomorrow", "2026-02-30", "2026-02-01..2026-01-01", "1..2..3", "0..9999999999"])
def test_a_period_that_is_none_is_refused_by_name(gateway, period):
    _, _, client = gateway.customer()
    answer = client.get(STATEMENT, params={"period": period})
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid-request")
    assert answer.json()["errors"][0]["field"] == "period"


def test_a_statement_can_be_had_as_a_file(gateway, world):
    _, _, client = gateway.subscribed()
    use_beyond_the_plan(world, client)
    answer = client.get(STATEMENT, params={"period": "current", "format": "csv"}).raise_for_status()
    assert answer.headers["content-type"].startswith("text/csv")
    assert "attachment" in answer.headers["content-disposition"]
    rows = list(csv.DictReader(io.StringIO(answer.text)))
    assert [(row["kind"], row["amount"], row["verdict"]) for row in rows] == [
        ("fixed", "2900", ""),
        ("total", "2900", "agrees"),
        ("proof", "", "not-yet-invoiced"),
    ]
    assert rows[2]["overage"] == "1234"


def test_while_stripe_is_away_a_statement_says_what_it_cannot_compare(gateway, world):
    _, _, client = gateway.subscribed()
    use_beyond_the_plan(world, client)
    fault = {"api": [{"path": "/v1/invoices", "status": 503, "times": 0}]}
    gateway.sandbox.ask("POST", "/_sandbox/faults", json=fault)
    try:
        page = told(client, period="current")
    finally:
        gateway.sandbox.ask("DELETE", "/_sandbox/faults")
    assert (page["verdict"], page["invoices"], page["usage"][0]["verdict"]) == ("not-compared", [], "not-compared")
    assert "does not answer" in page["notice"]


def test_the_page_is_for_who_is_signed_in(gateway):
    answer = gateway.browser().get(PAGE)
    assert (answer.status_code, answer.headers["location"]) == (303, "/_tiergate/sign-in")
    browser, _, _ = signed_up(gateway)
    page = browser.get(PAGE, params={"period": "current"})
    assert "29.00 USD" in page.text
    assert page.headers["cache-control"] == "no-store"
    assert browser.get(PAGE, params={"period": "x"}).status_code == 400
    assert '<a href="/_tiergate/account/statement">Statement</a>' in browser.get("/_tiergate/account").text


def test_the_page_needs_a_key_that_may_manage(gateway):
    _, _, client = gateway.customer(limits=["2 per day"])
    key = client.headers["authorization"].partition(" ")[2]
    assert sign_in(gateway, key).get(PAGE).status_code == 403


def test_the_page_in_a_browser_shows_usage_and_invoice_and_the_period_before(gateway, world):
    _, key, _ = signed_up(gateway)
    use_beyond_the_plan(world, gateway.bearer(key))
    with open_browser() as browser:
        browser.open(f"{gateway.url}/_tiergate/sign-in")
        browser.fill("#key", key)
        browser.follow("form button")
        browser.follow("main a[href$='/account/statement']")
        assert browser.text("h1") == "Statement"
        text = browser.text("main")
        assert "1,234" in text
        assert "not yet invoiced" in text
        assert "the period is not over" in text
        assert "29.00 USD" in text
        assert browser.text("[role=status]").startswith("Some of what was used")
        browser.follow("main a[href$='period=last']")
        assert "There is no invoice of this period" in browser.text("main")
        assert browser.console() == []
