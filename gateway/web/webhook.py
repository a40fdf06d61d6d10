"""The webhook: Stripe's deliveries, verified and stored, nothing more."""

from __future__ import annotations

from time import time

import msgspec
import structlog
from litestar import Response, post
from litestar.exceptions.http_exceptions import RequestEntityTooLarge

from gateway.billing import MAX_PAYLOAD_BYTES, InvalidPayload, InvalidSignature
from gateway.core.errors import BodyTooLarge, LedgerUnavailable
from gateway.sync import receive_event
from gateway.web.billing_gate import needs_billing
from gateway.web.callers import AnyRequest, FromRuntime
from gateway.web.credentials import SIGNED
from gateway.web.problem_shape import problems
from gateway.web.problems import problem_body

log = structlog.get_logger(__name__)


class EventReceived(msgspec.Struct, kw_only=True):
    """The event is safe, or is none of this gateway's business."""

    status: str = "received"


@post(
    "/webhook",
    security=SIGNED,
    status_code=200,
    request_max_body_size=MAX_PAYLOAD_BYTES,
    guards=[needs_billing],
    responses=problems(400, 413, 501),
    summary="Receive a Stripe event",
    tags=["billing"],
)
async def receive_webhook(request: AnyRequest, runtime: FromRuntime) -> Response[EventReceived | dict[str, object]]:
    """Stripe calls this. What is answered 200 is stored; what could not be stored is answered 503."""
    results = runtime.metrics.events
    try:
        received = await receive_event(
            await _read(request),
            request.headers.get("stripe-signature"),
            secrets=runtime.settings.webhook_secrets,
            is_live=runtime.billing.is_live,
            ledger=runtime.ledger,
            now=time(),  # real time even beside a simulated clock: a signature is stamped with it
            wake=runtime.events.wake,
        )
    except InvalidSignature as error:
        results.labels("bad-signature").inc()
        runtime.refused_deliveries.note(error.trouble)
        return _refusal(error, "Invalid webhook signature", runtime)
    except InvalidPayload as error:
        results.labels("bad-payload").inc()
        return _refusal(error, "Invalid payload format", runtime)
    except BodyTooLarge:
        results.labels("too-large").inc()
        raise
    except LedgerUnavailable:
        results.labels("not-stored").inc()
        raise
    results.labels(received.fate).inc()
    log.debug("event received", event_id=received.event_id, type=received.type, fate=received.fate)
    return Response(EventReceived())


async def _read(request: AnyRequest) -> bytes:
    """The delivery, no more of which is read than may be.

    Raises:
        BodyTooLarge: It has more than `MAX_PAYLOAD_BYTES`.
    """
    try:
        return await request.body()
    except RequestEntityTooLarge:
        raise BodyTooLarge(f"A webhook delivery has at most {MAX_PAYLOAD_BYTES} bytes.") from None


def _refusal(
    error: InvalidSignature | InvalidPayload, text: str, runtime: FromRuntime
) -> Response[EventReceived | dict[str, object]]:
    """The short text that integrations compare with, inside a problem document."""
    body = problem_body(error, runtime.site) | {"detail": text}
    return Response(
        {"error": text, **body},
        status_code=400,
        headers={"cache-control": "no-store"},
        media_type="application/problem+json",
    )


HANDLERS = (receive_webhook,)
