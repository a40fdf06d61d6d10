"""A look back at what was used: whose it is, in which form, and how far."""

from __future__ import annotations

import csv
import io
import time

import httpx
import pytest

from gateway.web.csv_text import csv_text
from tests.web.page_steps import sign_in

pytestmark = pytest.mark.slow

HISTORY = "/api/v1/usage/history"
DAY = 86_400


def lines(client, **params):
    return client.get(HISTORY, params=params).raise_for_status().json()["lines"]


def sums(client, **params):
    found = lines(client, **params)
    return sum(line["requests"] for line in found), sum(line["units"] for line in found)


def test_what_was_called_is_in_the_history(gateway, until):
    customer_id, user_id, client = gateway.customer()
    for _ in range(3):
        client.get("/v1/echo").raise_for_status()
    until(lambda: sums(client) == (3, 3))
    page = client.get(HISTORY).json()
    (line,) = page["lines"]
    today = int(time.time()) // DAY * DAY
    assert (page["customer_id"], page["user_id"], page["by"]) == (customer_id, user_id, "day")
    assert (page["from"], page["to"], page["next_after"]) == (today - 29 * DAY, today + DAY, None)
    assert line == {
        "starts_at": today,
        "meter": "requests",
        "key_id": None,
        "route": None,
        "requests": 3,
        "denied": 0,
        "units": 3,
    }
    (hour,) = lines(client, by="hour", group="key,route")
    assert hour["starts_at"] == int(time.time()) // 3600 * 3600  # tests begin early enough in an hour
    assert hour["key_id"] == client.get("/api/v1/api-keys").json()["keys"][0]["key_id"]
    assert hour["route"] == "GET,POST /v1/echo"


def test_what_is_refused_or_given_back_is_told_apart(gateway, until):
    _, _, client = gateway.customer(limits=["2 per day"])
    client.get("/v1/error?status=200").raise_for_status()
    assert client.get("/v1/error?status=503").status_code == 503
    client.get("/v1/echo").raise_for_status()
    assert client.get("/v1/echo").status_code == 429
    until(lambda: lines(client) and lines(client)[0]["denied"] == 1)
    until(lambda: sums(client) == (3, 2))


def test_customers_see_only_their_own(gateway):
    _, other, _ = gateway.customer()
    customer_id, user_id, client = gateway.customer()
    assert client.get(HISTORY, params={"user_id": other}).status_code == 403
    assert gateway.browser().get(HISTORY).status_code == 401
    assert gateway.server.get(HISTORY).status_code == 400
    assert gateway.server.get(HISTORY, params={"user_id": "nobody"}).status_code == 404
    assert gateway.server.get(HISTORY, params={"user_id": user_id}).json()["customer_id"] == customer_id


@pytest.mark.parametrize(
    ("params", "headers"),
    [({"format": "csv"}, {}), ({}, {"accept": "text/csv"})],
    ids=["as an option", "as a type"],
)
def test_a_spreadsheet_gets_csv(gateway, until, params, headers):
    _, _, client = gateway.customer()
    client.get("/v1/echo").raise_for_status()
    until(lambda: lines(client))
    answer = client.get(HISTORY, params={"group": "key,route", **params}, headers=headers)
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    assert answer.headers["content-disposition"].startswith('attachment; filename="usage-20')
    assert answer.text.endswith("\r\n")
    ((header, row),) = [list(csv.reader(io.StringIO(answer.text)))]
    assert header == ["starts_at", "meter", "key_id", "route", "requests", "denied", "units"]
    assert row[0] == time.strftime("%Y-%m-%dT00:00:00Z", time.gmtime())
    assert row[3:] == ["GET,POST /v1/echo", "1", "0", "1"]


def test_pages_follow_each_other_in_both_forms(gateway, until):
    _, _, client = gateway.customer()
    client.get("/v1/echo").raise_for_status()
    client.post("/v1/render/a")
    until(lambda: len(lines(client, group="route")) >= 1)
    whole = lines(client, group="route,key", by="hour")
    seen, after = [], None
    while True:
        params = {"group": "route,key", "by": "hour", "limit": 1} | ({"after": after} if after else {})
        page = client.get(HISTORY, params=params).raise_for_status()
        seen += page.json()["lines"]
        after = page.json()["next_after"]
        assert (after is not None) == ("link" in page.headers)
        if after is None:
            break
        following = page.url.join(page.headers["link"].partition(">")[0][1:])
        assert client.get(following).json()["lines"] != page.json()["lines"]
    assert seen == whole


