"""The seller's own app in this process: what it gets to see of a request."""

from __future__ import annotations

import pytest

from gateway.web.inside import InsideApp
from tests.fakes.asgi_caller import AsgiCaller


@pytest.fixture
def seen():
    """Header fields and state of the requests that reached the app."""
    return []


@pytest.fixture
def call(parts, seen):
    """One admitted request of a customer, with further header fields."""

    async def app(scope, _, send):
        seen.append((scope["headers"], scope["state"]["tiergate"]))
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    async def call(*fields):
        _, key, _ = await parts.customer()
        attempt = parts.admission.attempt("dec_1", "GET", "/v1/echo")
        await parts.admission.admit(attempt, key)
        sent = [(name, value.replace(b"KEY", key)) for name, value in fields]
        caller = AsgiCaller()
        await InsideApp(app)(
            {"type": "http", "http_version": "1.1", "headers": sent},
            caller.receive,
            caller.send,
            attempt=attempt,
            request_id="req_1",
            on_start=lambda _, headers: headers,
            max_body=1000,
        )
        assert caller.status == 204
        headers, state = seen[-1]
        return headers, state, key

    return call


@pytest.mark.parametrize(
    "credential",
    [
        (b"x-api-key", b"KEY"),
        (b"authorization", b"Bearer KEY"),
        (b"authorization", b"bearer  KEY"),
        (b"cookie", b"tiergate_session=secret"),
        (b"cookie", b"tiergate_claim_0123456789abcdef=secret"),
    ],
)
async def test_what_opens_this_gateway_does_not_reach_the_app(call, credential):
    headers, _, key = await call(credential, (b"cookie", b"a=1"), (b"authorization", b"Basic dTpw"))
    assert key not in b"".join(value for _, value in headers)
    assert credential[0] not in {name for name, value in headers if value not in {b"a=1", b"Basic dTpw"}}
    assert {(b"cookie", b"a=1"), (b"authorization", b"Basic dTpw")} <= set(headers)


async def test_only_this_gateway_tells_the_app_who_calls(call):
    forged = [(b"x-tiergate-user", b"eve"), (b"x_tiergate_tier", b"pro"), (b"x-request-id", b"eve")]
    headers, state, _ = await call(*forged)
    assert not set(forged) & set(headers)
    assert dict(headers)[b"x-tiergate-user"] == b"ada"
    assert state["x-tiergate-user"] == "ada"
