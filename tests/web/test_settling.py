"""Reserve, then settle: real gateways, and an upstream that says what a call cost, lies about it, or breaks off."""

from __future__ import annotations

import asyncio
import contextlib

import httpx
import pytest

from tests.fakes.raw import open_raw
from tests.fakes.raw_caller import RawCaller, request
from tests.web.policy_files import write_policy

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
      - 1_000 tokens per billing period
      - 100_000 tokens per minute
      - 1_000 kb per billing period
"""
ROUTES = """\
idempotency: {window: 1h}
routes:
  - {match: "* /v1/narrow/**", cost: {tokens: 20}, settle: {tokens: at most 30}}
  - {match: "* /v1/kept/**", cost: {tokens: 20}, settle: {tokens: response header X-Said kept}}
  - {match: "* /v1/fixed/**", cost: {tokens: 20}, settle: {tokens: off}}
  - {match: "* /v1/bytes/**", cost: {kb: 10}}
  - {match: "* /v1/both/**", cost: {tokens: 20, kb: 10}}
  - {match: "* /v1/paid/**", cost: {tokens: 20}, billable: 2xx}
  - {match: "* /v1/**", cost: {tokens: 20}}
"""


@pytest.fixture(scope="module")
def api(stage):
    return stage.add("api")


@pytest.fixture(scope="module")
def start(start_shared, tmp_path_factory, api):
    directory = str(write_policy(tmp_path_factory.mktemp("policies"), ROUTES, tiers=TIERS))

    def start(**changes):
        return start_shared(
            TIERGATE_UPSTREAM_URL=api.url,
            TIERGATE_POLICY_DIR=directory,
            **changes,
        )

    return start


@pytest.fixture(scope="module")
def impatient(start):
    """Gives an upstream up that says nothing for a moment."""
    return start(TIERGATE_UPSTREAM_FIRST_BYTE_TIMEOUT_S="2", TIERGATE_UPSTREAM_IDLE_TIMEOUT_S="2")


@pytest.fixture(scope="module")
def settling(start):
    return start()


@pytest.fixture
def client(settling):
    return settling.customer()[2]


def used(client: httpx.Client) -> dict[str, int]:
    rows = client.get("/api/v1/usage").raise_for_status().json()["limits"]
    return {row["meter"]: row["used"] for row in rows if row["kind"] == "quota"}


def tell(units: object, name: str = "Tiergate-Tokens") -> dict[str, str]:
    return {"x-say": f"{name}: {units}"}


def left(answer: httpx.Response, name: str) -> int:
    parts = dict(part.split(";r=") for part in answer.headers["ratelimit"].split(", "))
    return int(parts[f'"{name}"'].partition(";")[0])


TOLD = {
    "more than was reserved": ("/v1/says", tell(70), 70),
    "less": ("/v1/says", tell(3), 3),
    "just that": ("/v1/says", tell(20), 20),
    "nothing": ("/v1/says", tell(0), 0),
    "more than a call may cost": ("/v1/says", tell(501), 500),
    "more than the route lets it": ("/v1/narrow/says", tell(70), 30),
    "in a field that the caller may see": ("/v1/kept/says", tell(70, "X-Said"), 70),
    "on a route that does not settle": ("/v1/fixed/says", tell(70), 20),
    "no cost": ("/v1/says", {}, 20),
    "no number": ("/v1/says", tell("many"), 20),
    "by a failure": ("/v1/says", {**tell(70), "x-status": "500 No"}, 0),
    "by a response that policy does not bill": ("/v1/paid/says", {**tell(70), "x-status": "404 No"}, 0),
    "by one that it bills": ("/v1/paid/says", {**tell(70), "x-status": "201 Made"}, 70),
}


@pytest.mark.parametrize("case", TOLD)
def test_a_call_costs_what_its_response_says(client, until, case):
    path, say, units = TOLD[case]
    answer = client.get(path, headers=say)
    until(lambda: used(client)["tokens"] == units)
    assert left(answer, "tokens-period") == 1000 - units, "told as it is after the settlement"
    assert left(answer, "tokens-minute") == 100_000 - 20, "a rate counts what was reserved"
    assert ("tiergate-tokens" in answer.headers) is (case == "on a route that does not settle")
    assert ("x-said" in answer.headers) is (path == "/v1/kept/says")


@pytest.mark.parametrize(
    ("say", "fault"),
    [({}, "missing"), (tell("-1"), "malformed"), (tell(501), "above the cap")],
    ids=["missing", "malformed", "above the cap"],
)
def test_what_an_api_does_not_say_right_is_counted(settling, client, until, say, fault):
    labels = {"route": "* /v1/**", "fault": fault}
    before = settling.metric("tiergate_cost_faults_total", **labels)
    client.get("/v1/says", headers=say)
    until(lambda: settling.metric("tiergate_cost_faults_total", **labels) == before + 1)


def test_an_upstream_that_tells_costs_is_told_that_trailer_fields_are_read(api, client):
    client.get("/v1/both/says", headers={"te": "gzip", "connection": "te"})
    assert (api.requests[-1].field(b"te"), api.requests[-1].field(b"connection")) == (b"trailers", b"te")
    client.get("/v1/bytes/says", headers={"te": "trailers", "connection": "te"})
    assert (api.requests[-1].field(b"te"), api.requests[-1].field(b"connection")) == (None, None)


@pytest.mark.parametrize(
    ("late", "units"),
    [("Tiergate-Tokens: 70", 70), ("tiergate-tokens: 501", 500), ("Tiergate-Tokens: many", 20), ("X-Other: 70", 20)],
)
def test_a_stream_may_tell_its_cost_at_its_end(client, until, late, units):
    answer = client.get("/v1/both/says", headers={"x-late": late, "x-size": "1500"})
    assert answer.content == b"x" * 1500
    assert "trailer" not in answer.headers
    until(lambda: used(client) == {"requests": 1, "tokens": units, "kb": 2})


def test_a_failure_need_not_say_what_it_cost(settling, client):
    labels = {"route": "* /v1/**", "fault": "missing"}
    before = settling.metric("tiergate_cost_faults_total", **labels)
    client.get("/v1/failure")
    assert settling.metric("tiergate_cost_faults_total", **labels) == before


def test_the_settlement_is_in_the_decision_and_in_the_metrics(settling, client, until):
    before = settling.metric("tiergate_charges_settled_total", result="settled")
    answer = client.get("/v1/both/says", headers={**tell(70), "x-size": "2001"})
    until(lambda: used(client) == {"requests": 1, "tokens": 70, "kb": 3})
    assert settling.metric("tiergate_charges_settled_total", result="settled") == before + 1
    decision = f"/_tiergate/why/{answer.headers['tiergate-decision']}"
    until(lambda: client.get(decision).json().get("settled") == {"tokens": 70, "kb": 3})


def concluded(client: httpx.Client, answer: httpx.Response, until) -> dict[str, object]:
    """The decision of a call that has ended."""
    told: dict[str, object] = {}

    def has_ended() -> bool:
        told.update(client.get(f"/_tiergate/why/{answer.headers['tiergate-decision']}").raise_for_status().json())
        return "duration_ms" in told

    until(has_ended)
    return told


def test_a_call_that_is_given_back_is_not_settled_too(settling, client, until):
    before = settling.metric("tiergate_charges_settled_total", result="nothing")
    told = concluded(client, client.get("/v1/paid/says", headers={**tell(70), "x-status": "404 No"}), until)
    assert (told["refunded"], told.get("settled")) == (True, None)
    assert settling.metric("tiergate_charges_settled_total", result="nothing") == before


def test_bytes_are_counted_as_the_caller_got_them(client, until):
    client.get("/v1/bytes/says", headers={"x-size": "12345"})
    until(lambda: used(client)["kb"] == 13)
    client.head("/v1/bytes/hundred_kb")
    until(lambda: used(client)["kb"] == 13)


def test_a_quota_may_end_above_its_limit_by_what_calls_cost_more_and_then_it_is_used_up(client, until):
    for said in (490, 490):
        client.get("/v1/says", headers=tell(said))
    answer = client.get("/v1/says", headers=tell(300))
    assert answer.status_code == 200
    assert left(answer, "tokens-period") == 0
    until(lambda: used(client)["tokens"] == 1280)
    refused = client.get("/v1/says", headers=tell(1))
    assert (refused.status_code, refused.json()["code"]) == (429, "quota-exceeded")
    assert left(refused, "tokens-period") == 0


BREAKS = {
    "a cut": ("/v1/both/says", {"x-end": "cut", "x-size": "2001"}, {"requests": 1, "tokens": 20, "kb": 3}),
    "a cut after a cost was told": (
        "/v1/both/says",
        {"x-end": "cut", "x-size": "2001", **tell(70)},
        {"requests": 1, "tokens": 20, "kb": 3},
    ),
    "a cut before payload": ("/v1/both/says", {"x-end": "cut", **tell(70)}, {"requests": 0, "tokens": 0, "kb": 0}),
    "silence after a part": ("/v1/both/part", {}, {"requests": 1, "tokens": 20, "kb": 1}),
    "no answer in time": ("/v1/both/silence", {}, {"requests": 0, "tokens": 0, "kb": 0}),
}
SILENT = {"silence after a part", "no answer in time"}


@pytest.mark.parametrize("case", BREAKS)
def test_a_stream_that_breaks_costs_the_bytes_handed_on_and_else_what_was_reserved(settling, impatient, until, case):
    path, headers, expected = BREAKS[case]
    _, _, client = (impatient if case in SILENT else settling).customer()
    with contextlib.suppress(httpx.HTTPError):
        client.get(path, headers=headers)
    until(lambda: used(client) == expected)


def test_who_leaves_in_the_middle_pays_for_what_it_got_and_what_was_told(client, until):
    with RawCaller(str(client.base_url)) as caller:
        fields = (f"Authorization: {client.headers['authorization']}", "X-Say: Tiergate-Tokens: 70", "X-Size: 5500")
        caller.send(request("GET /v1/both/says", *fields, "X-End: silence"))
        assert caller.read_head().status == 200
    until(lambda: used(client) == {"requests": 1, "tokens": 70, "kb": 6})


def test_what_no_count_has_any_more_is_not_said_to_have_cost_what_was_told(settling, world, until):
    customer_id, _, client = settling.customer()
    before = settling.metric("tiergate_charges_settled_total", result="uncounted")
    with RawCaller(str(client.base_url)) as caller:
        fields = (f"Authorization: {client.headers['authorization']}", "X-Say: Tiergate-Tokens: 70", "X-Size: 5500")
        caller.send(request("GET /v1/says", *fields, "X-End: silence"))
        decision = f"/_tiergate/why/{caller.read_head().get('tiergate-decision')}"
        asyncio.run(_forget_the_window(world["TIERGATE_REDIS_URL"], customer_id))
    until(lambda: settling.metric("tiergate_charges_settled_total", result="uncounted") == before + 1)
    until(lambda: "duration_ms" in client.get(decision).raise_for_status().json())
    assert client.get(decision).json().get("settled") is None


async def _forget_the_window(cache_url: str, customer_id: str) -> None:
    async with open_raw(cache_url) as raw:
        assert await raw.hdel(f"tg:{{{customer_id}}}:use", "q:tokens:period") == 1


def test_who_leaves_before_the_response_pays_what_was_reserved(api, client, until):
    with RawCaller(str(client.base_url)) as caller:
        caller.send(request("GET /v1/both/silence", f"Authorization: {client.headers['authorization']}"))
        until(lambda: "/v1/both/silence" in api.busy)
    until(lambda: "/v1/both/silence" not in api.busy)
    assert used(client) == {"requests": 1, "tokens": 20, "kb": 10}


def test_an_idempotency_key_makes_no_call_free_whose_response_says_its_cost(client, until):
    for units, total in ((1, 1), (90, 91), (90, 181)):
        answer = client.post("/v1/says", headers={**tell(units), "idempotency-key": "once"})
        assert answer.headers.get("tiergate-repeat") is None
        until(lambda total=total: used(client)["tokens"] == total)


@pytest.mark.parametrize("server", ["uvicorn", "granian"])
def test_calls_are_settled_behind_any_server(start, until, server):
    _, _, client = start(server=server).customer()
    answer = client.get("/v1/both/says", headers={**tell(70), "x-size": "2001"})
    assert "tiergate-tokens" not in answer.headers
    until(lambda: used(client) == {"requests": 1, "tokens": 70, "kb": 3})
    with contextlib.suppress(httpx.HTTPError):
        client.get("/v1/both/says", headers={**tell(70), "x-size": "2001", "x-end": "cut"})
    until(lambda: used(client) == {"requests": 2, "tokens": 90, "kb": 6})
