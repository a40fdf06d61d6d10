"""What goes wrong between us and Stripe, and what is made of it."""

import asyncio
import logging
import traceback
from typing import Any

import pytest
import structlog

from gateway.billing import Billing, StripeOptions, WrongStripeMode
from gateway.billing.failures import redacted
from gateway.cli.ports import free_port
from gateway.core.errors import BillingRefused, BillingUnavailable

KEY = "sk_test_51H8fakefakefakefakefake"


def stripe_error(status: int, kind: str = "invalid_request_error", **fields: str) -> dict[str, Any]:
    return {"status": status, "body": {"error": {"type": kind, "message": "It is so.", **fields}}}


OUTAGES = {
    "too many requests": stripe_error(429, "rate_limit_error"),
    "too many requests, the old way": stripe_error(400, code="rate_limit"),
    "500": stripe_error(500, "api_error"),
    "502 from something in between": {"status": 502, "body": b"<html>bad gateway</html>"},
    "503": stripe_error(503, "api_error"),
    "a conflict that stays": stripe_error(409, "idempotency_error"),
    "no JSON": {"status": 200, "body": b"<html>sign in to the hotel</html>"},
    "closed without an answer": {"raw": b""},
    "half an answer": {"raw": b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{"},
    "no HTTP": {"raw": b"220 smtp.example.com\r\n"},
}

REFUSALS = {
    "400": stripe_error(400, code="parameter_invalid"),
    "401": stripe_error(401, message=f"Invalid API Key provided: {KEY}"),
    "402": stripe_error(402, "card_error", code="card_declined"),
    "403": stripe_error(403),
    "404": stripe_error(404),
}


@pytest.mark.parametrize("answer", OUTAGES.values(), ids=OUTAGES.keys())
async def test_an_outage_is_unavailable(billing: Billing, stand_in: Any, answer: dict[str, Any]) -> None:
    await answer_always(stand_in, answer)
    with pytest.raises(BillingUnavailable):
        await billing.create_portal_session("cus_1", "http://localhost/")


@pytest.mark.parametrize("answer", REFUSALS.values(), ids=REFUSALS.keys())
async def test_a_refusal_is_a_refusal_and_is_not_repeated(
    billing: Billing, stand_in: Any, answer: dict[str, Any]
) -> None:
    await answer_always(stand_in, answer)
    with pytest.raises(BillingRefused):
        await billing.create_portal_session("cus_1", "http://localhost/")
    assert len(stand_in.requests) == 1


async def test_a_refused_connection_is_unavailable() -> None:
    nowhere = f"http://127.0.0.1:{free_port()}"
    billing = await Billing.open(StripeOptions(secret_key=KEY, base_url=nowhere, deadline_s=0.5))
    with pytest.raises(BillingUnavailable):
        await billing.create_customer("c", "u")
    await billing.aclose()


async def test_silence_ends_at_the_deadline(stand_in: Any) -> None:
    async def hang(_: object) -> Any:
        await asyncio.sleep(30)

    stand_in.handler = hang
    options = StripeOptions(secret_key=KEY, base_url=stand_in.url, timeout_s=20, deadline_s=0.3)
    billing = await Billing.open(options)
    started_at = asyncio.get_running_loop().time()
    with pytest.raises(BillingUnavailable):
        await billing.fetch_subscription_facts("cus_1")
    assert asyncio.get_running_loop().time() - started_at < 20, "not the time of one try"
    await billing.aclose()


async def test_a_failed_write_is_repeated_with_the_same_idempotency_key(billing: Billing, stand_in: Any) -> None:
    await answer_always(stand_in, stripe_error(500, "api_error"))
    with pytest.raises(BillingUnavailable):
        await billing.create_customer("abc", "user")
    assert [request.headers["idempotency-key"] for request in stand_in.requests] == ["tiergate-customer-abc"] * 3


async def test_a_request_says_which_version_it_speaks_and_nothing_about_this_machine(
    billing: Billing, stand_in: Any
) -> None:
    await answer_always(stand_in, {"body": {"id": "cus_1", "object": "customer"}})
    assert await billing.create_customer("abc", "user") == "cus_1"
    (request,) = stand_in.requests
    assert request.headers["stripe-version"] == "2026-10-28.endive"
    assert "telemetry" not in str(request.headers)
    assert "platform" not in str(request.headers)
    assert "tiergate" in request.headers["x-stripe-client-user-agent"]


async def test_a_proxy_named_in_the_environment_is_not_asked_for_the_sandbox(
    stand_in: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.delenv("NO_PROXY", raising=False)
    await answer_always(stand_in, {"body": {"id": "cus_1", "object": "customer"}})
    billing = await Billing.open(StripeOptions(secret_key=KEY, base_url=stand_in.url))
    assert await billing.create_customer("abc", "user") == "cus_1"
    await billing.aclose()


async def test_a_declined_card_is_explained_in_stripes_words(billing: Billing, stand_in: Any) -> None:
    await answer_always(stand_in, stripe_error(402, "card_error", message="Your card was declined."))
    with pytest.raises(BillingRefused, match="Your card was declined"):
        await billing.create_portal_session("cus_1", "http://localhost/")


async def test_no_such_customer_is_an_answer(billing: Billing, stand_in: Any) -> None:
    await answer_always(stand_in, stripe_error(400, code="resource_missing", message="No such customer: 'cus_1'"))
    facts = await billing.fetch_subscription_facts("cus_1")
    assert facts.exists is False


async def test_a_customer_of_the_other_mode_is_a_fault_and_not_an_ended_customer(
    billing: Billing, stand_in: Any
) -> None:
    message = "No such customer: 'cus_1'; a similar object exists in live mode, but a test mode key was used."
    await answer_always(stand_in, stripe_error(400, code="resource_missing", message=message))
    with pytest.raises(WrongStripeMode):
        await billing.fetch_subscription_facts("cus_1")


async def test_an_answer_of_another_shape_is_refused_and_never_taken_for_an_empty_one(
    billing: Billing, stand_in: Any
) -> None:
    body = {"object": "list", "data": [{"id": "sub_1", "object": "subscription"}], "has_more": False, "url": "/v1/s"}
    await answer_always(stand_in, {"body": body})
    with pytest.raises(BillingRefused, match="could not be read"):
        await billing.fetch_subscription_facts("cus_1")


@pytest.mark.parametrize("answer", [*OUTAGES.values(), *REFUSALS.values()], ids=[*OUTAGES, *REFUSALS])
async def test_no_error_and_no_log_line_holds_the_key(
    billing: Billing, stand_in: Any, answer: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    await answer_always(stand_in, answer)
    with structlog.testing.capture_logs() as lines, pytest.raises((BillingRefused, BillingUnavailable)) as caught:
        await billing.create_portal_session("cus_1", "http://localhost/")
    told = "".join(traceback.format_exception(caught.value)) + repr(caught.value) + str(lines) + caplog.text
    assert KEY[8:] not in told
    assert lines, "a failure leaves a line in the log"
    if "error" in str(answer.get("body")):
        assert lines[-1]["stripe_request_id"] == "req_fake"
        assert "req_fake" not in str(caught.value)


def test_options_do_not_show_the_key() -> None:
    assert KEY not in repr(StripeOptions(secret_key=KEY))


@pytest.mark.parametrize("secret", [KEY, "sk_live_5abcdef", "rk_test_5abc.def", "whsec_5abcdef", "pi_1_secret_5abc"])
def test_whatever_looks_like_a_secret_is_taken_out_of_messages(secret: str) -> None:
    assert secret[-4:] not in redacted(f"Bad key {secret}, sorry")


async def answer_always(stand_in: Any, answer: dict[str, Any]) -> None:
    made = type(await stand_in.nothing(None))
    stand_in.always(made(**answer))
