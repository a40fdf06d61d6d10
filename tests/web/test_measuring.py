"""Calls that are priced by what they ask for: real gateways, raw callers, and an upstream that tells what it got."""

from __future__ import annotations

import json
import selectors
from contextlib import ExitStack

import httpx
import pytest

from tests.fakes.raw_caller import RawCaller, request
from tests.web.policy_files import write_policy

pytestmark = pytest.mark.slow

TIERS = """\
version: 1
default_tier: free
meters: {tokens: {settle: response header X-Tokens}, kb: {}, items: {}, batches: {}}
tiers:
  free:
    limits:
      - 20 concurrent
      - 1_000 requests per billing period
      - 300 tokens per billing period
      - 100 kb per billing period
      - 100 items per billing period
      - 2 batches per minute
"""
ROUTES = """\
idempotency: {window: 1h}
routes:
  - {match: "* /v1/units/**", cost: {items: request header X-Units at most 500}}
  - {match: "* /v1/some/**", cost: {items: request header X-Units at most 500 default 2}}
  - {match: "* /v1/kb/**", cost: {kb: request bytes per 1KB at most 50}}
  - {match: "* /v1/list/**", cost: {items: request json items.length at most 100}}
  - {match: "* /v1/number/**", cost: {items: request json n at most 100 default 1}}
  - {match: "* /v1/chat/**", cost: {tokens: request json max_tokens at most 200}}
  - {match: "* /v1/batches/**", cost: {batches: request json items.length at most 2}}
  - {match: "* /v1/free/**", cost: {requests: 0, batches: 0}}
  - match: "* /v1/**"
"""
SERVERS = ["ours", pytest.param("uvicorn", marks=pytest.mark.slow), pytest.param("granian", marks=pytest.mark.slow)]


@pytest.fixture(scope="module")
def api(stage):
    return stage.add("api")


@pytest.fixture(scope="module", params=SERVERS)
def measuring(request, start_shared, tmp_path_factory, api):
    directory = write_policy(tmp_path_factory.mktemp("policies"), ROUTES, tiers=TIERS)
    return start_shared(
        server=request.param,
        TIERGATE_UPSTREAM_URL=api.url,
        TIERGATE_POLICY_DIR=str(directory),
        TIERGATE_UPSTREAM_IDLE_TIMEOUT_S="1",
    )


@pytest.fixture
def client(measuring):
    return measuring.customer()[2]


def used(client: httpx.Client) -> dict[str, int]:
    rows = client.get("/api/v1/usage").raise_for_status().json()["limits"]
    return {row["meter"]: row["used"] for row in rows if row["used"]}


def chunks(*parts: bytes):
    yield from parts


PRICES = {
    "a header": ("/v1/units/a", {"headers": {"X-Units": "42"}}, {"items": 42}),
    "a header that is left out": ("/v1/some/a", {}, {"items": 2}),
    "no body": ("/v1/kb/a", {}, {}),
    "a body": ("/v1/kb/a", {"content": b"x" * 2001}, {"kb": 3}),
    "a list": ("/v1/list/a", {"json": {"items": [1, 2, 3]}}, {"items": 3}),
    "an empty list": ("/v1/list/a", {"json": {"items": []}}, {}),
    "a list that comes in pieces": ("/v1/list/a", {"content": (b'{"items"', b": [1, 2", b"]}")}, {"items": 2}),
    "a number": ("/v1/number/a", {"json": {"n": 9}}, {"items": 9}),
    "a number that is left out": ("/v1/number/a", {"json": {}}, {"items": 1}),
}


@pytest.mark.parametrize("case", PRICES)
def test_a_call_costs_what_it_asks_for_and_travels_as_it_came(client, case):
    path, ask, units = PRICES[case]
    if isinstance(ask.get("content"), tuple):
        ask = {"content": chunks(*ask["content"])}
    told = client.post(path, **ask)
    assert told.status_code == 200
    assert used(client) == {"requests": 1, **units}
    sent = json.dumps(ask["json"], separators=(",", ":")) if "json" in ask else None
    if sent is not None:
        assert told.json()["body"].replace(" ", "") == sent
    if case == "a list that comes in pieces":
        assert told.json()["body"] == '{"items": [1, 2]}'


