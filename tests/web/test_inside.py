"""The gateway inside the seller's own app: the same rules as in front of an upstream."""

from __future__ import annotations

import contextlib

import httpx
import pytest

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def inside(start_shared):
    return start_shared(target="tests.fakes.inside_app:create", TIERGATE_MAX_BODY_BYTES="1000")


def used(client: httpx.Client) -> int:
    rows = client.get("/api/v1/usage").raise_for_status().json()["limits"]
    return next(row["used"] for row in rows if row["name"] == "period")


ENDINGS = {
    "silent": (500, 0),
    "raises": (500, 0),
    "answers-500-and-raises": (500, 0),
    "answers-and-raises": (204, 1),
    "raises-after-payload": (200, 1),
    "raises-before-payload": (200, 0),
    "answers": (200, 1),
}


def test_a_call_is_billed_by_how_the_app_ended_it(inside, until):
    for path, (status, expected) in ENDINGS.items():
        _, _, client = inside.customer()
        # A server closes the connection after a crash, perhaps just as the next request is sent on it.
        call = client.stream("GET", f"/v1/{path}", headers={"connection": "close"})
        with contextlib.suppress(httpx.RemoteProtocolError), call as answer:
            assert answer.status_code == status, path
            answer.read()
        until(lambda client=client, expected=expected: used(client) == expected)


def test_an_app_that_does_not_answer_is_a_problem_that_costs_nothing(inside):
    _, _, client = inside.customer()
    for path in ("/v1/silent", "/v1/raises"):
        answer = client.get(path)
        assert (answer.status_code, answer.json()["code"]) == (500, "internal-error")
        assert '"period";r=100;' in answer.headers["ratelimit"]
        assert answer.json()["decision_id"] == answer.headers["tiergate-decision"]
        assert answer.json()["decision_id"] in inside.log.read_text()


def test_the_app_gets_the_identity_and_never_the_key(inside):
    customer_id, _, client = inside.customer()
    key = client.headers["authorization"].partition(" ")[2]
    forged = {"x_api_key": key, "x-api-key": key, "X_Tiergate_User": "mallory", "X-Tiergate-Tier": "enterprise"}
    cookies = {"Cookie": "tiergate_session=secret; theme=dark"}
    answer = client.get("/v1/echo", headers={**forged, **cookies, "Upgrade": "h2c", "X-Custom": "kept"})
    fields = dict(answer.json()["headers"])
    assert key not in answer.text
    assert "mallory" not in answer.text
    assert not {"authorization", "x-api-key", "x_api_key", "upgrade", "connection"} & fields.keys()
    assert (fields["x-tiergate-customer"], fields["x-tiergate-tier"]) == (customer_id, "free")
    assert (fields["x-custom"], fields["cookie"], "host" in fields) == ("kept", "theme=dark", True)
    assert answer.json()["caller"]["x-tiergate-customer"] == customer_id


def test_a_token_that_is_not_ours_is_the_apps_own_business(inside):
    _, _, client = inside.customer()
    key = client.headers["authorization"].partition(" ")[2]
    answer = client.get("/v1/echo", headers={"x-api-key": key, "authorization": "Bearer of-the-app"})
    assert ["authorization", "Bearer of-the-app"] in answer.json()["headers"]


def test_a_body_above_the_cap_never_reaches_the_app_whole(inside):
    _, _, client = inside.customer()
    assert client.post("/v1/echo", content=b"x" * 1000).json()["body_bytes"] == 1000
    announced = client.post("/v1/echo", content=b"x" * 1001)
    assert (announced.status_code, announced.json()["code"]) == (413, "body-too-large")
    assert '"period";r=99;' in announced.headers["ratelimit"]
    grown = client.post("/v1/echo", content=[b"x" * 600, b"x" * 600])
    assert (grown.status_code, grown.json()["code"]) == (413, "body-too-large")
    assert "stays charged" in grown.json()["detail"]
    assert '"period";r=98;' in grown.headers["ratelimit"]
    assert used(client) == 2


PRICED = """\
version: 1
default_tier: free
meters: {tokens: {settle: response header X-Tokens}, bytes: {settle: response bytes per 1B}}
tiers: {free: {limits: [100 tokens per day, 100 bytes per day]}}
routes:
  - {match: POST /v1/items, cost: {tokens: request json n at most 50}, settle: {tokens: off}}
  - {match: "* /v1/**", cost: {tokens: 10, bytes: 10}}
"""


def test_a_call_is_priced_by_its_body_and_settled_by_what_the_app_says_and_sends(start_gateway, tmp_path, until):
    (tmp_path / "policy.yaml").write_text(PRICED)
    gateway = start_gateway(target="tests.fakes.inside_app:create", TIERGATE_POLICY_DIR=str(tmp_path))
    _, _, client = gateway.customer()
    answer = client.get("/v1/priced")
    assert answer.text == "hello"
    assert "x-tokens" not in answer.headers
    assert '"tokens-day";r=58;' in answer.headers["ratelimit"]

    def used() -> dict[str, int]:
        return {row["meter"]: row["used"] for row in client.get("/api/v1/usage").json()["limits"]}

    until(lambda: used() == {"tokens": 42, "bytes": 5})
    body = b'{"n": 7}'
    assert client.post("/v1/items", content=body).json()["body_bytes"] == len(body)
    assert used() == {"tokens": 49, "bytes": 5}
    assert client.post("/v1/items", content=b"n=7").json()["code"] == "cost-unreadable"
