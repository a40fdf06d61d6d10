"""Which calls stay charged, as policy says: real gateways, an upstream that does what it is told, raw callers."""

from __future__ import annotations

import httpx
import pytest

from tests.fakes.raw_caller import RawCaller, request
from tests.web.policy_files import write_policy

pytestmark = pytest.mark.slow

ROUTES = """\
billable: below 400
routes:
  - {match: "* /v1/all/**", billable: below 500}
  - {match: "* /v1/some/**", billable: [2xx, 404]}
  - {match: "* /v1/failures/**", billable: [200, 5xx]}
  - {match: "* /v1/waited/**", billable: {abandoned: no}}
  - match: "* /v1/**"
"""


@pytest.fixture(scope="module")
def api(stage):
    return stage.add("api")


@pytest.fixture(scope="module")
def start(start_shared, tmp_path_factory, api):
    directory = str(write_policy(tmp_path_factory.mktemp("policies"), ROUTES))

    def start(**changes):
        return start_shared(TIERGATE_UPSTREAM_URL=api.url, TIERGATE_POLICY_DIR=directory, **changes)

    return start


@pytest.fixture(scope="module")
def billing(start):
    return start()


@pytest.fixture(scope="module")
def impatient(start):
    """Gives an upstream up that does not answer for a moment."""
    return start(TIERGATE_UPSTREAM_FIRST_BYTE_TIMEOUT_S="0.3")


@pytest.fixture
def client(billing):
    return billing.customer()[2]


def used(client: httpx.Client) -> int:
    rows = client.get("/api/v1/usage").raise_for_status().json()["limits"]
    return next(row["used"] for row in rows if row["name"] == "period")


CASES = {
    "the policy's word": ("/v1/missing", 404, False),
    "what is below it": ("/v1/ok", 200, True),
    "a route's own word": ("/v1/all/missing", 404, True),
    "a status among others": ("/v1/some/missing", 404, True),
    "a status that is not among them": ("/v1/some/failure", 500, False),
    "a failure that is sold": ("/v1/failures/failure", 500, True),
    "a success beside it": ("/v1/failures/missing", 404, False),
    "a mapping that leaves the responses out": ("/v1/waited/missing", 404, True),
}


@pytest.mark.parametrize("case", CASES)
def test_a_response_is_charged_as_policy_says_and_its_fields_tell(client, case):
    expect(client, *CASES[case])


def test_no_answer_in_time_costs_nothing_whatever_failures_are_sold(impatient):
    expect(impatient.customer()[2], "/v1/failures/silence", 504, is_paid=False)


def expect(client: httpx.Client, path: str, status: int, is_paid: bool) -> None:  # noqa: FBT001 - a column of the table
    answer = client.get(path)
    assert answer.status_code == status
    assert f'"period";r={999 if is_paid else 1000};' in answer.headers["ratelimit"]
    assert '"second";r=999;' in answer.headers["ratelimit"], "a rate counts attempts"
    assert used(client) == is_paid
    decision = client.get(f"/_tiergate/why/{answer.headers['tiergate-decision']}").json()
    assert decision.get("refunded", False) is not is_paid


@pytest.mark.parametrize(
    "leave", [lambda caller: caller.socket.close(), RawCaller.reset], ids=["with an end", "with a reset"]
)
@pytest.mark.parametrize("path", ["/v1/waited/silence", "/v1/all/silence"])
def test_a_call_that_its_caller_left_before_the_response_costs_what_policy_says(
    billing, api, client, until, path, leave
):
    units = 0 if path.startswith("/v1/waited") else 1
    before = billing.metric("tiergate_refunds_total", result="given-back")
    caller = RawCaller(str(client.base_url))
    caller.send(request(f"GET {path}", f"Authorization: {client.headers['authorization']}"))
    until(lambda: path in api.busy)
    leave(caller)
    until(lambda: path not in api.busy)
    until(lambda: billing.metric("tiergate_refunds_total", result="given-back") == before + 1 - units)
    assert used(client) == units


def test_a_body_that_breaks_its_word_stays_charged_where_leaving_is_free(client, api, until):
    chunked = ("Transfer-Encoding: chunked", f"Authorization: {client.headers['authorization']}")
    with RawCaller(str(client.base_url)) as caller:
        caller.send(request("POST /v1/waited/silence", *chunked, body=b"5\r\nhello\r\n"))
        until(lambda: "/v1/waited/silence" in api.busy)
        answer = caller.send(b"nonsense\r\n").read()
    assert answer.status == 400
    assert used(client) == 1