@pytest.mark.parametrize(
    ("params", "field"),
    [
        ({"from": "yesterday"}, "from"),
        ({"from": "2026-02-30"}, "from"),
        ({"from": "2026-03-02", "to": "2026-03-01"}, "from"),
        ({"from": "2026-03-02", "to": "2026-03-02"}, "from"),
        ({"to": "999999999999"}, "to"),
        ({"from": "1969-12-31"}, "from"),
        ({"from": "2020-01-01", "by": "hour"}, "from"),
        ({"by": "week"}, "by"),
        ({"group": "tier"}, "group"),
        ({"group": ""}, "group"),
        ({"format": "xml"}, "format"),
        ({"limit": "0"}, "limit"),
        ({"limit": "5001"}, "limit"),
        ({"after": "x"}, "after"),
        ({"after": "WzEsIiIsIlx1MDAwMCIsIiJd"}, "after"),
    ],
    ids=lambda value: str(value) if isinstance(value, dict) else "",
)
def test_an_option_that_makes_no_sense_is_named(gateway, params, field):
    _, _, client = gateway.customer()
    answer = client.get(HISTORY, params=params)
    problem = answer.json()
    assert (answer.status_code, problem["code"]) == (400, "invalid-request"), problem
    assert field in {error["field"] for error in problem["errors"]}, problem


def test_the_description_tells_of_both_forms(gateway):
    paths = gateway.browser().get("/_tiergate/docs/openapi.json").json()["paths"]
    operation = paths[HISTORY]["get"]
    assert set(operation["responses"]["200"]["content"]) == {"application/json", "text/csv"}
    names = {parameter["name"] for parameter in operation["parameters"]}
    assert names >= {"from", "to", "by", "group", "format", "limit", "after", "user_id", "customer_id"}


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\n=1"])
def test_a_cell_that_a_spreadsheet_would_run_is_text(text):
    cell = next(csv.reader(io.StringIO(csv_text(["a"], [[text]]).removeprefix("a\r\n"), newline="")))[0]
    assert cell == f"'{text}"


def test_numbers_stay_numbers_and_quotes_are_doubled():
    assert csv_text(["n", "t", "e"], [[-3, 'a "b", c', None]]) == 'n,t,e\r\n-3,"a ""b"", c",\r\n'


def test_what_was_used_before_a_stop_is_in_the_history_after_it(start_gateway, gateway):
    own = start_gateway()
    _, user_id, client = own.customer()
    for _ in range(4):
        client.get("/v1/echo").raise_for_status()
    own.process.terminate()
    own.process.wait(timeout=20)
    found = gateway.server.get(HISTORY, params={"user_id": user_id}).raise_for_status().json()["lines"]
    assert [line["requests"] for line in found] == [4]


def test_head_answers_too(gateway):
    _, _, client = gateway.customer()
    assert client.head(HISTORY).status_code == httpx.codes.OK


def test_the_account_page_shows_what_was_used_day_by_day(gateway, until):
    _, _, client = gateway.customer()
    client.get("/v1/echo").raise_for_status()
    until(lambda: lines(client))
    key = client.headers["authorization"].removeprefix("Bearer ")
    page = sign_in(gateway, key).get("/_tiergate/account")
    assert "Day by day" in page.text
    assert "<td>1</td><td>0</td><td>1 requests</td>" in page.text


def test_the_account_page_says_when_a_quota_will_be_used_up(gateway):
    _, _, client = gateway.customer()
    page = sign_in(gateway, client.headers["authorization"].removeprefix("Bearer "))
    assert "If it goes on so" not in page.get("/_tiergate/account").text
    for _ in range(3):
        client.get("/v1/echo").raise_for_status()
    assert "If it goes on so, it is used up on" in page.get("/_tiergate/account").text
