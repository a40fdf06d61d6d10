"""The one place where Stripe's errors become ours.

    no connection, time-out, 429, 5xx   BillingUnavailable   waiting helps
    401, 403                            BillingKeyRefused    another key helps
    everything else                     BillingRefused       somebody must look

What Stripe said goes to the log with its request id, with anything that looks like a key
taken out. What the caller sees is a sentence of ours, except that a declined card is
explained in Stripe's words, which are written for the person who holds it.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import stripe
import structlog

from gateway.core.errors import BillingKeyRefused, BillingRefused, BillingUnavailable, TiergateError

log = structlog.get_logger(__name__)

_SECRET = re.compile(r"\b((?:sk|rk|pk)_(?:live|test)|whsec|ek|seti|pi)_[^\s'\",;]+")
_LONGEST_MESSAGE = 300
_SERVER_ERROR = 500
_GONE = "resource_missing"
_OTHER_MODE = "similar object exists in"


class WrongStripeMode(BillingRefused):
    """The object lives in the other mode (live, test) of this account: the key is the wrong one."""


@asynccontextmanager
async def stripe_call(what: str, deadline_s: float) -> AsyncIterator[None]:
    """Everything that goes wrong inside becomes a `TiergateError`, within `deadline_s` seconds.

    Args:
        what: The call, for the log: `list subscriptions`.
        deadline_s: Then `BillingUnavailable`, whatever Stripe is doing; retries count.

    Raises:
        BillingUnavailable, BillingRefused: See the module.
    """
    try:
        async with asyncio.timeout(deadline_s):
            yield
    except stripe.StripeError as error:
        raise translate(error, what) from None
    except (TimeoutError, httpx.HTTPError):
        log.warning("stripe did not answer in time", call=what, deadline_s=deadline_s)
        raise BillingUnavailable("The payment provider does not answer.") from None
    except (AttributeError, LookupError, TypeError, ValueError) as error:
        # The SDK checks no types: an object of another shape shows when a field is read.
        log.exception("stripe answered something this version does not read", call=what, error=type(error).__name__)
        raise BillingRefused("The payment provider gave an answer that could not be read.") from None


def translate(error: stripe.StripeError, what: str) -> TiergateError:
    """Our error for one of the SDK's. Logs it; the result holds nothing that is not meant to be shown."""
    fields = {
        "call": what,
        "error": type(error).__name__,
        "status": error.http_status,
        "stripe_code": error.code,
        "stripe_request_id": error.request_id,
    }
    if _is_outage(error):
        log.warning("stripe is not available", **fields)
        return BillingUnavailable("The payment provider does not answer; try again shortly.")
    log.error("stripe refused a request", **fields, message=redacted(error.user_message or ""))
    if isinstance(error, stripe.CardError):
        return BillingRefused(redacted(error.user_message or "The card was declined."))
    if isinstance(error, stripe.AuthenticationError | stripe.PermissionError):
        return BillingKeyRefused(is_whole=isinstance(error, stripe.AuthenticationError))
    if _OTHER_MODE in (error.user_message or ""):
        return WrongStripeMode("The payment provider knows this in its other mode (live, test) only.")
    return BillingRefused(f"The payment provider refused the request ({error.code or 'no code'}).")


def is_missing(error: stripe.StripeError) -> bool:
    """Whether the object named in the request does not exist, in either mode of this account."""
    return (
        isinstance(error, stripe.InvalidRequestError)
        and error.code == _GONE
        and _OTHER_MODE not in (error.user_message or "")
    )


def redacted(message: str) -> str:
    """A message without anything that looks like a key, at most a few lines long."""
    return _SECRET.sub(r"\1_[redacted]", message)[:_LONGEST_MESSAGE]


def _is_outage(error: stripe.StripeError) -> bool:
    """`APIError` is what the SDK makes of 5xx, of conflicts that outlast its retries, and of garbage."""
    if isinstance(error, stripe.APIConnectionError | stripe.RateLimitError | stripe.APIError):
        return True
    return error.http_status is not None and error.http_status >= _SERVER_ERROR