def test_a_body_of_unknown_length_is_reserved_at_the_most_and_costs_what_came(client, until):
    answer = client.post("/v1/kb/a", content=chunks(b"x" * 1500, b"x" * 1501))
    assert answer.status_code == 200
    assert '"kb-period";r=50;' in answer.headers["ratelimit"]
    until(lambda: used(client) == {"requests": 1, "kb": 4})


REFUSED = {
    "no header": ("/v1/units/a", {}, 400, "cost-unreadable", "'x-units' header"),
    "no number": ("/v1/units/a", {"headers": {"X-Units": "lots"}}, 400, "cost-unreadable", "from 1 to 500"),
    "more than the most": ("/v1/units/a", {"headers": {"X-Units": "501"}}, 400, "cost-unreadable", "from 1 to 500"),
    "more than the limit": ("/v1/units/a", {"headers": {"X-Units": "101"}}, 403, "cost-above-limit", "101"),
    "a body above the most": ("/v1/kb/a", {"content": b"x" * 50_001}, 413, "body-too-large", "50,000 bytes"),
    "a body that is no json": ("/v1/list/a", {"content": b"items=3"}, 400, "cost-unreadable", "JSON"),
    "no list": ("/v1/list/a", {"json": {"items": 3}}, 400, "cost-unreadable", "a list of at most 100"),
    "no body": ("/v1/list/a", {}, 400, "cost-unreadable", "'items' in the JSON body"),
    "too large a document": ("/v1/list/a", {"content": b" " * 65_537}, 413, "body-too-large", "65,536"),
    "too large a document in pieces": (
        "/v1/list/a",
        {"content": (b" " * 40_000, b" " * 40_000)},
        413,
        "body-too-large",
        "65,536",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_call_without_a_price_is_refused_and_costs_nothing(api, client, case):
    path, ask, status, code, words = REFUSED[case]
    if isinstance(ask.get("content"), tuple):
        ask = {"content": chunks(*ask["content"])}
    before = len(api.requests)
    answer = client.post(path, **ask)
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert words in answer.json()["detail"]
    assert (answer.headers.get("connection") == "close") == (status == 413), "said, before a body is left unread"
    assert used(client) == {}
    assert len(api.requests) == before


def test_a_call_that_says_it_costs_nothing_takes_one_of_a_rate(client):
    answers = [client.post("/v1/batches/a", json={"items": []}) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [200, 200, 429]
    assert answers[2].json()["code"] == "rate-limited"
    assert [client.post("/v1/free/a").status_code for _ in range(3)] == [200, 200, 200]  # by the seller's word
    assert used(client).get("batches", 0) in {0, 2}


def test_a_longer_body_than_was_reserved_is_cut_on_its_way(client, until):
    answer = client.post("/v1/kb/a", content=chunks(*[b"x" * 10_000] * 6))
    assert (answer.status_code, answer.json()["code"]) == (413, "body-too-large")
    until(lambda: used(client).get("kb", 0) in {0, 50})  # nothing, if it showed before the upstream was asked


def test_what_a_caller_says_it_needs_is_reserved_and_settled_by_the_response(client, until):
    ask = {"max_tokens": 150}
    answer = client.post("/v1/chat/says", json=ask, headers={"x-say": "X-Tokens: 90"})
    assert answer.status_code == 200
    until(lambda: used(client) == {"requests": 1, "tokens": 90})
    refused = client.post(
        "/v1/chat/says", json={"max_tokens": 200} | {"again": [1]}, headers={"x-say": "X-Tokens: 200"}
    )
    assert refused.status_code == 200
    until(lambda: used(client) == {"requests": 2, "tokens": 290})
    refused = client.post("/v1/chat/says", json={"max_tokens": 11})
    assert (refused.status_code, refused.json()["code"]) == (429, "quota-exceeded")
    assert client.post("/v1/chat/says", json={"max_tokens": 10}).status_code == 200


def test_an_idempotency_key_makes_no_call_free_whose_cost_is_read_in_it(client):
    for units in ("3", "3", "4"):
        answer = client.post("/v1/units/a", headers={"X-Units": units, "Idempotency-Key": "once"})
        assert (answer.status_code, answer.headers.get("tiergate-repeat")) == (200, None)
    assert used(client) == {"requests": 3, "items": 10}


def test_a_stranger_is_not_read(measuring, api):
    before = len(api.requests)
    with RawCaller(measuring.url) as caller:
        fields = ("Authorization: Bearer tg_" + "0" * 40, "Content-Length: 100", "Content-Type: application/json")
        answer = caller.send(request("POST /v1/list/a", *fields)).read()
    assert (answer.status, answer.code) == (401, "invalid-api-key")
    assert len(api.requests) == before


def slow(client: httpx.Client) -> bytes:
    """A call whose body begins, and does not go on."""
    fields = (f"Authorization: {client.headers['authorization']}", "Content-Length: 100")
    return request("POST /v1/list/a", *fields, body=b'{"items"')


def test_a_body_is_not_waited_for_under_a_revoked_key(measuring, client):
    assert client.get("/v1/x").status_code == 200  # so this worker holds the account in which it lives
    account = f"/_tiergate/admin/customers/{client.get('/api/v1/usage').json()['customer_id']}"
    [key] = measuring.admin.get(f"{account}/keys").raise_for_status().json()["keys"]
    measuring.admin.delete(f"{account}/keys/{key['key_id']}").raise_for_status()
    for _ in range(2):
        with RawCaller(measuring.url) as caller:
            answer = caller.send(slow(client)).read()
        assert (answer.status, answer.code) == (401, "invalid-api-key")


def test_calls_whose_body_is_waited_for_are_in_progress(start_gateway, tmp_path, api, until):
    directory = write_policy(tmp_path, ROUTES, tiers=TIERS)
    gateway = start_gateway(
        TIERGATE_UPSTREAM_URL=api.url,
        TIERGATE_POLICY_DIR=str(directory),
        TIERGATE_MAX_IN_FLIGHT_PER_CUSTOMER="2",
        TIERGATE_HEADER_TIMEOUT_S="60",
    )
    client, other = gateway.customer()[2], gateway.customer()[2]
    with ExitStack() as stack:
        callers = [stack.enter_context(RawCaller(gateway.url)).send(slow(client)) for _ in range(3)]
        with selectors.DefaultSelector() as looking:  # `select` knows no number above 1,023
            for caller in callers:
                looking.register(caller.socket, selectors.EVENT_READ)
            answered = [key.fileobj for key, _ in looking.select(20)]
        [refused] = [caller for caller in callers if caller.socket in answered]
        answer = refused.read()
        assert (answer.status, answer.code) == (429, "too-many-concurrent")
        assert client.get("/v1/x").status_code == 429
        assert other.get("/v1/x").status_code == 200
    until(lambda: client.get("/v1/x").status_code == 200)
    assert used(client) == {"requests": 1}


def test_a_caller_that_waits_to_be_asked_for_its_body_is(client):
    body = b'{"items": [1, 2]}'
    with RawCaller(str(client.base_url)) as caller:
        fields = (f"Authorization: {client.headers['authorization']}", f"Content-Length: {len(body)}")
        caller.send(request("POST /v1/list/a", *fields, "Expect: 100-continue"))
        assert caller.read_head().status == 100
        answer = caller.send(body).read()
    assert answer.status == 200
    assert used(client) == {"requests": 1, "items": 2}


def test_a_body_that_stops_arriving_costs_nothing(client):
    with RawCaller(str(client.base_url), timeout_s=20) as caller:
        fields = (f"Authorization: {client.headers['authorization']}", "Content-Length: 100")
        answer = caller.send(request("POST /v1/list/a", *fields, body=b'{"items"')).read()
    assert (answer.status, answer.code) == (408, "request-timeout")
    assert used(client) == {}


def test_a_caller_that_leaves_while_it_is_read_costs_nothing(client, api):
    before = len(api.requests)
    with RawCaller(str(client.base_url)) as caller:
        fields = (f"Authorization: {client.headers['authorization']}", "Content-Length: 100")
        caller.send(request("POST /v1/list/a", *fields, body=b'{"items"'))
    assert client.post("/v1/list/a", json={"items": [1]}).status_code == 200
    assert used(client) == {"requests": 1, "items": 1}
    assert len(api.requests) == before + 1
