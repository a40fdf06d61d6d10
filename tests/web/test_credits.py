from __future__ import annotations

import time

import pytest

ADMIN = "/_tiergate/admin"
USAGE = "/api/v1/usage"


def credits_path(customer_id):
    return f"{ADMIN}/customers/{customer_id}/credits"


def call_times(client, times, path="/v1/echo"):
    """So many calls that were let in, or the first that was refused for another reason than its pace."""
    answer = None
    while times:
        answer = client.get(path)
        if answer.status_code in {200, 500}:
            times -= 1
        elif answer.json()["code"] == "rate-limited":
            time.sleep(0.1)
        else:
            return answer
    return answer


def test_credits_are_granted_once_listed_and_revoked(gateway):
    customer_id, _, _ = gateway.customer()
    path, order = credits_path(customer_id), {"units": 5, "reference": "order 7", "reason": "an apology"}
    granted = gateway.admin.post(path, json=order)
    assert granted.status_code == 201
    view = granted.json()
    assert (view["units"], view["meter"], view["reference"], view["expires_at"], view["ended"]) == (
        5,
        "requests",
        "order 7",
        None,
        None,
    )
    assert gateway.admin.post(path, json=order).json() == view
    assert gateway.admin.get(path).json() == {"customer_id": customer_id, "credits": [view]}
    other = gateway.admin.post(path, json=order | {"units": 6})
    assert (other.status_code, other.json()["code"]) == (409, "credits-reference-taken")
    revoked = gateway.admin.delete(granted.headers["location"])
    assert revoked.json() == {"grant_id": view["grant_id"], "in_force": True, "revoked": True}
    again = gateway.admin.delete(granted.headers["location"])
    assert (again.status_code, again.json()["code"]) == (404, "credits-not-found")
    assert gateway.admin.get(path).json()["credits"] == []
    (ended,) = gateway.admin.get(path, params={"include_ended": True}).json()["credits"]
    assert ended["ended"] == "revoked"
    actions = [row["action"] for row in gateway.admin.get(f"{ADMIN}/audit?customer_id={customer_id}").json()["entries"]]
    assert actions[:2] == ["credits-revoked", "credits-granted"]


@pytest.mark.parametrize(
    ("order", "status", "code"),
    [
        ({}, 400, "invalid-request"),
        ({"units": 0}, 400, "invalid-request"),
        ({"units": 1.5}, 400, "invalid-request"),
        ({"units": 1, "unit": 2}, 400, "invalid-request"),
        ({"units": 1, "meter": "nothing"}, 400, "invalid-credits"),
        ({"units": 1, "expires_at": 1}, 400, "invalid-credits"),
        ({"units": 1, "reference": "\n"}, 400, "invalid-credits"),
    ],
    ids=["empty", "nothing", "a part", "unknown field", "no such meter", "past", "control"],
)
def test_what_cannot_be_granted_is_refused(gateway, order, status, code):
    customer_id, _, _ = gateway.customer()
    answer = gateway.admin.post(credits_path(customer_id), json=order)
    assert (answer.status_code, answer.json()["code"]) == (status, code)


def test_nobody_is_granted_anything_who_is_not_a_customer(gateway):
    for answer in (
        gateway.admin.post(credits_path("nobody"), json={"units": 1}),
        gateway.admin.get(credits_path("nobody")),
        gateway.admin.delete(f"{credits_path('nobody')}/x"),
    ):
        assert (answer.status_code, answer.json()["code"]) == (404, "customer-not-found")


@pytest.mark.slow
def test_the_customer_sees_quota_and_credits_in_its_usage_and_in_the_fields(gateway):
    customer_id, _, client = gateway.customer()
    ends_at = int(time.time()) + 86_400
    for order in ({"units": 7}, {"units": 4, "expires_at": ends_at}):
        gateway.admin.post(credits_path(customer_id), json=order).raise_for_status()
    first = client.get("/v1/echo")
    assert '"period";q=111;' in first.headers["ratelimit-policy"]
    assert '"period";r=110;' in first.headers["ratelimit"]
    call_times(client, 101)
    usage = client.get(USAGE).json()
    period = next(limit for limit in usage["limits"] if limit["name"] == "period")
    assert (period["limit"], period["used"], period["remaining"]) == (100, 100, 0)
    assert [(one["left"], one["used"], one["expires_at"]) for one in usage["credits"]] == [
        (2, 2, ends_at),
        (7, 0, None),
    ]


@pytest.mark.slow
def test_when_quota_and_credits_are_used_up_the_call_is_refused_and_says_so(gateway):
    customer_id, _, client = gateway.customer()
    gateway.admin.post(credits_path(customer_id), json={"units": 2}).raise_for_status()
    call_times(client, 102)
    refused = call_times(client, 1)
    assert (refused.status_code, refused.json()["code"]) == (429, "quota-exceeded")
    assert "credits included" in refused.json()["detail"]
    assert '"period";r=0;' in refused.headers["ratelimit"]
    assert int(refused.headers["retry-after"]) > 3600, "the next window is what to wait for; new credits work at once"
    gateway.admin.post(credits_path(customer_id), json={"units": 1}).raise_for_status()
    assert call_times(client, 1).status_code == 200


@pytest.mark.slow
def test_a_call_that_fails_behind_the_gateway_is_given_back_to_credits(gateway):
    customer_id, _, client = gateway.customer()
    gateway.admin.post(credits_path(customer_id), json={"units": 2}).raise_for_status()
    call_times(client, 100)
    failed = call_times(client, 1, "/v1/error?status=500")
    assert failed.status_code == 500
    assert '"period";r=2;' in failed.headers["ratelimit"]
    (one,) = client.get(USAGE).json()["credits"]
    assert (one["used"], one["left"]) == (0, 2)
