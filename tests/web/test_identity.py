"""What an upstream gets to know about a caller, and from where a key may call, through a running gateway."""

from __future__ import annotations

import time

import pytest

from gateway.core.assertion import base64url
from gateway.core.trace import is_traceparent
from tests.test_assertions import NEW, OLD, verify

pytestmark = pytest.mark.slow

GIVEN = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
OFFICE, HOME = {"x-forwarded-for": "203.0.113.7"}, {"x-forwarded-for": "198.51.100.7"}


@pytest.fixture(scope="module")
def untrusting(start_shared):
    """A gateway that does not know who calls it."""
    return start_shared(TIERGATE_TRUSTED_PROXIES="192.0.2.1")


@pytest.fixture
def signing(start_gateway):
    """A gateway that signs who calls."""
    return start_gateway(TIERGATE_ASSERTION_KEYS=",".join(base64url(seed) for seed in (NEW, OLD)))


def seen(answer, name):
    """Values of one field as the upstream saw it."""
    assert answer.status_code == 200, answer.text
    return [value for field, value in answer.json()["headers"] if field == name]


def test_an_upstream_can_check_who_calls_with_what_is_published(signing):
    customer_id, user_id, client = signing.subscribed()
    forged = {"x-tiergate-assertion": "forged", "x_tiergate_assertion": "forged"}
    asked_at = int(time.time())
    answers = [client.get("/v1/echo", headers=forged) for _ in range(3)]
    [token] = {seen(answer, "x-tiergate-assertion")[0] for answer in answers}
    assert len(seen(answers[0], "x-tiergate-assertion")) == 1
    claims = verify(token.encode(), signing.browser().get("/_tiergate/jwks.json").content)
    assert (claims["iss"], claims["aud"], claims["sub"], claims["user"]) == (
        signing.url,
        "upstream",
        customer_id,
        user_id,
    )
    assert (claims["tier"], claims["plan"], claims["standing"]) == ("pro", "pro-monthly", "good")
    assert claims["key"] == seen(answers[0], "x-tiergate-key")[0]
    assert asked_at <= claims["iat"] <= time.time()
    assert claims["exp"] - claims["iat"] == 60


def test_without_a_signing_key_no_assertion_is_sent_and_none_of_the_callers_passed(gateway):
    _, _, client = gateway.customer()
    assert seen(client.get("/v1/echo", headers={"x-tiergate-assertion": "forged"}), "x-tiergate-assertion") == []


def test_a_metered_call_is_refused_from_an_address_that_is_not_on_the_keys_list(gateway):
    _, _, client = gateway.customer(allow_ips=["203.0.113.0/24"])
    assert client.get("/v1/echo", headers=OFFICE).status_code == 200
    for address in (HOME, {"x-forwarded-for": "203.0.113.7, 198.51.100.7"}, {}):
        answer = client.get("/v1/echo", headers=address)
        assert (answer.status_code, answer.json()["code"]) == (403, "address-not-allowed")
    why = gateway.admin.get(f"/_tiergate/why/{answer.json()['decision_id']}").json()
    assert (why["verdict"], why.get("limits")) == ("address-not-allowed", None)


def test_the_word_of_an_untrusted_peer_about_its_address_is_not_taken(untrusting):
    _, _, client = untrusting.customer(allow_ips=["203.0.113.0/24"])
    answer = client.get("/v1/echo", headers=OFFICE)
    assert answer.status_code == 403
    assert "127.0.0.1" in answer.json()["detail"]


def test_a_trusted_proxys_request_id_is_kept_and_a_bad_one_replaced(gateway):
    _, _, client = gateway.customer()
    assert seen(client.get("/v1/echo", headers={"x-request-id": "req-42"}), "x-request-id") == ["req-42"]
    answer = client.get("/v1/echo", headers={"x-request-id": "<42>"})
    assert seen(answer, "x-request-id") == [answer.headers["tiergate-decision"]]


def test_an_untrusted_callers_request_id_is_replaced(untrusting):
    _, _, client = untrusting.customer()
    answer = client.get("/v1/echo", headers={"x-request-id": "req-42"})
    assert seen(answer, "x-request-id") == [answer.headers["tiergate-decision"]]


def test_a_trace_is_passed_as_it_came_or_begun(gateway):
    _, _, client = gateway.customer()
    passed = client.get("/v1/echo", headers={"traceparent": GIVEN, "tracestate": "congo=t61"})
    assert (seen(passed, "traceparent"), seen(passed, "tracestate")) == ([GIVEN], ["congo=t61"])
    begun = [
        client.get("/v1/echo", headers=headers)
        for headers in ({}, {"tracestate": "congo=t61"}, {"traceparent": GIVEN[:-1], "tracestate": "congo=t61"})
    ]
    parents = [parent for answer in begun for parent in seen(answer, "traceparent")]
    assert len(set(parents)) == 3
    assert all(is_traceparent(parent.encode()) for parent in parents)
    assert [state for answer in begun for state in seen(answer, "tracestate")] == []
