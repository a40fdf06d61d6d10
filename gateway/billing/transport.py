"""How the SDK reaches Stripe: one pooled httpx client per event loop.

The SDK's own httpx client is not used: it posts by a deprecated parameter of httpx, and it
would send requests for the sandbox on loopback through a proxy named in the environment.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Mapping
from typing import Any

import httpx
import stripe

from gateway.billing.pace import Pace
from gateway.core.errors import BillingNotConfigured

_TOO_MANY = 429
_MAX_CONNECTIONS = 20
_KEEPALIVE_S = 30


class NoTransport(stripe.HTTPClient):
    """Where there is no Stripe: whatever would ask it is refused, here and nowhere else."""

    name = "none"

    async def request_async(self, *_: object) -> tuple[bytes, int, Mapping[str, str]]:
        """No request is sent.

        Raises:
            BillingNotConfigured: Always.
        """
        raise BillingNotConfigured

    async def close_async(self) -> None:
        """Nothing is open."""


class Transport(stripe.HTTPClient):
    """One event loop's connections to Stripe.

    Args:
        timeout_s: Seconds to connect, to send, to wait for each byte, and for a free connection.
        through_proxy: Whether proxies named in the environment are used.
        pace: Told of every request.
    """

    name = "httpx"

    def __init__(self, *, timeout_s: float, through_proxy: bool, pace: Pace) -> None:
        super().__init__()
        self._pace = pace
        self._http = httpx.AsyncClient(
            timeout=httpx.Timeout(timeout_s),
            limits=httpx.Limits(max_connections=_MAX_CONNECTIONS, keepalive_expiry=_KEEPALIVE_S),
            trust_env=through_proxy,
        )

    async def request_async(
        self, method: str, url: str, headers: Mapping[str, str], post_data: Any = None
    ) -> tuple[bytes, int, Mapping[str, str]]:
        """One request; retries are the SDK's.

        Raises:
            stripe.APIConnectionError: No whole answer came. Names the kind of failure, no address.
        """
        if self._http.is_closed:
            message = "No answer: closed at shutdown"
            raise stripe.APIConnectionError(message, should_retry=False)  # type: ignore[no-untyped-call]  # as below
        self._pace.count()
        try:
            response = await self._http.request(method, url, headers=dict(headers), content=post_data or None)
        except httpx.HTTPError as error:
            message = f"No answer: {type(error).__name__}"
            raise stripe.APIConnectionError(message, should_retry=True) from None  # type: ignore[no-untyped-call]  # the SDK leaves it untyped
        if response.status_code == _TOO_MANY:
            self._pace.slow_down()
        return response.content, response.status_code, response.headers

    def sleep_async(self, secs: float) -> Awaitable[None]:
        """The pause between two tries."""
        return asyncio.sleep(secs)

    async def close_async(self) -> None:
        """Close every connection."""
        await self._http.aclose()
