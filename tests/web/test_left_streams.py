"""Callers that leave a stream before its cost has been told behind it: nobody saves anything by that."""

from __future__ import annotations

import time

import pytest

from tests.fakes.raw_caller import RawCaller, request
from tests.web.policy_files import write_policy
from tests.web.test_settling import used

pytestmark = pytest.mark.slow

TIERS = """\
version: 1
default_tier: free
meters:
  tokens: {settle: response header Tiergate-Tokens at most 500}
  kb: {settle: response bytes per 1KB}
tiers:
  free:
    limits:
      - 1_000 requests per billing period
      - 100_000 tokens per billing period
      - 1_000 kb per billing period
      - 1 concurrent on alone
"""
ROUTES = """\
routes:
  - {match: "* /v1/alone/**", group: alone, cost: {tokens: 20}}
  - {match: "* /v1/brief/**", cost: {tokens: 20}, timeout: {read_on: 300ms}}
  - {match: "* /v1/never/**", cost: {tokens: 20}, timeout: {read_on: none}}
  - {match: "* /v1/silent/**", cost: {tokens: 20}, timeout: {idle: 2s}}
  - {match: "* /v1/total/**", cost: {tokens: 20}, timeout: {total: 3s}}
  - match: "* /v1/unbound/**"
    cost: {tokens: 20}
    settle: {tokens: response header Tiergate-Tokens}
    timeout: {read_on: 300ms}
  - {match: "* /v1/paid/**", cost: {tokens: 20}, billable: 201}
  - {match: "* /v1/**", cost: {tokens: 20, kb: 10}}
"""
PROMISE, LATE, ENDLESS = "X-Promise: X-Other, tiergate-tokens", "X-Late: Tiergate-Tokens: 70", "X-Parts: 100000"
A_WHILE = "X-Parts: 20"
"""Longer than it takes to notice that a caller has left."""


@pytest.fixture(scope="module")
def api(stage):
    return stage.add("api")


@pytest.fixture(scope="module")
def start(start_shared, tmp_path_factory, api):
    directory = str(write_policy(tmp_path_factory.mktemp("policies"), ROUTES, tiers=TIERS))

    def start(**changes):
        return start_shared(TIERGATE_UPSTREAM_URL=api.url, TIERGATE_POLICY_DIR=directory, **changes)

    return start


@pytest.fixture(scope="module")
def settling(start):
    return start()


@pytest.fixture
def client(settling):
    return settling.customer()[2]


def leave(client, line, *fields):
    """Read the beginning of a stream, and go. Returns its decision's id."""
    with RawCaller(str(client.base_url)) as caller:
        caller.send(request(line, f"Authorization: {client.headers['authorization']}", *fields))
        if "Transfer-Encoding: chunked" in fields:
            caller.send(b"5\r\nhello\r\n")
        head = caller.read_head()
        assert head.status == 200
        data = b""
        while b"data" not in data:
            data += caller.read_some()
    return head.get("tiergate-decision")


def concluded(client, decision, until):
    """The decision of a call, when that has ended."""
    found = {}

    def has_ended():
        found.update(client.get(f"/_tiergate/why/{decision}").raise_for_status().json())
        return "duration_ms" in found

    until(has_ended)
    return found


LEFT = {
    "and is told its cost": ("/v1/goes_on", (A_WHILE, PROMISE, LATE), 70),
    "and is told a cost that nobody promised": ("/v1/goes_on", (A_WHILE, LATE), 70),
    "and its cost was promised, and is not told": ("/v1/goes_on", (A_WHILE, PROMISE), 20),
    "that takes too long": ("/v1/brief/goes_on", (ENDLESS, PROMISE, LATE), 500),
    "that takes too long, and promised nothing": ("/v1/brief/goes_on", (ENDLESS, LATE), 20),
    "that takes too long, and whose cost has no bound": ("/v1/unbound/goes_on", (ENDLESS, PROMISE, LATE), 20),
    "that is not read on": ("/v1/never/goes_on", (ENDLESS, PROMISE, LATE), 500),
    "that breaks off later": ("/v1/goes_on", (A_WHILE, PROMISE, "X-End: cut"), 20),
    "that falls silent": ("/v1/silent/part", (), 20),
    "that lasts longer than any may": ("/v1/total/goes_on", (ENDLESS, PROMISE, LATE), 20),
    "that is not billed": ("/v1/paid/goes_on", (ENDLESS, PROMISE, LATE), 0),
}


@pytest.mark.parametrize("case", LEFT)
def test_who_leaves_a_stream(client, until, case):
    path, fields, tokens = LEFT[case]
    concluded(client, leave(client, f"GET {path}", *fields), until)
    until(lambda: used(client)["tokens"] == tokens)


@pytest.mark.slow
def test_who_leaves_pays_for_the_bytes_that_it_got_only(client, until):
    concluded(client, leave(client, "GET /v1/goes_on", "X-Parts: 100", LATE), until)
    until(lambda: used(client) == {"requests": 1, "tokens": 70, "kb": 1})


def test_who_leaves_in_the_middle_of_its_own_upload_pays_what_a_call_may_cost(client, until):
    decision = leave(client, "POST /v1/goes_on", ENDLESS, PROMISE, LATE, "Transfer-Encoding: chunked")
    concluded(client, decision, until)
    until(lambda: used(client)["tokens"] == 500)


def test_a_stream_that_is_read_on_keeps_its_place_among_the_calls_at_once(client, api, stage, until):
    decision = leave(client, "GET /v1/alone/goes_on", ENDLESS, LATE)
    for _ in range(15):
        time.sleep(0.05)
        assert client.get("/v1/alone/echo").json()["code"] == "too-many-concurrent"
    assert "/v1/alone/goes_on" in api.busy
    stage.call(api.ends.set)
    concluded(client, decision, until)
    stage.call(api.ends.clear)
    until(lambda: client.get("/v1/alone/echo").status_code == 200)


def test_a_cost_that_a_caller_did_not_let_come_is_counted(settling, client, until):
    labels = {"route": "* /v1/brief/**", "fault": "left"}
    before = settling.metric("tiergate_cost_faults_total", **labels)
    leave(client, "GET /v1/brief/goes_on", ENDLESS)
    until(lambda: settling.metric("tiergate_cost_faults_total", **labels) == before + 1)


@pytest.mark.slow
@pytest.mark.parametrize("server", ["uvicorn", "granian"])
@pytest.mark.parametrize(("path", "fields", "tokens"), [LEFT["and is told its cost"], LEFT["that takes too long"]])
def test_nobody_saves_anything_behind_other_servers(start, until, server, path, fields, tokens):
    _, _, client = start(server=server).customer()
    concluded(client, leave(client, f"GET {path}", *fields), until)
    until(lambda: used(client)["tokens"] == tokens)
